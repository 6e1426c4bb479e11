"""Properties and classes from a few examples each."""

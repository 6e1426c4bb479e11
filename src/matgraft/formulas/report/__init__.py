"""The report of a run on a table."""

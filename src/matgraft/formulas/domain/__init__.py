"""Labels carried over to a domain that has none."""

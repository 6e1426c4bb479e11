"""One file a format: how its files are recognised and read, and what its numbers are."""

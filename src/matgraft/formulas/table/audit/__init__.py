"""Looks at a table before any training: what each finds, and what puts it right."""

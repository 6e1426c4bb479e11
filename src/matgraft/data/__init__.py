"""Frames and formulas: read, audited, split."""

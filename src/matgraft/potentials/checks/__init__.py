"""Checks of a tuned potential beside its errors on labelled frames; one file a check."""

"""Checks of a tuned model beside its errors on labelled frames; one file a check."""

"""Labelled frames in, a tuned interatomic potential and a verdict out."""

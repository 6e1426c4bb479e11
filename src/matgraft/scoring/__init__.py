"""Predictions held against labels and baselines."""

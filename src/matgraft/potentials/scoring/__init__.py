"""Predictions of frames held against labels and baselines."""

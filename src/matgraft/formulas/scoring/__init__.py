"""Predictions of formulas held against values, baselines and what the pretraining saw."""

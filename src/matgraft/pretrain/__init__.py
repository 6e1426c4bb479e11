"""Pretraining of the composition encoder: tables, objectives, and the conductor of a pretraining run."""

"""Pretraining of the composition encoder: tables, objectives, and the run that leads through them."""

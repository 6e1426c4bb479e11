"""From a recipe to a run folder: `conduct` leads, through `frames`, `fitting` and `outcome`."""

from matgraft.run.conduct import audit_file, evaluate_run, resume_run, saved_recipe, tune

__all__ = ["audit_file", "evaluate_run", "resume_run", "saved_recipe", "tune"]

"""From a recipe to a run folder: `conduct` leads, through `frames`, `fitting` and `outcome`."""

from matgraft.potentials.run.conduct import audit_file, resume_run, tune
from matgraft.potentials.run.evaluation import evaluate_run

__all__ = ["audit_file", "evaluate_run", "resume_run", "tune"]

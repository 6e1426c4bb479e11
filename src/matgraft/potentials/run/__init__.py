"""From a recipe to a run folder: `conduct` leads, through `frames`, `fitting` and `outcome`; and models on frames."""

from matgraft.potentials.run.active import active
from matgraft.potentials.run.check import CheckQuestion, check
from matgraft.potentials.run.conduct import audit_file, resume_run, tune_frames
from matgraft.potentials.run.coverage import find_gaps
from matgraft.potentials.run.evaluation import evaluate_run
from matgraft.potentials.run.label import label
from matgraft.potentials.run.sample import SampleQuestion, sample
from matgraft.potentials.run.select import select
from matgraft.potentials.run.side_by_side import evaluate_models
from matgraft.potentials.run.structures import predict_structures

__all__ = [
    "CheckQuestion",
    "SampleQuestion",
    "active",
    "audit_file",
    "check",
    "evaluate_models",
    "evaluate_run",
    "find_gaps",
    "label",
    "predict_structures",
    "resume_run",
    "sample",
    "select",
    "tune_frames",
]

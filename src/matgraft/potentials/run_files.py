"""The files of a run on frames: each has one type, which writes it and reads it back.

    METRICS.read(run).test["forces_rmse_eV_per_A"]

The type of a file stands with the code that makes its content. Beside these there are recipe.yaml, history.csv,
predictions.parquet, and the folders checkpoints, model, evaluations and physics.
"""

from __future__ import annotations

from pathlib import Path

from matgraft.core.findings import Findings
from matgraft.core.manifest import below
from matgraft.core.run_folder import RunFile
from matgraft.core.verdict import Verdict
from matgraft.potentials.audit.coverage import Coverage
from matgraft.potentials.checks.checked import CHECKED
from matgraft.potentials.data.seen import SeenFrames
from matgraft.potentials.data.splits.parts import Split
from matgraft.potentials.recipe import SAVED
from matgraft.potentials.scoring.evaluate import Evaluation
from matgraft.potentials.scoring.scores import Scores
from matgraft.potentials.sources import Sources
from matgraft.potentials.tuning.facts import FitFacts
from matgraft.potentials.tuning.ladder import CLIMB
from matgraft.potentials.tuning.references import REFERENCES

PROVENANCE = RunFile("provenance.json", Sources)
AUDIT = RunFile("audit.json", Findings)
COVERAGE = RunFile("coverage.json", Coverage)
SPLIT = RunFile("split.json", Split)
FIT = RunFile("fit.json", FitFacts)
METRICS = RunFile("metrics.json", Scores)
SEEN = RunFile("seen.json", SeenFrames, indent=None)
CHECKS = RunFile("checks.json", Findings)
VERDICT = RunFile("verdict.json", Verdict)

RECIPE = SAVED
HISTORY = "history.csv"
PREDICTIONS = "predictions.parquet"
CHECKPOINTS = "checkpoints"
MODEL = "model"
EVALUATIONS = "evaluations"
PHYSICS = "physics"
"""Folder of the physical checks, with a folder for each head of several."""

__all__ = [
    "AUDIT",
    "CHECKPOINTS",
    "CHECKS",
    "CLIMB",
    "COVERAGE",
    "EVALUATIONS",
    "FIT",
    "HISTORY",
    "METRICS",
    "MODEL",
    "PHYSICS",
    "PREDICTIONS",
    "PROVENANCE",
    "RECIPE",
    "REFERENCES",
    "SEEN",
    "SPLIT",
    "VERDICT",
    "checked_folders",
    "evaluation_file",
]


def checked_folders(run: Path) -> list[Path]:
    """Return the folders with physical checks of a run: of its model, or of each head."""
    return [file.parent for file in below(run / PHYSICS, CHECKED.name)]


def evaluation_file(name: str) -> RunFile[Evaluation]:
    """Return the file of an evaluation of further frames."""
    return RunFile(f"{EVALUATIONS}/{name}.json", Evaluation)

"""matgraft fine-tunes pretrained models of materials science on your own data, and says when not to trust the result.

Potentials: labelled frames in, a tuned interatomic potential out.

    import matgraft
    from ase.io import read

    run = matgraft.tune(read("frames.extxyz", ":"), "runs/mine", foundation="chgnet", max_minutes=30)
    run.verdict, run.report                  # the same as of `matgraft tune`
    atoms.calc = run.calculator()            # or matgraft.load("runs/mine").calculator(), in another session
    run.predict(structures)                  # ase.Atoms with energy, forces and stress

Formulas: a table of formulas and values in, a predictor with error bars out.

    run = matgraft.tune("melting_points.csv", "runs/melting", target="melting_point_K")
    run.predict(["HfC", "TaC"])              # a pandas.DataFrame

Data are files, folders, lists of `ase.Atoms`, datasets of `read`, or a `pandas.DataFrame`.

First:      audit, tune, resume, predict, check, evaluate_run, export, load, Run, Predictions
Data:       read, pack, split, coverage, Dataset, Sample
By hand:    adapt, climb, evaluate, make_recipe, evaluate_models, predict_structures, write_report, verify
Next:       active, sample, select, label, find_gaps, suggest, embed

What is told of a run goes to the logger ``matgraft``: ``logging.basicConfig(level="INFO")`` shows it.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from matgraft.core.version import __version__

if TYPE_CHECKING:
    from matgraft.formulas.embedding import embed
    from matgraft.formulas.suggest.suggest import suggest
    from matgraft.foundations import load
    from matgraft.potentials.audit.coverage import coverage
    from matgraft.potentials.data.dataset import Dataset
    from matgraft.potentials.data.pack import pack
    from matgraft.potentials.data.reading.read import read
    from matgraft.potentials.data.sample import Sample
    from matgraft.potentials.data.splits.split import split
    from matgraft.potentials.exports import export
    from matgraft.potentials.recipe import make_recipe
    from matgraft.potentials.report.run import write_report
    from matgraft.potentials.run import (
        active,
        check,
        evaluate_models,
        evaluate_run,
        find_gaps,
        label,
        predict_structures,
        sample,
        select,
    )
    from matgraft.potentials.run.verify import verify
    from matgraft.potentials.scoring.evaluate import evaluate
    from matgraft.potentials.tuning.adapt import adapt
    from matgraft.potentials.tuning.climb import climb
    from matgraft.verbs.audit import audit
    from matgraft.verbs.predict import Predictions, predict
    from matgraft.verbs.run import Run
    from matgraft.verbs.tune import resume, tune

# Imported when first asked for: `import matgraft` takes milliseconds, torch and the vendors take seconds.
_HOMES = {
    "Dataset": "potentials.data.dataset",
    "Predictions": "verbs.predict",
    "Run": "verbs.run",
    "Sample": "potentials.data.sample",
    "active": "potentials.run",
    "adapt": "potentials.tuning.adapt",
    "audit": "verbs.audit",
    "check": "potentials.run",
    "climb": "potentials.tuning.climb",
    "coverage": "potentials.audit.coverage",
    "embed": "formulas.embedding",
    "evaluate": "potentials.scoring.evaluate",
    "evaluate_models": "potentials.run",
    "evaluate_run": "potentials.run",
    "export": "potentials.exports",
    "find_gaps": "potentials.run",
    "label": "potentials.run",
    "load": "foundations",
    "make_recipe": "potentials.recipe",
    "pack": "potentials.data.pack",
    "predict": "verbs.predict",
    "predict_structures": "potentials.run",
    "read": "potentials.data.reading.read",
    "resume": "verbs.tune",
    "sample": "potentials.run",
    "select": "potentials.run",
    "split": "potentials.data.splits.split",
    "suggest": "formulas.suggest.suggest",
    "tune": "verbs.tune",
    "verify": "potentials.run.verify",
    "write_report": "potentials.report.run",
}
__all__ = [
    "Dataset",
    "Predictions",
    "Run",
    "Sample",
    "__version__",
    "active",
    "adapt",
    "audit",
    "check",
    "climb",
    "coverage",
    "embed",
    "evaluate",
    "evaluate_models",
    "evaluate_run",
    "export",
    "find_gaps",
    "label",
    "load",
    "make_recipe",
    "pack",
    "predict",
    "predict_structures",
    "read",
    "resume",
    "sample",
    "select",
    "split",
    "suggest",
    "tune",
    "verify",
    "write_report",
]

logging.getLogger("matgraft").addHandler(logging.NullHandler())  # silent unless the user asks


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'matgraft' has no attribute {name!r}")
    value = getattr(import_module(f"matgraft.{_HOMES[name]}"), name)
    globals()[name] = value  # over the submodule of the same name that the import has just put here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

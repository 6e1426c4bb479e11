"""matgraft grafts your data onto a pretrained materials model.

The whole way, by hand:

    from matgraft import adapt, audit, evaluate, load, predict, read, split

    frames = read("frames.extxyz")
    foundation = load("chgnet")
    findings = audit(frames, predict(foundation, frames), elements=foundation.card.elements)
    parts = split(frames)
    train, validation, test = frames[parts.train], frames[parts.validation], frames[parts.test]
    result = adapt(foundation, train, validation, strategy="full", max_minutes=20)
    print(evaluate(result.backbone, test)["forces_rmse_eV_per_A"])
    result.backbone.save("tuned.pth.tar")

or as one command, with a report: `tune`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from matgraft.core.version import __version__

if TYPE_CHECKING:
    from matgraft.formulas.embedding import embed
    from matgraft.formulas.suggest.suggest import suggest
    from matgraft.foundations import load
    from matgraft.potentials.audit.audit import audit
    from matgraft.potentials.audit.coverage import coverage
    from matgraft.potentials.data.dataset import Dataset
    from matgraft.potentials.data.pack import pack
    from matgraft.potentials.data.reading.read import read
    from matgraft.potentials.data.sample import Sample
    from matgraft.potentials.data.split import split
    from matgraft.potentials.exports import export
    from matgraft.potentials.models.predict import predict
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
        resume_run,
        sample,
        select,
        tune,
    )
    from matgraft.potentials.scoring.evaluate import evaluate
    from matgraft.potentials.tuning.adapt import adapt
    from matgraft.potentials.tuning.climb import climb

# Imported when first asked for: `import matgraft` takes milliseconds, torch and the vendors take seconds.
_HOMES = {
    "Dataset": "potentials.data.dataset",
    "Sample": "potentials.data.sample",
    "active": "potentials.run",
    "adapt": "potentials.tuning.adapt",
    "audit": "potentials.audit.audit",
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
    "predict": "potentials.models.predict",
    "predict_structures": "potentials.run",
    "read": "potentials.data.reading.read",
    "resume_run": "potentials.run",
    "sample": "potentials.run",
    "select": "potentials.run",
    "split": "potentials.data.split",
    "suggest": "formulas.suggest.suggest",
    "tune": "potentials.run",
    "verify": "potentials.run.verify",
    "write_report": "potentials.report.run",
}
__all__ = [
    "Dataset",
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
    "resume_run",
    "sample",
    "select",
    "split",
    "suggest",
    "tune",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'matgraft' has no attribute {name!r}")
    value = getattr(import_module(f"matgraft.{_HOMES[name]}"), name)
    globals()[name] = value  # over the submodule of the same name that the import has just put here
    return value

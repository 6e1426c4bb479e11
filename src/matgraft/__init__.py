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

from matgraft.version import __version__

if TYPE_CHECKING:
    from matgraft.backbones.predict import predict
    from matgraft.data.audit import audit
    from matgraft.data.coverage import coverage
    from matgraft.data.dataset import Dataset
    from matgraft.data.pack import pack
    from matgraft.data.read import read
    from matgraft.data.sample import Sample
    from matgraft.data.split import split
    from matgraft.exports import export
    from matgraft.foundations import load
    from matgraft.recipe import make_recipe
    from matgraft.reports.html import write_report
    from matgraft.run import evaluate_run, resume_run, tune
    from matgraft.scoring.evaluate import evaluate
    from matgraft.transfer.adapt import adapt
    from matgraft.transfer.climb import climb

# Imported when first asked for: `import matgraft` takes milliseconds, torch and the vendors take seconds.
_HOMES = {
    "Dataset": "data.dataset",
    "Sample": "data.sample",
    "adapt": "transfer.adapt",
    "audit": "data.audit",
    "climb": "transfer.climb",
    "coverage": "data.coverage",
    "evaluate": "scoring.evaluate",
    "evaluate_run": "run",
    "export": "exports",
    "load": "foundations",
    "make_recipe": "recipe",
    "pack": "data.pack",
    "predict": "backbones.predict",
    "read": "data.read",
    "resume_run": "run",
    "split": "data.split",
    "tune": "run",
    "write_report": "reports.html",
}
__all__ = [
    "Dataset",
    "Sample",
    "__version__",
    "adapt",
    "audit",
    "climb",
    "coverage",
    "evaluate",
    "evaluate_run",
    "export",
    "load",
    "make_recipe",
    "pack",
    "predict",
    "read",
    "resume_run",
    "split",
    "tune",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'matgraft' has no attribute {name!r}")
    value = getattr(import_module(f"matgraft.{_HOMES[name]}"), name)
    globals()[name] = value  # over the submodule of the same name that the import has just put here
    return value

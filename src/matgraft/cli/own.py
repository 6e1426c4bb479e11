"""Options of verbs that are read in some cases only: which, and when."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from matgraft.cli.options import Columns, FileOptions, LargeOptions, TableOptions
from matgraft.core.reads import Read, refuse_unread

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FLAGS = {"foundation": "from", "purpose": "for", "uses": "for", "wanted_class": "class"}
"""Options whose name on the command line is a word of Python's."""


def flags_of(group: DataclassInstance) -> dict[str, object]:
    """Return a group of options by their names on the command line: ``{"--adapt-to": None}``."""
    names = {one.name: FLAGS.get(one.name, one.name.replace("_", "-")) for one in fields(group)}
    values = {f"--{flag}": getattr(group, name) for name, flag in names.items()}
    return {flag: None if value is False else value for flag, value in values.items()}


PROCESSES = Read("fit.processes", "fits on a CPU, by processes that can be forked", lambda asked: asked["forks"])
FOLDED = (Read("--folds", "drawn folds; not with --fold-column", lambda column: column is None),)
OWN: dict[str, tuple[Read, ...]] = {
    "tune": (
        *(
            Read(name, "a table of formulas, with --target", lambda is_table: is_table)
            for name in flags_of(TableOptions())
        ),
        Read("--for", "frames, which potentials are tuned on", lambda is_table: not is_table),
        Read("--check", "frames, which potentials are tuned on", lambda is_table: not is_table),
        Read("--max-minutes", "frames; a table takes what its rows take", lambda is_table: not is_table),
    ),
    "audit": (
        *(
            Read(name, "a table of formulas, with --target", lambda is_table: is_table)
            for name in (*flags_of(Columns()), "--target", "--for", "--fold-column")
        ),
    ),
    "predict": (
        *(
            Read(name, "a table of formulas", lambda kind: kind == "table")
            for name in ("--formula", *flags_of(FileOptions()), *flags_of(LargeOptions()))
        ),
        Read("--device", "potentials", lambda kind: kind == "structures"),
        Read("--quiet", "structures and tables; formulas show no progress", lambda kind: kind != "formulas"),
    ),
    "evaluate": (
        *(Read(name, "a run on a table of formulas", lambda is_table: is_table) for name in flags_of(FileOptions())),
        Read("--device", "potentials", lambda is_table: not is_table),
    ),
    "suggest": (
        *(
            Read(name, "a table of candidates", lambda kind: kind == "table")
            for name in ("--formula", *flags_of(FileOptions()))
        ),
        *(
            Read(name, "--elements, which it makes candidates of", lambda kind: kind == "elements")
            for name in ("--most-elements", "--most-atoms", "--charge")
        ),
    ),
    "export": (
        Read("--target", "a run on a table of formulas", lambda is_table: is_table),
        Read("--repulsion", "potentials, with --to ase", lambda is_table: not is_table),
    ),
    "crossval": FOLDED,
    "compare": FOLDED,
    "embed": (
        Read("--count", "--nearest", lambda asked: asked["nearest"] is not None),
        Read("--nearest", "vectors of formulas", lambda asked: asked["per"] == "formula"),
        Read("--target", "runs on a table", lambda asked: asked["is_run"]),
    ),
    "pretrain": (
        Read("*"),
        Read("exclude", "a table of --properties", lambda asked: asked["--properties"] is not None),
        Read("mask_fraction", "the objective masked", lambda asked: asked["masked"]),
        Read("views", "the objectives masked and contrast", lambda asked: asked["masked"] or asked["contrast"]),
        PROCESSES,
    ),
    "episodes": (Read("*"), PROCESSES),
    "prompts": (Read("*"), PROCESSES),
}
"""Options of verbs that are read in some cases only; what is read of recipes and predictors stands beside these."""


def refuse_own(verb: str, given: dict[str, object], present: object) -> None:
    """Refuse options of a verb that are not read beside what is, or is not, present."""
    refuse_unread(verb, OWN[verb], [name for name, value in given.items() if value not in (None, [])], present)


def is_setting_of(verb: str, key: str) -> bool:
    """Say whether a setting is one that a verb may be given."""
    from matgraft.core.settings import keys_of
    from matgraft.formulas.predictor.settings import PredictorSettings
    from matgraft.formulas.pretraining.settings import PretrainSettings
    from matgraft.potentials.recipe import READS, Recipe

    tables = key in keys_of(PredictorSettings)
    frames = key in keys_of(Recipe) or key.startswith("keys.")
    if verb == "pretrain":
        return key in keys_of(PretrainSettings)
    if verb in ("crossval", "compare"):
        return tables
    return (verb == "tune" and tables) or (frames and any(read.matches(key) for read in READS.get(verb, ())))

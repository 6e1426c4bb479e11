"""All that a run folder says, as one typed value: what every form of the report is made from.

    said = read_facts(Path("runs/silicon"))
    said.metrics.test["forces_rmse_eV_per_A"]      # 0.137

It is report.json as it stands (`REPORT`). A file that is absent is None and named in ``absent``; one that cannot be
read is None and stands in ``unreadable`` with the reason: a report of half a run is better than none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from matgraft.core.errors import MatgraftError, RunError
from matgraft.core.findings import Findings
from matgraft.core.frozen import Frozen
from matgraft.core.manifest import below, check_file, is_there
from matgraft.core.model import ModelCard
from matgraft.core.registry import CARD, HEADS, Heads
from matgraft.core.report.document import Block, Text, nothing
from matgraft.core.report.text import cleaned
from matgraft.core.run_folder import RunFile
from matgraft.core.verdict import Verdict
from matgraft.core.version import __version__
from matgraft.potentials import run_files as files
from matgraft.potentials.audit.coverage import Coverage
from matgraft.potentials.checks.checked import CHECKED, Checked, checked_in
from matgraft.potentials.checks.forgetting import Forgetting, ForgettingTable
from matgraft.potentials.data.splits.parts import Split
from matgraft.potentials.recipe import Recipe, make_recipe
from matgraft.potentials.report.parity import Parity, parity
from matgraft.potentials.scoring.scores import Scores
from matgraft.potentials.scoring.table import read_predictions
from matgraft.potentials.sources import Sources
from matgraft.potentials.tuning.facts import FitFacts
from matgraft.potentials.tuning.ladder import Climb
from matgraft.potentials.tuning.references import References

T = TypeVar("T")
History = dict[str, list[float | None]]
"""Column of history.csv -> its values; None where nothing was evaluated."""

MODEL_CARD = RunFile(f"{files.MODEL}/{CARD.name}", ModelCard)
MODEL_HEADS = RunFile(f"{files.MODEL}/{HEADS.name}", Heads)


class RunFacts(Frozen):
    """What the files of a run folder hold.

    Attributes
    ----------
    matgraft_version
        Of the report.
    run, folder
        The folder's name, and its path as it was given.
    recipe, provenance, audit, coverage, split, references, fit, history, metrics, checks, verdict
        As the files of these names have them.
    card, heads
        Of the model, or of the heads of a model that has several.
    ladder
        Of a run that climbed it.
    physics
        Physical checks of the model, or of each head; none where none were made.
    parity
        Labels against predictions, ready to draw.
    absent, unreadable
        Files that are not there, and those that cannot be read, with the reason.
    """

    matgraft_version: str
    run: str
    folder: str
    recipe: Recipe | None = None
    provenance: Sources | None = None
    audit: Findings | None = None
    coverage: Coverage | None = None
    split: Split | None = None
    references: References | None = None
    fit: FitFacts | None = None
    history: History | None = None
    metrics: Scores | None = None
    checks: Findings | None = None
    verdict: Verdict | None = None
    card: ModelCard | None = None
    heads: Heads | None = None
    ladder: Climb | None = None
    physics: tuple[Checked, ...] = ()
    parity: Parity | None = None
    absent: tuple[str, ...] = ()
    unreadable: dict[str, str] = Field(default_factory=dict)

    def blocks(self, file: str, fact: T | None, make: Callable[[T], Sequence[Block]]) -> Sequence[Block]:
        """Return the blocks of a fact, or one that says why its file does not tell it."""
        return [self.lacking(file)] if fact is None else make(fact)

    def lacking(self, file: str) -> Text:
        """Say that a file is absent, or why it cannot be read."""
        return nothing(file, self.unreadable.get(file, ""))


REPORT = RunFile("report.json", RunFacts, indent=None)


def read_facts(run: Path) -> RunFacts:
    """Gather the files of a run folder that `matgraft tune` wrote.

    Raises
    ------
    RunError
        If the folder is not there, or holds no file of a run.
    """
    reader = _Reader(run)
    metrics = reader.take(files.METRICS)
    has_heads = (run / MODEL_HEADS.name).is_file()
    found = RunFacts(
        matgraft_version=__version__,
        run=run.resolve().name,
        folder=str(run),
        recipe=reader.read(files.RECIPE, lambda path: make_recipe(check_file(path), ())),
        provenance=reader.take(files.PROVENANCE),
        audit=reader.take(files.AUDIT),
        coverage=reader.take(files.COVERAGE),
        split=reader.take(files.SPLIT),
        references=reader.take(files.REFERENCES),
        fit=reader.take(files.FIT),
        history=reader.read(files.HISTORY, _history),
        parity=reader.read(
            files.PREDICTIONS, lambda path: parity(read_predictions(path), metrics.part if metrics else "")
        ),
        metrics=metrics,
        checks=reader.read(files.CHECKS.name, lambda _: _checks(run)),
        verdict=reader.take(files.VERDICT),
        card=None if has_heads else reader.take(MODEL_CARD),
        heads=reader.take(MODEL_HEADS) if has_heads else None,
        ladder=reader.take(files.CLIMB) if below(run, files.CLIMB.name) else None,  # of runs that climbed it
        physics=reader.physics(),
        absent=tuple(reader.absent),
        unreadable=reader.unreadable,
    )
    if not reader.present:
        raise RunError(
            "no file of a run is here" if run.is_dir() else "no folder" if run.exists() else "there is no such folder",
            where=str(run),
            allowed=reader.absent,
            remedy="give the folder that `matgraft tune` wrote",
        )
    return found


@dataclass
class _Reader:
    """Reads the files of a folder and keeps which are there, which are absent, and which cannot be read."""

    run: Path
    present: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def take(self, file: RunFile[T]) -> T | None:
        return self.read(file.name, lambda _: file.read(self.run))

    def physics(self) -> tuple[Checked, ...]:
        """Read the physical checks of the model, or of each head."""
        found = [
            self.read(str((one / CHECKED.name).relative_to(self.run)), lambda path: checked_in(path.parent))
            for one in files.checked_folders(self.run)
        ]
        return tuple(one for one in found if one is not None)

    def read(self, name: str, read: Callable[[Path], T]) -> T | None:
        path = self.run / name
        (self.present if path.is_file() else self.absent).append(name)
        try:
            return read(path) if is_there(path) else None
        except (MatgraftError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self.unreadable[name] = _reason(error)
        return None


def _reason(error: Exception) -> str:
    """Say in a line why a file cannot be read."""
    cause = error.__cause__ or error
    if isinstance(cause, ValidationError):
        first = cause.errors()[0]
        at = ".".join(map(str, first["loc"]))
        return f"it is damaged or of another version of matgraft ({f'{at}: ' if at else ''}{first['msg']})"
    return error.found if isinstance(error, MatgraftError) else cleaned(f"{type(error).__name__}: {error}")


def forgetting_tables(checks: Findings) -> list[ForgettingTable]:
    """Return the tables of forgetting, one a head."""
    return [ForgettingTable.model_validate(one.details) for one in checks.findings if one.code == Forgetting.code]


def _checks(run: Path) -> Findings:
    found = files.CHECKS.read(run)
    forgetting_tables(found)  # a file of an earlier version is named here, and not where it is shown
    return found


def _history(path: Path) -> History:
    """Columns of numbers; None where nothing was evaluated. A killed run may leave a torn last line."""
    table = pd.read_csv(check_file(path), on_bad_lines="skip").apply(pd.to_numeric, errors="coerce")
    return {str(name): [v if np.isfinite(v) else None for v in table[name].tolist()] for name in table.columns}

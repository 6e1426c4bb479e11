"""Several targets on one prompted encoder: inner folds that hold a formula out of all targets, and a fit for each.

    folds = folds_of(tables, "formula", settings)
    joint = fit_together(tables, folds, backbone, settings, out / "prompts")
    predictor = fit_predictor(..., folds=joint.of("gap"))

A formula that one target holds out, another may not learn from: the shared readout would remember it. Each fit is
written as soon as it is done, so that a killed run goes on with the first that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from matgraft.core.errors import DataError
from matgraft.core.processes import cores, map_in_processes
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.folds import ATTEMPTS, inner_folds, refuse_lone_classes
from matgraft.formulas.learners.inputs import Array, Inputs, Labels, Rows
from matgraft.formulas.predictor.fitting import labels_of
from matgraft.formulas.predictor.inner import InnerFolds
from matgraft.formulas.predictor.members import PROMPT
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.predictor.store import network_file, read_network, save_network
from matgraft.formulas.prompts.member import PromptFit, fit_prompts
from matgraft.formulas.table.formula_table import FormulaTable, joined_groups


@dataclass(frozen=True, eq=False)
class Together:
    """What several targets share.

    Attributes
    ----------
    folds
        By target, its rows in each inner fold.
    fits
        One a fold, on the rest.
    """

    folds: Mapping[str, list[Rows]]
    fits: Sequence[PromptFit]

    def of(self, target: str) -> InnerFolds:
        """Return what `fit_predictor` takes for one target."""
        return InnerFolds(self.folds[target], {PROMPT.name: [fit.of(target) for fit in self.fits]})


def fit_together(
    tables: Mapping[str, FormulaTable],
    folds: Mapping[str, list[Rows]],
    backbone: CompositionBackbone,
    settings: PredictorSettings,
    folder: Path,
    progress: str = "",
) -> Together:
    """Tune prompts for all targets, once an inner fold.

    Parameters
    ----------
    folds
        As `folds_of` gives them.
    folder
        Where the fits are kept; those that lie there are taken.
    """
    labels = {target: labels_of(table.examples(), settings)[0] for target, table in tables.items()}
    parts = {
        target: (Inputs.of(table.formulas, backbone, table.covariates), labels[target])
        for target, table in tables.items()
    }
    files = [network_file(folder, PROMPT, k) for k in range(len(next(iter(folds.values()))))]

    def work(k: int) -> None:
        held = {target: _taken(part, folds[target][k]) for target, part in parts.items()}
        rest = {
            target: _taken(part, np.setdiff1d(np.arange(len(part[0])), folds[target][k]))
            for target, part in parts.items()
        }
        save_network(fit_prompts(backbone, rest, held, settings.prompt, settings.seed + k).arrays(), files[k])

    map_in_processes(work, [k for k, file in enumerate(files) if not file.is_file()], cores(), progress)
    return Together(folds, [read_network(file, partial(PromptFit.from_arrays, backbone=backbone)) for file in files])


def folds_of(tables: Mapping[str, FormulaTable], by: str, settings: PredictorSettings) -> dict[str, list[Rows]]:
    """Return by target the rows of each inner fold; no fold tears apart a formula or what `by` names, in any target."""
    keys = [key for table in tables.values() for key in table.keys]
    names = iter(joined_groups(keys, [name for table in tables.values() for name in table.named(by)]))
    groups = {target: list(islice(names, len(table.formulas))) for target, table in tables.items()}
    classes = {target: table.values for target, table in tables.items() if table.classes}
    return shared_folds(groups, settings.inner_folds, settings.seed, classes)


def shared_folds(
    groups: Mapping[str, Sequence[str]], n_folds: int, seed: int, classes: Mapping[str, Array] | None = None
) -> dict[str, list[Rows]]:
    """Return by target the rows of each fold; a group is in the same fold of all targets, and no fold lacks a target.

    No fold holds all rows of a class: `classes` are their indices (n,), by target.

    Raises
    ------
    DataError
        If a target has too few rows for that.
    """
    joined = [group for each in groups.values() for group in each]
    starts = np.cumsum([0, *map(len, groups.values())])
    n_folds = min(n_folds, *(len(set(each)) for each in groups.values()))
    for target, indices in (classes or {}).items():
        refuse_lone_classes(groups[target], indices, where=f"target {target!r}")
    numbers = _joined_classes(groups, classes or {})
    for attempt in range(ATTEMPTS if n_folds > 1 else 0):
        folds = inner_folds(joined, n_folds, seed + 1000 * attempt, numbers)
        found = {
            target: [fold[(fold >= start) & (fold < end)] - start for fold in folds]
            for target, start, end in zip(groups, starts, starts[1:], strict=False)
        }
        if all(len(fold) for each in found.values() for fold in each):
            return found
    fewest = min(groups, key=lambda target: len(set(groups[target])))
    raise DataError(
        f"{len(groups[fewest])} rows of {fewest!r} cannot fill {max(2, n_folds)} folds that all targets share",
        remedy="fewer folds, or a run of its own for this target",
        options=[{"inner_folds": 2}] if n_folds > 2 else [],
    )


def _joined_classes(groups: Mapping[str, Sequence[str]], classes: Mapping[str, Array]) -> Array:
    """Return (n,) numbers of the classes of all targets' rows; a target of values is one class."""
    own = [classes.get(target, np.zeros(len(each))) for target, each in groups.items()]
    before = np.cumsum([0, *(indices.max(initial=0) + 1 for indices in own)])
    return np.concatenate([indices + first for indices, first in zip(own, before, strict=False)])


def _taken(part: tuple[Inputs, Labels], rows: Rows) -> tuple[Inputs, Labels]:
    return part[0].take(rows), part[1].take(rows)

"""Which strategy for a table: several, and an untrained encoder, on the same held-out folds.

found, rows = compare_strategies(table, load_encoder("composition"))
found.best, found.as_good, found.fastest
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from matgraft.core.errors import OptionError, choose
from matgraft.core.statistics import joined_units
from matgraft.formulas.crossval import crossval, held_out_folds
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.inputs import Array
from matgraft.formulas.predictor.members import OF_POTENTIALS, STRATEGIES
from matgraft.formulas.predictor.settings import PredictorSettings, what_is_read
from matgraft.formulas.report.rows import TableRow
from matgraft.formulas.scoring.strategies import StrategyComparison, TriedStrategy, compare_losses
from matgraft.formulas.table.formula_table import FormulaTable

UNTRAINED = "untrained"
"""Every stage tuned, from an encoder that was never pretrained."""
USUAL = ("full", "partial", "feature", "descriptors", UNTRAINED)
LEAST = 1e-3
"""Smallest probability that a log loss counts, as where members are weighed."""
ABLE = {name: name for name in (*STRATEGIES, UNTRAINED) if name != "domain"}
INSTEAD = {**OF_POTENTIALS, "domain": "`matgraft tune --strategy domain` compares its own methods"}


def compare_strategies(
    table: FormulaTable,
    backbone: CompositionBackbone,
    strategies: Sequence[str] = USUAL,
    *,
    by: str = "formula",
    n_folds: int = 5,
    settings: PredictorSettings | None = None,
    given: Sequence[str] = (),
    quiet: bool = False,
) -> tuple[StrategyComparison, list[TableRow]]:
    """Score strategies on the same folds; return the comparison, and the held-out predictions of all.

    Parameters
    ----------
    strategies
        Of `ABLE`: those of `tune`, and ``untrained``.
    by, n_folds
        As of `crossval`.
    settings
        For all of them; each takes what it reads.
    given
        Keys of the settings that the user named: those that no strategy reads are an error.
    """
    settings, names = settings or PredictorSettings(), list(dict.fromkeys(strategies))
    for name in names:
        choose(name, ABLE, "strategy", INSTEAD)
    sizes = [len(train) for _, train, _ in held_out_folds(table, by, n_folds, settings.seed)]
    own: dict[str, PredictorSettings] = {}
    idle = set(given)
    for name in names:
        asked = settings.model_copy(update={"strategy": "full" if name == UNTRAINED else name})
        own[name], unread = what_is_read(asked, given, sizes, len(table.classes))
        idle &= unread
    if idle:
        raise OptionError(f"{min(idle)} is not read by {', '.join(names)}", remedy="remove it")
    losses: dict[str, Array] = {}
    tried: dict[str, TriedStrategy] = {}
    rows: list[TableRow] = []
    for name in names:
        began = time.monotonic()
        encoder = backbone.untrained(settings.seed) if name == UNTRAINED else backbone
        scored, held = crossval(
            table, encoder, by=by, n_folds=n_folds, settings=own[name], audited=(),
            progress="" if quiet else f"folds of {name}",
        )  # fmt: skip
        tried[name] = TriedStrategy(scores=scored.mean, minutes=(time.monotonic() - began) / 60)
        losses[name] = np.array([_loss(row, classes=bool(table.classes)) for row in held])
        rows += [{"strategy": name, **row} for row in held]
    places = {line: i for i, line in enumerate(table.lines)}
    order = [places[int(row["line"] or 0)] for row in rows[: len(losses[names[0]])]]
    keys, groups = ([whole[i] for i in order] for whole in (table.keys, table.named(by)))
    weighted = "weighted " if table.weighted else ""
    criterion = weighted + ("log loss" if table.classes else "mean absolute error")
    units = joined_units(keys, groups)
    found = compare_losses(losses, tried, table.weights[order], units, criterion=criterion, n_folds=len(sizes))
    return found, rows


def _loss(row: TableRow, *, classes: bool) -> float:
    """Return the absolute error of a held-out row, or its log loss."""
    if classes:
        return -float(np.log(max(float(row[f"p_{row['truth']}"] or 0), LEAST)))
    return abs(float(row["value"] or 0) - float(row["truth"] or 0))

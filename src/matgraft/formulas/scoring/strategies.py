"""Strategies side by side on the same held-out rows: how wrong each is, how sure that is, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.core.statistics import Units, mean_difference, mean_loss
from matgraft.formulas.learners.inputs import Array


class ComparedStrategy(Frozen):
    """One strategy.

    Attributes
    ----------
    error
        Mean loss over all held-out rows.
    interval
        Its 95 % interval over sets of rows that share no formula and no group; None with too few of them.
    difference, difference_interval
        To the strategy of least error, row by row; 0 and None of that one.
    scores
        Means over the folds, by name.
    minutes
        Of all folds.
    """

    strategy: str
    error: float
    interval: tuple[float, float] | None
    difference: float
    difference_interval: tuple[float, float] | None
    scores: dict[str, float]
    minutes: float


class StrategyComparison(Frozen):
    """Strategies on the same folds.

    Attributes
    ----------
    criterion
        What the errors are.
    n, n_units, n_folds
        Rows, sets of them that share no formula and no group, folds.
    rows
        By error, the least first.
    best
        The strategy of least error.
    as_good
        Those that cannot be told from it, and it: the interval of their difference holds 0, or there is none.
    fastest
        The one of these that takes least.
    findings
        What the audit of the table found before the fits.
    """

    criterion: str
    n: int
    n_units: int
    n_folds: int
    rows: tuple[ComparedStrategy, ...]
    best: str
    as_good: tuple[str, ...]
    fastest: str
    findings: tuple[Finding, ...] = ()


class TriedStrategy(Frozen):
    """What came of one strategy: scores by name, and minutes."""

    scores: dict[str, float]
    minutes: float


def compare_losses(
    losses: Mapping[str, Array],
    tried: Mapping[str, TriedStrategy],
    weights: Array,
    units: Units,
    *,
    criterion: str,
    n_folds: int,
) -> StrategyComparison:
    """Compare strategies by their losses (n,) on the same rows.

    Parameters
    ----------
    losses
        By strategy, not yet times the weights (n,).
    """
    found = {name: mean_loss(weights * one, weights, units) for name, one in losses.items()}
    order = sorted(found, key=lambda name: found[name].value)
    best = order[0]
    against = {name: mean_difference(weights * losses[name], weights * losses[best], weights, units) for name in order}
    rows = tuple(
        ComparedStrategy(
            strategy=name,
            error=found[name].value,
            interval=found[name].above_zero,
            difference=against[name].value,
            difference_interval=None if name == best else against[name].interval,
            **dict(tried[name]),
        )
        for name in order
    )
    as_good = tuple(row.strategy for row in rows if not _is_worse(row.difference_interval))
    return StrategyComparison(
        criterion=criterion,
        n=len(weights),
        n_units=found[best].n_units,
        n_folds=n_folds,
        rows=rows,
        best=best,
        as_good=as_good,
        fastest=min(as_good, key=lambda name: tried[name].minutes),
    )


def _is_worse(interval: Sequence[float] | None) -> bool:
    return interval is not None and interval[0] > 0

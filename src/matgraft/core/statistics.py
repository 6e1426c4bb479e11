"""What a figure is sure to: standard errors and intervals over units that are independent of each other.

Frames of one simulation resemble each other, and so do rows of one formula or of one paper. A unit is what must be
counted as one observation: a group of frames, a set of rows that share a formula or a group (`joined_units`).

    totals = unit_totals(rows, units)                     # (n_units, k); units with nothing to compare are left out
    found = estimate(log_errors, totals, shares)          # the sum of any smooth functions of the sums
    found.value, found.error, found.interval              # interval None: fewer than five units, undecided

Method: the delete-one-unit jackknife with Student's t. The standard error is

    error^2 = (G - 1) / G  sum_g (value without unit g - value)^2

(the estimator CV3 of MacKinnon, Nielsen and Webb, Journal of Econometrics 232, 272 (2023)). The degrees of freedom are
those of the effective number of units, 1 / sum_g w_g^2 - 1 with w_g the share of unit g (Kish, Survey Sampling, 1965;
for clusters of unequal size Carter, Schnepel and Steigerwald, Review of Economics and Statistics 99, 698 (2017)): where
one unit holds most of the errors, there are few observations, however many units are counted.

Two models that are compared have two sets of shares. They are averaged, each with the jackknife variance of its own
model as weight. The degrees of freedom of a difference are nearly those of the term with the larger variance
(Satterthwaite, Biometrics Bulletin 2, 110 (1946)): a model whose errors lie in two units is not made surer by another
whose errors are spread over twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Units = NDArray[np.intp]
Statistic = Callable[[Array], Array]
"""Sums (..., k) -> terms (..., m); their sum is the value. A comparison has two terms, one a model."""

MIN_UNITS = 5
"""With fewer units nothing is decided: an error estimated from four differences is itself wrong by half."""
LEVEL = 0.95
ROUNDING = 1e-9
"""Of a sum of shares that is meant to reach a level."""


@dataclass(frozen=True)
class Estimate:
    """A value with what is known of its uncertainty.

    Attributes
    ----------
    value
        On all units.
    error
        Standard error; infinite with fewer than `MIN_UNITS` units.
    n_units
        Units that carry the quantity.
    effective
        How many units of equal share would be worth as much.
    """

    value: float
    error: float
    n_units: int
    effective: float

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval; None where nothing is decided, or a model diverged."""
        from scipy import stats

        if not np.isfinite(self.error):
            return None
        margin = float(stats.t.ppf((1 + LEVEL) / 2, max(self.effective - 1, 1.0))) * self.error
        return self.value - margin, self.value + margin

    @property
    def above_zero(self) -> tuple[float, float] | None:
        """The interval of what cannot be negative, such as an error."""
        return self.interval and (max(self.interval[0], 0.0), self.interval[1])


def numbered(names: Sequence[Hashable]) -> Units:
    """Return (n,) numbers of units from their names, one a row, counted from 0 by first appearance."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.intp)


def joined_units(*namings: Sequence[Hashable]) -> Units:
    """Return (n,) numbers of the smallest units that no naming tears apart.

    Rows of one name in any of the namings are one unit: two papers that measured the same formula are joined, since
    neither says anything that is independent of the other.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(namings[0])
    rows = np.arange(n)
    links, offset = [], n
    for names in namings:
        numbers = numbered(names)
        links.append(np.stack([rows, numbers + offset]))
        offset += n
    pairs = np.concatenate(links, 1)
    graph = coo_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(offset, offset))
    return numbered(connected_components(graph, directed=False)[1][:n].tolist())


def unit_totals(rows: Array, units: Units) -> Array:
    """Add up the rows (n, k) of each unit; units whose first column is 0 have nothing to compare and are left out."""
    totals = np.zeros((int(units.max(initial=-1)) + 1, rows.shape[1]))
    np.add.at(totals, units, rows)
    return totals[totals[:, 0] > 0]


def estimate(statistic: Statistic, totals: Array, shares: Array) -> Estimate:
    """Estimate a sum of smooth functions of sums over units.

    Parameters
    ----------
    statistic
        Of sums (..., k), with m terms.
    totals
        (n_units, k) sums of each unit.
    shares
        (n_units, m) how much each unit holds of what each term averages, not negative; columns of any sum.
    """
    n_units = len(totals)
    with np.errstate(all="ignore"):  # sums of a diverged model are infinite: what is not finite has no interval
        terms = statistic(totals.sum(0))
        value = float(terms.sum())
        if n_units < MIN_UNITS:
            return Estimate(value, np.inf, n_units, effective_number(_pooled(shares, np.ones(len(terms)))))
        left = statistic(_without_each(totals))
        changes = np.where(left == terms, 0.0, left - terms)
        error = np.sqrt((n_units - 1) / n_units * (changes.sum(1) ** 2).sum())
        effective = effective_number(_pooled(shares, (changes**2).sum(0)))
    return Estimate(value, float(error), n_units, effective)


def mean_difference(ours: Array, theirs: Array, weights: Array, units: Units) -> Estimate:
    """Estimate the mean difference of paired losses, ``sum(ours - theirs) / sum(weights)``.

    Parameters
    ----------
    ours, theirs
        (n,) losses of each row, not negative, times its weight.
    weights
        (n,) how much each row counts; units of weight 0 do not.
    units
        (n,) unit of each row.
    """
    totals = unit_totals(np.stack([weights, ours, theirs], 1), units)
    return estimate(lambda sums: np.array([1, -1]) * sums[..., 1:] / sums[..., :1], totals, totals[:, 1:])


def mean_loss(losses: Array, weights: Array, units: Units) -> Estimate:
    """Estimate the mean ``sum(losses) / sum(weights)`` of losses that were multiplied by their weights."""
    return mean_difference(losses, np.zeros_like(losses), weights, units)


def shared_weights(weights: Array, units: Units) -> Array:
    """Return weights (n,) under which a unit counts as its heaviest row, and its rows share that by their own weights.

    So a unit of many rows counts no more than one of few, and a unit that hardly counts is as good as absent.
    """
    totals, heaviest = np.bincount(units, weights)[units], np.zeros(len(weights))
    np.maximum.at(heaviest, units, weights)
    return np.divide(weights * heaviest[units], totals, out=np.zeros(len(weights)), where=totals > 0)


def conformal_quantile(scores: Array, units: Units, level: float) -> float:
    """Return a bound that a score of a new unit does not exceed, with a probability of `level` or more.

    Every unit weighs alike and its rows share its weight. The new unit weighs as much, and may lie above all others: of
    K units there is a bound where ``K / (K + 1)`` reaches the level (hierarchical conformal prediction: Lee, Barber and
    Willett, arXiv:2306.06342, 2023).

    Parameters
    ----------
    scores, units
        (n,) scores, and the unit of each.

    Returns
    -------
    float
        Infinite where there are too few units.
    """
    _, numbers, counts = np.unique(units, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(1 / counts[numbers][order]) / (len(counts) + 1)
    first = int(np.searchsorted(reached, level - ROUNDING))
    return float(scores[order][first]) if first < len(scores) else np.inf


def effective_number(shares: Array) -> float:
    """Return the number of units of equal share that would be worth as much (Kish)."""
    whole = shares.sum()
    return float(whole**2 / (shares**2).sum()) if whole > 0 and np.isfinite(whole) else float(len(shares))


def _pooled(shares: Array, variances: Array) -> Array:
    """Return shares (n_units,) averaged over the terms (n_units, m), those of an unsure term counting more."""
    wholes = shares.sum(0)
    parts = np.where((wholes > 0) & np.isfinite(wholes), shares / wholes, 1 / max(len(shares), 1))
    weights = variances if np.isfinite(variances).all() and variances.any() else np.ones(len(variances))
    return np.asarray(parts @ weights)


def _without_each(totals: Array) -> Array:
    """Return (n_units, k) sums over all units but one, added up without the one: no digits are lost by subtraction."""
    none = np.zeros((1, totals.shape[1]))
    before, after = (np.concatenate([none, np.cumsum(each, 0)[:-1]]) for each in (totals, totals[::-1]))
    return np.asarray(before + after[::-1])

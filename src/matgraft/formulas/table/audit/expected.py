"""What a value should be near: the values of the formulas that are nearest by composition.

No model is fitted. Formulas are points in the space of their descriptors (`matgraft.formulas.descriptors.magpie`, each
column of unit variance); what is expected of a formula is the median over its nearest other formulas, each with the
median of its own rows. A median stays right while fewer than half of the neighbours are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matgraft.core.statistics import Units
from matgraft.formulas import descriptors
from matgraft.formulas.formula import Formula

Array = NDArray[np.float64]
NEIGHBOURS = 7
MOST_POINTS = 8000
"""Formulas that are searched; of more, so many are drawn, so that 100,000 rows take seconds."""
NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, eq=False)
class Departures:
    """How far values lie from what is expected of their formulas.

    Attributes
    ----------
    linear
        (n,) value minus the expected one.
    magnitude
        (n,) log10 of the size of the value minus the expected one; NaN where a value is 0.
    raw
        (n,) log10 of the size of the value minus the median over the table; NaN where a value is 0.
    """

    linear: Array
    magnitude: Array
    raw: Array


def departures(formulas: Sequence[Formula], of: Units, values: Array) -> Departures:
    """Hold values (n,) against those of the nearest formulas; `of` (n,) numbers the formula of each row."""
    sizes = np.where(values == 0, np.nan, np.abs(values))
    logs = np.log10(sizes, where=np.isfinite(sizes), out=np.full(len(values), np.nan))
    nearest = _neighbours(formulas, of)
    return Departures(
        linear=values - _expected(values, of, nearest)[of],
        magnitude=logs - _expected(logs, of, nearest)[of],
        raw=logs - (np.nanmedian(logs) if np.isfinite(logs).any() else np.nan),
    )


def bulk_spread(values: Array) -> float:
    """Return the standard deviation of the bulk of some values, by their median absolute deviation; 0 of none."""
    kept = values[np.isfinite(values)]
    return float(NORMAL * np.median(np.abs(kept - np.median(kept)))) if len(kept) else 0.0


def _neighbours(formulas: Sequence[Formula], of: Units) -> NDArray[np.intp]:
    """Return (n_formulas, k) numbers of the nearest other formulas."""
    from sklearn.neighbors import NearestNeighbors

    n_formulas = int(of.max(initial=-1)) + 1
    first = np.unique(of, return_index=True)[1]
    points = descriptors.magpie([formulas[i] for i in first])
    points = (points - points.mean(0)) / np.maximum(points.std(0), 1e-9)
    searched = np.arange(n_formulas)
    if n_formulas > MOST_POINTS:
        searched = np.sort(np.random.default_rng(0).choice(n_formulas, MOST_POINTS, replace=False))
    k = min(NEIGHBOURS + 1, len(searched))
    found = searched[NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points[searched]).kneighbors(points)[1]]
    others = found != np.arange(n_formulas)[:, None]
    order = np.argsort(~others, axis=1, kind="stable")[:, : max(k - 1, 1)]
    return np.take_along_axis(found, order, axis=1)


def _expected(values: Array, of: Units, nearest: NDArray[np.intp]) -> Array:
    """Return (n_formulas,) medians over the neighbours of the medians of their own rows; NaN where none has a value."""
    order = np.lexsort((values, of))
    own = np.full(len(nearest), np.nan)
    for formula, rows in zip(range(len(nearest)), np.split(order, np.cumsum(np.bincount(of))[:-1]), strict=True):
        kept = values[rows][np.isfinite(values[rows])]
        own[formula] = np.median(kept) if len(kept) else np.nan
    beside = own[nearest]
    known = np.isfinite(beside).any(1)
    found = np.full(len(nearest), np.nan)
    found[known] = np.nanmedian(beside[known], axis=1)
    return found

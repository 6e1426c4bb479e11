"""Statistics that a few broken frames cannot spoil.

>>> line = fit_line(predicted, labels, other=composition)
>>> line.slope, line.misfit
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matgraft.core.quantities import Array

_ITERATIONS = 40
_SETTLED = 1e-9  # change of the coefficients, relative to the largest, at which iterations end
_LEFT_OUT = 20  # groups of the jackknife; each costs one fit
_PARTS = 5  # into which a single trajectory is cut
_DROPPED = 0.03  # part of the largest residuals that `typical` leaves out


@dataclass(frozen=True)
class Line:
    """A line through data, beside nuisance columns.

    Attributes
    ----------
    slope
        Change of y for a change of x by one.
    residuals
        (n,) what is left of y.
    misfit
        Average size of the residuals, relative to a fit without x: 0 for a perfect line, 1 where x explains nothing.
        It sees every frame but the worst 3 %.
    median_misfit
        The same by medians: blind to what the smaller half of the frames does.
    """

    slope: float
    residuals: Array
    misfit: float
    median_misfit: float


def least_absolute(columns: Array, y: Array) -> Array:
    """Fit y by columns with the least sum of absolute residuals.

    Iteratively reweighted least squares (Schlossmacher 1973); columns that depend on others share their weight.

    Parameters
    ----------
    columns
        (n, k).
    y
        (n,).

    Returns
    -------
    (k,) array
        Coefficients.
    """
    norms = np.maximum(np.sqrt((columns**2).sum(axis=0)), 1e-300)
    scaled = columns / norms
    sizes = np.abs(y)
    floor = max(1e-9 * float(np.median(sizes) or sizes.max()), 1e-300) if len(y) else 1.0
    weights = np.ones(len(y))
    found = np.zeros(columns.shape[1])
    for _ in range(_ITERATIONS):
        weighted = scaled * weights[:, None]
        before, found = found, np.linalg.lstsq(weighted.T @ scaled, weighted.T @ y, rcond=1e-10)[0]
        if np.abs(found - before).max(initial=0.0) <= _SETTLED * np.abs(found).max(initial=0.0):
            break
        weights = 1 / np.maximum(np.abs(y - scaled @ found), floor)
        weights /= weights.max()
    return np.asarray(found / norms)


def fit_line(x: Array, y: Array, other: Array | None = None) -> Line:
    """Regress y (n,) on x (n,) and nuisance columns (n, k), robustly."""
    other = np.zeros((len(y), 0)) if other is None else other
    without = y - other @ least_absolute(other, y) if other.shape[1] else y
    columns = _line_columns(x, other)
    found = least_absolute(columns, y)
    rest = y - columns @ found
    return Line(float(found[0]), rest, _ratio(typical(rest), typical(without)), _ratio(_median(rest), _median(without)))


def through_origin(x: Array, y: Array) -> float:
    """Fit y by x alone with the least sum of absolute residuals: the median of y/x, weighed by the size of x."""
    inside = x != 0
    if not inside.any():
        return 0.0
    ratios, weights = y[inside] / x[inside], np.abs(x[inside])
    order = np.argsort(ratios)
    passed = np.cumsum(weights[order])
    return float(ratios[order][np.searchsorted(passed, passed[-1] / 2)])


def slope_error(slope: Callable[[NDArray[np.bool_]], float], blocks: NDArray[np.int64]) -> float:
    """Return the standard error of the logarithm of a slope by a jackknife over blocks (Efron and Tibshirani 1993).

    Parameters
    ----------
    slope
        Which rows are kept -> slope.
    blocks
        (n,) block of each row. A single one is cut into consecutive parts, which tell the scatter within it only.

    Returns
    -------
    float
        Infinite where the slope's sign depends on what is left out.
    """
    groups = _jackknife_groups(blocks)
    n = int(groups.max()) + 1
    found = np.array([slope(groups != k) for k in range(n)]) if n > 1 else np.zeros(1)
    if not ((found > 0).all() or (found < 0).all()):
        return np.inf
    logarithms = np.log(np.abs(found))
    return float(np.sqrt((n - 1) / n * ((logarithms - logarithms.mean()) ** 2).sum()))


def _jackknife_groups(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the group that each row belongs to, (n,) from 0: groups are left out in turn."""
    places = np.unique(blocks, return_inverse=True)[1]
    if places.max(initial=0) == 0:
        return np.arange(len(blocks)) * _PARTS // len(blocks)
    return np.asarray(places % _LEFT_OUT, dtype=np.int64)


def line_slope(x: Array, y: Array, other: Array) -> float:
    """Return the slope alone of `fit_line`."""
    return float(least_absolute(_line_columns(x, other), y)[0])


def _line_columns(x: Array, other: Array) -> Array:
    """Return x without what the nuisance columns explain, beside these: well conditioned for large energies."""
    x = x - other @ np.linalg.lstsq(other, x, rcond=None)[0] if other.shape[1] else x
    return np.column_stack([x, other])


def typical(values: Array) -> float:
    """Average absolute value, without the largest 3 % (at least one value)."""
    sizes = np.sort(np.abs(values))
    kept = sizes[: max(1, len(sizes) - int(np.ceil(_DROPPED * len(sizes))))]
    return float(kept.mean()) if len(kept) else 0.0


def spread(values: Array) -> float:
    """Return the standard deviation of the bulk: 1.4826 times the median absolute deviation."""
    return float(1.4826 * _median(values - np.median(values))) if len(values) else 0.0


def cosine(first: Array, second: Array) -> float:
    """Correlation through the origin; 0 where one of the two vanishes."""
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / norm if norm > 0 else 0.0


def rms(values: Array) -> float:
    """Root of the mean square; 0 for nothing."""
    return float(np.sqrt(np.mean(np.square(values)))) if np.size(values) else 0.0


def _median(values: Array) -> float:
    return float(np.median(np.abs(values)))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 1.0

"""On which scale a target is learned: as it is, by its logarithm, or by its inverse hyperbolic sine.

Predictions are quantiles, and quantiles go through any rising function unchanged: the median of the logarithm is the
logarithm of the median. So intervals and medians come back exactly.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from matgraft.core.frozen import Frozen

Array = NDArray[np.float64]
Scale = Literal["auto", "none", "log", "asinh"]
DECADES = 1.5
"""Powers of ten between the 1st and the 99th percentile from which on positive values are learned by logarithm."""
HEAVY = 8.0
"""Widths from the median to the 99th percentile from which on a tail is heavy; 2.6 for a normal distribution."""
ROUNDING = 1e-12
"""Relative error that a value may have after both functions."""


class Transform(Frozen):
    """A rising function and its inverse."""

    scale: Literal["none", "log", "asinh"] = "none"
    centre: float = 0.0
    width: float = 1.0
    positive: bool = False
    """No value is below 0. The inverse is rounded, so that it cannot be asked: an exact 0 may come back as -1e-16."""

    def forward(self, y: Array) -> Array:
        """Return the values that members learn."""
        if self.scale == "log":
            return np.log(y)
        return np.arcsinh((y - self.centre) / self.width) if self.scale == "asinh" else y

    def back(self, z: Array) -> Array:
        """Return values in the target's own units."""
        if self.scale == "log":
            return np.exp(z)
        return self.centre + self.width * np.sinh(z) if self.scale == "asinh" else z

    def back_bounds(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Return the bounds of intervals in the target's own units.

        They are moved outward by what rounding may take: where a bound is one of the target's values, the value itself
        lies inside.
        """
        low, high = self.back(low), self.back(high)
        if self.scale == "none":
            return low, high
        most = np.finfo(float).max  # a finite slack leaves an infinite bound as it is
        slack_low, slack_high = (ROUNDING * np.clip(np.abs(one), abs(self.centre), most) for one in (low, high))
        return low - slack_low, high + slack_high


def choose_transform(y: Array, wanted: Scale = "auto", weights: Array | None = None) -> Transform:
    """Return the transform of a target; ``auto`` looks at its positive range and at its tails.

    Parameters
    ----------
    weights
        (n,) how much each value counts; by default alike.

    Raises
    ------
    ValueError
        If the logarithm of a value that is not positive is asked for.
    """
    weights = np.ones(len(y)) if weights is None else weights
    low, centre, high = (float(quantile) for quantile in _quantiles(y, [0.25, 0.5, 0.75], weights))
    # Where more than half of the values are equal, the quartiles say nothing of how far the others lie.
    scatter = float(np.average((y - np.average(y, weights=weights)) ** 2, weights=weights)) ** 0.5
    width = max((high - low) / 1.35 or scatter, 1e-12)
    if wanted == "log" and (y <= 0).any():
        raise ValueError(f"the logarithm of {float(y.min()):g} does not exist")
    if wanted == "auto":
        wanted = _seen(y, centre, width, weights)
    positive = bool((y >= 0).all())
    if wanted != "asinh":
        return Transform(scale=wanted, positive=positive)
    return Transform(scale=wanted, centre=centre, width=width, positive=positive)


def _seen(y: Array, centre: float, width: float, weights: Array) -> Literal["none", "log", "asinh"]:
    first, last = _quantiles(y, [0.01, 0.99], weights)
    if (y > 0).all() and np.log10(last / first) > DECADES:
        return "log"
    zero_inflated = (y >= 0).all() and np.average(y == 0, weights=weights) > 0.05
    heavy = _quantiles(np.abs(y - centre), [0.99], weights)[0] > HEAVY * width
    return "asinh" if heavy and not zero_inflated else "none"


def _quantiles(y: Array, levels: list[float], weights: Array) -> Array:
    """Return the quantiles of values; of values that count differently the nearest value below (numpy has no other)."""
    if (weights == weights[0]).all():
        return np.asarray(np.quantile(y, levels))
    return np.asarray(np.quantile(y, levels, weights=weights, method="inverted_cdf"))

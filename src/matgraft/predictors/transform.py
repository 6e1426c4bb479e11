"""On which scale a target is learned: as it is, by its logarithm, or by its inverse hyperbolic sine.

Predictions are quantiles, and quantiles go through any rising function unchanged: the median of the logarithm is the
logarithm of the median. So intervals and medians come back exactly.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Array = NDArray[np.float64]
Scale = Literal["auto", "none", "log", "asinh"]
DECADES = 1.5
"""Powers of ten between the 1st and the 99th percentile from which on positive values are learned by logarithm."""
HEAVY = 8.0
"""Widths from the median to the 99th percentile from which on a tail is heavy; 2.6 for a normal distribution."""


class Transform(BaseModel):
    """A rising function and its inverse."""

    model_config = ConfigDict(frozen=True)

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


def choose_transform(y: Array, wanted: Scale = "auto") -> Transform:
    """Return the transform of a target; ``auto`` looks at its positive range and at its tails.

    Raises
    ------
    ValueError
        If the logarithm of a value that is not positive is asked for.
    """
    centre = float(np.median(y))
    low, high = np.quantile(y, [0.25, 0.75])
    width = max(float(high - low) / 1.35, 1e-12)
    if wanted == "log" and (y <= 0).any():
        raise ValueError(f"the logarithm of {float(y.min()):g} does not exist")
    if wanted == "auto":
        wanted = _seen(y, centre, width)
    positive = bool((y >= 0).all())
    if wanted != "asinh":
        return Transform(scale=wanted, positive=positive)
    return Transform(scale=wanted, centre=centre, width=width, positive=positive)


def _seen(y: Array, centre: float, width: float) -> Literal["none", "log", "asinh"]:
    first, last = np.quantile(y, [0.01, 0.99])
    if (y > 0).all() and np.log10(last / first) > DECADES:
        return "log"
    zero_inflated = (y >= 0).all() and (y == 0).mean() > 0.05
    heavy = np.quantile(np.abs(y - centre), 0.99) > HEAVY * width
    return "asinh" if heavy and not zero_inflated else "none"

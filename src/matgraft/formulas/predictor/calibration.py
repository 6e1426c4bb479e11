"""Error bars that hold what they state: intervals and probabilities set on out-of-fold predictions.

Intervals (conformalised quantiles, Romano et al. 2019): the central part of the predicted distribution is taken as wide
as it must be for the stated part of the out-of-fold truths to lie inside; where even the widest falls short, a margin
is added on both sides. Probabilities: one temperature (Guo et al. 2017), the one of the smallest log loss. For both,
the rows of one formula or group count as one truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from matgraft.core.frozen import Frozen
from matgraft.core.statistics import Units, effective_number
from matgraft.formulas.learners.forest import LEVELS

Array = NDArray[np.float64]
PARTS = np.arange(0.05, 0.981, 0.005)
"""Central parts that are tried; of distributions three times too wide the central 26 % holds 68 % of the truths."""
ROUNDING = 1e-9
"""Of a sum of shares that is meant to be whole."""
LEAST = 1e-4
"""Smallest probability of a class; a certainty would make one mistake infinitely bad."""


class IntervalRule(Frozen):
    """Which part of a predicted distribution is the interval, and the margin beyond."""

    level: float
    part: float
    margin: float = 0.0

    @classmethod
    def of(
        cls, quantiles: Array, y: Array, level: float, weights: Array | None = None, units: Units | None = None
    ) -> Self:
        """Return the rule under which the intervals of out-of-fold quantiles (n, 99) hold `level` of the truths.

        Parameters
        ----------
        weights
            (n,) how much each row counts; rows of weight 0 do not. Where every unit counts alike, the intervals hold
            for a row of a new unit (Lee, Barber and Willett, arXiv:2306.06342, 2023); with importance weights they
            hold in another domain (Tibshirani et al. 2019).
        units
            (n,) unit of each row; by default each row is one. The fewer there are, the more of the truths must be held.
        """
        weights = np.ones(len(y)) if weights is None else weights
        units = np.arange(len(y)) if units is None else units
        counted = weights > 0
        quantiles, y, weights, units = quantiles[counted], y[counted], weights[counted], units[counted]
        wanted = min(1.0, level * (1 + 1 / effective_number(np.bincount(units, weights).astype(float))))
        for part in PARTS:
            low, high = central(quantiles, float(part))
            if np.average((y >= low) & (y <= high), weights=weights) >= wanted - ROUNDING:
                return cls(level=level, part=float(part))
        low, high = central(quantiles, float(PARTS[-1]))
        outside = np.maximum(low - y, y - high)
        margin = np.quantile(outside, max(wanted - ROUNDING, 0.0), weights=weights, method="inverted_cdf")
        return cls(level=level, part=float(PARTS[-1]), margin=float(margin))

    def __call__(self, quantiles: Array) -> tuple[Array, Array]:
        """Return lower and upper bounds (n,)."""
        low, high = central(quantiles, self.part)
        return low - self.margin, high + self.margin


def pooled(quantiles: Sequence[Array], weights: Sequence[float]) -> Array:
    """Return the quantiles (n, 99) of a mixture of distributions, each given by its own.

    Values are averaged quantile by quantile; intervals cannot be: where one of five networks lets zero out of an
    interval, the average lets it out, and the zeros among the truths are missed.
    """
    used = [(one, weight) for one, weight in zip(quantiles, weights, strict=True) if weight]
    if len(used) == 1:
        return used[0][0]
    samples = np.concatenate([one for one, _ in used], 1)
    order = np.argsort(samples, axis=1, kind="stable")
    mass = np.repeat([weight for _, weight in used], len(LEVELS))[order]
    middle = (np.cumsum(mass, 1) - mass / 2) / mass.sum(1, keepdims=True)
    ascending = np.take_along_axis(samples, order, 1)
    return np.stack([np.interp(LEVELS, *row) for row in zip(middle, ascending, strict=True)])


def central(quantiles: Array, part: float) -> tuple[Array, Array]:
    """Return the bounds (n,), (n,) between which the central part of distributions lies, from quantiles (n, 99)."""
    return _read(quantiles, (1 - part) / 2), _read(quantiles, (1 + part) / 2)


def _read(quantiles: Array, level: float) -> Array:
    position = float(np.clip((level - LEVELS[0]) / (LEVELS[1] - LEVELS[0]), 0, len(LEVELS) - 1))
    below = min(int(position), len(LEVELS) - 2)
    rest = position - below
    return quantiles[:, below] * (1 - rest) + quantiles[:, below + 1] * rest


def fit_temperature(probabilities: Array, y: NDArray[np.int_], weights: Array) -> float:
    """Return the power's inverse that makes out-of-fold probabilities (n, n_classes) as likely as can be."""
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        tempered = apply_temperature(probabilities, float(np.exp(log_t)))
        return float(-(weights * np.log(tempered[np.arange(len(y)), y])).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))


def apply_temperature(probabilities: Array, t: float) -> Array:
    """Return probabilities to the power 1 / t, summing to 1."""
    powered = np.clip(probabilities, LEAST, 1) ** (1 / t)
    return np.asarray(powered / powered.sum(1, keepdims=True))

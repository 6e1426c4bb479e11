"""From members to a prediction: weights, intervals and classes as the inner folds chose them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.forest import MEDIAN
from matgraft.formulas.learners.inputs import Array, Inputs
from matgraft.formulas.learners.transform import Transform
from matgraft.formulas.predictor.calibration import IntervalRule, apply_temperature
from matgraft.formulas.predictor.prediction import Mixtures, Prediction

ONE_SIGMA = 0.6827
"""Part of a normal distribution within one standard deviation."""


@dataclass(frozen=True, eq=False)
class OutOfFoldCalibration:
    """What out-of-fold predictions decided.

    Attributes
    ----------
    weights
        (n_members,) of the mixture.
    interval
        Rule of the intervals; None for classes.
    temperatures
        (n_members,) of each member's probabilities; 1 for values.
    priors
        (n_classes,) frequencies: the class taken is the one whose probability exceeds its frequency most, which is
        best for the balanced accuracy.
    transform
        Of the values.
    ordinal
        Take the middle class instead.
    deviation
        Rule of the standard deviation: the interval that holds `ONE_SIGMA` of the truths; None for classes.
    """

    weights: Array
    interval: IntervalRule | None
    temperatures: Array
    priors: Array
    transform: Transform
    ordinal: bool = False
    deviation: IntervalRule | None = None

    def mix(self, predictions: Sequence[Array | None]) -> Array:
        """Return the mixture of the members' predictions, those of weight 0 being None."""
        out: Array | float = 0.0
        for one, weight, t in zip(predictions, self.weights, self.temperatures, strict=True):
            if one is not None:
                out = out + weight * (one if self.interval else apply_temperature(one, t))
        return np.asarray(out)

    def one_sigma(self, said: Mixtures) -> tuple[Array, Array, Array]:
        """Return (n,) values, and how far the interval that holds `ONE_SIGMA` of the truths goes below and above.

        On the scale that was learned; of values alone.
        """
        assert self.deviation is not None
        value, (low, high) = said.centre[:, MEDIAN], self.deviation(said.spread)
        return value, np.maximum(value - low, 0), np.maximum(high - value, 0)

    def read(self, mixed: Array, spread: Array, distance: Array) -> Prediction:
        """Turn mixtures into predictions: values from `mixed`, intervals from `spread` (`pooled`)."""
        if self.interval is None or self.deviation is None:
            probabilities = mixed
            if self.ordinal:
                value = (probabilities.cumsum(1) >= 0.5).argmax(1).astype(float)
            else:
                value = (probabilities / self.priors).argmax(1).astype(float)
            unsure = 1 - probabilities[np.arange(len(mixed)), value.astype(int)]
            return Prediction(value, value, value, unsure, distance, probabilities)
        least = 0.0 if self.transform.positive else -np.inf
        bounds = self.transform.back_bounds(*self.interval(spread))
        value, low, high = (np.maximum(one, least) for one in (self.transform.back(mixed[:, MEDIAN]), *bounds))
        # Values are averaged quantile by quantile, intervals are not (`pooled`): the value may lie beyond a narrow one.
        low, high = np.minimum(low, value), np.maximum(high, value)
        left, right = (self.transform.back(bound) for bound in self.deviation(spread))
        return Prediction(value, low, high, np.maximum(right - left, 0) / 2, distance)


@dataclass(frozen=True, eq=False)
class HeldIntervals:
    """Intervals of the training rows by fits that did not see them.

    Fits that saw a row know its value: trees return it, with an interval of width 0. A second measurement would differ
    from it, and what is stated of intervals was found out of fold. So a formula of the training set has the interval
    that it had there, widened to its value.

    Attributes
    ----------
    lower, upper, std
        (n,) as of `Prediction`.
    """

    lower: Array
    upper: Array
    std: Array

    def widen(self, prediction: Prediction, asked: Inputs, training: Inputs) -> Prediction:
        """Return a prediction of values whose intervals are no narrower, where a training row is the same input."""
        rows: dict[tuple[Formula, bytes], list[int]] = {}
        for k, known in enumerate(identities(training.formulas, training.blocks["covariates"])):
            rows.setdefault(known, []).append(k)
        lower, upper, std = (whole.copy() for whole in (prediction.lower, prediction.upper, prediction.std))
        for i, one in enumerate(identities(asked.formulas, asked.blocks["covariates"])):
            if same := rows.get(one):
                lower[i] = min(lower[i], self.lower[same].min())
                upper[i] = max(upper[i], self.upper[same].max())
                std[i] = max(std[i], self.std[same].max())
        return replace(prediction, lower=lower, upper=upper, std=std)


def identities(formulas: Sequence[Formula], covariates: Array) -> list[tuple[Formula, bytes]]:
    """Return (n,) what two rows share of which members see the same; `covariates` are (n, k)."""
    beside = (covariates + 0.0).astype(float)  # -0.0 is 0.0
    return [(formula, row.tobytes()) for formula, row in zip(formulas, beside, strict=True)]

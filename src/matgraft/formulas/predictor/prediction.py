"""What a predictor says of formulas, and what its members said before it was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matgraft.formulas.learners.inputs import Array, Rows


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predictions of n formulas.

    Attributes
    ----------
    value
        (n,) median, or index of the class.
    lower, upper
        (n,) bounds of the interval; for classes the value itself.
    std
        (n,) half the interval that holds 68 % of the truths; for classes one minus the probability of the value.
    probabilities
        (n, n_classes), or None.
    distance
        (n,) to the training set; above 1 a formula is farther from it than 95 % of its own are from their neighbours.
    in_training
        (n,) True for formulas that the training set has; None of out-of-fold predictions.
    """

    value: Array
    lower: Array
    upper: Array
    std: Array
    distance: Array
    probabilities: Array | None = None
    in_training: NDArray[np.bool_] | None = None

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """(n,) True for formulas unlike the training set."""
        return self.distance > 1

    def take(self, rows: Rows) -> Prediction:
        """Return some rows."""
        return self._each(lambda whole: np.asarray(whole[rows]))

    def among(self, rows: Rows, n: int) -> Prediction:
        """Return n rows, these at their places and NaN at the others."""

        def spread(whole: NDArray[Any]) -> NDArray[Any]:
            out = np.full((n, *whole.shape[1:]), np.nan)
            out[rows] = whole
            return out

        return self._each(spread)

    @classmethod
    def joined(cls, parts: Sequence[Prediction]) -> Prediction:
        """Return predictions of one target, one after the other."""
        likely = [part.probabilities for part in parts if part.probabilities is not None]
        known = [part.in_training for part in parts if part.in_training is not None]
        return cls(
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.lower for part in parts]),
            np.concatenate([part.upper for part in parts]),
            np.concatenate([part.std for part in parts]),
            np.concatenate([part.distance for part in parts]),
            np.concatenate(likely) if likely else None,
            np.concatenate(known) if known else None,
        )

    def _each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Prediction:
        value, lower, upper, std = map(change, (self.value, self.lower, self.upper, self.std))
        likely = None if self.probabilities is None else change(self.probabilities)
        known = None if self.in_training is None else change(self.in_training)
        return Prediction(value, lower, upper, std, change(self.distance), likely, known)


@dataclass(frozen=True, eq=False)
class Mixtures:
    """What the members of a predictor say together of n formulas.

    Attributes
    ----------
    centre
        (n, 99) quantiles whose median is the value, or (n, n_classes) probabilities.
    spread
        (n, 99) quantiles that intervals are read from (`pooled`); of classes the same as `centre`.
    """

    centre: Array
    spread: Array

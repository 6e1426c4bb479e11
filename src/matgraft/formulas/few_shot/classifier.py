"""Classes of formulas from a handful of examples: prototypes in the encoder's space, no training.

    few = fit_few_shot(formulas, labels, 2, Space.of(backbone, metric))
    prediction = few.predict(queries)     # class, probabilities, and whether it is none of these
    few.expectation                       # what the examples themselves say of the accuracy

Rows that repeat a formula are one example: they say nothing new of how the class scatters.

The honest expectation: each example is left out in turn and predicted by the rest. It has one shot less than the
predictions that follow, and so errs on the low side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from matgraft.core.errors import DataError
from matgraft.core.statistics import effective_number
from matgraft.formulas.few_shot.metric import Space
from matgraft.formulas.few_shot.prototypes import Prototypes
from matgraft.formulas.formula import Formula
from matgraft.formulas.predictor.prediction import Prediction

Array = NDArray[np.float64]
MOST_EXAMPLES = 200
"""Rows of a support set; of more, fine-tuning and trees learn better (docs/formulas.md)."""
HELD = 0.95


@dataclass(frozen=True)
class Expectation:
    """How many of the left-out examples were named rightly.

    Attributes
    ----------
    counted, correct
        Distinct formulas of classes that have two of them or more.
    accuracy
        Mean over these classes of the part that was named rightly: queries are taken to be of each class equally often,
        and the part of all examples would be that of the class with the most of them.
    low, high
        95 % interval of the accuracy (Wilson 1927), with the effective number of examples under these weights.
    """

    counted: int
    correct: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class FewShot:
    """Prototypes of a support set.

    Attributes
    ----------
    formulas, labels
        (n,) examples, distinct formulas, and the indices of their classes.
    shots
        (n_classes,) examples of each class.
    threshold
        Farness (`Prototypes.farness`) above which a query is none of these, by base classes or, where these are not
        known, by the left-out examples; None if neither says anything.
    expectation
        None where every class has a single formula.
    """

    space: Space
    formulas: tuple[Formula, ...]
    labels: NDArray[np.int_]
    prototypes: Prototypes
    threshold: float | None
    expectation: Expectation | None

    @property
    def shots(self) -> NDArray[np.int_]:
        """Examples of each class."""
        return self.prototypes.counts.numpy()

    def predict(self, formulas: Sequence[Formula]) -> Prediction:
        """Predict classes.

        Returns
        -------
        Prediction
            ``distance`` is the farness in units of the threshold, so that ``unlike`` means none of these; NaN where
            there is no threshold.
        """
        if not len(formulas):
            raise DataError("there is no formula to predict")
        points = self.space.points(formulas)
        numbers, farness = self.space.numbers, self.prototypes.farness(points).numpy()
        likely = torch.softmax(self.prototypes.logits(points, numbers.temperature, numbers.slope), 1).numpy()
        value = likely.argmax(1).astype(float)
        distance = np.full(len(likely), np.nan) if self.threshold is None else farness / self.threshold
        return Prediction(value, value, value, 1 - likely.max(1), distance, likely)


def fit_few_shot(
    formulas: Sequence[Formula], labels: NDArray[np.int_], n_classes: int, space: Space, *, leave_out: bool = True
) -> FewShot:
    """Make prototypes of a support set, and leave each formula out once.

    Parameters
    ----------
    formulas, labels
        (n,) rows, and indices of their classes, each of which occurs. Rows of one formula count as one example.
    leave_out
        False saves as many fits as there are formulas, where nobody asks for the expectation.

    Raises
    ------
    DataError
        If there are fewer than two classes, a class has no example, one formula stands in two classes, or there are
        more than `MOST_EXAMPLES` rows.
    """
    _check(formulas, labels, n_classes)
    formulas, labels = _distinct(formulas, labels)
    points, classes = space.points(formulas), torch.from_numpy(labels)
    prototypes = _prototypes(space, points, classes, n_classes)
    right, farness = _leave_out(space, points, classes, n_classes) if leave_out else ([], [])
    threshold = space.metric.threshold(space.distance, len(formulas) / n_classes)
    if threshold is None and len(farness):
        threshold = float(np.quantile(farness, HELD, method="higher"))
    return FewShot(space, formulas, labels, prototypes, threshold, _expectation(right))


def _prototypes(space: Space, points: Tensor, labels: Tensor, n_classes: int) -> Prototypes:
    return Prototypes(points, labels, n_classes, space.distance, space.numbers.trust)


def _leave_out(
    space: Space, points: Tensor, labels: Tensor, n_classes: int
) -> tuple[list[tuple[int, bool]], list[float]]:
    """Return of each example whose class has another one its class and whether that was named, and how far it was."""
    right, farness = [], []
    for i, label in enumerate(labels.tolist()):
        rest = torch.arange(len(labels)) != i
        if not bool((labels[rest] == label).any()):
            continue
        others = _prototypes(space, points[rest], labels[rest], n_classes)
        query = points[i : i + 1]
        right.append((label, int(others.scores(query).argmax()) == label))
        farness.append(float(others.farness(query)))
    return right, farness


def _expectation(right: Sequence[tuple[int, bool]]) -> Expectation | None:
    """Return what left-out examples say, each given by its class and whether that was named."""
    if not right:
        return None
    labels, correct = (np.array(column) for column in zip(*right, strict=True))
    weights = 1 / np.bincount(labels)[labels]
    low, high = _wilson(accuracy := float(np.average(correct, weights=weights)), effective_number(weights))
    return Expectation(len(correct), int(correct.sum()), accuracy, low, high)


def _wilson(part: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a part of n (Wilson 1927), n being a number of observations that may be broken."""
    z = norm.ppf(0.975)
    centre, spread = part + z**2 / (2 * n), z * np.sqrt(part * (1 - part) / n + z**2 / (4 * n**2))
    low, high = ((centre + sign * spread) / (1 + z**2 / n) for sign in (-1, 1))
    return max(0.0, float(low)), min(1.0, float(high))


def _distinct(formulas: Sequence[Formula], labels: NDArray[np.int_]) -> tuple[tuple[Formula, ...], NDArray[np.int_]]:
    """Return each formula once, at its first row, and its class."""
    first: dict[str, int] = {}
    for i, formula in enumerate(formulas):
        if labels[first.setdefault(formula.key, i)] != labels[i]:
            raise DataError(f"{formula} is an example of two classes", remedy="leave one of the rows out")
    rows = list(first.values())
    return tuple(formulas[i] for i in rows), np.asarray(labels, dtype=np.int64)[rows]


def _check(formulas: Sequence[Formula], labels: NDArray[np.int_], n_classes: int) -> None:
    if len(formulas) != len(labels):
        raise DataError(f"{len(formulas)} formulas, but {len(labels)} classes")
    if n_classes < 2:
        raise DataError("examples of one class only", remedy="at least two classes with an example each")
    if missing := set(range(n_classes)) - set(labels.tolist()):
        raise DataError(f"no example of class {min(missing)}")
    if len(formulas) > MOST_EXAMPLES:
        raise DataError(
            f"{len(formulas)} examples, where few-shot takes at most {MOST_EXAMPLES}",
            remedy="`matgraft tune` learns from so many",
        )

"""From formulas and values to a predictor: members, their weights, calibrated intervals, and a flag for strangers.

    predictor = fit_predictor(formulas, y, backbone=load("composition"))
    prediction = predictor.predict(formulas)      # value, lower, upper, std, distance, unlike

Everything is decided inside the data given: members predict inner folds (a formula is never on both sides), the stack
weighs them on those predictions, and intervals are widened or narrowed until they would have held there (Romano et al.
2019, conformalised quantile regression).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.model_selection import GroupKFold

from matgraft.backbones.composition import CompositionBackbone
from matgraft.data.formula import Formula
from matgraft.errors import DataError
from matgraft.predictors import descriptors
from matgraft.predictors.members import MEMBERS, Blocks, Member, take
from matgraft.predictors.novelty import Neighbourhood
from matgraft.predictors.stack import member_weights

Array = NDArray[np.float64]
MEDIAN = 49
SMALLEST = 10


class PredictorSettings(BaseModel):
    """How a predictor is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Literal["auto", "feature", "descriptors"] = "auto"
    """auto: every member, weighed; feature: members on the frozen encoder; descriptors: members without it."""
    level: float = Field(0.9, gt=0.5, lt=0.98)
    """Part of the truths that an interval shall hold."""
    inner_folds: int = Field(5, ge=2)
    seed: int = 0


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
        (n,) half the central 68 % of the distribution; for classes one minus the probability of the value.
    probabilities
        (n, n_classes), or None.
    distance
        (n,) to the training set; above 1 a formula is farther from it than 95 % of its own are from their neighbours.
    """

    value: Array
    lower: Array
    upper: Array
    std: Array
    distance: Array
    probabilities: Array | None = None

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """(n,) True for formulas unlike the training set."""
        return self.distance > 1


@dataclass(frozen=True, eq=False)
class Predictor:
    """Members with their weights on their training data.

    Attributes
    ----------
    facts
        What was chosen, and what each member gave out of fold.
    margin
        Added on both sides of an interval, in units of the target.
    class_weights
        (n_classes,) factors on probabilities before the likeliest class is taken, so that rare classes are found.
    """

    backbone: CompositionBackbone
    blocks: Blocks
    y: Array
    members: tuple[Member, ...]
    weights: Array
    settings: PredictorSettings
    neighbourhood: Neighbourhood
    n_classes: int
    margin: float
    class_weights: Array
    facts: dict[str, Any]

    def predict(self, formulas: Sequence[Formula], covariates: Array | None = None) -> Prediction:
        """Predict formulas; members are fitted on the stored training data, seconds for thousands of rows."""
        test = feature_blocks(formulas, self.backbone, covariates)
        if test["covariates"].shape[1] != self.blocks["covariates"].shape[1]:
            raise DataError(
                f"{test['covariates'].shape[1]} covariates, but the training data had "
                f"{self.blocks['covariates'].shape[1]}"
            )
        mixed: Array | float = 0.0
        for member, weight in zip(self.members, self.weights, strict=True):
            if weight:
                mixed = mixed + weight * _predict(member, self.blocks, self.y, test, self.n_classes, self.settings.seed)
        return self._reading(np.asarray(mixed), self.neighbourhood.distance(test))

    def _reading(self, mixed: Array, distance: Array) -> Prediction:
        if self.n_classes:
            value = (mixed * self.class_weights).argmax(1).astype(float)
            unsure = 1 - mixed[np.arange(len(mixed)), value.astype(int)]
            return Prediction(value, value, value, unsure, distance, mixed)
        low, high = interval(mixed, self.settings.level)
        low, high = low - self.margin, high + self.margin
        if (self.y >= 0).all():
            low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
        return Prediction(mixed[:, MEDIAN], low, high, (mixed[:, 83] - mixed[:, 15]) / 2, distance)


def fit_predictor(
    formulas: Sequence[Formula],
    y: Array,
    *,
    backbone: CompositionBackbone,
    n_classes: int = 0,
    covariates: Array | None = None,
    groups: Sequence[str] | None = None,
    settings: PredictorSettings | None = None,
) -> Predictor:
    """Make a predictor.

    Parameters
    ----------
    y
        (n,) values, or class indices where `n_classes` is not 0.
    covariates
        (n, k) further numbers, such as a temperature.
    groups
        What must stay on one side of an inner fold; by default the formula.

    Raises
    ------
    DataError
        If there are fewer than ten rows, fewer than two groups, a value that is not finite, or a class of one row.
    """
    settings = settings or PredictorSettings()
    y = np.asarray(y, dtype=float)
    _check(formulas, y, n_classes)
    blocks = feature_blocks(formulas, backbone, covariates)
    members = _chosen(settings)
    folds = _inner_folds([str(f.numbers) + str(f.fractions) for f in formulas] if groups is None else groups, settings)
    out_of_fold = [_out_of_fold(member, blocks, y, folds, n_classes, settings.seed) for member in members]

    def losses(mixed: Array) -> Array:
        if n_classes:
            return -np.log(np.clip(mixed[np.arange(len(y)), y.astype(int)], 1e-3, 1))
        return np.abs(mixed[:, MEDIAN] - y)

    plain = [not member.pretrained for member in members]
    weights = member_weights(out_of_fold, losses, plain if any(plain) else [True] * len(members))
    mixed = np.asarray(sum(weight * one for weight, one in zip(weights, out_of_fold, strict=True)))
    scores = [float(losses(one).mean()) for one in out_of_fold]
    facts = {
        "criterion": "log loss" if n_classes else "mean absolute error",
        "members": [
            {"name": member.name, "score": score, "weight": float(weight), "pretrained": member.pretrained}
            for member, score, weight in zip(members, scores, weights, strict=True)
        ],
        "score": float(losses(mixed).mean()),
        "n": len(y),
    }
    return Predictor(
        backbone,
        blocks,
        y,
        members,
        weights,
        settings,
        Neighbourhood.of(blocks),
        n_classes,
        0.0 if n_classes else margin(mixed, y, settings.level),
        _balance(y, n_classes),
        facts,
    )


def feature_blocks(formulas: Sequence[Formula], backbone: CompositionBackbone, covariates: Array | None) -> Blocks:
    """Return every block of features of formulas."""
    extra = np.zeros((len(formulas), 0)) if covariates is None else np.asarray(covariates, dtype=float)
    return {
        "fractions": descriptors.element_fractions(formulas),
        "magpie": descriptors.magpie(formulas),
        "embedding": backbone.embed(formulas).astype(float),
        "properties": backbone.properties(formulas).astype(float),
        "covariates": extra,
    }


def interval(quantiles: Array, level: float) -> tuple[Array, Array]:
    """Return the central interval (n,), (n,) of quantiles (n, 99)."""
    low = round((1 - level) / 2 * 100) - 1
    return quantiles[:, low], quantiles[:, 98 - low]


def margin(quantiles: Array, y: Array, level: float) -> float:
    """Return what must be added on both sides for intervals of out-of-fold quantiles to hold `level` of the truths."""
    low, high = interval(quantiles, level)
    outside = np.maximum(low - y, y - high)
    rank = min(1.0, level * (1 + 1 / len(y)))
    return float(np.quantile(outside, rank, method="higher"))


def _check(formulas: Sequence[Formula], y: Array, n_classes: int) -> None:
    if len(formulas) != len(y):
        raise DataError(f"{len(formulas)} formulas, but {len(y)} values")
    if len(y) < SMALLEST:
        raise DataError(f"{len(y)} rows with a value", remedy=f"at least {SMALLEST} are needed")
    if not np.isfinite(y).all():
        raise DataError(f"the value of row {int(np.flatnonzero(~np.isfinite(y))[0])} is not finite")
    if n_classes and (missing := set(range(n_classes)) - set(y.astype(int))):
        raise DataError(f"no row of class {min(missing)}", remedy="leave the class out, or add rows")


def _chosen(settings: PredictorSettings) -> tuple[Member, ...]:
    wanted = {"auto": (True, False), "feature": (True,), "descriptors": (False,)}[settings.strategy]
    return tuple(member for member in MEMBERS if member.pretrained in wanted)


def _inner_folds(groups: Sequence[str], settings: PredictorSettings) -> list[NDArray[np.int_]]:
    distinct = len(set(groups))
    if distinct < 2:
        raise DataError("every row is of one group: nothing can be held out", remedy="other groups")
    folds = GroupKFold(min(settings.inner_folds, distinct), shuffle=True, random_state=settings.seed)
    return [test for _, test in folds.split(np.zeros(len(groups)), groups=list(groups))]


def _out_of_fold(
    member: Member, blocks: Blocks, y: Array, folds: Sequence[NDArray[np.int_]], n_classes: int, seed: int
) -> Array:
    everyone = np.arange(len(y))
    out = np.zeros((len(y), n_classes or 99))
    for held in folds:
        rest = np.setdiff1d(everyone, held)
        out[held] = _predict(member, take(blocks, rest), y[rest], take(blocks, held), n_classes, seed)
    return out


def _predict(member: Member, train: Blocks, y: Array, test: Blocks, n_classes: int, seed: int) -> Array:
    if not n_classes:
        return member.quantiles(train, y, test, seed)
    classes = np.unique(y.astype(int))  # an inner fold may hold every row of a rare class
    out = np.zeros((len(test["covariates"]), n_classes))
    if len(classes) == 1:
        out[:, classes] = 1.0
    else:
        out[:, classes] = member.probabilities(train, np.searchsorted(classes, y.astype(int)), test, seed)
    return out


def _balance(y: Array, n_classes: int) -> Array:
    counts = np.bincount(y.astype(int), minlength=n_classes) if n_classes else np.ones(1)
    return np.asarray(1 / np.maximum(counts, 1) * counts.sum(), dtype=float)

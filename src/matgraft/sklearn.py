"""Predictors as scikit-learn estimators: formulas in, values with error bars out.

    model = CompositionRegressor().fit(["Fe2O3", "NaCl", ...], gaps)
    gap, std = model.predict(["LiCoO2"], return_std=True)

They go into pipelines, `GridSearchCV`, `cross_val_score` and `clone`. X is a sequence of formulas, or a table whose
first column holds the formulas and whose others are covariates, all numbers. `PrototypeClassifier` needs a handful of
examples a class and reads formulas alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from matgraft.backbones.composition import CompositionBackbone
from matgraft.backbones.registry import load
from matgraft.data.formula import Formula
from matgraft.data.prompt_text import parse_plain
from matgraft.errors import OptionError
from matgraft.predictors.fewshot import Expectation, FewShot, fit_few_shot
from matgraft.predictors.members import formula_reader
from matgraft.predictors.predictor import Prediction, Predictor, PredictorSettings, fit_predictor
from matgraft.transfer.metric import Space, choose_metric

Array = NDArray[np.float64]


class _OfFormulas(BaseEstimator):  # type: ignore[misc]
    """What reads formulas."""

    def __sklearn_tags__(self) -> Tags:
        """Say that X is text, of one or two dimensions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.one_d_array = True, True
        tags.input_tags.two_d_array = True
        tags.no_validation = True
        return tags


class _Composition(_OfFormulas):
    """What the estimators of whole tables share."""

    strategy: str
    foundation: str
    inner_folds: int
    random_state: int
    predictor_: Predictor

    def unlike(self, X: Any) -> NDArray[np.bool_]:
        """Return (n,) True for formulas unlike the training set: their error bars are not to be believed."""
        return self._predict(X).unlike

    def _fit(
        self, X: Any, y: Array, n_classes: int, sample_weight: Any, groups: Any, settings: PredictorSettings
    ) -> Self:
        formulas, covariates = split_columns(X, formula_reader(self.strategy))
        self.predictor_ = fit_predictor(
            formulas,
            y,
            backbone=_encoder(self.foundation),
            n_classes=n_classes,
            covariates=covariates,
            weights=sample_weight,
            groups=None if groups is None else [str(group) for group in groups],
            settings=settings,
        )
        self.n_features_in_ = 1 + covariates.shape[1]
        return self

    def _predict(self, X: Any) -> Prediction:
        check_is_fitted(self, "predictor_")
        return self.predictor_.predict(*split_columns(X, formula_reader(self.strategy)))


class CompositionRegressor(RegressorMixin, _Composition):  # type: ignore[misc]
    """Values of formulas.

    Parameters
    ----------
    strategy
        ``auto``, ``full``, ``partial``, ``feature``, ``prompt`` or ``descriptors``. With ``prompt`` the class of the
        material may stand before a formula: ``"[OXIDE] Fe2O3"``.
    foundation
        Name or folder of a composition encoder.
    level
        Part of the truths that intervals shall hold.
    scale
        ``auto``, ``none``, ``log`` or ``asinh``.
    inner_folds
        On which members are weighed and intervals calibrated.
    random_state
        Seed of folds and members.
    """

    def __init__(
        self,
        strategy: str = "auto",
        foundation: str = "composition",
        level: float = 0.9,
        scale: str = "auto",
        inner_folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.strategy = strategy
        self.foundation = foundation
        self.level = level
        self.scale = scale
        self.inner_folds = inner_folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit; `groups` (n,) stay on one side of every inner fold, by default equal formulas do."""
        settings = PredictorSettings(
            strategy=self.strategy,
            level=self.level,
            scale=self.scale,
            inner_folds=self.inner_folds,
            seed=self.random_state,
        )
        return self._fit(X, np.asarray(y, dtype=float), 0, sample_weight, groups, settings)

    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Return medians (n,), and half the interval that holds 68 % of the truths if wanted."""
        prediction = self._predict(X)
        return (prediction.value, prediction.std) if return_std else prediction.value

    def predict_interval(self, X: Any) -> tuple[Array, Array]:
        """Return lower and upper bounds (n,) of the calibrated intervals."""
        prediction = self._predict(X)
        return prediction.lower, prediction.upper


class CompositionClassifier(ClassifierMixin, _Composition):  # type: ignore[misc]
    """Classes of formulas, with calibrated probabilities.

    The class taken is the one whose probability exceeds its frequency most, which is best for the balanced accuracy;
    ``predict_proba(X).argmax(1)`` is best for the accuracy. Parameters as of `CompositionRegressor`.
    """

    def __init__(
        self, strategy: str = "auto", foundation: str = "composition", inner_folds: int = 5, random_state: int = 0
    ) -> None:
        self.strategy = strategy
        self.foundation = foundation
        self.inner_folds = inner_folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit; `groups` (n,) stay on one side of every inner fold, by default equal formulas do."""
        labels = np.asarray(y)
        self.classes_ = np.unique(labels if sample_weight is None else labels[np.asarray(sample_weight, float) > 0])
        indices = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)  # any one for rows left out
        settings = PredictorSettings(strategy=self.strategy, inner_folds=self.inner_folds, seed=self.random_state)
        return self._fit(X, indices.astype(float), len(self.classes_), sample_weight, groups, settings)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return classes (n,)."""
        return np.asarray(self.classes_[self._predict(X).value.astype(int)])

    def predict_proba(self, X: Any) -> Array:
        """Return (n, n_classes) probabilities, in the order of `classes_`."""
        probabilities = self._predict(X).probabilities
        assert probabilities is not None
        return probabilities


class PrototypeClassifier(ClassifierMixin, _OfFormulas):  # type: ignore[misc]
    """Classes of formulas from a handful of examples each: the class whose prototype is nearest.

    `predict` always names one of `classes_`; `none_of_these` says which formulas are too far from all of them.

    Parameters
    ----------
    distance
        ``mahalanobis``, ``euclidean`` or ``cosine``.
    foundation
        Name or folder of a composition encoder.
    metric
        ``shipped``, ``none`` (nothing taught) or a folder; None takes the shipped one where it belongs to the encoder.

    Attributes
    ----------
    classes_
        Names of the classes.
    few_
        The fitted prototypes.
    """

    def __init__(
        self, distance: str = "mahalanobis", foundation: str = "composition", metric: str | None = None
    ) -> None:
        self.distance = distance
        self.foundation = foundation
        self.metric = metric

    def fit(self, X: Any, y: Any) -> Self:
        """Make the prototypes of examples."""
        self.classes_, indices = np.unique(np.asarray(y), return_inverse=True)
        backbone = _encoder(self.foundation)
        space = Space.of(backbone, choose_metric(self.metric, backbone), self.distance)
        self.few_: FewShot = fit_few_shot(_formulas_alone(X), indices, len(self.classes_), space)
        self.n_features_in_ = 1
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each formula (n,)."""
        indices = self._predict(X).value.astype(int)
        return np.asarray(self.classes_[indices])

    def predict_proba(self, X: Any) -> Array:
        """Return (n, n_classes) probabilities, in the order of `classes_`."""
        probabilities = self._predict(X).probabilities
        assert probabilities is not None
        return probabilities

    def none_of_these(self, X: Any) -> NDArray[np.bool_]:
        """Return (n,) True for formulas far from every prototype; with one example a class and ``metric="none"`` never.

        95 % of the queries of base classes are nearer; where nothing was taught, 95 % of the left-out examples.
        """
        return self._predict(X).unlike

    @property
    def expectation_(self) -> Expectation | None:
        """How many left-out examples were named rightly; None with one example a class."""
        check_is_fitted(self, "few_")
        return self.few_.expectation

    def _predict(self, X: Any) -> Prediction:
        check_is_fitted(self, "few_")
        return self.few_.predict(_formulas_alone(X))


def _encoder(name: str) -> CompositionBackbone:
    backbone = load(name)
    if not isinstance(backbone, CompositionBackbone):
        raise OptionError(f"{backbone.card.name} reads structures, not formulas", allowed=["composition"])
    return backbone


def _formulas_alone(X: Any) -> list[Formula]:
    formulas, covariates = split_columns(X)
    if covariates.shape[1]:
        raise OptionError(f"{covariates.shape[1]} columns beside the formulas: prototypes read formulas alone")
    return formulas


def split_columns(X: Any, parse: Callable[[str], Formula] = parse_plain) -> tuple[list[Formula], Array]:
    """Return the formulas of X, its first column, and the covariates (n, k), its others."""
    table = pd.DataFrame(X) if not isinstance(X, pd.DataFrame) else X
    formulas = [parse(str(text)) for text in table.iloc[:, 0]]
    return formulas, table.iloc[:, 1:].to_numpy(dtype=float)

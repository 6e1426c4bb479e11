"""Predictors of whole tables as scikit-learn estimators: formulas in, values with error bars or classes out.

    model = CompositionRegressor(covariates=["T"]).fit(table, table["conductivity"])
    value, std = model.predict(table, return_std=True)

The encoder computes in single precision, whose rounding depends on which formulas pass through it together. So the
probabilities of one formula alone and among others may differ by up to 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import _check_sample_weight, _check_y, check_is_fitted

from matgraft.core.errors import DataError
from matgraft.core.settings import validated
from matgraft.formulas.learners.inputs import Examples
from matgraft.formulas.predictor.fitting import SMALLEST, fit_predictor
from matgraft.formulas.predictor.members import formula_reader
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.settings import PredictorSettings, refuse_idle
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.sklearn.base import OfFormulas, encoded_classes
from matgraft.formulas.sklearn.covariates import Array
from matgraft.formulas.sklearn.errors import as_value_errors
from matgraft.formulas.sklearn.parameters import NESTED, Nested, given_settings, names_of_groups, seed_of
from matgraft.formulas.sklearn.tables import Name


class _Composition(OfFormulas):
    """What the estimators of whole tables share."""

    strategy: str
    foundation: str
    inner_folds: int
    random_state: Any
    network: Any
    prompt: Any
    covariates: Sequence[Name] | None
    impute: bool
    predictor_: Predictor

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return the parameters; deep ones are the settings in `network` and `prompt`, such as ``network__rate``."""
        params: dict[str, object] = super().get_params(deep=False)
        for name, kind in NESTED.items() if deep else ():
            settings = kind().model_dump() | given_settings(params[name])
            params |= {f"{name}__{key}": value for key, value in settings.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``network__rate=1e-3`` sets one of the settings in `network`, and leaves the others."""
        nested = {key: value for key, value in params.items() if key.partition("__")[0] in NESTED and "__" in key}
        super().set_params(**{key: value for key, value in params.items() if key not in nested})
        for key, value in nested.items():
            name, _, setting = key.partition("__")
            if setting not in NESTED[name].model_fields:
                allowed = ", ".join(f"{name}__{field}" for field in NESTED[name].model_fields)
                raise ValueError(f"Invalid parameter {key!r}. Valid parameters are: {allowed}")
            setattr(self, name, {**given_settings(getattr(self, name)), setting: value})
        return self

    @as_value_errors
    def unlike(self, X: Any) -> NDArray[np.bool_]:
        """Return (n,) True for formulas unlike the training set: their error bars are not to be believed."""
        return self._predict(X).unlike

    def _fit(
        self, X: Any, y: Any, classes: NDArray[Any] | None, sample_weight: Any, groups: Any, **options: Any
    ) -> Self:
        formulas, covariates = self._read_to_fit(X, formula_reader(self.strategy), y=y)
        check_consistent_length(formulas, y, groups)
        if len(y) < SMALLEST:
            raise DataError(f"{len(y)} sample(s)", remedy=f"at least {SMALLEST} are needed")
        if classes is not None and len(classes) < 2:
            raise DataError(f"y holds one class only: {classes[0]!r}", remedy="rows of another class")
        own = {name: getattr(self, name) for name in ("strategy", "inner_folds")}
        nested = {name: given for name in NESTED if (given := getattr(self, name)) is not None}
        asked = own | nested | {"seed": seed_of(self.random_state)} | options
        settings = validated(PredictorSettings, asked)
        refuse_idle(settings, rows=[len(y)], n_classes=[0 if classes is None else len(classes)])
        examples = Examples(
            formulas,
            y,
            n_classes=0 if classes is None else len(classes),
            covariates=covariates,
            weights=None if sample_weight is None else _check_sample_weight(sample_weight, formulas, dtype=float),
            groups=None if groups is None else names_of_groups(groups),
        )
        self.predictor_ = fit_predictor(examples, load_encoder(self.foundation), settings)
        return self

    def _predict(self, X: Any) -> Prediction:
        check_is_fitted(self, "predictor_")
        reader = formula_reader(self.predictor_.settings.strategy)  # that of the fit, whatever was set since
        return self.predictor_.predict(*self._read_fitted(X, reader))


class NamesClasses(ClassifierMixin):  # type: ignore[misc]
    """What names classes, by a prediction with probabilities."""

    classes_: NDArray[Any]
    _predict: Callable[[Any], Prediction]

    @as_value_errors
    def predict(self, X: Any) -> NDArray[Any]:
        """Return classes (n,)."""
        indices = self._predict(X).value.astype(int)
        return np.asarray(self.classes_[indices])

    @as_value_errors
    def predict_proba(self, X: Any) -> Array:
        """Return (n, n_classes) probabilities, in the order of `classes_`."""
        probabilities = self._predict(X).probabilities
        assert probabilities is not None
        return probabilities


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
        Seed of folds and members, or a generator of one; None draws another seed at each fit.
    network, prompt
        Settings of fine-tuned networks and of prompts: ``{"rate": 3e-4, "epochs": 40}``. A grid search names them
        ``network__rate``.
    formula
        The column of formulas, where X is a table: its name, or its number from 0. None takes the only column, or the
        one whose name says so (``formula``, ``composition``, ...); of an array without names the first.
    covariates
        Further columns to read: numbers, or words as ones and zeros. None reads no other column of a table with names,
        and every other one of an array.
    impute
        The median stands for a missing number, a word of its own for a missing word; without it they are errors.

    Attributes
    ----------
    predictor_
        What was fitted.
    n_features_in_, feature_names_in_
        Number of the columns of X, and their names where it was a table with names.
    """

    def __init__(
        self,
        strategy: str = "auto",
        foundation: str = "composition",
        level: float = 0.9,
        scale: str = "auto",
        inner_folds: int = 5,
        random_state: int | np.random.RandomState | None = 0,
        network: Nested = None,
        prompt: Nested = None,
        formula: Name | None = None,
        covariates: Sequence[Name] | None = None,
        impute: bool = False,
    ) -> None:
        self.strategy = strategy
        self.foundation = foundation
        self.level = level
        self.scale = scale
        self.inner_folds = inner_folds
        self.random_state = random_state
        self.network = network
        self.prompt = prompt
        self.formula = formula
        self.covariates = covariates
        self.impute = impute

    @as_value_errors
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit; rows of one formula, and of one of the `groups` (n,), stay on one side of every inner fold."""
        truths = None if y is None else np.asarray(_check_y(y, y_numeric=True, estimator=self), dtype=float)
        return self._fit(X, truths, None, sample_weight, groups, level=self.level, scale=self.scale)

    @as_value_errors
    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Return medians (n,), and half the interval that holds 68 % of the truths if wanted."""
        prediction = self._predict(X)
        return (prediction.value, prediction.std) if return_std else prediction.value

    @as_value_errors
    def predict_interval(self, X: Any) -> tuple[Array, Array]:
        """Return lower and upper bounds (n,) of the calibrated intervals."""
        prediction = self._predict(X)
        return prediction.lower, prediction.upper


class CompositionClassifier(NamesClasses, _Composition):
    """Classes of formulas, with calibrated probabilities.

    The class taken is the one whose probability exceeds its frequency most, which is best for the balanced accuracy;
    ``predict_proba(X).argmax(1)`` is best for the accuracy. Parameters as of `CompositionRegressor`.

    Attributes
    ----------
    classes_
        Names of the classes.
    predictor_
        What was fitted.
    n_features_in_, feature_names_in_
        Number of the columns of X, and their names where it was a table with names.
    """

    def __init__(
        self,
        strategy: str = "auto",
        foundation: str = "composition",
        inner_folds: int = 5,
        random_state: int | np.random.RandomState | None = 0,
        network: Nested = None,
        prompt: Nested = None,
        formula: Name | None = None,
        covariates: Sequence[Name] | None = None,
        impute: bool = False,
    ) -> None:
        self.strategy = strategy
        self.foundation = foundation
        self.inner_folds = inner_folds
        self.random_state = random_state
        self.network = network
        self.prompt = prompt
        self.formula = formula
        self.covariates = covariates
        self.impute = impute

    @as_value_errors
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit; rows of one formula, and of one of the `groups` (n,), stay on one side of every inner fold."""
        self.classes_, indices = encoded_classes(y, self, sample_weight)
        return self._fit(X, indices.astype(float), self.classes_, sample_weight, groups)

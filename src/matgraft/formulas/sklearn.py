"""Predictors as scikit-learn estimators: formulas in, values with error bars out.

    model = CompositionRegressor().fit(["Fe2O3", "NaCl", ...], gaps)
    gap, std = model.predict(["LiCoO2"], return_std=True)

They go into pipelines, `GridSearchCV`, `cross_val_score` and `clone`. X is a sequence of formulas, or a table whose
first column holds the formulas and whose others are covariates, all numbers. `PrototypeClassifier` needs a handful of
examples a class and reads formulas alone.

Names and numbers of columns, weights, groups and truths are checked as scikit-learn checks them; every error that the
data or a parameter causes is a ValueError.

The encoder computes in single precision, whose rounding depends on which formulas pass through it together. So the
probabilities of one formula alone and among others may differ by up to 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from numbers import Integral
from typing import Any, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_array, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, _check_y, check_is_fitted, validate_data

from matgraft.core.errors import DataError, MatgraftError, OptionError
from matgraft.core.settings import validated
from matgraft.formulas.few_shot.classifier import Expectation, FewShot, fit_few_shot
from matgraft.formulas.few_shot.metric import Space, choose_metric
from matgraft.formulas.formula import Formula, FormulaError
from matgraft.formulas.learners.inputs import Examples
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.predictor.members import formula_reader
from matgraft.formulas.predictor.predictor import (
    SMALLEST,
    Prediction,
    Predictor,
    PredictorSettings,
    fit_predictor,
    refuse_idle,
)
from matgraft.formulas.prompts.member import PromptSettings
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.registry import load_encoder

Array = NDArray[np.float64]


Method = TypeVar("Method", bound=Callable[..., Any])
NESTED: dict[str, type[BaseModel]] = {"network": NetworkSettings, "prompt": PromptSettings}
"""Parameters that hold settings of their own."""
Nested = Mapping[str, Any] | BaseModel | None
"""Some of these settings by name; None leaves all at their defaults."""


class EstimatorDataError(DataError, ValueError):
    """The data cannot be used as they stand."""


class EstimatorOptionError(OptionError, ValueError):
    """A parameter of an estimator cannot be meant."""


def as_value_errors(method: Method) -> Method:
    """Raise deliberate errors as ValueErrors of the same kind: tools of scikit-learn catch no others."""

    @wraps(method)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except MatgraftError as error:
            kind = EstimatorOptionError if isinstance(error, OptionError) else EstimatorDataError
            said = {name: getattr(error, name) for name in ("where", "allowed", "remedy", "options", "commands")}
            raise kind(error.found, **said) from error

    return call  # type: ignore[return-value]


class _OfFormulas(BaseEstimator):  # type: ignore[misc]
    """What reads formulas.

    Attributes
    ----------
    n_features_in_
        Columns of X.
    feature_names_in_
        Their names, where X was a table with names; other names, or another order, are an error later.
    """

    def __sklearn_tags__(self) -> Tags:
        """Say that X is text, of one or two dimensions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.one_d_array = True, True
        tags.input_tags.two_d_array = True
        return tags

    def _read(self, X: Any, parse: Callable[[str], Formula], *, reset: bool, **y: Any) -> tuple[list[Formula], Array]:
        """Return formulas and covariates (n, k) of X, whose columns are remembered or held against those of the fit.

        Raises
        ------
        ValueError
            If X has other columns than the fit had, holds no formula in its first column, or no numbers in the others.
        """
        table = as_table(X)
        validate_data(self, table, reset=reset, skip_check_array=True, **y)
        frame = pd.DataFrame(table)
        if not frame.shape[1]:
            raise DataError(f"X has 0 feature(s) (shape={frame.shape}) while a minimum of 1 is required.")
        others = frame.iloc[:, 1:].to_numpy(dtype=object)
        numbers = {"dtype": float, "ensure_all_finite": False, "ensure_min_features": 0}
        covariates = check_array(others, **numbers, input_name="X", estimator=self)
        if (bad := np.argwhere(~np.isfinite(covariates))).size:
            row, column = bad[0]
            found = f"covariate {column} of row {row} is {covariates[row, column]:g}"
            raise DataError(f"{found}: X must not hold NaN or inf", remedy="fill the gap, or leave the row out")
        return [_parsed(text, i, parse) for i, text in enumerate(frame.iloc[:, 0])], covariates


class _Composition(_OfFormulas):
    """What the estimators of whole tables share."""

    strategy: str
    foundation: str
    inner_folds: int
    random_state: Any
    network: Any
    prompt: Any
    predictor_: Predictor

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; deep ones are the settings in `network` and `prompt`, such as ``network__rate``."""
        params: dict[str, Any] = super().get_params(deep=False)
        for name, kind in NESTED.items() if deep else ():
            settings = kind().model_dump() | _given(params[name])
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
            setattr(self, name, {**_given(getattr(self, name)), setting: value})
        return self

    @as_value_errors
    def unlike(self, X: Any) -> NDArray[np.bool_]:
        """Return (n,) True for formulas unlike the training set: their error bars are not to be believed."""
        return self._predict(X).unlike

    def _fit(
        self, X: Any, y: Any, classes: NDArray[Any] | None, sample_weight: Any, groups: Any, **options: Any
    ) -> Self:
        formulas, covariates = self._read(X, formula_reader(self.strategy), reset=True, y=y)
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
            groups=None if groups is None else _named(groups),
        )
        self.predictor_ = fit_predictor(examples, load_encoder(self.foundation), settings)
        return self

    def _predict(self, X: Any) -> Prediction:
        check_is_fitted(self, "predictor_")
        reader = formula_reader(self.predictor_.settings.strategy)  # that of the fit, whatever was set since
        return self.predictor_.predict(*self._read(X, reader, reset=False))


class _NamesClasses(ClassifierMixin):  # type: ignore[misc]
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
    ) -> None:
        self.strategy = strategy
        self.foundation = foundation
        self.level = level
        self.scale = scale
        self.inner_folds = inner_folds
        self.random_state = random_state
        self.network = network
        self.prompt = prompt

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


class CompositionClassifier(_NamesClasses, _Composition):
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
    ) -> None:
        self.strategy = strategy
        self.foundation = foundation
        self.inner_folds = inner_folds
        self.random_state = random_state
        self.network = network
        self.prompt = prompt

    @as_value_errors
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit; rows of one formula, and of one of the `groups` (n,), stay on one side of every inner fold."""
        self.classes_, indices = encoded_classes(y, self, sample_weight)
        return self._fit(X, indices.astype(float), self.classes_, sample_weight, groups)


class PrototypeClassifier(_NamesClasses, _OfFormulas):
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
    n_features_in_, feature_names_in_
        Number of the columns of X, one, and its name where X was a table with names.
    """

    def __init__(
        self, distance: str = "mahalanobis", foundation: str = "composition", metric: str | None = None
    ) -> None:
        self.distance = distance
        self.foundation = foundation
        self.metric = metric

    @as_value_errors
    def fit(self, X: Any, y: Any) -> Self:
        """Make the prototypes of examples, of which there are at most 200: `CompositionClassifier` learns from more."""
        self.classes_, indices = encoded_classes(y, self)
        formulas = self._formulas(X, reset=True, y=indices)
        check_consistent_length(formulas, indices)
        backbone = load_encoder(self.foundation)
        space = Space.of(backbone, choose_metric(self.metric, backbone), self.distance)
        self.few_: FewShot = fit_few_shot(formulas, indices, len(self.classes_), space)
        return self

    @as_value_errors
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
        return self.few_.predict(self._formulas(X, reset=False))

    def _formulas(self, X: Any, *, reset: bool, **y: Any) -> list[Formula]:
        formulas, covariates = self._read(X, parse_plain, reset=reset, **y)
        if covariates.shape[1]:
            raise OptionError(f"{covariates.shape[1]} columns beside the formulas: prototypes read formulas alone")
        return formulas


def as_table(X: Any) -> Any:
    """Return X as a table with names, or as an array (n, k) of anything.

    Raises
    ------
    ValueError
        If X is one text, sparse, or has neither one nor two dimensions.
    """
    if isinstance(X, pd.DataFrame):
        return X
    if issparse(X):
        raise DataError("X is sparse, and formulas are text", remedy="a dense table or a list of formulas")
    if isinstance(X, str):
        raise DataError(f"X is one text, {X!r}", remedy="a list of formulas: [X]")
    array = np.asarray(pd.DataFrame(X) if isinstance(X, dict) else X, dtype=object)
    if array.ndim not in (1, 2):
        raise DataError(
            f"X has {array.ndim} dimensions, and 1 or 2 are read",
            remedy="a list of formulas, or a table. Reshape your data",
        )
    return array.reshape(len(array), -1)


def encoded_classes(y: Any, estimator: BaseEstimator, weights: Any = None) -> tuple[NDArray[Any], NDArray[np.int_]]:
    """Return the names of the classes in order, and the class (n,) of each row by its number.

    Classes are those of the rows that count; a row of weight 0 may have any number.
    """
    if y is None:
        raise DataError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    labels = _check_y(y, estimator=estimator)
    check_classification_targets(labels)
    counted = labels if weights is None else labels[_check_sample_weight(weights, labels, dtype=float) > 0]
    names = np.unique(counted)
    return names, np.searchsorted(names, labels).clip(max=len(names) - 1)


def seed_of(random_state: Any) -> int:
    """Return a seed: the number itself, or one drawn from a generator; None draws anew each time."""
    generator = check_random_state(random_state)
    return int(random_state) if isinstance(random_state, Integral) else int(generator.randint(2**31 - 1))


def _given(settings: Any) -> dict[str, Any]:
    """Return the settings that a parameter holds by name; none where it holds nothing, or what cannot be read."""
    if isinstance(settings, BaseModel):
        return settings.model_dump()
    return dict(settings) if isinstance(settings, Mapping) else {}


def _named(groups: Any) -> list[str]:
    if np.ndim(groups) != 1:
        raise DataError(f"groups have {np.ndim(groups)} dimensions", remedy="one name a row, (n,)")
    return [str(group) for group in groups]


def _parsed(text: Any, row: int, parse: Callable[[str], Formula]) -> Formula:
    if not isinstance(text, str | Formula):
        raise DataError(f"{text!r} is no formula: NaN, numbers and other things that are no text are not read",
                        where=f"row {row} of X")  # fmt: skip
    try:
        return parse(str(text))
    except FormulaError as error:
        raise DataError(error.found, where=f"row {row} of X, {error.where}", remedy=error.remedy) from None

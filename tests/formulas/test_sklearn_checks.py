"""scikit-learn's own checks of estimators.

The tags say that X is formulas, so `check_estimator` leaves out what would fit an array of numbers. Here the whole list
runs all the same, on tables whose numbers are turned into formulas. What is checked is how estimators treat X, y,
weights and parameters: a decision tree stands for the predictor, which takes seconds a fit; `slow` tests run the list
with the predictor itself. What cannot hold is listed with its reason.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import SkipTestWarning
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import Tags, get_tags
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.descriptors import element_fractions
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.classifier import fit_few_shot
from matgraft.formulas.learners.inputs import Examples
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.sklearn import (
    CompositionClassifier,
    CompositionFeaturizer,
    CompositionRegressor,
    PrototypeClassifier,
)
from matgraft.formulas.sklearn.tables import FormulaColumns, InputTable

CANNOT_HOLD = {
    "check_sample_weight_equivalence_on_dense_data": "inner folds and trees are drawn by row: a row given twice is "
    "drawn otherwise than a row of weight 2",
    "check_fit2d_predict1d": "one dimension is a list of formulas",
}
OF_PROTOTYPES = {
    "check_methods_subset_invariance": "in single precision the encoder's features hang on the batch: 1e-5, not 1e-7",
}
OF_PREDICTOR = "check_sample_weight_equivalence_on_dense_data"
TOO_MANY = {"check_classifiers_train": "it brings 300 examples, and prototypes take 200"}
METALS = ("Fe", "Ni", "Cu", "Zn", "Al", "Mg", "Ca", "Na", "K", "Ti", "V", "Cr", "Mn", "Co", "Ga", "Ge", "Sr", "Zr")


def as_formula(row: Any) -> Any:
    """Return an oxide whose amounts of metals follow from numbers; where one is none, the first cell as it is."""
    try:
        values = np.asarray(row, dtype=float)
    except (TypeError, ValueError):
        return row[0]
    if not np.isfinite(values).all():
        return row[0]
    amounts = np.clip(50_000 + 2e4 * values, 1, 1e7).astype(int)
    return "O100000" + "".join(f"{metal}{amount}" for metal, amount in zip(METALS, amounts, strict=False))


def with_formulas(table: InputTable, columns: int) -> InputTable:
    """Return a table of numbers with formulas, made of its first columns, in the place of its first column."""
    cells = table.cells
    if table.is_list or not cells.shape[1]:
        return table
    formulas = [as_formula(row[:columns]) for row in cells.to_numpy(dtype=object)]
    first = pd.Series(formulas, index=cells.index, name=cells.columns[0], dtype=object)
    return replace(table, cells=pd.concat([first, cells.iloc[:, 1:]], axis=1))


class OfNumbers:
    """An estimator of formulas for the tables of numbers that the checks make."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        tags.input_tags.categorical = tags.input_tags.dict = False
        return tags

    def _find(self, table: InputTable) -> FormulaColumns:
        if table.cells.shape[1] > 1 and not hasattr(self, "covariates"):
            return FormulaColumns(0)
        return super()._find(table)  # type: ignore[misc]

    def _read(self, table: InputTable, columns: FormulaColumns, parse: Any) -> Any:
        table = with_formulas(table, 1 if hasattr(self, "covariates") else len(METALS))
        return super()._read(table, columns, parse)  # type: ignore[misc]


class Regressor(OfNumbers, CompositionRegressor):  # type: ignore[misc]
    __doc__ = CompositionRegressor.__doc__


class Classifier(OfNumbers, CompositionClassifier):  # type: ignore[misc]
    __doc__ = CompositionClassifier.__doc__


class Prototypes(OfNumbers, PrototypeClassifier):  # type: ignore[misc]
    __doc__ = PrototypeClassifier.__doc__


class Featurizer(OfNumbers, CompositionFeaturizer):  # type: ignore[misc]
    __doc__ = CompositionFeaturizer.__doc__


@dataclass(frozen=True)
class Tree:
    """What stands for a predictor: a tree on the fractions of elements and the covariates."""

    settings: PredictorSettings
    model: Any
    n_classes: int

    @classmethod
    def fit(cls, examples: Examples, backbone: object, settings: PredictorSettings) -> Tree:
        counted = examples.rows_that_count()
        part = examples.take(counted)
        model = (DecisionTreeClassifier if part.n_classes else DecisionTreeRegressor)(random_state=settings.seed)
        model.fit(seen_by_trees(part.formulas, part.covariates), part.y, part.weights)
        return cls(settings, model, part.n_classes)

    def predict(self, formulas: Any, covariates: Any) -> Prediction:
        x = seen_by_trees(formulas, covariates)
        value, none = self.model.predict(x), np.zeros(len(x))
        likely = self.model.predict_proba(x) if self.n_classes else None
        return Prediction(value, value, value, none, none, likely)


def seen_by_trees(formulas: Any, covariates: Any) -> Any:
    return np.concatenate([element_fractions(formulas), covariates], 1)


def checks(*, with_predictor: bool) -> Iterator[Any]:
    few = {"strategy": "descriptors", "inner_folds": 2}
    whole = [Regressor(**few), Classifier(**few)]
    others = [Prototypes("euclidean", metric="none"), Featurizer("magpie")]
    for estimator in whole if with_predictor else [*whole, *others]:
        limits = dict(CANNOT_HOLD)
        if not with_predictor:
            limits.pop(OF_PREDICTOR)
        if isinstance(estimator, Prototypes):
            limits |= OF_PROTOTYPES | TOO_MANY
        for i, (one, check) in enumerate(estimator_checks_generator(estimator)):
            name = check.func.__name__
            how = {"strict": name in CANNOT_HOLD, "run": name not in TOO_MANY}
            marks = [pytest.mark.xfail(reason=limits[name], **how)] if name in limits else []
            yield pytest.param(one, check, id=f"{type(estimator).__name__}-{i}-{name}", marks=marks)


@pytest.fixture(scope="module")
def encoder() -> CompositionBackbone:
    return CompositionBackbone.scratch(0, width=8, layers=1, heads=1, features=8, property_names=("a",))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, encoder: CompositionBackbone) -> None:
    """An encoder that knows nothing, and trees that are few: what is checked does not hang on them."""
    for room in ("estimators", "prototypes", "featurizer"):
        monkeypatch.setattr(f"matgraft.formulas.sklearn.{room}.load_encoder", lambda name: encoder)
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 4)
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)


@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings
@pytest.mark.parametrize(("estimator", "check"), list(checks(with_predictor=False)))
def test_a_check_of_scikit_learn(estimator: Any, check: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matgraft.formulas.sklearn.estimators.fit_predictor", Tree.fit)
    monkeypatch.setattr("matgraft.formulas.sklearn.prototypes.fit_few_shot", partial(fit_few_shot, leave_out=False))
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(checks(with_predictor=True)))
def test_a_check_of_scikit_learn_with_the_predictor(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize(
    "estimator", [CompositionRegressor(), CompositionClassifier(), PrototypeClassifier(), CompositionFeaturizer()]
)
def test_check_estimator_passes_as_it_is_called(estimator: BaseEstimator) -> None:
    """The tags say that no array of numbers is read, so scikit-learn checks cloning and skips the rest."""
    with pytest.warns(SkipTestWarning, match="string=True"):
        results = check_estimator(estimator)
    assert [(one["check_name"], one["status"]) for one in results] == [("check_estimator_cloneable", "passed")]
    tags = get_tags(estimator).input_tags
    assert (tags.string, tags.one_d_array, tags.two_d_array, tags.sparse) == (True, True, False, False)
    assert tags.categorical == hasattr(estimator, "covariates")


def together_and_alone(encoder: CompositionBackbone, monkeypatch: pytest.MonkeyPatch, distance: str) -> float:
    """Return how far probabilities of formulas among others lie from those of each alone."""
    monkeypatch.setattr("matgraft.formulas.sklearn.prototypes.load_encoder", lambda name: encoder)
    model = PrototypeClassifier(distance, metric="none").fit(FORMULAS[:12], ["a", "b", "c"] * 4)
    alone = np.concatenate([model.predict_proba([formula]) for formula in FORMULAS[10:]])
    return float(np.abs(model.predict_proba(FORMULAS)[10:] - alone).max())


@pytest.mark.parametrize("distance", ["mahalanobis", "euclidean", "cosine"])
def test_only_single_precision_makes_a_prediction_hang_on_its_batch(
    distance: str, encoder: CompositionBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check_methods_subset_invariance asks for 1e-7, which prototypes do not reach: the limit is stated as 1e-5."""
    double = copy.deepcopy(encoder)
    for one in double.encoders:
        one.double()
    assert together_and_alone(double, monkeypatch, distance) < 1e-11
    assert together_and_alone(encoder, monkeypatch, distance) < 1e-5


FORMULAS = [f"{metal}{n}{anion}" for metal in ("Li", "Na", "K", "Mg", "Ca") for anion in "OS" for n in (1, 2)]
VALUES = np.arange(20.0)
TABLE = pd.DataFrame({"formula": FORMULAS, "T": np.linspace(300, 500, 20), "P": np.linspace(0, 1, 20)})


def fitted(X: Any = FORMULAS, y: Any = VALUES, covariates: Any = None, **options: Any) -> CompositionRegressor:
    return CompositionRegressor(strategy="descriptors", inner_folds=2, covariates=covariates).fit(X, y, **options)


@pytest.mark.parametrize(
    "spoil",
    [
        {"sample_weight": np.ones(5)}, {"sample_weight": np.ones((20, 1))}, {"sample_weight": -VALUES},
        {"sample_weight": np.zeros(20)}, {"groups": list("abc")}, {"groups": np.ones((20, 2))}, {"y": VALUES[:-1]},
        {"y": [*VALUES[:-1], np.nan]}, {"y": None}, {"X": "NaCl"}, {"X": []}, {"X": [np.nan] * 20},
        {"X": TABLE.assign(T=np.nan), "covariates": ["T"]}, {"X": TABLE, "covariates": ["t"]},
        {"X": TABLE.rename(columns={"formula": "name"})}, {"X": ["Fe2Ox"] * 20},
        {"X": np.full((20, 2, 2), "NaCl")},
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_a_value_error(spoil: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        fitted(**spoil)


def test_parameters_that_cannot_be_meant_are_value_errors() -> None:
    with pytest.raises(ValueError, match="strategy") as error:
        CompositionRegressor(strategy="best").fit(FORMULAS, VALUES)
    assert isinstance(error.value, OptionError)
    with pytest.raises(ValueError, match="row 3 of X") as error:
        fitted([*FORMULAS[:3], "Fe2Ox", *FORMULAS[4:]])
    assert isinstance(error.value, DataError)
    with pytest.raises(ValueError, match="one class only"):
        CompositionClassifier().fit(FORMULAS, ["a"] * 20)


def test_a_scalar_weight_and_a_column_of_truths_are_taken() -> None:
    plain = fitted().predict(FORMULAS)
    np.testing.assert_allclose(fitted(sample_weight=2.0).predict(FORMULAS), plain)
    with pytest.warns(UserWarning, match="column-vector"):
        np.testing.assert_allclose(fitted(y=VALUES[:, None]).predict(FORMULAS), plain)


def test_random_states_of_every_kind() -> None:
    def seed(state: Any) -> int:
        model = CompositionRegressor(strategy="descriptors", inner_folds=2, random_state=state)
        return model.fit(FORMULAS, VALUES).predictor_.settings.seed

    assert (seed(np.int64(3)), seed(3)) == (3, 3)
    assert seed(np.random.RandomState(0)) == seed(np.random.RandomState(0)) != seed(np.random.RandomState(1))
    assert 0 <= seed(None) < 2**31


def test_a_fitted_estimator_reads_as_it_was_fitted() -> None:
    """`set_params` is for the next fit: it does not change what is read until then."""
    model = clone(fitted()).fit(FORMULAS, VALUES)
    before = model.predict(FORMULAS[:2])
    model.set_params(strategy="prompt")
    np.testing.assert_array_equal(model.predict(FORMULAS[:2]), before)
    with pytest.raises(ValueError, match=r"\[OXIDE\]|prompt"):
        model.predict(["[OXIDE] Fe2O3"])

"""scikit-learn's own checks of estimators, on tables whose numbers are turned into formulas.

All three estimators go through the whole list, but for checks that take seconds of each, which were run by hand. What
cannot hold is listed with its reason.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags
from sklearn.utils.estimator_checks import estimator_checks_generator

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.sklearn import CompositionClassifier, CompositionRegressor, PrototypeClassifier, as_table

CANNOT_HOLD = {
    "check_sample_weight_equivalence_on_dense_data": "inner folds and trees are drawn by row: a row given twice is "
    "drawn otherwise than a row of weight 2",
    "check_dtype_object": "what is no text in the first column is a ValueError, as every other fault of the data",
    "check_fit2d_predict1d": "one dimension is a list of formulas",
    "check_array_api_input": "formulas are text, which array libraries other than numpy do not have",
}
OF_PROTOTYPES = {
    "check_methods_subset_invariance": "in single precision the encoder's features hang on the batch: 1e-5, not 1e-7",
}
BY_HAND = {"check_classifiers_train", "check_classifier_data_not_an_array", "check_estimators_dtypes"}
"""Prototypes alone refuse the first: it brings 300 examples, and they take 200."""
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


def with_formulas(X: Any, columns: int) -> Any:
    """Return a table of numbers with formulas, made of its first columns, in the place of its first column."""
    table = as_table(X)
    if table.ndim != 2 or not table.shape[1] or np.asarray(X).ndim == 1:
        return X
    formulas = [as_formula(row[:columns]) for row in np.asarray(table, dtype=object)]
    if not isinstance(table, pd.DataFrame):
        return np.column_stack([np.array([*formulas, None], dtype=object)[:-1], table[:, 1:]])
    first = pd.Series(formulas, index=table.index, name=table.columns[0], dtype=object)
    return pd.concat([first, table.iloc[:, 1:]], axis=1)


class OfNumbers:
    """An estimator of formulas for the tables of numbers that the checks make."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.string = tags.input_tags.one_d_array = False
        return tags

    def _read(self, X: Any, parse: Any, **options: Any) -> Any:
        alone = isinstance(self, PrototypeClassifier)
        table = with_formulas(X, len(METALS) if alone else 1)
        formulas, covariates = super()._read(table, parse, **options)  # type: ignore[misc]
        return formulas, covariates[:, :0] if alone else covariates


class Regressor(OfNumbers, CompositionRegressor):  # type: ignore[misc]
    __doc__ = CompositionRegressor.__doc__


class Classifier(OfNumbers, CompositionClassifier):  # type: ignore[misc]
    __doc__ = CompositionClassifier.__doc__


class Prototypes(OfNumbers, PrototypeClassifier):  # type: ignore[misc]
    __doc__ = PrototypeClassifier.__doc__


def checks() -> Iterator[Any]:
    few = {"strategy": "descriptors", "inner_folds": 2}
    for estimator in (Regressor(**few), Classifier(**few), Prototypes("euclidean", metric="none")):
        limits = CANNOT_HOLD | (OF_PROTOTYPES if isinstance(estimator, Prototypes) else {})
        for one, check in estimator_checks_generator(estimator):
            name = check.func.__name__
            if isinstance(estimator, Regressor) or name not in BY_HAND:
                marks = [pytest.mark.xfail(reason=limits[name], strict=name in CANNOT_HOLD)] if name in limits else []
                yield pytest.param(one, check, id=f"{type(estimator).__name__}-{name}", marks=marks)


@pytest.fixture(scope="module")
def encoder() -> CompositionBackbone:
    return CompositionBackbone.scratch(0, width=8, layers=1, heads=1, features=8, property_names=("a",))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, encoder: CompositionBackbone) -> None:
    """An encoder that knows nothing, and trees that are few: what is checked does not hang on them."""
    monkeypatch.setattr("matgraft.formulas.sklearn.load_encoder", lambda name: encoder)
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 4)
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)


@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_a_check_of_scikit_learn(estimator: BaseEstimator, check: Callable[[BaseEstimator], None]) -> None:
    check(estimator)


def together_and_alone(encoder: CompositionBackbone, monkeypatch: pytest.MonkeyPatch, distance: str) -> float:
    """Return how far probabilities of formulas among others lie from those of each alone."""
    monkeypatch.setattr("matgraft.formulas.sklearn.load_encoder", lambda name: encoder)
    model = PrototypeClassifier(distance, metric="none").fit(FORMULAS[:12], ["a", "b", "c"] * 4)
    alone = np.concatenate([model.predict_proba([formula]) for formula in FORMULAS])
    return float(np.abs(model.predict_proba(FORMULAS) - alone).max())


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


def fitted(X: Any = FORMULAS, y: Any = VALUES, **options: Any) -> CompositionRegressor:
    return CompositionRegressor(strategy="descriptors", inner_folds=2).fit(X, y, **options)


def test_columns_in_another_order_or_of_other_names_are_an_error() -> None:
    model = fitted(TABLE)
    assert model.feature_names_in_.tolist() == ["formula", "T", "P"]
    assert model.predict(TABLE[:2]).shape == (2,)
    with pytest.raises(ValueError, match="same order as they were in fit"):
        model.predict(TABLE[["formula", "P", "T"]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        model.predict(TABLE.rename(columns={"T": "temperature"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(TABLE[:2].to_numpy(dtype=object))
    assert not hasattr(fitted(TABLE["formula"]), "feature_names_in_")


@pytest.mark.parametrize(
    "spoil",
    [
        {"sample_weight": np.ones(5)}, {"sample_weight": np.ones((20, 1))}, {"sample_weight": -VALUES},
        {"sample_weight": np.zeros(20)}, {"groups": list("abc")}, {"groups": np.ones((20, 2))}, {"y": VALUES[:-1]},
        {"y": [*VALUES[:-1], np.nan]}, {"y": None}, {"X": "NaCl"}, {"X": []}, {"X": [np.nan] * 20},
        {"X": TABLE.assign(T=np.nan)}, {"X": TABLE.assign(T=["hot"] * 20)}, {"X": ["Fe2Ox"] * 20},
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

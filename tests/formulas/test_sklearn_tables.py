"""What estimators read as X: formulas in many forms, columns by name, covariates of words, gaps."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Composition

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.sklearn import CompositionRegressor
from matgraft.formulas.sklearn.base import OfFormulas, parsed_row
from matgraft.formulas.sklearn.covariates import encode_places, learn_covariates
from matgraft.formulas.sklearn.errors import EstimatorDataError
from matgraft.formulas.sklearn.tables import find_columns, table_of

FORMULAS = ["Fe2O3", "NaCl", "LiCoO2"]
COMPOSITIONS = [Composition(text) for text in FORMULAS]
TABLE = pd.DataFrame(
    {"id": [7, 8, 9], "Composition": FORMULAS, "T": [300, 400, 500], "method": ["PBE", "exp", "PBE"]}, index=[5, 5, 5]
)


class Reader(OfFormulas):
    """Reads X as `CompositionRegressor` does, and learns nothing."""

    def __init__(self, formula: Any = None, covariates: Any = None, impute: bool = False) -> None:
        self.formula, self.covariates, self.impute = formula, covariates, impute

    def fit(self, X: Any, y: Any = None) -> Reader:
        self.read_ = self._read_to_fit(X, parse_plain)
        return self

    def again(self, X: Any) -> Any:
        return self._read_fitted(X, parse_plain)


class Polars:
    """A data frame of another library."""

    columns = ("T", "formula")

    def __dataframe__(self) -> None: ...

    def __getitem__(self, name: str) -> Any:
        return iter(FORMULAS if name == "formula" else [1, 2, 3])


@pytest.mark.parametrize(
    "X",
    [
        FORMULAS, tuple(FORMULAS), np.array(FORMULAS), np.array(FORMULAS, dtype=object), np.array(FORMULAS)[:, None],
        pd.Series(FORMULAS), pd.Series(FORMULAS, dtype="string"), pd.Index(FORMULAS), pd.DataFrame({"x": FORMULAS}),
        pd.DataFrame(FORMULAS), {"formula": FORMULAS}, [[text] for text in FORMULAS], COMPOSITIONS,
        pd.Series(COMPOSITIONS), pd.DataFrame({"composition": COMPOSITIONS, "T": 1}), Polars(),
        [parse_formula(text) for text in FORMULAS], [dict(one.as_dict()) for one in COMPOSITIONS],
        pd.Series(FORMULAS).astype("category"), [Composition({"Fe3+": 2, "O2-": 3}), *FORMULAS[1:]],
    ],
)  # fmt: skip
def test_formulas_are_read_in_many_forms(X: Any) -> None:
    formulas, covariates = Reader(covariates=[]).fit(X).read_
    assert [one.reduced for one in formulas] == [parse_formula(text).reduced for text in FORMULAS]
    assert covariates.shape == (3, 0)


@pytest.mark.parametrize("item", [None, np.nan, pd.NA, 1.5, True, b"NaCl", [1], object(), "", " ", {}, {"Fe": -1},
                                  {"Fe": "x"}, {"Xx": 1}, {3: 1}, {"Fe": np.nan}, {"Fe": np.inf}, 1j])  # fmt: skip
def test_what_is_no_formula_is_named_with_its_row(item: Any) -> None:
    with pytest.raises(DataError, match="row 3 of X"):
        parsed_row(item, 3, parse_plain)


@pytest.mark.parametrize("X", ["NaCl", b"NaCl", COMPOSITIONS[0], parse_formula("NaCl"), np.zeros((1, 1, 1)), 3])
def test_one_formula_is_no_table(X: Any) -> None:
    with pytest.raises(DataError, match=r"one formula|dimensions"):
        table_of(X)


def test_columns_are_found_by_name_in_any_order() -> None:
    reader = Reader(covariates=["T", "method"]).fit(TABLE)
    assert reader.feature_names_in_.tolist() == ["id", "Composition", "T", "method"]
    assert reader.n_features_in_ == 4
    assert reader.read_[1].tolist() == [[300, 1, 0], [400, 0, 1], [500, 1, 0]]
    formulas, covariates = reader.again(TABLE[["method", "T", "Composition"]].assign(more=1))
    assert (formulas, covariates.tolist()) == (reader.read_[0], reader.read_[1].tolist())
    with pytest.raises(DataError, match=r"missing that were there in fit: 'T'"):
        reader.again(TABLE.drop(columns="T"))
    with pytest.raises(ValueError, match="expecting 4 features"), pytest.warns(UserWarning, match="feature names"):
        reader.again(FORMULAS)


def test_other_columns_are_named_and_not_read() -> None:
    with pytest.warns(UserWarning, match=r"not read: 'id', 'T', 'method'\. .*covariates=\[\] reads none") as caught:
        reader = Reader().fit(TABLE)
    assert len(caught) == 1
    assert reader.read_[1].shape == (3, 0)
    for X in (FORMULAS, TABLE[["Composition"]], TABLE, COMPOSITIONS):
        assert reader.again(X)[0] == reader.read_[0]
    assert Reader().fit(FORMULAS).again(TABLE)[0] == reader.read_[0]
    assert Reader(covariates="T").fit(TABLE).read_[1].tolist() == [[300], [400], [500]]


def test_columns_without_names_are_numbered() -> None:
    array = TABLE.to_numpy(dtype=object)
    assert Reader(1, [2]).fit(array).read_[1].tolist() == [[300], [400], [500]]
    assert Reader().fit(array[:, 1:]).read_[1].shape == (3, 3)
    assert Reader(-3, []).fit(array).again(array)[0] == Reader().fit(FORMULAS).read_[0]
    with pytest.raises(ValueError, match="expecting 4 features"):
        Reader(1, [2]).fit(array).again(array[:, 1:])


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (TABLE, {"formula": "composition"}, "did you mean 'Composition'"),
        (TABLE, {"covariates": ["t"]}, "no column 't'"),
        (TABLE, {"covariates": ["T", "T"]}, "twice"),
        (TABLE, {"covariates": ["Composition"]}, "the column of formulas"),
        (TABLE, {"formula": 4}, "none has the number 4"),
        (TABLE.rename(columns={"Composition": "sample"}), {}, "formula='id'"),
        (TABLE.to_numpy(dtype=object), {"formula": "Composition"}, "have none"),
        (pd.concat([TABLE[["T"]], TABLE], axis=1), {"covariates": ["T"]}, "several columns 'T'"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_meant_are_errors(table: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        find_columns(table_of(table), options.get("formula"), options.get("covariates"))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1, 2.5, True], [[1], [2.5], [1]]),
        (["1", "2.5", 3], [[1], [2.5], [3]]),
        (pd.array([1, 2, 3], dtype="Int64"), [[1], [2], [3]]),
        (np.array([0.1, 0.2, 0.3], np.float32), [[np.float32(0.1)], [np.float32(0.2)], [np.float32(0.3)]]),
        ([" b", "a", "b"], [[0, 1], [1, 0], [0, 1]]),
        (pd.Categorical(["a", "b", "a"]), [[1, 0], [0, 1], [1, 0]]),
        (["1", "x", 3], [[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
    ],
)  # fmt: skip
def test_covariates_become_numbers(column: Any, expected: Any) -> None:
    cells = pd.DataFrame({"c": column})
    code = learn_covariates(cells, [0], impute=False)
    np.testing.assert_array_equal(encode_places(cells, [0], code), expected)


def test_gaps_are_filled_where_that_is_asked() -> None:
    cells = pd.DataFrame({"T": [1.0, None, 3.0, 8.0], "m": ["a", "", None, "b"]})
    code = learn_covariates(cells, [0, 1], impute=True)
    assert encode_places(cells, [0, 1], code).tolist() == [[1, 0, 1, 0], [3, 1, 0, 0], [3, 1, 0, 0], [8, 0, 0, 1]]
    assert [name for one in code for name in one.names] == ["T", "m=(missing)", "m=a", "m=b"]
    full = learn_covariates(cells.iloc[[0, 3]], [0, 1], impute=True)
    assert encode_places(cells.iloc[[1]], [0, 1], full).tolist() == [[4.5, 0, 0]]


@pytest.mark.parametrize(
    ("learned", "asked", "said"),
    [
        ([1.0, 2.0], [1.0, np.nan], "c of row 1 is missing"),
        ([1.0, 2.0], [np.inf, 1.0], "c of row 0 is inf"),
        ([1.0, 2.0], ["hot", 1], "'hot', which is not a number"),
        (["a", "b"], ["a", "c"], "'c', which fit did not have"),
        (["a", "b"], ["a", None], "missing"),
        ([pd.Timestamp(0), pd.Timestamp(1)], [1], "numbers and words"),
        ([f"w{i}" for i in range(51)], ["w1"], "51 different words"),
        ([{"a": 1}], ["w1"], "numbers and words"),
        ([1j, 2j], [1], "Complex data not supported"),
    ],
)  # fmt: skip
def test_covariates_that_cannot_be_used_are_errors(learned: Any, asked: Any, said: str) -> None:
    with pytest.raises((DataError, ValueError), match=said):
        code = learn_covariates(pd.DataFrame({"c": learned}), [0], impute=False)
        encode_places(pd.DataFrame({"c": asked}), [0], code)
    with pytest.raises(DataError, match="no value at all"):
        learn_covariates(pd.DataFrame({"c": [None, np.nan]}), [0], impute=True)


def test_errors_cross_processes_with_what_they_say() -> None:
    with pytest.raises(EstimatorDataError) as caught:
        CompositionRegressor().fit(["Fe2Ox"] * 12, np.arange(12))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.facts()) == (str(caught.value), caught.value.facts())
    assert isinstance(again, ValueError)

"""Covariates of tables to predict are read as their file writes numbers, as those of the training table were."""

from types import SimpleNamespace

import pandas as pd
import pytest

from matgraft.formulas.predict import covariates_of
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.queries import read_queries
from matgraft.formulas.table.faults import sentences
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.formulas.table.reading import read_table


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1.100", "1.200", "1.300"], [1100, 1200, 1300]), (["1,100", "1,2", "1,3"], [1.1, 1.2, 1.3]),
        (["1.100,5", "20", "30"], [1100.5, 20, 30]), (["10", "20", "30"], [10, 20, 30]),
    ],
)  # fmt: skip
def test_a_table_to_predict_and_the_training_table_say_the_same_numbers(tmp_path, cells, numbers):
    rows = list(zip(["Fe2O3", "NaCl", "MgO"], cells, ["2,1", "8,5", "7,8"], strict=True))
    path = tmp_path / "t.csv"
    path.write_text("formula;T;gap\n" + "".join(";".join(row) + "\n" for row in rows))
    table = read_table(path, "gap", ColumnNames(covariates=["T"]))
    assert table.covariates[:, 0] == pytest.approx(numbers)
    names = SimpleNamespace(code=table.code, fill={})
    run = SimpleNamespace(columns=ColumnNames(covariates=["T"]))
    model = SimpleNamespace(run=run, targets=["gap"], names={"gap": names}, reader=parse_plain)
    queries = read_queries(model, path, ColumnNames())
    assert covariates_of(names, queries.cells, 3, path)[:, 0] == pytest.approx(numbers)


def test_words_of_covariates_that_differ_in_capitals_alone_are_one(tmp_path):
    path = tmp_path / "t.csv"
    words = ["HSE", "PBE", "hse", "HSE ", "a", "A"]
    path.write_text("formula,method,gap\n" + "".join(f"Fe{i + 1}O,{w},{i}.5\n" for i, w in enumerate(words)))
    table = read_table(path, "gap", ColumnNames(covariates=["method"]))
    assert table.code["method"] == ("A", "HSE", "PBE", "a")
    assert table.covariates[:, 1].tolist() == [1, 0, 1, 1, 0, 0]
    assert any("'hse' and 'HSE' differ in capitals alone" in said for said in sentences(table.decisions))
    names = SimpleNamespace(code=table.code, fill={})
    asked = pd.DataFrame({"method": ["pbe", "Hse"]})
    assert covariates_of(names, asked, 2, path)[:, 1:3].tolist() == [[0, 1], [1, 0]]

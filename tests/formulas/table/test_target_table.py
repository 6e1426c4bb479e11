"""A target's table: formulas by any name, covariates by the source's code, truths that may be absent."""

from __future__ import annotations

import numpy as np
import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.formulas.table.reading import read_table
from matgraft.formulas.table.target import read_target


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source.csv").write_text(
        "formula,gap,kind,T\nNaCl,8.5,salt,300\nSi,1.1,element,300\nGe,0.7,element,4\n"
    )
    return read_table(tmp_path / "source.csv", "gap", ColumnNames(covariates=["kind", "T"]))


def write(tmp_path, text):
    (tmp_path / "target.csv").write_text(text)
    return tmp_path / "target.csv"


def test_truths_may_be_absent_in_part_or_all(tmp_path, source):
    path = write(tmp_path, "composition,kind,T,gap\nGaAs,salt,4,1.4\nCu,element,300,\n")
    table = read_target(path, source, "gap", ColumnNames(formula="formula"))
    assert [str(one) for one in table.formulas] == ["GaAs", "Cu"]
    np.testing.assert_array_equal(table.covariates, [[0, 1, 4], [1, 0, 300]])
    assert table.labelled.tolist() == [0]
    assert table.lines == (2, 3)
    bare = read_target(write(tmp_path, "formula,kind,T\nGaAs,salt,4\n"), source, "gap")
    assert np.isnan(bare.truths).all()


def test_classes_of_the_target_are_those_of_the_source(tmp_path):
    (tmp_path / "source.csv").write_text("formula,metal\nNaCl,0\nCu,1\n")
    source = read_table(tmp_path / "source.csv", "metal")
    assert read_target(write(tmp_path, "formula,metal\nAg,1.0\nSi,0\n"), source, "metal").truths.tolist() == [1, 0]
    with pytest.raises(DataError, match=r"line 3.*'maybe' is not a class"):
        read_target(write(tmp_path, "formula,metal\nAg,1\nSi,maybe\n"), source, "metal")


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("formula,kind,T\n", DataError, "no formula in the target"),
        ("formula,kind,T\nXx2,salt,4\n", DataError, "line 2"),
        ("formula,kind,T\nSi,glass,4\n", DataError, "does not occur in the training data"),
        ("formula,T\nSi,4\n", OptionError, "no column 'kind'"),
        ("formula,kind,T,gap\nSi,salt,4,high\n", DataError, "not a finite number"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, source, text, kind, said):
    with pytest.raises(kind, match=said):
        read_target(write(tmp_path, text), source, "gap")

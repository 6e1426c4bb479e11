"""Tables of formulas: what is read, and what is refused with file, line and column."""

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.table.covariates import MISSING_WORD, encode_covariates
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions
from matgraft.formulas.table.reading import read_table


def written(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_numbers_with_folds_covariates_and_missing_values(tmp_path):
    path = written(tmp_path, "Formula,gap,T,fold\nFe2O3,2.1,300,a\nNaCl,,300,a\nSi,1.1,77,b\n")
    table = read_table(path, "gap", ColumnNames(fold="fold", covariates=["T"]))
    assert [formula.reduced for formula in table.formulas] == ["O3Fe2", "Si"]
    assert table.values.tolist() == [2.1, 1.1]
    assert table.covariates.tolist() == [[300.0], [77.0]]
    assert (table.folds, table.lines, table.without_value, table.classes) == (("a", "b"), (2, 4), 1, ())


@pytest.mark.parametrize("words", [("metal", "not", "metal"), ("True", "False", "True"), ("0", "1", "0.0")])
def test_words_and_zeros_and_ones_are_classes(tmp_path, words):
    cells = "\n".join(f"{formula},{word}" for formula, word in zip(("Fe", "Si", "Cu"), words, strict=True))
    table = read_table(written(tmp_path, f"composition,kind\n{cells}\n"), "kind")
    assert len(table.classes) == 2
    assert table.values[0] == table.values[2] != table.values[1]


def test_missing_values_of_parquet_are_left_out_as_of_csv(tmp_path):
    cells = pd.DataFrame({
        "formula": ["NaCl", "KCl", "LiF"] * 4,
        "gap": [1.0, 2.5, np.nan] * 4,
        "pinned": pd.array([1.0, 2.5, None] * 4, dtype="Float64"),
        "word": ["a", "b", None] * 4,
        "text": pd.array(["a", "b", None] * 4, dtype="string"),
        "metal": [True, False, None] * 4,
        "flag": pd.array([True, False, None] * 4, dtype="boolean"),
        "group": pd.Categorical(["x", "y", "z"] * 4),
    })  # fmt: skip
    cells.to_parquet(tmp_path / "t.parquet")
    cells.to_csv(tmp_path / "t.csv", index=False)
    classes = {"word": ("a", "b"), "text": ("a", "b"), "metal": ("False", "True"), "flag": ("False", "True")}
    for name in ("gap", "pinned", *classes):
        stored, text = (
            read_table(tmp_path / file, name, ColumnNames(group="group")) for file in ("t.parquet", "t.csv")
        )
        assert stored.without_value == text.without_value == 4
        assert stored.values.tolist() == text.values.tolist()
        assert stored.classes == text.classes == classes.get(name, ())
        assert stored.groups == ("x", "y") * 4


@pytest.mark.parametrize("gone", ["", "nan", " NA ", "null"])
def test_a_missing_word_is_an_error_and_no_category(tmp_path, gone):
    path = written(tmp_path, f"formula,gap,process\nLiCl,0.5,cast\nNaCl,1.5,{gone}\nKCl,2.5,none\n")
    for named in ({"group": "process"}, {"fold": "process"}):
        with pytest.raises(DataError, match="missing") as caught:
            read_table(path, "gap", ColumnNames(**named))
        assert "line 3, column 'process'" in str(caught.value)
    good = written(tmp_path, path.read_text().replace(f",{gone}\n", ",forged\n"), "good.csv")
    table = read_table(good, "gap", ColumnNames(covariates=["process"]))
    assert table.code == {"process": ("cast", "forged", "none")}
    left = read_table(path, "gap", ColumnNames(covariates=["process"]))
    assert (left.code, left.lines) == ({"process": ("cast", "none")}, (2, 4))
    with pytest.raises(DataError, match=r"line 2, column 'process'.*"):
        encode_covariates(pd.DataFrame({"process": [gone]}, index=[2]), table.code, path)


def test_rows_without_a_covariate_are_left_out_and_counted_or_filled(tmp_path):
    path = written(tmp_path, "formula,gap,T,way\nSi,1.5,300,a\nGe,0.5,,b\nC,5.5,100,\nSn,0.1,200,a\n")
    table = read_table(path, "gap", ColumnNames(covariates=["T", "way"]))
    assert (table.lines, table.code, table.fill) == ((2, 5), {"T": (), "way": ("a", "b")}, {})
    assert [(one.column, one.count, one.lines) for one in table.decisions] == [("T", 1, (3,)), ("way", 1, (4,))]
    filled = read_table(path, "gap", ColumnNames(covariates=["T", "way"], reading=ReadOptions(impute=True)))
    assert (filled.lines, filled.fill) == ((2, 3, 4, 5), {"T": 200.0, "way": MISSING_WORD})
    assert filled.covariates.tolist() == [[300, 1, 0], [200, 0, 1], [100, 0, 0], [200, 1, 0]]
    with pytest.raises(DataError, match=r"line 2, column 'T'.*missing"):
        encode_covariates(pd.DataFrame({"T": [""], "way": ["a"]}, index=[2]), filled.code, path)
    cells = pd.DataFrame({"T": [""], "way": [""]}, index=[2])
    assert encode_covariates(cells, filled.code, path, filled.fill).tolist() == [[200, 0, 0]]


def test_rows_of_weight_zero_are_left_out_and_counted(tmp_path):
    path = written(tmp_path, "formula,kind,w,process\nSi,a,1,x\nGe,b,2,y\nC,c,0,z\nFe,,1,x\n")
    table = read_table(path, "kind", ColumnNames(weight="w", covariates=["process"]))
    assert (table.classes, table.weights.tolist(), table.lines) == (("a", "b"), [1.0, 2.0], (2, 3))
    assert (table.without_weight, table.without_value, table.code) == (1, 1, {"process": ("x", "y")})
    with pytest.raises(DataError, match="no row has a weight above 0 in column 'w'"):
        read_table(written(tmp_path, "formula,y,w\nSi,1.5,0\nGe,2.5,0\n", "zero.csv"), "y", ColumnNames(weight="w"))


def test_nitrogen_oxide_is_no_missing_value(tmp_path):
    table = read_table(written(tmp_path, "formula,y\nNaN3,1.5\nNO,2.5\n"), "y")
    assert table.formulas[0].chemical_system == "N-Na"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("formula,gap\nFe2O3,1\nFe2Ox,2\n", ["line 3", "'formula'", "character 5"]),
        ("formula,gap\n,1\nSi,2\n", ["line 2", "no element"]),
        ("formula,gap\nSi,1.5\nGe,two\nC,3.5\n", ["line 3", "'gap'", "'two'"]),
        ("formula,gap\nSi,1.5\nGe,inf\n", ["line 3", "not a finite number"]),
        ("formula,gap\nSi,\n", ["no row has a value"]),
        ("formula,gap\nSi,1\nGe,1\n", ["one class only"]),
    ],
)
def test_bad_cells_are_named(tmp_path, text, says):
    with pytest.raises(DataError) as caught:
        read_table(written(tmp_path, text), "gap")
    assert all(part in str(caught.value) for part in says)


def test_missing_columns_files_and_types(tmp_path):
    path = written(tmp_path, "formula,band_gap\nSi,1.1\n")
    with pytest.raises(OptionError, match="did you mean 'band_gap'"):
        read_table(path, "bandgap")
    with pytest.raises(OptionError, match="no column of formulas"):
        read_table(written(tmp_path, "a,b\nSi,1\n", "other.csv"), "b")
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "absent.csv", "gap")
    with pytest.raises(DataError, match="known type"):
        read_table(written(tmp_path, "", "table.doc"), "gap")


def test_gzip_and_tabs(tmp_path):
    import pandas as pd

    cells = pd.DataFrame({"formula": ["Si", "Ge"], "y": [1.5, 0.7]})
    cells.to_csv(tmp_path / "t.tsv.gz", sep="\t", index=False)
    cells.to_parquet(tmp_path / "t.parquet")
    for name in ("t.tsv.gz", "t.parquet"):
        np.testing.assert_allclose(read_table(tmp_path / name, "y").values, [1.5, 0.7])


@pytest.mark.parametrize("given", [{"covariates": ["T", "gap"]}, {"weight": "gap"}, {"formula": "gap"}])
def test_the_target_is_nothing_else_as_well(tmp_path, given):
    """A covariate that is the target leaks it to every fold: the scores would be perfect."""
    path = written(tmp_path, "formula,T,gap\nNaCl,1,2\nKCl,2,3\n")
    with pytest.raises(OptionError, match=r"'gap' is the target and the (covariate|weight|formula) as well"):
        read_table(path, "gap", ColumnNames(**given))


def test_a_class_of_the_order_that_no_row_has_is_named(tmp_path):
    path = written(tmp_path, "formula,grade\nNaCl,low\nKCl,high\n")
    with pytest.raises(DataError, match="no row of column 'grade' is of class 'middle'"):
        read_table(path, "grade", ColumnNames(order=["low", "middle", "high"]))

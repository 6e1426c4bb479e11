"""Tables of formulas: what is read, and what is refused with file, line and column."""

import numpy as np
import pytest

from matgraft.data.table import read_table
from matgraft.errors import DataError, OptionError


def written(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_numbers_with_folds_covariates_and_missing_values(tmp_path):
    path = written(tmp_path, "Formula,gap,T,fold\nFe2O3,2.1,300,a\nNaCl,,300,a\nSi,1.1,77,b\n")
    table = read_table(path, "gap", fold="fold", covariates=["T"])
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

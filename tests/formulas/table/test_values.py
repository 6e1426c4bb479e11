"""Values of a target: classes, what is asked about, rare and constant ones; and rows that are left out."""

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import DataError
from matgraft.formulas.table.facts import TableReading
from matgraft.formulas.table.faults import sentences, write_skipped
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions
from matgraft.formulas.table.reading import read_labelled, read_table
from matgraft.formulas.table.values import refuse_rare_classes

METALS = ("Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Ba", "Fe", "Co", "Ni", "Cu")


def written(folder, values, name="t.csv", header="formula,y"):
    path = folder / name
    path.write_text(
        f"{header}\n" + "".join(f"{metal}O,{value}\n" for metal, value in zip(METALS, values, strict=False))
    )
    return path


@pytest.mark.parametrize("word", ["none", "NA", "N/A"])
def test_words_that_may_be_no_value_are_asked_about(tmp_path, word):
    path = written(tmp_path, ["AFM", "FM", word] * 4)
    with pytest.raises(DataError, match=f"4 cells that hold '{word}': a class, or no value") as caught:
        read_table(path, "y")
    assert caught.value.options == ({"--classes": f"AFM,FM,{word}"}, {"--classes": "AFM,FM"})
    of_three = read_table(path, "y", ColumnNames(classes=("AFM", "FM", word)))
    assert (of_three.classes, of_three.without_value) == (("AFM", "FM", word), 0)
    of_two = read_table(path, "y", ColumnNames(classes=("AFM", "FM")))
    assert (of_two.classes, of_two.without_value, len(of_two.values)) == (("AFM", "FM"), 4, 8)


def test_words_that_differ_in_capitals_alone_are_one_class(tmp_path):
    table = read_table(written(tmp_path, ["no", "yes", "Yes", "no ", "yes", "no"] * 2), "y")
    assert table.classes == ("no", "yes") and table.values.tolist() == [0, 1, 1, 0, 1, 0] * 2
    assert [one.code for one in table.decisions] == ["class-case"]
    assert read_table(written(tmp_path, ["a", "A"] * 3), "y").classes == ("A", "a")


def test_whole_numbers_of_which_there_are_few_are_told_or_classes(tmp_path):
    path = written(tmp_path, [1, 2, 3] * 4)
    table = read_table(path, "y")
    assert table.classes == () and "--classes 1,2,3" in sentences(table.decisions)[0]
    assert read_table(path, "y", ColumnNames(classes=("1", "2", "3"))).classes == ("1", "2", "3")
    assert read_table(path, "y", ColumnNames(order=("3", "2", "1"))).values.tolist() == [2, 1, 0] * 4


def test_a_constant_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"column 'y' holds one value only: 3\.3"):
        read_table(written(tmp_path, [3.3] * 12), "y")


def test_rare_classes_are_named_with_their_count(tmp_path):
    table = read_table(written(tmp_path, ["a", "b", "a", "b", "rare"]), "y")
    with pytest.raises(DataError, match=r"class 'rare' \(1 rows of 1 formulas or groups\): tune needs 2") as caught:
        refuse_rare_classes(table.classes, table.values, table.grouped("formula"), 2, tmp_path, "tune")
    assert caught.value.options == ({"--classes": "a,b", "--skip-bad": True},)
    refuse_rare_classes(table.classes, table.values, table.grouped("formula"), 1, tmp_path, "tune")


def test_all_bad_rows_are_named_at_once_and_can_be_left_out(tmp_path):
    path = written(tmp_path, ["<1", "2-3", "~4", *np.arange(1.5, 10)])
    path.write_text(path.read_text() + "Fe203,2.5\nXx,3.5\n")
    with pytest.raises(DataError) as caught:
        read_table(path, "y")
    said = str(caught.value)
    assert "5 rows cannot be used" in said and all(f"line {line}," in said for line in (2, 3, 4, 14, 15))
    assert caught.value.options == ({"--skip-bad": True},)
    table = read_table(path, "y", ColumnNames(reading=ReadOptions(skip_bad=True)))
    assert len(table.values) == 9 and sentences(table.decisions) == ["5 rows that cannot be used left out"]
    reading = TableReading.of(path, [table, table])
    write_skipped([(reading.table, bad) for bad in reading.skipped], tmp_path / "skipped.csv")
    rows = pd.read_csv(tmp_path / "skipped.csv")
    assert sorted(rows["line"]) == [2, 3, 4, 14, 15]
    assert "Fe2O3" in rows[rows["cell"] == "Fe203"]["remedy"].item()


def test_the_first_ten_of_many_bad_rows_are_shown(tmp_path):
    with pytest.raises(DataError) as caught:
        read_table(written(tmp_path, [f"{i}±0.1" for i in range(1, 13)]), "y")
    assert "12 rows cannot be used; the first 10 of them" in str(caught.value)
    assert len(caught.value.causes) == 10
    assert caught.value.options == ({"--weight": "±"},), "no row would be left without the bad ones"


def test_uncertainties_weigh_rows(tmp_path):
    path = written(tmp_path, [f"{i}±{0.1 if i % 2 else 0.2}" for i in range(1, 13)])
    table = read_table(path, "y", ColumnNames(weight="±"))
    assert table.values.tolist() == list(range(1, 13))
    assert table.weights[0] == pytest.approx(4 * table.weights[1]) and table.weights.mean() == pytest.approx(1)
    plain = written(tmp_path, [*(f"{i}±0.1" for i in range(1, 12)), "12"], "plain.csv")
    with pytest.raises(DataError, match="line 13, column 'y': the value states no uncertainty above 0"):
        read_table(plain, "y", ColumnNames(weight="±"))
    further, lacks = read_labelled(written(tmp_path, range(12), "further.csv"), "y", ColumnNames(weight="±"), table)
    assert lacks == ("±",) and not further.weighted


def test_a_column_in_capitals_hides_elements(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("formula,y\nFE2O3,1.5\nNIO,2\nKF,3\n")
    with pytest.raises(DataError) as caught:
        read_table(path, "y")
    assert "'NIO' in a column of capitals: likely NiO or NIO" in str(caught.value) and "KF" not in str(caught.value)
    path.write_text("formula,y\nFe2O3,1.5\nNIO,2\nKF,3\n")
    assert len(read_table(path, "y").formulas) == 3


def test_signs_for_no_value_among_numbers_are_told(tmp_path):
    table = read_table(written(tmp_path, ["-", "n.d.", "", *range(1, 10)]), "y")
    assert table.without_value == 3
    assert [(one.value, one.count) for one in table.decisions if one.code == "missing"] == [("'-'", 1), ("'n.d.'", 1)]

"""Tables are cut between rows, and their parts hold the cells that the whole table has."""

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import DataError
from matgraft.formulas.large.parts import cut_into_parts
from matgraft.formulas.table.opening import marks_of
from matgraft.formulas.table.sources import read_source

HEADS = {
    "plain": "formula,T\n",
    "comments above": "# from a paper\n# page 3\nformula,T\n",
    "a row of units": "formula,T\n-,K\n",
    "a mark of the encoding": "\ufeffformula,T\n",
    "blank lines": "\n\nformula;T\n",
}


def rows(n, separator=","):
    return "".join(f"Fe{i}O{separator}{i}.5\n" for i in range(1, n + 1))


def gathered(table):
    return pd.concat([table.source(part).cells for part in table.parts])


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_the_parts_hold_what_the_table_holds(tmp_path, head):
    path = tmp_path / "t.csv"
    path.write_bytes((head + rows(23, ";" if ";" in head else ",")).encode())
    table = cut_into_parts(path, 5)
    assert len(table.parts) == 5
    pd.testing.assert_frame_equal(gathered(table), read_source(path).cells, check_index_type=False)


def test_a_part_ends_at_no_quotation_that_is_open(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('formula,note\nFeO,a\nFe2O3,"two\nlines, one\ncell"\nNiO,b\nCoO,c\n')
    table = cut_into_parts(path, 2)
    assert [part.first for part in table.parts] == [2, 6]
    pd.testing.assert_frame_equal(gathered(table), read_source(path).cells, check_index_type=False)


def test_bad_rows_are_at_the_lines_of_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("formula,T\n" + rows(9) + "FeO,1,2,3\n" + rows(2))
    table = cut_into_parts(path, 4)
    faults = [bad.line for part in table.parts for bad in table.source(part).faults]
    assert faults == [bad.line for bad in read_source(path).faults] == [11]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_every_part_has_the_decimal_mark_of_the_whole(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    cells = pd.DataFrame({"formula": ["FeO", "NiO"] * 4, "T": ["1,5", "300,25"] + ["1.100"] * 6})
    if ending == ".csv":
        cells.to_csv(path, sep=";", index=False)
    else:
        cells.to_parquet(path)
    table = cut_into_parts(path, 2)
    found = [marks_of(table.source(part)) for part in table.parts]
    assert found == [marks_of(read_source(path))] * 4 and found[0].decimal == ","


def test_equal_parts_have_one_name_and_others_have_not(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("formula\n" + "FeO\nNiO\n" * 2 + "CoO\nNiO\n")
    first, second, third = (part.sha256 for part in cut_into_parts(path, 2).parts)
    assert first == second != third
    path.write_text("compound\n" + "FeO\nNiO\n" * 3)
    assert cut_into_parts(path, 2).parts[0].sha256 != first, "the header decides as well"


@pytest.mark.parametrize("per_group", [4, 7, 100])
def test_parquet_is_cut_inside_its_row_groups(tmp_path, per_group):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"formula": [f"Fe{i}O" for i in range(1, 24)], "T": np.arange(23) / 2})
    frame.loc[3, "T"] = np.nan
    frame.to_parquet(path, row_group_size=per_group)
    table = cut_into_parts(path, 5)
    assert max(part.stop - part.start for part in table.parts) <= 5
    pd.testing.assert_frame_equal(gathered(table), read_source(path).cells, check_index_type=False)


@pytest.mark.parametrize(
    "content", [b"formula,T\nFeO,\xb0\n", "formula,T\nFeO,1\n".encode("utf-16"), b"formula", b"", b"formula,T\n"]
)
def test_what_cannot_be_cut_is_left_to_the_reader_of_whole_files(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    assert cut_into_parts(tmp_path / "t.csv", 2) is None


def test_other_kinds_are_not_cut(tmp_path):
    assert cut_into_parts(tmp_path / "missing.csv") is None
    (tmp_path / "t.csv.gz").write_bytes(b"\x1f\x8b")
    assert cut_into_parts(tmp_path / "t.csv.gz") is None
    (tmp_path / "t.parquet").write_text("formula\nFeO\n")
    with pytest.raises(DataError, match="not readable as parquet"):
        cut_into_parts(tmp_path / "t.parquet")

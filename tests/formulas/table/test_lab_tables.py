"""Tables as laboratories have them: headers of two rows, Japanese compositions, salts as columns, hidden rows."""

import io

import numpy as np
import openpyxl
import pytest

from matgraft.core.errors import DataError
from matgraft.formulas.table.audit.base import TableEvidence
from matgraft.formulas.table.audit.units import mixed_units
from matgraft.formulas.table.audit.values import outlier_value, stand_ins
from matgraft.formulas.table.faults import sentences
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions
from matgraft.formulas.table.reading import read_table

FORMULAS = ["Fe2O3", "NaCl", "MgO", "SiO2", "TiO2", "ZnO", "GaAs", "InP", "CdTe", "AlN", "CaO", "LiF"]
VALUES = [2.1, 8.5, 7.8, 8.9, 3.2, 3.4, 1.42, 1.34, 1.5, 6.2, 7.1, 13.6]
PAIRS = list(zip(FORMULAS, VALUES, strict=True))


def read(tmp_path, content, target="gap", name="t.csv", **how):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, target, ColumnNames(reading=ReadOptions(**how)))


def told(table):
    return "\n".join(sentences(table.decisions))


def csv(rows):
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def workbook(rows, merge=(), hide=()):
    book, content = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(list(row))
    for area in merge:
        book.active.merge_cells(area)
    for row in hide:
        book.active.row_dimensions[row].hidden = True
    book.save(content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("first", "second", "target"),
    [("formula,optical,,ref", ",gap,n,", "gap"), ("formula,E,E,ref", ",PBE,HSE,", "PBE"),
     ("formula,gap,,Tm", ",PBE,HSE,", "PBE"), ("formula,gap,,Tm", ",mean,std,mean", "gap mean")],
)  # fmt: skip
def test_a_header_of_two_rows_is_joined(tmp_path, first, second, target):
    table = read(tmp_path, f"{first}\n{second}\n" + csv((f, v, 2, 3) for f, v in PAIRS), target)
    assert table.values == pytest.approx(VALUES) and "the header has two rows" in told(table)


def test_a_first_row_of_data_is_no_second_header(tmp_path):
    table = read(tmp_path, csv([("formula", "gap", ""), ("Fe2O3", "", "no"), *((f, v, 1) for f, v in PAIRS)]))
    assert len(table.formulas) == 12


def test_merged_cells_of_the_last_column_and_two_rows_of_header_in_a_sheet(tmp_path):
    rows = [("formula", "optical", None, "ref"), (None, "gap", "n", None), *((f, v, 2, "a") for f, v in PAIRS)]
    table = read(tmp_path, workbook(rows, ("B1:C1", "A1:A2", "D1:D2")), name="a.xlsx")
    assert table.values == pytest.approx(VALUES)
    pairs = [(f, v if i % 2 == 0 else None) for i, (f, v) in enumerate(PAIRS)]
    merged = read(
        tmp_path, workbook([("formula", "gap"), *pairs], [f"B{i}:B{i + 1}" for i in range(2, 14, 2)]), name="b.xlsx"
    )
    assert merged.values[:4] == pytest.approx([2.1, 2.1, 7.8, 7.8])  # a row ends where it holds nothing more


def test_hidden_rows_are_read_and_told(tmp_path):
    table = read(tmp_path, workbook([("formula", "gap"), *PAIRS], hide=(5, 6)), name="h.xlsx")
    assert len(table.formulas) == 12 and "2 rows that the sheet hides" in told(table) and "line 5, 6" in told(table)


@pytest.mark.parametrize("header", ["材料名,化学式,gap", "material,chemical formula,gap", "化学式,材料名,gap"])
def test_of_several_columns_of_materials_that_of_formulas_is_taken(tmp_path, header):
    rows = [
        ("酸化物", f, v) if header.index("化学式" if "化" in header else "chem") else (f, "酸化物", v) for f, v in PAIRS
    ]
    assert [f.text for f in read(tmp_path, header + "\n" + csv(rows)).formulas] == FORMULAS


@pytest.mark.parametrize("text", ["2023/1/5", "1月5日", "2023年1月5日"])
@pytest.mark.parametrize("column", [0, 1])
def test_japanese_dates_are_dates(tmp_path, text, column):
    rows = [list(pair) for pair in PAIRS]
    rows[3][column] = text
    with pytest.raises(DataError, match="is a date"):
        read(tmp_path, csv([("formula", "gap"), *rows]))


@pytest.mark.parametrize(
    ("header", "rest", "how"),
    [("Fe\uff08mass%\uff09,Ni\uff08mass%\uff09,Co\uff08mass%\uff09", 50, {}), ("Fe(質量%),Ni(質量%),Co(質量%)", 50, {}),
     ("Fe,Ni,Co", "残部", {"composition": "wt%"}), ("Fe,Ni,Co", "Bal", {"composition": "wt%"})],
)  # fmt: skip
def test_japanese_headers_and_the_balance_of_compositions(tmp_path, header, rest, how):
    rows = [(rest if rest != 50 else 50 - i, 30 + i, 20, v) for i, v in enumerate(VALUES)]
    table = read(tmp_path, f"{header},gap\n" + csv(rows), **how)
    plain = read(
        tmp_path, "Fe,Ni,Co,gap\n" + csv((50 - i, 30 + i, 20, v) for i, v in enumerate(VALUES)), composition="wt%"
    )
    assert table.formulas == plain.formulas


def test_an_empty_column_beside_a_balance_that_is_said_is_none(tmp_path):
    rows = [("Bal", 30 + i, "-", v) for i, v in enumerate(VALUES)]
    table = read(tmp_path, "Fe,Ni,Co,gap\n" + csv(rows), composition="at%")
    assert table.formulas[0].symbols == ("Fe", "Ni") and table.formulas[0].fractions[1] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("header", "symbols"),
    [("CaO,CaF2,Al2O3", {"Ca", "O", "F", "Al"}), ("LiCl,NaCl,KCl", {"Li", "Na", "K", "Cl"}),
     ("GeS2,Ga2S3,CsCl", {"Ge", "S", "Ga", "Cs", "Cl"}), ("Si3N4,Al2O3,Y2O3", {"Si", "N", "Al", "O", "Y"})],
)  # fmt: skip
def test_salts_and_nitrides_are_columns_of_a_composition(tmp_path, header, symbols):
    table = read(
        tmp_path, f"{header},gap\n" + csv((50 - i, 20 + i, 30, v) for i, v in enumerate(VALUES)), composition="at%"
    )
    assert set(table.formulas[0].symbols) == symbols


def test_columns_of_other_quantities_are_no_salts(tmp_path):
    rows = [(80, 10, 10, 300 + i, 500, v) for i, v in enumerate(VALUES)]
    table = read(tmp_path, "Fe,Ni,Co,YS,UTS,gap\n" + csv(rows), composition="at%")
    assert table.formulas[0].symbols == ("Fe", "Co", "Ni")


def finding(tmp_path, look, rows, target="prop"):
    (tmp_path / "t.csv").write_text(csv(rows))
    columns = ColumnNames()
    (found,) = look(TableEvidence(read_table(tmp_path / "t.csv", target, columns), target, columns))
    return found


@pytest.mark.parametrize(
    ("mark", "severity"), [(-999, "error"), (-9999, "error"), (9999, "warning"), (99999, "warning"), (-1, "warning")]
)
def test_numbers_that_stand_for_no_value_are_told(tmp_path, mark, severity):
    values = [mark if i in (3, 7) else 80 + 7.3 * i for i in range(12)]
    found = finding(tmp_path, outlier_value, [("formula", "prop"), *zip(FORMULAS, values, strict=True)])
    assert (found.outcome, found.severity, found.lines) == ("failed", severity, (5, 9))


@pytest.mark.parametrize(
    "values",
    [np.linspace(-1, 1, 30), np.arange(30.0) - 1, np.linspace(800, 1200, 30).round(0),
     np.r_[np.arange(1, 10), 9, 9, 9.0],
     np.r_[np.linspace(-5, 5, 30), -1, -1]],
)  # fmt: skip
def test_sound_numbers_stand_for_themselves(values):
    assert not len(stand_ins(np.asarray(values, float)))


def test_a_column_of_units_that_differ_is_told(tmp_path):
    rows = [(f, v * (1000 if i == 4 else 1), "meV" if i == 4 else "eV") for i, (f, v) in enumerate(PAIRS)]
    found = finding(tmp_path, mixed_units, [("formula", "prop", "unit"), *rows])
    assert found.outcome == "failed" and "meV in 1 row" in found.evidence and found.lines == (6,)
    same = finding(tmp_path, mixed_units, [("formula", "prop", "unit"), *((f, v, "eV") for f, v in PAIRS)])
    assert same.outcome != "failed"

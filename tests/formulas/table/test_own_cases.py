"""Inputs of the kinds that labs have: each is read rightly, or told, or refused with a sentence that helps."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import numpy as np
import openpyxl
import pandas as pd
import pytest

from matgraft.core.errors import DataError, MatgraftError
from matgraft.formulas.table.faults import sentences
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions
from matgraft.formulas.table.reading import read_table

FORMULAS = ["Fe2O3", "NaCl", "MgO", "SiO2", "TiO2", "ZnO", "GaAs", "InP", "CdTe", "AlN", "CaO", "LiF"]
VALUES = [2.1, 8.5, 7.8, 8.9, 3.2, 3.4, 1.42, 1.34, 1.5, 6.2, 7.1, 13.6]


def csv(header, rows, separator=","):
    return "\n".join(separator.join(map(str, row)) for row in [header, *rows]) + "\n"


def read(tmp_path, content, target="gap", name="t.csv", **how):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    basis = how.pop("composition", None)
    return read_table(path, target, ColumnNames(reading=ReadOptions(composition=basis), **how))


def told(table):
    return "\n".join(sentences(table.decisions))


@pytest.mark.parametrize(
    ("cell", "value"),
    [("5e-3", 5e-3), ("'2.5", 2.5), ("\uff13\uff0e\uff15", 3.5), ("1.2×10⁻³", 1.2e-3), ("1.2 x 10-3", 1.2e-3),
     ("10^-12", 1e-12),
     (".5", 0.5), ("1e-12", 1e-12), ("+2.", 2.0)],
)  # fmt: skip
def test_amounts_that_are_read(tmp_path, cell, value):
    table = read(tmp_path, csv(["formula", "gap"], zip(FORMULAS, [cell, *VALUES[1:]], strict=True)))
    assert table.values[0] == pytest.approx(value)


@pytest.mark.parametrize(
    ("cell", "says"),
    [("10-12", "a range"), ("10–12", "a range"), ("2.1*", "footnote"), ("2.1 [12]", "footnote"), ("2.1ᵃ", "footnote"),
     ("2.1 3.2", "several values"), ("Mar-4", "a date"), ("4-Mar", "a date"), ("1e400", "1.8e308"), ("<0.5", "a limit"),
     ("1" + "0" * 400, "not a finite number"), ("[2.1]", "several values"), ("2.1;3.2", "several values")],
)  # fmt: skip
def test_amounts_that_are_refused(tmp_path, cell, says):
    with pytest.raises(DataError, match="line 2") as caught:
        read(tmp_path, csv(["formula", "gap"], zip(FORMULAS, [cell, *VALUES[1:]], strict=True)))
    assert says in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("mark", ["*", "ᵃ", " [3]"])
def test_a_column_of_marked_numbers_is_no_column_of_classes(tmp_path, mark):
    with pytest.raises(DataError, match="footnote"):
        read(tmp_path, csv(["formula", "gap"], [(f, f"{v}{mark}") for f, v in zip(FORMULAS, VALUES, strict=True)]))


def test_a_point_parts_thousands_where_other_columns_have_decimal_commas(tmp_path):
    rows = [(f, f"{i + 1},5", f"1.{100 + i}") for i, f in enumerate(FORMULAS)]
    table = read(tmp_path, csv(["formula", "E", "T"], rows, ";"), "T")
    assert table.values[0] == 1100 and "parts thousands" in told(table)
    table = read(tmp_path, csv(["formula", "E", "T"], [(*row[:2], "0.5") for row in rows[:1]] + rows[1:], ";"), "T")
    assert table.values[:2] == pytest.approx([0.5, 1.101])  # one cell says that the point is a decimal one


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("cp1252", "Windows-1252"), ("gb18030", "GB18030"), ("euc-jp", "EUC-JP"), ("shift-jis", "Shift-JIS"),
     ("utf-32", "UTF-32"), ("utf-32-le", "UTF-32-LE"), ("utf-32-be", "UTF-32-BE"), ("utf-16-be", "UTF-16-BE")],
)  # fmt: skip
def test_encodings(tmp_path, encoding, said):
    note = {"cp1252": "Prüfung", "euc-jp": "測定値", "shift-jis": "測定値"}.get(encoding, "实验测量值")
    head = {"cp1252": "formula"}.get(encoding, "化学式")
    text = csv([head, "gap", "note"], [(f, v, note) for f, v in zip(FORMULAS, VALUES, strict=True)])
    table = read(tmp_path, text.encode(encoding))
    assert table.values == pytest.approx(VALUES)
    assert said in told(table) and ("such as" in told(table))


def test_utf7_is_refused(tmp_path):
    text = csv(["formula", "gap", "note"], [(f, v, "Prüfung") for f, v in zip(FORMULAS, VALUES, strict=True)])
    with pytest.raises(DataError, match="UTF-7"):
        read(tmp_path, text.encode("utf-7"))
    ions = csv(["formula", "gap"], zip(["Na+Cl-", "K+Br-", *FORMULAS[2:]], VALUES, strict=True))
    with pytest.raises(DataError, match="line 2"):
        read(tmp_path, ions)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"formula": FORMULAS, "gap": VALUES}),
        json.dumps({"columns": ["formula", "gap"], "data": list(zip(FORMULAS, VALUES, strict=True))}),
        json.dumps({i: {"formula": f, "gap": v} for i, (f, v) in enumerate(zip(FORMULAS, VALUES, strict=True))}),
        json.dumps([["formula", "gap"], *zip(FORMULAS, VALUES, strict=True)]),
        json.dumps(
            {
                "n": 12,
                "data": [{"formula": f, "gap": v} for f, v in zip(FORMULAS, VALUES, strict=True)],
            },
            indent=1,
        ),
        pd.DataFrame({"formula": FORMULAS, "gap": VALUES}).to_json(),
        "\n".join(json.dumps({"formula": f, "gap": v}) for f, v in zip(FORMULAS, VALUES, strict=True)),
    ],
    ids=["columns", "split", "index", "rows", "data", "pandas", "lines"],
)
def test_shapes_of_json(tmp_path, content):
    table = read(tmp_path, content, name="t.json")
    assert table.values == pytest.approx(VALUES) and [f.text for f in table.formulas] == FORMULAS


def test_nested_json_has_names_with_dots_and_lists_are_refused(tmp_path):
    nested = [{"formula": f, "p": {"gap": v}} for f, v in zip(FORMULAS, VALUES, strict=True)]
    assert read(tmp_path, json.dumps(nested), "p.gap", name="a.json").values == pytest.approx(VALUES)
    listed = [{"formula": f, "gap": [v, v]} for f, v in zip(FORMULAS, VALUES, strict=True)]
    with pytest.raises(DataError, match="several values"):
        read(tmp_path, json.dumps(listed), name="b.json")


def test_parquet_of_categories_decimals_and_an_index(tmp_path):
    frame = pd.DataFrame({"formula": FORMULAS, "gap": [Decimal(str(v)) for v in VALUES]})
    for i, made in enumerate([frame.astype({"formula": "category"}), frame.set_index("formula")]):
        content = io.BytesIO()
        made.to_parquet(content)
        assert read(tmp_path, content.getvalue(), name=f"{i}.parquet").values == pytest.approx(VALUES)


def workbook(fill):
    book, content = openpyxl.Workbook(), io.BytesIO()
    fill(book)
    book.save(content)
    return content.getvalue()


def fill_sheet(sheet, rows):
    for row in rows:
        sheet.append(list(row))


def test_merged_cells_hold_what_the_first_does(tmp_path):
    def fill(book):
        rows = [(None if i % 2 else FORMULAS[i // 2], 300 + i % 2, v) for i, v in enumerate(VALUES)]
        fill_sheet(book.active, [("formula", "T", "gap"), *rows])
        for top in range(2, 14, 2):
            book.active.merge_cells(f"A{top}:A{top + 1}")

    table = read(tmp_path, workbook(fill), name="m.xlsx")
    assert [f.text for f in table.formulas[:3]] == ["Fe2O3", "Fe2O3", "NaCl"]
    assert "6 cells of merged ones" in told(table)


def test_hidden_sheets_are_passed_over(tmp_path):
    def fill(book):
        fill_sheet(book.active, [("formula", "gap"), *zip(FORMULAS, VALUES, strict=True)])
        fill_sheet(book.create_sheet("old"), [("formula", "gap"), *zip(FORMULAS, VALUES[::-1], strict=True)])
        book["old"].sheet_state = "hidden"

    table = read(tmp_path, workbook(fill), name="h.xlsx")
    assert table.values == pytest.approx(VALUES) and "hidden sheets are ignored: old" in told(table)
    path = tmp_path / "h.xlsx"
    asked = read_table(path, "gap", ColumnNames(reading=ReadOptions(sheet="old")))
    assert asked.values == pytest.approx(VALUES[::-1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("material,optical\nformula,gap\n", "1 line above the header"),
        ("formula,gap\n-,eV\n", "the row under the header holds units"),
    ],
)
def test_two_rows_of_header(tmp_path, text, said):
    table = read(tmp_path, text + "".join(f"{f},{v}\n" for f, v in zip(FORMULAS, VALUES, strict=True)))
    assert table.values == pytest.approx(VALUES) and said in told(table)


def test_a_header_in_the_middle_is_passed_over_and_a_total_is_refused(tmp_path):
    rows = [f"{f},{v}\n" for f, v in zip(FORMULAS, VALUES, strict=True)]
    table = read(tmp_path, "".join(["formula,gap\n", *rows[:5], "formula,gap\n", *rows[5:]]))
    assert table.values == pytest.approx(VALUES) and "like the header" in told(table)
    with pytest.raises(DataError, match="sums up others"):
        read(tmp_path, "".join(["formula,gap\n", *rows, "mean,5.1\n"]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Li3PS4@C", "'@' joins 2 compounds"), ("SrTiO3/LaAlO3", "'/' joins"), ("NaCl+KCl", "'+' joins"),
        ("Fe2O3,NaCl", "',' joins"), ("ZrB2-20vol%SiC", "per cent of volume"), ("Al-4%Cu", "'%'"), ("Al-6061", "grade"),
        ("AA7075-T6", "grade"), ("SS316L", "grade"), ("mp-149", "database"), ("7647-14-5", "database"),
        ("c1ccccc1", "SMILES"), ("MAPbI3", "organic group"), ("PhCl", "organic group"), ("quartz", "a name"),
        ("copper oxide", "a name"), ("Average", "sums up"), ("2021-03-04 00:00:00", "a date"), ("Mar-4", "a date"),
        ("SIO2", "likely SiO2"), ("SI3N4", "likely Si3N4"),
    ],
)  # fmt: skip
def test_what_is_no_formula_is_named(tmp_path, text, says):
    quoted = f'"{text}"' if "," in text else text
    with pytest.raises(DataError, match="line 2") as caught:
        read(tmp_path, csv(["formula", "gap"], zip([quoted, *FORMULAS[1:]], VALUES, strict=True)))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reduced"),
    [("c-BN", "BN"), ("a-SiO2", "SiO2"), ("h-BN", "BN"), ("wz-ZnS", "ZnS"), ("(Ba0.6,Sr0.4)TiO3", "Sr2Ba3Ti5O15"),
     ("La0.7,Sr0.3MnO3", "La0.7Sr0.3MnO3"), ("CO", "CO"), ("Co", "Co"), ("Cu0.5", "Cu"), ("SiC", "SiC")],
)  # fmt: skip
def test_formulas_that_are_read(tmp_path, text, reduced):
    table = read(tmp_path, csv(["formula", "gap"], zip([f'"{text}"', *FORMULAS[1:]], VALUES, strict=True)))
    (expected,) = read(tmp_path, f"formula,gap\n{reduced},1.5\n", name="one.csv").formulas
    assert table.formulas[0].key == expected.key


def test_an_element_of_amount_0_is_told(tmp_path):
    table = read(tmp_path, csv(["formula", "gap"], zip(["La1Sr0MnO3", *FORMULAS[1:]], VALUES, strict=True)))
    assert "elements of amount 0" in told(table)


def alloy(header, rows):
    return csv([*header, "gap"], [(*row, v) for row, v in zip(rows, VALUES, strict=True)])


def test_parts_per_million_enter_a_composition(tmp_path):
    text = alloy(["Fe (wt%)", "Cr (wt%)", "B (ppm)"], [(80 - i, 20 + i, 500) for i in range(12)])
    table = read(tmp_path, text)
    atoms = dict(zip(table.formulas[0].symbols, table.formulas[0].fractions, strict=True))
    mass = {"Fe": 55.845, "Cr": 51.9961, "B": 10.81}
    by_weight = {"Fe": 80, "Cr": 20, "B": 0.05}
    moles = {symbol: w / mass[symbol] for symbol, w in by_weight.items()}
    assert atoms["B"] == pytest.approx(moles["B"] / sum(moles.values()), rel=1e-3)
    assert "B (ppm): parts per million of weight" in told(table)


@pytest.mark.parametrize(
    ("header", "row", "says"),
    [
        (["Fe (wt%)", "Cr (at%)", "Ni (wt%)"], (70, 20, 10), "two kinds of per cent"),
        (["Fe", "Cr", "C"], ("bal", 12, "tr"), "is a trace"),
        (["Fe", "Cr", "C"], ("bal", 12, "<0.01"), "0 where it does not count"),
        (["iron", "chromium", "nickel"], (70, 20, 10), "not iron, chromium, nickel"),
        (["fe", "cr", "ni"], (70, 20, 10), "call columns of amounts by symbols"),
    ],
)
def test_compositions_that_are_refused(tmp_path, header, row, says):
    with pytest.raises(MatgraftError) as caught:
        read(tmp_path, alloy(header, [row] * 12), composition="wt%")
    assert says in str(caught.value) and "''" not in str(caught.value)


@pytest.mark.parametrize("header", [["x_Fe", "x_Cr"], ["SiO2 mol%", "Na2O mol%"]])
def test_two_columns_that_say_their_per_cent_are_a_composition(tmp_path, header):
    rows = [(50 + i, 50 - i) for i in range(12)]
    assert np.isfinite(read(tmp_path, alloy(header, rows)).values).all()


def test_lines_that_were_not_parted_are_told(tmp_path):
    with pytest.raises(MatgraftError, match="the lines were not parted"):
        read(tmp_path, csv(["formula", "gap"], zip(FORMULAS, VALUES, strict=True), "^"))


@pytest.mark.parametrize(("header", "looks"), [("ID,Sample,Tm", False), ("1,NaCl,Tm", True)])
def test_a_header_of_words_that_spell_elements_is_no_row(tmp_path, header, looks):
    rows = zip(range(12), FORMULAS, VALUES, strict=True)
    with pytest.raises(MatgraftError) as caught:
        read(tmp_path, csv(header.split(","), rows), "Tm")
    assert ("the first line looks like a row" in str(caught.value)) is looks and "--formula" in str(caught.value)


@pytest.mark.parametrize("name", ["材料", "物質名", "化学組成", "合金", "組成式"])
def test_japanese_names_of_the_column_of_formulas_are_known(tmp_path, name):
    table = read(tmp_path, csv([name, "融点 [K]"], zip(FORMULAS, VALUES, strict=True)).encode("cp932"), "融点 [K]")
    assert [formula.text for formula in table.formulas] == FORMULAS and "Shift-JIS" in told(table)


@pytest.mark.parametrize("text", ["ZnO (Al doped)", "Al-doped ZnO", "Al2O3:Cr", "undoped BN", "Mn doped ZnS"])
def test_a_dopant_without_an_amount_is_refused_by_name(tmp_path, text):
    with pytest.raises(MatgraftError, match="a dopant has no amount"):
        read(tmp_path, csv(["formula", "gap"], zip([text, *FORMULAS[1:]], VALUES, strict=True)))

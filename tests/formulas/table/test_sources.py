"""Files as labs have them: encodings, separators, comments, headers, sheets, JSON, parquet, stdin; and bad ones."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile

import openpyxl
import pandas as pd
import pyarrow as pa
import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.table import sources
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions
from matgraft.formulas.table.reading import read_table
from matgraft.formulas.table.sources import STDIN, keep_stdin, read_source

ROWS = [("KF", 4.54), ("AlF3", 3.57), ("CoCl2", 2.1), ("K3N", 3.36), ("PbSe", 0.5)]
TEXT = "formula,gap\n" + "".join(f"{name},{value}\n" for name, value in ROWS)


def written(folder, content, name="table.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(path, **options):
    cells = read_source(path, **options).cells
    return [(name, float(value)) for name, value in zip(cells["formula"], cells["gap"], strict=True)]


@pytest.mark.parametrize(
    ("content", "name", "codes"),
    [
        (TEXT, "t.csv", []),
        (TEXT.replace(",", ";"), "t.csv", ["separator"]),
        (TEXT.replace(",", "\t"), "t.txt", []),
        (TEXT.replace(",", "\t"), "t.csv", ["separator"]),
        (TEXT.replace(",", "|"), "t.csv", ["separator"]),
        (TEXT.replace(",", "    "), "t.txt", ["separator"]),
        (TEXT.replace(",", " "), "t.dat", ["separator"]),
        (TEXT.replace("\n", "\r\n"), "T.CSV", []),
        (TEXT.replace("\n", "\r"), "t.csv", []),
        (TEXT.replace("\n", "\n\n"), "t.csv", []),
        ("\ufeff" + TEXT, "t.csv", []),
        (TEXT.encode("utf-16"), "t.csv", ["encoding"]),
        (TEXT.encode("utf-16-le"), "t.csv", ["encoding"]),
        (TEXT.encode("utf-32"), "t.csv", ["encoding"]),
        ("# measured, by A\n# in eV\n" + TEXT, "t.csv", ["comments"]),
        ("#formula,gap\n" + TEXT.partition("\n")[2], "t.csv", ["comments", "header"]),
        ("Table S1: gaps\n\n" + TEXT, "t.csv", ["preamble"]),
        (TEXT.replace("gap\n", "gap\n,eV\n", 1), "t.csv", ["unit-row"]),
        (gzip.compress(TEXT.encode()), "t.csv.gz", []),
        (bz2.compress(TEXT.encode()), "t.csv.bz2", []),
        (lzma.compress(TEXT.encode()), "t.CSV.XZ", []),
        (pa.compress(TEXT.encode(), "zstd", asbytes=True), "t.csv.zst", []),
        (lzma.compress(TEXT.encode()), "t.csv", []),
        (TEXT.replace("formula,gap", "formula,gap,gap"), "t.csv", ["duplicate-columns"]),
        ("\n".join(json.dumps({"formula": a, "gap": b}) for a, b in ROWS), "t.jsonl", []),
        (json.dumps([{"formula": a, "gap": b} for a, b in ROWS]), "t.json", []),
        (TEXT.replace(",", "\t"), "t.xls", []),
    ],
)
def test_every_way_of_writing_a_table_gives_its_rows(tmp_path, content, name, codes):
    path = written(tmp_path, content, name)
    source = read_source(path)
    assert [one.code for one in source.decisions if one.code != "unit"] == codes
    column = next(one for one in source.cells.columns if one.startswith("gap"))
    found = zip(source.cells["formula"], source.cells[column].astype(float), strict=True)
    assert list(found) == ROWS


@pytest.mark.parametrize(
    ("encoding", "header", "said"),
    [
        ("cp1252", "Bandlücke", "Latin-1 (Windows-1252)"), ("latin-1", "énergie", "Latin-1 (Windows-1252)"),
        ("shift_jis", "バンドギャップ", "Shift-JIS"), ("cp932", "融点", "Shift-JIS"),
    ],
)  # fmt: skip
def test_encodings_are_found_and_told(tmp_path, encoding, header, said):
    path = written(tmp_path, TEXT.replace("gap", header).encode(encoding))
    table = read_table(path, header)
    assert table.values.tolist() == [value for _, value in ROWS]
    assert [one.value for one in table.decisions if one.code == "encoding"] == [said]


def test_an_encoding_under_which_the_header_names_the_formulas_is_taken(tmp_path):
    for encoding, formula, gap in (
        ("gb18030", "化学式", "带隙"),
        ("cp1251", "формула", "щель"),
        ("euc_jp", "組成式", "融点"),
    ):
        text = TEXT.replace("formula", formula).replace("gap", gap).encode(encoding)
        assert read_table(written(tmp_path, text, f"{encoding}.csv"), gap).values.tolist() == [
            value for _, value in ROWS
        ]


def test_lines_are_those_of_the_file(tmp_path):
    path = written(tmp_path, '# a comment\n\nformula,note,gap\nKF,"two\nlines",4\n\n# aside\nNaCl,one,two\nSi,x,1.5\n')
    assert read_source(path).cells.index.tolist() == [4, 8, 9]
    with pytest.raises(DataError, match="line 8, column 'gap': 'two' is not a finite number"):
        read_table(path, "gap")


def test_rows_that_do_not_fit_are_named_or_left_out(tmp_path):
    path = written(tmp_path, TEXT + "(Ba,Sr)TiO3,3.2\nZnO,3.3\n")
    with pytest.raises(DataError, match="line 7: 3 cells, where the header has 2"):
        read_table(path, "gap")
    table = read_table(path, "gap", ColumnNames(reading=ReadOptions(skip_bad=True)))
    assert table.lines == (2, 3, 4, 5, 6, 8)
    assert [(bad.line, bad.found) for bad in table.skipped] == [(7, "3 cells, where the header has 2")]


def test_headers_are_found_without_capitals_blanks_and_units(tmp_path):
    path = written(tmp_path, ",Formula ,Band gap (eV) ,Tc [K]\n0,KF,4.5,1\n1,NaCl,5.5,2\n")
    for name in ("band gap", "Band gap (eV)", "band_gap"):
        assert read_table(path, name).values.tolist() == [4.5, 5.5]
    assert read_table(path, "tc", ColumnNames(covariates=["band gap"])).code == {"band gap": ()}
    both = written(tmp_path, "formula,gap (eV),gap (meV)\nKF,4,4000\nSi,1,1000\n", "both.csv")
    with pytest.raises(OptionError, match=r"'gap' may be each of the columns 'gap \(eV\)', 'gap \(meV\)'"):
        read_table(both, "gap")


def workbook(folder, sheets, name="book.xlsx"):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / name)
    return folder / name


def test_sheets(tmp_path):
    table = [("formula", "gap"), *ROWS]
    assert rows_of(workbook(tmp_path, {"Sheet1": table})) == ROWS
    noted = workbook(tmp_path, {"notes": [("by A",)], "data": [("Table S1",), (), *table]}, "noted.xlsx")
    source = read_source(noted)
    assert [(one.code, one.value or one.count) for one in source.decisions] == [("sheet", "data"), ("preamble", 1)]
    assert source.cells.index.tolist() == [4, 5, 6, 7, 8]
    two = workbook(tmp_path, {"a": table, "b": table[:3]}, "two.xlsx")
    with pytest.raises(OptionError, match="open which one") as caught:
        read_source(two)
    assert caught.value.options == ({"--sheet": "a"}, {"--sheet": "b"})
    assert rows_of(two, sheet="b") == ROWS[:2]
    with pytest.raises(OptionError, match="no sheet 'c'"):
        read_source(two, sheet="c")
    with pytest.raises(OptionError, match="--sheet is not read"):
        read_source(written(tmp_path, TEXT), sheet="a")


def test_a_formula_of_a_sheet_without_a_stored_value_is_no_missing_value(tmp_path):
    path = workbook(tmp_path, {"a": [("formula", "gap"), ("KF", "=1+1"), ("Si", 1.1)]})
    with pytest.raises(DataError, match=r"line 2, cell 2: the formula '=1\+1' has no stored value"):
        read_source(path)


def test_a_mapping_of_elements_is_a_composition(tmp_path):
    path = written(
        tmp_path, '{"composition": {"Fe": 2.0, "O": 3}, "gap": 2.1}\n{"composition": "Si", "gap": 1.1}\n', "t.jsonl"
    )
    assert [one.reduced for one in read_table(path, "gap").formulas] == ["O3Fe2", "Si"]


def test_standard_input_of_any_kind(tmp_path, monkeypatch):
    frame = pd.DataFrame(ROWS, columns=["formula", "gap"])
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    lines = "\n".join(json.dumps({"formula": a, "gap": b}) for a, b in ROWS).encode()
    kinds = {".parquet": (tmp_path / "t.parquet").read_bytes(), ".xlsx": (tmp_path / "t.xlsx").read_bytes(),
             ".jsonl": lines, ".csv": TEXT.replace(",", ";").encode()}  # fmt: skip
    for ending, content in kinds.items():
        sources._read.cache_clear()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert rows_of(STDIN) == ROWS
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        kept = keep_stdin(tmp_path / "runs" / "one")
        assert (kept.suffix, rows_of(kept)) == (ending, ROWS)
    sources._read.cache_clear()


def tarred(mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{mode}") as archive:
        archive.addfile(tarfile.TarInfo("t.csv"))
    return file.getvalue()


@pytest.mark.parametrize("content", [tarred("gz"), b"\x1f\x9d\x90aa", b"PK\x05\x06" + bytes(18)])
def test_an_archive_from_standard_input_is_a_sentence(content, monkeypatch):
    sources._read.cache_clear()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(DataError, match="from which nothing is read"):
        read_source(STDIN)


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "t.csv", "empty"),
        (b"\x00\x01\x02\x03" * 100, "t.csv", "not readable as text"),
        (b"\x1f\x8b broken", "t.csv.gz", "broken"),
        (b"\xd0\xcf\x11\xe0" + b"x" * 100, "t.xls", "old format"),
        (b"<html><table><tr><td>Fe</td></tr></table></html>", "t.xls", "page of the web"),
        (b"version https://git-lfs.github.com/spec/v1\n", "t.csv", "Git LFS"),
        (b"PK\x03\x04 broken", "t.xlsx", "broken"),
        (b"text", "t.xlsx", "no file of type .xlsx"),
        (b"PAR1 broken", "t.parquet", "not readable as parquet"),
        (b'{"formula": "Fe"\n', "t.jsonl", "line 1: not readable as JSON"),
        (b"[1, 2]", "t.json", "a record is a mapping"),
        (b"[" * 100_000, "t.json", "lists and mappings 100,000 deep"),
        (b'formula,gap\n"Fe2O3,1\n' + b"Si,1\n" * 200, "t.csv", "quotation mark is not closed"),
        (b'formula,gap\n"' + b"x" * 200_000 + b'",1\n', "t.csv", "not readable as a table"),
        (gzip.compress(gzip.compress(b"formula,gap\nSi,1\n")), "t.csv.gz", "packed file inside"),
        (b"PK\x03\x04 broken", "t.csv.zip", "packed by zip, from which nothing is read"),
        (b"", "t.csv.Z", "packed by compress"),
        (b"7z\xbc\xaf\x27\x1c", "t.7z", "packed by 7z"),
        (lzma.compress(b"Si" * 9, format=lzma.FORMAT_ALONE), "t.csv.lzma", "packed by lzma"),
        *((tarred(mode), name, "packed by tar") for mode, name in (("", "t.csv"), ("gz", "t.csv.gz"), ("xz", "t.txz"))),
    ],
)  # fmt: skip
def test_what_is_no_table_is_a_sentence(tmp_path, content, name, said):
    with pytest.raises(DataError, match=said):
        read_source(written(tmp_path, content, name))


def test_a_pipe_in_the_place_of_a_table_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(DataError, match="not a file, but a pipe"):
        read_source(tmp_path / "t.csv")


def test_packed_bombs_are_refused_by_their_unpacked_size(tmp_path, monkeypatch):
    monkeypatch.setenv("MATGRAFT_LIMITS", "table_bytes=10000")
    with pytest.raises(DataError, match=r"more than 10,000 bytes; .*table_bytes"):
        read_source(written(tmp_path, gzip.compress(b"a,b\n" * 10_000), "bomb.csv.gz"))
    book = workbook(tmp_path, {"a": [("formula", "gap"), *ROWS]})
    with zipfile.ZipFile(book, "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/more.xml", b" " * 100_000)
    with pytest.raises(DataError, match="bytes unpacked"):
        read_source(book)


def test_entities_and_sizes_that_a_sheet_only_claims(tmp_path, monkeypatch):
    book = workbook(tmp_path, {"a": [("formula", "gap"), *ROWS]})
    with zipfile.ZipFile(book) as packed:
        parts = {one.filename: packed.read(one) for one in packed.infolist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = parts[sheet].replace(b'ref="A1:B6"', b'ref="A1:XFD1048576"')
    assert b"XFD1048576" in parts[sheet]
    with zipfile.ZipFile(tmp_path / "claims.xlsx", "w") as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    assert rows_of(tmp_path / "claims.xlsx") == ROWS
    parts[sheet] = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>' + parts[sheet].partition(b"?>")[2]
    with zipfile.ZipFile(tmp_path / "entity.xlsx", "w") as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    with pytest.raises(DataError, match="declarations"):
        read_source(tmp_path / "entity.xlsx")


def test_too_many_cells(tmp_path, monkeypatch):
    monkeypatch.setenv("MATGRAFT_LIMITS", "table_cells=8")
    with pytest.raises(DataError, match="12 cells in 6 rows of 2 columns; at most 8 "):
        read_source(written(tmp_path, TEXT))


def test_blanks_part_no_column_that_stands_alone(tmp_path):
    """Formulas with a prompt beside them are one column, since the header is the name of one."""
    (tmp_path / "asked.csv").write_text("formula\nFe2O3 [KIND]\nNaCl\nMgO [GAP]\n")
    source = read_source(tmp_path / "asked.csv")
    assert list(source.cells.columns) == ["formula"]
    assert list(source.cells["formula"]) == ["Fe2O3 [KIND]", "NaCl", "MgO [GAP]"]
    (tmp_path / "two.txt").write_text("formula gap\nFe2O3 2.1\nNaCl 8.5\n")
    assert list(read_source(tmp_path / "two.txt").cells.columns) == ["formula", "gap"]

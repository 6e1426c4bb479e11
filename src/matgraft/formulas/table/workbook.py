"""Sheets of Excel workbooks (.xlsx, .xlsm), read by openpyxl without running anything.

    records, decisions = read_workbook(content, path, sheet="oxides")

A workbook is a packed folder of XML. Its unpacked size is bounded before anything is read, files with entities are
refused, and rows are read one by one. Of a cell with a formula the stored value is taken.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from openpyxl.utils import column_index_from_string

from matgraft.core.errors import DataError, MatgraftError, OptionError, nearest
from matgraft.core.limits import exceeded, limits, require
from matgraft.formulas.table.faults import Decision
from matgraft.formulas.table.layout import Record, is_formula_name

MOST_PARTS = 10_000
"""Files in a workbook."""
_MERGED = re.compile(r'<(?:\w+:)?mergeCell\s+ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
_ROW = re.compile(r"<(?:\w+:)?row\s[^<>]{0,400}>")
_HIDDEN, _NUMBER = re.compile(r'\shidden="(?:1|true)"'), re.compile(r'\sr="(\d{1,7})"')
_LOOKED_AT = 30
"""Rows of a sheet in which its header is looked for."""


def read_workbook(content: bytes, path: Path, sheet: str | None) -> tuple[list[Record], tuple[Decision, ...]]:
    """Return the rows of one sheet.

    Raises
    ------
    DataError
        If it is no workbook, is too large, or a formula has no stored value.
    OptionError
        If there is no such sheet, or several hold a table.
    """
    _refuse_unsafe(content, path)
    book = _opened(content, path, data_only=True)
    try:
        names = [one.title for one in book.worksheets]
        hidden = [one.title for one in book.worksheets if one.sheet_state != "visible" and one.title != sheet]
        shown = [name for name in names if name not in hidden] or names
        chosen = _sheet(book, shown if sheet is None else names, path, sheet)
        merged, unseen = _merged(book[chosen])
        records, filled = _with_merged(list(_rows(book[chosen], path)), merged)
        if any(cell == "" for record in records for cell in record.cells):
            _refuse_unstored(content, path, chosen, records)
    finally:
        book.close()
    told = [Decision(code="sheet", value=chosen)] if len(names) > 1 else []
    if hidden and shown != names:
        told.append(Decision(code="hidden", value=", ".join(hidden[:5])))
    if unseen:
        told.append(Decision(code="hidden-rows", count=len(unseen), lines=tuple(unseen[:10])))
    if filled:
        told.append(Decision(code="merged", count=len(filled), lines=tuple(filled[:10])))
    return records, tuple(told)


def _merged(sheet: Any) -> tuple[list[tuple[int, int, int]], list[int]]:
    """Return merged cells that go down, and rows that are hidden, such as by a filter.

    Of a merged one: column from 0, first and last row; titles, which go across, are left.
    """
    found = []
    with sheet._get_source() as source:  # the size of what is unpacked was bounded before
        text = source.read().decode("utf-8", "replace")
    for match in _MERGED.finditer(text):
        (left, top, right, bottom) = (match[1], int(match[2]), match[3], int(match[4]))
        if left == right and top < bottom:
            found.append((column_index_from_string(left) - 1, top, bottom))
    rows = [match[0] for match in _ROW.finditer(text) if _HIDDEN.search(match[0])]
    return found, [int(number[1]) for row in rows if (number := _NUMBER.search(row))]


def _with_merged(records: list[Record], merged: Sequence[tuple[int, int, int]]) -> tuple[list[Record], list[int]]:
    """Return rows whose merged cells hold what the first of them does, and the lines that were filled."""
    by_line = {record.line: list(record.cells) for record in records}
    filled = []
    for column, top, bottom in merged:
        first = by_line.get(top, [])
        if column >= len(first) or not first[column]:
            continue
        for line in range(top + 1, min(bottom, max(by_line)) + 1):
            cells = by_line.get(line)
            if cells is None:
                continue
            cells += [""] * (column + 1 - len(cells))  # a row ends with its last cell that holds something
            if not cells[column]:
                cells[column] = first[column]
                filled.append(line)
    return [Record(record.line, tuple(by_line[record.line])) for record in records], sorted(filled)


def _refuse_unsafe(content: bytes, path: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            parts = packed.infolist()
            size = sum(part.file_size for part in parts)
            require("table_bytes", size, "bytes unpacked", str(path))
            if len(parts) > MOST_PARTS:
                found = f"{len(parts):,} files are in it, a workbook has fewer than {MOST_PARTS:,}"
                raise DataError(found, where=str(path), remedy="save the sheet that is used as CSV (UTF-8)")
            if not any(part.filename == "xl/workbook.xml" for part in parts):
                raise DataError(
                    "a packed file that is not an Excel workbook",
                    where=str(path),
                    remedy="unpack it, or save the table as .xlsx or CSV",
                )
            for part in parts:
                if part.filename.endswith((".xml", ".rels")):
                    with packed.open(part) as head:  # no more of it is unpacked
                        if b"<!DOCTYPE" in head.read(1024):
                            raise DataError(
                                "a workbook with declarations that Excel does not write",
                                where=str(path),
                                remedy="save it again in a spreadsheet",
                            )
    except MatgraftError:
        raise
    except Exception as error:  # zipfile raises ValueError, EOFError, struct.error and others of broken files
        raise DataError(f"the workbook is broken: {error}", where=str(path)) from None


def _opened(content: bytes, path: Path, *, data_only: bool) -> Any:
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles, validations and charts that it passes over
            return openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=data_only, keep_links=False)
    except Exception as error:  # openpyxl raises KeyError, ValueError, TypeError and XML errors of broken files alike
        raise DataError(f"the workbook is broken: {type(error).__name__}: {error}", where=str(path)) from None


def _sheet(book: Any, names: Sequence[str], path: Path, asked: str | None) -> str:
    if asked is not None:
        if asked not in names:
            raise OptionError(f"no sheet {asked!r}", where=str(path), allowed=names, remedy=nearest(asked, names))
        return asked
    if not names:
        raise DataError("a workbook without sheets", where=str(path))
    if len(names) == 1:
        return names[0]
    with_formulas = [name for name in names if _names_formulas(book[name], path)]
    if len(with_formulas) == 1:
        return with_formulas[0]
    filled = with_formulas or [name for name in names if next(_rows(book[name], path), None) is not None]
    if len(filled) == 1:
        return filled[0]
    raise OptionError(
        f"{len(names)} sheets, and it is open which one is meant",
        where=str(path),
        remedy="say which sheet",
        options=[{"--sheet": name} for name in filled or names],
    )


def _names_formulas(sheet: Any, path: Path) -> bool:
    rows = _rows(sheet, path, most=_LOOKED_AT)
    return any(is_formula_name(cell) for record in rows for cell in record.cells)


def _rows(sheet: Any, path: Path, most: int | None = None) -> Iterator[Record]:
    """Yield the rows that hold something."""
    sheet.reset_dimensions()  # what the file says of its size may be anything
    cells, bound = 0, limits().table_cells
    try:
        for number, row in enumerate(sheet.iter_rows(values_only=True, max_row=most), 1):
            cells += len(row)
            if cells > bound:
                raise exceeded("table_cells", f"more than {bound:,} cells", str(path))
            texts = tuple(_text(value) for value in row)
            if any(texts):
                yield Record(number, texts)
    except DataError:
        raise
    except Exception as error:  # as of `_opened`
        raise DataError(f"the sheet is broken: {type(error).__name__}: {error}", where=str(path)) from None


def _text(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else str(value)


def _refuse_unstored(content: bytes, path: Path, name: str, records: Sequence[Record]) -> None:
    """Raise a `DataError` where a cell holds a formula whose value was never stored: it looks empty."""
    empty = {record.line: [i for i, cell in enumerate(record.cells) if cell == ""] for record in records}
    book = _opened(content, path, data_only=False)
    try:
        sheet = book[name]
        sheet.reset_dimensions()
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
            for i in empty.get(number, ()):
                if i < len(row) and isinstance(row[i], str) and row[i].startswith("="):
                    raise DataError(
                        f"the formula {row[i][:60]!r} has no stored value",
                        where=f"{path} line {number}, cell {i + 1}",
                        remedy="open the workbook in a spreadsheet and save it, or paste the values",
                    )
    finally:
        book.close()

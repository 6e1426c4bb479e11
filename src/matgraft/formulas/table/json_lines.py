"""JSON as a table: a record a line, an array of records, or columns. A composition may be a mapping of its amounts.

{"formula": "Fe2O3", "gap": 2.1}
{"composition": {"Fe": 2, "O": 3}, "gap": 2.1}
{"formula": ["Fe2O3", "NaCl"], "gap": [2.1, 8.5]}         # and what pandas writes: split, index, columns
{"data": [{"id": "mp-1", "attributes": {"formula": "Fe2O3"}}]}      # column attributes.formula
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from ase.data import atomic_numbers

from matgraft.core.errors import DataError
from matgraft.core.limits import require
from matgraft.core.texts import parse_json
from matgraft.formulas.table.layout import is_formula_name

MOST_NESTED = 5
"""Mappings inside one another that become columns."""
_REMEDY = 'write one record a line: {"formula": "Fe2O3", "gap": 2.1}'


def read_json_cells(text: str, path: Path) -> pd.DataFrame:
    """Return the cells of records; the index holds the lines; of an array, the record as of a table with a header.

    Raises
    ------
    DataError
        If a line is no record.
    """
    rows = dict(_items(text, path) if text.lstrip().startswith("[") or _is_one(text) else _lines(text, path))
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not names:
        raise DataError("not readable as a table: it is empty", where=str(path))
    require("table_cells", len(rows) * len(names), "cells", str(path))
    cells = [[row.get(name, "") for name in names] for row in rows.values()]
    return pd.DataFrame(cells, index=pd.Index(list(rows), dtype="int64"), columns=names, dtype=object)


def _lines(text: str, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _record(_parsed(line, f"{path} line {number}"), f"{path} line {number}")


def _is_one(text: str) -> bool:
    """Say whether a text is one object that goes over lines, or one that holds a whole table."""
    try:
        whole = parse_json(text, as_written=True)
    except ValueError:
        return False
    return isinstance(whole, dict) and ("\n" in text.strip() or _records_of(whole) is not None)


def _items(text: str, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    found = _parsed(text, str(path))
    if isinstance(found, dict):
        inside = _records_of(found)
        items = [found] if inside is None else inside
    else:
        assert isinstance(found, list)
        items = _headed(found) if found and all(isinstance(one, list) for one in found) else found
    for number, item in enumerate(items, 2):
        yield number, _record(item, f"{path} record {number - 1}")


def _headed(rows: Sequence[list[object]]) -> list[object]:
    """Return records of rows of which the first is the header."""
    return [dict(zip(map(str, rows[0]), row, strict=False)) for row in rows[1:]]


def _records_of(found: Mapping[str, object]) -> list[object] | None:
    """Return the records of an object that holds a whole table, or None if it is one record."""
    names, values = list(found), list(found.values())
    rows, header = found.get("data"), found.get("columns")
    if isinstance(rows, list) and isinstance(header, list):  # pandas: split
        return _headed([header, *(row for row in rows if isinstance(row, list))])
    if (
        len(values) > 1
        and all(isinstance(one, list) for one in values)
        and len({len(one) for one in _lists(values)}) == 1
    ):
        return [dict(zip(names, row, strict=True)) for row in zip(*_lists(values), strict=True)]
    if values and all(isinstance(one, dict) and one for one in values) and not _is_composition(found):
        inner = [one for one in values if isinstance(one, dict)]
        if any(map(is_formula_name, names)) and len(names) > 1 and len({tuple(one) for one in inner}) == 1:  # columns
            return [{name: one[key] for name, one in zip(names, inner, strict=True)} for key in inner[0]]
        if any(is_formula_name(str(name)) for one in inner for name in one) and len(names) > 1:  # index
            return [*inner]
    tables = [one for one in values if isinstance(one, list) and one and all(isinstance(row, dict) for row in one)]
    return tables[0] if len(tables) == 1 and not any(map(is_formula_name, names)) else None


def _lists(values: Sequence[object]) -> list[list[object]]:
    return [one for one in values if isinstance(one, list)]


def _parsed(text: str, where: str) -> object:
    try:  # numbers stay as they are written
        found: object = parse_json(text, where, as_written=True)
    except ValueError as error:
        raise DataError(f"not readable as JSON: {error}", where=where, remedy=_REMEDY) from None
    return found


def _record(item: object, where: str) -> dict[str, str]:
    if not isinstance(item, dict):
        raise DataError(
            f"a record is a mapping of names to values, not {type(item).__name__}", where=where, remedy=_REMEDY
        )
    return dict(_flat(item, ""))


def _flat(item: Mapping[str, object], before: str, depth: int = 1) -> Iterator[tuple[str, str]]:
    """Yield names and texts; what is nested gets a name with dots: ``attributes.formula``."""
    for key, value in item.items():
        name = before + " ".join(str(key).split())
        if isinstance(value, dict) and value and not _is_composition(value) and depth < MOST_NESTED:
            yield from _flat(value, f"{name}.", depth + 1)
        else:
            yield name, _text(value)


def _is_composition(value: Mapping[str, object]) -> bool:
    return bool(value) and all(name in atomic_numbers and isinstance(x, str) for name, x in value.items())


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict) and _is_composition(value):
        return "".join(f"{symbol}{amount}" for symbol, amount in value.items())
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, list) else str(value)

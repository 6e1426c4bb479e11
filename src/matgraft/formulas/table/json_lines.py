"""JSON as a table: a record a line, or an array of records. A composition may be a mapping of elements to amounts.

{"formula": "Fe2O3", "gap": 2.1}
{"composition": {"Fe": 2, "O": 3}, "gap": 2.1}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from ase.data import atomic_numbers

from matgraft.core.errors import DataError
from matgraft.core.limits import MOST_CELLS

_REMEDY = 'write one record a line: {"formula": "Fe2O3", "gap": 2.1}'


def read_json(text: str, path: Path) -> pd.DataFrame:
    """Return the cells of records; the index holds the lines; of an array, the record as of a table with a header.

    Raises
    ------
    DataError
        If a line is no record.
    """
    rows = dict(_array(text, path) if text.lstrip().startswith("[") else _lines(text, path))
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not names:
        raise DataError("not readable as a table: it is empty", where=str(path))
    if len(rows) * len(names) > MOST_CELLS:
        raise DataError(f"more than {MOST_CELLS:,} cells", where=str(path), remedy="keep the keys that are used")
    cells = [[row.get(name, "") for name in names] for row in rows.values()]
    return pd.DataFrame(cells, index=pd.Index(list(rows), dtype="int64"), columns=names, dtype=object)


def _lines(text: str, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _record(_parsed(line, f"{path} line {number}"), f"{path} line {number}")


def _array(text: str, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    items = _parsed(text, str(path))
    assert isinstance(items, list)
    for number, item in enumerate(items, 2):
        yield number, _record(item, f"{path} record {number - 1}")


def _parsed(text: str, where: str) -> object:
    try:  # numbers stay as they are written
        found: object = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not readable as JSON: {error}", where=where, remedy=_REMEDY) from None
    return found


def _record(item: object, where: str) -> dict[str, str]:
    if not isinstance(item, dict):
        raise DataError(
            f"a record is a mapping of names to values, not {type(item).__name__}", where=where, remedy=_REMEDY
        )
    return {" ".join(str(name).split()): _text(value) for name, value in item.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    if (
        isinstance(value, dict)
        and value
        and all(name in atomic_numbers and isinstance(x, str) for name, x in value.items())
    ):
        return "".join(f"{symbol}{amount}" for symbol, amount in value.items())
    return value if isinstance(value, str) else str(value)

"""Cells as numbers: what is harmless is read, and what is no number is refused by what it seems to be.

    found = numbers_in(cells["gap"], Marks(decimal=","))
    found.values, found.faults, found.decisions

Harmless are signs of Unicode, ``1.2×10^-3``, thousands where the whole column leaves no doubt, a decimal comma, and a
unit that every cell has. A limit (``<0.1``), a range, an uncertainty, an approximate value, a date and a mixture of
units are refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from matgraft.formulas.table.cell import GROUPED, LONGEST, MEANINGS, MINUS, Mark, ReadCell, Seems, seems
from matgraft.formulas.table.faults import BadCell, Decision

if TYPE_CHECKING:
    import pandas as pd

EMPTY = ("", "nan", "na", "n/a", "none", "null")
"""What stands for a value that is missing. Among words "none" may be an answer, such as that of a coating."""
LONGEST_SHOWN = 60
"""Characters of a cell that a message shows."""
NO_NUMBER = frozenset(
    (*EMPTY, "-", "--", "---", "–", "—", "−", "?", ".", "n.a.", "n.d.", "nd", "n/d", "<na>", "#n/a", "missing", "tbd")
)
"""What stands for a value that is missing in a column of numbers."""


@dataclass(frozen=True)
class Marks:
    """How a file writes numbers.

    Attributes
    ----------
    decimal
        What all its columns together say of the decimal point; None where none of them tells.
    separator
        Of the columns of the file; empty where it is no text.
    """

    decimal: Mark | None = None
    separator: str = ""


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column as numbers.

    Attributes
    ----------
    values
        (n,), NaN where a cell is none.
    uncertainties
        (n,), NaN where a cell states none.
    faults
        Cells that are no number.
    """

    values: NDArray[np.float64]
    uncertainties: NDArray[np.float64]
    faults: tuple[BadCell, ...] = ()
    decisions: tuple[Decision, ...] = field(default=())


def numbers_in(column: pd.Series, marks: Marks | None = None, *, uncertain: bool = False) -> Numbers:
    """Read a column of text as numbers.

    Parameters
    ----------
    column
        Its index holds the lines of the file.
    marks
        How the file writes numbers.
    uncertain
        Take values with uncertainties.
    """
    import pandas as pd

    marks = marks or Marks()
    words = column.str.strip()
    values = pd.to_numeric(words, errors="coerce").to_numpy(float).copy()
    uncertainties = np.full(len(values), np.nan)
    odd = np.flatnonzero(~np.isfinite(values))
    decimal, parts_thousands = _column_mark(words, odd, marks)
    if decimal == ",":  # a point is no decimal point then
        odd = np.flatnonzero(~np.isfinite(values) | words.str.contains(".", regex=False).to_numpy())
    looked = {int(i): _in_its_column(words.iloc[i], decimal, parts_thousands) for i in odd}
    unit = _one_unit(looked, np.isfinite(values), str(column.name))
    stated = {cell.unit for cell in looked.values() if cell.seems == "uncertainty"} - {""}
    one_stated = len(stated) < 2  # 2.1±0.1 eV beside 2100±100 meV are not of one unit
    bad_cells: list[BadCell] = []
    for i, cell in looked.items():
        fine = (
            cell.seems == "number"
            or (cell.seems == "unit" and cell.unit == unit)
            or (uncertain and cell.seems == "uncertainty" and (one_stated or not cell.unit))
        )
        values[i], uncertainties[i] = (cell.value, cell.uncertainty) if fine else (np.nan, np.nan)
        if not fine:
            mixes = uncertain and cell.seems == "uncertainty"
            bad_cells.append(_fault(column, i, cell, mixes_units=mixes))
    return Numbers(values, uncertainties, tuple(bad_cells), tuple(_told(column, looked, decimal, unit)))


def is_numeric(column: pd.Series, *, ranges: bool = True) -> bool:
    """Say whether more than half of the cells that hold something are numbers, or are written like numbers."""
    import pandas as pd

    words = column.str.strip()
    words = words[~words.str.lower().isin(NO_NUMBER)]
    plain = pd.to_numeric(words, errors="coerce").notna()
    seen = Counter(words[~plain])
    like = sum(n for text, n in seen.items() if _is_like_a_number(text, ranges))
    return bool(plain.sum() + like > 0.5 * len(words))


def _is_like_a_number(text: str, ranges: bool) -> bool:
    kinds = {seems(text, mark).seems for mark in (".", ",")}
    return bool(kinds - {"word", "date", "error"} - (set() if ranges else {"range"})) or bool(
        _AMBIGUOUS.fullmatch(text)
    )


_AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
"""A comma that parts thousands or is the decimal point."""
_AMBIGUOUS_POINT = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
_SURE_COMMA = re.compile(
    r"[+-]?(?:\d*,(?:\d{1,2}|\d{4,})|0?,\d+|0,\d+|\d{4,},\d+|[1-9]\d{0,2}(?:\.\d{3})+,\d+)(?:[eE][+-]?\d+|\s?[^\d\s,.].{0,24})?"
)
_SURE_POINT = re.compile(
    r"[+-]?(?:\d*\.(?:\d{1,2}|\d{4,})|0?\.\d+|\d{4,}\.\d+|[1-9]\d{0,2}(?:,\d{3})+\.\d+|[1-9]\d{0,2}(?:,\d{3}){2,})(?:[eE][+-]?\d+)?"
)


def decimal_mark(columns: Iterable[pd.Series]) -> Mark | None:
    """Return the decimal mark that all columns of a file agree on; None where nothing tells, or they disagree."""
    found: set[Mark] = set()
    for column in columns:
        for text in dict.fromkeys(column.head(2000)):
            straight = str(text)[: LONGEST + 1].strip().translate(MINUS)
            if _SURE_COMMA.fullmatch(straight):
                found.add(",")
            elif _SURE_POINT.fullmatch(straight):
                found.add(".")
    return found.pop() if len(found) == 1 else None


def _column_mark(words: pd.Series, odd: NDArray[np.int_], marks: Marks) -> tuple[Mark, bool]:
    """Return the decimal mark of a column, and whether the other sign surely parts thousands in it."""
    if not any("," in words.iloc[i] for i in odd):
        # Where the other columns have decimal commas, a point can only part thousands.
        by_file = marks.decimal == "," and words.map(lambda text: bool(_AMBIGUOUS_POINT.fullmatch(text))).any()
        return (",", True) if by_file else (".", False)
    straight = [text.translate(MINUS) for text in words if len(text) <= LONGEST]
    commas = any(_SURE_COMMA.fullmatch(text) for text in straight)
    points = any(_SURE_POINT.fullmatch(text) for text in straight)
    if commas != points:
        mark: Mark = "," if commas else "."
        return mark, mark == "." or any(
            GROUPED[mark].fullmatch(text) and "," in text and "." in text for text in straight
        )
    if commas:
        return ".", False  # they disagree
    if marks.decimal or marks.separator in (",", ";"):
        is_plain = len(odd) == len(words)
        return marks.decimal or ("," if marks.separator == ";" and is_plain else "."), True
    return ".", False


def _in_its_column(text: str, decimal: Mark, parts_thousands: bool) -> ReadCell:
    """Return what a cell seems to be; a sign that may part thousands does so only where the column leaves no doubt."""
    straight = text.translate(MINUS)
    open_to_both = (_AMBIGUOUS if decimal == "." else _AMBIGUOUS_POINT).fullmatch(straight)
    return ReadCell("mark") if open_to_both and not parts_thousands else seems(text, decimal)


def _one_unit(looked: dict[int, ReadCell], plain: NDArray[np.bool_], name: str) -> str:
    """Return the unit that every number of a column has, or that the header states for those without; else empty."""
    units = {cell.unit for cell in looked.values() if cell.seems == "unit"}
    if len(units) != 1:
        return ""
    (unit,) = units
    stated = re.search(r"[\[(]([^\[\]()]+)[\])]\s*$", name)
    alone = not plain.any() and all(cell.seems != "number" for cell in looked.values())
    return unit if alone or (stated is not None and stated[1].strip() == unit) else ""


def _fault(column: pd.Series, i: int, cell: ReadCell, *, mixes_units: bool = False) -> BadCell:
    text = column.iloc[i]
    is_infinite = text.strip().lower().lstrip("+-") in ("inf", "infinity")
    seems: Seems = "unit" if mixes_units else cell.seems
    found, remedy = MEANINGS["overflow" if is_infinite else seems]
    short = text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
    shown = f"{short!r} {found}" + (f": {cell.unit}" if cell.unit else "")
    return BadCell(line=int(column.index[i]), column=str(column.name), cell=text, found=shown, remedy=remedy)


def _told(column: pd.Series, looked: dict[int, ReadCell], decimal: Mark, unit: str) -> Iterable[Decision]:
    name = str(column.name)
    read = {i: cell for i, cell in looked.items() if cell.seems == "number" or (unit and cell.unit == unit)}
    texts = {i: column.iloc[i].strip() for i in read}
    if decimal == "," and any("," in text for text in texts.values()):
        yield Decision(code="decimal-comma", column=name)
    parted: dict[str, list[int]] = {}
    for i, text in texts.items():
        found = re.search(r"(?<=\d)[ '’\u00a0\u2009\u202f](?=\d)", text) or (
            re.search("[,.]", text) if GROUPED[decimal].fullmatch(text.translate(MINUS)) else None
        )
        if found:
            parted.setdefault(found[0], []).append(i)
    for sign, rows in parted.items():
        yield Decision(code="thousands", column=name, value=sign, count=len(rows), lines=_lines(column, rows))
    if unit:
        yield Decision(code="unit", column=name, value=unit)
    for form in dict.fromkeys(cell.form for cell in read.values() if cell.form):
        rows = [i for i, cell in read.items() if cell.form == form]
        yield Decision(code="number-form", column=name, value=form, count=len(rows), lines=_lines(column, rows))


def _lines(column: pd.Series, rows: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(column.index[i]) for i in rows[:10])

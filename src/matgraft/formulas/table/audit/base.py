"""What every look at a table is given: its rows as they were read, and its other columns as numbers and as words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from matgraft.core.findings import Action
from matgraft.core.statistics import Units, numbered
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.table.audit.expected import Departures, departures
from matgraft.formulas.table.formula_table import GROUPINGS, ColumnNames, FormulaTable
from matgraft.formulas.table.lines import write_lines
from matgraft.formulas.table.numbers import EMPTY, Marks, decimal_mark, numbers_in

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
NUMERIC = 0.9
"""Part of the filled cells from which on a column is one of numbers."""


@dataclass(frozen=True, eq=False)
class TableEvidence:
    """A table as it was read for one target.

    Attributes
    ----------
    table
        Its rows.
    target
        Name of the column of values.
    columns
        What the other columns are used for.
    backbone
        The encoder; None where none was loaded, and looks that ask it say so.
    candidates
        Formulas that the predictor shall serve; None where none were named.
    """

    table: FormulaTable
    target: str
    columns: ColumnNames
    backbone: CompositionBackbone | None = None
    candidates: tuple[Formula, ...] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table.values)

    @property
    def values(self) -> Array:
        """(n,) numbers, or indices of classes."""
        return self.table.values

    @property
    def of_numbers(self) -> bool:
        """True if the target is no class."""
        return not self.table.classes

    @cached_property
    def lines(self) -> NDArray[np.int64]:
        """(n,) lines of the file."""
        return np.array(self.table.lines, dtype=np.int64)

    @cached_property
    def formulas(self) -> Units:
        """(n,) number of each row's formula: rows of one composition share it."""
        return numbered(self.table.keys)

    @cached_property
    def used(self) -> frozenset[str]:
        """Columns that have a use already."""
        columns = self.columns
        named = (self.target, columns.fold, columns.weight, columns.prompt_class, *columns.covariates)
        own = None if columns.group in GROUPINGS else columns.group
        return frozenset(name for name in (*named, own) if name)

    @cached_property
    def unused(self) -> tuple[str, ...]:
        """Columns that nothing reads yet, without that of the formulas."""
        cells = self.table.cells
        texts = [formula.text for formula in self.table.formulas]
        return tuple(
            str(name) for name in cells.columns
            if name not in self.used and name != self.columns.formula and list(cells[name].str.strip()) != texts
        )  # fmt: skip

    @cached_property
    def marks(self) -> Marks:
        """How the file writes numbers: its columns together say whether the decimal sign is a comma."""
        cells = self.table.cells
        return Marks(decimal_mark(cells[name].astype(str) for name in cells.columns))

    def numbers(self, column: str) -> Array | None:
        """Return a column (n,) as numbers, NaN where a cell is empty; None where it is one of words."""
        cells = self.words(column)
        empty = cells.str.lower().isin(EMPTY)
        found = numbers_in(cells.where(~empty, "nan"), self.marks).values
        filled = int((~empty).sum())
        if not filled or np.isfinite(found).sum() < NUMERIC * filled:
            return None
        return np.where(np.isfinite(found), found, np.nan)

    def words(self, column: str) -> pd.Series:
        """Return a column's cells without the blanks around them."""
        return self.table.cells[column].astype(str).str.strip()

    @cached_property
    def departures(self) -> Departures:
        """How far each value lies from those of the nearest formulas."""
        return departures(self.table.formulas, self.formulas, self.values)

    def at(self, rows: Iterable[int] | Rows) -> tuple[int, ...]:
        """Return the lines of some rows."""
        return tuple(self.lines[np.asarray(list(rows), dtype=np.intp)].tolist())

    def named(self, rows: Sequence[int] | Rows, most: int = 3) -> str:
        """Name some rows by line, formula and value: ``line 9 (TiF4): 416484; …``."""
        shown = [f"line {self.lines[i]} ({self.table.formulas[i]}): {self.said(i)}" for i in list(rows)[:most]]
        return "; ".join(shown) + ("; …" if len(rows) > most else "")

    def said(self, row: int) -> str:
        """Write the value of a row."""
        classes, value = self.table.classes, self.values[row]
        return classes[int(value)] if classes else f"{value:.6g}"

    def dropped(self, rows: Iterable[int] | Rows) -> Action:
        """Return the action that leaves rows out, beside those that are left out already."""
        return Action(settings={"--drop": write_lines(self.at(rows))})


def count_rows(number: int, of: int | None = None, what: str = "row") -> str:
    """Say how many rows: ``3 rows``, ``1 of 60 rows``."""
    among = "" if of is None else f" of {of}"
    return f"{number:,}{among} {what}{'' if (of or number) == 1 else 's'}"

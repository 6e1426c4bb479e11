"""A file opened, with its formulas found: a column of them, or columns of elements.

opened = open_table(Path("steels.csv"), ColumnNames(reading=ReadOptions(composition="wt%")), ["yield_MPa"])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matgraft.core.errors import OptionError
from matgraft.formulas.table import columns as by_column
from matgraft.formulas.table.faults import BadCell, Decision, refuse
from matgraft.formulas.table.formula_table import UNCERTAINTY, ColumnNames, ReadOptions
from matgraft.formulas.table.names import formula_column, known_formula_column, matching, require_column
from matgraft.formulas.table.numbers import EMPTY, Marks, decimal_mark
from matgraft.formulas.table.parsing import has_alloys
from matgraft.formulas.table.sources import SHEETS, TableSource, read_source

if TYPE_CHECKING:
    import pandas as pd

COMPOSED = "composition"
"""Name of the formulas that were made of columns."""


@dataclass(frozen=True, eq=False)
class OpenedTable:
    """A file with its formulas found.

    Attributes
    ----------
    cells
        (n, columns) text, a column `column` of formulas among them; the index holds the lines.
    marks
        How the file writes numbers.
    """

    cells: pd.DataFrame
    column: str
    marks: Marks
    path: Path
    faults: tuple[BadCell, ...] = ()
    decisions: tuple[Decision, ...] = ()


def open_table(
    path: Path, columns: ColumnNames, targets: Sequence[str] = (), source: TableSource | None = None
) -> OpenedTable:
    """Read a file and find its formulas: a column of them, or columns of elements.

    Parameters
    ----------
    targets
        Columns of values, which are no part of a composition.
    source
        A part of the file that was read before; by default all of it is read.

    Raises
    ------
    DataError, OptionError
        If the file cannot be read, or it is open where its formulas stand.
    """
    source = source or read_source(path, columns.reading.sheet)
    marks = marks_of(source)
    cells, how = source.cells, columns.reading
    used = [found for name in named_columns(columns, *targets) for found in matching(cells, name)]
    elements = by_column.amount_columns(cells, used)
    is_asked = bool(how.composition or how.balance)
    has_formulas = columns.formula is not None or known_formula_column(cells) is not None
    if (
        columns.formula is None
        and len(elements) > 1
        and (is_asked or (not has_formulas and by_column.are_compositions(elements)))
    ):
        made = by_column.by_columns(cells, how.composition, how.balance, path, marks, used)
        name = COMPOSED if COMPOSED not in cells.columns else f"{COMPOSED} of columns"
        cells = cells.assign(**{name: made.formulas})
        return OpenedTable(
            cells, name, marks, path, (*source.faults, *made.faults), (*source.decisions, *made.decisions)
        )
    column = formula_column(cells, columns.formula, path)
    if how.balance or (how.composition and not has_alloys(cells[column])):
        option = "--balance" if how.balance else "--composition"
        found = f"{option} is not read: {path.name} has formulas in column {column!r}, and no columns of elements"
        raise OptionError(found, remedy="leave the option out")
    return OpenedTable(cells, column, marks, path, source.faults, source.decisions)


def further(path: Path, columns: ColumnNames, source: TableSource | None = None) -> ColumnNames:
    """Return how a table beside that of the training is read: it may call its formulas otherwise, or have no sheets."""
    sheet = columns.reading.sheet if path.suffix.lower() in SHEETS else None
    how, cells = replace(columns.reading, sheet=sheet), (source or read_source(path, sheet)).cells
    named = columns.formula if columns.formula and matching(cells, columns.formula) else None
    if len(by_column.amount_columns(cells)) < 2:  # formulas where the training table has columns of elements
        column = named or known_formula_column(cells)
        is_read = column is not None and has_alloys(cells[matching(cells, column)[0]])
        how = replace(how, balance=None, composition=how.composition if is_read else None)
    return replace(columns, formula=named, reading=how)


def marks_of(source: TableSource) -> Marks:
    """Return how a file writes numbers."""
    decimal = source.decimal or decimal_mark(source.cells[name] for name in source.cells.columns)
    return Marks(decimal, source.separator)


def read_cells(path: Path, sheet: str | None = None) -> pd.DataFrame:
    """Return every cell as text; the index holds the lines of the file.

    Raises
    ------
    DataError
        If rows do not fit the header.
    """
    source = read_source(path, sheet)
    refuse(source.faults, path, can_skip=False)
    return source.cells


def value_columns(path: Path, formula: str | None, reading: ReadOptions | None = None) -> list[str]:
    """Return the columns of a table beside the formulas, or beside the elements that make them."""
    how = reading or ReadOptions()
    cells = read_source(path, how.sheet).cells
    elements = {column.name for column in by_column.amount_columns(cells)}
    of_columns = formula is None and len(elements) > 1 and bool(how.composition or how.balance)
    is_composed = by_column.are_compositions(by_column.amount_columns(cells))
    if of_columns or (formula is None and known_formula_column(cells) is None and is_composed):
        return [str(name) for name in cells.columns if name not in elements]
    named = formula_column(cells, formula, path)
    return [str(name) for name in cells.columns if name != named]


def targets_in(path: Path, targets: Sequence[str], columns: ColumnNames | None = None) -> list[str]:
    """Return those of some targets that a table has values of; of those whose columns are all empty, each.

    Parameters
    ----------
    columns
        How the training table was read.

    Raises
    ------
    OptionError
        If it has no column of any.
    """
    cells = read_source(path, further(path, columns or ColumnNames()).reading.sheet).cells
    if found := [target for target in targets if matching(cells, target)]:
        return [name for name in found if not is_empty(cells[require_column(cells, name, path)]).all()] or found
    raise OptionError(
        f"no column of what was trained on: {', '.join(targets)}",
        where=str(path),
        allowed=targets,
        remedy="name the column of the values as in the training table",
    )


def without_lines(cells: pd.DataFrame, lines: Sequence[int], path: Path) -> pd.DataFrame:
    """Return cells without some lines of their file.

    Raises
    ------
    OptionError
        If the file has no row in such a line.
    """
    here = cells.index.to_numpy()
    if strange := sorted(set(lines) - set(here.tolist())):
        found = f"there is no row in line {strange[0]}, which shall be left out"
        raise OptionError(found, where=str(path), allowed=[f"lines {here.min()} to {here.max()}"] if len(here) else ())
    return cells[~np.isin(here, list(lines))]


def named_columns(columns: ColumnNames, *targets: str) -> list[str]:
    """Return every name of a column that is asked for beside the formulas."""
    weight = None if columns.weight == UNCERTAINTY else columns.weight
    return [
        *targets,
        *columns.covariates,
        *filter(None, (columns.fold, weight, columns.group_column, columns.prompt_class)),
    ]


def is_empty(column: pd.Series) -> pd.Series:
    """Say which cells hold nothing, or a word for it."""
    return column.str.strip().str.lower().isin(EMPTY)

"""Tables that are asked about: their formulas, and every row that cannot be used.

queries = read_formulas(Path("candidates.csv"), ColumnNames(), parse_plain)
queries.formulas, queries.decisions, queries.skipped
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matgraft.formulas.table.faults import BadCell, Decision, refuse
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions
from matgraft.formulas.table.opening import OpenedTable, open_table
from matgraft.formulas.table.parsing import Parsed, ParsedColumn, alloy_cures, parse_cells, written_out

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Queries:
    """Rows of a table to predict.

    Attributes
    ----------
    formulas
        (n,) as written; alloys by per cent of weight or of atoms in shares of atoms.
    cells
        (n, columns) text; the index holds the lines.
    decisions, skipped
        What was decided in reading them, and cells for which rows were left out.
    column
        Of the formulas among the cells.
    parsed
        (n,) what the parser made of them; none where they were written anew.
    """

    formulas: list[str]
    cells: pd.DataFrame
    decisions: tuple[Decision, ...] = ()
    skipped: tuple[BadCell, ...] = ()
    column: str = "formula"
    parsed: tuple[Any, ...] = ()


def read_formulas(
    path: Path, columns: ColumnNames, parse: Callable[[str], Parsed], used: Sequence[str] = ()
) -> Queries:
    """Read the formulas of a table by a parser of formulas or of prompts.

    Parameters
    ----------
    used
        Columns that are no part of a composition.

    Raises
    ------
    DataError
        If rows cannot be used, and are not to be left out.
    """
    how, opened = columns.reading, open_table(path, columns, used)
    is_made = ~opened.cells.index.isin({fault.line for fault in opened.faults})
    parsed = parse_cells(opened.cells[opened.column][is_made], parse, how.composition)
    return usable(opened, parsed, how, (*opened.faults, *parsed.faults), opened.decisions)


def usable(
    opened: OpenedTable,
    parsed: ParsedColumn[Parsed],
    how: ReadOptions,
    bad: Sequence[BadCell],
    decisions: Sequence[Decision],
) -> Queries:
    """Return the rows without a fault; errors as of `read_formulas`."""
    rest = without(opened, parsed, how, bad, decisions)
    if not how.skip_bad or rest.cells.empty:
        refuse(rest.skipped, opened.path, alloy_cures(parsed.alloys), can_skip=how.can_skip and not rest.cells.empty)
    return rest


def without(
    opened: OpenedTable,
    parsed: ParsedColumn[Parsed],
    how: ReadOptions,
    bad: Sequence[BadCell],
    decisions: Sequence[Decision],
) -> Queries:
    """Return the rows without a fault, whether there are any or not."""
    import pandas as pd

    bad = list(dict.fromkeys(bad))
    good = opened.cells[~opened.cells.index.isin({fault.line for fault in bad})]
    texts = good[opened.column]
    if parsed.alloys and how.composition:
        texts = pd.Series([written_out(text, how.composition) for text in texts], index=texts.index)
        good = good.assign(**{opened.column: texts})
        return Queries(list(texts), good, tuple(decisions), tuple(bad), opened.column)
    found = tuple(parsed.found[line] for line in good.index)
    return Queries(list(texts), good, tuple(decisions), tuple(bad), opened.column, found)

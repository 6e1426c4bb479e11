"""Tables to predict: every row that cannot be predicted is found before any is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from matgraft.formulas.predict import PropertyModel
from matgraft.formulas.prompts.text import Prompt
from matgraft.formulas.table.covariates import encode, missing_faults, with_plain_numbers
from matgraft.formulas.table.faults import BadCell, Decision
from matgraft.formulas.table.formula_table import ColumnNames, ReadOptions
from matgraft.formulas.table.names import matching
from matgraft.formulas.table.opening import OpenedTable, further, open_table
from matgraft.formulas.table.parsing import ParsedColumn, parse_cells
from matgraft.formulas.table.sources import TableSource
from matgraft.formulas.table.unlabelled import Queries, usable, without


def open_queries(
    model: PropertyModel, path: Path, columns: ColumnNames, source: TableSource | None = None
) -> tuple[ReadOptions, OpenedTable]:
    """Open a table to predict, by what was typed and else as the run read its own; return how, and the table."""
    run, typed = model.run.columns, columns.reading
    named = replace(
        run,
        formula=columns.formula or run.formula,
        reading=replace(run.reading, sheet=typed.sheet or run.reading.sheet),
    )
    of_run = further(path, named, source)
    how = replace(
        of_run.reading, skip_bad=typed.skip_bad,
        composition=typed.composition or of_run.reading.composition, balance=typed.balance or of_run.reading.balance,
    )  # fmt: skip
    return how, open_table(path, replace(of_run, reading=how), model.targets, source)


def read_queries(model: PropertyModel, path: Path, columns: ColumnNames) -> Queries:
    """Read a table to predict, and find every row that cannot be.

    Parameters
    ----------
    columns
        What was typed; what is not is that of the run.

    Raises
    ------
    DataError
        If rows cannot be predicted, and are not to be left out.
    """
    how, opened = open_queries(model, path, columns)
    found = _found(model, how, opened)
    return usable(plainly(model, opened), *found)


def read_part(model: PropertyModel, path: Path, columns: ColumnNames, source: TableSource) -> tuple[Queries, int]:
    """Read a part of a table to predict: the rows that can be, and those that cannot among `skipped`.

    Returns how many alloys are by weight or by atoms as well.
    """
    how, opened = open_queries(model, path, columns, source)
    parsed, _, bad, decisions = _found(model, how, opened)
    return without(plainly(model, opened), parsed, how, bad, decisions), parsed.alloys


def plainly(model: PropertyModel, opened: OpenedTable) -> OpenedTable:
    """Return a table whose covariates are written with decimal points, however the file wrote numbers."""
    names = {name for one in model.names.values() for name, words in one.code.items() if not words}
    here = [name for name in names if matching(opened.cells, name)]
    return replace(opened, cells=with_plain_numbers(opened.cells, here, opened.path, opened.marks))


def _found(
    model: PropertyModel, how: ReadOptions, opened: OpenedTable
) -> tuple[ParsedColumn[Prompt], ReadOptions, list[BadCell], list[Decision]]:
    """Parse the formulas and the covariates: what `usable` takes."""
    cells = opened.cells
    is_made = ~cells.index.isin({fault.line for fault in opened.faults})
    parsed = parse_cells(cells[opened.column][is_made], model.reader, how.composition, Prompt)
    encoded = [encode(cells, one.code, opened.path, one.fill, opened.marks) for one in model.names.values()]
    bad = [*opened.faults, *parsed.faults]
    for one in encoded:
        bad += [*one.faults, *missing_faults(one.missing)]
    decisions = dict.fromkeys((*opened.decisions, *(told for one in encoded for told in one.decisions)))
    return parsed, how, bad, list(decisions)

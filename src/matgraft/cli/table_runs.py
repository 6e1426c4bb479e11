"""Runs on tables: what `tune`, `evaluate` and `predict` do where a word names a table or a formula."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console

from matgraft.cli.common import is_table_file, tell
from matgraft.cli.large import tell_large
from matgraft.cli.options import FileOptions, FitOptions, LargeOptions, Shown, TableOptions
from matgraft.cli.table_settings import predictor_settings, reading_options, refuse_no_target_option, tell_start
from matgraft.cli.tables import skipped_beside, teller
from matgraft.core.errors import OptionError
from matgraft.core.verdict import worst_exit_code

if TYPE_CHECKING:
    from matgraft.formulas.report.facts import TableResult
    from matgraft.formulas.settings import TableRun


def tell_formulas(
    run: Path,
    what: list[str],
    out: Path | None,
    formula: str | None,
    file: FileOptions,
    shown: Shown,
    large: LargeOptions,
) -> None:
    """Predict properties of formulas, or of tables of them, and tell them."""
    if tell_large(run, what if are_tables(what) else [], out, formula, file, shown, large):
        return
    from matgraft.formulas.predict import PropertyModel
    from matgraft.formulas.queries import read_queries
    from matgraft.formulas.report.predicted import show_predictions, show_written
    from matgraft.formulas.report.rows import TableRow, write_rows
    from matgraft.formulas.table.facts import TableReading
    from matgraft.formulas.table.faults import write_skipped
    from matgraft.formulas.table.formula_table import ColumnNames

    if are_tables(what):
        model, rows = PropertyModel.open(run), list[TableRow]()
        columns = ColumnNames(formula=formula, reading=file.reading())
        read = {name: read_queries(model, Path(name), columns) for name in what}
        for name, queries in read.items():
            alone = skipped_beside(None, Path(name)) if out is None else None
            teller(shown.silent, alone)(TableReading.of(Path(name), [queries]))
            own = model.rows(queries.formulas, queries.cells, Path(name))
            rows += [{"file": name, **row} for row in own] if len(read) > 1 else own
        if out is not None and (bad := [(name, one) for name, queries in read.items() for one in queries.skipped]):
            skipped = skipped_beside(out, Path())
            write_skipped(bad, skipped)
            if not shown.silent:
                Console(stderr=True).print(f"note: what was left out and why: {skipped}", highlight=False, markup=False)
    else:
        formulas = [one for one in what if "=" not in one]
        beside = dict(one.split("=", 1) for one in what if "=" in one)
        model = PropertyModel.open(run)
        rows = model.rows(formulas, model.shared(beside, len(formulas)))
    if out is not None:
        write_rows(rows, out)
    tell(rows, show_predictions if out is None else partial(show_written, path=out), shown.as_json)


def are_tables(words: Sequence[str]) -> bool:
    """Say whether every word of a command names a table; refuses tables among formulas."""
    named = [word for word in words if word == "-" or is_table_file(word) or word.lower().endswith((".json", ".dat"))]
    if named and len(named) < len(words):
        other = next(word for word in words if word not in named)
        raise OptionError(f"{named[0]} is a table, and {other!r} is none", remedy="tables alone, or formulas alone")
    return bool(named)


def evaluate_rows(words: Sequence[str], page: Path | None, file: FileOptions, shown: Shown) -> None:
    """Score a run on a table on a further table with labels, as the words of a command name them, and tell it."""
    from matgraft.formulas.evaluate import evaluate_table
    from matgraft.formulas.report.text import show_table_evaluation

    run, *rest = words
    tables, options = [one for one in rest if "=" not in one], [one for one in rest if "=" in one]
    if options:
        raise OptionError(f"{options[0]} is not read: a run on a table keeps its settings", remedy="remove it")
    if len(tables) != 1:
        raise OptionError(f"{len(tables)} tables are named", allowed=[f"matgraft evaluate {run} TABLE"])
    table = Path(tables[0])
    if tables[0] == "-":
        from matgraft.formulas.evaluate import FOLDER
        from matgraft.formulas.table.sources import keep_stdin

        table = keep_stdin(Path(run) / FOLDER / "stdin")
    told = teller(shown.silent, skipped_beside(page, table))
    found = evaluate_table(Path(run), table, page, reading=file.reading(), tell=told)
    tell(found, show_table_evaluation, shown.as_json)


def table_run(
    data: str | None,
    options: list[str] | None,
    targets: list[str] | None,
    fit: FitOptions,
    columns: TableOptions,
    seed: int | None = None,
) -> tuple[TableRun, list[str]]:
    """Return what `tune` shall do with a table, and the keys of the settings that were named."""
    from matgraft.formulas.settings import TableRun

    if data is None:
        raise OptionError(
            "--target names a column, but no table is named", allowed=["a file that ends in .csv or .tsv"]
        )
    refuse_no_target_option(data, targets, columns)
    settings, keys = predictor_settings("tune", options, columns, strategy=fit.strategy, seed=seed)
    tell_start(fit.foundation)
    run = TableRun(
        table=data,
        targets=tuple(targets or ()),
        foundation=fit.foundation or "composition",
        formula=columns.formula,
        covariates=tuple(columns.covariate or ()),
        weight=columns.weight,
        group=columns.group or "formula",
        order=columns.ordered,
        classes=columns.unordered,
        adapt_to=columns.adapt_to,
        test=fit.test,
        prompt_class=columns.prompt_class,
        drop=columns.lines,
        allow=columns.allowed,
        unit=tuple(columns.unit or ()),
        settings=settings,
        **reading_options(columns),
    )
    return run, keys


def end_table_run(result: TableResult, as_json: bool) -> NoReturn:
    """Tell what a run on a table gave, and exit with the code of the worst verdict."""
    from matgraft.formulas.report.text import show_targets

    tell(result, show_targets, as_json)
    raise typer.Exit(worst_exit_code(metrics.verdict for metrics in result.targets.values()))

"""The verbs that hold rows of a table out: crossval and compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matgraft.cli import completion
from matgraft.cli.common import tell
from matgraft.cli.options import Columns, Device, From, Options, Shown
from matgraft.cli.outputs import new_file
from matgraft.cli.own import refuse_own
from matgraft.cli.table_audit import audited
from matgraft.cli.table_settings import column_names, predictor_settings, tell_start
from matgraft.cli.tables import skipped_beside, teller
from matgraft.core.errors import OptionError

if TYPE_CHECKING:
    from matgraft.formulas.formula import Formula
    from matgraft.formulas.table.formula_table import FormulaTable


FEWEST_TO_HOLD_OUT = 3
"""Formulas or groups of a class: a fold holds out one, an inner fold of the rest another one."""
LabelledTable = Annotated[Path, typer.Argument(help="formulas with values: csv, tsv (also .gz, .xz, .zst), parquet")]
OneTarget = Annotated[str, typer.Option(help="column of the values")]
HeldOut = Annotated[
    Path | None, typer.Option("-o", "--out", help="CSV file for the held-out predictions", callback=new_file)
]


@dataclass(frozen=True)
class Folding:
    """Options of `crossval` and `compare`: which rows are held out together."""

    fold_column: Annotated[str | None, typer.Option(help="column that names each row's test fold")] = None
    folds: Annotated[int | None, typer.Option(help="number of folds, if the table has none", min=2)] = None


@dataclass(frozen=True)
class PredictorOptions:
    """Options of `crossval`: what is scored."""

    foundation: From = "composition"
    strategy: Annotated[
        str | None,
        typer.Option(help="auto, full, partial, feature, prompt or descriptors", autocompletion=completion.strategies),
    ] = None
    seed: Annotated[int | None, typer.Option(help="of folds and members")] = None
    device: Device = None  # chosen as it is read


def crossval_command(
    table: LabelledTable,
    target: OneTarget,
    options: Options = None,
    *,
    folding: Folding,
    columns: Columns,
    model: PredictorOptions,
    out: HeldOut = None,
    shown: Shown,
) -> None:
    """Score a property predictor on held-out folds of a table of formulas."""
    from matgraft.formulas.crossval import crossval
    from matgraft.formulas.predictor.members import formula_reader
    from matgraft.formulas.registry import load_encoder
    from matgraft.formulas.report.rows import write_rows
    from matgraft.formulas.report.text import show_folds

    refuse_own("crossval", {"--folds": folding.folds}, folding.fold_column)
    by = columns.group or "formula"
    settings, given = predictor_settings("crossval", options, columns, strategy=model.strategy, seed=model.seed)
    read = read_held(table, target, folding, columns, formula_reader(settings.strategy))
    tell_held(read, table, out, shown.silent)
    tell_start(model.foundation)
    encoder, n_folds = load_encoder(model.foundation or "composition"), folding.folds or 5
    findings = audited(table, {target: read}, columns, encoder, folding.fold_column, shown.silent)
    scored, rows = crossval(
        read, encoder, by=by, n_folds=n_folds, settings=settings, given=given, audited=findings,
        progress="" if shown.silent else "cross-validation",
    )  # fmt: skip
    if out is not None:
        write_rows(rows, out)
    tell(scored, show_folds, shown.as_json)


@dataclass(frozen=True)
class CompareOptions:
    """Options of `compare`: what is lined up."""

    foundation: From = "composition"
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="may be repeated: auto, full, partial, feature, prompt, descriptors, or untrained (full, from an "
            "encoder that was never pretrained); by default full, partial, feature, descriptors and untrained",
            autocompletion=completion.strategies,
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(help="of folds and members")] = None
    device: Device = None  # chosen as it is read


def compare_command(
    table: LabelledTable,
    target: OneTarget,
    options: Options = None,
    *,
    folding: Folding,
    columns: Columns,
    asked: CompareOptions,
    out: HeldOut = None,
    shown: Shown,
) -> None:
    """Line up strategies on the same held-out folds of a table: error, interval, minutes; which one to take."""
    from matgraft.formulas.compare import USUAL, compare_strategies
    from matgraft.formulas.predictor.members import formula_reader
    from matgraft.formulas.registry import load_encoder
    from matgraft.formulas.report.rows import write_rows
    from matgraft.formulas.report.text import show_comparison

    refuse_own("compare", {"--folds": folding.folds}, folding.fold_column)
    by, names = columns.group or "formula", asked.strategy or USUAL
    settings, given = predictor_settings("compare", options, columns, seed=asked.seed)
    if "strategy" in given:
        raise OptionError("strategy is not read by `matgraft compare`", remedy="--strategy, once a strategy")
    read = read_held(table, target, folding, columns, formula_reader("prompt" if names == ["prompt"] else "auto"))
    tell_held(read, table, out, shown.silent)
    tell_start(asked.foundation)
    encoder = load_encoder(asked.foundation or "composition")
    findings = audited(table, {target: read}, columns, encoder, folding.fold_column, shown.silent)
    found, rows = compare_strategies(
        read, encoder, names, by=by, n_folds=folding.folds or 5,
        settings=settings, given=given, quiet=shown.silent,
    )  # fmt: skip
    if out is not None:
        write_rows(rows, out)
    tell(found.model_copy(update={"findings": findings}), show_comparison, shown.as_json)


def read_held(
    table: Path, target: str, folding: Folding, columns: Columns, parse: Callable[[str], Formula]
) -> FormulaTable:
    """Read a table whose rows are held out fold by fold."""
    from matgraft.formulas.table.reading import read_table
    from matgraft.formulas.table.values import refuse_rare_classes

    names = column_names(columns, folding.fold_column)
    read = read_table(table, target, names, parse)
    if not read.folds:
        groups = read.grouped(names.group)
        refuse_rare_classes(read.classes, read.values, groups, FEWEST_TO_HOLD_OUT, table, "crossval")
    return read


def tell_held(read: FormulaTable, table: Path, out: Path | None, silent: bool) -> None:
    """Tell how a table was read whose rows are held out."""
    from matgraft.formulas.table.facts import TableReading

    teller(silent, skipped_beside(out, table))(TableReading.of(table, [read]))

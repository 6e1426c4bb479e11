"""The verbs of both wings: tune, report, backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matgraft.cli.common import (
    TABLE_OPTIONS,
    Covariates,
    FormulaColumn,
    From,
    Group,
    Json,
    Options,
    Order,
    Quiet,
    Run,
    Targets,
    Weight,
    is_table_file,
    next_run,
    refuse_beside_resume,
    refuse_own,
    screen,
    tell,
)
from matgraft.cli.formulas import show_table_run, tune_table_file
from matgraft.cli.potentials import recipe_of


def tune(
    data: Annotated[
        str | None,
        typer.Argument(help="frames with DFT labels, or a table of formulas with values (csv, tsv, parquet)"),
    ] = None,
    options: Options = None,
    foundation: From = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="ladder (the default from 5 minutes on), full, partial, feature, gradual, lora, replay or multihead; "
            "for formulas auto (the default), full, partial, feature, prompt or descriptors, and domain with --adapt-to"
        ),
    ] = None,
    test: Annotated[str | None, typer.Option(help="frames to score on; else a part of the first file")] = None,
    out: Annotated[Path | None, typer.Option(help="run folder, new")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="time for the fit, or for all fits of the ladder")] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with a run that was broken off")] = None,
    target: Targets = None,
    formula: FormulaColumn = None,
    covariate: Covariates = None,
    weight: Weight = None,
    group: Group = None,
    order: Order = None,
    adapt_to: Annotated[
        str | None, typer.Option(help="table of formulas without labels that the predictor shall serve")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a foundation on your frames or on your table of formulas, and report honestly."""
    from matgraft.formulas.tune import is_table_run, resume_table_run
    from matgraft.potentials.report.screen import run_facts, show_run
    from matgraft.potentials.run import resume_run, tune

    own = {"--strategy": strategy, "--test": test, "--max-minutes": max_minutes, "--from": foundation}
    table_options = dict(zip(TABLE_OPTIONS, (formula, covariate, weight, group, order, adapt_to), strict=True))
    is_table = bool(target) or (data is not None and is_table_file(data))
    if resume is not None:
        refuse_beside_resume(data, options, out, {**own, "--target": target, **table_options})
        if is_table_run(resume):
            show_table_run(resume, resume_table_run(resume, quiet=quiet or as_json), as_json)
            return
        tell(run_facts(resume, resume_run(resume, quiet=quiet or as_json)), show_run, as_json)
        return
    refuse_own("tune", {"--test": test, "--max-minutes": max_minutes, **table_options}, is_table)
    if is_table:
        run = out or next_run()
        tune_table_file(data, options, target, foundation, strategy, table_options, run, as_json, quiet)
        return
    run = out or next_run()
    names = ("strategy__name", "test", "fit__max_minutes", "foundation")
    given = dict(zip(names, own.values(), strict=True))
    recipe, chosen = recipe_of("tune", data, options, **given).named()
    if chosen and not as_json:
        screen.print(chosen, highlight=False, soft_wrap=True)
    report = tune(recipe, run, quiet=quiet or as_json)
    tell(run_facts(run, report), show_run, as_json)


def report(run: Run) -> None:
    """Write the report of a run again: one HTML page."""
    from matgraft.formulas.report.page import write_property_report
    from matgraft.formulas.tune import is_table_run
    from matgraft.potentials.report.html import write_report

    print(write_property_report(run) if is_table_run(run) else write_report(run))


def backbones(as_json: Json = False) -> None:
    """List what can be tuned, with which extra, and where the weights come from."""
    from dataclasses import asdict

    from matgraft.foundations import BACKBONES
    from matgraft.potentials.report.screen import show_backbones

    rows = {name: asdict(row) | {"installed": row.installed} for name, row in BACKBONES.items()}
    tell(rows, show_backbones, as_json, indent=None)

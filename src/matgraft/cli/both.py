"""The verbs of both wings: tune, report, backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matgraft.cli.common import (
    FitOptions,
    Json,
    Options,
    Run,
    Shown,
    TableOptions,
    Targets,
    flags_of,
    is_table_file,
    next_run,
    refuse_beside_resume,
    refuse_own,
    screen,
    tell,
)
from matgraft.cli.formulas import end_table_run, table_run
from matgraft.cli.potentials import end_run, recipe_of, tell_first


def tune_command(
    data: Annotated[
        str | None,
        typer.Argument(help="frames with DFT labels, or a table of formulas with values (csv, tsv, parquet)"),
    ] = None,
    options: Options = None,
    *,
    fit: FitOptions,
    out: Annotated[Path | None, typer.Option(help="run folder, new")] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with a run that was broken off")] = None,
    target: Targets = None,
    columns: TableOptions,
    shown: Shown,
) -> None:
    """Fine-tune a foundation on your frames or on your table of formulas, and report honestly.

    Exit with 6 where the model became worse than what it began with.
    """
    from matgraft.core.run_folder import kind_of
    from matgraft.formulas.tune import resume_table_run, tune_table
    from matgraft.potentials.run import resume_run, tune

    is_table = bool(target) or (data is not None and is_table_file(data))
    if resume is not None:
        refuse_beside_resume(data, options, out, {**flags_of(fit), "--target": target, **flags_of(columns)})
        if kind_of(resume) == "formulas":
            end_table_run(resume_table_run(resume, quiet=shown.silent), shown.as_json)
        end_run(resume, resume_run(resume, quiet=shown.silent, tell=tell_first(shown.silent)), shown.as_json)
    refuse_own("tune", {"--test": fit.test, "--max-minutes": fit.max_minutes, **flags_of(columns)}, is_table)
    run = out or next_run()
    if is_table:
        asked, named = table_run(data, options, target, fit, columns)
        end_table_run(tune_table(asked, run, given=named, quiet=shown.silent), shown.as_json)
    given = {"strategy__name": fit.strategy, "fit__max_minutes": fit.max_minutes}
    recipe, chosen = recipe_of("tune", data, options, foundation=fit.foundation, test=fit.test, **given).named()
    if chosen and not shown.as_json:
        screen.print(chosen, highlight=False, soft_wrap=True)
    end_run(run, tune(recipe, run, quiet=shown.silent, tell=tell_first(shown.silent)), shown.as_json)


def report_command(run: Run) -> None:
    """Write the report of a run again: one HTML page."""
    from matgraft.core.run_folder import kind_of
    from matgraft.formulas.report.page import write_property_report
    from matgraft.potentials.report.run import write_report

    print(write_property_report(run) if kind_of(run) == "formulas" else write_report(run))


def backbones_command(as_json: Json = False) -> None:
    """List what can be tuned, with which extra, and where the weights come from."""
    from matgraft.foundations import BACKBONES
    from matgraft.potentials.report.screen import show_backbones

    tell(BACKBONES, show_backbones, as_json, indent=None)

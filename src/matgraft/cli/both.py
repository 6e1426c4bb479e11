"""The verbs of both wings: tune, evaluate, predict, report, backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matgraft.cli import completion
from matgraft.cli.common import is_table_file, next_run, refuse_beside_resume, refuse_no_data, screen, tell
from matgraft.cli.options import (
    Columns,
    Device,
    FileOptions,
    FitOptions,
    FormulaColumn,
    From,
    Json,
    LargeOptions,
    Model,
    Options,
    PredictionDevice,
    Run,
    Seed,
    Shown,
    TableOptions,
    Targets,
)
from matgraft.cli.outputs import folder_to_make, new_file
from matgraft.cli.own import flags_of, refuse_own
from matgraft.cli.potentials import (
    audit_frames,
    end_run,
    evaluate_frames,
    predicts_structures,
    purpose_lines,
    recipe_of,
    tell_first,
    tell_predictions,
)
from matgraft.cli.table_audit import TableAuditOptions, audit_rows, tell_findings
from matgraft.cli.table_runs import are_tables, end_table_run, evaluate_rows, table_run, tell_formulas
from matgraft.cli.tables import teller
from matgraft.core.errors import OptionError


def audit_command(
    data: Annotated[
        str | None,
        typer.Argument(help="frames with DFT labels, or a table of formulas with values (csv, tsv, parquet)"),
    ] = None,
    options: Options = None,
    *,
    foundation: From = None,
    target: Targets = None,
    columns: Columns,
    asked: TableAuditOptions,
    shown: Shown,
) -> None:
    """Look for trouble in labels, or in a table of formulas, before any training; exit 1 when a finding blocks."""
    is_table = bool(target) or (data is not None and (is_table_file(data) or data == "-"))
    own = {"--target": target, "--for": asked.candidates, "--fold-column": asked.fold_column}
    refuse_own("audit", {**own, **flags_of(columns)}, is_table)
    if not target:
        refuse_no_data("audit", data, options)
    if not is_table:
        audit_frames(data, options, foundation, shown)
    if options or data is None:
        found = f"{options[0]} is not read: a table has no recipe" if options else "no table is named"
        raise OptionError(found, allowed=["matgraft audit TABLE --target COLUMN"])
    audit_rows(data, target, columns, asked, foundation, shown)


def tune_command(
    data: Annotated[
        str | None,
        typer.Argument(help="frames with DFT labels, or a table of formulas with values (csv, tsv, parquet)"),
    ] = None,
    options: Options = None,
    *,
    fit: FitOptions,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="run folder, new", callback=folder_to_make)] = None,
    resume: Annotated[Path | None, typer.Option(help="continue a run that was stopped")] = None,
    seed: Seed = None,
    device: Device = None,  # chosen as it is read
    target: Targets = None,
    columns: TableOptions,
    shown: Shown,
) -> None:
    """Fine-tune a foundation on your frames or on your table of formulas, and report honestly.

    Exit with 6 where the model became worse than what it began with.
    """
    from matgraft.core.run_folder import kind_of

    is_table = bool(target) or (data is not None and (is_table_file(data) or data == "-"))
    if resume is not None:
        refuse_beside_resume(
            data,
            options,
            out,
            {**flags_of(fit), "--seed": seed, "--target": target, **flags_of(columns)},
        )
        if kind_of(resume) == "formulas":
            from matgraft.formulas.tune import resume_table_run

            end_table_run(resume_table_run(resume, quiet=shown.silent), shown.as_json)
        from matgraft.potentials.run import resume_run

        end_run(resume, resume_run(resume, quiet=shown.silent, tell=tell_first(shown.silent)), shown.as_json)
    refuse_own(
        "tune",
        {"--max-minutes": fit.max_minutes, "--for": fit.purpose, "--check": fit.check, **flags_of(columns)},
        is_table,
    )
    refuse_no_data("tune", data, options)
    run = out or next_run()
    if is_table:
        if data == "-":
            from matgraft.formulas.table.sources import keep_stdin

            data = str(keep_stdin(run))
        from matgraft.formulas.tune import tune_table

        asked, named = table_run(data, options, target, fit, columns, seed)
        told, noted = tell_findings(shown.silent), teller(shown.silent)
        end_table_run(tune_table(asked, run, given=named, quiet=shown.silent, note=noted, tell=told), shown.as_json)
    from matgraft.potentials.run import tune_frames

    given = {"strategy__name": fit.strategy, "fit__max_minutes": fit.max_minutes, "purpose": fit.purpose}
    given["seed"] = seed
    given |= {"check": fit.check} if fit.check else {}
    recipe, chosen = recipe_of("tune", data, options, foundation=fit.foundation, test=fit.test, **given).named()
    if not shown.as_json:
        for line in filter(None, (chosen, *purpose_lines(recipe))):
            screen.print(line, highlight=False, soft_wrap=True)
    end_run(run, tune_frames(recipe, run, quiet=shown.silent, tell=tell_first(shown.silent)), shown.as_json)


def evaluate_command(
    what: Annotated[
        list[str],
        typer.Argument(
            help="models, then frames with labels, then key=value: chgnet mace:my.model runs/x frames.extxyz; or a run "
            "on a table of formulas, then a table with labels"
        ),
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="page, .html or .md", callback=new_file)] = None,
    *,
    device: PredictionDevice = None,
    file: FileOptions,
    shown: Shown,
) -> None:
    """Score models on labelled frames: foundations, files of vendors, runs; one, or several side by side.

    A run alone is judged beside its foundation; frames that its fit has seen are counted and left out of the figures,
    and keys and units are those of the run. Say others as key=value, such as keys.energy=REF_energy.
    A run on a table is scored on a further table; rows of formulas and groups that it was trained on are told apart.
    """
    from matgraft.core.run_folder import kind_of

    is_table = kind_of(Path(what[0])) == "formulas"
    refuse_own("evaluate", {**flags_of(file), "--device": device}, is_table)
    if is_table:
        evaluate_rows(what, out, file, shown)
    else:
        evaluate_frames(what, out, shown.as_json, shown.silent)


def predict_command(
    model: Annotated[
        str,
        typer.Argument(help="a run; for structures also a foundation or a vendor's file: chgnet, mace:my.model"),
    ],
    what: Annotated[
        list[str],
        typer.Argument(
            help='formulas, or tables; of runs with prompts: "[OXIDE] Fe2O3 [GAP]"; for structures further models, '
            "files of structures, and key=value of how they are read"
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="CSV or parquet file; of structures .extxyz or .parquet", callback=new_file),
    ] = None,
    formula: FormulaColumn = None,
    *,
    device: PredictionDevice = None,
    file: FileOptions,
    large: LargeOptions,
    shown: Shown,
) -> None:
    """Predict properties of formulas with a tuned predictor, or structures with one potential or several.

    Of formulas it tells value, interval, and whether to believe it; of structures energy, forces and stress, and how
    far several models are apart.
    """
    of_structures = predicts_structures(model)
    what_kind = "structures" if of_structures else "table" if are_tables(what) else "formulas"
    refuse_own(
        "predict",
        {
            "--formula": formula,
            "--quiet": shown.quiet or None,
            "--device": device,
            **flags_of(file),
            **flags_of(large),
        },
        what_kind,
    )
    if of_structures:
        tell_predictions([model, *what], out, shown.as_json, shown.silent)
    else:
        tell_formulas(Path(model), what, out, formula, file, shown, large)


def report_command(run: Run) -> None:
    """Write the report of a run again: one HTML page."""
    from matgraft.core.run_folder import kind_of

    kind = kind_of(run)
    if kind == "formulas":
        from matgraft.formulas.report.page import write_property_report

        print(write_property_report(run))
    elif kind == "pretraining":
        from matgraft.formulas.report.pretraining import write_pretraining_report

        print(write_pretraining_report(run))
    elif kind == "active":
        from matgraft.potentials.report.active import write_active_report

        print(write_active_report(run))
    else:
        from matgraft.potentials.report.run import write_report

        print(write_report(run))


def export_command(
    run: Model,
    to: Annotated[
        str,
        typer.Option(
            help="native, ase, lammps or torch-sim; of a run on a table sklearn", autocompletion=completion.exports
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder, new", callback=folder_to_make)],
    *,
    target: Annotated[str | None, typer.Option(help="of a run on a table with several")] = None,
    repulsion: Annotated[
        bool, typer.Option("--repulsion", help="with --to ase: add a ZBL repulsion at short distances")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the model for other tools, and verify what was written with their own code.

    What cannot be verified on this machine is written and said, and is no error; what differs from the model is.
    """
    from matgraft.core.run_folder import kind_of

    is_table = kind_of(run) == "formulas"
    refuse_own("export", {"--target": target, "--repulsion": repulsion or None}, is_table)
    if is_table:
        from matgraft.formulas.exports import export_table

        written = export_table(run, to, out, target)
        tell(written.facts(), lambda *_: print(written.text), as_json, indent=None)
        return
    from matgraft.potentials.exports import export

    exported = export(run, to, out, repulsion=repulsion)
    tell(exported.facts(), lambda *_: print(exported.text), as_json, indent=None)


def backbones_command(as_json: Json = False) -> None:
    """List what can be tuned, with which extra, and where the weights come from."""
    from matgraft.foundations import listed
    from matgraft.potentials.report.screen import show_backbones

    tell(listed(), show_backbones, as_json, indent=None)

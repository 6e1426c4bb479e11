"""The verbs of active learning: select."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matgraft.cli.common import Shown, new_file, settings_of, tell, typed


def select_command(
    model: Annotated[str, typer.Argument(help="a run; or a foundation, which chooses by diversity alone")],
    what: Annotated[list[str], typer.Argument(help="pool of structures, and key=value such as low=0.5, gap=100")],
    n: Annotated[int, typer.Option("-n", help="how many frames, those to score on among them")],
    out: Annotated[Path, typer.Option("-o", "--out", help="chosen frames, .extxyz", callback=new_file)],
    beside: Annotated[
        list[str] | None, typer.Option(help="further labelled frames that are not chosen again; may be repeated")
    ] = None,
    checks: Annotated[
        bool, typer.Option("--checks", help="add the structures that failed checks of the run hand over")
    ] = False,
    *,
    shown: Shown,
) -> None:
    """Choose frames of a pool to label: uncertain, unlike each other, and a random part to score on."""
    from matgraft.potentials.active.selection.settings import SelectSettings
    from matgraft.potentials.report.selection import show_selected
    from matgraft.potentials.run.select import refuse_other_file, select

    refuse_other_file(out)
    options = [word for word in what if "=" in word and not Path(word).exists()]
    pool = [word for word in what if word not in options]
    selected = select(
        model,
        pool,
        n,
        settings_of(SelectSettings, options),
        beside=beside or (),
        typed=typed(SelectSettings, options),
        checks=checks,
        out=out,
        quiet=shown.silent,
    )
    tell(selected, show_selected, shown.as_json)

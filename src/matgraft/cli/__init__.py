"""The command line: one verb a command, each a function `<verb>_command` that calls the library.

Exit codes: 0 done; 1 the audit blocks, or a model is not fit; 2 an option is wrong; 3 the data cannot be used; 4 step 0
is not the foundation; 5 a run broke off or is incomplete; 6 the result is written, and worse than its baseline, or
nothing could be judged; 130, 143 and 129 ended by Ctrl-C, SIGTERM and a closed terminal.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, Any

import typer

from matgraft.cli.active import active_command, coverage_command, label_command, sample_command, select_command
from matgraft.cli.both import (
    audit_command,
    backbones_command,
    evaluate_command,
    export_command,
    predict_command,
    report_command,
    tune_command,
)
from matgraft.cli.common import Verb, one_by_one
from matgraft.cli.encoders import embed_command, episodes_command, fewshot_command, pretrain_command, prompts_command
from matgraft.cli.ending import ended, prepare_streams
from matgraft.cli.fetch import fetch_command
from matgraft.cli.held_out import compare_command, crossval_command
from matgraft.cli.potentials import check_command, pack_command
from matgraft.cli.suggesting import suggest_command
from matgraft.cli.verify import verify_command
from matgraft.cli.versions import print_version
from matgraft.core.manifest import OlderFolderWarning

app = typer.Typer(name="matgraft", no_args_is_help=True, pretty_exceptions_enable=False)
VERBS = {
    "Data": (audit_command, pack_command, coverage_command),
    "Potentials, and tables of formulas": (tune_command, evaluate_command, predict_command, export_command),
    "Potentials": (check_command, sample_command),
    "Tables of formulas": (
        *(crossval_command, compare_command, suggest_command, fewshot_command, embed_command),
        *(pretrain_command, episodes_command, prompts_command),
    ),
    "Active learning": (active_command, select_command, label_command),
    "Run folders and models": (report_command, verify_command, backbones_command, fetch_command),
}
"""Each verb by its heading in the help."""
for heading, verbs in VERBS.items():
    for verb in verbs:
        app.command(verb.__name__.removesuffix("_command"), cls=Verb, rich_help_panel=heading)(one_by_one(verb))


@app.callback()
def start(
    version: Annotated[
        bool | None,
        typer.Option(
            "--version",
            "-V",
            help="print the versions of matgraft and of its packages",
            is_eager=True,
            callback=print_version,
        ),
    ] = None,
) -> None:
    """Graft your data onto a pretrained materials model."""


def run_command_line() -> None:
    """Run the command line; a deliberate error is printed without a traceback and becomes its exit code."""
    warnings.filterwarnings("ignore", module=r"(chgnet|e3nn|mace|pymatgen|lightning_fabric|spglib)\b")
    warnings.formatwarning = _noted
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: processes, not threads
    prepare_streams()
    if code := ended(lambda: app(standalone_mode=False)):
        sys.exit(code)


_FORM = warnings.formatwarning


def _noted(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
    """Return how a warning is printed: what matgraft says of a folder is no line of a program."""
    own = issubclass(category, OlderFolderWarning)
    return f"note: {message}\n" if own else _FORM(message, category, *where, **more)

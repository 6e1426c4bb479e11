"""The verb that holds a folder or a store against the hashes of what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from matgraft.cli.common import tell
from matgraft.cli.options import Json
from matgraft.core.errors import ChangedError

if TYPE_CHECKING:
    from matgraft.core.manifest import FolderState

CANNOT_JUDGE = 6
"""Exit code of a folder without hashes."""

REMEDY = (
    "Copy these files again from a complete copy. Without a copy: remove a damaged result or checkpoint, and --resume "
    "makes it again; train a damaged model anew."
)


def verify_command(
    what: Annotated[
        Path,
        typer.Argument(help="a run folder, a model folder, an export, a store of labels; or a store of frames (.h5)"),
    ],
    as_json: Json = False,
) -> None:
    """Say which files of a folder are not what matgraft wrote: changed, missing or unknown.

    Exit with 0 where all are, with 3 where a file is changed or missing, with 6 where the folder has no hashes.
    """
    from matgraft.potentials.run.verify import verify

    state = verify(what)
    tell(state, show_state, as_json)
    if not state.is_whole:
        raise typer.Exit(ChangedError.exit_code if state.has_manifest else CANNOT_JUDGE)


def show_state(screen: Console, state: FolderState) -> None:
    """Print a line a file that is not as it was written, and what to do."""

    def line(text: str) -> None:
        screen.print(escape(text), highlight=False, soft_wrap=True)

    if not state.has_manifest:
        line(f"{state.folder} has no hashes: it is of an earlier version, or was copied without manifest.txt.")
        line("Its files cannot be checked. Files that are made now have hashes.")
        return
    for name, wrong in state.changed.items():
        line(f"changed    {name}: {wrong}")
    for name in state.missing:
        line(f"missing    {name}")
    for name in state.unknown:
        line(f"unknown    {name}: matgraft did not write it here")
    for name in state.unsettled:
        line(f"unsettled  {name}: it is written now, or its writer was killed; resume the run")
    if state.is_whole:
        line(f"{state.folder}: {state.n_whole} files are as they were written.")
    else:
        line(f"{state.folder} is not as it was written. {state.n_whole} files are.")
        line(REMEDY)

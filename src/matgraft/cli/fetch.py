"""The verb that brings the weights of a published foundation into the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from matgraft.cli import completion
from matgraft.cli.common import tell
from matgraft.cli.options import Shown

if TYPE_CHECKING:
    from matgraft.core.fetch import Fetched


def fetch_command(
    name: Annotated[
        str, typer.Argument(help="a foundation: mace:medium-mpa-0", autocompletion=completion.fetched_names)
    ],
    file: Annotated[Path | None, typer.Option("--from", help="use this file, which you downloaded yourself")] = None,
    sha256: Annotated[str, typer.Option(help="of a foundation whose hash matgraft does not know: all 64 digits")] = "",
    *,
    shown: Shown,
) -> None:
    """Fetch the weights of a published foundation, and store them if their SHA-256 is the published one.

    This is the one command of matgraft that downloads: over https, and only what is named. An interrupted
    download continues where it ended. Nothing is opened or unpickled.
    """
    from matgraft.core.fetch import fetch, store
    from matgraft.potentials.models.published import published

    what = published(name)
    if file is not None:
        found = store(what, file, sha256)
    else:
        with progress(shown.silent, what.name) as told:
            found = fetch(what, sha256, told=told)
    tell(found, show_fetched, shown.as_json, indent=None)


@contextmanager
def progress(silent: bool, name: str) -> Iterator[Callable[[int, int | None], object]]:
    """Show how much of a file is there, on standard error."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(escape(name)), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=silent) as bar:
        task = bar.add_task(name, total=None)
        yield lambda have, total: bar.update(task, completed=have, total=total)


def show_fetched(screen: Console, found: Fetched) -> None:
    """Say where the file is, and what to type now."""
    did = "fetched" if found.new else "is there already"
    for line in (
        f"{found.name} {did}: {found.n_bytes:,} bytes in {found.file}",
        f"SHA-256 {found.sha256}, as published",
    ):
        screen.print(escape(line), highlight=False, soft_wrap=True)

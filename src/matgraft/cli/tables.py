"""How a table was read, told on standard error; and what was left out of it, written into a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from matgraft.core.targets import is_stream

if TYPE_CHECKING:
    from matgraft.formulas.table.facts import TableReading


def teller(quiet: bool, skipped: Path | None = None) -> Callable[[TableReading], None]:
    """Return what tells how a table was read.

    Parameters
    ----------
    quiet
        Say nothing.
    skipped
        CSV file for the rows that were left out; None where the run folder has it.
    """

    def tell(reading: TableReading) -> None:
        from matgraft.formulas.table.faults import sentences, write_skipped

        said = sentences(reading.decisions)
        if reading.skipped and skipped is not None:
            write_skipped([(reading.table, bad) for bad in reading.skipped], skipped)
            said.append(f"what was left out and why: {skipped}")
        console = Console(stderr=True)
        for line in () if quiet else said:
            console.print(f"note: {reading.table}: {line}", highlight=False, markup=False, soft_wrap=True)

    return tell


def skipped_beside(out: Path | None, table: Path) -> Path:
    """Return where the rows go that were left out: beside the file that is written, else into this folder."""
    return (
        out.with_name(f"{out.stem}-skipped.csv")
        if out and not is_stream(out)
        else Path(f"{table.name.partition('.')[0].strip('-') or 'table'}-skipped.csv")
    )

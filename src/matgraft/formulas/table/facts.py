"""How a table was read, as one fact for all its targets: what was decided, and which rows were left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from matgraft.core.frozen import Frozen
from matgraft.core.run_folder import RunFile
from matgraft.formulas.table.faults import BadCell, Decision


class WasRead(Protocol):
    """A table that was read."""

    @property
    def decisions(self) -> tuple[Decision, ...]: ...  # noqa: D102
    @property
    def skipped(self) -> tuple[BadCell, ...]: ...  # noqa: D102


class TableReading(Frozen):
    """How a table was read.

    Attributes
    ----------
    table
        Its file.
    decisions
        What was decided, each once.
    skipped
        Cells for which rows were left out.
    """

    table: str
    decisions: tuple[Decision, ...] = ()
    skipped: tuple[BadCell, ...] = ()

    @classmethod
    def of(cls, path: Path, tables: Iterable[WasRead]) -> TableReading:
        """Gather what was decided in reading a table once a target."""
        read = list(tables)
        decisions = dict.fromkeys(one for table in read for one in table.decisions)
        skipped = dict.fromkeys(one for table in read for one in table.skipped)
        return cls(table=str(path), decisions=tuple(decisions), skipped=tuple(skipped))


class TableReadings(Frozen):
    """What reading.json of a run holds."""

    tables: tuple[TableReading, ...]


READINGS = RunFile("reading.json", TableReadings)
SKIPPED = "skipped.csv"
"""In the folder of a run, what was left out and why."""
Tell = Callable[[TableReading], None]

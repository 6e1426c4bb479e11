"""All formats, in the order in which they are asked whether a file is theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from matgraft.potentials.data.reading.formats.ase_files import ASE_FILES
from matgraft.potentials.data.reading.formats.base import Format, Head
from matgraft.potentials.data.reading.formats.records import RECORDS
from matgraft.potentials.data.reading.formats.vasp.outcar import OUTCAR
from matgraft.potentials.data.reading.formats.vasp.vasprun import VASPRUN

FORMATS: tuple[Format, ...] = (VASPRUN, OUTCAR, RECORDS, ASE_FILES)
"""The last one takes every file."""


def format_of(path: Path) -> Format | None:
    """Return the format of a file, or of a folder that is one data set; None for a folder to search."""
    head = Head(path)
    return next((form for form in FORMATS if form.recognises(head)), None)


def find_runs(folder: Path) -> list[tuple[Path, Format]]:
    """Return the runs below a folder with their formats, sorted by path."""
    paths = sorted(folder.rglob("*"))
    return sorted(_runs(paths), key=lambda run: run[0])


def _runs(paths: list[Path]) -> Iterator[tuple[Path, Format]]:
    for form in FORMATS:
        for path in form.find(paths) if form.find else ():
            yield path, form

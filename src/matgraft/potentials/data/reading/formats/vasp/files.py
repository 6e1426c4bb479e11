"""VASP's two outputs as formats, and which of the two of a run is read.

The file that was named or found is read. If it broke off, or its forces may be those along a chain of images, the other
file of the run is looked at, and read where it has more to give; a note tells it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.formats.base import FileHead, Format, without_packed
from matgraft.potentials.data.reading.formats.vasp.outcar import OUTCAR_CONVENTIONS, read_outcar
from matgraft.potentials.data.reading.formats.vasp.runs import (
    VaspRun,
    find_outcars,
    is_outcar,
    is_vasprun,
    partner,
)
from matgraft.potentials.data.reading.formats.vasp.vasprun import CONVENTIONS, read_vasprun
from matgraft.potentials.data.reading.raw import RawFile

_Reader = Callable[[Path, str], VaspRun]
_Other = tuple[_Reader, Callable[[FileHead], bool]]


def _read_sounder(own_reader: _Reader, other_kind: _Other, path: Path, name: str) -> RawFile:
    """Read a file, or the other one of its run where that is sounder."""
    own, fault = _try(own_reader, path, name)
    if own is not None and own.whole and not own.chained:
        return own.file
    other_reader, is_other = other_kind
    beside = partner(path, is_other)
    other = None if beside is None else _try(other_reader, beside, name)[0]
    if beside is None or other is None or not _is_sounder(other, own):
        if own is None:
            assert fault is not None
            raise fault
        return own.file
    reason = "may hold forces along a chain of images" if own is not None and own.whole else "broke off"
    told = f"read from {beside.name} beside it: {path.name} {reason if fault is None else 'cannot be read'}"
    if fault is not None:
        told += f" ({fault.found})"
    return replace(other.file, notes=(told, *other.file.notes), others=(beside,))


def _try(reader: _Reader, path: Path, name: str) -> tuple[VaspRun | None, DataError | None]:
    try:
        return reader(path, name), None
    except DataError as error:
        return None, error


def _is_sounder(other: VaspRun, own: VaspRun | None) -> bool:
    """Say whether the other file of a run gives more: frames of the same structure, with the forces of DFT."""
    if own is None:
        return True
    ours, theirs = tuple(own.file.frames), tuple(other.file.frames)
    a, b = ours[0].atoms, theirs[0].atoms
    same = np.array_equal(a.numbers, b.numbers) and np.allclose(a.positions, b.positions, atol=1e-3)
    return same and (len(theirs) > len(ours) or (own.chained and not other.chained and len(theirs) == len(ours)))


VASPRUN = Format(
    CONVENTIONS.format, is_vasprun, partial(_read_sounder, read_vasprun, (read_outcar, is_outcar)), without_packed
)
OUTCAR = Format(
    OUTCAR_CONVENTIONS.format, is_outcar, partial(_read_sounder, read_outcar, (read_vasprun, is_vasprun)), find_outcars
)

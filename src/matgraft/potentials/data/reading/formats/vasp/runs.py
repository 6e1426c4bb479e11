"""Which files are VASP's, and which of them belong to one run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from matgraft.potentials.data.reading.formats.base import Head, bare, unpacked

_VASPRUN = re.compile(r"(.*[._-])?vasprun.*\.xml([._-][\w.-]+)?$", re.IGNORECASE)
_OUTCAR = re.compile(r"(.*[._-])?OUTCAR([._-][\w.-]+)?$", re.IGNORECASE)
_CONVERTED = (".extxyz", ".xyz", ".traj", ".db", ".json", ".yaml", ".yml", ".h5", ".npz", ".csv", ".cif")
"""Endings that no VASP file has, whatever stands before: OUTCAR.extxyz is no OUTCAR."""


def is_vasprun(head: Head) -> bool:
    """Say whether a file is a vasprun.xml: by its first element, else, where it is damaged or empty, by its name."""
    start = head.start.lstrip()
    return (start.startswith(b"<") and b"<modeling" in start) or _is_called(head, _VASPRUN)


def is_outcar(head: Head) -> bool:
    """Say whether a file is an OUTCAR: by its first words, else, where these are lost, by its name."""
    return head.start.startswith(b" vasp.") or _is_called(head, _OUTCAR)


def _is_called(head: Head, pattern: re.Pattern[str]) -> bool:
    name = head.name
    return head.path.is_file() and bool(pattern.match(name)) and Path(name).suffix.lower() not in _CONVERTED


def find_outcars(own: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Return the OUTCAR files without a vasprun.xml of the same run; not the packed copy of a file.

    An OUTCAR is of the same run as a vasprun.xml beside it if their names are the same apart from these words, or if
    the other is called vasprun.xml and nothing else.
    """
    taken = {(path.parent, _run_name(path)) for path in others if is_vasprun(Head(path))}
    return [p for p in unpacked(own) if taken.isdisjoint({(p.parent, _run_name(p)), (p.parent, "")})]


def _run_name(path: Path) -> str:
    """Return what a name says beside the kind of file: ``relax2`` for OUTCAR.relax2 and for vasprun.xml.relax2."""
    return re.sub(r"vasprun|outcar|\.xml", "", bare(path).name.lower()).strip("._-")

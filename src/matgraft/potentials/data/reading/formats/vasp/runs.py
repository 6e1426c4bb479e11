"""Which files are VASP's, and which of them belong to one run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matgraft.core.limits import exceeded, limits
from matgraft.core.unpack import open_unpacked
from matgraft.potentials.data.reading.formats.base import FileHead, plain_path, without_packed
from matgraft.potentials.data.reading.raw import UNREADABLE, RawFile

_VASPRUN = re.compile(r"(?:.*[._-])?vasprun.*\.xml(?:[._-][\w.-]+)?$", re.IGNORECASE)
_OUTCAR = re.compile(r"(.*[._-])?OUTCAR([._-][\w.-]+)?$", re.IGNORECASE)
_HEADER = (b"executed on", b"INCAR:", b"POTCAR:", b"TITEL")  # what VASP prints on the screen has none of these
_CONVERTED = (".extxyz", ".xyz", ".traj", ".db", ".json", ".yaml", ".yml", ".h5", ".npz", ".csv", ".cif")
"""Endings that no VASP file has, whatever stands before: OUTCAR.extxyz is no OUTCAR."""


@dataclass(frozen=True)
class VaspRun:
    """A file of a run as it was read.

    Attributes
    ----------
    whole
        False if it broke off.
    chained
        Forces were left out, since they may hold those along a chain of images.
    """

    file: RawFile
    whole: bool
    chained: bool = False


_BLOCK = 1 << 22  # bytes


def blocks(path: Path, *, by_lines: bool = False) -> Iterator[bytes]:
    """Walk over the bytes of a file, packed or not, in parts of some megabytes.

    Parameters
    ----------
    by_lines
        The file has lines, which no XML needs.

    Raises
    ------
    DataError
        At a line that is longer than the limit.
    Exception
        One of `matgraft.potentials.data.reading.raw.UNREADABLE`, after all that a cut-off archive still gives.
    """
    parts: list[bytes] = []
    size = since = 0
    longest = limits().line_bytes
    try:
        with open_unpacked(path) as file:
            while part := file.read1(_BLOCK):  # of an archive no more than some kilobytes
                parts.append(part)
                size += len(part)
                since = len(part) - 1 - ends if (ends := part.rfind(b"\n")) >= 0 else since + len(part)
                if by_lines and since > longest:
                    raise exceeded("line_bytes", f"a line of more than {longest:,} bytes", path.name)
                if size >= _BLOCK:
                    yield b"".join(parts)
                    parts, size = [], 0
    except UNREADABLE:
        yield b"".join(parts)
        raise
    yield b"".join(parts)


def step_notes(kept: int, *, broken: bool, unfinished: int = 0, learned: int = 0, chained: int = 0) -> tuple[str, ...]:
    """Return the notes on steps that are no frames, or whose forces may be none of DFT."""
    notes = [f"the run broke off; its {kept} finished ionic steps are kept"] if broken else []
    notes += [f"{unfinished} unfinished ionic steps left out"] if unfinished else []
    notes += [f"{learned} steps of a machine-learned force field left out"] if learned else []
    if chained:
        notes.append(
            f"forces left out in {chained} steps of an image: they may hold those along the chain;"
            " keys.forces=chain_forces takes them all the same"
        )
    return tuple(notes)


def is_vasprun(head: FileHead) -> bool:
    """Say whether a file is a vasprun.xml: by its first element, else, where it is damaged or empty, by its name."""
    start = head.start.lstrip()
    return (start.startswith(b"<") and b"<modeling" in start) or _is_called(head, _VASPRUN)


def is_outcar(head: FileHead) -> bool:
    """Say whether a file is an OUTCAR: by its first words, else, where these are lost, by its name."""
    start = head.start
    return (start.startswith(b" vasp.") and any(word in start for word in _HEADER)) or _is_called(head, _OUTCAR)


def _is_called(head: FileHead, pattern: re.Pattern[str]) -> bool:
    name = head.name
    return head.path.is_file() and bool(pattern.match(name)) and Path(name).suffix.lower() not in _CONVERTED


def find_outcars(own: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Return the OUTCAR files without a vasprun.xml of the same run; not the packed copy of a file.

    An OUTCAR is of the same run as a vasprun.xml beside it if their names are the same apart from these words, or if
    the other is called vasprun.xml and nothing else.
    """
    taken = {(path.parent, _run_name(path)) for path in others if is_vasprun(FileHead(path))}
    return [p for p in without_packed(own) if taken.isdisjoint({(p.parent, _run_name(p)), (p.parent, "")})]


def partner(path: Path, is_other: Callable[[FileHead], bool]) -> Path | None:
    """Return the OUTCAR of the run that a vasprun.xml is of, or the other way round; None where there is not just one.

    Of the same run are files in one folder whose names are the same apart from these words, and those that are the only
    ones of their kind there.
    """
    heads = [FileHead(other) for other in sorted(path.parent.iterdir()) if other.is_file() and other != path]
    others = without_packed([head.path for head in heads if is_other(head)])
    named = [other for other in others if _run_name(other) == _run_name(path)]
    alone = not any(is_vasprun(head) or is_outcar(head) for head in heads if head.path not in others)
    found = named or (others if alone else [])
    return found[0] if len(found) == 1 else None


def _run_name(path: Path) -> str:
    """Return what a name says beside the kind of file: ``relax2`` for OUTCAR.relax2 and for vasprun.xml.relax2."""
    return re.sub(r"vasprun|outcar|\.xml", "", plain_path(path).name.lower()).strip("._-")

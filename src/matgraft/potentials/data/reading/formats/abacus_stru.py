"""ABACUS's structure files: STRU, and STRU_ION2_D or STRU_MD_20, which a run writes after its steps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr

from matgraft.potentials.data.reading.formats.output import array, element
from matgraft.potentials.data.reading.raw import UNREADABLE

_SECTIONS = re.compile(r"^(ATOMIC_SPECIES|NUMERICAL_\w+|LATTICE_\w+|ATOMIC_POSITIONS|PAW_\w+|ABFS_\w+)$")
_UNITS = {"cartesian_angstrom": 1.0, "cartesian_au": Bohr}


def read_stru(path: Path) -> Atoms | None:
    """Read a structure; None where there is no such file, or where it is no structure.

    Positions may be ``Direct``, ``Cartesian`` (in lattice constants), ``Cartesian_angstrom`` or ``Cartesian_au``.
    """
    try:
        return _structure(_sections(path.read_text("utf-8", "replace")))
    except (*UNREADABLE, ValueError, LookupError):
        return None


def _sections(text: str) -> dict[str, list[list[str]]]:
    """Return the words of each section's lines, without comments."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in text.splitlines():
        words = re.split(r"#|//", line)[0].split()
        if words and _SECTIONS.match(words[0]):
            rows = found.setdefault(words[0], [])
        elif words:
            rows.append(words)
    return found


def _structure(sections: dict[str, list[list[str]]]) -> Atoms:
    constant = float(sections["LATTICE_CONSTANT"][0][0]) * Bohr
    cell = array(row[:3] for row in sections["LATTICE_VECTORS"][:3]) * constant
    (kind, *_), *rows = sections["ATOMIC_POSITIONS"]
    symbols: list[str] = []
    positions: list[list[str]] = []
    at = 0
    while at < len(rows):
        n = int(rows[at + 2][0])  # behind the label and its magnetism
        symbols += [element(rows[at][0])] * n
        positions += [row[:3] for row in rows[at + 3 : at + 3 + n]]
        at += 3 + n
    table = np.reshape(array(positions), (len(symbols), 3))
    if kind.lower() == "direct":
        return Atoms(symbols, scaled_positions=table, cell=cell, pbc=True)
    return Atoms(symbols, positions=table * _UNITS.get(kind.lower(), constant), cell=cell, pbc=True)

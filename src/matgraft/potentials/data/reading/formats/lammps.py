"""LAMMPS' text dumps (``dump custom``), frames of one trajectory.

A dump holds no energy and mostly no elements: a column ``element``, or ``mass``, gives the latter. Forces are read from
``fx fy fz`` in the unit of the style that ``dump_modify units yes`` writes; otherwise the user says it. Atoms are put
in the order of their ids. A frame that was cut off at the end of a run is left out, with a note.

Source: the LAMMPS manual, pages "dump", "units" and "Howto triclinic".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.core.unpack import lines, open_text
from matgraft.potentials.data.reading.asked import element_of
from matgraft.potentials.data.reading.formats.base import FileHead, Format
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile, RawFrame

_STYLES = {
    "metal": {"forces": "eV/Å"},
    "real": {"forces": "kcal/mol/Å"},
    "electron": {"forces": "Hartree/Bohr", "length": "Bohr"},
}
"""Style of units -> quantity -> unit."""
_CONVENTIONS = Conventions(
    "a LAMMPS dump",
    systems=tuple({"forces": unit} for unit in ("eV/Å", "kcal/mol/Å")),
    lacks=("energy", "stress"),
    first_type=1,
)
_MASS = 0.02  # amu; tables of atomic weights differ by less, neighbouring elements by more
_PLACES = ("x", "xu", "xs", "xsu")
_SCALED = ("xs", "xsu")

_Sections = Mapping[str, tuple[str, list[str]]]  # heading -> the rest of its line, and the lines below


def read_lammps(path: Path, name: str) -> RawFile:
    """Read the frames of a dump.

    Raises
    ------
    DataError
        If it is no text, has no whole frame, or a frame has no positions.
    """
    frames, notes = [], []
    try:
        with open_text(path, name) as file:
            for index, (sections, whole) in enumerate(_snapshots(lines(file, name))):
                if whole:
                    frames.append(_frame(sections, name, f"{name} frame {index}"))
                else:
                    notes.append("the last frame is cut off and left out")
    except UNREADABLE as error:
        raise DataError(f"the file is not readable text: {error}", where=name) from error
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"it does not read like a LAMMPS dump: {error!r}", where=f"{name} frame {len(frames)}"
        ) from error
    if not frames:
        raise DataError("the file has no whole frame", where=name)
    return RawFile(tuple(frames), _CONVENTIONS, tuple(notes))


def _snapshots(rows: Iterator[str]) -> Iterator[tuple[_Sections, bool]]:
    """Cut the file into frames, each as its sections; say of each whether it is whole."""
    sections: dict[str, tuple[str, list[str]]] = {}
    line = next(rows, "")
    while line.startswith("ITEM:"):
        heading = next((key for key in _LENGTHS if line.startswith(f"ITEM: {key}")), "")
        if not heading:
            raise ValueError(line.strip())
        rest = line.removeprefix(f"ITEM: {heading}").strip()
        length = _LENGTHS[heading] or int(sections["NUMBER OF ATOMS"][1][0])
        below = list(itertools.islice(rows, length))
        whole = len(below) == length and below[-1].endswith("\n")
        sections[heading] = rest, below
        line = next(rows, "")
        if heading == "ATOMS" or not whole or not line:
            yield sections, whole and heading == "ATOMS"
            sections = {key: value for key, value in sections.items() if key == "UNITS"}  # written once
    if line.strip():
        raise ValueError(line.strip()[:40])


_LENGTHS = {"UNITS": 1, "TIMESTEP": 1, "TIME": 1, "NUMBER OF ATOMS": 1, "BOX BOUNDS": 3, "ATOMS": 0}
"""Heading -> number of lines below it; 0: one an atom."""


def _frame(sections: _Sections, name: str, where: str) -> RawFrame:
    style = sections["UNITS"][1][0].strip() if "UNITS" in sections else ""
    if style and style not in _STYLES:
        raise DataError(f"units {style} are not read", where=where, allowed=list(_STYLES))
    columns = sections["ATOMS"][0].split()
    rows = [line.split() for line in sections["ATOMS"][1]]
    if "id" in columns:
        rows.sort(key=lambda row: int(row[columns.index("id")]))
    table = {column: [row[place] for row in rows] for place, column in enumerate(columns)}
    origin, cell, periodic = _box(*sections["BOX BOUNDS"])
    atoms = Atoms(
        numbers=np.zeros(len(rows), dtype=int),
        positions=_positions(table, origin, cell, where),
        cell=cell,
        pbc=periodic,
    )
    given, source = _elements(table)
    atoms.numbers = given
    types = () if source else tuple(map(int, table.get("type", ["1"] * len(rows))))
    tags = {"trajectory": name, "timestep": sections["TIMESTEP"][1][0].strip()}
    notes = ("elements are taken from the masses of the atoms",) if source == "mass" else ()
    return RawFrame(atoms, _values(table), tags, _STYLES.get(style, {}), notes, types=types)


def _values(table: Mapping[str, Sequence[str]]) -> dict[str, Array]:
    """Return the forces, and every other column of numbers."""
    values = {}
    if {"fx", "fy", "fz"} <= table.keys():
        values["forces"] = np.array([table[column] for column in ("fx", "fy", "fz")], dtype=float).T
    words = {"id", "type", "element", "mol", "mass", "fx", "fy", "fz"}
    for column in table.keys() - words:
        try:
            values[column] = np.array(table[column], dtype=float)
        except ValueError:
            continue
    return values


def _box(heading: str, lines: Sequence[str]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return origin, cell vectors as rows, and periodicity, in the dump's unit of length."""
    words = heading.split()
    rows = np.array([line.split() for line in lines], dtype=float)
    periodic = np.array(
        [word == "pp" for word in words if len(word) == 2 and set(word) <= set("pfsm")][-3:] or [True] * 3
    )
    if "abc" in words:  # general triclinic: three vectors, each with a component of the origin
        return rows[:, 3], rows[:, :3], periodic
    tilts = rows[:, 2] if rows.shape[1] == 3 else np.zeros(3)
    xy, xz, yz = tilts
    low = rows[:, 0] - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]  # the bounds are those of the box around it
    high = rows[:, 1] - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    size = high - low
    return low, np.array([[size[0], 0, 0], [xy, size[1], 0], [xz, yz, size[2]]]), periodic


def _positions(table: Mapping[str, Sequence[str]], origin: Array, cell: Array, where: str) -> Array:
    for first in _PLACES:
        names = [first.replace("x", letter, 1) for letter in "xyz"]
        if set(names) <= table.keys():
            found = np.array([table[name] for name in names], dtype=float).T
            return found @ cell if first in _SCALED else found - origin
    allowed = [" ".join(first.replace("x", letter, 1) for letter in "xyz") for first in _PLACES]
    raise DataError(f"there are no positions among {' '.join(table)}", where=where, allowed=allowed)


def _elements(table: Mapping[str, Sequence[str]]) -> tuple[NDArray[np.int_], str]:
    """Return atomic numbers, and which column they are from; zeros, and "", where none tells."""
    n_atoms = len(next(iter(table.values())))
    if "element" in table and all(map(element_of, table["element"])):
        return np.array([atomic_numbers[element_of(word)] for word in table["element"]]), "element"
    masses = np.array(table.get("mass", []), dtype=float)
    nearest = np.abs(masses[:, None] - atomic_masses[None, 1:]).argmin(axis=1) + 1
    if len(masses) and (np.abs(masses - atomic_masses[nearest]) < _MASS).all():
        return nearest, "mass"
    return np.zeros(n_atoms, dtype=int), ""


def _recognises(head: FileHead) -> bool:
    return head.text.startswith(("ITEM: TIMESTEP", "ITEM: UNITS", "ITEM: TIME"))


LAMMPS = Format("LAMMPS dumps", _recognises, read_lammps)

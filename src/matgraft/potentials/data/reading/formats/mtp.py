"""Configurations of the MLIP package (moment tensor potentials), ``.cfg``.

    BEGIN_CFG
     Size
        2
     Supercell
        0.0 2.7 2.7 ...                          three rows; fewer where fewer directions repeat; none for a molecule
     AtomData:  id type  cartes_x cartes_y cartes_z  fx fy fz     in any order; direct_x for parts of the cell
     Energy
        -10.8
     PlusStress:  xx yy zz yz xz xy               the virial, eV: minus the volume times ASE's stress
     Feature   EFS_by  VASP
    END_CFG

``Stress:`` is the negative of ``PlusStress:``. Energies are eV, forces eV/Å.
Types are numbers from 0: the user names their elements. Source: the manual of MLIP-2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.core.unpack import lines, open_text
from matgraft.potentials.data.reading.formats.base import Format
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile, RawFrame

_CONVENTIONS = Conventions("an MTP .cfg file", units={"energy": "eV", "forces": "eV/Å"})
_SIGNS = {"PlusStress:": 1.0, "Stress:": -1.0}
_KNOWN = ("Size", "Supercell", "SuperCell", "AtomData:", "Energy", "Feature", "Features:", *_SIGNS)
_COLUMNS = {"cartesian": ("cartes_x", "cartes_y", "cartes_z"), "direct": ("direct_x", "direct_y", "direct_z")}
_FORCES = ("fx", "fy", "fz")


@dataclass
class _Section:
    """A heading with the words behind it, and the rows of values below."""

    title: str
    words: list[str]
    line: int
    rows: list[list[str]] = field(default_factory=list)


def read_mtp(path: Path, name: str) -> RawFile:
    """Read all configurations.

    Raises
    ------
    DataError
        If the file is cut off, or a configuration cannot be read.
    """
    try:
        with open_text(path, name) as file:
            blocks = list(_blocks(enumerate(lines(file, name), start=1), name))
    except UNREADABLE as error:
        raise DataError(f"the file is not readable text: {error}", where=name) from error
    frames = [_frame(block, f"{name} frame {index}") for index, block in enumerate(blocks)]
    unknown = {section.title for block in blocks for section in block if section.title not in _KNOWN}
    notes = [f"left out: {', '.join(sorted(unknown))}"] if unknown else []
    learned = sum("mtp" in frame.tags.get("EFS_by", "").lower() for frame in frames)
    notes += [f"labels of {learned} frames were computed by a potential, says EFS_by"] if learned else []
    return RawFile(tuple(frames), _CONVENTIONS, tuple(notes))


def _blocks(lines: Iterator[tuple[int, str]], name: str) -> Iterator[list[_Section]]:
    """Cut the file into configurations, and these into sections."""
    block: list[_Section] | None = None
    count = 0
    for number, line in lines:
        words = line.split()
        if not words:
            continue
        if words[0] in ("BEGIN_CFG", "END_CFG"):
            if (block is None) != (words[0] == "BEGIN_CFG"):
                raise DataError(f"line {number}: {words[0]} comes twice", where=f"{name} frame {count}")
            if block is not None:
                yield block
            block, count = ([], count) if block is None else (None, count + 1)
        elif block is None:
            raise DataError(f"line {number} stands between END_CFG and BEGIN_CFG", where=f"{name} frame {count}")
        elif block and (_is_number(words[0]) or (block[-1].title == "Features:" and not block[-1].rows)):
            block[-1].rows.append(words)
        else:
            block.append(_Section(words[0], words[1:], number))
    if block is not None:
        raise DataError("the file ends in the middle of it: there is no END_CFG", where=f"{name} frame {count}")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _frame(block: Sequence[_Section], where: str) -> RawFrame:
    sections = {section.title: section for section in block}
    atom_data = sections.get("AtomData:")
    if atom_data is None:
        raise DataError("there is no AtomData", where=where)
    columns = _columns(atom_data, sections.get("Size"), where)
    supercell = sections.get("Supercell") or sections.get("SuperCell")
    cell = np.zeros((3, 3))
    vectors = _rows(supercell, (3,), where) if supercell else np.zeros((0, 3))
    cell[: len(vectors)] = vectors
    n_atoms = len(atom_data.rows)
    types = columns.pop("type", np.zeros(n_atoms)).astype(int)
    values: dict[str, float | Array] = {}
    if "Energy" in sections:
        values["energy"] = float(_rows(sections["Energy"], (1,), where)[0, 0])
    if set(_FORCES) <= columns.keys():
        values["forces"] = np.stack([columns.pop(name) for name in _FORCES], axis=1)
    positions = _positions(columns, cell, where)
    for title in _SIGNS.keys() & sections.keys():
        values["virial"] = _SIGNS[title] * _matrix(sections[title], where)
    values |= {name: column for name, column in columns.items() if name != "id"}
    atoms = Atoms(numbers=np.zeros(n_atoms, dtype=int), positions=positions, cell=cell, pbc=np.arange(3) < len(vectors))
    return RawFrame(atoms, values, _features(block), types=tuple(map(int, types)))


def _columns(section: _Section, size: _Section | None, where: str) -> dict[str, Array]:
    rows, names = section.rows, [name for name in section.words if name not in ("ghost", "nbh_grads", "nbh_grades")]
    if size is not None and len(rows) != (wanted := int(_rows(size, (1,), where)[0, 0])):
        raise DataError(f"line {section.line}: {len(rows)} atoms, Size says {wanted}", where=where)
    if any(len(row) != len(section.words) for row in rows):
        raise DataError(f"line {section.line}: a row of AtomData has not {len(section.words)} values", where=where)
    try:
        return {name: np.array([float(row[section.words.index(name)]) for row in rows]) for name in names}
    except ValueError as error:
        raise DataError(f"line {section.line}: a value of AtomData is not a number: {error}", where=where) from error


def _positions(columns: dict[str, Array], cell: Array, where: str) -> Array:
    for kind, names in _COLUMNS.items():
        if set(names) <= columns.keys():
            found = np.stack([columns.pop(name) for name in names], axis=1)
            return found @ cell if kind == "direct" else found
    allowed = [" ".join(names) for names in _COLUMNS.values()]
    raise DataError(f"there are no positions among {', '.join(columns)}", where=where, allowed=allowed)


def _rows(section: _Section, width: tuple[int], where: str) -> Array:
    try:
        rows = np.array(section.rows or [section.words], dtype=float)
    except ValueError:
        rows = np.zeros((0, 0))
    if rows.ndim != 2 or not len(rows) or rows.shape[1:] != width:
        raise DataError(f"line {section.line}: {section.title} has not {width[0]} numbers a row", where=where)
    return rows


def _matrix(section: _Section, where: str) -> Array:
    """Return the six named components as a matrix."""
    row = _rows(section, (len(section.words),), where)[0]
    full = np.zeros((3, 3))
    for name, value in zip(section.words, row, strict=True):
        if name not in ("xx", "yy", "zz", "yz", "xz", "xy"):
            raise DataError(f"line {section.line}: {name!r} is not a component of {section.title}", where=where)
        i, j = ("xyz".index(letter) for letter in name)
        full[i, j] = full[j, i] = value
    return full


def _features(block: Sequence[_Section]) -> dict[str, str]:
    found = {s.words[0]: " ".join(s.words[1:]) for s in block if s.title == "Feature" and s.words}
    for section in block:
        if section.title == "Features:" and section.rows:
            found |= dict(zip(section.words, section.rows[0], strict=False))
    return found


MTP = Format("MTP's cfg", lambda head: head.text.lstrip().startswith("BEGIN_CFG"), read_mtp)

"""Trajectories of Quantum ESPRESSO's cp.x: Car-Parrinello molecular dynamics in several files of one name.

``water.pos`` (Bohr) and ``water.for`` (Hartree/Bohr) hold blocks of rows, ``water.evp`` a line for each step with the
energy ``etot`` (Hartree), ``water.cel`` the cells; elements and the first cell stand in the input, ``water.in``. Steps
that all files have become frames. The stress in ``water.str`` has the motion of the ions in it and is not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io.espresso import read_fortran_namelist

from matgraft.core.errors import DataError
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.core.unpack import open_text, open_unpacked
from matgraft.potentials.data.reading.formats.base import FileHead, Format, plain_path, without_packed
from matgraft.potentials.data.reading.formats.espresso import titled
from matgraft.potentials.data.reading.formats.functionals import named
from matgraft.potentials.data.reading.formats.output import Output, Steps, element, numbers
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile

CONVENTIONS = Conventions(
    "Quantum ESPRESSO's cp.x trajectory", units={"e_fr_energy": "Hartree", "forces": "Hartree/Bohr"}, fixed=True
)
_F = r"\s++[-+]?\d*+\.\d++(?:[EeDd][-+]?\d+)?"
_BLOCKS = re.compile(rf"\s*+\d++{_F}[ \t]*+\n{3 * _F}[ \t]*+\n")
_ENDINGS = (".pos", ".for", ".vel", ".cel", ".str")


def is_cp(head: FileHead) -> bool:
    """Say whether a file is one of a trajectory's, by its ending and its first lines."""
    ending = Path(head.name).suffix.lower()
    if ending == ".evp":
        return head.text.lstrip().startswith("#") or re.match(rf"\s*+\d++{5 * _F}", head.text) is not None
    return ending in _ENDINGS and _BLOCKS.match(head.text) is not None


def read_cp(path: Path, name: str) -> RawFile:
    """Read a trajectory by any of its files.

    Raises
    ------
    DataError
        If positions, energies or the input are missing, or the input's atoms stand in no order that is sure.
    """
    files = _files(path)
    for ending in (".pos", ".evp", ".in"):
        if ending not in files:
            raise DataError(
                f"the {ending} file of the run is missing", where=name, remedy="put it into the same folder"
            )
    given = _input(files[".in"])
    positions, cut = _blocks(files[".pos"], len(given.symbols))
    forces, _ = _blocks(files[".for"], len(given.symbols)) if ".for" in files else ({}, "")
    cells, _ = _blocks(files[".cel"], 3) if ".cel" in files else ({}, "")
    steps = Steps()
    for step, energy in _energies(files[".evp"]).items():
        if step in positions:
            cell = _cell(step, cells, given, name)
            atoms = Atoms(given.symbols, positions[step] * units.Bohr, cell=cell * units.Bohr, pbc=True)
            steps.add(atoms, {"e_fr_energy": energy, "forces": forces.get(step)}, None, **given.tags)
    steps.notes.append(
        "Car-Parrinello: electrons follow the ions, so energies and forces are near those of the ground state"
    )
    others = tuple(one for one in files.values() if one != path)
    return steps.file(name, CONVENTIONS, given.theory, cut, others)


@dataclass(frozen=True)
class _Input:
    """What the input states: elements in the order of the atoms, first cell (Bohr) where known, theory, charge."""

    symbols: list[str]
    cell: Array | None
    theory: LevelOfTheory
    tags: dict[str, str]


def _input(path: Path) -> _Input:
    try:
        with open_text(path) as file:
            namelist, cards = read_fortran_namelist(file)
    except (KeyError, ValueError, *UNREADABLE) as error:
        raise DataError(f"it does not read like an input of cp.x: {error!r}", where=path.name) from error
    system, n = namelist.get("system", {}), int(namelist.get("system", {}).get("nat", 0))
    species = [row.split() for row in _card(cards, "ATOMIC_SPECIES", int(system.get("ntyp", 0)))]
    labels = [row.split()[0] for row in _card(cards, "ATOMIC_POSITIONS", n)]
    order = [label for i, label in enumerate(labels) if i == 0 or labels[i - 1] != label]
    if order != [row[0] for row in species]:
        remedy = "list them so in the input, if the run did"
        found = "its atoms do not stand one species after another, as some versions of cp.x write them"
        raise DataError(found, where=path.name, remedy=remedy)
    theory = LevelOfTheory(
        code="Quantum ESPRESSO",
        **named(str(system.get("input_dft", ""))),
        cutoff_eV=float(system["ecutwfc"]) * units.Rydberg if "ecutwfc" in system else None,
        density_cutoff_eV=float(system["ecutrho"]) * units.Rydberg if "ecutrho" in system else None,
        kpoints=(1, 1, 1),
        kpoint_offset=(0.0, 0.0, 0.0),
        potentials=tuple(titled(element(row[0]), row[2]) for row in species),
    )
    charge = float(str(system.get("tot_charge", 0)))
    tags = {"charge": f"{charge:g}"} if charge else {}
    return _Input([element(label) for label in labels], _first_cell(system, cards), theory, tags)


def _card(cards: Sequence[str], title: str, n: int) -> list[str]:
    start = next((i for i, line in enumerate(cards) if line.upper().startswith(title)), len(cards))
    return list(cards[start + 1 : start + 1 + n])


def _first_cell(system: dict[str, object], cards: Sequence[str]) -> Array | None:
    """Return the cell (Bohr) of the lattices that have right angles, or that is listed in Bohr or Å; else None."""
    a, b, c = (float(str(system.get(f"celldm({i})", 0))) for i in (1, 2, 3))
    lattice = int(str(system.get("ibrav", -1)))
    if lattice == 0:
        rows = _card(cards, "CELL_PARAMETERS", 3)
        title = next((line.lower() for line in cards if line.upper().startswith("CELL_PARAMETERS")), "")
        scale = 1 / units.Bohr if "angstrom" in title else 1.0 if "bohr" in title else None
        return np.array([numbers(row) for row in rows]) * scale if scale and len(rows) == 3 else None
    known = {1: (a, a, a), 6: (a, a, a * c), 8: (a, a * b, a * c)}
    return np.diag(known[lattice]) if a and lattice in known else None


def _cell(step: int, cells: dict[int, Array], given: _Input, name: str) -> Array:
    """Return the cell of a step; the order of rows and columns in a .cel is not relied on."""
    cell = cells.get(step)
    if cell is not None and np.allclose(cell, cell.T):
        return cell
    if cell is None and given.cell is not None and not cells:
        return given.cell
    raise DataError(f"the cell of step {step} is not known for sure", where=name, allowed=["cells with right angles"])


def _blocks(path: Path, n_rows: int) -> tuple[dict[int, Array], str]:
    """Return blocks of rows by step, and what broke the file off."""
    found: dict[int, Array] = {}
    try:
        with open_unpacked(path) as file:
            output = Output(file, path.name)
            for line in output:
                if line.strip():
                    found[int(line.split()[0])] = output.table(n_rows)
    except UNREADABLE as error:
        return found, str(error)
    return found, ""


def _energies(path: Path) -> dict[int, float]:
    """Return ``etot`` (Hartree) by step; its column follows those of time and temperatures, which old versions lack."""
    found: dict[int, float] = {}
    column = 5
    try:
        with open_unpacked(path) as file:
            for line in Output(file, path.name):
                if line.lstrip().startswith("#"):
                    titles = re.sub(r"^\s*#", "", line).split()
                    column = titles.index("etot") if "etot" in titles else column
                elif row := numbers(line):
                    found[int(row[0])] = row[column]
    except UNREADABLE:
        return found
    return found


def _files(path: Path) -> dict[str, Path]:
    stem = plain_path(path).with_suffix("").name
    beside = without_packed(
        sorted(one for one in path.parent.glob(f"{stem}.*") if plain_path(one).with_suffix("").name == stem)
    )
    return {plain_path(one).suffix.lower(): one for one in beside}


def positions_file(path: Path) -> Path:
    """Return the file of positions of a trajectory; the file itself where there is none."""
    return _files(path).get(".pos", path)


def _find(own: Sequence[Path], _others: Sequence[Path]) -> list[Path]:
    """Return one file for each trajectory."""
    return list(dict.fromkeys(positions_file(path) for path in without_packed(own)))


ESPRESSO_CP = Format(CONVENTIONS.format, is_cp, read_cp, _find, positions_file)

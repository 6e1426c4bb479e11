"""Units that a frame states beside its numbers, and positions in Å.

| in the frame                                             | taken for                                                |
| -------------------------------------------------------- | -------------------------------------------------------- |
| ``energy-unit=hartree``, ``forces_units=eV/A``           | the unit of every label of that quantity                 |
| ``REF_energy_unit=Ry``                                   | the unit of the key ``REF_energy``                       |
| ``length_unit=nm``, ``cell_unit=bohr``                   | the unit of positions and cell                           |
| ``units=metal``, ``real``, ``ase``, ``au``               | the units of such a system                               |
| ``units="hartree, bohr"``, ``units="energy:eV"``, JSON   | the quantity's by name, or by what the unit measures     |

A virial without a unit of its own has that of the energy. A word that is no unit is kept as it stands: reading the
label then raises an error that names it, unless the user says the unit. Two statements that contradict each other are
kept as such words.

>>> stated_units({"energy": -0.5, "energy-unit": "hartree"})
{'energy': 'hartree', 'virial': 'hartree'}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ase import Atoms

from matgraft.core.errors import DataError
from matgraft.core.quantities import LENGTH_UNITS, Unit, find_unit
from matgraft.potentials.data.reading.raw import RawFrame

_STATEMENT = re.compile(r"(?P<of>.*?)[-_. ]?units?|units?[-_. ](?:of[-_. ])?(?P<after>.+)")
_WORDS = {
    "energy": ("energy", "energies", "etot", "toten"),
    "forces": ("force", "forces"),
    "stress": ("stress", "stresses", "pressure"),
    "virial": ("virial", "virials"),
    "length": (
        *("length", "lengths", "position", "positions", "pos", "distance", "distances"),
        *("coord", "coords", "coordinate", "coordinates", "cell", "lattice"),
    ),
}
_QUANTITIES = {word: quantity for quantity, words in _WORDS.items() for word in words}
_SYSTEMS = {
    "ase": {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³", "length": "Å"},
    "metal": {"energy": "eV", "forces": "eV/Å", "length": "Å"},
    "real": {"energy": "kcal/mol", "forces": "kcal/mol/Å", "length": "Å"},
    "au": dict.fromkeys(("energy", "forces", "stress", "length"), "au"),
}
"""Of LAMMPS's systems the pressure is left out: whether a stress is in its bar or in atmospheres nobody says."""
_SAME_SYSTEM = {"a.u.": "au", "atomic": "au", "atomic units": "au", "atomic_units": "au", "ev": "ase"}


def stated_units(values: Mapping[str, object]) -> dict[str, str]:
    """Return the units that a frame's values state: quantity, or key in lower case -> unit as written."""
    keys = {key.lower() for key in values}
    general: dict[str, str] = {}
    own: dict[str, str] = {}
    for key, value in values.items():
        if not isinstance(value, str | dict):
            continue
        found = _STATEMENT.fullmatch(key.lower())
        if found is None or (isinstance(value, str) and value.strip().lower() in ("", "none", "null")):
            continue
        stem = found["after"] or found["of"] or ""
        if not stem:
            general |= _general(value, known_only=key.lower() == "unit")
        elif isinstance(value, str) and (place := _place(stem, keys)) and not _is_cell(found["after"], value):
            own[place] = _both(own.get(place, value), value, place)
    units = general | own
    if "energy" in units:
        units.setdefault("virial", re.sub(r"(?<!\s)\s*+/\s*+atoms?$", "", units["energy"]))
    return units


def _both(first: str, second: str, place: str) -> str:
    """Return what two statements of a unit say: the first where they agree, otherwise words that are no unit."""
    units = [find_unit(text, place) for text in (first, second)] if place in _WORDS else [None, None]
    agree = first == second or (units[0] and units[1] and units[0] == replace(units[1], text=first))
    return first if agree else f"{first} and {second}"


def _is_cell(after: str | None, value: str) -> bool:
    """Say whether a key speaks of the unit cell, as ASE's ``unit_cell=conventional`` does, and of no unit."""
    return after == "cell" and find_unit(value, "length") is None


def _place(stem: str, keys: set[str]) -> str:
    """Return the quantity or the key that a unit is of; empty where it is of something else."""
    if stem in keys and (stem == "pressure" or _QUANTITIES.get(stem) in (None, "length")):
        return stem  # a distance that is a number of the frame is not its positions, nor a pressure its stress
    if stem in _QUANTITIES:
        return _QUANTITIES[stem]
    return _QUANTITIES.get(re.split(r"[-_. ]", stem)[-1], "")


def _general(value: str | dict[str, object], known_only: bool) -> dict[str, str]:
    """Return what ``units=...`` says of each quantity; with `known_only` nothing where it is no unit at all."""
    if isinstance(value, dict):
        return {_QUANTITIES[key.lower()]: str(unit) for key, unit in value.items() if key.lower() in _QUANTITIES}
    name = _SAME_SYSTEM.get(value.strip().lower(), value.strip().lower())
    if name in _SYSTEMS:
        named = dict(_SYSTEMS[name])
    elif pairs := re.findall(r"""(?<!\w)(\w++)["']?\s*+[:=]\s*+["']?([^\s,;"'}]+)""", value):
        return {_QUANTITIES[word.lower()]: unit for word, unit in pairs if word.lower() in _QUANTITIES}
    else:
        named = dict(_measured(value))
        if "energy" in named and "length" in named:
            energy = re.sub(r"(?<!\s)\s*+/\s*+atoms?$", "", named["energy"])
            named = {"forces": f"{energy}/{named['length']}", "stress": f"{energy}/{named['length']}^3"} | named
    if set(named) == {"length"} or (known_only and not named):
        return named
    # What the word leaves open is no default: the word stands there, and is an error where the label is.
    return dict.fromkeys(("energy", "forces", "stress"), value) | named


def _measured(text: str) -> Iterator[tuple[str, str]]:
    """Tell the units of a list by what they measure."""
    pieces = [text] if _measures(text) else re.split(r"\s*[,;]\s*|\s+", text.strip())
    for piece in pieces:
        yield from ((quantity, piece) for quantity in _measures(piece))


def _measures(unit: str) -> list[str]:
    return [quantity for quantity in ("energy", "forces", "stress", "length") if find_unit(unit, quantity)]


def in_angstrom(frame: RawFrame, said: Unit | None, where: str) -> RawFrame:
    """Return the frame with positions and cell in Å; its labels are left as they are.

    Parameters
    ----------
    said
        The user's unit of length, which comes before the frame's.

    Raises
    ------
    DataError
        If the frame states what is no unit of length.
    """
    text = frame.units.get("length")
    if said is None and text is None:
        return frame
    unit = said or find_unit(text or "", "length")
    if unit is None:
        raise DataError(
            f"the frame states {text!r} for positions, which is not a unit of length",
            where=where,
            remedy="say the unit, which then comes before the file's",
            options=[{"units.length": unit} for unit in LENGTH_UNITS],
        )
    if unit.factor == 1.0:
        return frame
    atoms = frame.atoms
    scaled = Atoms(atoms.numbers, atoms.positions * unit.factor, cell=atoms.cell[:] * unit.factor, pbc=atoms.pbc)
    return replace(frame, atoms=scaled)

"""What a reader hands over before anyone has decided which number is which label.

Every format ends as a `RawFile`: clean structures, and beside each all the values that stood in the file, under the
names that stood there. `matgraft.potentials.data.reading.labels` picks the labels out of them. What a format says of
its numbers (VASP counts stress in kBar and the other way round) stands in its `Conventions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from matgraft.core.provenance import EnergyKind, LevelOfTheory
from matgraft.core.unpack import BROKEN, PACKED

COMPRESSED = PACKED
"""Endings of files that are unpacked while they are read."""

UNREADABLE = (*BROKEN, UnicodeDecodeError)
"""What reading raises on a cut-off or damaged file, packed or not."""

VASP_SHEAR = "xy,yz,xz"
"""VASP lists six components as xx yy zz xy yz zx: what stands in ASE's places yz, xz, xy."""


@dataclass(frozen=True)
class RawFrame:
    """One frame as it stood in a file.

    Attributes
    ----------
    atoms
        Structure alone: no calculator, no constraints, no further arrays.
    values
        Name -> anything the file gave: scalars, arrays, lists. None counts as absent.
    tags
        What the reader knows beyond the values, such as ``converged``.
    units
        Key in lower case, or a quantity (energy, forces, stress, virial, length) -> unit that the frame itself states;
        it comes before the format's.
    notes
        What reading decided on this frame; told once a file.
    theory
        Level of theory of this frame, where it is another than the file's: a run may have several parts.
    types
        Type number of each atom where the file names no elements; `atoms` has the atomic number 0 throughout then.
    """

    atoms: Atoms
    values: Mapping[str, object]
    tags: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    theory: LevelOfTheory | None = None
    types: tuple[int, ...] = ()


@dataclass(frozen=True)
class Conventions:
    """What a format says of its numbers, so that nobody need be asked.

    Attributes
    ----------
    format
        Its name for screens and reports: ``VASP's vasprun.xml``.
    units
        Key in lower case -> unit that the format gives it; other keys are in `quantities.DEFAULT_UNITS`.
    orders
        Key in lower case -> what stands in the places yz, xz, xy of six stress components, where not in ASE's order.
    energies
        Key in lower case -> which energy it holds.
    fixed
        True if the format fixes unit, sign and order of every label that it holds.
    systems
        Units that files of the format are seen in, each quantity -> unit, where no file states them: the user is asked
        which it is. None: units are known.
    lacks
        Quantities that no file of the format holds.
    first_type
        Number of the first type of atom, where types have numbers.
    """

    format: str
    units: Mapping[str, str] = field(default_factory=dict)
    orders: Mapping[str, str] = field(default_factory=dict)
    energies: Mapping[str, EnergyKind] = field(default_factory=dict)
    fixed: bool = False
    systems: tuple[Mapping[str, str], ...] = ()
    lacks: tuple[str, ...] = ()
    first_type: int = 0


@dataclass(frozen=True)
class RawFile:
    """A file's frames, with what its format fixes.

    Attributes
    ----------
    frames
        In the file's order; walked over once, as they may be read only then.
    conventions
        What the format says of the numbers.
    notes
        What reading decided or left out.
    theory
        Level of theory, where the format states it.
    others
        Further files that were read with it; all files of a folder that is one data set. Their hash counts.
    """

    frames: Iterable[RawFrame]
    conventions: Conventions
    notes: tuple[str, ...] = ()
    theory: LevelOfTheory | None = None
    others: tuple[Path, ...] = ()


def clean_atoms(atoms: Atoms) -> Atoms:
    """Return species, positions, cell and periodicity, and nothing else."""
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell[:], pbc=atoms.pbc)


def scalar_text(value: Any) -> str | None:
    """Return text, number or truth value as text; None for anything longer."""
    if isinstance(value, (str, bool, int, float)):
        return str(value)
    if isinstance(value, (np.generic, np.ndarray)) and np.size(value) == 1:
        return str(np.asarray(value).item())
    return None

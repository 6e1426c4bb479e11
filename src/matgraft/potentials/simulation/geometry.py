"""A structure as a fact, and its crystal symmetry by spglib.

>>> Geometry.of(atoms).atoms()              # the same structure, out of a file
>>> primitive_of(bulk("Si", cubic=True))    # two atoms, axes as the literature has them
"""

from __future__ import annotations

from typing import Any

import numpy as np
import spglib
from ase import Atoms

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array

SYMPREC_A = 0.01
"""Å within which atoms count as equivalent: a relaxed atom is nearer to its site than the largest force left over the
softest force constant, 0.002 eV/Å over some 1 eV/Å²."""

Vector = tuple[float, float, float]


class Geometry(Frozen):
    """A structure: numbers, positions (n, 3) in Å, cell (3, 3) in Å by rows, and along which vectors it repeats."""

    numbers: tuple[int, ...]
    positions_A: tuple[Vector, ...]
    cell_A: tuple[Vector, Vector, Vector]
    pbc: tuple[bool, bool, bool]

    @classmethod
    def of(cls, atoms: Atoms) -> Geometry:
        """Return what atoms are, without calculator, labels and constraints."""
        return cls.model_validate(
            {
                "numbers": atoms.numbers.tolist(),
                "positions_A": atoms.positions.tolist(),
                "cell_A": atoms.cell[:].tolist(),
                "pbc": atoms.pbc.tolist(),
            }
        )

    def atoms(self) -> Atoms:
        """Return new atoms."""
        return Atoms(self.numbers, np.array(self.positions_A).reshape(-1, 3), cell=self.cell_A, pbc=self.pbc)


def primitive_of(atoms: Atoms) -> Atoms:
    """Return the primitive cell of a crystal, exactly symmetric, in spglib's standard orientation.

    The axes are those of the conventional cell: a along x, b in the xy plane. A structure without a symmetry that
    spglib finds is returned as it is.
    """
    found = spglib.standardize_cell(spglib_cell(atoms), to_primitive=True, no_idealize=False, symprec=SYMPREC_A)
    if found is None:
        return atoms.copy()
    cell, positions, numbers = found
    return Atoms(numbers, cell=cell, scaled_positions=positions, pbc=True)


class Symmetry(Frozen):
    """Symmetry of a crystal.

    Attributes
    ----------
    symbol, number
        International symbol and number of the space group.
    operations
        Symmetry operations per primitive cell: rotations that map the crystal onto itself.
    to_conventional
        (3, 3): the conventional cell by rows is this matrix times the cell by rows.
    """

    symbol: str
    number: int
    operations: int
    to_conventional: tuple[Vector, Vector, Vector]


NO_SYMMETRY = Symmetry(symbol="P1", number=1, operations=1, to_conventional=((1, 0, 0), (0, 1, 0), (0, 0, 1)))


def symmetry_of(atoms: Atoms, tolerance_A: float = SYMPREC_A) -> Symmetry:
    """Return the symmetry within a tolerance."""
    found: Any = spglib.get_symmetry_dataset(spglib_cell(atoms), symprec=tolerance_A)
    if found is None:
        return NO_SYMMETRY
    return Symmetry.model_validate(
        {
            "symbol": str(found.international),
            "number": int(found.number),
            "operations": len(np.unique(found.rotations, axis=0)),
            "to_conventional": np.linalg.inv(found.transformation_matrix).T.tolist(),
        }
    )


def rotations_of(atoms: Atoms, tolerance_A: float = SYMPREC_A) -> Array:
    """Return the point group of a crystal as (n, 3, 3) Cartesian matrices R: a vector v goes to R v."""
    found: Any = spglib.get_symmetry_dataset(spglib_cell(atoms), symprec=tolerance_A)
    fractional = np.eye(3)[None] if found is None else np.unique(found.rotations, axis=0)
    columns = atoms.cell[:].T
    return np.asarray(columns @ fractional @ np.linalg.inv(columns))


def spglib_cell(atoms: Atoms) -> Any:
    """Return a structure as spglib takes it."""
    return atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers

"""Which directions of a structure repeat, and when it has a volume: one rule for reading, graphs, stress and exports.

>>> box(graphene(vacuum=None), 6.0).vectors     # the third vector is zero in the file: a long normal stands in for it

A sheet may be written without its third vector, with vacuum and pbc T T F, or with vacuum and pbc T T T. It is the same
sheet, and has the same graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array

FLAT = 1e-6
"""Cell vectors whose volume is less than this part of the product of their lengths lie in a plane."""
SHORTEST_A = 0.1
"""A shorter cell vector counts as none: no structure repeats in less, and its images would be without number."""
MARGIN_A = 1.0
"""Å of vacuum beyond the cutoff."""


@dataclass(frozen=True)
class Box:
    """Three independent vectors to build a graph in.

    Attributes
    ----------
    vectors
        (3, 3) Å, rows. Along what does not repeat they are normal to the rest, and longer than the structure by more
        than the cutoff: images along them are no neighbours, whether they are looked for or not.
    periodic
        (3,) which of them the structure repeats along.
    """

    vectors: Array
    periodic: NDArray[np.bool_]

    def near_origin(self, positions: Array) -> Array:
        """Return positions (n, 3) in Å less than one period from the origin, and about their middle across the periods.

        Far from the origin float32 positions lose digits. Atoms that are near it stay where they are.
        """
        fractional = np.linalg.solve(self.vectors.T, positions.T).T
        away = np.where(self.periodic, np.trunc(fractional), fractional.mean(axis=0, keepdims=True))
        return np.asarray(positions - away @ self.vectors)


def box(atoms: Atoms, cutoff: float, where: str = "data") -> Box:
    """Return the box of a structure.

    Parameters
    ----------
    cutoff
        Å, of the neighbours.
    where
        The frame, for the error.

    Raises
    ------
    DataError
        If the periodic cell vectors are not finite or not independent.
    """
    cell = np.array(atoms.cell[:], dtype=float)
    if not np.isfinite(cell).all():
        raise DataError("the cell is not finite", where=where, remedy="drop the frame")
    periodic = np.asarray(atoms.pbc, dtype=bool) & _there(cell)
    repeating = cell[periodic]
    if _dependent(repeating):
        raise DataError(
            f"the periodic cell vectors {repeating.round(3).tolist()} are not independent",
            where=where,
            remedy="correct the cell, or set pbc to F along the vectors that do not repeat",
        )
    normals = np.linalg.svd(repeating.reshape(-1, 3), full_matrices=True)[2][len(repeating) :]
    extent = np.ptp(atoms.positions @ normals.T, axis=0)
    cell[~periodic] = normals * (extent + 2 * cutoff + MARGIN_A)[:, None]
    return Box(cell, periodic)


def volume(atoms: Atoms) -> float:
    """Return the volume (Å³) that the three cell vectors span; 0 if they span none, and then there is no stress.

    Periodicity plays no role: stress is (1/V) dE/dstrain, and a slab in a cell with vacuum has it per volume of that
    cell, as DFT codes print it.
    """
    cell = np.asarray(atoms.cell[:], dtype=float)
    lengths = [math.hypot(*vector) for vector in cell.tolist()]  # of three numbers quicker than numpy's norm
    if not all(SHORTEST_A <= length < math.inf for length in lengths):  # nor is NaN
        return 0.0
    size = abs(float(np.linalg.det(cell)))
    return size if size > FLAT * math.prod(lengths) else 0.0


def with_clear_cell(atoms: Atoms, where: str = "data") -> Atoms:
    """Return the same structure without the cell vectors that say nothing: they become zero, and repeat nothing.

    These are vectors shorter than `SHORTEST_A`, and vectors that do not repeat and lie in the plane or line of the
    others. A cell that is not finite stays as it is.

    Raises
    ------
    DataError
        If the periodic cell vectors are not independent.
    """
    cell = np.array(atoms.cell[:], dtype=float)
    if volume(atoms) or not np.isfinite(cell).all() or not (cell.any() or atoms.pbc.any()):
        return atoms
    periodic = box(atoms, 0.0, where).periodic
    kept = [int(i) for i in np.flatnonzero(periodic)]
    for i in np.flatnonzero(~periodic & _there(cell)):
        kept += [] if _dependent(cell[[*kept, int(i)]]) else [int(i)]
    return Atoms(atoms.numbers, atoms.positions, cell=np.where(np.isin(range(3), kept)[:, None], cell, 0), pbc=periodic)


def _there(cell: Array) -> NDArray[np.bool_]:
    return np.asarray(np.linalg.norm(cell, axis=1) >= SHORTEST_A)


def _dependent(vectors: Array) -> bool:
    """Say whether some of the vectors lie in the plane or line of the others."""
    lengths = np.linalg.norm(vectors, axis=1)
    return len(vectors) > 0 and bool(np.prod(np.linalg.svd(vectors / lengths[:, None])[1]) < FLAT)


def boxed(atoms: Atoms, cutoff: float) -> Atoms:
    """Return the same structure as a crystal in three directions, with vacuum wider than the cutoff where it ends."""
    found = box(atoms, cutoff)
    return Atoms(atoms.numbers, atoms.positions, cell=found.vectors, pbc=True)

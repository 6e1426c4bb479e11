"""Which directions of a structure repeat, and when it has a volume: one rule for reading, graphs, stress and exports.

>>> box(graphene(vacuum=None), 6.0).vectors     # the third vector is zero in the file: a long normal stands in for it

A sheet may be written without its third vector, with vacuum and pbc T T F, or with vacuum and pbc T T T. It is the same
sheet, and has the same graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.potentials.data.boxes import (
    box_vectors,
    dependent,
    long_enough,
    near_origin,
    short_period,
    spanned_volume,
)


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
        """Return positions (n, 3) in Å less than one period from the origin, see `boxes.near_origin`."""
        return near_origin(positions, self.vectors, self.periodic)


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
    try:
        vectors, periodic = box_vectors(atoms.cell[:], atoms.pbc, atoms.positions, cutoff)
    except ValueError as error:
        finite = bool(np.isfinite(atoms.cell[:]).all())
        remedy = (
            "correct the cell, or set pbc to F along the vectors that do not repeat" if finite else "drop the frame"
        )
        raise DataError(str(error), where=where, remedy=remedy) from error
    return Box(vectors, periodic)


def volume(atoms: Atoms) -> float:
    """Return the volume (Å³) that the three cell vectors span; 0 if they span none, and then there is no stress.

    Periodicity plays no role: stress is (1/V) dE/dstrain, and a slab in a cell with vacuum has it per volume of that
    cell, as DFT codes print it.
    """
    return spanned_volume(np.asarray(atoms.cell[:], dtype=float))


def with_clear_cell(atoms: Atoms, where: str = "data") -> Atoms:
    """Return the same structure without the cell vectors that say nothing: they become zero, and repeat nothing.

    These are vectors shorter than `boxes.SHORTEST_A`, and vectors that do not repeat and lie in the plane or line of
    the others. A cell that is not finite, or repeats in next to nothing, stays as it is: `sense` refuses it.

    Raises
    ------
    DataError
        If the periodic cell vectors are not independent.
    """
    cell = np.array(atoms.cell[:], dtype=float)
    if volume(atoms) or not np.isfinite(cell).all() or not (cell.any() or atoms.pbc.any()):
        return atoms
    if short_period(cell, atoms.pbc) is not None:
        return atoms
    periodic = box(atoms, 0.0, where).periodic
    kept = [int(i) for i in np.flatnonzero(periodic)]
    for i in np.flatnonzero(~periodic & long_enough(cell)):
        kept += [] if dependent(cell[[*kept, int(i)]]) else [int(i)]
    return Atoms(atoms.numbers, atoms.positions, cell=np.where(np.isin(range(3), kept)[:, None], cell, 0), pbc=periodic)


def boxed(atoms: Atoms, cutoff: float) -> Atoms:
    """Return the same structure as a crystal in three directions, with vacuum wider than the cutoff where it ends."""
    found = box(atoms, cutoff)
    return Atoms(atoms.numbers, atoms.positions, cell=found.vectors, pbc=True)

"""The stress of slabs: components in the plane are labels wherever the area is known.

| what a file gives of a slab                              | what is a label                         |
| -------------------------------------------------------- | --------------------------------------- |
| a stress, and three cell vectors                         | all components, per volume of that cell |
| the same, NaN or exactly 0 in all normal to the plane    | the four in the plane                   |
| four numbers, xx xy yx yy where the normal is z          | these                                   |
| a virial, with or without a third vector                 | all components: it needs no volume      |
| a stress per area (N/m, eV/Å²), with or without          | the four in the plane                   |
| a stress per volume, without a third vector              | nothing: nobody knows the volume        |

A slab repeats in two directions, in which it has no vacuum. Where it lacks its third vector it is given one, normal to
the plane and `VACUUM_A` longer than the slab: its stress per volume of that cell is the one per area over that length.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from matgraft.core.quantities import Array
from matgraft.potentials.data.boxes import MARGIN_A
from matgraft.potentials.data.cells import box
from matgraft.potentials.data.geometry import SLAB_A, vacuum

VACUUM_A = 15.0
"""Å of vacuum in the cell of a slab that has no third vector."""
_ALONG = 1e-6
"""A normal whose other components are smaller than this lies along an axis."""


def plane_of(atoms: Atoms) -> tuple[float, int | None]:
    """Return the area (Å²) of a slab, and its normal: 0, 1, 2 for x, y, z, None for another; area 0 for no slab."""
    filled = vacuum(atoms) <= SLAB_A
    if np.count_nonzero(filled) != 2:
        return 0.0, None
    normal = np.cross(*box(atoms, 0.0).vectors[filled])
    area = float(np.linalg.norm(normal))
    axis = int(np.abs(normal).argmax())
    along = bool(np.abs(np.delete(normal, axis)).max() < _ALONG * area)
    return area, axis if along else None


def with_third_vector(atoms: Atoms) -> Atoms:
    """Return a slab that has no third vector in a cell with `VACUUM_A` of vacuum."""
    found = box(atoms, (VACUUM_A - MARGIN_A) / 2)
    return Atoms(atoms.numbers, atoms.positions, cell=found.vectors, pbc=found.periodic)


def from_plane(stress: Array, atoms: Atoms) -> Array:
    """Return a (3, 3) stress, NaN normal to the plane, of the four numbers in a slab's plane; others as they are."""
    axis = plane_of(atoms)[1] if stress.size == 4 else None
    if axis is None:
        return stress
    full = np.full((3, 3), np.nan)
    full[_in_plane(axis)] = stress.ravel()
    return full


def components_given(stress: Array, atoms: Atoms) -> NDArray[np.bool_] | None:
    """Return (3, 3) which components of a stress (3, 3) were computed, if those normal to a slab were not; else None.

    Exact zeros stand for that, as NaN does.
    """
    empty = (stress == 0) | np.isnan(stress)
    if not empty.all(axis=1).any() or empty.all():
        return None
    axis = plane_of(atoms)[1]
    return _in_plane(axis) if axis is not None and empty[axis].all() else None


def in_plane(atoms: Atoms) -> NDArray[np.bool_] | None:
    """Return (3, 3) which components lie in a slab's plane; None where its normal lies along no axis."""
    axis = plane_of(atoms)[1]
    return None if axis is None else _in_plane(axis)


def _in_plane(axis: int) -> NDArray[np.bool_]:
    kept = np.arange(3) != axis
    return np.logical_and.outer(kept, kept)

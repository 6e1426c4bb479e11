"""What structures say by themselves: vacuum, closest pair."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.potentials.data.cells import box

SLAB_A = 5.0
"""Å without any atom along a cell direction from which on a frame counts as a surface or a molecule."""

_PAIR_SCOPE = 0.8  # bonds of right structures are longer
_FIRST_NEIGHBOURS = 4.0  # expected within the first reach: atoms that collide have found each other there


def vacuum(atoms: Atoms) -> Array:
    """Return the widest gap between atoms along each direction of the cell.

    Returns
    -------
    (3,) array
        Å, measured at right angles to the other two directions; infinite where the frame does not repeat or has no
        atom. A slab without its third vector has the gaps of that slab in a full cell.
    """
    if not len(atoms):
        return np.full(3, np.inf)
    try:
        found = box(atoms, 0.0)
    except DataError:  # no cell at all: whoever builds a graph names the frame
        return np.full(3, np.inf)
    inverse = np.linalg.inv(found.vectors)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    positions = np.sort(atoms.positions @ inverse % 1.0, axis=0)
    gaps = np.diff(positions, axis=0, append=positions[:1] + 1.0)
    return np.where(found.periodic, gaps.max(axis=0) * heights, np.inf)


def joined(atoms: Atoms) -> Atoms:
    """Return a copy in which a molecule that a face of its cell cuts is whole.

    Along each direction that repeats, no atom lies beyond the widest gap. Atoms are shifted by whole vectors of the
    cell, and the first stays where it is.
    """
    whole, cell = atoms.copy(), atoms.cell.complete()[:]
    fractional = atoms.positions @ np.linalg.inv(cell)
    for axis in np.flatnonzero(atoms.pbc & atoms.cell.any(axis=1)):
        places = np.sort(fractional[:, axis] % 1.0)
        gaps = np.diff(places, append=places[:1] + 1.0)
        middle = places[gaps.argmax()] + gaps.max() / 2
        crossed = np.floor(fractional[:, axis] - middle)
        whole.positions -= np.outer(crossed - crossed[0], cell[axis])
    return whole


def has_vacuum(atoms: Atoms) -> bool:
    """Say whether a frame is a surface, a wire or a molecule rather than a bulk."""
    return bool((vacuum(atoms) > SLAB_A).any())


def closest_pair(atoms: Atoms, scope: float = _PAIR_SCOPE) -> tuple[float, float]:
    """Return the pair of atoms closest in terms of their covalent radii.

    The reach grows until a pair is found: cells a thousand times too dense take no longer than others.

    Parameters
    ----------
    scope
        Pairs closer than this part of the sum of the two largest covalent radii are looked at.

    Returns
    -------
    ratio, distance
        Distance over the sum of the radii, and in Å; both infinite where no pair comes near.
    """
    radii, cell = covalent_radii[atoms.numbers], atoms.cell.complete()[:]
    largest = 2 * float(radii.max())
    farthest = scope * largest
    reach = min(farthest, reach_of(atoms.positions, cell, atoms.pbc, _FIRST_NEIGHBOURS))
    while True:
        i, j, distances = neighbours_within(reach, atoms.positions, cell, atoms.pbc)
        ratios = distances / (radii[i] + radii[j])
        k = int(np.argmin(ratios)) if len(ratios) else -1
        if k >= 0 and ratios[k] * largest <= reach:  # a pair of smaller ratio would have been within reach
            return float(ratios[k]), float(distances[k])
        if reach >= farthest:
            return (float(ratios[k]), float(distances[k])) if k >= 0 else (np.inf, np.inf)
        reach = min(farthest, max(1.5 * reach, float(ratios[k]) * largest if k >= 0 else 0.0))


def reach_of(positions: Array, cell: Array, periodic: NDArray[np.bool_], neighbours: float) -> float:
    """Return the radius in Å of a sphere with so many atoms, were they spread evenly over cell and structure.

    Parameters
    ----------
    positions, cell, periodic
        (n, 3) Å; (3, 3) Å, complete; (3,).
    """
    volume = abs(float(np.linalg.det(cell)))
    if not periodic.all():
        inverse = np.linalg.inv(cell)
        extent = np.ptp(positions @ inverse, axis=0)
        thinnest = np.linalg.norm(inverse, axis=0)  # a sheet is 1 Å thick
        volume *= float(np.prod(np.where(periodic, 1.0, np.maximum(extent, thinnest))))
    return float(np.cbrt(neighbours * volume / len(positions) * 3 / (4 * np.pi)))


def neighbours_within(
    reach: float, positions: Array, cell: Array, periodic: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Return each pair of an atom and a neighbour, images too, closer than so many Å: the two atoms, and Å."""
    positions, cell = np.ascontiguousarray(positions, dtype=float), np.ascontiguousarray(cell, dtype=float)
    centre, other, image, distance = find_points_in_spheres(
        positions, positions, reach, np.array(periodic, dtype=np.int64), cell, tol=1e-8
    )
    apart = (centre != other) | (image != 0).any(axis=1)
    return centre[apart], other[apart], distance[apart]

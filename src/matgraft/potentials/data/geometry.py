"""What structures say by themselves: vacuum, closest pair."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from pymatgen.optimization.neighbors import find_points_in_spheres

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.potentials.data.cells import box

SLAB_A = 5.0
"""Å without any atom along a cell direction from which on a frame counts as a surface or a molecule."""

_PAIR_SCOPE = 0.8  # pairs closer than this part of the sum of the two largest covalent radii are looked at


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
    heights = 1 / np.linalg.norm(np.linalg.inv(found.vectors), axis=0)
    positions = np.sort(np.linalg.solve(found.vectors.T, atoms.positions.T).T % 1.0, axis=0)
    gaps = np.diff(positions, axis=0, append=positions[:1] + 1.0)
    return np.where(found.periodic, gaps.max(axis=0) * heights, np.inf)


def has_vacuum(atoms: Atoms) -> bool:
    """Say whether a frame is a surface, a wire or a molecule rather than a bulk."""
    return bool((vacuum(atoms) > SLAB_A).any())


def closest_pair(atoms: Atoms) -> tuple[float, float]:
    """Return the pair of atoms closest in terms of their covalent radii.

    Returns
    -------
    ratio, distance
        Distance over the sum of the radii, and in Å; both infinite where no pair comes near.
    """
    radii = covalent_radii[atoms.numbers]
    positions = np.ascontiguousarray(atoms.positions, dtype=float)
    cell = np.ascontiguousarray(atoms.cell.complete()[:], dtype=float)
    periodic = np.array(atoms.pbc, dtype=np.int64)
    cutoff = 2 * _PAIR_SCOPE * float(radii.max())
    i, j, image, distances = find_points_in_spheres(positions, positions, cutoff, periodic, cell, tol=1e-8)
    other = (i != j) | (image != 0).any(axis=1)
    if not other.any():
        return np.inf, np.inf
    i, j, distances = i[other], j[other], distances[other]
    ratios = distances / (radii[i] + radii[j])
    k = int(np.argmin(ratios))
    return float(ratios[k]), float(distances[k])

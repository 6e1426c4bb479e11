"""What structures say by themselves: vacuum, closest pair, strain, invariants under translation and order."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from pymatgen.optimization.neighbors import find_points_in_spheres

from matgraft.quantities import Array

SLAB_A = 5.0
"""Å without any atom along a cell direction from which on a frame counts as a surface or a molecule."""

_PAIR_SCOPE = 0.8  # pairs closer than this part of the sum of the two largest covalent radii are looked at

# Plane waves whose structure factors identify a frame: all index triples up to 2, one of each pair of opposites.
_WAVES = np.array([(h, k, m) for h in range(3) for k in range(-2, 3) for m in range(-2, 3) if (h, k, m) > (0, 0, 0)])


def vacuum(atoms: Atoms) -> Array:
    """Return the widest gap between atoms along each direction of the cell.

    Returns
    -------
    (3,) array
        Å, measured at right angles to the other two directions; infinite where the frame is not periodic.
    """
    cell = atoms.cell[:]
    if not np.abs(np.linalg.det(cell)) > 0:
        return np.full(3, np.inf)
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    positions = np.sort(np.linalg.solve(cell.T, atoms.positions.T).T % 1.0, axis=0)
    gaps = np.diff(positions, axis=0, append=positions[:1] + 1.0)
    return np.where(atoms.pbc, gaps.max(axis=0) * heights, np.inf)


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


def invariants(atoms: Atoms) -> Array:
    """Describe a frame by numbers that neither a translation nor another order of the atoms changes.

    Returns
    -------
    (6 + 2 n_waves,) array
        Å: lengths of the cell's edges and face diagonals; then the sizes of the structure factors |S| of a few plane
        waves, plain and weighted by element. An atom moved by d changes some of these by about 2 pi d / L. Only an
        inversion, and rare homometric structures, leave all unchanged.
    """
    a, b, c = cell = atoms.cell[:]
    lengths = np.linalg.norm([a, b, c, a + b, b + c, c + a], axis=1)
    periodic = np.abs(np.linalg.det(cell)) > 0
    fractional = np.linalg.solve(cell.T, atoms.positions.T).T if periodic else _centred(atoms.positions)
    phases = np.exp(2j * np.pi * fractional @ _WAVES.T)
    weights = np.stack([np.ones(len(atoms)), atoms.numbers / atoms.numbers.max()])
    factors = np.abs(weights @ phases)
    return np.concatenate([lengths, factors.ravel()])


def _centred(positions: Array) -> Array:
    """Coordinates of a frame without a cell in units of 10 Å, so that the waves resolve its atoms."""
    return np.asarray((positions - positions.mean(axis=0)) / 10.0)

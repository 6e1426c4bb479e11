"""Supercells for point defects, the sites that are not each other's images by symmetry, and the voids between them."""

from __future__ import annotations

import numpy as np
import spglib
from ase import Atoms
from ase.build import make_supercell
from scipy.spatial import Voronoi, cKDTree

from matgraft.core.quantities import Array
from matgraft.potentials.simulation.geometry import SYMPREC_A, spglib_cell, symmetry_of

FEWEST_ATOMS, WIDTH_A, MOST_ATOMS = 30, 7.0, 150
"""A supercell has so many atoms and so many Å along each normal, where it stays below the most."""
MOST_SITES = 3
OFF_SADDLE_A = 0.02
"""Å by which atoms are displaced, so that a relaxation can leave a saddle of high symmetry."""
MOST_VOIDS = 3
_FEW_ATOMS = 8  # cells of fewer are narrow: two images along each direction surround them
_SHELL = 12  # atoms around a void that tell two kinds apart
_ALIKE_A = 0.05


def supercell(primitive: Atoms) -> Atoms:
    """Repeat the conventional cell of a crystal, or the primitive one, until it is wide and large enough."""
    matrix = np.round(np.array(symmetry_of(primitive).to_conventional)).astype(int)
    whole = make_supercell(primitive, matrix) if abs(round(np.linalg.det(matrix))) else primitive
    whole = whole if len(whole) <= MOST_ATOMS else primitive
    while True:
        heights = 1 / np.linalg.norm(np.linalg.inv(whole.cell[:]), axis=0)
        if len(whole) >= FEWEST_ATOMS and heights.min() >= WIDTH_A:
            return whole
        times = np.ones(3, dtype=int)
        times[np.abs(heights - heights.min()) < 0.05] = 2
        if len(whole) * times.prod() > MOST_ATOMS:
            times = np.ones(3, dtype=int)
            times[int(np.argmin(heights))] = 2
        if len(whole) * times.prod() > MOST_ATOMS:
            return whole
        whole = whole.repeat(times)


def distinct_sites(atoms: Atoms) -> list[int]:
    """Return one atom of each kind of site: one of each element first, then the others."""
    found = spglib.get_symmetry_dataset(spglib_cell(atoms), symprec=SYMPREC_A)
    kinds = sorted(set(range(len(atoms)) if found is None else found.equivalent_atoms.tolist()))
    first = [next(k for k in kinds if atoms.symbols[k] == symbol) for symbol in dict.fromkeys(atoms.symbols)]
    return [*first, *[k for k in kinds if k not in first]][: max(MOST_SITES, len(first))]


def without_site(atoms: Atoms, site: int) -> Atoms:
    """Return the atoms but one."""
    return atoms[[k for k in range(len(atoms)) if k != site]]


def off_saddle(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Return atoms displaced by `OFF_SADDLE_A`."""
    moved = atoms.copy()
    moved.positions += OFF_SADDLE_A * rng.standard_normal((len(atoms), 3))
    return moved


def voids(atoms: Atoms, most: int = MOST_VOIDS) -> list[Array]:
    """Return the centres of the largest empty spheres in a crystal, one of each kind, the largest first.

    They are vertices of the Voronoi cells of the atoms. Two are of one kind where the distances to the nearest atoms
    agree.

    Returns
    -------
    list of (3,) array
        Positions in Å.
    """
    images = range(-2, 3) if len(atoms) <= _FEW_ATOMS else range(-1, 2)
    shifts = np.array([(a, b, c) for a in images for b in images for c in images]) @ atoms.cell[:]
    points = (atoms.positions[None] + shifts[:, None]).reshape(-1, 3)
    vertices = Voronoi(points).vertices
    inside = vertices[((vertices @ np.linalg.inv(atoms.cell[:])).round(6) // 1 == 0).all(axis=1)]
    shells, _ = cKDTree(points).query(inside, k=_SHELL)
    found: list[tuple[Array, Array]] = []
    for k in np.argsort(-shells[:, 0], kind="stable"):
        if len(found) == most:
            break
        if all(np.abs(shells[k] - shell).max() > _ALIKE_A for _, shell in found):
            found.append((inside[k], shells[k]))
    return [position for position, _ in found]

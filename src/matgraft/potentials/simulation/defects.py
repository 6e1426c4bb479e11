"""Supercells for point defects, and the sites that are not each other's images by symmetry."""

from __future__ import annotations

import numpy as np
import spglib
from ase import Atoms
from ase.build import make_supercell

from matgraft.potentials.simulation.geometry import SYMPREC_A, spglib_cell, symmetry_of

FEWEST_ATOMS, WIDTH_A, MOST_ATOMS = 30, 7.0, 150
"""A supercell has so many atoms and so many Å along each normal, where it stays below the most."""
MOST_SITES = 3
OFF_SADDLE_A = 0.02
"""Å by which atoms are displaced, so that a relaxation can leave a saddle of high symmetry."""


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


def without(atoms: Atoms, site: int) -> Atoms:
    """Return the atoms but one."""
    return atoms[[k for k in range(len(atoms)) if k != site]]


def off_saddle(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Return atoms displaced by `OFF_SADDLE_A`."""
    moved = atoms.copy()
    moved.positions += OFF_SADDLE_A * rng.standard_normal((len(atoms), 3))
    return moved

"""Structures that show what the numbers of a model are worth: without symmetry, and next to each other."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from matgraft.core.errors import RunError
from matgraft.potentials.simulation.dynamics import box_of_motion
from matgraft.potentials.simulation.subject import Subject

FEWEST_ATOMS = 8
RATTLE_A, STRAIN = 0.05, 0.02
COPIES = 7
NEARBY_A = 1e-5
"""Å from one copy to the next."""


def distorted(atoms: Atoms, seed: int, *, strained: bool) -> Atoms:
    """Return atoms without symmetry: a smaller cell is repeated to about `FEWEST_ATOMS`, atoms are moved by 0.05 Å.

    Parameters
    ----------
    strained
        Whether the cell is strained too, each component by up to 2 %.
    """
    random = np.random.default_rng(seed)
    moved = box_of_motion(atoms, most=2 * FEWEST_ATOMS - 1) if len(atoms) < FEWEST_ATOMS else atoms.copy()
    moved.set_constraint()
    if strained:
        strain = random.uniform(-STRAIN, STRAIN, (3, 3))
        moved.set_cell(moved.cell[:] @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    moved.positions += RATTLE_A * random.standard_normal((len(moved), 3))
    return moved


def energy_noise(atoms: Atoms, subject: Subject, seed: int) -> float:
    """Return in eV by how much the energy scatters about a smooth curve, along a path too short for any other change.

    Raises
    ------
    RunError
        If an energy is not finite.
    """
    pattern = np.random.default_rng(seed).standard_normal((len(atoms), 3))
    along = np.arange(COPIES)
    copies = [atoms.copy() for _ in along]
    for k, copy in zip(along, copies, strict=True):
        copy.positions += k * NEARBY_A * pattern
    energies = np.array([float(found["energy"]) for found in subject.evaluate(copies)])
    if not np.isfinite(energies).all():
        raise RunError("the energy of the structure is not finite")
    energies -= energies.mean()
    rest = energies - np.polynomial.Polynomial.fit(along, energies, 2)(along)
    return float(np.sqrt(rest @ rest / (COPIES - 3)))

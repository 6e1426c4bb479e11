"""Atoms displaced at random that keep their distance: a Monte-Carlo rattle.

A Gaussian displacement is made in small steps, and an atom that a step brings too near to another does not take it.
Plain Gaussian displacements of the same size let atoms nearly coincide. After Eriksson, Fransson and Erhart, Adv.
Theory Simul. 2, 1800184 (2019), `mc_rattle` of hiPhive, with a sharp bound in place of a soft one.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from matgraft.core.quantities import Array
from matgraft.potentials.data.geometry import closest_pair, neighbours_within

STEPS = 10
KEPT = 0.75
"""Part of the shortest distance, by covalent radii, that no pair goes below: motion at melting keeps above it."""


def rattled(atoms: Atoms, width_A: float, rng: np.random.Generator, kept: float = KEPT) -> Atoms:
    """Return atoms displaced by `width_A` (Å) along each axis, one standard deviation; none comes too near to another.

    The centre stays where it is.

    Parameters
    ----------
    kept
        Part of the shortest distance, by covalent radii, that no pair goes below.
    """
    moved = atoms.copy()
    nearest = closest_pair(atoms, scope=3.0)[0]
    least = kept * nearest if np.isfinite(nearest) else 0.0
    for step in width_A / np.sqrt(STEPS) * rng.standard_normal((STEPS, len(atoms), 3)):
        _take(moved, step, least)
    moved.positions += (atoms.positions - moved.positions).mean(axis=0)
    return moved


def _take(moved: Atoms, step: Array, least: float) -> None:
    """Displace all atoms but those that would be too near to another.

    Each round takes back the move of an atom at least, and without moves all are apart: it ends.
    """
    before, takes = moved.positions.copy(), np.ones(len(moved), dtype=bool)
    while takes.any():
        moved.positions = before + step * takes[:, None]
        near = _too_near(moved, least) & takes
        if not near.any():
            return
        takes &= ~near
    moved.positions = before


def _too_near(atoms: Atoms, least: float) -> NDArray[np.bool_]:
    """Return (n,) whether an atom is nearer to another than so much of the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    reach = 2 * least * float(radii.max())
    if reach <= 0:
        return np.zeros(len(atoms), dtype=bool)
    centre, other, distance = neighbours_within(reach, atoms.positions, atoms.cell.complete()[:], atoms.pbc)
    near = distance < least * (radii[centre] + radii[other])
    too_near = np.zeros(len(atoms), dtype=bool)
    too_near[centre[near]] = too_near[other[near]] = True
    return too_near

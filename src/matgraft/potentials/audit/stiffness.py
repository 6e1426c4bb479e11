"""By how much labels may change when the atoms of a structure move by some thousandths of an Å.

A copy need not be exact to the last digit, and a stiff bond answers at once: in N2 the force changes by 0.29 eV/Å where
the bond changes by 0.002 Å. The stiffness k of a bond follows from its length r (Badger, J. Chem. Phys. 2, 128, 1934):

    k = 1.86 mdyn/Å / ((r - d) / Å)³

where d is a sum of one length for each of the two atoms, which depends on the row of the periodic table. Measured
constants of molecules and crystals lie below twice this value. A bond that is stretched or pressed pulls or pushes by
no more than 0.35 Å times its stiffness: repulsion falls by a factor of e in less (Born and Mayer 1932).
"""

from __future__ import annotations

import numpy as np
from ase import Atoms

from matgraft.core.quantities import Array
from matgraft.potentials.audit.same import REACH_A, lattice, nearest_apart
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.geometry import neighbours_within

NOBLE = (2, 10, 18, 36, 54, 86)
CORE_A = np.array([0.01, 0.34, 0.59, 0.65, 0.80, 0.85, 0.85])
"""Length of an atom in d, by row of the periodic table."""
BADGER_eV_A = 2 * 1.86 * 6.2415
"""Twice Badger's constant: 1 mdyn/Å is 6.2415 eV/Å²."""
CLOSEST_A = 0.2
"""Bonds shorter than d by so much or more are taken as this long beyond it, where Badger's rule has no meaning."""
DECAY_A = 0.35
"""Largest force of a bond over its stiffness."""


def bond_stiffness(Z: Array, other: Array, length: Array) -> Array:
    """Return what the stiffness of bonds does not exceed.

    Parameters
    ----------
    Z, other
        (n_bonds,) atomic numbers of the two atoms.
    length
        (n_bonds,) Å.

    Returns
    -------
    (n_bonds,) array
        eV/Å².
    """
    core = CORE_A[np.searchsorted(NOBLE, Z)] + CORE_A[np.searchsorted(NOBLE, other)]
    return np.asarray(BADGER_eV_A / np.maximum(length - core, CLOSEST_A) ** 3)


def largest_changes(first: Atoms, second: Atoms) -> dict[str, float]:
    """Return by how much the labels of two copies may differ since their neighbours lie at other distances.

    Parameters
    ----------
    first, second
        Copies in the sense of `matgraft.potentials.audit.same`.

    Returns
    -------
    dict
        Energy in eV/atom, forces in eV/Å, stress in eV/Å³.
    """
    centre, other, length = neighbours_within(REACH_A, first.positions, *lattice(first))
    stiffness = bond_stiffness(first.numbers[centre], first.numbers[other], length)
    of_atom = np.bincount(centre, stiffness, len(first))
    moved = nearest_apart(first, second)
    size = volume(first)
    return {
        "energy": DECAY_A * moved * float(of_atom.mean()) / 2,
        "forces": moved * float(of_atom.max()),
        "stress": moved * float((stiffness * length).sum()) / (2 * size) if size else 0.0,
    }

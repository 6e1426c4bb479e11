"""Random structures: a prototype, elements, a volume, a strain and a rattle, each drawn.

Lengths follow from the bond. A bond between two atoms is the sum of their covalent radii, or the part of it that the
user's own structures have, longer by 0.6 Å times the decimal logarithm of the ratio of the coordination numbers
(Pauling, J. Am. Chem. Soc. 69, 542 (1947)).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from ase import Atoms
from ase.build import bulk

from matgraft.core.frozen import Frozen
from matgraft.potentials.active.sampling.rattle import rattled
from matgraft.potentials.data.geometry import closest_pair, neighbours_within
from matgraft.potentials.simulation.deform import scaled, strained
from matgraft.potentials.simulation.dynamics import box_of_motion

ELEMENTS = ("fcc", "bcc", "sc", "hcp", "diamond")
BINARIES = ("rocksalt", "zincblende", "cesiumchloride", "wurtzite", "fluorite", "L1_2")
VOLUMES = (0.85, 1.25)
"""Between these the ratio of the volume is drawn: denser than at rest costs more than wider does."""
STRAIN = 0.03
"""Standard deviation of each component of the strain."""
MOST_ATOMS = 32
PAULING_A = 0.6
_SHELL = 1.2
"""Neighbours up to so much of the shortest distance count: in bcc the second shell, at 1.155, does."""


class Bond(Frozen):
    """The bonds of the user's own structures.

    Attributes
    ----------
    ratio
        Shortest distance over the sum of the covalent radii.
    neighbours
        Coordination number that it goes with.
    """

    ratio: float = 1.0
    neighbours: float = 4.0

    @classmethod
    def of(cls, structures: Sequence[Atoms]) -> Bond:
        """Return the median over structures; Cordero's radii and four neighbours where they have no pair of atoms."""
        found = [_bond(atoms) for atoms in structures]
        ratios, counts = [one for one, _ in found if np.isfinite(one)], [n for one, n in found if np.isfinite(one)]
        return cls(ratio=float(np.median(ratios)), neighbours=float(np.median(counts))) if ratios else cls()


def prototype(name: str, elements: Sequence[str], bond: Bond) -> Atoms:
    """Return a prototype whose bonds have their length.

    Parameters
    ----------
    name
        Of `ELEMENTS`, with one element, or of `BINARIES`, with two: A in AB, and in A2B and A3B the more frequent one.
    """
    atoms = _shape(name, elements)
    _, neighbours = _bond(atoms)
    ratio, distance = closest_pair(atoms, scope=10.0)
    wanted = distance / ratio * bond.ratio + PAULING_A * np.log10(neighbours / bond.neighbours)
    return scaled(atoms, max(wanted / distance, 0.1) ** 3)


def compositions(elements: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return every prototype with every choice of elements."""
    alone = [(name, (one,)) for one in elements for name in ELEMENTS]
    return [*alone, *((name, pair) for pair in permutations(elements, 2) for name in BINARIES)]


def distorted_supercell(atoms: Atoms, width_A: float, rng: np.random.Generator) -> Atoms:
    """Return a small supercell at a random volume, under a random strain, with rattled atoms."""
    strain = STRAIN * rng.standard_normal((3, 3))
    ratio = float(rng.uniform(*VOLUMES))
    moved = strained(scaled(box_of_motion(atoms, MOST_ATOMS), ratio), (strain + strain.T) / 2)
    return rattled(moved, width_A, rng)


def _shape(name: str, elements: Sequence[str]) -> Atoms:
    """Return a prototype of whatever size."""
    if name in ELEMENTS:
        return bulk(elements[0], name, a=4.0, **({"c": 4.0 * np.sqrt(8 / 3)} if name == "hcp" else {}))
    first, second = elements
    if name == "L1_2":
        corners = [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 0]]
        return Atoms([first] * 3 + [second], scaled_positions=corners, cell=[4.0] * 3, pbc=True)
    if name == "fluorite":
        return bulk(f"{second}{first}2", name, a=4.0)
    return bulk(f"{first}{second}", name, a=4.0)


def _bond(atoms: Atoms) -> tuple[float, float]:
    """Return the shortest distance over the sum of the covalent radii, and the mean number of neighbours near it."""
    ratio, distance = closest_pair(atoms, scope=10.0)
    if not np.isfinite(ratio):
        return ratio, 0.0
    centre, _, _ = neighbours_within(_SHELL * distance, atoms.positions, atoms.cell.complete()[:], atoms.pbc)
    return ratio, len(centre) / len(atoms)

"""How far the atoms of one frame lie from those of another, atom by atom.

Frames are prepared once (`Configuration`) and held against many (`Gallery`). Two frames are comparable if they have the
same atoms in the same order, after sorting by element, and are periodic in the same directions; the cells of periodic
frames may differ by `JUMP_STRAIN`. What the whole frame does is taken out: a translation, a rotation of the cell, and
for molecules a rotation of the atoms.

>>> separation(prepare(first), prepare(second)) < 1  # the second may follow the first in a simulation
True
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order
from scipy.spatial.distance import cdist

from matgraft.core.quantities import Array
from matgraft.potentials.data.sense import nonsense

JUMP_A = 1.0
"""A larger mean displacement parts two frames: snapshots of solids lie 0.1 to 0.5 Å apart (Si at 300 to 1518 K, Mo at
300 to 3000 K); different arrangements of atoms, half a neighbour distance and more."""
JUMP_MOLECULE_A = 0.5
"""The same for molecules, after rotation: isomers whose atoms stand in like order may lie less than 1 Å apart."""
JUMP_STRAIN = 0.05
"""A larger component of the strain between the cells parts two frames; barostats and strain series go in steps of 1 or
2 %."""
ROOM_A = 5.0
"""Å without atoms along every periodic direction: a molecule or cluster in a box, which may turn freely."""
SMALLEST_A3 = 1e-6
"""A cell of less volume has none."""
SPARSE_A3 = 25.0
"""Volume an atom above which a periodic frame may be a molecule in a box with less room than `ROOM_A`."""
BOND = 1.35
"""Atoms closer than this times the sum of their covalent radii are bonded: halfway from the bonds of a hot molecule to
its second neighbours."""
CONTACT = 1.6
"""Images of a molecule in a box are farther apart than this times the sum of the radii. Atoms of a stretched crystal
are nearer, though a few of its bonds may be too long to count."""


@dataclass(frozen=True)
class Configuration:
    """A frame prepared for comparison.

    Attributes
    ----------
    key
        What two frames must share to be comparable: periodic directions and atomic numbers in order.
    numbers
        (n_atoms,) atomic numbers, sorted; atoms of one element keep their order.
    places
        (n_atoms, 3) fractional coordinates, or centred positions in Å for molecules.
    cell
        (3, 3) Å, in the lower triangular form that no rotation changes.
    pbc
        (3,) periodic directions; none for a molecule, also for one in a large box.
    """

    key: bytes
    numbers: NDArray[np.int64]
    places: Array
    cell: Array
    pbc: NDArray[np.bool_]

    @property
    def is_molecule(self) -> bool:
        """True where a rotation of the atoms changes nothing."""
        return not self.pbc.any()


def prepare(atoms: Atoms) -> Configuration | None:
    """Sort the atoms of a frame by element, and take out its position and orientation.

    Returns None for a frame that makes no sense or has a cell without volume: it cannot be compared.
    """
    cell = atoms.cell.complete()[:]
    if nonsense(atoms) is not None or abs(np.linalg.det(cell)) < SMALLEST_A3:
        return None
    order = np.argsort(atoms.numbers, kind="stable")
    numbers = np.asarray(atoms.numbers, dtype=np.int64)[order]
    pbc = np.array(atoms.pbc, dtype=bool)
    places = np.linalg.solve(cell.T, atoms.positions[order].T).T
    if pbc.all():
        places, pbc = _out_of_its_box(numbers, places, cell, pbc)
    if pbc.any():
        lower = np.linalg.qr(cell.T)[1].T
        cell = lower * np.sign(np.diag(lower))
    else:
        places, cell = (places - places.mean(axis=0)) @ cell, np.eye(3)
    return Configuration(pbc.tobytes() + numbers.tobytes(), numbers, places, cell, pbc)


def _out_of_its_box(
    numbers: NDArray[np.int64], places: Array, cell: Array, pbc: NDArray[np.bool_]
) -> tuple[Array, NDArray[np.bool_]]:
    """Make one piece of a molecule in a box; leave a crystal, a slab or a wire as it is."""
    if np.linalg.norm(cell, axis=1).min() < ROOM_A:  # there is no room, whatever stands in it
        return places, pbc
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    whole = _with_room_around(places, heights)
    if whole is None and abs(np.linalg.det(cell)) > SPARSE_A3 * len(places):
        whole = _held_by_bonds(numbers, places, cell, heights)
    return (places, pbc) if whole is None else (whole, np.zeros(3, dtype=bool))


def _with_room_around(places: Array, heights: Array) -> Array | None:
    """Return the atoms in one piece if there is `ROOM_A` around them along every direction."""
    wrapped = places % 1.0
    ordered = np.sort(wrapped, axis=0)
    gaps = np.diff(ordered, axis=0, append=ordered[:1] + 1.0)
    if (gaps.max(axis=0) * heights < ROOM_A).any():
        return None
    widest = np.argmax(gaps, axis=0)
    return np.asarray((wrapped - ordered[(widest + 1) % len(places), range(3)]) % 1.0)


def _held_by_bonds(numbers: NDArray[np.int64], places: Array, cell: Array, heights: Array) -> Array | None:
    """Return the atoms in one piece if bonds join them all, and no atom touches one of another image."""
    radii = covalent_radii[numbers]
    if heights.min() < 2 * CONTACT * radii.max():
        return None
    apart = places[:, None] - places
    apart -= np.round(apart)
    ratio = np.linalg.norm(apart @ cell, axis=2) / (radii[:, None] + radii)
    bonded = ratio < BOND
    order, before = breadth_first_order(bonded, 0, directed=False)
    if len(order) < len(places):
        return None
    whole = np.zeros_like(places)
    for i in order[1:]:
        whole[i] = whole[before[i]] + apart[i, before[i]]
    of_other_images = np.abs(whole[:, None] - whole - apart).max(axis=2) > 0.5
    return None if (ratio[of_other_images] < CONTACT).any() else whole


class Gallery:
    """Configurations of one key to hold others against."""

    def __init__(self) -> None:
        self._places: list[Array] = []
        self._cells: list[Array] = []
        self._stacked: tuple[Array, Array] | None = None

    def __len__(self) -> int:
        """Return the number of configurations held."""
        return len(self._places)

    def add(self, one: Configuration) -> None:
        """Hold a further configuration."""
        self._places.append(one.places)
        self._cells.append(one.cell)
        self._stacked = None

    def moves(self, one: Configuration) -> Array:
        """Return (n_held, n_atoms, 3) Å, how each atom moved from the configurations held, whatever the cell did."""
        places, _ = self._arrays()
        return _turned_onto(one.places, places) if one.is_molecule else _moved(one.places, places, one.pbc) @ one.cell

    def separations(self, one: Configuration) -> Array:
        """Return (n_held,) how far a configuration is from each: below 1, it may be the next of the simulation.

        This is the larger of the mean displacement over `JUMP_A` and the strain over `JUMP_STRAIN`.
        """
        if not len(self):
            return np.empty(0)
        moved = np.linalg.norm(self.moves(one), axis=2).mean(axis=1)
        if one.is_molecule:
            return np.asarray(moved / JUMP_MOLECULE_A)
        return np.maximum(moved / JUMP_A, _strain(self._arrays()[1], one.cell) / JUMP_STRAIN)

    def _arrays(self) -> tuple[Array, Array]:
        if self._stacked is None:
            self._stacked = np.array(self._places), np.linalg.inv(np.array(self._cells))
        return self._stacked


def separation(one: Configuration | None, other: Configuration | None) -> float:
    """Return how far two frames are from each other, as `Gallery.separations` does; infinite for other atoms."""
    if one is None or other is None or one.key != other.key:
        return float("inf")
    gallery = Gallery()
    gallery.add(one)
    return float(gallery.separations(other)[0])


def _strain(inverse: Array, cell: Array) -> Array:
    """(m, 3, 3) inverse cells and a cell -> (m,) largest component of the strain."""
    return np.asarray(np.abs(inverse @ cell - np.eye(3)).max(axis=(1, 2)))


def _moved(places: Array, held: Array, pbc: NDArray[np.bool_]) -> Array:
    """(n, 3) and (m, n, 3) fractional -> (m, n, 3), shortest moves after a common shift is taken out.

    The first atom's move goes first: near half a cell, the mean of wrapped differences is no shift.
    """
    moved = places - held
    moved -= moved[:, :1]
    moved -= np.where(pbc, np.round(moved), 0.0)
    moved -= moved.mean(axis=1, keepdims=True)
    return np.asarray(moved - np.where(pbc, np.round(moved), 0.0))


def _turned_onto(places: Array, held: Array) -> Array:
    """(n, 3) and (m, n, 3) centred -> (m, n, 3) moves after the best rotation (Kabsch, Acta Cryst. A 32, 922, 1976)."""
    u, _, vt = np.linalg.svd(np.einsum("ni,mnj->mij", places, held))
    hand = np.ones((len(held), 3))
    hand[:, 2] = np.sign(np.linalg.det(u @ vt))
    return np.asarray(places @ ((u * hand[:, None, :]) @ vt) - held)


def bond_signature(one: Configuration) -> bytes:
    """Name the bonds of a molecule whatever the order of its atoms (colour refinement; Weisfeiler and Leman, 1968).

    Conformers and rotated copies of a molecule have one signature; isomers with other bonds have another.
    """
    radii = covalent_radii[one.numbers]
    near = cdist(one.places, one.places) < BOND * (radii[:, None] + radii)
    np.fill_diagonal(near, False)
    neighbours = [np.flatnonzero(row) for row in near]
    colours = [bytes([Z]) for Z in one.numbers.tolist()]
    kinds = 0
    while kinds < (kinds := len(set(colours))):
        colours = [
            blake2b(colour + b"".join(sorted(colours[j] for j in own)), digest_size=8).digest()
            for colour, own in zip(colours, neighbours, strict=True)
        ]
    return blake2b(b"".join(sorted(colours))).digest()

"""Frames that are one structure, whatever their orientation, origin, order of atoms and choice of the cell.

Two frames are the same if they can be brought onto each other such that no atom moves against another by more than a
tolerance in Å: shifted, inverted, in other vectors of the lattice, or turned with their cell. Frames that only a
symmetry of their crystal maps onto each other, such as strains along equivalent axes, count as different.

Pairs that cannot be are ruled out by the distances of each atom's nearest neighbours, which no such change alters and
which move by no more than the atoms do. Every pair that is left is confirmed atom by atom: lattices are mapped onto
each other, then the rarest surroundings, then every atom onto its image.

>>> same_structure(atoms, rotated)
True
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.geometry import complete_cell, minkowski_reduce
from numpy.typing import NDArray
from scipy.spatial import KDTree

from matgraft.core.quantities import Array
from matgraft.potentials.data.geometry import neighbours_within, reach_of

SAME_A = 0.002
"""Å by which an atom of the same structure may move against another. Positions rounded to 4 digits stay below it."""

NEIGHBOURS, REACH_A = 4, 5.0
"""Nearest neighbours by which surroundings are told, and the distance in Å that stands for one that is farther."""

_EXPECTED = 10.0  # neighbours within the first reach, so that few atoms have found less than `NEIGHBOURS`
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_SLACK = 4.0  # in tolerances: a neighbour's image moves with the atom and with the cell
_SLACK_IN_ONE_CELL = 1.5  # where cells are equal, two atoms move by no more than one tolerance against each other
_PROBES = 4  # atoms that are tried before all are


@dataclass(frozen=True, eq=False)
class _Frame:
    """Atoms in a reduced cell; directions that are not periodic have unit vectors at right angles to the others."""

    numbers: NDArray[np.int64]
    positions: Array
    cell: Array
    periodic: NDArray[np.bool_]
    surroundings: Array
    """(n, NEIGHBOURS) distances in Å of the nearest neighbours of each atom, in order."""
    written: Array
    """(n_periods, 3) periods in the order in which the file has them."""

    @cached_property
    def inverse(self) -> Array:
        return np.asarray(np.linalg.inv(self.cell))

    @cached_property
    def tree(self) -> KDTree:
        """Of fractional coordinates."""
        return KDTree(self.wrapped(self.positions), boxsize=np.where(self.periodic, 1.0, 0.0))

    @cached_property
    def kinds(self) -> Array:
        """(n, NEIGHBOURS + 1) surroundings, and the element as a length in which two elements are far apart."""
        return np.column_stack([self.surroundings, REACH_A * self.numbers])

    @cached_property
    def kinds_tree(self) -> KDTree:
        return KDTree(self.kinds)

    def wrapped(self, positions: Array) -> Array:
        """Return fractional coordinates, periodic ones in [0, 1)."""
        fractional = positions @ self.inverse
        inside = fractional - np.floor(fractional)
        return np.where(self.periodic, np.where(inside < 1.0, inside, 0.0), fractional)

    def images(self, positions: Array, within: float) -> NDArray[np.int64]:
        """Return the atom at each position, -1 where none is within so many Å."""
        bound = within * np.linalg.norm(self.inverse, axis=0).max()
        _, found = self.tree.query(self.wrapped(positions), p=np.inf, distance_upper_bound=bound)
        return np.where(found < len(self.numbers), found, -1)

    def shortest(self, vectors: Array) -> Array:
        """Return vectors less the nearest vectors of the lattice."""
        fractional = vectors @ self.inverse
        return np.asarray((fractional - np.where(self.periodic, np.round(fractional), 0.0)) @ self.cell)


class _Entry:
    """Atoms with what is found of them when they are compared, once."""

    def __init__(self, atoms: Atoms) -> None:
        self.numbers, self.positions = atoms.numbers, atoms.positions
        self.cell, self.periodic = lattice(atoms)

    @cached_property
    def surroundings(self) -> Array:
        return nearest_distances(self.positions, self.cell, self.periodic)

    @cached_property
    def ranks(self) -> Array:
        """(n, NEIGHBOURS) the surroundings sorted by kind of atom and, each column for itself, by size."""
        columns = [column[np.lexsort((column, self.numbers))] for column in self.surroundings.T]
        return np.stack(columns, axis=1)

    @cached_property
    def screen(self) -> Array:
        """Some of the ranks: nearly the same for the same structure."""
        chosen = [round(part * (len(self.numbers) - 1)) for part in _QUANTILES]
        return np.asarray(np.sort(self.surroundings, axis=0)[chosen].ravel())

    @cached_property
    def frame(self) -> _Frame:
        return _reduced(self.numbers, self.positions, self.cell, self.periodic, self.surroundings)


def same_structure(first: Atoms, second: Atoms, within: float = SAME_A) -> bool:
    """Say whether two frames are the same structure, or mirror images of each other.

    Parameters
    ----------
    within
        Å by which an atom may move against another.
    """
    return bool((first.pbc == second.pbc).all()) and _same(_Entry(first), _Entry(second), within)


def _same(first: _Entry, second: _Entry, within: float) -> bool:
    if len(first.numbers) != len(second.numbers) or (np.sort(first.numbers) != np.sort(second.numbers)).any():
        return False
    if _as_they_stand(first, second, within):
        return True
    slack = _SLACK if np.abs(first.cell - second.cell).max() > 0 else _SLACK_IN_ONE_CELL
    if np.abs(first.ranks - second.ranks).max() > slack * within:
        return False
    a, b = first.frame, second.frame
    if (a.periodic != b.periodic).any() or not _as_large(a, b, within):
        return False
    if _matches(a, b, within):
        return True
    # one crystal may stand in supercells of different shapes, which have nothing but the primitive cell in common
    least, other = _primitive(a), _primitive(b)
    return len(least.numbers) == len(other.numbers) < len(a.numbers) and _matches(least, other, within)


def group_same(frames: Sequence[Atoms], within: float = SAME_A) -> list[NDArray[np.int64]]:
    """Return groups of two frames and more that are one structure.

    Each group is a first frame with all later ones that are the same as it: not as each other, so that a series in
    small steps is not one structure.

    Returns
    -------
    list of (n,) arrays
        Positions in `frames`, ascending.
    """
    alike: dict[object, list[int]] = defaultdict(list)
    for i, atoms in enumerate(frames):
        alike[np.sort(atoms.numbers).tobytes(), atoms.pbc.tobytes()].append(i)
    groups = [group for members in alike.values() if len(members) > 1 for group in _stars(frames, members, within)]
    return sorted(groups, key=lambda group: int(group[0]))


def _stars(frames: Sequence[Atoms], members: Sequence[int], within: float) -> Iterator[NDArray[np.int64]]:
    entries = [_Entry(frames[i]) for i in members]
    points = np.stack([entry.screen for entry in entries])
    tree = KDTree(points)
    free = np.ones(len(members), dtype=bool)
    for k in range(len(members)):
        if not free[k]:
            continue
        near = tree.query_ball_point(points[k], _SLACK * within, p=np.inf, return_sorted=True)
        own = [j for j in near if j > k and free[j] and _same(entries[k], entries[j], within)]
        free[own] = False
        if own:
            yield np.array([members[j] for j in (k, *own)], dtype=np.int64)


def nearest_apart(first: Atoms, second: Atoms) -> float:
    """Return the largest difference, in Å, between the distances of nearest neighbours in two copies."""
    return float(np.abs(_Entry(first).ranks - _Entry(second).ranks).max())


def nearest_distances(positions: Array, cell: Array, periodic: NDArray[np.bool_]) -> Array:
    """Return the distances of each atom's nearest neighbours: (n, NEIGHBOURS) Å, ascending, `REACH_A` at most.

    The reach grows until every atom has found them, so that a dense cell costs no more than another.
    """
    reach = min(REACH_A, reach_of(positions, cell, periodic, _EXPECTED))
    while True:
        centre, _, distance = neighbours_within(reach, positions, cell, periodic)
        if reach >= REACH_A or np.bincount(centre, minlength=len(positions)).min() >= NEIGHBOURS:
            break
        reach = min(REACH_A, 1.4 * reach)
    order = np.lexsort((distance, centre))
    centre, distance = centre[order], distance[order]
    rank = np.arange(len(centre)) - np.searchsorted(centre, centre)
    found = np.full((len(positions), NEIGHBOURS), REACH_A)
    near = rank < NEIGHBOURS
    found[centre[near], rank[near]] = distance[near]
    return found


# --- frames in a form to compare -------------------------------------------------------------------------------------


def lattice(atoms: Atoms) -> tuple[Array, NDArray[np.bool_]]:
    """Return (3, 3) vectors and which of them are periods; the others are unit vectors at right angles to those."""
    periodic = atoms.pbc & (np.linalg.norm(atoms.cell[:], axis=1) > 0)
    return np.asarray(complete_cell(np.where(periodic[:, None], atoms.cell[:], 0.0))), periodic


def _reduced(
    numbers: NDArray[np.int64], positions: Array, cell: Array, periodic: NDArray[np.bool_], surroundings: Array
) -> _Frame:
    """Return a frame with the shortest vectors of its lattice."""
    written = cell[periodic]
    if periodic.any():
        cell = complete_cell(np.where(periodic[:, None], minkowski_reduce(cell, periodic)[0], 0.0))
    return _Frame(numbers, np.asarray(positions, dtype=float), np.asarray(cell), periodic, surroundings, written)


def _primitive(frame: _Frame) -> _Frame:
    """Return a crystal in its primitive cell; the frame itself where no two atoms have like surroundings."""
    if not frame.periodic.all() or len(_rarest(frame, frame, SAME_A)[1]) < 2:
        return frame
    crystal: Any = (frame.cell, frame.positions @ frame.inverse, frame.numbers)
    found = spglib.standardize_cell(crystal, to_primitive=True, no_idealize=True, symprec=SAME_A)
    if found is None:
        return frame
    cell, numbers = np.array(found[0]), np.array(found[2])
    positions = np.array(found[1]) @ cell
    small = _reduced(numbers, positions, cell, frame.periodic, nearest_distances(positions, cell, frame.periodic))
    return replace(small, written=small.written[:0])  # no file has written these


def _as_large(a: _Frame, b: _Frame, within: float) -> bool:
    """Compare the volumes of the cells, as far as vectors that are off by `within` let them differ."""
    volumes = [abs(np.linalg.det(frame.cell)) for frame in (a, b)]
    shortest = np.linalg.norm(a.cell[a.periodic], axis=1).min(initial=np.inf)
    return bool(abs(volumes[0] / volumes[1] - 1) <= 2 * _SLACK * within / shortest)


def _as_they_stand(first: _Entry, second: _Entry, within: float) -> bool:
    """Say whether two frames differ by a shift alone: atoms in one order, in one cell."""
    if (first.numbers != second.numbers).any() or np.abs(first.cell - second.cell).max() > within:
        return False
    moved = second.positions - first.positions
    fractional = np.linalg.solve(first.cell.T, (moved - moved[0]).T).T
    return _rigid((fractional - np.where(first.periodic, np.round(fractional), 0.0)) @ first.cell, within)


def _rigid(moved: Array, within: float) -> bool:
    """Say whether atoms move as one: the diagonal of the box that holds all displacements is at most `within` Å."""
    return float(np.linalg.norm(np.ptp(moved, axis=0))) <= within


# --- maps ------------------------------------------------------------------------------------------------------------


def _matches(a: _Frame, b: _Frame, within: float) -> bool:
    anchor, images = _rarest(a, b, within)
    return bool(len(images)) and any(_maps(a, b, turn, anchor, images, within) for turn in _isometries(a, b, within))


def _maps(a: _Frame, b: _Frame, rotation: Array, anchor: int, images: NDArray[np.int64], within: float) -> bool:
    """Say whether a rotation and the shift of an atom onto one of its images bring every atom onto one of the other."""
    turned = a.positions @ rotation.T
    shifts = b.positions[images] - turned[anchor]
    probes = np.arange(min(_PROBES, len(turned)))
    tried = (turned[probes] + shifts[:, None]).reshape(-1, 3)
    found = b.images(tried, 2 * within).reshape(len(shifts), -1)
    fits = ((found >= 0) & (b.numbers[found] == a.numbers[probes])).all(axis=1)
    return any(_covers(a, b, turned + shift, within) for shift in shifts[fits])


def _covers(a: _Frame, b: _Frame, positions: Array, within: float) -> bool:
    found = b.images(positions, 2 * within)
    if (found < 0).any() or (b.numbers[found] != a.numbers).any() or len(np.unique(found)) < len(found):
        return False
    return _rigid(b.shortest(positions - b.positions[found]), within)


def _rarest(a: _Frame, b: _Frame, within: float) -> tuple[int, NDArray[np.int64]]:
    """Return the atom of one frame whose kind and surroundings the fewest atoms of the other have, and those."""
    reach = _SLACK * within
    anchor = int(np.argmin(b.kinds_tree.query_ball_point(a.kinds, reach, p=np.inf, return_length=True)))
    return anchor, np.array(b.kinds_tree.query_ball_point(a.kinds[anchor], reach, p=np.inf), dtype=np.int64)


def _isometries(a: _Frame, b: _Frame, within: float) -> Iterator[Array]:
    """Yield (3, 3) rotations, mirrored ones too, that may map one frame onto the other."""
    periods = int(a.periodic.sum())
    if periods == 0:
        yield from _turns_of_molecules(a, b, within)
    elif periods == 1:
        yield np.eye(3)  # a wire is not turned about its axis
    else:
        yield from _turns_of_lattices(a, b, within)


def _turns_of_lattices(a: _Frame, b: _Frame, within: float) -> Iterator[Array]:
    """Leave a frame as it stands, in whatever vectors, or turn it with the periods of the file in their order.

    Frames that are strained or displaced along equivalent directions of one crystal are different rows of a series, and
    not copies: other turns, which only the symmetry of a lattice allows, are not tried.
    """
    turns = [np.eye(3)] if _generates(b.cell[b.periodic], a.cell[a.periodic], within) else []
    if len(a.written) and len(b.written):
        turns += [turn for turn in _turns(a.written, b.written, within) if not any(map(partial(_equal, turn), turns))]
    for sign in (1.0, -1.0):
        yield from (sign * turn for turn in turns)


def _equal(rotation: Array, other: Array) -> bool:
    return bool(np.abs(rotation - other).max() < 1e-9)


def _generates(vectors: Array, others: Array, within: float) -> bool:
    """Say whether vectors are a basis of the lattice of others, off by so many Å at most."""
    numbers = np.round(others @ np.linalg.pinv(vectors))
    off = np.linalg.norm(numbers @ vectors - others, axis=1).max()
    return bool(off <= within and abs(abs(np.linalg.det(numbers)) - 1) < 0.5)


def _turns(vectors: Array, images: Array, within: float) -> Iterator[Array]:
    """Yield the rotations that map vectors onto their images; two vectors leave the side of their plane open."""
    if len(vectors) == 3:
        ends = [(vectors, images)]
    else:
        normals = [np.cross(*pair) / np.linalg.norm(np.cross(*pair)) for pair in (vectors, images)]
        ends = [(np.vstack([vectors, normals[0]]), np.vstack([images, sign * normals[1]])) for sign in (1.0, -1.0)]
    for start, end in ends:
        rotation = _nearest_rotation(start, end)
        if np.linalg.norm(start @ rotation.T - end, axis=1).max() <= within:
            yield rotation


def _nearest_rotation(start: Array, end: Array) -> Array:
    """Return the (3, 3) rotation, mirrored if that is nearer, that maps rows onto rows best (Kabsch 1976)."""
    left, _, right = np.linalg.svd(end.T @ start)
    return np.asarray(left @ right)


def _turns_of_molecules(a: _Frame, b: _Frame, within: float) -> Iterator[Array]:
    """Map an atom, and one that is not in line with it, onto atoms of their kind at their distance from the centre."""
    own, other = a.positions - a.positions.mean(axis=0), b.positions - b.positions.mean(axis=0)
    far, distances = np.linalg.norm(own, axis=1), np.linalg.norm(other, axis=1)
    if far.max() <= within:  # one atom
        yield np.eye(3)
        return
    first = int(np.argmax(far))
    axis = own[first] / far[first]
    off = np.linalg.norm(own - np.outer(own @ axis, axis), axis=1)
    second = int(np.argmax(off))
    for i in _alike(a, b, first, far, distances, within):
        if off[second] <= 10 * within:  # a linear molecule
            yield _nearest_rotation(own[[first]], other[[i]])
            continue
        for j in _alike(a, b, second, far, distances, within):
            apart = np.linalg.norm(other[i] - other[j]) - np.linalg.norm(own[first] - own[second])
            if abs(apart) <= 2 * within:
                yield from _turns(own[[first, second]], other[[i, j]], 2 * within)


def _alike(a: _Frame, b: _Frame, atom: int, far: Array, distances: Array, within: float) -> NDArray[np.int64]:
    return np.flatnonzero((b.numbers == a.numbers[atom]) & (np.abs(distances - far[atom]) <= 2 * within))

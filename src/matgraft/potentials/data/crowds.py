"""How densely atoms lie, and how many neighbours that makes, without a neighbour list.

>>> place = Place.of(atoms)                       # inside one period
>>> place.room                                    # Å³ for an atom, where it is densest
>>> place.counts(6.0).mean()                      # neighbours of an atom within 6 Å, images too
>>> expected_bytes(place, Cost(6.0, 16_000))

A neighbour list takes time and memory by its pairs; where cells are a thousand times too dense, it never ends. Here
neighbours of some atoms are counted, spread over the structure: exact up to `CENTRES` atoms, an estimate beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import KDTree

from matgraft.core.quantities import Array
from matgraft.potentials.data.boxes import box_vectors

CENTRES = 128
"""Atoms whose neighbours are counted: of silicon with a dense cluster in it, the sum is right within a fifth."""
CUBE_A = 2.0
"""Å, edge of the cubes in which atoms are counted: a dense cluster is found in whatever vacuum it stands."""
_CORNERS = np.array(list(product((0, 1), repeat=3)), dtype=np.int64)


class StructureBytes(NamedTuple):
    """Bytes that a family of models takes for one structure, at the peak of a prediction with forces.

    Attributes
    ----------
    cutoff_A, pair
        Å within which atoms are neighbours, and bytes for each pair of an atom and a neighbour.
    angle_A, angle
        Å within which two neighbours of an atom make an angle, and bytes for each ordered angle; 0 without angles.
    """

    cutoff_A: float
    pair: float
    angle_A: float = 0.0
    angle: float = 0.0

    def of_atom(self, near: Any, at_angles: Any) -> Any:
        """Return the bytes for an atom with so many neighbours, and so many that make angles."""
        return near * self.pair + at_angles * (at_angles - 1) * self.angle


@dataclass(frozen=True, eq=False)
class WrappedAtoms:
    """Atoms within one period of their box.

    Attributes
    ----------
    positions
        (n, 3) Å.
    vectors, periodic
        (3, 3) Å and (3,), see `boxes.box_vectors`.
    """

    positions: Array
    vectors: Array
    periodic: NDArray[np.bool_]

    @classmethod
    def of(cls, atoms: Atoms) -> WrappedAtoms:
        """Return where the atoms of a structure lie.

        Raises
        ------
        ValueError
            If the cell is not finite, or its periodic vectors are not independent.
        """
        vectors, periodic = box_vectors(atoms.cell[:], atoms.pbc, atoms.positions, 0.0)
        away = np.where(periodic, np.floor(np.linalg.solve(vectors.T, atoms.positions.T).T), 0.0)
        return cls(atoms.positions - away @ vectors, vectors, periodic)

    @cached_property
    def heights(self) -> Array:
        """(3,) Å between the planes that each vector leads to."""
        return np.asarray(1 / np.linalg.norm(np.linalg.inv(self.vectors), axis=0))

    @cached_property
    def extent(self) -> Array:
        """(3,) Å of the smallest upright box around the atoms."""
        return np.asarray(np.ptp(self.positions, axis=0))

    @cached_property
    def crowd(self) -> int:
        """Most atoms in a cube of 2 Å, of those whose corners lie on a grid of 1 Å."""
        bins = np.floor(self.positions - self.positions.min(axis=0)).astype(np.int64) + 1
        occupied, counts = np.unique(bins @ _strides(bins), return_counts=True)
        cubes = (occupied[:, None] - _CORNERS @ _strides(bins)).ravel()
        return int(np.bincount(np.unique(cubes, return_inverse=True)[1], np.repeat(counts, 8)).max())

    @cached_property
    def room(self) -> float:
        """Å³ for an atom, in the whole cell or in the densest cube."""
        room = CUBE_A**3 / self.crowd
        return min(room, abs(float(np.linalg.det(self.vectors))) / len(self.positions)) if self.periodic.all() else room

    def nearest(self, reach: float) -> float:
        """Return the shortest distance of two atoms (Å) if it is less than `reach`, half a height at most; else inf."""
        points, inverse = self.positions, np.linalg.inv(self.vectors)
        for axis in np.flatnonzero(self.periodic):
            inward = points @ inverse[:, axis] * self.heights[axis]
            points = np.concatenate([points, points[inward < reach] + self.vectors[axis]])
        if len(points) < 2:
            return float("inf")
        return float(KDTree(points).query(points, k=2, distance_upper_bound=reach)[0][:, 1].min())

    def counts(self, reach: float) -> NDArray[np.int64]:
        """Return for some atoms, spread over the structure, how many neighbours they have within so many Å."""
        n = len(self.positions)
        bins = np.floor(self.positions / CUBE_A).astype(np.int64)
        some = np.lexsort(bins.T)[np.linspace(0, n - 1, min(n, CENTRES)).astype(int)]
        seen = (self.positions[some][:, None] - self._images(reach)).reshape(-1, 3)
        low, high = self.positions.min(axis=0) - reach, self.positions.max(axis=0) + reach
        near = np.flatnonzero(((seen >= low) & (seen <= high)).all(axis=1))
        found = np.zeros(len(seen), dtype=np.int64)
        found[near] = KDTree(self.positions).query_ball_point(seen[near], reach, return_length=True)
        return found.reshape(len(some), -1).sum(axis=1) - 1

    def _images(self, reach: float) -> Array:
        """Return the (m, 3) Å by which images are away that may have atoms within reach of the structure's own."""
        within = np.floor(reach / self.heights + 1).astype(int) * self.periodic
        steps = np.stack(np.meshgrid(*(np.arange(-k, k + 1) for k in within), indexing="ij"), axis=-1).reshape(-1, 3)
        away = steps @ self.vectors
        return np.asarray(away[np.linalg.norm(away, axis=1) <= reach + np.linalg.norm(self.extent)])


def _strides(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what makes one number of the three of a cube."""
    wide = bins.max(axis=0) + 1
    return np.array([1, wide[0], wide[0] * wide[1]], dtype=np.int64)


def crowded_frames(
    positions: Array, counts: NDArray[np.int64], cells: Array, periodic: NDArray[np.bool_], reach: float
) -> NDArray[np.bool_]:
    """Return (n_frames,) which frames have two atoms nearer than `reach`, images too; all frames in one tree.

    Parameters
    ----------
    positions, counts
        (n_atoms, 3) Å of all frames, one after another, and (n_frames,) atoms of each.
    cells, periodic
        (n_frames, 3, 3) Å, and (n_frames,) which repeat in all directions. Those are `2 * reach` high or more.
    reach
        Å.
    """
    frames = np.repeat(np.arange(len(counts)), counts)
    vectors = np.where(periodic[:, None, None], cells, np.eye(3))
    inverse, repeats = np.linalg.inv(vectors), periodic[frames]
    away = np.where(repeats[:, None], np.floor(_in_frames(positions, inverse[frames])), 0.0)
    points = own = positions - _in_frames(away, vectors[frames])
    of, margins = frames, reach * np.linalg.norm(inverse, axis=1)  # `reach` in fractions of each height
    for axis in range(3):
        inward = np.einsum("ni,ni->n", points, inverse[of, :, axis])
        near = periodic[of] & (inward < margins[of, axis])
        points = np.concatenate([points, points[near] + vectors[of[near], axis]])
        of = np.concatenate([of, of[near]])
    if len(points) < 2:
        return np.zeros(len(counts), dtype=bool)
    apart = 10 * reach  # a fourth axis keeps the frames away from one another
    tree = KDTree(np.column_stack([points, of * apart]), balanced_tree=False)
    nearest = tree.query(np.column_stack([own, frames * apart]), k=2, distance_upper_bound=reach)[0][:, 1]
    return np.isin(np.arange(len(counts)), frames[np.isfinite(nearest)])


def _in_frames(rows: Array, matrices: Array) -> Array:
    """Return each row (n, 3) times its own matrix (n, 3, 3)."""
    return np.einsum("ni,nij->nj", rows, matrices)


def expected_bytes(place: WrappedAtoms, cost: StructureBytes) -> float:
    """Return about how many bytes a structure takes."""
    near = place.counts(cost.cutoff_A)
    at_angles = place.counts(cost.angle_A) if cost.angle else near
    return len(place.positions) * float(np.mean(cost.of_atom(near, at_angles)))


def most_bytes(place: WrappedAtoms, cost: StructureBytes) -> float:
    """Return, quickly, how many bytes a structure takes at most: as if all were as dense as its densest cube."""
    near, at_angles = (
        4 / 3 * np.pi * (reach + np.sqrt(3) * CUBE_A) ** 3 / place.room for reach in (cost.cutoff_A, cost.angle_A)
    )
    return len(place.positions) * float(cost.of_atom(near, at_angles))


def evenly_spread_bytes(atoms: Atoms, cost: StructureBytes) -> float:
    """Return, at once, about how many bytes a structure takes if its atoms are spread evenly; 0 for a flat cell."""
    n, sizes = len(atoms), np.ptp(atoms.positions, axis=0) + 2 * cost.cutoff_A
    volume = abs(float(np.linalg.det(atoms.cell.array))) if atoms.pbc.all() else float(np.prod(sizes))
    if not volume > 0:
        return 0.0
    near, at_angles = (4 / 3 * np.pi * reach**3 * n / volume for reach in (cost.cutoff_A, cost.angle_A))
    return n * float(cost.of_atom(near, at_angles))

"""Near-duplicates: frames so alike that one in training gives away the other in the test.

A frame is described by its coordination numbers as a function of distance: for each ordered pair of elements (a, b),
how many b lie within r of an a, averaged over the atoms a, and the spread of that number over them. Translation,
rotation, the order of the atoms and the choice of the cell leave it unchanged. The area between two such curves over
the number of neighbours is how far the neighbours would have to move on average, in Å (the Wasserstein distance of two
distributions on a line): a threshold on it has a meaning.

>>> overlap = near_duplicates(dataset, {"train": train, "test": test})[0]
>>> overlap.frames, overlap.pairs  # test frames with a near duplicate in training; such pairs
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres
from scipy.spatial.distance import cdist

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.potentials.data.sample import Sample

CUTOFF_A = 6.0
STEP_A = 0.05
N_STEPS = round(CUTOFF_A / STEP_A) + 1

NEAR_A = 0.015
"""Frames closer than this are near-duplicates, in Å per neighbour: snapshots of one simulation are, copies strained by
2 % are not (calibration in `docs/splits.md`)."""

COMPARED = 5000
"""Frames of a part that are compared; of more, so many evenly spread. Pairs grow as the square: 5,000 frames against as
many take 10 s for one element, 40 s for two, and some 10 kB each in memory."""

ROWS = 200  # of a distance matrix at a time: five arrays of 8 MB against 5,000 frames


@dataclass(frozen=True)
class Fingerprint:
    """What `coordination_fingerprint` found of one frame.

    Attributes
    ----------
    formula
        Reduced formula; only frames of one formula are compared.
    mean, spread
        (n_elements² x N_STEPS,) coordination numbers on a grid of distances up to `CUTOFF_A`, and their standard
        deviation over the atoms; weighted by the share of the central element.
    neighbours
        Average number of neighbours within the cutoff.
    """

    formula: str
    mean: Array
    spread: Array
    neighbours: float


class Overlap(Frozen):
    """How much of one part has a near duplicate in another.

    Attributes
    ----------
    part, against
        Names of the two parts.
    size
        Frames in `part`.
    frames
        Positions of the frames of `part` that have a near duplicate in `against`.
    pairs
        Number of such pairs.
    closer_than_A
        The threshold, in Å per neighbour.
    among
        Which frames were compared, where it was not all of both parts; empty otherwise.
    neighbours
        Positions of the frames of `part` whose displacements are correlated with those of a frame of `against`: the two
        are neighbours in time (`matgraft.potentials.data.kin`).
    unclear
        Positions of the frames of `part` that show the same atoms about the same places as a frame of `against`, where
        it cannot be told whether they are neighbours in time.
    """

    part: str
    against: str
    size: int
    frames: tuple[int, ...]
    pairs: int
    closer_than_A: float = NEAR_A
    among: str = ""
    neighbours: tuple[int, ...] = ()
    unclear: tuple[int, ...] = ()

    def describe(self) -> str:
        """One line for screens and reports."""
        found = (
            f"{len(self.frames)} of {self.size} {self.part} frames have a near duplicate in {self.against} "
            f"({self.pairs} pairs closer than {self.closer_than_A:g} Å per neighbour)"
        )
        return f"{found}, at least: compared were {self.among}" if self.among else found

    def describe_neighbours(self) -> str:
        """Say in one line how many frames are neighbours in time of a frame of the other part."""
        return (
            f"{len(self.neighbours)} of {self.size} {self.part} frames are neighbours in time of a frame in "
            f"{self.against}: their atoms are displaced alike, beyond chance"
        )


def reduced_formula(atoms: Atoms) -> str:
    """Return the composition in lowest terms, elements by atomic number: ``O2Si1`` for any cell of quartz."""
    numbers, counts = np.unique(atoms.numbers, return_counts=True)
    divisor = gcd(*map(int, counts)) or 1
    return "".join(f"{chemical_symbols[Z]}{n // divisor}" for Z, n in zip(numbers, counts, strict=True))


def coordination_fingerprint(atoms: Atoms) -> Fingerprint:
    """Describe a frame by its coordination numbers.

    Distances are dealt linearly onto the two nearest grid points, so that the curve is continuous in the positions: an
    ideal crystal, whose shells may lie on a grid point, is not at the mercy of rounding.
    """
    elements, kind = np.unique(atoms.numbers, return_inverse=True)
    n, n_elements = len(atoms), len(elements)
    centre, other, distance = _neighbours(atoms, CUTOFF_A + STEP_A)
    position = distance / STEP_A
    lower = np.floor(position).astype(int)
    upper_share = position - lower
    cell = (centre * n_elements + kind[other]) * (N_STEPS + 2) + lower
    size = n * n_elements * (N_STEPS + 2)
    count = np.bincount(cell, 1 - upper_share, size) + np.bincount(cell + 1, upper_share, size)
    within = count.reshape(n, n_elements, N_STEPS + 2).cumsum(axis=-1)[..., :N_STEPS]
    shares = np.bincount(kind) / max(n, 1)
    by_element = [within[kind == k] for k in range(n_elements)]
    mean = [share * rows.mean(axis=0).ravel() for share, rows in zip(shares, by_element, strict=True)]
    spread = [share * rows.std(axis=0).ravel() for share, rows in zip(shares, by_element, strict=True)]
    neighbours = float(within[..., -1].sum() / max(n, 1))
    return Fingerprint(reduced_formula(atoms), np.concatenate(mean), np.concatenate(spread), neighbours)


def close_pairs(
    first: Sequence[Fingerprint], second: Sequence[Fingerprint], closer_than: float = NEAR_A
) -> Iterator[NDArray[np.int64]]:
    """Find the pairs of frames that are near-duplicates.

    Yields
    ------
    (n_pairs, 2) int
        Positions in `first` and in `second`; in pieces, since a long simulation has as many pairs as frames squared.
        A frame compared with itself is a pair.
    """
    by_formula = _positions_by_formula(second)
    for formula, left in _positions_by_formula(first).items():
        if right := by_formula.get(formula):
            for rows, distances in _distances(first, left, second, right):
                i, j = np.nonzero(distances < closer_than)
                yield np.column_stack([np.array(rows)[i], np.array(right)[j]])


def nearest_positions(first: Sequence[Fingerprint], second: Sequence[Fingerprint]) -> list[int]:
    """Return for each of `first` the position of the nearest in `second`; all must have one formula."""
    rows = _distances(first, list(range(len(first))), second, list(range(len(second))))
    return [int(k) for _, distances in rows for k in distances.argmin(axis=1)]


def frame_distance(first: Atoms, second: Atoms) -> float:
    """Return how far apart two frames are, in Å per neighbour; infinite if their compositions differ."""
    a, b = coordination_fingerprint(first), coordination_fingerprint(second)
    if a.formula != b.formula:
        return float("inf")
    return float(next(_distances([a], [0], [b], [0]))[1][0, 0])


def evenly(positions: Sequence[int], most: int) -> list[int]:
    """Return the positions, or `most` of them evenly spread."""
    if len(positions) <= most:
        return list(positions)
    return [positions[int(k)] for k in np.linspace(0, len(positions) - 1, most)]


def near_duplicates(samples: Sequence[Sample], parts: Mapping[str, Sequence[int]]) -> tuple[Overlap, ...]:
    """Count near-duplicates across parts, of large parts among `COMPARED` frames evenly spread.

    Parameters
    ----------
    samples
        Frames.
    parts
        Name -> positions in `samples`, the part that is learned from first.

    Returns
    -------
    tuple of Overlap
        One for each pair of parts, the later against the earlier.
    """
    chosen = {name: evenly(positions, COMPARED) for name, positions in parts.items()}
    prints = {
        i: coordination_fingerprint(samples[i].content) for i in sorted({i for own in chosen.values() for i in own})
    }
    names = list(parts)
    couples = [(part, against) for k, part in enumerate(names) for against in names[:k]]
    return tuple(_overlap(prints, parts, chosen, part, against) for part, against in couples)


Positions = Mapping[str, Sequence[int]]
"""Name of a part -> positions of its frames."""


def _overlap(
    prints: Mapping[int, Fingerprint], parts: Positions, chosen: Positions, part: str, against: str
) -> Overlap:
    n_pairs, frames = 0, set()
    for pairs in close_pairs([prints[i] for i in chosen[part]], [prints[i] for i in chosen[against]]):
        n_pairs += len(pairs)
        frames |= {int(chosen[part][k]) for k in np.unique(pairs[:, 0])}
    counts = [f"{len(chosen[name])} of {len(parts[name])} {name} frames" for name in (part, against)]
    whole = all(len(chosen[name]) == len(parts[name]) for name in (part, against))
    return Overlap(
        part=part,
        against=against,
        size=len(parts[part]),
        frames=tuple(sorted(frames)),
        pairs=n_pairs,
        among="" if whole else " and ".join(counts),
    )


def _neighbours(atoms: Atoms, cutoff: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """All pairs (centre, other) with their distance, over periodic images; an atom is no neighbour of itself."""
    positions = np.ascontiguousarray(atoms.positions, dtype=float)
    cell = np.ascontiguousarray(atoms.cell.complete()[:], dtype=float)
    periodic = np.array(atoms.pbc, dtype=np.int64)
    centre, other, _, distance = find_points_in_spheres(positions, positions, cutoff, periodic, cell, tol=1e-8)
    apart = distance > 1e-8
    return centre[apart], other[apart], distance[apart]


def _positions_by_formula(prints: Iterable[Fingerprint]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for position, print_ in enumerate(prints):
        found[print_.formula].append(position)
    return found


def _distances(
    first: Sequence[Fingerprint], left: list[int], second: Sequence[Fingerprint], right: list[int]
) -> Iterator[tuple[list[int], Array]]:
    """Yield rows of the distance matrix: the larger of the areas between the means and between the spreads."""
    against = {name: np.stack([getattr(second[j], name) for j in right]) for name in ("mean", "spread")}
    neighbours = np.array([second[j].neighbours for j in right])
    for start in range(0, len(left), ROWS):
        rows = left[start : start + ROWS]
        areas = [
            cdist(np.stack([getattr(first[i], name) for i in rows]), columns, "cityblock") * STEP_A
            for name, columns in against.items()
        ]
        counts = (np.array([first[i].neighbours for i in rows])[:, None] + neighbours) / 2
        yield rows, np.maximum(*areas) / np.maximum(counts, 1.0)

"""Which frames a model has seen, known by their structure: whatever their labels, their tags and the file.

    known = fingerprints(train)         # what seen.json holds
    is_among(dataset, known)            # (n_frames,) bool
    kinds(dataset)                      # elements and periodicity of each frame, as a hash

A fingerprint is a few lengths. They depend neither on the order of the atoms nor on the image of the cell in which an
atom stands. Seven are sums over the atoms of waves that the cell repeats, each along another direction. Each sum takes
many wavelengths, since the long ones cancel where a supercell holds the same displacement many times.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import KDTree

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.potentials.data.dataset import Dataset

Fingerprints = Mapping[str, Sequence[Sequence[float]]]
"""Elements and periodicity, as a hash -> fingerprints (Å) of the frames that have them."""

SAME_A = 3e-4
"""Fingerprints that agree to this (Å) are equal. The five digits of an OUTCAR move those of 1000 atoms by half as much,
one atom displaced by 0.01 Å moves them by ten times as much."""

_DIRECTIONS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
_HARMONICS = np.arange(1, 13)
_PHASES = 2.4 * np.arange(len(_DIRECTIONS))[:, None] + np.pi * _HARMONICS**2 / len(_HARMONICS)
"""They grow with the square of the harmonic, so that no place is flat for all waves of a sum (Schroeder, IEEE
Transactions on Information Theory 16, 85 (1970))."""
_OPEN_A = 37.7
"""Period of the waves where the structure has none."""
_MIXED = np.array([0.41, 0.53, 0.74])
"""The three coordinates of a cell vector as one length."""


class SeenFrames(Frozen):
    """What a fit has seen.

    Attributes
    ----------
    train, validation
        Fingerprints of the frames of each part.
    """

    train: Fingerprints
    validation: Fingerprints

    @property
    def parts(self) -> tuple[Fingerprints, Fingerprints]:
        """Both parts."""
        return self.train, self.validation


def fingerprints(dataset: Dataset) -> dict[str, list[list[float]]]:
    """Return the fingerprints of all frames."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for sample in dataset:
        found[_kind(sample.content)].append([round(float(value), 5) for value in _fingerprint(sample.content)])
    return dict(found)


def is_among(dataset: Dataset, known: Fingerprints) -> NDArray[np.bool_]:
    """Say of each frame whether a known one has its elements, periodicity, cell and positions."""
    trees = {kind: KDTree(np.asarray(rows, dtype=float)) for kind, rows in known.items()}
    return np.array(
        [
            kind in trees
            and np.isfinite(trees[kind].query(_fingerprint(atoms), p=np.inf, distance_upper_bound=SAME_A)[0])
            for atoms in (sample.content for sample in dataset)
            for kind in [_kind(atoms)]
        ],
        dtype=bool,
    )


def repeats(dataset: Dataset) -> NDArray[np.bool_]:
    """Say of each frame whether one before it has its elements, periodicity, cell and positions."""
    found = np.zeros(len(dataset), dtype=bool)
    rows = [_fingerprint(sample.content) for sample in dataset]
    members: dict[str, list[int]] = defaultdict(list)
    for i, kind in enumerate(kinds_of_frames(dataset)):
        members[kind].append(i)
    for own in map(np.array, members.values()):
        tree = KDTree(np.array([rows[i] for i in own]))
        for k, i in enumerate(own):
            if not found[i]:
                same = own[tree.query_ball_point(rows[i], SAME_A, p=np.inf)]
                found[same[same > own[k]]] = True
    return found


def kinds_of_frames(dataset: Dataset) -> list[str]:
    """Return the elements and the periodicity of each frame, as a hash: frames of one simulation have the same."""
    return [_kind(sample.content) for sample in dataset]


def _kind(atoms: Atoms) -> str:
    digest = hashlib.sha256(np.sort(np.asarray(atoms.numbers, dtype=np.int64)).tobytes())
    digest.update(np.asarray(atoms.pbc, dtype=bool).tobytes())
    return digest.hexdigest()[:16]


def _fingerprint(atoms: Atoms) -> Array:
    """Return (10,) lengths in Å: seven of the positions, three of the cell."""
    cell = atoms.cell.copy()
    cell[~atoms.pbc] = 0.0
    vectors = np.where(atoms.pbc[:, None], cell[:], _OPEN_A * cell.complete()[:])
    waves = _DIRECTIONS @ np.linalg.pinv(vectors).T  # (7, 3), 1/Å
    phases = 2 * np.pi * atoms.positions @ waves.T + 0.9 * atoms.numbers[:, None]  # (n_atoms, 7)
    steep = 2 * np.pi * np.linalg.norm(waves, axis=1)[:, None] * _HARMONICS * np.sqrt(len(_HARMONICS))
    sums = np.sin(phases[:, :, None] * _HARMONICS + _PHASES).sum(0) / steep
    return np.concatenate([sums.sum(1), cell[:] @ _MIXED])

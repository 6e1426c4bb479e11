"""Which frames a model has seen, known by their structure: whatever their labels, tags and the file they stand in."""

from __future__ import annotations

import hashlib

import numpy as np

from matgraft.data.dataset import Dataset, Sample
from matgraft.quantities import Array

STEP_A = 1e-3
"""Positions and cells that agree to this (Å) are equal: files of eight digits do, frames of one simulation do not."""
_OFFSET = np.pi / 10  # of the grid, in steps: no number of few digits, such as a quarter of 5.43, lies on an edge


def structure_keys(dataset: Dataset) -> list[str]:
    """Return a key for each frame, equal for equal elements, positions, cell and periodicity."""
    return [_key(sample) for sample in dataset]


def _key(sample: Sample) -> str:
    atoms = sample.content
    digest = hashlib.sha256(np.asarray(atoms.numbers, dtype=np.int64).tobytes())
    digest.update(np.asarray(atoms.pbc, dtype=bool).tobytes())
    for lengths in (atoms.positions, atoms.cell[:]):
        digest.update(_on_grid(lengths).tobytes())
    return digest.hexdigest()[:16]


def _on_grid(lengths: Array) -> np.ndarray:
    return np.floor(np.asarray(lengths, dtype=float) / STEP_A + _OFFSET).astype(np.int64)

"""The rows of the training atoms: whitened, thinned, and how far each simulation is from the others.

Rows are whitened by their covariance within each element: an element with `ENOUGH` rows for each column has its own,
all others share one. Directions in which training atoms hardly differ count as if they differed by `RIDGE` of the mean
variance; else rounding would be taken for distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matgraft.core.quantities import Array
from matgraft.core.statistics import Units
from matgraft.potentials.models.uncertainty import Known
from matgraft.potentials.uncertainty.rows import FrameRows

RIDGE = 1e-2
"""Of the mean variance of a column."""
ENOUGH = 10
"""Rows for each column from which a covariance is an element's own: its smallest eigenvalues are then right to a third
(Marchenko-Pastur)."""
MOST_ROWS = 8000
"""Rows that are kept in all: nearest neighbours among them cost a small part of a force call."""
MOST_OF_ONE = 3000
"""Rows that are kept of one element."""


@dataclass(frozen=True)
class Grouped:
    """Known rows with the group (m,) that each comes from."""

    known: Known
    groups: Units

    def held_out(self, frame: FrameRows, group: int) -> Array:
        """Return (n,) distances of a training frame's atoms from the known rows of all other groups."""
        others = self.groups != group
        known = self.known
        reduced = Known(
            known.centre, known.numbers, known.whitening, known.map_of, known.rows[others], known.rows_of[others]
        )
        return reduced.distances(frame.rows, frame.numbers)


def fit_known(frames: Sequence[FrameRows], groups: Units, seed: int) -> Grouped:
    """Whiten the rows of training frames, and keep some of them.

    Parameters
    ----------
    groups
        (n_frames,) number of the simulation of each frame.
    seed
        Of the choice of rows, where there are more than are kept.
    """
    rows = np.concatenate([frame.rows for frame in frames]).astype(float)
    numbers = np.concatenate([frame.numbers for frame in frames])
    of_group = np.repeat(groups, [len(frame.rows) for frame in frames])
    centre = rows.mean(0)
    rows -= centre
    elements = np.unique(numbers)
    whitening, map_of = _whitening(rows, numbers, elements)
    rng = np.random.default_rng(seed)
    most = min(MOST_OF_ONE, max(1, MOST_ROWS // len(elements)))
    kept = np.concatenate([_thinned(np.flatnonzero(numbers == Z), of_group, most, rng) for Z in elements])
    maps = map_of[np.searchsorted(elements, numbers[kept])]
    whitened = np.zeros((len(kept), rows.shape[1]), dtype=np.float32)
    for which in np.unique(maps):
        whitened[maps == which] = rows[kept[maps == which]] @ whitening[which]
    known = Known(centre, elements, whitening.astype(np.float32), map_of, whitened, numbers[kept])
    return Grouped(known, of_group[kept])


def _whitening(rows: Array, numbers: NDArray[Any], elements: NDArray[Any]) -> tuple[Array, NDArray[np.int64]]:
    """Return the maps (n_maps, width, width), the shared one first, and the map of each element."""
    width = rows.shape[1]
    scatters = []
    for number in elements:
        own = rows[numbers == number]
        own = own - own.mean(0)
        scatters.append(own.T @ own)
    counts = np.array([(numbers == number).sum() for number in elements])
    maps, map_of = [_inverse_root(np.sum(scatters, axis=0) / len(rows))], np.zeros(len(elements), dtype=np.int64)
    for i in np.flatnonzero(counts >= ENOUGH * width) if len(elements) > 1 else ():
        map_of[i] = len(maps)
        maps.append(_inverse_root(scatters[i] / counts[i]))
    return np.stack(maps), map_of


def _inverse_root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    mean = max(float(values.mean()), float(np.finfo(np.float32).tiny))
    return np.asarray(vectors / np.sqrt(np.maximum(values, 0.0) + RIDGE * mean))


def _thinned(mine: NDArray[np.int64], groups: Units, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return some of the rows; a small group keeps all of its rows before a large one keeps more than its share."""
    if len(mine) <= most:
        return mine
    shuffled = rng.permutation(mine)
    return np.sort(shuffled[np.argsort(ranks(groups[shuffled]), kind="stable")[:most]])


def ranks(groups: Units) -> NDArray[np.int64]:
    """Return (n,) how many before each are of its group."""
    _, counts = np.unique(groups, return_counts=True)
    rank = np.empty(len(groups), dtype=np.int64)
    rank[np.argsort(groups, kind="stable")] = np.concatenate([np.arange(count) for count in counts])
    return rank

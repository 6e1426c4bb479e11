"""How far a formula is from the training set, in the space of the encoder's features.

The unit is the training set's own: the 95th percentile of the distances from each training formula to its next
neighbour among the others. Above 1 a formula is unlike what the predictor has seen, and its error bar is a hope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from matgraft.formulas.learners.inputs import Array

Blocks = Mapping[str, Array]
PERCENTILE = 95
CHUNK = 1024
"""Rows whose distances to all points are held at once."""


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The training set as points (n, width), and the distance that counts as one."""

    points: Array
    unit: float

    @classmethod
    def of(cls, blocks: Blocks) -> Self:
        """Return the neighbourhood of a training set."""
        points = np.unique(np.round(blocks["embedding"], 6), axis=0)  # the same formula twice is no neighbour
        if len(points) < 2:
            return cls(points, 1.0)
        distances = _to_nearest(points, points, others=True)
        return cls(points, max(float(np.percentile(distances, PERCENTILE)), 1e-9))

    def distance(self, blocks: Blocks) -> Array:
        """Return (n,) distances to the next training formula."""
        return _to_nearest(blocks["embedding"], self.points) / self.unit


def _to_nearest(rows: Array, points: Array, others: bool = False) -> Array:
    """Return (n,) distances from rows (n, width) to the nearest of points (m, width), with `others` not to itself.

    Which point is the nearest, one product of matrices tells; its distance is then computed without cancellation.
    """
    squares, found = (points**2).sum(1), np.zeros(len(rows))
    for begin in range(0, len(rows), CHUNK):
        chunk = rows[begin : begin + CHUNK]
        apart = squares - 2 * chunk @ points.T  # squared distances, but for a number a row
        if others:
            apart[np.arange(len(chunk)), np.arange(begin, begin + len(chunk))] = np.inf
        found[begin : begin + len(chunk)] = np.linalg.norm(chunk - points[apart.argmin(1)], axis=1)
    return found

"""How far a formula is from the training set, in the space of the encoder's features.

The unit is the training set's own: the 95th percentile of the distances from each training formula to its next
neighbour among the others. Above 1 a formula is unlike what the predictor has seen, and its error bar is a hope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.neighbors import NearestNeighbors

from matgraft.formulas.learners.inputs import Array

Blocks = Mapping[str, Array]
PERCENTILE = 95


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The training set as points."""

    tree: NearestNeighbors
    unit: float

    @classmethod
    def of(cls, blocks: Blocks) -> Self:
        """Return the neighbourhood of a training set."""
        points = np.unique(np.round(blocks["embedding"], 6), axis=0)  # the same formula twice is no neighbour
        tree = NearestNeighbors(n_neighbors=1).fit(points)
        if len(points) < 2:
            return cls(tree, 1.0)
        distances = tree.kneighbors(None, n_neighbors=1)[0][:, 0]
        return cls(tree, max(float(np.percentile(distances, PERCENTILE)), 1e-9))

    def distance(self, blocks: Blocks) -> Array:
        """Return (n,) distances to the next training formula."""
        return np.asarray(self.tree.kneighbors(blocks["embedding"])[0][:, 0] / self.unit)

"""The members a predictor is made of: a set of features and a closed form or trees on them.

A member without the encoder is a baseline at the same time: what descriptors and trees give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matgraft.predictors import closed_form, forest
from matgraft.predictors.forest import Array, Trees

Blocks = Mapping[str, Array]
"""Features by name: "fractions", "magpie", "properties" (as the encoder predicts them), "embedding", "covariates"."""


@dataclass(frozen=True)
class Member:
    """One way to predict.

    Attributes
    ----------
    name
        For reports.
    blocks
        Names of the features it reads; covariates are always added.
    fit
        ``"trees"`` or ``"process"`` (a Gaussian process).
    """

    name: str
    blocks: tuple[str, ...]
    fit: str = "trees"

    @property
    def pretrained(self) -> bool:
        """True if it reads the encoder."""
        return bool({"properties", "embedding"} & set(self.blocks))

    def matrix(self, blocks: Blocks) -> Array:
        """Return (n, width), the features side by side."""
        return np.concatenate([blocks[name] for name in (*self.blocks, "covariates")], 1)

    def quantiles(self, train: Blocks, y: Array, test: Blocks, seed: int) -> Array:
        """Return (n_test, 99) quantiles."""
        x, x_test = self.matrix(train), self.matrix(test)
        if self.fit == "process":
            return closed_form.quantiles(x, y, x_test, seed)
        return forest.quantiles(x, y, x_test, Trees(seed=seed))

    def probabilities(self, train: Blocks, y: NDArray[np.int_], test: Blocks, seed: int) -> Array:
        """Return (n_test, n_classes), the classes those of `y`, counted from 0."""
        x, x_test = self.matrix(train), self.matrix(test)
        if self.fit == "process":
            return closed_form.probabilities(x, y, x_test)
        return forest.probabilities(x, y, x_test, Trees(seed=seed))


MEMBERS = (
    Member("trees on fractions", ("fractions",)),
    Member("trees on descriptors", ("magpie", "fractions")),
    Member("trees on descriptors and predicted properties", ("magpie", "fractions", "properties")),
    Member("trees on descriptors and encoder", ("magpie", "fractions", "properties", "embedding")),
    Member("closed form on the encoder", ("embedding", "properties"), "process"),
)


def take(blocks: Blocks, rows: NDArray[np.int_]) -> dict[str, Array]:
    """Return some rows of every block."""
    return {name: block[rows] for name, block in blocks.items()}

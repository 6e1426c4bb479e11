"""Batches by size: a budget of atoms and edges, so that one large frame cannot exhaust the memory in a late epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from matgraft.core.errors import DataError


class Sized(Protocol):
    """Anything with a number of atoms and of edges."""

    @property
    def n_atoms(self) -> int: ...  # noqa: D102
    @property
    def n_edges(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may stand in one batch.

    A batch holds at most `samples` samples, `atoms` atoms and `edges` edges (None: no bound). A single sample above
    the bound stands alone.
    """

    samples: int | None = None
    atoms: int | None = None
    edges: int | None = None

    def holds(self, samples: int, atoms: int, edges: int) -> bool:
        """Say whether so much fits."""
        pairs = ((samples, self.samples), (atoms, self.atoms), (edges, self.edges))
        return all(bound is None or value <= bound for value, bound in pairs)


def plan_batches(items: Sequence[Sized], budget: Budget, seed: int | None = None) -> list[list[int]]:
    """Group positions of `items` into batches within the budget.

    Parameters
    ----------
    seed
        Shuffles the samples; None keeps them in order.

    Returns
    -------
    list of list of int
        Every position once.
    """
    if not items:
        raise DataError("there is nothing to batch: the dataset is empty")
    order = np.arange(len(items)) if seed is None else np.random.default_rng(seed).permutation(len(items))
    sizes = [(item.n_atoms, item.n_edges) for item in items]
    batches: list[list[int]] = [[]]
    atoms = edges = 0
    for i in order.tolist():
        atoms, edges = atoms + sizes[i][0], edges + sizes[i][1]
        if batches[-1] and not budget.holds(len(batches[-1]) + 1, atoms, edges):
            batches.append([])
            atoms, edges = sizes[i]
        batches[-1].append(i)
    return batches


def split_batch(batch: Sequence[int], items: Sequence[Sized], budget: Budget) -> list[list[int]]:
    """Split the samples of a batch, positions in `items`, into parts that each keep to the budget."""
    return [[batch[i] for i in part] for part in plan_batches([items[i] for i in batch], budget)]

"""Graphs built when asked for: sizes are known, tensors are not kept.

The graph of a frame takes some 40 bytes an edge, 17 kB for eight atoms of silicon in CHGNet: those of 100,000 frames do
not fit into memory, their sizes do. `Graphs` stands in for a list of `Encoded`: whoever plans batches reads the sizes,
whoever collates a batch has its graphs built, in the process that collates, and they go with the batch.

>>> graphs = Graphs(backbone, dataset.samples, measure(backbone, dataset.samples)[0])
>>> graphs[7].n_edges        # known
>>> graphs[7].tensors        # built now
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import overload
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from matgraft.core.errors import DataError
from matgraft.core.model import Encoded
from matgraft.core.processes import map_in_processes
from matgraft.potentials.data.lazy import LazySamples, SampleSource
from matgraft.potentials.models.network import AtomicNetwork

CHUNK = 64
"""Frames that a worker measures at once."""

Sizes = NDArray[np.int64]
"""(n, 2): atoms and edges of each frame; 0 where they are not known, -1 where the backbone cannot take the frame."""

_known: WeakKeyDictionary[SampleSource, WeakKeyDictionary[AtomicNetwork, Sizes]] = WeakKeyDictionary()
"""Sizes measured so far, so that frames are encoded once to know them, not once for each part of a split."""


class Pending(Encoded):
    """A graph of known size that is built when its tensors are asked for."""

    def __init__(self, n_atoms: int, n_edges: int, build: Callable[[], Encoded]) -> None:
        for name, value in (("n_atoms", n_atoms), ("n_edges", n_edges), ("_build", build)):
            object.__setattr__(self, name, value)

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Whatever the adapter's `collate` needs."""
        build: Callable[[], Encoded] = self.__dict__["_build"]
        return build().tensors


class Graphs(Sequence[Encoded]):
    """The graphs of lazy samples.

    Parameters
    ----------
    sizes
        (n, 2) atoms and edges of each sample.
    """

    def __init__(self, backbone: AtomicNetwork, samples: LazySamples, sizes: Sizes) -> None:
        self.backbone, self.samples, self.sizes = backbone, samples, sizes

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...
    @overload
    def __getitem__(self, index: slice) -> Graphs: ...
    def __getitem__(self, index: int | slice) -> Encoded | Graphs:
        """Return a graph that is built when its tensors are asked for."""
        if isinstance(index, slice):
            return Graphs(self.backbone, self.samples[index], self.sizes[index])
        n_atoms, n_edges = self.sizes[index].tolist()
        return Pending(n_atoms, n_edges, lambda: self.backbone.encode(self.samples[index]))

    def __iter__(self) -> Iterator[Encoded]:
        """Walk over the graphs; none is built by that."""
        return (self[i] for i in range(len(self)))

    def take(self, chosen: Sequence[int]) -> Graphs:
        """Return some of the graphs, in the order of `chosen`."""
        return Graphs(self.backbone, self.samples.take(chosen), self.sizes[list(chosen)])


class KeptGraphs(list[Encoded]):
    """Graphs in memory."""

    def take(self, chosen: Sequence[int]) -> KeptGraphs:
        """Return some of the graphs, in the order of `chosen`."""
        return KeptGraphs(self[i] for i in chosen)


def measure(
    backbone: AtomicNetwork, samples: LazySamples, *, processes: int = 1, progress: str = ""
) -> tuple[Sizes, dict[int, str]]:
    """Return the sizes of the graphs, and why the backbone cannot take some samples.

    Parameters
    ----------
    processes
        Workers, each of which reads and encodes its own part.
    progress
        Title of a progress bar; none if empty.

    Returns
    -------
    sizes
        (n, 2) atoms and edges; -1 for a sample that the backbone cannot take.
    reasons
        Position of such a sample -> what the backbone says.
    """
    sizes = _sizes_known(backbone, samples)
    todo = np.flatnonzero(sizes[:, 0] <= 0)

    def one_chunk(chunk: NDArray[np.int64]) -> list[tuple[int, int, str]]:
        return [_size(backbone, samples, int(i)) for i in chunk]

    chunks = np.split(todo, range(CHUNK, len(todo), CHUNK)) if len(todo) else []
    found = [one for part in map_in_processes(one_chunk, chunks, processes, progress) for one in part]
    sizes[todo] = np.array([one[:2] for one in found], dtype=np.int64).reshape(-1, 2)
    if not samples.changes:
        _known[samples.source][backbone][samples.positions] = sizes
    return sizes, {int(i): reason for i, (_, _, reason) in zip(todo, found, strict=True) if reason}


def _sizes_known(backbone: AtomicNetwork, samples: LazySamples) -> Sizes:
    """Return what was measured of these samples before; a change of the samples may change their graphs."""
    if samples.changes:
        return np.zeros((len(samples), 2), dtype=np.int64)
    of_source = _known.setdefault(samples.source, WeakKeyDictionary())
    return of_source.setdefault(backbone, np.zeros((len(samples.source), 2), dtype=np.int64))[samples.positions]


def _size(backbone: AtomicNetwork, samples: LazySamples, i: int) -> tuple[int, int, str]:
    sample = samples[i]  # what is wrong with the store itself is no refusal of the backbone
    try:
        encoded = backbone.encode(sample)
    except DataError as error:
        return -1, -1, error.found
    return encoded.n_atoms, encoded.n_edges, ""

"""Samples in memory, and samples that are read when asked for: a dataset may be larger than the memory.

A `Dataset` holds `Samples`: those of `SamplesInMemory`, or `LazySamples`, a selection from a source. A `SampleSource`
gives samples by position: a store on disk (`matgraft.potentials.data.store`), or several sequences one after another
(`Joined`). Slices, lists of positions and changes of every sample stay selections; a sample is made when somebody looks
at it. What is held in memory is a position for each sample (8 bytes), whatever its size.

>>> samples = LazySamples(source)
>>> half = samples.map(lambda sample: sample.weighing(0.5)).take([7, 3, 3])   # nothing has been read so far
>>> half[0].weight
0.5
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from matgraft.core.quantities import Array
from matgraft.potentials.data.sample import Sample

Positions = NDArray[np.int64]
Change = Callable[[Sample], Sample]
T = TypeVar("T")

BLOCK = 256
"""Samples read at once on a walk: a read costs some 0.5 ms, a sample of eight atoms 0.03 ms more."""
STEP = 8
"""A sample asked for at most so many places after the last one is taken for a walk, and the next `BLOCK` are read."""


class SampleSource(ABC):
    """Samples by position. A source that can tell tags, labels or atoms without making samples says so more cheaply."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def read(self, positions: Positions) -> list[Sample]:
        """Return the samples at some positions, in their order."""

    def walk(self, positions: Positions) -> Iterator[Sample]:
        """Read block by block."""
        for start in range(0, len(positions), BLOCK):
            yield from self.read(positions[start : start + BLOCK])

    def tags(self, positions: Positions) -> Iterator[Mapping[str, str]]:
        """Return the tags at some positions."""
        return (sample.tags for sample in self.walk(positions))

    def numbers(self, positions: Positions) -> Iterator[NDArray[np.int64]]:
        """Return the atomic numbers at some positions."""
        return (sample.content.numbers for sample in self.walk(positions))

    def label(self, name: str, positions: Positions) -> Iterator[Array]:
        """Return one label of the samples at some positions, all of which carry it."""
        return (sample.labels[name] for sample in self.walk(positions))

    def carried(self, positions: Positions) -> dict[str, NDArray[np.bool_]]:
        """Return for each label that occurs which samples carry it."""
        return _which_carry(self.walk(positions), len(positions))


class Samples(Sequence[Sample]):
    """Samples in memory or on disk: whoever uses them need not know where they are."""

    @staticmethod
    def of(samples: Sequence[Sample]) -> Samples:
        """Return any sequence of samples with these methods."""
        return samples if isinstance(samples, Samples) else SamplesInMemory(samples)

    @staticmethod
    def joined(parts: Sequence[Samples]) -> Samples:
        """Return the samples of all parts, one after another; lazy if one of them is."""
        held = SamplesInMemory([sample for part in parts for sample in part.held()])
        return held if len(held) == sum(map(len, parts)) else LazySamples(Joined(parts))

    @overload
    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    @abstractmethod
    def __getitem__(self, index: slice) -> Samples: ...
    @abstractmethod
    def __getitem__(self, index: int | slice) -> Sample | Samples:
        """Return a sample for a number, some of the samples for a slice."""

    @abstractmethod
    def take(self, chosen: Sequence[int] | NDArray[np.int64]) -> Samples:
        """Return some of the samples, in the order of `chosen`."""

    @abstractmethod
    def map(self, change: Change) -> Samples:
        """Return changed samples; lazy ones are changed each time that they are read."""

    @abstractmethod
    def held(self) -> Sequence[Sample]:
        """Return the samples that are in memory: all of them, or none."""

    @abstractmethod
    def dispatch(self, held: Callable[[SamplesInMemory], T], lazy: Callable[[LazySamples], T]) -> T:
        """Return what one of two functions makes of the samples: of those in memory it may keep what it makes."""

    def tags(self) -> Iterator[Mapping[str, str]]:
        """Return the tags of every sample."""
        return (sample.tags for sample in self)

    def numbers(self) -> Iterator[NDArray[np.int64]]:
        """Return the atomic numbers of every sample."""
        return (sample.content.numbers for sample in self)

    def label(self, name: str) -> Iterator[Array]:
        """Return one label of every sample; all must carry it."""
        return (sample.labels[name] for sample in self)

    def carried(self) -> dict[str, NDArray[np.bool_]]:
        """Return for each label that occurs which samples carry it: (n,) each."""
        return _which_carry(iter(self), len(self))


class SamplesInMemory(Samples):
    """Samples in memory."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        """Walk over the samples."""
        return iter(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> SamplesInMemory: ...
    def __getitem__(self, index: int | slice) -> Sample | SamplesInMemory:
        """Return a sample for a number, some of the samples for a slice."""
        return SamplesInMemory(self._samples[index]) if isinstance(index, slice) else self._samples[index]

    def take(self, chosen: Sequence[int] | NDArray[np.int64]) -> SamplesInMemory:
        """Return some of the samples."""
        return SamplesInMemory(self._samples[int(i)] for i in chosen)

    def map(self, change: Change) -> SamplesInMemory:
        """Return changed samples."""
        return SamplesInMemory(map(change, self._samples))

    def held(self) -> Sequence[Sample]:
        """Return all samples."""
        return self._samples

    def dispatch(self, held: Callable[[SamplesInMemory], T], lazy: Callable[[LazySamples], T]) -> T:
        """Return what `held` makes of the samples."""
        return held(self)


class LazySamples(Samples):
    """A selection of a source's samples, each changed on its way out.

    Parameters
    ----------
    positions
        (n,) of the samples chosen; all of them by default.
    changes
        Functions of a sample, applied in order.
    """

    def __init__(
        self, source: SampleSource, positions: Positions | None = None, changes: tuple[Change, ...] = ()
    ) -> None:
        self.source, self.changes = source, changes
        self.positions = np.arange(len(source)) if positions is None else positions
        self._carried: dict[str, NDArray[np.bool_]] | None = None
        self._ahead: dict[int, Sample] = {}
        self._last = -STEP - 1

    def __len__(self) -> int:
        """Return the number of samples chosen."""
        return len(self.positions)

    def __iter__(self) -> Iterator[Sample]:
        """Walk over the samples; a block of them is in memory at a time."""
        return map(self._changed, self.source.walk(self.positions))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> LazySamples: ...
    def __getitem__(self, index: int | slice) -> Sample | LazySamples:
        """Return a sample for a number, a selection for a slice."""
        if isinstance(index, slice):
            return self._selection(self.positions[index])
        i = range(len(self))[index]
        if i not in self._ahead:
            block = range(i, min(i + (BLOCK if 0 < i - self._last <= STEP else 1), len(self)))
            samples = self.source.read(self.positions[block.start : block.stop])
            self._ahead = dict(zip(block, map(self._changed, samples), strict=True))
        self._last = i
        return self._ahead[i]

    def take(self, chosen: Sequence[int] | NDArray[np.int64]) -> LazySamples:
        """Return a selection of this selection."""
        return self._selection(self.positions[np.asarray(chosen, dtype=np.int64)])

    def map(self, change: Change) -> LazySamples:
        """Return the samples with a further change."""
        return LazySamples(self.source, self.positions, (*self.changes, change))

    def held(self) -> Sequence[Sample]:
        """Return nothing."""
        return ()

    def dispatch(self, held: Callable[[SamplesInMemory], T], lazy: Callable[[LazySamples], T]) -> T:
        """Return what `lazy` makes of the samples."""
        return lazy(self)

    def tags(self) -> Iterator[Mapping[str, str]]:
        """Return the tags of every sample."""
        return super().tags() if self.changes else self.source.tags(self.positions)

    def numbers(self) -> Iterator[NDArray[np.int64]]:
        """Return the atomic numbers of every sample."""
        return super().numbers() if self.changes else self.source.numbers(self.positions)

    def label(self, name: str) -> Iterator[Array]:
        """Return one label of every sample; all must carry it."""
        return super().label(name) if self.changes else self.source.label(name, self.positions)

    def carried(self) -> dict[str, NDArray[np.bool_]]:
        """Return for each label that occurs which samples carry it: (n,) each, found once."""
        if self._carried is None:
            self._carried = super().carried() if self.changes else self.source.carried(self.positions)
        return self._carried

    def _selection(self, positions: Positions) -> LazySamples:
        return LazySamples(self.source, positions, self.changes)

    def _changed(self, sample: Sample) -> Sample:
        for change in self.changes:
            sample = change(sample)
        return sample


class Joined(SampleSource):
    """Several sequences of samples, lazy or not, one after another."""

    def __init__(self, parts: Sequence[Samples]) -> None:
        self.parts = tuple(parts)
        self.starts = np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        """Return the number of samples of all parts."""
        return int(self.starts[-1])

    def read(self, positions: Positions) -> list[Sample]:
        """Return the samples at some positions."""
        part = np.searchsorted(self.starts, positions, side="right") - 1
        cuts = np.flatnonzero(np.diff(part)) + 1
        samples: list[Sample] = []
        for run in np.split(np.arange(len(positions)), cuts) if len(positions) else ():
            k = part[run[0]]
            samples += self.parts[k].take(positions[run] - self.starts[k])
        return samples


def _which_carry(samples: Iterator[Sample], count: int) -> dict[str, NDArray[np.bool_]]:
    """Return for each label that occurs (count,) whether a sample carries it."""
    found: dict[str, NDArray[np.bool_]] = {}
    for i, sample in enumerate(samples):
        for name in sample.labels:
            found.setdefault(name, np.zeros(count, dtype=bool))[i] = True
    return found

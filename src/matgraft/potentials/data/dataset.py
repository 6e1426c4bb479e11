"""The one value that flows through matgraft: a frozen, sliceable sequence of samples with their labels and origin.

A `Dataset` is an immutable sequence of samples (`matgraft.potentials.data.sample`), in memory or read from a store when
asked for (`matgraft.potentials.data.lazy`); every slice keeps labels, tags, weights and provenance.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from matgraft.core.provenance import Provenance, few_names
from matgraft.core.quantities import Array
from matgraft.potentials.data.lazy import Samples
from matgraft.potentials.data.sample import Sample


@dataclass(frozen=True, eq=False, init=False)
class Dataset(Sequence[Sample]):
    """An immutable sequence of samples with their provenance.

    Attributes
    ----------
    samples
        In memory, or lazy: then slices and maps are lazy too, and no step holds more than a few at a time.
    """

    samples: Samples
    provenance: Provenance

    def __init__(self, samples: Sequence[Sample], provenance: Provenance | None = None) -> None:
        object.__setattr__(self, "samples", Samples.of(samples))
        object.__setattr__(self, "provenance", provenance or Provenance())

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        """Walk over the samples."""
        return iter(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Dataset: ...
    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Sample | Dataset:
        """Return a sample for a number, a dataset for a slice, a list of numbers or a boolean mask."""
        if isinstance(index, (int, np.integer)):
            return self.samples[int(index)]
        if isinstance(index, slice):
            return replace(self, samples=self.samples[index])
        index = np.asarray(index)
        numbers = np.flatnonzero(index) if index.dtype == bool else index.astype(int)
        return replace(self, samples=self.samples.take(numbers))

    def map(self, change: Callable[[Sample], Sample]) -> Dataset:
        """Return a dataset of changed samples; lazy ones are changed each time that they are read."""
        return replace(self, samples=self.samples.map(change))

    def quantities(self) -> tuple[str, ...]:
        """Names of all labels that at least one sample carries, sorted."""
        return tuple(sorted(name for name, carried in self.samples.carried().items() if carried.any()))

    def count(self, quantity: str) -> int:
        """Return how many samples carry the label."""
        carried = self.samples.carried()
        return int(carried[quantity].sum()) if quantity in carried else 0

    def tag(self, name: str, default: str = "") -> list[str]:
        """Return one tag of every sample."""
        return [tags.get(name, default) for tags in self.samples.tags()]

    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that occur, in order of atomic number."""
        numbers = {Z for own in self.samples.numbers() for Z in set(own.tolist())}
        from ase.data import chemical_symbols

        return tuple(chemical_symbols[Z] for Z in sorted(numbers))

    def hash(self) -> str:
        """SHA-256 over structures and labels, in order; the same data have the same hash on every machine."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(bytes_of(sample))
        return digest.hexdigest()

    def __repr__(self) -> str:
        """Answer a scientist's first questions: how many, of what, with which labels, from where."""
        formulas = Counter(sample.content.get_chemical_formula(empirical=True) for sample in self.samples)
        shown = ", ".join(f"{name} ({count})" for name, count in formulas.most_common(4))
        more = f", {len(formulas) - 4} more" if len(formulas) > 4 else ""
        atoms = sum(sample.n_atoms for sample in self.samples)
        labels = ", ".join(f"{name} {self.count(name)}" for name in self.quantities()) or "none"
        groups = len(set(self.tag("trajectory")) - {""})
        files = few_names(sorted({sample.file for sample in self.samples if sample.file})) or "memory"
        return (
            f"Dataset: {len(self)} frames, {atoms} atoms\n  formulas: {shown}{more}\n  labels:   {labels}\n"
            f"  groups:   {groups} trajectories named\n  from:     {files}"
        )


def concatenate(datasets: Iterable[Dataset]) -> Dataset:
    """Join datasets, in order, with their provenance."""
    parts = list(datasets)
    provenance = Provenance.merge([part.provenance for part in parts])
    return Dataset(Samples.joined([part.samples for part in parts]), provenance)


def bytes_of(sample: Sample) -> bytes:
    """Return what a hash of data is made of: structure and labels, positions and labels to 1e-10."""
    return b"".join(np.ascontiguousarray(array).tobytes() for array in _arrays(sample))


def _arrays(sample: Sample) -> Iterator[np.ndarray]:
    atoms = sample.content
    yield np.asarray(atoms.numbers, dtype=np.int64)
    yield _rounded(atoms.positions)
    yield _rounded(atoms.cell[:])
    yield np.asarray(atoms.pbc, dtype=bool)
    for name in sorted(sample.labels):
        yield np.frombuffer(name.encode(), dtype=np.uint8)
        yield _rounded(sample.labels[name])
    for name in sorted(sample.cheap):
        yield np.frombuffer(f"cheap {name}".encode(), dtype=np.uint8)
        yield _rounded(sample.cheap[name])


def _rounded(values: Array) -> Array:
    return np.round(np.asarray(values, dtype=float), 10) + 0.0  # minus zero and zero have different bytes

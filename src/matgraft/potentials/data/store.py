"""Frames on disk, for datasets larger than the memory: one HDF5 file, read sample by sample.

>>> dataset = open_store(Path("frames.h5"))                       # a Dataset whose samples are read when asked for
>>> dataset = read_whole(Path("frames.h5"))                       # all in memory, and the very ones that were written

Numbers are stored as they are in memory, to the last bit; nothing is pickled. What is read is held against its hash:
what is held in memory when a store is opened, a frame when it is read, the whole file by `verify_store`. A store is
written beside its place and moved there when it is whole. What a reader holds in memory is some 120 bytes a frame. Each
process opens the file for itself: before a fork the parent closes its own handle.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from matgraft.core.errors import DataError
from matgraft.core.manifest import FolderState
from matgraft.core.provenance import LevelOfTheory, Provenance
from matgraft.core.quantities import POTENTIAL_QUANTITIES, Array
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.digests import first_changed, has_trailer, is_as_written
from matgraft.potentials.data.lazy import BLOCK, LazySamples, Positions, SampleSource
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store_format import (
    BESIDE,
    CACHE_BYTES,
    HELD,
    MOST_NUMBER,
    check_format,
    columns_of,
    held_sha256,
    out_of_range,
    text_of,
)


def open_store(path: Path) -> Dataset:
    """Open a store as a dataset whose samples are read when asked for.

    Raises
    ------
    DataError
        If the file is none of matgraft's stores, of another version, cut off or damaged.
    """
    store = Store(path)
    return Dataset(LazySamples(store), store.provenance)


def read_store(path: Path) -> Dataset:
    """Read all frames of a store into memory.

    Raises
    ------
    DataError
        As of `open_store`, or if the frames are not those that were written.
    """
    store = Store(path)
    dataset = Dataset(tuple(store.read(np.arange(len(store)))), store.provenance)
    store.close()
    if dataset.hash() != store.sha256:
        raise DataError("the frames are not those that were written", where=str(path), remedy="pack the frames again")
    return dataset


_FILES = TypeAdapter(list[str])
_TAGS = TypeAdapter(dict[str, str])
_THEORIES = TypeAdapter(list[LevelOfTheory])


class Store(SampleSource):
    """A store that is there. See the module's docstring."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._handle: h5py.File | None = None
        self._columns: dict[str, h5py.Dataset] = {}
        with self._reading("it cannot be read") as file:
            check_format(file, str(path))
            self._known = columns_of(int(file.attrs["version"]))
            self._held = {name: file[name][:] for name in HELD if name in self._known}
            self._quantities = [name for name in POTENTIAL_QUANTITIES if f"present/{name}" in self._known]
            self.sha256 = str(file.attrs["sha256"])
            self.has_digests = "digests/tags" in self._known
            if self.has_digests and not has_trailer(path):
                raise self._changed("the end of the file")
            if self.has_digests and str(file.attrs["held_sha256"]) != held_sha256(file, self._held, self.sha256):
                raise self._changed("what is said of all frames")
            self.provenance = Provenance.model_validate_json(text_of(file, "provenance"))
            self._files = _FILES.validate_json(text_of(file, "files"))
            self._theories = _THEORIES.validate_json(text_of(file, "theories"))
        if wrong := next(out_of_range(self._held, len(self._files), len(self._theories)), ""):
            raise DataError(wrong, where=str(path), remedy="pack the frames again")

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._held["frames/weight"])

    def read(self, positions: Positions) -> list[Sample]:
        """Return the samples at some positions; those that stand in a row are read at once."""
        return [sample for start, stop in _runs(positions) for sample in self._samples(start, stop)]

    def tags(self, positions: Positions) -> Iterator[Mapping[str, str]]:
        """Return the tags at some positions."""
        return (tags for start, stop in _runs(positions) for tags in self._tags(start, stop))

    def numbers(self, positions: Positions) -> Iterator[NDArray[np.int64]]:
        """Return the atomic numbers at some positions."""
        return (own for start, stop in _runs(positions) for own in self._numbers(start, stop))

    def label(self, name: str, positions: Positions) -> Iterator[Array]:
        """Return one label of the samples at some positions, all of which carry it."""
        if name not in self._quantities or not self._held[f"present/{name}"][positions].all():
            raise KeyError(name)
        return (value for start, stop in _runs(positions) for value in self._label(name, start, stop))

    def carried(self, positions: Positions) -> dict[str, NDArray[np.bool_]]:
        """Return for each label that occurs which samples carry it."""
        found = {name: self._held[f"present/{name}"][positions] for name in self._quantities}
        return {name: there for name, there in found.items() if there.any()}

    def _samples(self, start: int, stop: int) -> Iterator[Sample]:
        numbers, positions = self._numbers(start, stop), self._by_atom("atoms/positions", start, stop)
        cells, pbc = self._rows("frames/cell", start, stop), self._held["frames/pbc"]
        self._hold("geometry", start, [list(cells[:, None]), positions])
        labels, tags = self._labels(start, stop), self._tags(start, stop)
        weights, components = (self._beside(part, start, stop) for part in ("weights", "components"))
        self._hold_beside(start, weights, components)
        for k, i in enumerate(range(start, stop)):
            theory = int(self._held["frames/theory"][i])
            yield Sample(
                Atoms(numbers=numbers[k].astype(int), positions=positions[k], cell=cells[k], pbc=pbc[i]),
                {name: values[k] for name, values in labels.items() if self._held[f"present/{name}"][i]},
                tags[k],
                weight=float(self._held["frames/weight"][i]),
                file=self._files[self._held["frames/file"][i]],
                index=int(self._held["frames/index"][i]),
                theory=None if theory < 0 else self._theories[theory],
                label_weights={name: float(own[k]) for name, own in weights.items() if own[k] != 1.0},
                components={name: own[k] for name, own in components.items() if not own[k].all()},
            )

    def _beside(self, part: str, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Return what labels have beside their values, by quantity; nothing in a store of version 1."""
        columns = [name for name in self._known if name.startswith(f"{part}/")]
        return {name.partition("/")[2]: self._rows(name, start, stop) for name in columns}

    def _labels(self, start: int, stop: int) -> dict[str, Sequence[Array]]:
        carried = [name for name in self._quantities if self._held[f"present/{name}"][start:stop].any()]
        return {name: self._label(name, start, stop) for name in carried}

    def _label(self, name: str, start: int, stop: int) -> Sequence[Array]:
        if POTENTIAL_QUANTITIES[name].per == "atom":
            values: Sequence[Array] = self._by_atom(f"labels/{name}", start, stop)
        else:
            values = list(self._rows(f"labels/{name}", start, stop))
        self._hold(name, start, [values], self._held[f"present/{name}"][start:stop])
        return values

    def _numbers(self, start: int, stop: int) -> list[NDArray[Any]]:
        numbers = self._by_atom("atoms/numbers", start, stop)
        self._hold("numbers", start, [numbers])
        for k, own in enumerate(numbers):
            if len(own) and not 1 <= int(own.min()) <= int(own.max()) <= MOST_NUMBER:
                raise self._changed(f"an atomic number of frame {start + k}")
        return numbers

    def _tags(self, start: int, stop: int) -> list[dict[str, str]]:
        ends = self._held["frames/first_tag"][start : stop + 1]
        rows = np.split(self._rows("tags", ends[0], ends[-1]), ends[1:-1] - ends[0])
        self._hold("tags", start, [rows])
        try:
            return [_TAGS.validate_json(one.tobytes()) for one in rows]
        except ValidationError as error:
            raise self._changed(f"the tags of frames {start} to {stop - 1}") from error

    def _by_atom(self, name: str, start: int, stop: int) -> list[NDArray[Any]]:
        """Return the rows of each of some frames that stand in a row."""
        ends = self._held["frames/first_atom"][start : stop + 1]
        return np.split(self._rows(name, ends[0], ends[-1]), ends[1:-1] - ends[0])

    def _hold_beside(self, start: int, weights: Mapping[str, Array], components: Mapping[str, Array]) -> None:
        """Hold what labels have beside their values against its digests; no weight is below 0."""
        columns = {f"weights/{name}": rows for name, rows in weights.items()}
        columns |= {f"components/{name}": rows for name, rows in components.items()}
        if self.has_digests:
            self._hold("beside", start, [list(columns[name][:, None]) for name in BESIDE])
        for name, rows in weights.items():
            if not (np.isfinite(rows) & (rows >= 0)).all():
                raise self._changed(f"a weight of {name} of frames from {start} on")

    def _hold(
        self,
        group: str,
        start: int,
        columns: Sequence[Sequence[NDArray[Any]]],
        carried: NDArray[np.bool_] | None = None,
    ) -> None:
        """Hold rows of frames from `start` on against their digests; stores of earlier versions have none."""
        if not self.has_digests:
            return
        n = len(columns[0])
        known = self._held[f"digests/{group}"][start : start + n]
        k = first_changed(columns, known, np.ones(n, dtype=bool) if carried is None else carried)
        if k is not None:
            raise self._changed(f"{group} of frame {start + k}")

    def _changed(self, what: str) -> DataError:
        return DataError(
            f"{what} is not what matgraft wrote: the store is damaged, or was edited",
            where=str(self.path),
            remedy="copy it again from a complete copy, or pack the frames again",
        )

    def _rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        with self._reading(f"{name} is damaged between rows {start} and {stop}") as file:
            if name not in self._columns:
                self._columns[name] = file[name]  # to find it takes longer than to read it
            rows: NDArray[Any] = self._columns[name][start:stop]
            return rows

    @contextlib.contextmanager
    def _reading(self, found: str) -> Iterator[h5py.File]:
        """Give this process's own handle. What HDF5 raises becomes an error that names the file."""
        try:
            if self._handle is None:
                # A store is never written again, so no lock is needed, and file systems without locks will do.
                self._handle = h5py.File(self.path, "r", locking=False, rdcc_nbytes=CACHE_BYTES)
                _OPEN.add(self)
            yield self._handle
        except (
            OSError,
            KeyError,
            ValueError,
            TypeError,
            RuntimeError,
            AttributeError,
            OverflowError,
        ) as error:  # a file that is cut off, a column that is not there
            raise DataError(f"{found} ({error})", where=str(self.path), remedy="pack the frames again") from error

    def close(self) -> None:
        """Close this process's handle. The next read opens it again."""
        if self._handle is not None:
            self._handle.close()
            self._handle, self._columns = None, {}

    def __getstate__(self) -> dict[str, object]:
        """Leave the handle behind."""
        return self.__dict__ | {"_handle": None, "_columns": {}}


_OPEN: weakref.WeakSet[Store] = weakref.WeakSet()


def _close_all() -> None:
    for store in list(_OPEN):
        store.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_all)  # two processes on one handle would share its place in the file


def verify_store(path: Path) -> FolderState:
    """Say whether a store is as it was written, to the last byte.

    Raises
    ------
    DataError
        If it is none of matgraft's stores.
    """
    is_whole = is_as_written(path)
    wrong = "" if is_whole else "it is not what matgraft wrote: its content has changed, or its end is missing"
    try:
        store = Store(path)
    except DataError as error:
        if is_whole is None and is_other_file(path):
            raise
        return FolderState(folder=str(path), has_manifest=True, changed={path.name: error.found})
    with contextlib.closing(store):
        if not store.has_digests:
            return FolderState(folder=str(path), has_manifest=False)
        try:
            for _ in store.walk(np.arange(len(store))):
                pass  # a frame that is named helps more than a file
        except DataError as error:
            wrong = error.found
    changed = {path.name: wrong} if wrong else {}
    return FolderState(folder=str(path), has_manifest=True, n_whole=not wrong, changed=changed)


def is_other_file(path: Path) -> bool:
    """Say whether a file is of another kind."""
    with path.open("rb") as file:
        return not file.read(8).startswith(b"\x89HDF")


def _runs(positions: Positions) -> Iterator[tuple[int, int]]:
    """Part positions into stretches (first, last + 1) that stand in a row, at most `BLOCK` long."""
    cuts = np.flatnonzero(np.diff(positions) != 1) + 1
    ends = [0, *cuts.tolist(), len(positions)]
    for a, b in pairwise(ends):
        for start in range(a, b, BLOCK):
            stop = min(start + BLOCK, b)
            yield int(positions[start]), int(positions[stop - 1]) + 1

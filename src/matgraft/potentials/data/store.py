"""Frames on disk, for datasets larger than the memory: one HDF5 file, read sample by sample.

>>> write_store(samples, Path("frames.h5"), lambda: provenance)   # samples from anywhere, one block in memory
>>> dataset = open_store(Path("frames.h5"))                       # a Dataset whose samples are read when asked for
>>> dataset = read_whole(Path("frames.h5"))                       # all in memory, and the very ones that were written

n frames with N atoms in all. Rows of frame i of what is kept by atom: ``first_atom[i]`` to ``first_atom[i + 1]``.

| in the file                        | shape                   | content                                   |
| ---------------------------------- | ----------------------- | ----------------------------------------- |
| frames/cell, pbc                   | (n, 3, 3) Å, (n, 3)     |                                           |
| frames/weight, file, index, theory | (n,)                    | of the loss; number of file and theory    |
| frames/first_atom, first_tag       | (n + 1,)                | where atoms and tags of a frame begin     |
| atoms/numbers, positions           | (N,), (N, 3) Å          |                                           |
| labels/energy, forces, stress      | (n,), (N, 3), (n, 3, 3) | eV, eV/Å, eV/Å³ (ASE's sign); NaN: absent |
| labels/magmom                      | (N,)                    | µB                                        |
| present/energy ... magmom          | (n,)                    | which frames carry the label              |
| weights/energy ... magmom          | (n,)                    | of the label, beside the frame's          |
| components/stress                  | (n, 3, 3)               | which components are labels               |
| tags                               | bytes                   | a JSON object a frame                     |
| provenance, files, theories        | text                    | JSON                                      |
| sha256                             | attribute               | hash of the dataset                       |

Numbers are stored as they are in memory, to the last bit, with checksums; nothing is pickled. A store is written beside
its place and moved there when it is whole. What a reader holds in memory is some 50 bytes a frame. Each process opens
the file for itself: before a fork the parent closes its own handle.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import FileIO
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.files import whole
from matgraft.core.provenance import LevelOfTheory, Provenance
from matgraft.core.quantities import MAGMOM, POTENTIAL_QUANTITIES, Array, Quantity
from matgraft.potentials.data.dataset import Dataset, bytes_of
from matgraft.potentials.data.lazy import BLOCK, LazySamples, Positions, SampleSource
from matgraft.potentials.data.sample import Sample

ENDINGS = (".h5", ".hdf5")
FORMAT, VERSION = "matgraft-frames", 3
CHUNK_BYTES = 2**14
"""What is read from the disk at once for a frame picked at random: the positions of 680 atoms."""
CACHE_BYTES = 2**20
"""Chunks kept in memory, for each of a dozen columns."""


class _Column(NamedTuple):
    """Shape and type of a row, and the version of stores that first had it."""

    shape: tuple[int, ...]
    kind: type
    since: int = 1


_COLUMNS: dict[str, _Column] = {
    "frames/cell": _Column((3, 3), np.float64),
    "frames/pbc": _Column((3,), np.bool_),
    "frames/weight": _Column((), np.float64),
    "frames/file": _Column((), np.int32),
    "frames/index": _Column((), np.int64),
    "frames/theory": _Column((), np.int32),
    "frames/first_atom": _Column((), np.int64),
    "frames/first_tag": _Column((), np.int64),
    "atoms/numbers": _Column((), np.uint8),
    "atoms/positions": _Column((3,), np.float64),
    "tags": _Column((), np.uint8),
}


def _of_label(quantity: Quantity, since: int) -> dict[str, _Column]:
    """Return the columns of a label; what it has beside its values is kept since version 2."""
    name = quantity.name
    columns = {f"labels/{name}": _Column(quantity.shape, np.float64, since)}
    columns[f"present/{name}"] = _Column((), np.bool_, since)
    columns[f"weights/{name}"] = _Column((), np.float64, max(since, 2))
    if quantity.per == "sample" and quantity.shape:
        columns[f"components/{name}"] = _Column(quantity.shape, np.bool_, max(since, 2))
    return columns


for _quantity in POTENTIAL_QUANTITIES.values():
    _COLUMNS |= _of_label(_quantity, since=3 if _quantity == MAGMOM else 1)
_HELD = [name for name in _COLUMNS if name.startswith(("frames/", "present/")) and name != "frames/cell"]


def _columns_of(version: int) -> dict[str, _Column]:
    return {name: column for name, column in _COLUMNS.items() if column.since <= version}


def is_store(path: Path) -> bool:
    """Say whether a file's name is that of a store."""
    return path.suffix.lower() in ENDINGS


# --- writing ---------------------------------------------------------------------------------------------------------


def write_store(samples: Iterable[Sample], path: Path, provenance: Callable[[], Provenance]) -> int:
    """Write frames one block after another, and move the file to its place when all are there.

    Parameters
    ----------
    samples
        Frames with labels in canonical units. Of a structure species, positions, cell and periodicity are kept.
    provenance
        Asked for at the end, when all samples have passed.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    DataError
        If there are no frames, a sample is no structure or carries a label that a store has no place for.
    OSError
        If the disk is full or the folder may not be written. Then, as after any error, nothing is left behind.
    """
    with whole(path) as part, part.open("w+b", buffering=0) as file:
        n_frames = _write(samples, _Disk(file), provenance, str(path))
        os.fsync(file.fileno())
    return n_frames


def _write(samples: Iterable[Sample], disk: _Disk, provenance: Callable[[], Provenance], where: str) -> int:
    with h5py.File(disk, "w", libver="v110") as file:
        writer = _Writer(file)
        remaining = iter(samples)
        while block := list(islice(remaining, BLOCK)):
            writer.add(block)
            disk.check()
        if not writer.n_frames:
            raise DataError("there are no frames to store", where=where)
        writer.finish(provenance())
    disk.check()
    return writer.n_frames


class _Disk:
    """A file for HDF5 to write to, which notes that the disk is full.

    HDF5 cannot close a file that it cannot write: it crashes at the end of the program (h5py 3.16, HDF5 2.0). So an
    error is kept for `check` to raise, and what HDF5 still writes goes nowhere.
    """

    def __init__(self, file: FileIO) -> None:
        self.file = file
        self.error: OSError | None = None
        self.seek, self.tell, self.read, self.readinto = file.seek, file.tell, file.read, file.readinto
        self.flush = file.flush

    def write(self, content: memoryview) -> int:
        """Write all of it, as long as nothing has gone wrong."""
        written = 0
        try:
            while written < len(content) and self.error is None:
                written += self.file.write(content[written:])
        except OSError as error:
            self.error = error
        return len(content)

    def truncate(self, size: int) -> int:
        """Set the length of the file."""
        return size if self.error else self.file.truncate(size)

    def check(self) -> None:
        """Raise what went wrong."""
        if self.error is not None:
            raise self.error


class _Writer:
    """Columns that grow."""

    def __init__(self, file: h5py.File) -> None:
        self.file, self.n_frames = file, 0
        self.columns: dict[str, h5py.Dataset] = {}
        self.files: dict[str, int] = {}
        self.theories: dict[str, int] = {}
        self.digest = hashlib.sha256()
        for name, (shape, kind, _) in _COLUMNS.items():
            rows = max(1, CHUNK_BYTES // (np.dtype(kind).itemsize * int(np.prod(shape, initial=1))))
            options = {"maxshape": (None, *shape), "chunks": (rows, *shape), "fletcher32": True}
            self.columns[name] = file.create_dataset(name, (0, *shape), kind, **options)
        self._append("frames/first_atom", [0])
        self._append("frames/first_tag", [0])

    def add(self, block: Sequence[Sample]) -> None:
        """Append some samples."""
        for sample in block:
            _check_sample(sample)
            self.digest.update(bytes_of(sample))
        atoms = [sample.content for sample in block]
        tags = [json.dumps(dict(sample.tags)).encode() for sample in block]
        self._append("frames/cell", [one.cell[:] for one in atoms])
        self._append("frames/pbc", [one.pbc for one in atoms])
        self._append("frames/weight", [sample.weight for sample in block])
        self._append("frames/file", [_number(self.files, sample.file) for sample in block])
        self._append("frames/index", [sample.index for sample in block])
        self._append("frames/theory", [self._theory(sample.theory) for sample in block])
        self._append("frames/first_atom", len(self.columns["atoms/numbers"]) + np.cumsum([len(one) for one in atoms]))
        self._append("frames/first_tag", len(self.columns["tags"]) + np.cumsum([len(text) for text in tags]))
        self._append("atoms/numbers", np.concatenate([one.numbers for one in atoms]))
        self._append("atoms/positions", np.concatenate([one.positions for one in atoms]))
        self._append("tags", np.frombuffer(b"".join(tags), dtype=np.uint8))
        for name, quantity in POTENTIAL_QUANTITIES.items():
            rows = [len(one) if quantity.per == "atom" else 1 for one in atoms]
            absent = [np.full((n, *quantity.shape), np.nan) for n in rows]
            values = [sample.labels.get(name, nothing) for sample, nothing in zip(block, absent, strict=True)]
            self._append(f"labels/{name}", np.concatenate([v.reshape(-1, *quantity.shape) for v in values]))
            self._append(f"present/{name}", [name in sample.labels for sample in block])
            self._append(f"weights/{name}", [sample.label_weights.get(name, 1.0) for sample in block])
            if (column := f"components/{name}") in self.columns:
                every = np.ones(quantity.shape, dtype=bool)
                self._append(column, [sample.components.get(name, every) for sample in block])
        self.n_frames += len(block)

    def finish(self, provenance: Provenance) -> None:
        """Write what is known at the end. The format is named last."""
        self.file["provenance"] = provenance.model_dump_json()
        self.file["files"] = json.dumps(list(self.files))
        self.file["theories"] = json.dumps([json.loads(text) for text in self.theories])
        self.file.attrs["sha256"] = self.digest.hexdigest()
        self.file.attrs.update({"n_frames": self.n_frames, "version": VERSION, "format": FORMAT})

    def _append(self, name: str, rows: Any) -> None:
        column = self.columns[name]
        before = len(column)
        column.resize(before + len(rows), axis=0)
        column[before:] = rows

    def _theory(self, theory: LevelOfTheory | None) -> int:
        return -1 if theory is None else _number(self.theories, theory.model_dump_json())


def _number(known: dict[str, int], text: str) -> int:
    return known.setdefault(text, len(known))


def _check_sample(sample: Sample) -> None:
    if not isinstance(sample.content, Atoms):
        raise DataError("a store holds structures", where=sample.where)
    if unknown := sorted(set(sample.labels) - set(POTENTIAL_QUANTITIES)):
        raise DataError(f"a store has no place for {unknown}", where=sample.where, allowed=POTENTIAL_QUANTITIES)
    if sample.cheap:
        raise DataError("a store has no place for the labels of a cheap method", where=sample.where)
    for name, value in sample.labels.items():
        quantity = POTENTIAL_QUANTITIES[name]
        shape = (sample.n_atoms, *quantity.shape) if quantity.per == "atom" else quantity.shape
        if value.shape != shape:
            raise DataError(f"{name} has the shape {value.shape}", where=sample.where, allowed=[str(shape)])


# --- reading ---------------------------------------------------------------------------------------------------------


def open_store(path: Path) -> Dataset:
    """Open a store as a dataset whose samples are read when asked for.

    Raises
    ------
    DataError
        If the file is none of matgraft's stores, of another version, cut off or damaged.
    """
    store = Store(path)
    return Dataset(LazySamples(store), store.provenance)


def read_whole(path: Path) -> Dataset:
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


class Store(SampleSource):
    """A store that is there. See the module's docstring."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._handle: h5py.File | None = None
        self._columns: dict[str, h5py.Dataset] = {}
        with self._reading("it cannot be read") as file:
            _check_format(file, str(path))
            self._known = _columns_of(int(file.attrs["version"]))
            self._held = {name: file[name][:] for name in _HELD if name in self._known}
            self._quantities = [name for name in POTENTIAL_QUANTITIES if f"present/{name}" in self._known]
            self.sha256 = str(file.attrs["sha256"])
            self.provenance = Provenance.model_validate_json(_text(file, "provenance"))
            self._files: list[str] = json.loads(_text(file, "files"))
            self._theories = [LevelOfTheory.model_validate(one) for one in json.loads(_text(file, "theories"))]

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
        return (own for start, stop in _runs(positions) for own in self._by_atom("atoms/numbers", start, stop))

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
        numbers, positions = (self._by_atom(f"atoms/{name}", start, stop) for name in ("numbers", "positions"))
        cells, pbc = self._rows("frames/cell", start, stop), self._held["frames/pbc"]
        labels, tags = self._labels(start, stop), self._tags(start, stop)
        weights, components = (self._beside(part, start, stop) for part in ("weights", "components"))
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
            return self._by_atom(f"labels/{name}", start, stop)
        return list(self._rows(f"labels/{name}", start, stop))

    def _tags(self, start: int, stop: int) -> list[dict[str, str]]:
        ends = self._held["frames/first_tag"][start : stop + 1]
        text = self._rows("tags", ends[0], ends[-1]).tobytes()
        return [json.loads(text[a:b]) for a, b in zip(ends[:-1] - ends[0], ends[1:] - ends[0], strict=True)]

    def _by_atom(self, name: str, start: int, stop: int) -> list[NDArray[Any]]:
        """Return the rows of each of some frames that stand in a row."""
        ends = self._held["frames/first_atom"][start : stop + 1]
        return np.split(self._rows(name, ends[0], ends[-1]), ends[1:-1] - ends[0])

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
        except (OSError, KeyError, ValueError) as error:  # a file that is cut off, a column that is not there
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


def _check_format(file: h5py.File, where: str) -> None:
    if file.attrs.get("format") != FORMAT:
        raise DataError("an HDF5 file, but no store of matgraft", where=where, remedy="pack the frames into a store")
    if not 1 <= (version := int(file.attrs["version"])) <= VERSION:
        raise DataError(f"a store of version {version}", where=where, allowed=[f"versions 1 to {VERSION}"])
    rows = {name: len(file[name]) for name in _columns_of(version)}
    n, n_atoms = int(file.attrs["n_frames"]), rows["atoms/numbers"]
    by_frame = [name for name in rows if name.startswith(("present/", "weights/", "components/"))]
    if any(rows[name] != n for name in by_frame) or rows["frames/first_atom"] != n + 1:
        raise DataError("its columns differ in length", where=where, remedy="pack the frames again")
    if file["frames/first_atom"][-1] != n_atoms or rows["atoms/positions"] != n_atoms:
        raise DataError("its atoms are not those of its frames", where=where, remedy="pack the frames again")


def _text(file: h5py.File, name: str) -> str:
    text: bytes = file[name][()]
    return text.decode()


def _runs(positions: Positions) -> Iterator[tuple[int, int]]:
    """Part positions into stretches (first, last + 1) that stand in a row, at most `BLOCK` long."""
    cuts = np.flatnonzero(np.diff(positions) != 1) + 1
    ends = [0, *cuts.tolist(), len(positions)]
    for a, b in pairwise(ends):
        for start in range(a, b, BLOCK):
            stop = min(start + BLOCK, b)
            yield int(positions[start]), int(positions[stop - 1]) + 1

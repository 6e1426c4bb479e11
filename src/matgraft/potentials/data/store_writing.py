"""Frames into a store, one block in memory.

>>> write_store(samples, Path("frames.h5"), lambda: provenance)   # samples from anywhere

A store is written beside its place and moved there when it is whole. What lies in it: `store_format`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from matgraft.core.errors import DataError
from matgraft.core.files import whole
from matgraft.core.provenance import LevelOfTheory, Provenance
from matgraft.core.quantities import POTENTIAL_QUANTITIES
from matgraft.potentials.data.dataset import bytes_of
from matgraft.potentials.data.digests import digests, trailer
from matgraft.potentials.data.lazy import BLOCK
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store_format import CHUNK_BYTES, COLUMNS, FORMAT, GROUPS, HELD, VERSION, held_sha256


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
    with whole(path, durable=True) as part, part.open("w+b", buffering=0) as file:
        n_frames = _write(samples, _Disk(file), provenance, str(path))
        file.seek(0, os.SEEK_END)
        file.write(trailer(part))
    return n_frames


def _write(samples: Iterable[Sample], disk: _Disk, provenance: Callable[[], Provenance], where: str) -> int:
    try:
        with h5py.File(disk, "w", libver="v110") as file:
            writer = _Writer(file)
            remaining = iter(samples)
            while block := list(islice(remaining, BLOCK)):
                writer.add(block)
                disk.check()
            if not writer.n_frames:
                raise DataError("there are no frames to store", where=where)
            writer.finish(provenance())
    except Exception:
        disk.check()  # what HDF5 says of bytes that it reads back, and that were never written, is a consequence
        raise
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
        for name, (shape, kind, _) in COLUMNS.items():
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
        columns = self._rows_of(block)
        n_atoms = np.cumsum([sample.n_atoms for sample in block])
        n_tags = np.cumsum([len(json.dumps(dict(sample.tags)).encode()) for sample in block])
        ends = {name: n_tags if name == "tags" else n_atoms if _is_by_atom(name) else None for name in columns}
        parted = {name: _parted(rows, ends[name]) for name, rows in columns.items()}
        for group, names in GROUPS.items():
            columns[f"digests/{group}"] = digests([parted[name] for name in names])
        columns["frames/first_atom"] = len(self.columns["atoms/numbers"]) + n_atoms
        columns["frames/first_tag"] = len(self.columns["tags"]) + n_tags
        for name, rows in columns.items():
            self._append(name, rows)
        self.n_frames += len(block)

    def _rows_of(self, block: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """Return the rows of each column in the type in which it is kept."""
        atoms = [sample.content for sample in block]
        tags = b"".join(json.dumps(dict(sample.tags)).encode() for sample in block)
        found: dict[str, ArrayLike] = {
            "frames/cell": [one.cell[:] for one in atoms],
            "frames/pbc": [one.pbc for one in atoms],
            "frames/weight": [sample.weight for sample in block],
            "frames/file": [_number(self.files, sample.file) for sample in block],
            "frames/index": [sample.index for sample in block],
            "frames/theory": [self._theory(sample.theory) for sample in block],
            "atoms/numbers": np.concatenate([one.numbers for one in atoms]),
            "atoms/positions": np.concatenate([one.positions for one in atoms]),
            "tags": np.frombuffer(tags, dtype=np.uint8),
        }
        for name, quantity in POTENTIAL_QUANTITIES.items():
            rows = [len(one) if quantity.per == "atom" else 1 for one in atoms]
            absent = [np.full((n, *quantity.shape), np.nan) for n in rows]
            values = [sample.labels.get(name, nothing) for sample, nothing in zip(block, absent, strict=True)]
            found[f"labels/{name}"] = np.concatenate([v.reshape(-1, *quantity.shape) for v in values])
            found[f"present/{name}"] = [name in sample.labels for sample in block]
            found[f"weights/{name}"] = [sample.label_weights.get(name, 1.0) for sample in block]
            if (column := f"components/{name}") in self.columns:
                every = np.ones(quantity.shape, dtype=bool)
                found[column] = [sample.components.get(name, every) for sample in block]
        return {name: np.asarray(rows, dtype=COLUMNS[name].kind) for name, rows in found.items()}

    def finish(self, provenance: Provenance) -> None:
        """Write what is known at the end. The format is named last."""
        self.file["provenance"] = provenance.model_dump_json()
        self.file["files"] = json.dumps(list(self.files))
        self.file["theories"] = json.dumps([json.loads(text) for text in self.theories])
        self.file.attrs["sha256"] = self.digest.hexdigest()
        self.file.attrs["held_sha256"] = held_sha256(
            self.file, {name: self.columns[name][:] for name in HELD}, self.digest.hexdigest()
        )
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


def _is_by_atom(name: str) -> bool:
    kind, _, quantity = name.partition("/")
    return kind == "atoms" or (kind == "labels" and POTENTIAL_QUANTITIES[quantity].per == "atom")


def _parted(rows: NDArray[Any], ends: NDArray[Any] | None) -> Sequence[NDArray[Any]]:
    """Return the rows of each frame; those of which it has one, or those up to where it ends."""
    return list(rows[:, None]) if ends is None else np.split(rows, ends[:-1])


def _check_sample(sample: Sample) -> None:
    for name, weight in {"the frame": sample.weight, **sample.label_weights}.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise DataError(f"the weight of {name} is {weight}", where=sample.where, allowed=["0 and more"])
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

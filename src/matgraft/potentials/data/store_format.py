"""What lies in a store of frames: its columns, and which of their values no writer wrote.

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
| digests/numbers, ..., magmom       | (n,)                    | of what a frame has: `digests`            |
| sha256, held_sha256                | attribute               | hash of the dataset; of what is held      |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.quantities import MAGMOM, POTENTIAL_QUANTITIES, Quantity
from matgraft.potentials.data.store_plain import StoreColumn, refuse_foreign

ENDINGS = (".h5", ".hdf5")
FORMAT, VERSION = "matgraft-frames", 4
CHUNK_BYTES = 2**14
"""What is read from the disk at once for a frame picked at random: the positions of 680 atoms."""
MOST_NUMBER = 118
CACHE_BYTES = 2**20
"""Chunks kept in memory, for each of a dozen columns."""


COLUMNS: dict[str, StoreColumn] = {
    "frames/cell": StoreColumn((3, 3), np.float64),
    "frames/pbc": StoreColumn((3,), np.bool_),
    "frames/weight": StoreColumn((), np.float64),
    "frames/file": StoreColumn((), np.int32),
    "frames/index": StoreColumn((), np.int64),
    "frames/theory": StoreColumn((), np.int32),
    "frames/first_atom": StoreColumn((), np.int64),
    "frames/first_tag": StoreColumn((), np.int64),
    "atoms/numbers": StoreColumn((), np.uint8),
    "atoms/positions": StoreColumn((3,), np.float64),
    "tags": StoreColumn((), np.uint8),
}


def _of_label(quantity: Quantity, since: int) -> dict[str, StoreColumn]:
    """Return the columns of a label; what it has beside its values is kept since version 2."""
    name = quantity.name
    columns = {f"labels/{name}": StoreColumn(quantity.shape, np.float64, since)}
    columns[f"present/{name}"] = StoreColumn((), np.bool_, since)
    columns[f"weights/{name}"] = StoreColumn((), np.float64, max(since, 2))
    if quantity.per == "sample" and quantity.shape:
        columns[f"components/{name}"] = StoreColumn(quantity.shape, np.bool_, max(since, 2))
    return columns


for _quantity in POTENTIAL_QUANTITIES.values():
    COLUMNS |= _of_label(_quantity, since=3 if _quantity == MAGMOM else 1)
BESIDE = tuple(sorted(name for name in COLUMNS if name.startswith(("weights/", "components/"))))
GROUPS: dict[str, tuple[str, ...]] = {
    "numbers": ("atoms/numbers",),
    "geometry": ("frames/cell", "atoms/positions"),
    "tags": ("tags",),
    "beside": BESIDE,
    **{name: (f"labels/{name}",) for name in POTENTIAL_QUANTITIES},
}
"""Digest -> the columns whose rows of a frame it is of."""
COLUMNS |= {f"digests/{group}": StoreColumn((), np.uint64, since=4) for group in GROUPS}
HELD = [name for name in COLUMNS if name.startswith(("frames/", "present/", "digests/")) and name != "frames/cell"]
TEXTS = ("provenance", "files", "theories")


def columns_of(version: int) -> dict[str, StoreColumn]:
    """Return the columns of a store of a version."""
    return {name: column for name, column in COLUMNS.items() if column.since <= version}


def is_store(path: Path) -> bool:
    """Say whether a file's name is that of a store."""
    return path.suffix.lower() in ENDINGS


def held_sha256(file: h5py.File, held: Mapping[str, NDArray[Any]], sha256: str) -> str:
    """Return the hash of what a reader holds in memory, the digests of all else among it."""
    found = hashlib.sha256(sha256.encode())
    for name in TEXTS:
        found.update(json.dumps(text_of(file, name)).encode())
    for name in sorted(held):
        found.update(name.encode())
        found.update(np.ascontiguousarray(held[name]).data)
    return found.hexdigest()


def out_of_range(held: Mapping[str, NDArray[Any]], n_files: int, n_theories: int) -> Iterator[str]:
    """Yield what no writer wrote of what is held in memory."""
    theory = held["frames/theory"]
    weight, first_atom, first_tag = (held[f"frames/{name}"] for name in ("weight", "first_atom", "first_tag"))
    for what, wrong in (
        ("the weight of frame {} is below 0, or no number", ~(np.isfinite(weight) & (weight >= 0))),
        ("the index of frame {} is below 0", held["frames/index"] < 0),
        ("frame {} is of a file that is not listed", (held["frames/file"] < 0) | (held["frames/file"] >= n_files)),
        ("frame {} has a level of theory that is not listed", (theory < -1) | (theory >= n_theories)),
        ("the atoms of frame {} end before they begin", np.diff(first_atom) < 0),
        ("the tags of frame {} end before they begin", np.diff(first_tag) < 0),
    ):  # fmt: skip
        if wrong.any():
            yield what.format(int(np.flatnonzero(wrong)[0]))
    if first_atom[0] != 0 or first_tag[0] != 0:
        yield "its first frame does not begin with the first atom"


def check_format(file: h5py.File, where: str) -> None:
    """Raise a DataError if a file is no store, is of another version, or its columns are not of one length."""
    if file.attrs.get("format") != FORMAT:
        raise DataError("an HDF5 file, but no store of matgraft", where=where, remedy="pack the frames into a store")
    if not 1 <= (version := int(file.attrs["version"])) <= VERSION:
        raise DataError(f"a store of version {version}", where=where, allowed=[f"versions 1 to {VERSION}"])
    refuse_foreign(file, columns_of(version), TEXTS, where)
    if version < 4 and "digests" in file:
        raise DataError("its version is not the one that was written", where=where, remedy="pack the frames again")
    rows = {name: len(file[name]) for name in columns_of(version)}
    n, n_atoms = int(file.attrs["n_frames"]), rows["atoms/numbers"]
    by_frame = [name for name in rows if name.startswith(("present/", "weights/", "components/"))]
    if any(rows[name] != n for name in by_frame) or rows["frames/first_atom"] != n + 1:
        raise DataError("its columns differ in length", where=where, remedy="pack the frames again")
    if file["frames/first_atom"][-1] != n_atoms or rows["atoms/positions"] != n_atoms:
        raise DataError("its atoms are not those of its frames", where=where, remedy="pack the frames again")


def text_of(file: h5py.File, name: str) -> str:
    """Return a text of a store."""
    text: bytes = file[name][()]
    return text.decode()

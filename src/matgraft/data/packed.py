"""Frames with labels in one npz file: exact to the last bit, checked when read, written atomically, no pickle.

For what matgraft makes and labels itself and may want again: `unpack(path)` returns the structures, labels, tags that
`pack(dataset, path)` was given, or raises if they are not what was written.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from ase import Atoms

from matgraft.data.dataset import Dataset, Sample
from matgraft.errors import DataError
from matgraft.quantities import POTENTIAL_QUANTITIES


def pack(dataset: Dataset, path: Path) -> None:
    """Write structures, labels and tags; weights, origin and level of theory stay behind."""
    arrays = {
        "counts": np.array([len(sample.content) for sample in dataset]),
        "numbers": np.concatenate([sample.content.numbers for sample in dataset]),
        "positions": np.concatenate([sample.content.positions for sample in dataset]),
        "cell": np.array([sample.content.cell[:] for sample in dataset]),
        "pbc": np.array([sample.content.pbc for sample in dataset]),
        "tags": np.array([json.dumps(dict(sample.tags)) for sample in dataset]),
        "sha256": np.array(dataset.hash()),
    }
    for name in dataset.quantities():
        arrays[f"has_{name}"] = np.array([name in sample.labels for sample in dataset])
        arrays[f"label_{name}"] = np.concatenate([s.labels[name].ravel() for s in dataset if name in s.labels])
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part.npz")  # two runs may fill one cache at once
    try:
        np.savez_compressed(part, **arrays)  # type: ignore[arg-type]  # numpy's own flag is a keyword beside them
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def unpack(path: Path) -> Dataset:
    """Read what `pack` wrote.

    Raises
    ------
    DataError
        If the file is absent or damaged.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            dataset, written = _dataset(dict(file), path.name), str(file["sha256"])
    except (OSError, EOFError, KeyError, ValueError, IndexError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"not readable as packed frames ({error})", where=str(path)) from error
    if dataset.hash() != written:
        raise DataError("the frames are not those that were written", where=str(path))
    return dataset


def _dataset(arrays: dict[str, np.ndarray], file: str) -> Dataset:
    ends = np.cumsum(arrays["counts"])[:-1]
    numbers, positions = (np.split(arrays[name], ends) for name in ("numbers", "positions"))
    labels: list[dict[str, np.ndarray]] = [{} for _ in arrays["counts"]]
    for name in (key.removeprefix("has_") for key in arrays if key.startswith("has_")):
        quantity, values = POTENTIAL_QUANTITIES[name], arrays[f"label_{name}"]
        for i in np.flatnonzero(arrays[f"has_{name}"]):
            shape = (len(numbers[i]), *quantity.shape) if quantity.per == "atom" else quantity.shape
            size = int(np.prod(shape))
            labels[i][name], values = values[:size].reshape(shape), values[size:]
    return Dataset(
        tuple(
            Sample(
                Atoms(numbers[i], positions[i], cell=arrays["cell"][i], pbc=arrays["pbc"][i]),
                labels[i],
                json.loads(str(arrays["tags"][i])),
                file=file,
                index=i,
            )
            for i in range(len(labels))
        )
    )

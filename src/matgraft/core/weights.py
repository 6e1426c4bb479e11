"""Weights as tensors only: nothing is unpickled, and a file is whole or absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from matgraft.core.errors import DataError
from matgraft.core.files import whole
from matgraft.core.model_files import recognise


def load_tensors(path: Path) -> dict[str, Any]:
    """Read a torch file of tensors and plain values.

    Raises
    ------
    DataError
        If the file is absent, damaged, or holds objects that would have to be unpickled.
    """
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make torch's reader stumble in any way: IndexError, KeyError, ...
        found = recognise(path)  # torch's own words are an advice to unpickle
        raise DataError(
            f"not readable as tensors and plain values: it is {found.what}",
            where=str(path),
            remedy=found.remedy or "matgraft does not unpickle; fetch the file again, or save tensors and plain values",
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"holds a {type(content).__name__}, not a dictionary", where=str(path))
    return content


def save_tensors(content: object, path: Path) -> None:
    """Write tensors, or a vendor's object that holds them, atomically: a failed write leaves the old file."""
    with whole(path) as part, part.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())

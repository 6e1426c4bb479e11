"""Weights as tensors only: nothing is unpickled, a file is what was written, and every tensor finds its place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load
from torch import Tensor, nn

from matgraft.core.errors import DataError
from matgraft.core.files import whole
from matgraft.core.manifest import check_file, checked
from matgraft.core.model_files import recognise

_AGAIN = "copy the file again from a complete copy, or make it again"


def load_tensors(path: Path) -> dict[str, object]:
    """Read a torch file of tensors and plain values.

    Raises
    ------
    DataError
        If the file is absent, damaged, or holds objects that would have to be unpickled.
    ChangedError
        If it is not what was written into its folder.
    """
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    check_file(path)
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
    with whole(path, durable=True) as part, part.open("wb") as file:
        torch.save(content, file)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a safetensors file, by name.

    Raises
    ------
    DataError
        If the file is absent or damaged.
    ChangedError
        If it is not what was written into its folder.
    """
    try:
        arrays: dict[str, NDArray[Any]] = load(checked(path))
    except FileNotFoundError as error:
        raise DataError("there is no such file", where=str(path), remedy=_AGAIN) from error
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"the tensors cannot be read: {error}", where=str(path), remedy=_AGAIN) from error
    return arrays


def refuse_infinite(arrays: Mapping[str, NDArray[Any]], path: Path | str) -> None:
    """Raise a DataError if an array holds a number that is not finite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{name} has a value that is not finite", where=str(path), remedy=_AGAIN)


def refuse_other_names(found: Collection[str], wanted: Collection[str], path: Path) -> None:
    """Raise a DataError if a file lacks arrays, or has others than it should."""
    for said, names in (("lacks", set(wanted) - set(found)), ("has an unexpected", set(found) - set(wanted))):
        if names:
            raise DataError(f"the file {said} {', '.join(sorted(names)[:3])}", where=str(path), remedy=_AGAIN)


def put_state(module: nn.Module, arrays: Mapping[str, NDArray[Any]], path: Path | str) -> None:
    """Put all tensors of a file into a module: none lacks, none is left over, all are finite, shapes and types agree.

    Raises
    ------
    DataError
        If one does not fit.
    """
    own = module.state_dict()
    refuse_other_names(arrays, own, Path(path))
    refuse_infinite(arrays, path)
    put_some(own, {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, path)


def put_some(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Copy tensors over those of the same names; raises a DataError if a name, a shape or a type differs."""
    for name, tensor in tensors.items():
        there = own.get(name)
        if there is None or (there.shape, there.dtype) != (tensor.shape, tensor.dtype):
            wanted = "no such tensor" if there is None else f"{tuple(there.shape)} of {there.dtype}"
            raise DataError(
                f"{name} is {tuple(tensor.shape)} of {tensor.dtype}, and the model has {wanted}",
                where=str(path),
                remedy=_AGAIN,
            )
        there.data.copy_(tensor)


def refuse_infinite_weights(module: nn.Module, path: Path) -> None:
    """Raise a DataError if a parameter of a model is not finite: what it predicts would not be either."""
    bad = _infinite((name, parameter.detach()) for name, parameter in module.named_parameters())
    if bad:
        raise DataError(
            f"the weights {', '.join(bad[:3])} are not finite",
            where=str(path),
            remedy="fetch the model again, or train it again",
        )


def _infinite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    return [name for name, one in tensors if one.is_floating_point() and not bool(torch.isfinite(one).all())]

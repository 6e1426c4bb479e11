"""The .nqx file: a line of JSON, then arrays in numpy's format, in the order in which JAX walks over the model.

    contents = read_nqx(Path("nequix-omat-1.nqx"))
    contents.network                                # weights in place
    write_nqx(network, contents.configuration, Path("mine.nqx"))

Nothing is unpickled, and nothing is built that the bytes of the file do not fill: the shapes follow from the first
line, and their sum is compared with the size of the file before a network is made.

JAX walks over fields in the order of their classes and over dictionaries by sorted keys: reference energies; of each
layer the radial network, linear_1, linear_2, skip (each by kinds of features) and the norm; the readout. What comes
after these the vendor's loader does not read (one published file has the configuration once more), nor does this one.

Source: equinox.tree_serialise_leaves, and the package nequix (MIT).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from matgraft.core.errors import DataError
from matgraft.core.files import whole
from matgraft.core.limits import exceeded, limits
from matgraft.core.manifest import check_file
from matgraft.core.model_files import recognise
from matgraft.core.weights import refuse_infinite_weights
from matgraft.potentials.models.nequix.configuration import NequixConfiguration
from matgraft.potentials.models.nequix.network import NequixNetwork
from matgraft.potentials.models.nequix.plan import weight_shapes

_AGAIN = "fetch or copy the file again, and compare its size with that at its source"
_TYPE = np.dtype("<f4")


class NqxContents(NamedTuple):
    """What a file holds."""

    configuration: NequixConfiguration
    network: NequixNetwork


def read_nqx(path: Path) -> NqxContents:
    """Read a file.

    Raises
    ------
    DataError
        If there is no such file, it is another than a .nqx file, it is cut, its configuration describes no network that
        is known, or a weight is not finite.
    ChangedError
        If it is not what was written into its folder.
    """
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    check_file(path)
    with path.open("rb") as file:
        configuration = _read_configuration(file, path)
        wanted = [(len(configuration.atomic_numbers),), *weight_shapes(configuration)]
        least = _TYPE.itemsize * sum(int(np.prod(shape)) for shape in wanted)
        there = path.stat().st_size - file.tell()
        if there < least:
            raise DataError(
                f"it ends too early: its first line describes {least:,} bytes of weights, and {there:,} follow",
                where=str(path),
                remedy=_AGAIN,
            )
        energies, *weights = [_read_array(file, shape, i, path) for i, shape in enumerate(wanted)]
    network = NequixNetwork(configuration)
    with torch.no_grad():
        for tensor, weight in zip(_tensors(network), weights, strict=True):
            tensor.copy_(torch.from_numpy(weight))
        network.references[torch.tensor(configuration.atomic_numbers) - 1] = _references(configuration, energies)
    refuse_infinite_weights(network, path)
    if not np.isfinite(energies).all():
        raise DataError("a reference energy is not finite", where=str(path), remedy=_AGAIN)
    return NqxContents(configuration, network)


def write_nqx(network: NequixNetwork, configuration: NequixConfiguration, energies: Tensor, path: Path) -> None:
    """Write a file that the vendor's loaders and `read_nqx` open.

    Parameters
    ----------
    energies
        (n_elements,) eV: reference energies, in the order of ``configuration.atomic_numbers``.
    """
    arrays = [energies, *_tensors(network)]
    with whole(path, durable=True) as part, part.open("wb") as file:
        file.write((configuration.model_dump_json(exclude_none=True) + "\n").encode())
        for tensor in arrays:
            np.save(file, tensor.detach().cpu().numpy().astype(_TYPE), allow_pickle=False)


def _tensors(network: NequixNetwork) -> Iterator[nn.Parameter]:
    """Walk over the weights as JAX does."""
    for layer in network.layers:
        yield from layer.parameters()
    yield network.readout.weight


def _references(configuration: NequixConfiguration, energies: NDArray[np.float32]) -> Tensor:
    """Return the reference energies (n_elements,) eV in float64: before they were rounded, where the file says."""
    written = configuration.references_eV or {}
    pairs = zip(configuration.atomic_numbers, energies.tolist(), strict=True)
    return torch.tensor([written.get(str(Z), energy) for Z, energy in pairs], dtype=torch.float64)


def _read_configuration(file: BinaryIO, path: Path) -> NequixConfiguration:
    longest = limits().line_bytes
    line = file.readline(longest + 1)
    if len(line) > longest:
        raise exceeded("line_bytes", "its first line goes on", str(path))
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        found = recognise(path)
        raise DataError(
            f"this is {found.what}; a .nqx file begins with a line of JSON", where=str(path), remedy=found.remedy
        ) from error
    try:
        return NequixConfiguration.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its first line"
        raise DataError(
            f"describes no network of Nequix that matgraft knows: {place}: {first['msg']}", where=str(path)
        ) from error


def _read_array(file: BinaryIO, shape: tuple[int, ...], number: int, path: Path) -> NDArray[np.float32]:
    """Read the next array; its header is compared before its numbers are read."""
    try:
        major = np.lib.format.read_magic(file)[0]
        header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        found, fortran, dtype = header(file)
    except ValueError as error:
        raise DataError(f"array {number + 1} of its weights cannot be read", where=str(path), remedy=_AGAIN) from error
    if found != shape or dtype != _TYPE or fortran:
        raise DataError(
            f"array {number + 1} of its weights is {found} of {dtype}; its first line describes {shape} of {_TYPE}",
            where=str(path),
            remedy="is it a model of another version of nequix? Save it again with the current version",
        )
    size = _TYPE.itemsize * int(np.prod(shape))
    numbers = file.read(size)
    if len(numbers) < size:
        raise DataError(f"it ends within array {number + 1} of its weights", where=str(path), remedy=_AGAIN)
    return np.frombuffer(numbers, _TYPE).reshape(shape).copy()

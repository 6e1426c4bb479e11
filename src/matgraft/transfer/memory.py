"""How much memory a training step takes, measured on one frame, and the bound on a batch that follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from matgraft.errors import DataError
from matgraft.transfer.objectives import FrameObjective
from matgraft.transfer.schedule import FitSettings
from matgraft.transfer.strategy import ParamGroup

SHARE = 0.6
"""Part of the free memory that the batches of all processes may take together."""
OVERHEAD = 2.0
"""Peak over what the graph saves: gradients in flight and buffers. Measured on CHGNet: 1.5 to 1.8."""


def bound_by_memory(objective: FrameObjective, groups: Sequence[ParamGroup], settings: FitSettings) -> FitSettings:
    """Fill ``max_edges`` from the free memory, if the user did not.

    Raises
    ------
    DataError
        If the largest frame alone does not fit.
    """
    if settings.max_edges is not None:
        return settings
    sizes = [one.n_edges for one in objective.training]
    typical = sorted(range(len(sizes)), key=sizes.__getitem__)[len(sizes) // 2]
    bytes_an_edge = OVERHEAD * saved_bytes(objective, typical) / max(1, sizes[typical])
    for group in groups:
        for parameter in group.parameters.values():
            parameter.grad = None
    bound = int(SHARE * free_bytes() / bytes_an_edge)
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    if sizes[largest] > bound:
        raise DataError(
            f"a training step on this frame ({objective.training[largest].n_atoms} atoms, {sizes[largest]} edges) "
            f"takes some {sizes[largest] * bytes_an_edge / 2**30:.1f} GiB, free are {free_bytes() / 2**30:.1f}",
            where=objective.train[largest].where,
            remedy="leave it out (audit.drop), use strategy feature, or a machine with more memory",
        )
    return settings.model_copy(update={"max_edges": bound})


def saved_bytes(objective: FrameObjective, position: int) -> int:
    """Return the bytes that the graph of one frame's loss keeps, each storage counted once."""
    storages: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        objective.losses([position], objective.backbone.device).sum().backward()
    return sum(storages.values())


def free_bytes() -> int:
    """Return the memory that can be had: the GPU's, or the system's by Linux's own estimate (else 4 GiB)."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return 4 * 2**30
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024

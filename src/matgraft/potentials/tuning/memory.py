"""How much memory a training step takes, measured on one frame, and how much may pass at once for that reason.

What can be had is the GPU's where a fit computes there, else the least that machine, control groups, limits of the
process and scheduler allow (`matgraft.core.machine`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from matgraft.core.errors import DataError
from matgraft.core.findings import DROP
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import ParamGroup
from matgraft.potentials.data.numbering import numbers_of_frames
from matgraft.potentials.models.room import free_memory
from matgraft.potentials.tuning.objectives import FrameObjective

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
    memory = free_memory()
    bound = int(SHARE * memory.bytes / bytes_an_edge)
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    if sizes[largest] > bound:
        raise DataError(
            f"a training step on this frame ({objective.training[largest].n_atoms} atoms, {sizes[largest]} edges) "
            f"takes some {sizes[largest] * bytes_an_edge / 2**30:.1f} GiB, more than {100 * SHARE:.0f} % of the "
            f"{memory.bytes / 2**30:.1f} GiB that {memory.by} leaves",
            where=objective.train[largest].where,
            remedy="leave the frame out, train the readout alone, or give the job more memory",
            options=[
                {DROP["train"]: numbers_of_frames(objective.train, [largest])},
                {"strategy.name": "feature"},
            ],
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

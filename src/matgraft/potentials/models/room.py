"""The memory that predictions and fits can have on a device."""

from __future__ import annotations

import torch

from matgraft.core import devices
from matgraft.core.machine import Memory, available_memory


def free_memory(device: torch.device | None = None) -> Memory:
    """Return what is free: of a GPU there, with what torch keeps there for later, else of the machine.

    Parameters
    ----------
    device
        Default: where a fit computes.
    """
    if (device or devices.training_device()).type != "cuda":
        return available_memory()
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return Memory(torch.cuda.mem_get_info()[0] + kept, "the GPU")

"""The processes of a fit: one alone, or those that lightning's Fabric starts and whose gradients it sums."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Team(Protocol):
    """The processes of a fit, as one of them sees them: what `lightning_fabric.Fabric` offers."""

    @property
    def device(self) -> torch.device: ...  # noqa: D102
    @property
    def world_size(self) -> int: ...  # noqa: D102
    @property
    def global_rank(self) -> int: ...  # noqa: D102
    def barrier(self, name: str | None = None) -> None: ...  # noqa: D102
    def broadcast(self, obj: Any, src: int = 0) -> Any: ...  # noqa: D102
    def all_reduce(self, data: Any, group: Any = None, reduce_op: Any = "mean") -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class Alone:
    """A team of one process: to import Fabric takes two seconds of each, and many a fit of a small network is alone."""

    device: torch.device
    world_size: int = 1
    global_rank: int = 0

    def barrier(self, name: str | None = None) -> None:
        """Wait for nobody."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Return what it is given."""
        return obj

    def all_reduce(self, data: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        """Return what it is given."""
        return data


def team_on(device: torch.device) -> Team:
    """Return a team of one process on a device; on a GPU it is Fabric's, which also chooses the device."""
    if device.type == "cpu":
        return Alone(device)
    fabric = fabric_of(device.type, 1)
    fabric.launch()
    return fabric


def fabric_of(device: str, processes: int) -> Fabric:
    """Return what starts processes and sums their gradients."""
    # Half of the time that a command needs to start, and most commands fit nothing.
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces every rank on standard error
    strategy = DDPStrategy(start_method="fork") if processes > 1 else "auto"
    return Fabric(accelerator=device, devices=processes, strategy=strategy)


def load_before_fork() -> None:
    """Import what the first optimizer of a process imports, which takes a second: before processes part, it is once."""
    torch.optim.Adam([nn.Parameter(torch.zeros(1))], foreach=False)

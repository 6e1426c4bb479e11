"""What the members that train have in common for the one loop: losses of one part, their mean on another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from matgraft.backbones.composition import Sizes

P = TypeVar("P")


class WatchedLoss(ABC, Generic[P]):
    """Losses of the rows of a training part; the mean over a held part is watched.

    Attributes
    ----------
    parts
        The training part and the held one, as tensors.
    """

    def __init__(self, train: P, held: P, sizes: tuple[Sizes, Sizes]) -> None:
        self.parts = (train, held)
        self.training, self.validation = sizes

    @abstractmethod
    def of_part(self, part: P, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the losses (B,) of some rows of a part."""

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return (B,)."""
        return self.of_part(self.parts[0], positions, device)

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the sum of losses and their number."""
        if not positions:
            return torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            losses = self.of_part(self.parts[1], positions, device)
        return torch.tensor([float(losses.sum()), float(len(losses))], dtype=torch.float64)

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        """Return validation_loss."""
        return {"validation_loss": float(sums[0] / sums[1])}

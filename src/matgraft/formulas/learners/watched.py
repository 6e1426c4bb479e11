"""What the members that train have in common: how long they do, losses of one part, their mean on another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from matgraft.core.frozen import Frozen
from matgraft.core.training.schedule import FitSettings
from matgraft.formulas.encoder import Sizes

P = TypeVar("P")


class LoopSettings(Frozen):
    """How long a member is trained, and how fast."""

    rate: float = Field(1e-3, gt=0)
    epochs: int = Field(20, ge=1)
    fewest_steps: int = Field(200, ge=1)
    """Small tables get more epochs, up to this many steps."""
    batch: int = Field(64, ge=1)

    def loop(self, n: int) -> FitSettings:
        """Return the settings of the training loop for n samples."""
        an_epoch = -(-n // self.batch)
        epochs = max(self.epochs, -(-self.fewest_steps // an_epoch))
        # Validated once, at the end: no epoch is chosen by the fold that judges.
        return FitSettings(
            rate=self.rate, epochs=epochs, batch=self.batch, warmup=0.1, ema=0.98, clip=1.0, validate_every=epochs,
            processes=1,
        )  # fmt: skip


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

"""What a fit minimises, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from matgraft.core.training.batching import Sized

Keep = Literal["best", "sound", "last"]
"""Which weights a fit leaves: see `fit`."""
CRITERION = "validation_loss"
ERROR = "validation_"
"""With what the names of errors on validation samples begin, and that of the criterion."""


class Objective(Protocol):
    """What a fit minimises.

    Attributes
    ----------
    training, validation
        Sizes of the samples, for batching.
    """

    @property
    def training(self) -> Sequence[Sized]: ...  # noqa: D102
    @property
    def validation(self) -> Sequence[Sized]: ...  # noqa: D102

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the loss (B,) of some training samples, differentiable."""
        ...

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return sums over some validation samples that may be added to those of others."""
        ...

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        """Turn the added sums into metrics by name: the criterion ``validation_loss``, and errors ``validation_*``."""
        ...


@dataclass(frozen=True)
class FitResult:
    """How a fit went. The module holds the best weights.

    Attributes
    ----------
    history
        A row each validation: step, epoch, seconds, learning_rate, train_loss, validation metrics. That of step 0, if
        there is one, has a rate and a training loss of 0.
    best_step
        0 where the starting weights were validated, and no later ones were better.
    batches
        Bounds of a batch that the fit began with, by their names in `FitSettings`; a resumed one keeps to them.
    """

    history: list[dict[str, float]]
    best_step: int
    best_value: float
    stopped: str
    steps: int
    epochs: float
    seconds: float
    processes: int
    criterion: str = CRITERION
    batches: dict[str, int | None] = field(default_factory=dict)

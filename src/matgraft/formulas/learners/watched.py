"""What the members that train have in common: how long they do, losses of one part, their mean on another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from matgraft.core.frozen import Frozen
from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.encoder import Sizes

P = TypeVar("P")
Curves = Mapping[str, NDArray[np.float64]]
"""How losses went: columns (n_validations,) by name, such as ``epoch``, ``train_loss`` and ``validation_loss``."""
CURVE = "curve."
POINTS = 50
"""Validations of a fit, about: they are for its curves."""


class LoopSettings(Frozen):
    """How long a member is trained, and how fast."""

    rate: float = Field(1e-3, gt=0)
    epochs: int = Field(20, ge=1)
    fewest_steps: int = Field(200, ge=1)
    """Small tables get more epochs, up to this many steps."""
    batch: int = Field(64, ge=1)
    weight_decay: float = Field(0.0, ge=0)
    """Part of the learning rate by which each step shrinks the weights."""

    def loop(self, n: int) -> FitSettings:
        """Return the settings of the training loop for n samples."""
        an_epoch = -(-n // self.batch)
        epochs = max(self.epochs, -(-self.fewest_steps // an_epoch))
        return FitSettings(
            rate=self.rate, epochs=epochs, batch=self.batch, warmup=0.1, ema=0.98, clip=1.0,
            validate_every=-(-epochs // POINTS), processes=1,
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


def fit_watched(
    objective: WatchedLoss[P], module: nn.Module, groups: Sequence[ParamGroup], settings: LoopSettings, seed: int
) -> Curves:
    """Minimise losses, and return how they went. No epoch is chosen by the part that judges: the last weights stay."""
    decaying = [replace(group, weight_decay=settings.weight_decay) for group in groups]
    loop = settings.loop(len(objective.training))
    result = fit(objective, module, decaying, loop, Execution(seed=seed), keep="last")
    names = [name for name in result.history[0] if name != "seconds"]  # of a clock: no two fits would be the same
    return {name: np.array([row[name] for row in result.history], dtype=float) for name in names}


def curves_of(arrays: Mapping[str, NDArray[np.float64]]) -> Curves:
    """Return the curves among the arrays of a fit; none of one that an earlier version made."""
    return {key.removeprefix(CURVE): value for key, value in arrays.items() if key.startswith(CURVE)}


def curve_arrays(curves: Curves) -> dict[str, NDArray[np.float64]]:
    """Return curves as arrays of a fit, under names that `curves_of` knows."""
    return {f"{CURVE}{name}": np.asarray(values, dtype=float) for name, values in curves.items()}

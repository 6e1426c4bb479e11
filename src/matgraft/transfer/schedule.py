"""How long to train, and how fast: warm-up, cosine decay, and a plan that fits a number of minutes.

The learning rate is a function of the step alone: it rises linearly over the warm-up, holds for a part of the steps,
and falls along a cosine to a hundredth at the last planned step (Loshchilov and Hutter 2017; held first: Hägele et al.,
NeurIPS 2024, arXiv:2405.18392). With a time budget the number of steps is planned from
the time that steps have taken so far; the plan is part of a checkpoint.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FLOOR = 0.01
"""Last learning rate, as a part of the largest."""
WARMUP = 0.05
RESERVE = 0.03
"""Part of a time budget kept back for the last validation and for writing."""


class FitSettings(BaseModel):
    """Settings of the loop. None means: decided by strategy and data size (`matgraft.transfer.defaults`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["adam", "soap"] | None = None
    """SOAP is Adam in the eigenbasis of each matrix's gradients (`matgraft.transfer.optimizer`). Default: soap through
    the network of a potential, adam elsewhere."""
    rate: float | None = Field(None, gt=0)
    epochs: int | None = Field(None, ge=1)
    max_minutes: float | None = Field(None, gt=0)
    batch: int | None = Field(None, ge=1)
    """Frames a batch, over all processes."""
    max_atoms: int | None = Field(None, ge=1)
    max_edges: int | None = Field(None, ge=1)
    """Bounds of a batch in atoms and in edges (neighbours and angles). Default: what fits into the memory."""
    warmup: float | None = Field(None, ge=0, lt=1)
    """Part of the steps over which the rate rises; `WARMUP` by Adam."""
    hold: float | None = Field(None, ge=0, lt=1)
    """Part of the steps after the warm-up over which the rate stays as it is, before it falls."""
    ema: float | None = Field(None, ge=0, lt=1)
    """Decay of the average of weights that is validated and kept; 0 switches it off."""
    clip: float | None = Field(None, ge=0)
    """Largest norm of a gradient; 0 switches clipping off."""
    patience: int | None = Field(None, ge=1)
    """Validations without a better one before the fit stops."""
    validate_every: int = Field(1, ge=1)
    """Epochs between validations."""
    processes: int | None = Field(None, ge=1)
    """Single-threaded processes on a CPU. Default: one a core."""
    checkpoint_minutes: float = Field(2.0, gt=0)


def rate_factor(step: int, total: int, warmup: float, start: float = 0.0, hold: float = 0.0) -> float:
    """Return the part of the largest rate used at `step` of `total` (from 0).

    Parameters
    ----------
    start
        Part of the steps that pass before these parameters learn: the factor is 0 till then. A warm-up of their own
        follows, up to the rate that the others have.
    hold
        Part of the steps after the warm-up that pass before the rate falls.
    """
    rising = max(1, round(warmup * total))
    since = step - round(start * total)
    if since < 0:
        return 0.0
    if step < rising:
        return (since + 1) / rising
    passed = min(1.0, (step - rising) / max(1, total - rising))
    progress = max(0.0, passed - hold) / (1 - hold)
    return min(1.0, (since + 1) / rising) * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress)))


def plan_steps(settings: FitSettings, steps_an_epoch: int, step: int, seconds: float) -> int:
    """Return the number of steps to make in all.

    Parameters
    ----------
    step, seconds
        Steps made so far and the time they took, validations included; at least one step if there is a time budget.
    """
    bounds = []
    if settings.epochs is not None:
        bounds.append(settings.epochs * steps_an_epoch)
    if settings.max_minutes is not None:
        remaining = settings.max_minutes * 60 * (1 - RESERVE) - seconds
        bounds.append(step + max(0, int(remaining * step / seconds)))
    return max(1, min(bounds))

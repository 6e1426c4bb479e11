"""How long to train, and how fast: warm-up, cosine decay, and a plan that fits a number of minutes.

The learning rate is a function of the step alone: it rises linearly over the warm-up, holds for a part of the steps,
and falls along a cosine to a hundredth at the last planned step (Loshchilov and Hutter 2017; held first: Hägele et al.,
NeurIPS 2024, arXiv:2405.18392). With a time budget the number of steps is planned from
the time that steps take; the plan is part of a checkpoint. Patience counts validations only once the rate falls: as
long as it is high, the weights move about, and the loss falls late.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from matgraft.core.frozen import Frozen

FLOOR = 0.01
"""Last learning rate, as a part of the largest."""
WARMUP = 0.05
RESERVE = 0.03
"""Part of a time budget kept back for writing."""
LEAST_PATIENCE = 10
"""Validations that a patience given as a part of the plan has at least: over fewer, chance decides."""


class FitSettings(Frozen):
    """Settings of the loop. None means: decided by strategy and data size (`matgraft.potentials.tuning.defaults`)."""

    optimizer: Literal["adam", "soap"] | None = None
    """SOAP is Adam in the eigenbasis of each matrix's gradients (`matgraft.core.training.soap`). Default: soap
    through the network of a potential, adam elsewhere."""
    rate: float | None = Field(None, gt=0)
    epochs: int | None = Field(None, ge=1)
    max_minutes: float | None = Field(None, gt=0)
    batch: int | None = Field(None, ge=1)
    """Frames a step, over all processes."""
    max_atoms: int | None = Field(None, ge=1)
    max_edges: int | None = Field(None, ge=1)
    """Atoms and edges (neighbours and angles) that pass through the network at once, over all processes. A batch with
    more passes in parts, and their gradients are added: the bounds change the memory, not the step. Default: what fits
    into the memory."""
    warmup: float | None = Field(None, ge=0, lt=1)
    """Part of the steps over which the rate rises; `WARMUP` by Adam."""
    hold: float | None = Field(None, ge=0, lt=1)
    """Part of the steps after the warm-up over which the rate stays as it is, before it falls."""
    ema: float | None = Field(None, ge=0, lt=1)
    """Decay of the average of weights that is validated and kept; 0 switches it off."""
    clip: float | None = Field(None, ge=0)
    """Largest norm of a gradient; 0 switches clipping off."""
    patience: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None = None
    """Validations in a row that are no better than the lowest before them, after which the fit stops. They count from
    where the rate begins to fall, whether given or not. Below 1: a part of the planned validations, ten at least."""
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


def decay_start(total: int, warmup: float, start: float = 0.0, hold: float = 0.0) -> int:
    """Return the step of `total` at which the rate begins to fall, after warm-up and hold; arguments of `rate_factor`.

    Of parameters that start later it is not before the end of their own warm-up.
    """
    rising = max(1, round(warmup * total))
    return max(math.ceil(rising + hold * (total - rising)), round(start * total) + rising)


def patience_in(settings: FitSettings, total: int, steps_an_epoch: int) -> int | None:
    """Return the patience in validations of a fit of `total` steps; None if it has none."""
    if settings.patience is None or settings.patience >= 1:
        return settings.patience  # type: ignore[return-value]  # a float is below 1
    planned = total / (steps_an_epoch * settings.validate_every)
    return max(LEAST_PATIENCE, round(settings.patience * planned))


def plan_steps(
    settings: FitSettings, steps_an_epoch: int, step: int, seconds: float, pace: float, ending: float = 0.0
) -> int:
    """Return the number of steps to make in all.

    Parameters
    ----------
    step, seconds
        Steps made, and the part of the time budget that is gone.
    pace
        Seconds that a further step takes, its part of validations included.
    ending
        Seconds of the validation that follows the last step.
    """
    bounds = []
    if settings.epochs is not None:
        bounds.append(settings.epochs * steps_an_epoch)
    if settings.max_minutes is not None:
        remaining = settings.max_minutes * 60 * (1 - RESERVE) - ending - seconds
        bounds.append(step + max(0, int(remaining / max(pace, 1e-9))))
    return max(1, min(bounds))

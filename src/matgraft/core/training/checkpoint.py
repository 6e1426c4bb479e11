"""Everything that a fit needs to go on after ``kill -9``: one file, written atomically, tensors and plain values."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from matgraft.core.errors import DataError
from matgraft.core.training.flat import laid_flat, raised
from matgraft.core.weights import load_tensors, save_tensors

FILE = "last.pt"
LATEST = "lowest"
"""A field of `State` that checkpoints have since a batch passes in parts; before, bounds of memory made it smaller."""


class Best(TypedDict):
    """A snapshot of the best average of the weights."""

    step: int
    value: float
    weights: list[Tensor]


@dataclass
class State:
    """Where a fit stands.

    Attributes
    ----------
    step, seconds
        Steps made, and the time gone, over all sessions of the run.
    marks
        ``[step, seconds]`` at the start and after 1, 2, 4, 8, ... steps: from them follows what steps take lately.
    epoch, done
        Epochs finished, and steps made in the current one.
    loss_sum, loss_count
        Training loss since the last validation.
    total
        Steps planned.
    average
        Moving average of the weights, in the order of the learning parameters.
    best, is_sound
        The best average so far, and whether it has no larger error on the validation samples than the start.
    budget
        Fields of the batches' `Budget`. Its defaults follow cores and memory; elsewhere a fit goes on with its own.
    ending
        Seconds of the latest validation: the last one will take as many.
    history
        Rows of history.csv.
    lowest, since_best
        The lowest validation since the rate began to fall, and how many came after it.
    stopped
        Why the fit ended; empty while it goes on.
    """

    step: int = 0
    epoch: int = 0
    done: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0
    marks: list[list[float]] = field(default_factory=list)
    total: int = 0
    average: list[Tensor] = field(default_factory=list)
    best: Best | None = None
    is_sound: bool = False
    budget: dict[str, int | None] = field(default_factory=dict)
    ending: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    lowest: float = math.inf
    since_best: int = 0
    stopped: str = ""

    def update_average(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        """Move the average towards the weights; early on faster, so that it forgets the start."""
        weight = 1 - min(decay, (1 + self.step) / (10 + self.step))
        for average, parameter in zip(self.average, parameters, strict=True):
            average.lerp_(parameter.detach(), weight)

    def keep_if_best(self, value: float, *, sound: bool = False) -> bool:
        """Snapshot the average if it is the best so far: a sound one goes before any other, then a smaller value."""
        if self.best and not (not sound, value) < (not self.is_sound, self.best["value"]):
            return False
        self.is_sound = sound
        self.best = {"step": self.step, "value": value, "weights": [tensor.clone() for tensor in self.average]}
        return True

    def count(self, value: float, *, falling: bool) -> None:
        """Count the validations since the lowest one. None counts before the rate falls, nor is compared with later."""
        if not falling:
            self.lowest, self.since_best = math.inf, 0
        elif value < self.lowest:
            self.lowest, self.since_best = value, 0
        else:
            self.since_best += 1

    def pace(self) -> float:
        """Return the seconds that a step took over the last half of the steps or somewhat more, all else included."""
        since, seconds = self.marks[-2:][0]
        return (self.seconds - seconds) / (self.step - since)


def save(state: State, parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Write the state, the weights and the optimizer's moments."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = [parameter.detach() for parameter in parameters]
    content = {"state": dict(vars(state)), "weights": weights, "optimizer": optimizer.state_dict()}
    save_tensors(laid_flat(content), folder / FILE)


def restore(parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer | None, folder: Path) -> State:
    """Load what `save` wrote into the parameters and the optimizer, and return the state.

    Raises
    ------
    DataError
        If there is no checkpoint, or it is damaged, of another model, or of a version whose steps were others.
    """
    content = content_of(folder)
    with _typed(folder / FILE):
        return _restore(content, parameters, optimizer, folder)


def content_of(folder: Path) -> dict[str, object]:
    """Return state, weights and state of the optimizer, as `save` took them.

    Raises
    ------
    DataError
        If there is no checkpoint, or it is damaged.
    """
    content = load_tensors(folder / FILE)
    with _typed(folder / FILE):
        # A checkpoint of an older version holds its tensors one by one.
        return dict(raised(content)) if "structure" in content else content


def _restore(
    content: Mapping[str, Any],
    parameters: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer | None,
    folder: Path,
) -> State:
    if LATEST not in content["state"]:
        raise DataError(
            "the checkpoint was written by an older version of matgraft, which made a step of as many frames as fit "
            "into the memory: its steps and its plan cannot be counted on",
            where=str(folder / FILE),
            remedy="begin the fit again: give the recipe of the run, and another folder",
        )
    if [weight.shape for weight in content["weights"]] != [parameter.shape for parameter in parameters]:
        raise DataError("the checkpoint is of another model or strategy", where=str(folder / FILE))
    put(content["weights"], parameters)
    if optimizer is not None:
        optimizer.load_state_dict(content["optimizer"])
    state = State(**content["state"])
    state.average = beside(state.average, parameters)
    if state.best:
        state.best["weights"] = beside(state.best["weights"], parameters)
    return state


@contextmanager
def _typed(path: Path) -> Iterator[None]:
    """Turn what a checkpoint with other content leads to into an error that names it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"the checkpoint does not hold what a fit goes on with: {type(error).__name__}: {error}",
            where=str(path),
            remedy="remove the file and resume the run: the fit begins again",
        ) from error


def put(weights: Sequence[Tensor], parameters: Iterable[nn.Parameter]) -> None:
    """Copy weights into parameters."""
    with torch.no_grad():
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight)


def beside(weights: Sequence[Tensor], parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return weights on the devices of the parameters: a file is read to the CPU."""
    return [weight.to(parameter.device) for weight, parameter in zip(weights, parameters, strict=True)]


def copies(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return detached copies of parameters."""
    return [copy.deepcopy(parameter.detach()) for parameter in parameters]

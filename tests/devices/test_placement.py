"""Potentials on a GPU: models compute, every strategy and optimizer trains and resumes, as on the CPU.

The GPU is not there (`pretended_device`): its numbers are the CPU's, to the last bit, and a tensor on the wrong device
is an error.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from matgraft.core.training import checkpoint
from matgraft.core.training.execution import Execution
from matgraft.core.training.strategy import STRATEGIES, Full, make_strategy
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.models.pseudolabels import structure_features
from matgraft.potentials.tuning.adapt import TunedPotential, adapt
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective
from matgraft.potentials.tuning.replay import ReplaySettings
from matgraft.potentials.tuning.tangents import Directions, TangentObjective, cache_tangents

from .models import ARCHITECTURES, MODELS, with_strategies

CPU = torch.device("cpu")
OPTIMIZERS = ("adam", "soap")


def tune(
    potential: Potential,
    frames: Dataset,
    folder: Path,
    strategy: str = "full",
    resume: bool = False,
    **options: Any,
) -> TunedPotential:
    """Make two epochs on all frames but two, two frames a step."""
    chosen = make_strategy(strategy)
    replay = ReplaySettings(size=2 if chosen.replays else None)
    options = {"epochs": 2, "batch": 2, "patience": 9} | options
    execution = Execution(folder, seed=3, resume=resume)
    return adapt(potential, frames[:-2], frames[-2:], strategy=chosen, replay=replay, execution=execution, **options)


def weights(adapted: TunedPotential) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in adapted.backbone.module.parameters()])


def agree(one: TunedPotential, other: TunedPotential) -> None:
    """Hold weights, device and history of two adaptations against each other, to the last bit."""
    assert one.backbone.device == other.backbone.device == CPU
    assert torch.equal(weights(one), weights(other))
    assert len(one.fit.history) >= 3  # the start and every epoch
    for ours, theirs in zip(one.fit.history, other.fit.history, strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}


# ---------------------------------------------------------------------- models


@pytest.mark.parametrize("potential", ARCHITECTURES, indirect=True)
def test_every_model_computes_there_what_it_computes_here(
    potential: Potential, frames: Dataset, gpu: torch.device
) -> None:
    """Losses, their gradients through forces and stress, predictions, features and cached tangents."""

    def found(device: torch.device) -> list[Any]:
        model = copy.deepcopy(potential)
        model.module.to(device)
        groups = Full().prepare(model)
        encoded = encode_all(model, frames.samples)
        objective = FrameObjective(model, frames, frames[:1], LossSettings(), encoded, encoded[:1])
        losses = objective.losses(range(len(frames)), device)
        losses.sum().backward()
        assert model.device == losses.device == device
        slopes = [p.grad.cpu() for g in groups for p in g.parameters.values() if p.grad is not None]
        arrays = [one[name] for one in predict_samples(model, frames.samples) for name in sorted(one)]
        arrays.append(structure_features(model, encoded))
        for one in cache_tangents(model, frames[:2], encoded[:2], Directions(2, 1)):
            arrays += [one.features, one.tangents]
        return [losses.detach().cpu(), objective.validation_sums([0], device), *slopes, *map(torch.as_tensor, arrays)]

    here, there = found(CPU), found(gpu)
    assert len(here) == len(there) > 20
    for ours, theirs in zip(there, here, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


# ------------------------------------------------------------------------ fits


@pytest.mark.parametrize(("potential", "strategy"), with_strategies(MODELS, STRATEGIES), indirect=["potential"])
def test_every_strategy_trains_every_model(
    potential: Potential, strategy: str, frames: Dataset, gpu: torch.device, tmp_path: Path
) -> None:
    """Two steps, of the toy four; by Adam and SOAP in turn, so that each model has both."""
    chosen = frames if potential.card.name == "toy" else frames[[0, 1, 4, 5]]
    optimizer = OPTIMIZERS[list(STRATEGIES).index(strategy) % 2]
    found = tune(potential, chosen, tmp_path, strategy, optimizer=optimizer)
    assert found.fit.steps >= 2
    assert all(math.isfinite(row["validation_loss"]) for row in found.fit.history)
    assert found.backbone.device == potential.device == CPU
    last = checkpoint.content_of(tmp_path)
    pairs = list(zip(last["weights"], last["state"]["average"], strict=True))
    assert all(weight.isfinite().all() for weight, _ in pairs)
    assert not all(torch.equal(weight, average) for weight, average in pairs)  # the average runs behind what moved


def test_a_fit_there_is_the_fit_on_the_cpu(
    made: Callable[[str], Potential], frames: Dataset, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    options = {"processes": 1}
    here = [tune(made("toy"), frames, tmp_path / name, name, **options) for name in STRATEGIES]
    request.getfixturevalue("gpu")
    for one in here:
        agree(tune(made("toy"), frames, tmp_path / "gpu" / one.strategy, one.strategy, **options), one)


class KilledError(Exception):
    """In the middle of a fit."""


def stop_at(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Let the objectives raise when they are asked for a loss so often."""
    asked = 0
    for kind in (FrameObjective, TangentObjective):

        def losses(self: Any, positions: Sequence[int], device: torch.device, real: Any = kind.losses) -> Tensor:
            nonlocal asked
            asked += 1
            if asked > calls:
                raise KilledError
            return real(self, positions, device)

        monkeypatch.setattr(kind, "losses", losses)


@pytest.mark.parametrize(
    ("potential", "strategy", "optimizer"),
    [("toy", strategy, optimizer) for strategy in STRATEGIES for optimizer in OPTIMIZERS] + [("mace", "full", "adam")],
    indirect=["potential"],
)
def test_a_resumed_fit_is_the_unbroken_one(
    potential: Potential,
    strategy: str,
    optimizer: str,
    frames: Dataset,
    gpu: torch.device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed in its second epoch: averages, the best weights and the optimizer's moments come back to the device."""
    options = {"strategy": strategy, "optimizer": optimizer, "epochs": 3, "checkpoint_minutes": 1e-9}
    unbroken = tune(potential, frames, tmp_path / "unbroken", **options)
    with monkeypatch.context() as patch:
        stop_at(patch, calls=4)
        with pytest.raises(KilledError):
            tune(potential, frames, tmp_path / "broken", **options)
    agree(tune(potential, frames, tmp_path / "broken", resume=True, **options), unbroken)

"""What is done with a tuned model that lies on a GPU: predict, save, load, export, tune it further, climb from it.

The GPU is not there (`pretended_device`). The models were tuned on it. `adapt` returned them on the CPU; the tests move
them back.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from matgraft.core.registry import save_folder
from matgraft.core.training.execution import Execution
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import STRATEGIES, Partial
from matgraft.foundations import BACKBONES, load_folder
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.exports.comparison import verify_export
from matgraft.potentials.exports.structures import Structures
from matgraft.potentials.exports.targets import TARGETS
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.tuning.adapt import adapt
from matgraft.potentials.tuning.climb import climb
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.potentials.tuning.ladder import RUNGS, LadderSettings
from matgraft.potentials.tuning.replay import ReplaySettings

from .models import ARCHITECTURES
from .pretended_device import Placed, PlacementError

CPU = torch.device("cpu")
OF_VENDORS = [name for name in ARCHITECTURES if name != "toy"]


@pytest.fixture(scope="module")
def tuned(made: Callable[[str], Potential], frames: Dataset) -> Callable[[str], Potential]:
    """Name -> model after a step of its readout, made once; asked for where the GPU is pretended."""

    def tune(name: str) -> Potential:
        return adapt(made(name), frames[:2], frames[4:], strategy=Partial(["readout"]), epochs=1).backbone

    return functools.cache(tune)


@pytest.fixture
def model(request: pytest.FixtureRequest, gpu: torch.device, tuned: Callable[[str], Potential]) -> Potential:
    """A copy of a tuned model, moved to the GPU."""
    found = copy.deepcopy(tuned(request.param))
    assert found.device == CPU
    found.module.to(gpu)
    return found


@pytest.fixture
def _plain_files(model: Potential, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no tensor of the GPU be written: the vendors' loaders would put it there again, or fail where none is."""

    def refuse(tensor: Placed, protocol: int) -> Any:
        raise PlacementError(f"a tensor {tuple(tensor.shape)} of the GPU goes into a file")

    monkeypatch.setattr(Placed, "__reduce_ex__", refuse)


def close(found: list[dict[str, np.ndarray]], expected: list[dict[str, np.ndarray]], atol: float = 0.0) -> None:
    """Hold predictions against others, quantity by quantity."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other) >= {"energy", "forces"}
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=0, atol=atol)


def test_every_potential_of_the_registry_has_models_here(made: Callable[[str], Potential]) -> None:
    potentials = {name for name, row in BACKBONES.items() if row.exports and row.installed}
    assert potentials <= {made(name).card.backbone for name in OF_VENDORS}


@pytest.mark.usefixtures("_plain_files")
@pytest.mark.parametrize("model", OF_VENDORS, indirect=True)
def test_a_model_there_is_saved_as_the_one_here(
    model: Potential, gpu: torch.device, frames: Dataset, tmp_path: Path
) -> None:
    """It stays there, its files are those of a model on the CPU, and they open on the CPU to its predictions."""
    there = predict_samples(model, frames.samples)
    save_folder(model, tmp_path / "there")
    assert model.device == gpu
    close(predict_samples(model, frames.samples), there)
    loaded = load_folder(tmp_path / "there")
    assert isinstance(loaded, Potential)
    assert loaded.device == CPU
    close(predict_samples(loaded, frames.samples), there, atol=2e-6)
    model.module.to(CPU)
    close(predict_samples(model, frames.samples), there)
    save_folder(model, tmp_path / "here")
    assert load_folder(tmp_path / "here").card == loaded.card


@pytest.mark.usefixtures("_plain_files")
@pytest.mark.parametrize("model", OF_VENDORS, indirect=True)
def test_a_model_there_is_exported_from_there(model: Potential, gpu: torch.device, tmp_path: Path) -> None:
    """Every target of its backbone, checked on one crystal; what is not installed here is said, not passed over."""
    save_folder(model, tmp_path)
    atoms = bulk("Si", "diamond", a=5.5)
    atoms.positions[1] += [0.1, 0.05, -0.02]
    on = Structures((atoms,), (atoms,), (), ("Si",))
    if model.card.backbone != "nequix" or importlib.util.find_spec("nequix"):  # which matgraft does without
        assert max(verify_export(model, tmp_path, on).values()) < 1e-4
    for name in sorted(_exports(model)):
        target = TARGETS[name]
        checks = target.write(model, tmp_path, target.asks(model), on)
        assert checks or name == "native"
        assert all(check.difference is not None or "not installed" in check.reason for check in checks)
    assert model.device == gpu


def _exports(model: Potential) -> set[str]:
    """Return the targets of a model: MatGL writes no LAMMPS file of its CHGNet."""
    names = set(BACKBONES[model.card.backbone].exports)
    return names - {"lammps"} if getattr(model, "architecture", "") == "CHGNet" else names


@pytest.mark.parametrize("model", ["toy"], indirect=True)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_parent_there_is_tuned_as_one_here(
    model: Potential, strategy: str, gpu: torch.device, frames: Dataset
) -> None:
    """It stays there, and what is tuned from it lies here and has the weights that a parent here leads to."""
    here = copy.deepcopy(model)
    here.module.to(CPU)
    rehearsed = ReplaySettings(size=2 if strategy == "replay" else None)
    options: dict[str, Any] = {"strategy": strategy, "replay": rehearsed, "epochs": 1}
    found, expected = (adapt(one, frames[:2], frames[4:], **options).backbone for one in (model, here))
    assert (model.device, found.device) == (gpu, CPU)
    pairs = zip(found.module.parameters(), expected.module.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("model", ["toy"], indirect=True)
@pytest.mark.parametrize("rungs", [RUNGS[:2], RUNGS[2:]])
@pytest.mark.parametrize("place", ["here", "there"])
def test_a_ladder_is_climbed_there(
    model: Potential, rungs: tuple[str, ...], place: str, gpu: torch.device, frames: Dataset, tmp_path: Path
) -> None:
    """From a parent here or there; what is kept lies on the CPU, also when read again."""
    if place == "here":
        model.module.to(CPU)
    before = model.device
    options: dict[str, Any] = {"ladder": LadderSettings(rungs=rungs, worth=0), "replay": ReplaySettings(size=2)}
    found = climb(model, frames[:4], frames[4:], fit=FitSettings(epochs=2), execution=Execution(tmp_path), **options)
    assert [rung.name for rung in found.record.rungs if rung.errors] == ["untuned", "shift", *rungs]
    backbone = found.adapted.backbone
    assert (model.device, backbone.device) == (before, CPU)
    again = climb(model, frames[:4], frames[4:], execution=Execution(tmp_path, resume=True), **options).adapted.backbone
    close(predict_samples(again, frames.samples), predict_samples(backbone, frames.samples))


@pytest.mark.parametrize("model", ["toy"], indirect=True)
def test_a_climb_that_keeps_a_baseline_returns_it_on_the_cpu(
    model: Potential, gpu: torch.device, frames: Dataset
) -> None:
    """No rung has the time to begin."""
    settings = FitSettings(epochs=2, max_minutes=1e-9)
    found = climb(model, frames[:4], frames[4:], ladder=LadderSettings(rungs=("full",)), fit=settings)
    assert found.record.kept in ("untuned", "shift")
    assert (model.device, found.adapted.backbone.device) == (gpu, CPU)


@pytest.mark.parametrize("model", ["toy"], indirect=True)
def test_a_head_of_a_model_there_lies_there(model: Potential, gpu: torch.device, frames: Dataset) -> None:
    many = MultiHeadPotential(model, ["a", "b"])
    with torch.no_grad():
        many.references_at("b")[13] += 1.0
    assert many.device == many.at("b").device == gpu
    shifted = [replace(sample, tags={"head": "b"}) for sample in frames]
    close(predict_samples(many.at("b"), frames.samples), predict_samples(many, shifted))
    many.module.to(CPU)
    close(predict_samples(many.at("b"), frames.samples), predict_samples(many, shifted))

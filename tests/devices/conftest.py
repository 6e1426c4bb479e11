"""Frames and models for tests of placement, and a GPU that is not there for whatever trains."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from matgraft.core import devices, processes
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning import adapt as adapting
from matgraft.potentials.tuning.tangents import Directions

from .models import ARCHITECTURES
from .pretended_device import DEVICE, PretendedDevice


class OneDevice:
    """What the loop asks of lightning's Fabric where one process trains on one device."""

    device, world_size, global_rank = DEVICE, 1, 0

    def __init__(self, **options: object) -> None:
        assert options == {"accelerator": DEVICE.type, "devices": 1, "strategy": "auto"}

    def launch(self) -> None:
        """Nothing is to be started."""

    def broadcast(self, value: Any) -> Any:
        """Return what the only process says."""
        return value


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Let fits train on the pretended device, and let nothing fork: a process with a GPU may not."""
    monkeypatch.setattr(devices, "training_device", lambda: DEVICE)
    monkeypatch.setattr(processes, "can_fork", lambda: False)
    monkeypatch.setattr("lightning_fabric.Fabric", OneDevice)
    with PretendedDevice():
        yield DEVICE


@pytest.fixture(autouse=True)
def _few_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tensors lie does not depend on how many directions are cached."""
    monkeypatch.setattr(adapting, "plan_directions", lambda *given: Directions(2, 1))


# ---------------------------------------------------------------------- frames


@pytest.fixture(scope="session")
def frames() -> Dataset:
    """Six distorted cells of two atoms with labels drawn at random, under the heads a and b; the last has no stress."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(6):
        atoms = bulk("Si", "diamond", a=5.5)
        atoms.symbols = ["Si", "Ge" if i % 3 else "Si"]
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * rng.standard_normal((3, 3))), scale_atoms=True)
        atoms.positions += 0.1 * rng.standard_normal((2, 3))
        stress = 0.02 * rng.standard_normal((3, 3))
        labels = {"energy": np.array(-10.0 + rng.standard_normal()), "forces": rng.standard_normal((2, 3))}
        labels |= {"stress": stress + stress.T} if i < 5 else {}
        samples.append(Sample(atoms, labels, {"head": "ab"[i % 2]}, file="frames.xyz", index=i))
    return Dataset(tuple(samples))


# ---------------------------------------------------------------------- models


@pytest.fixture(scope="session")
def made() -> Callable[[str], Potential]:
    """Name -> model, made once: whoever changes it takes a deep copy."""
    return functools.cache(lambda name: ARCHITECTURES[name]())


@pytest.fixture
def potential(request: pytest.FixtureRequest, made: Callable[[str], Potential]) -> Potential:
    """The model that a test's parameter names."""
    return made(request.param)

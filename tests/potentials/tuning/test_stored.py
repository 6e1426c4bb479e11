"""Training from a store, and on two processes: the weights are those of one process with the frames in memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from matgraft.core.model import Encoded
from matgraft.core.processes import can_fork
from matgraft.core.training.execution import Execution
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store import open_store
from matgraft.potentials.data.store_writing import write_store
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.adapt import TunedPotential, adapt
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective

needs_fork = pytest.mark.skipif(not can_fork(), reason="this system does not fork")


@pytest.fixture(scope="module")
def stored(pairs: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("stored") / "pairs.h5"
    write_store(pairs, path, lambda: pairs.provenance)
    return open_store(path)


def tuned(
    chgnet: Potential, frames: Dataset, folder: Path | None = None, *, resume: bool = False, **options: Any
) -> TunedPotential:
    """Train on four of the frames for six steps, in batches of two and a seed's order."""
    loss = LossSettings(groups={"kind=hot": 2.0})
    options = {"epochs": 3, "batch": 2, "processes": 1, "clip": 1.0} | options
    execution = Execution(folder, seed=4, resume=resume)
    return adapt(chgnet, frames[[5, 1, 2, 4]], frames[[0, 3]], loss=loss, execution=execution, **options)


def weights(adapted: TunedPotential) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in adapted.backbone.module.parameters()]).numpy()


@pytest.fixture(scope="module")
def from_memory(chgnet: Potential, pairs: Dataset) -> TunedPotential:
    return tuned(chgnet, pairs)


@pytest.fixture(scope="module")
def from_store(chgnet: Potential, stored: Dataset) -> TunedPotential:
    return tuned(chgnet, stored)


def test_a_store_changes_no_bit(chgnet: Potential, from_memory: TunedPotential, from_store: TunedPotential) -> None:
    """Batches, references, the bound by memory and every weight."""
    np.testing.assert_array_equal(weights(from_store), weights(from_memory))
    assert from_store.references == from_memory.references
    for ours, theirs in zip(from_store.fit.history, from_memory.fit.history, strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}


@needs_fork
@pytest.mark.parametrize("source", ["pairs", pytest.param("stored", marks=pytest.mark.slow)])
def test_two_processes_are_as_one(
    chgnet: Potential, from_memory: TunedPotential, source: str, request: pytest.FixtureRequest
) -> None:
    """Up to rounding, which SOAP passes on: its steps are as long where a gradient is small as where it is large."""
    both = tuned(chgnet, request.getfixturevalue(source), processes=2)
    assert (both.fit.processes, both.fit.steps) == (2, 6)
    one, before = weights(from_memory), torch.cat([p.flatten() for p in chgnet.module.parameters()]).detach().numpy()
    assert np.linalg.norm(weights(both) - one) < 1e-4 * np.linalg.norm(one - before)
    assert np.abs(weights(both) - one).max() < 1e-2 * np.abs(one - before).max()
    for ours, theirs in zip(both.fit.history, from_memory.fit.history, strict=True):
        for name in ("train_loss", "validation_loss", "validation_forces_rmse_eV_per_A"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4)


@needs_fork
def test_each_process_reads_and_encodes_its_own_share(
    chgnet: Potential, stored: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, encode = FrameObjective.losses, type(chgnet).encode
    encoded: list[int] = []

    def noted(self: FrameObjective, positions: list[int], device: torch.device) -> torch.Tensor:
        encoded.clear()
        found = losses(self, positions, device)
        with (tmp_path / f"{os.getpid()}.txt").open("a") as file:
            file.write(f"{[self.train[i].index for i in positions]} {encoded}\n")
        return found

    def counted(self: Potential, sample: Sample) -> Encoded:
        encoded.append(sample.index)
        return encode(self, sample)

    monkeypatch.setattr(FrameObjective, "losses", noted)
    monkeypatch.setattr(type(chgnet), "encode", counted)
    tuned(chgnet, stored, processes=2, epochs=1, batch=4, max_edges=10**6)
    shares = [file.read_text().split("\n") for file in tmp_path.glob("*.txt")]
    assert len(shares) == 2
    for share, end in shares:
        mine, built = share[: len(share) // 2], share[len(share) // 2 + 1 :]
        assert (mine, end, len(json.loads(mine))) == (built, "", 2)


def test_broken_off_and_resumed(
    chgnet: Potential, stored: Dataset, from_memory: TunedPotential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, calls = FrameObjective.losses, []

    def breaking(self: FrameObjective, positions: list[int], device: torch.device) -> torch.Tensor:
        calls.append(positions)
        if len(calls) == 5:  # the first measures the memory
            raise KeyboardInterrupt
        return losses(self, positions, device)

    monkeypatch.setattr(FrameObjective, "losses", breaking)
    with pytest.raises(KeyboardInterrupt):
        tuned(chgnet, stored, tmp_path)
    resumed = tuned(chgnet, stored, tmp_path, resume=True)
    np.testing.assert_array_equal(weights(resumed), weights(from_memory))
    assert len(calls) == 5 + 1 + 4  # the epoch that was finished is not trained again

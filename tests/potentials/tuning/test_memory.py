"""The bound on a batch that follows from the memory."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from ase.build import bulk

from matgraft.core import devices
from matgraft.core.errors import DataError
from matgraft.core.machine import Memory
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import Full, ParamGroup
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all
from matgraft.potentials.models.room import free_memory
from matgraft.potentials.tuning import memory
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.memory import OVERHEAD, SHARE, bound_by_memory, saved_bytes
from matgraft.potentials.tuning.objectives import FrameObjective


def supercell(i: int) -> Sample:
    """A silicon crystal of 2 (i + 1) atoms."""
    atoms = bulk("Si", "diamond", a=5.4) * (i + 1, 1, 1)
    return Sample(atoms, {"energy": -5.0 * len(atoms), "forces": 0 * atoms.positions}, file="si.xyz", index=i)  # type: ignore[dict-item]


@pytest.fixture
def problem(chgnet: Potential) -> tuple[FrameObjective, list[ParamGroup]]:
    potential = copy.deepcopy(chgnet)
    groups = Full().prepare(potential)
    train = Dataset(tuple(supercell(i) for i in (1, 0, 3)))
    encoded = encode_all(potential, train.samples)
    return FrameObjective(potential, train, train[:1], LossSettings(), encoded, encoded[:1]), groups


def test_a_larger_frame_keeps_more(problem: tuple[FrameObjective, list[ParamGroup]]) -> None:
    objective, _ = problem
    four, two, eight = (saved_bytes(objective, i) for i in range(3))
    weights = sum(p.numel() * 4 for p in objective.backbone.module.parameters())
    assert two < four < eight
    assert (eight - four) == pytest.approx(2 * (four - two), rel=0.2)  # linear in the size
    assert four > weights


def test_a_storage_counts_once(chgnet: Potential, problem: tuple[FrameObjective, list[ParamGroup]]) -> None:
    class Twice:
        backbone = problem[0].backbone
        train = problem[0].train
        training = problem[0].training

        def losses(self, positions: list[int], device: torch.device) -> torch.Tensor:
            x = torch.ones(1000, requires_grad=True)
            return (x * x * x[:1] * x.view(10, 100).sum()).sum()[None]

    assert 4000 * 2 <= saved_bytes(Twice(), 0) <= 4000 * 4  # type: ignore[arg-type]


def test_the_bound_is_the_free_memory_by_what_an_edge_takes(
    problem: tuple[FrameObjective, list[ParamGroup]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured on the frame of median size, here the first."""
    objective, groups = problem
    monkeypatch.setattr(memory, "free_memory", lambda: Memory(2**34, "a test"))
    bound = bound_by_memory(objective, groups, FitSettings()).max_edges
    an_edge = OVERHEAD * saved_bytes(objective, 0) / objective.training[0].n_edges
    assert bound == pytest.approx(SHARE * 2**34 / an_edge, rel=0.02)


def test_no_gradient_is_left_behind(problem: tuple[FrameObjective, list[ParamGroup]]) -> None:
    objective, groups = problem
    bound_by_memory(objective, groups, FitSettings())
    assert all(parameter.grad is None for group in groups for parameter in group.parameters.values())


def test_a_bound_that_is_set_wins(
    problem: tuple[FrameObjective, list[ParamGroup]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: Memory(0, "a test"))
    settings = FitSettings(max_edges=7)
    assert bound_by_memory(*problem, settings) is settings


def test_a_frame_that_cannot_fit_is_named(
    problem: tuple[FrameObjective, list[ParamGroup]], monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, groups = problem
    # Enough for the frame of four atoms, not for the one of eight.
    enough = saved_bytes(objective, 0) * OVERHEAD / SHARE * 1.2
    monkeypatch.setattr(memory, "free_memory", lambda: Memory(int(enough), "a test"))
    with pytest.raises(DataError, match=r"8 atoms.* more than 60 % of the .* that a test leaves") as error:
        bound_by_memory(objective, groups, FitSettings())
    assert error.value.where == "si.xyz frame 3"
    monkeypatch.setattr(memory, "free_memory", lambda: Memory(int(3 * enough), "a test"))
    assert bound_by_memory(objective, groups, FitSettings()).max_edges


def test_free_memory_is_no_more_than_there_is() -> None:
    meminfo = Path("/proc/meminfo")
    total = int(meminfo.read_text().split()[1]) * 1024 if meminfo.is_file() else 4 * 2**30
    if torch.cuda.is_available():
        total = torch.cuda.mem_get_info()[1]
    assert 2**20 < free_memory().bytes <= total


def test_memory_that_torch_keeps_on_a_gpu_is_free_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a first fit most of a GPU is torch's own cache: the second rung of a ladder may use it again."""
    monkeypatch.setattr(devices, "training_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 70 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 1 * 2**30)
    assert free_memory() == Memory(71 * 2**30, "the GPU")

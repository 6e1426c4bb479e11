"""A backbone of milliseconds under the name ``toy``, and frames that it labels."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from torch import Tensor

import matgraft
from matgraft import foundations
from matgraft.core.model import Batch, Encoded
from matgraft.core.registry import BackboneRow
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.registry import POTENTIALS

from ..devices import models as devices


class Toy(devices.Toy):
    """The pair potential of the tests of placement, made smooth at its cutoff, with a file that can be opened."""

    @classmethod
    def shipped(cls, release: str) -> Toy:
        return cls()

    @classmethod
    def from_file(cls, path: Path) -> Toy:
        toy = cls()
        toy.module.load_state_dict(torch.load(path, weights_only=True))
        return toy

    def encode(self, sample: Sample) -> Encoded:
        self.require_sense(sample)
        return super().encode(sample)

    def features(self, batch: Batch) -> Tensor:
        centre = batch["centre"]
        bonds = batch["positions"][batch["neighbour"]] - batch["positions"][centre] + batch["shift"]
        bonds = bonds + torch.bmm(bonds[:, None], batch["strain"][batch.owner[centre]])[:, 0]
        distance = bonds.norm(dim=1, keepdim=True)
        powers = distance ** -torch.arange(1, 5) * (1 + torch.cos(torch.pi * distance / self.card.cutoff_A))
        return self.module["body"](powers.new_zeros(len(batch.owner), 4).index_add(0, centre, powers))


@pytest.fixture(scope="session", autouse=True)
def _toy_backbone() -> Iterator[None]:
    """`load("toy")` and the folder of a tuned toy work as those of any other backbone."""
    module = ModuleType("toy_backbone")
    module.Toy = Toy  # type: ignore[attr-defined]
    row = BackboneRow(
        adapter="toy_backbone:Toy", package="torch", extra="", releases=("1",), opens="toy.pt",
        weights_from="here", licence="MIT", exports={},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "toy_backbone", module)
        patch.setitem(POTENTIALS, "toy", row)
        patch.setitem(foundations.BACKBONES, "toy", row)
        yield


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture(scope="session")
def frames() -> list[Atoms]:
    """Twelve rattled cells of silicon in six trajectories, labelled by the toy and a shift that it has to learn."""
    rng, toy, found = np.random.default_rng(0), Toy(), []
    for i in range(12):
        atoms = bulk("Si", "diamond", a=5.4 + 0.02 * rng.standard_normal(), cubic=True)
        atoms.rattle(0.05, seed=i)
        atoms.calc = toy.calculator()
        energy, forces, stress = atoms.get_potential_energy(), 1.1 * atoms.get_forces(), 1.1 * atoms.get_stress()
        atoms.info["trajectory"] = f"md {i // 2}"
        atoms.calc = SinglePointCalculator(atoms, energy=1.1 * energy - 8.0, forces=forces, stress=stress)
        found.append(atoms)
    return found


QUICK: dict[str, Any] = {
    "foundation": "toy", "strategy": "full", "fit.epochs": 1, "fit.processes": 1, "forgetting.size": 8,
    "split.validation": 0.2, "split.test": 0.2,
}  # fmt: skip


@pytest.fixture(scope="session")
def run(frames: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> matgraft.Run:
    """A finished run on frames in memory."""
    return matgraft.tune(frames, tmp_path_factory.mktemp("runs") / "mine", **QUICK)

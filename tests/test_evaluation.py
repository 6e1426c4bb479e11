"""What further frames are to a run: by what groups they are scored, and which of them the fit has seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matgraft.data.dataset import Dataset, Sample
from matgraft.data.groups import find_groups
from matgraft.data.seen import structure_keys
from matgraft.run.evaluation import _Seen, _summary
from matgraft.run.outcome import _groups


def rattled(seed: int) -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def runs(n_runs: int, length: int, key: str = "md_id") -> Dataset:
    """Simulations named by another key than ``trajectory``."""
    return Dataset(
        tuple(
            Sample(rattled(i), {"energy": np.array(0.0)}, {key: f"run{i // length}"}, file="test.extxyz", index=i)
            for i in range(n_runs * length)
        )
    )


def statics(count: int) -> Dataset:
    """Static calculations of snapshots of one simulation: md/0001/OUTCAR, md/0002/OUTCAR, ..."""
    names = [f"md/{i:04d}/OUTCAR" for i in range(count)]
    return Dataset(
        tuple(
            Sample(rattled(i), {"energy": np.array(0.0)}, {"trajectory": name, "file": name}, file=name)
            for i, name in enumerate(names)
        )
    )


@pytest.mark.parametrize(
    ("test", "n_groups"), [(runs(8, 5), 8), (runs(3, 20, "simulation"), 3), (statics(40), 1)], ids=["md", "sim", "one"]
)
def test_a_test_file_is_scored_by_the_groups_that_the_split_would_find(test: Dataset, n_groups: int) -> None:
    parts: Any = SimpleNamespace(split=SimpleNamespace(test=(), groups=()))
    groups = _groups(parts, "test", test)
    assert len(set(groups)) == n_groups
    assert list(groups) == list(find_groups(test).labels)


def test_a_part_of_the_training_file_is_scored_by_the_groups_of_the_split() -> None:
    parts: Any = SimpleNamespace(split=SimpleNamespace(test=(1, 3), groups=("a", "b", "c", "d")))
    assert list(_groups(parts, "test", runs(1, 2))) == ["b", "d"]


def predicted(dataset: Dataset, factor: float) -> list[dict[str, Any]]:
    return [{"energy": np.array(factor * np.sin(7.0 * i))} for i in range(len(dataset))]


def scored(dataset: Dataset, seen: dict[int, str] | None) -> dict[str, Any]:
    models = {"tuned": predicted(dataset, 0.1), "untuned": predicted(dataset, 1.0), "shift": predicted(dataset, 1.0)}
    what = None if seen is None else _Seen(tuple(seen.get(i, "unseen") for i in range(len(dataset))))
    return _summary(dataset, models, what)


def test_figures_and_verdict_are_those_of_the_unseen_frames() -> None:
    dataset = runs(8, 5)
    whole = scored(dataset, {})
    assert (whole["part"], whole["n_groups"], whole["test"]["n_frames"]) == ("unseen", 8, 40)
    assert whole["verdict"]["level"] == "better than the foundation" and "with_seen" not in whole
    partly = scored(dataset, dict.fromkeys(range(20), "trained_on") | {20: "validated_on"})
    assert partly["frames"] == {"trained_on": 20, "validated_on": 1, "unseen": 19}
    assert partly["test"]["n_frames"] == 19 and partly["n_groups"] == 4  # three whole runs and the rest of a fourth
    assert partly["verdict"]["level"] == "undecided"
    assert partly["with_seen"]["test"] == whole["test"]
    assert "4 of the 19 unseen frames belong to simulations" in partly["verdict"]["cautions"][0]


def test_frames_that_are_all_seen_are_not_judged() -> None:
    found = scored(runs(8, 5), {i: "validated_on" if i < 4 else "trained_on" for i in range(40)})
    assert (found["part"], found["verdict"]["level"]) == ("seen", "not compared")
    assert "36 were trained on and 4 were validated on" in found["verdict"]["headline"]
    older = scored(runs(8, 5), None)
    assert older["frames"] is None and "older" in older["verdict"]["cautions"][0]


def keys(*frames: Atoms) -> list[str]:
    return structure_keys(Dataset(tuple(Sample(atoms, {}) for atoms in frames)))


def test_a_frame_is_known_by_its_structure() -> None:
    atoms = rattled(0)
    digits = atoms.copy()
    digits.positions = np.round(digits.positions, 8)
    other, larger, molecule, germanium = (atoms.copy() for _ in range(4))
    other.positions[3, 1] += 0.01
    larger.set_cell(atoms.cell * 1.001)
    molecule.pbc = False
    germanium.symbols[0] = "Ge"
    first, same, *rest = keys(atoms, digits, other, larger, molecule, germanium)
    assert first == same
    assert len({first, *rest}) == 5


@pytest.mark.parametrize("length", [5.43, 5.4305, 5.4, 3.615, 4.0])
def test_rounding_of_ideal_positions_does_not_hide_a_frame(length: float) -> None:
    """Fractions of round lattice constants do not lie on an edge of the grid."""
    atoms = bulk("Si", "diamond", a=length, cubic=True) * (2, 2, 2)
    noisy = [atoms.copy() for _ in range(20)]
    for seed, one in enumerate(noisy):
        one.positions += np.random.default_rng(seed).uniform(-1e-9, 1e-9, one.positions.shape)
    assert len(set(keys(atoms, *noisy))) == 1

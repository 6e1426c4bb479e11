"""The script that plants faults in real sets: what it writes, and what it takes for caught and cured."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk

from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.recipe import make_recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import real_alarms
from real_alarms import Known, Layout, Opened


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Opened, list[dict[str, np.ndarray]]]:
    """Twenty-four frames of six trajectories, and predictions a little off."""
    rng = np.random.default_rng(0)
    samples, predictions = [], []
    for k in range(24):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=k)
        forces, stress = rng.normal(0, 1, (8, 3)), rng.normal(0, 0.02, (3, 3))
        right = {"energy": np.asarray(-42.0 + rng.normal()), "forces": forces - forces.mean(axis=0)}
        right["stress"] = stress + stress.T
        samples.append(Sample(atoms, right, {"trajectory": f"run {k // 4}"}, index=k))
        predictions.append({name: value * 0.9 + 0.01 * rng.normal() for name, value in right.items()})
    card = SimpleNamespace(elements=("Si",), name="a foundation", theory=LevelOfTheory())
    monkeypatch.setattr(real_alarms, "foundation_of", lambda backbone: SimpleNamespace(card=card))
    known = Known("made", tmp_path / "made.extxyz", planted=True)
    return Opened(known, make_recipe(None, [], train="made.extxyz"), Dataset(tuple(samples))), predictions


@pytest.mark.parametrize(
    ("fault", "layout", "outcome"),
    [
        ("energy in kJ/mol", Layout("all"), "blocked, cured"),
        ("forces in -eV/Å", Layout("all"), "blocked, cured"),
        ("stress in kBar", Layout("all"), "blocked, cured"),
        ("energy 5 eV/atom higher", Layout("half", 0.5, tagged=False), "blocked, cured"),
        ("stress zero", Layout("tenth", 0.1), "left out"),
        ("forces NaN", Layout("tenth", 0.1), "left out"),
        ("energy zero", Layout("all"), "refused, cured"),
    ],
)
def test_a_planted_fault_is_caught_and_what_is_printed_is_typed(one, fault, layout, outcome, tmp_path):
    opened, predictions = one
    planted = real_alarms.plant(opened, predictions, fault, layout, tmp_path / "frames.extxyz")
    assert planted.wrong.sum() == round(layout.share * 24)
    assert real_alarms.tried(planted, "" if fault in real_alarms.ABSENT else "CHGNet", fault) == outcome


def test_right_labels_and_a_fault_too_small_to_tell_count_as_neither(one, tmp_path, monkeypatch):
    opened, predictions = one
    row = real_alarms.right(opened, "CHGNet", predictions)
    assert (row["sets"], row["blocks"], row["frames"]) == (7, {}, 24)
    monkeypatch.setitem(real_alarms.FAULTS, "energy off", real_alarms.offset(0.001))
    planted = real_alarms.plant(opened, predictions, "energy off", Layout("half", 0.5), tmp_path / "frames.extxyz")
    assert real_alarms.tried(planted, "CHGNet", "energy off") == "missed"
    spoilt = [{**own, "energy": -own["energy"]} for own in predictions]
    assert "energy-unit" in real_alarms.right(opened, "CHGNet", spoilt)["blocks"]["all frames"]


def test_a_machine_without_the_sets_skips(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(real_alarms, "SHARED", tmp_path / "gone")
    monkeypatch.setattr("sys.argv", ["real_alarms.py", "--out", str(tmp_path / "out.json")])
    real_alarms.main()
    assert "skipped" in capsys.readouterr().out
    assert len({known.name for known in real_alarms.known_sets()}) == len(real_alarms.known_sets())

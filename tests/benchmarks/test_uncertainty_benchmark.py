"""The benchmark of uncertainties: frames outside are what they are called, and judgement on errors that are known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from matgraft.core.quantities import Array
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.uncertainty.fit import fit_on_rows
from matgraft.potentials.uncertainty.rows import FrameRows

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import _unseen as unseen
import uncertainty as benchmark


def rows_of(count: int, spread: float, rng: np.random.Generator) -> list[FrameRows]:
    """Frames of six atoms whose force errors are as large as their forces, tenfold less."""
    found = []
    for _ in range(count):
        forces: Array = rng.normal(size=(6, 1)) * rng.normal(size=(6, 3))
        errors = 0.1 * np.linalg.norm(forces, axis=1, keepdims=True) * rng.normal(size=(6, 3))
        rows = spread * rng.normal(size=(6, 5))
        found.append(FrameRows(rows, np.full(6, 14), forces, float(0.01 * rng.normal()), errors))
    return found


def test_frames_outside_are_made_of_those_inside() -> None:
    frames = Dataset([Sample(bulk("Si", cubic=True, a=5.4 + 0.01 * i), {}) for i in range(9)])
    made = {kind: unseen.outside(frames, change) for kind, change in unseen.OUTSIDE.items()}
    assert {len(each) for each in made.values()} == {unseen.MADE}
    first = frames[0].content
    assert made["cell -10 %"][0].content.get_volume() == pytest.approx(0.9**3 * first.get_volume())
    assert made["vacancy"][0].n_atoms == first.get_global_number_of_atoms() - 1
    assert made["interstitial"][0].n_atoms == len(first) + 1
    assert list(made["foreign element"][0].content.symbols).count("Sn") == 1
    moved = np.concatenate([each.content.positions - frames[0].content.positions for each in made["molten"][:1]])
    assert 0.3 < moved.std() < 0.7


def test_frames_are_dealt_out_by_simulation_and_each_is_held_out() -> None:
    names = [f"simulation {i // 3}" for i in range(30)] + ["Vacancy at 300 K", "Si_surface (111)"]
    turns = np.array([list(unseen.parts(names, turn)) for turn in range(unseen.FOLDS)])
    assert (np.sort(turns, axis=0) == np.arange(unseen.FOLDS)[:, None]).all()
    of_bulk = list(unseen.parts(names, None))
    assert of_bulk[30:] == [2, 2] and set(of_bulk[:30]) == {0, 1}
    for part in (*turns.tolist(), of_bulk):
        assert all(len(set(part[i : i + 3])) == 1 for i in range(0, 30, 3))


def test_judgement_is_right_where_the_deviation_is_known() -> None:
    rng = np.random.default_rng(0)
    parts = [([np.abs(rng.normal(size=60)) for _ in range(300)], np.arange(300) // 10) for _ in range(2)]
    found = benchmark.judged(*parts)
    assert np.mean(list(found.values()), axis=0) == pytest.approx((0.683, 0.954), abs=0.015)
    assert set(found) == set(range(30))
    tails = [([np.abs(rng.standard_t(3, size=60)) for _ in range(300)], np.arange(300) // 10) for _ in range(2)]
    one, two = np.mean(list(benchmark.judged(*tails, one_factor=True).values()), axis=0)
    assert one > 0.7 and two < 0.94


def test_the_gate_tells_rows_that_are_far() -> None:
    rng = np.random.default_rng(1)
    train, held, test = (rows_of(count, 1.0, rng) for count in (60, 30, 20))
    of_held = np.arange(30) // 5
    found = fit_on_rows((train, np.arange(60) // 6), (held, 10 + of_held), "")
    judged = benchmark.judge_gate(found, test, {"far": rows_of(10, 30.0, rng)})
    assert judged["auroc"]["nearest"]["far"] == judged["auroc"]["Mahalanobis"]["far"] == judged["caught"]["far"] == 1
    assert judged["inside above"] <= 0.2
    told = unseen.Unseen(
        train, np.arange(60) // 6, held + test, np.concatenate([of_held, 6 + np.arange(20) // 4]),
        np.repeat([1, 2], [30, 20]), [f"{i}" for i in range(11)], {}, 0,
    )  # fmt: skip
    turn = benchmark.judge_turn(told)
    assert turn["forces"]["force"]["rank"] > 0.6 and turn["forces"]["one for all"]["rank"] is None
    assert len(turn["forces"]["force"]["within"]) == len(turn["energies"]["LLPR"]["within"]) == 11
    row = {"set": "Si", "model": "CHGNet"} | turn
    one, two, simulations, _ = benchmark.pooled([row, row], "forces", "force")
    assert simulations == "11" and "±" in one and "±" in two

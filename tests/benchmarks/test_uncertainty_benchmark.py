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
    made = {kind: benchmark.outside(frames, change) for kind, change in benchmark.OUTSIDE.items()}
    assert {len(each) for each in made.values()} == {benchmark.MADE}
    first = frames[0].content
    assert made["cell -10 %"][0].content.get_volume() == pytest.approx(0.9**3 * first.get_volume())
    assert made["vacancy"][0].n_atoms == first.get_global_number_of_atoms() - 1
    assert made["interstitial"][0].n_atoms == len(first) + 1
    assert list(made["foreign element"][0].content.symbols).count("Sn") == 1
    moved = np.concatenate([each.content.positions - frames[0].content.positions for each in made["molten"][:1]])
    assert 0.3 < moved.std() < 0.7


def test_judgement_is_right_where_the_deviation_is_known() -> None:
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.1, 1, 300)
    ratios = [np.abs(rng.normal(size=60)) for _ in sigma]
    found = benchmark.judged(ratios, sigma.tolist(), (sigma * 1.1).tolist(), np.arange(300) // 10)
    assert (found["one"], found["two"]) == pytest.approx((0.683, 0.954), abs=0.01)
    assert found["rank"] == pytest.approx(1)


def test_the_gate_tells_rows_that_are_far() -> None:
    rng = np.random.default_rng(1)
    train, held, test = (rows_of(count, 1.0, rng) for count in (60, 30, 20))
    found = fit_on_rows((train, np.arange(60) // 6), (held, 10 + np.arange(30) // 5), "")
    judged = benchmark.judge_gate(found, (test, np.arange(20)), {"far": rows_of(10, 30.0, rng)})
    assert judged["auroc"]["nearest"]["far"] == judged["auroc"]["Mahalanobis"]["far"] == judged["caught"]["far"] == 1
    assert judged["test frames outside"] <= 0.2
    methods = {"one for all": [[np.ones(6) for _ in part] for part in (held, test)]}
    methods["force"] = [[np.linalg.norm(frame.forces, axis=1) for frame in part] for part in (held, test)]
    of_held, of_test = ({name: each[i] for name, each in methods.items()} for i in (0, 1))
    forces = benchmark.judge_forces((held, np.arange(30) // 5), (test, np.arange(20)), of_held, of_test)
    assert abs(forces["force"]["one"] - 0.683) < abs(forces["one for all"]["one"] - 0.683)
    assert forces["force"]["rank"] > 0.6

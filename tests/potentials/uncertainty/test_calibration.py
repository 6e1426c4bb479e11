"""Scales and thresholds on numbers that were drawn from known distributions."""

from __future__ import annotations

import numpy as np
import pytest

from matgraft.core.quantities import Array
from matgraft.core.statistics import conformal_quantile
from matgraft.potentials.uncertainty.calibration import (
    MOST_PARTS,
    HeldOutFrames,
    calibrate_energies,
    calibrate_forces,
    calibrate_gate,
    error_bounds,
)
from matgraft.potentials.uncertainty.fit import _chosen, fit_on_rows
from matgraft.potentials.uncertainty.known import ENOUGH, fit_known
from matgraft.potentials.uncertainty.rows import FrameRows

WIDTH = 4


def frames_of(groups: int, frames: int, atoms: int, rng: np.random.Generator) -> tuple[HeldOutFrames, Array]:
    """Frames whose force errors are normal, with a deviation that follows distance and force; and these deviations."""
    made, distances, deviations = [], [], []
    for _ in range(groups * frames):
        distance, forces = rng.uniform(0.1, 3, atoms), rng.normal(size=(atoms, 3))
        sigma = 0.05 * distance * np.sqrt(1 + 4 * np.square(forces).sum(1))
        errors = sigma[:, None] * rng.normal(size=(atoms, 3))
        rows = rng.normal(size=(atoms, WIDTH))
        made.append(FrameRows(rows, np.full(atoms, 14), forces, float(rng.normal(0, 0.003)), errors))
        distances.append(distance)
        deviations.append(sigma)
    return HeldOutFrames(made, np.repeat(np.arange(groups), frames), distances, are_new=True), np.concatenate(
        deviations
    )


def test_the_deviation_of_forces_is_found_again() -> None:
    held, deviations = frames_of(20, 4, 25, np.random.default_rng(0))
    rule = calibrate_forces(held)
    assert rule is not None
    sizes = np.concatenate([np.linalg.norm(frame.forces, axis=1) for frame in held.frames if frame.forces is not None])
    found = rule.std(np.concatenate(held.distances), sizes)
    assert np.median(found / deviations) == pytest.approx(1, abs=0.05)
    assert np.quantile(np.abs(np.log(found / deviations)), 0.9) < 0.3  # from 0.02 to 0.6 eV/Å
    assert rule.calibration.coverage == pytest.approx((0.683, 0.954), abs=0.03)
    assert rule.calibration.n_groups == 20
    assert rule.calibration.is_calibrated


def test_the_scale_of_energies_is_that_of_their_errors() -> None:
    held, _ = frames_of(20, 8, 6, np.random.default_rng(1))
    rule = calibrate_energies(held, np.zeros(WIDTH), np.zeros((WIDTH, WIDTH)), n_frames=25)  # std: scale / 5
    assert rule is not None
    assert rule.scale / 5 == pytest.approx(0.003, rel=0.1)
    assert rule.calibration.coverage == pytest.approx((0.683, 0.954), abs=0.07)


@pytest.mark.parametrize("groups", [6, 9, 2 * MOST_PARTS])
@pytest.mark.parametrize("spread", [0.0, 0.7])
def test_both_levels_hold_for_a_new_simulation_whose_errors_have_long_tails(groups: int, spread: float) -> None:
    """Student's errors, and simulations that err by 0.5 to 2 times as much: one factor cannot give both levels."""
    rng = np.random.default_rng(9)
    inside = []
    for _ in range(60):
        size = np.exp(spread * rng.normal(size=(groups + 40, 1)))
        errors = np.abs(size * rng.standard_t(3, size=(groups + 40, 30)))
        bounds = error_bounds(errors[:groups].ravel(), np.repeat(np.arange(groups), 30))
        inside.append([np.mean(errors[groups:] <= bound) for bound in bounds])
        assert bounds[1] > 2.05 * bounds[0]
    assert np.mean(inside, axis=0) == pytest.approx((0.683, 0.954), abs=0.03)


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_bounds_of_errors_that_are_all_alike_are_these(groups: int) -> None:
    assert error_bounds(np.full(10, 0.2), np.arange(10) % groups) == pytest.approx((0.2, 0.2))
    assert min(error_bounds(np.zeros(10), np.arange(10) % groups)) > 0


def test_few_simulations_are_not_called_a_calibration() -> None:
    held, _ = frames_of(4, 5, 10, np.random.default_rng(2))
    rule, gate = calibrate_forces(held), calibrate_gate(np.arange(20.0), held.groups, are_new=True)
    assert rule is not None
    for calibration in (rule.calibration, gate.calibration):
        assert not calibration.is_calibrated
        assert "4 held-out simulations" in calibration.reason
        assert calibration.coverage is None
    assert gate.level == 0.8  # of four simulations and the new one, four
    known = calibrate_gate(np.arange(20.0), np.arange(20), are_new=False).calibration
    assert known.n_groups == 0
    assert not known.is_calibrated


def test_no_label_is_no_deviation() -> None:
    unlabelled = FrameRows(np.zeros((2, WIDTH)), np.array([14, 14]), np.zeros((2, 3)))
    held = HeldOutFrames([unlabelled], np.array([0]), [np.ones(2)], are_new=True)
    assert calibrate_forces(held) is None
    assert calibrate_energies(held, np.zeros(WIDTH), np.eye(WIDTH), 3) is None


def test_the_conformal_bound_holds_for_new_groups() -> None:
    """Frames of one group resemble each other: a bound over frames would hold too rarely, one over groups holds."""
    rng = np.random.default_rng(3)
    inside = []
    for _ in range(400):
        level = rng.normal(size=20)
        scores = np.repeat(level, 10) + 0.1 * rng.normal(size=200)
        bound = conformal_quantile(scores, np.repeat(np.arange(20), 10), 0.9)
        inside.append(rng.normal() + 0.1 * rng.normal() <= bound)
    assert 0.87 <= np.mean(inside) <= 0.97


def test_the_conformal_bound_by_hand() -> None:
    units = np.array([0, 0, 1, 2, 3])
    scores = np.array([9.0, 1.0, 2.0, 3.0, 4.0])
    # Four units weigh 1/5 each, the first one's two rows 1/10: 1 -> .1, 2 -> .3, 3 -> .5, 4 -> .7, 9 -> .8.
    assert conformal_quantile(scores, units, 0.5) == 3
    assert conformal_quantile(scores, units, 0.71) == 9
    assert conformal_quantile(scores, units, 0.81) == np.inf


def by_hand(row: Array, candidates: Array, rows: Array, numbers: Array) -> float:
    """Return the distance of a row from the nearest candidate, in units of the spread of all rows within elements."""
    centred = np.concatenate([rows[numbers == Z] - rows[numbers == Z].mean(0) for Z in np.unique(numbers)])
    covariance = centred.T @ centred / len(rows)
    ridge = 0.01 * np.trace(covariance) / WIDTH * np.eye(WIDTH)
    inverse = np.linalg.inv(covariance + ridge)
    apart = row - candidates
    return float(np.sqrt(np.einsum("ij,jk,ik->i", apart, inverse, apart).min() / WIDTH))


def test_distances_are_those_of_mahalanobis_to_the_nearest_of_the_element() -> None:
    rng = np.random.default_rng(4)
    numbers = np.repeat([14, 32], [12, 9])
    rows = rng.normal(size=(21, WIDTH)) * [3, 1, 0.1, 0.5] + 5 * (numbers == 32)[:, None]
    frames = [FrameRows(rows[part], numbers[part]) for part in (slice(0, 15), slice(15, 21))]
    grouped = fit_known(frames, np.array([0, 1]), seed=0)
    new = rng.normal(size=(3, WIDTH)) + 1
    found = grouped.known.distances(new, np.array([14, 32, 6]))
    expected = [by_hand(new[i], rows[numbers == Z], rows, numbers) for i, Z in ((0, 14), (1, 32))]
    assert found[:2] == pytest.approx(expected, rel=1e-4)
    assert found[2] == np.inf
    assert grouped.known.distances(rows, numbers) == pytest.approx(0, abs=1e-3)
    left_out = grouped.held_out(frames[1], 1)  # germanium: three rows of the other group are left
    others = rows[:15][numbers[:15] == 32]
    assert left_out == pytest.approx([by_hand(row, others, rows, numbers) for row in rows[15:]], rel=1e-4)


def test_an_element_with_rows_enough_has_a_spread_of_its_own() -> None:
    rng = np.random.default_rng(5)
    many = ENOUGH * WIDTH
    numbers = np.repeat([14, 32], [many, many - 1])
    rows = rng.normal(size=(2 * many - 1, WIDTH)) * np.where(numbers == 14, 10.0, 0.1)[:, None]
    known = fit_known([FrameRows(rows, numbers)], np.array([0]), seed=0).known
    assert known.map_of.tolist() == [1, 0]
    assert np.sqrt(np.square(known.rows[known.rows_of == 14]).mean()) == pytest.approx(1, rel=0.05)


def test_thinned_rows_keep_small_simulations_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matgraft.potentials.uncertainty.known.MOST_OF_ONE", 30)
    rng = np.random.default_rng(6)
    sizes = [100, 5, 60]
    frames = [FrameRows(rng.normal(size=(size, WIDTH)), np.full(size, 14)) for size in sizes]
    kept = np.bincount(fit_known(frames, np.arange(3), seed=0).groups)
    assert kept.sum() == 30
    assert kept[1] == 5
    assert abs(int(kept[0]) - int(kept[2])) <= 1


def test_a_frame_of_a_rare_element_is_kept_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matgraft.potentials.uncertainty.fit.MOST_ATOMS", 400)
    numbers = [np.full(10, 14) for _ in range(200)]
    numbers[123] = np.array([14, 14, 15])  # in a simulation of its own, in that of all others, and among lone frames
    own = np.zeros(200, dtype=int)
    own[123] = 1
    for simulations in (own, np.zeros(200, dtype=int), np.arange(200)):
        kept = _chosen(numbers, simulations, seed=0)
        assert 123 in kept and (kept == _chosen(numbers, simulations, seed=0)).all()
        assert 390 < sum(len(numbers[i]) for i in kept) <= 400
    halves = np.repeat([0, 1], [160, 40])
    kept = _chosen([np.full(10, 14)] * 200, halves, seed=0)
    assert np.bincount(halves[kept]).tolist() == [20, 20]
    assert _chosen(numbers[:30], own[:30], seed=0).tolist() == list(range(30))


def test_where_no_held_out_frame_tells_a_distance_every_atom_is_outside() -> None:
    rng = np.random.default_rng(7)

    def of(Z: int) -> list[FrameRows]:
        return [FrameRows(rng.normal(size=(4, WIDTH)), np.full(4, Z)) for _ in range(3)]

    found = fit_on_rows((of(14), np.zeros(3, dtype=int)), (of(32), np.ones(3, dtype=int)), "sha")
    outside = found.estimate(rng.normal(size=(2, WIDTH)), np.array([14, 32]))["extrapolation"]
    assert outside[0] > 1 and np.isfinite(outside[0]) and outside[1] == np.inf
    assert found.card.gate.level == 0 and found.card.gate.calibration.reason

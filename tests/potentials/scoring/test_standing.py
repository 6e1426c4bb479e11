"""Which of several models errs least, and when that is more than chance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from matgraft.core.quantities import ENERGY, FORCES
from matgraft.potentials.scoring.frame_errors import FrameErrors
from matgraft.potentials.scoring.standing import Standing, stand


def of(forces: np.ndarray) -> FrameErrors:
    """Errors of frames with three force components each, all of one size."""
    sums = np.stack([np.full(len(forces), 3.0), 3 * np.abs(forces), 3 * forces**2], 1)
    return FrameErrors({"forces": FORCES}, {"forces": sums}, len(forces))


RNG = np.random.default_rng(0)
NOISE = 1 + 0.1 * RNG.random(40)
GROUPS = [f"t{i // 4}" for i in range(40)]


def forces(**models: np.ndarray) -> Standing:
    (found,) = stand({name: of(each) for name, each in models.items()}, GROUPS)
    return found


def test_a_model_with_half_the_error_is_best_beyond_chance() -> None:
    found = forces(a=NOISE, b=0.5 * NOISE[::-1], c=0.8 * NOISE)
    assert (found.best, [one.model for one in found.rivals]) == ("b", ["c", "a"])
    assert found.error == pytest.approx(0.5 * math.sqrt(np.mean(NOISE**2)))
    assert all(one.beyond_chance and one.interval and one.interval[1] < 1 for one in found.rivals)
    assert found.rivals[1].ratio == pytest.approx(0.5)
    assert found.sentence.startswith("Forces: b errs least (0.527 eV/Å): beyond chance against c (ratio 0.62")


def test_equal_models_are_not_told_apart() -> None:
    found = forces(a=NOISE, b=RNG.permutation(NOISE), c=3 * NOISE)
    second, third = found.rivals
    assert not second.beyond_chance and third.model == "c" and third.beyond_chance
    assert "beyond chance against c" in found.sentence and f"not beyond chance against {second.model}" in found.sentence


def test_few_trajectories_decide_nothing() -> None:
    (found,) = stand({"a": of(NOISE), "b": of(2 * NOISE)}, [f"t{i % 4}" for i in range(40)])
    assert found.best == "a" and found.rivals[0].interval is None and not found.rivals[0].beyond_chance
    assert "4 trajectories with labels, 5 are needed" in found.sentence


def test_a_model_that_diverges_is_last_and_two_perfect_ones_are_equal() -> None:
    found = forces(a=np.where(np.arange(40) == 3, np.nan, NOISE), b=NOISE)
    assert found.best == "b" and found.rivals[0].error == math.inf and "a (not finite)" in found.sentence
    assert "no difference" in forces(a=1e-6 * NOISE, b=1e-5 * NOISE).sentence
    assert stand({"a": of(np.full(40, np.nan)), "b": of(np.full(40, np.inf))}, GROUPS) == []


def test_one_model_is_not_compared_and_a_quantity_of_one_model_neither() -> None:
    assert stand({"a": of(NOISE)}, GROUPS) == []
    energies = FrameErrors({"energy": ENERGY}, {"energy": of(NOISE).sums["forces"]}, 40)
    assert stand({"a": of(NOISE), "b": energies}, GROUPS) == []

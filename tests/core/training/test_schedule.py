"""Rates and plans: functions of the step and of the time taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from matgraft.core.training.schedule import (
    FLOOR,
    LEAST_PATIENCE,
    RESERVE,
    FitSettings,
    decay_start,
    patience_in,
    plan_steps,
    rate_factor,
)


def test_warm_up_peak_and_floor_by_hand() -> None:
    """Ten of a hundred steps rise; half-way down the cosine stands half-way between one and the floor."""
    factors = [rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx((1 + FLOOR) / 2)
    assert factors[100] == pytest.approx(FLOOR)
    assert rate_factor(1000, 100, 0.1) == pytest.approx(FLOOR)  # beyond a plan that shrank


def test_a_rate_that_is_held_falls_later_and_as_far() -> None:
    factors = [rate_factor(step, 110, 1 / 11, hold=0.6) for step in range(111)]
    assert factors[9:71] == [1.0] * 62  # ten steps rise, sixty of the hundred left hold
    assert factors[90] == pytest.approx((1 + FLOOR) / 2)
    assert factors[110] == pytest.approx(FLOOR)


@given(st.integers(1, 2000), st.floats(0, 0.9), st.floats(0, 0.9))
def test_rises_then_falls_between_floor_and_one(total: int, warmup: float, hold: float) -> None:
    factors = [rate_factor(step, total, warmup, hold=hold) for step in range(total)]
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert max(factors) == 1.0
    assert min(factors) > 0


def test_without_warm_up_the_first_step_is_full() -> None:
    assert rate_factor(0, 50, 0.0) == 1.0


def test_a_later_start_rests_and_then_warms_up_to_the_common_rate() -> None:
    common, late = ([rate_factor(step, 100, 0.1, start) for step in range(100)] for start in (0.0, 0.4))
    assert late[:40] == [0.0] * 40
    assert late[40:50] == pytest.approx([0.1 * (i + 1) * common[40 + i] for i in range(10)])
    assert late[50:] == common[50:]


def test_epochs_alone() -> None:
    assert plan_steps(FitSettings(epochs=3), 7, 0, 0.0, 0.0) == 21


def test_minutes_alone() -> None:
    """Of 100 s, less the reserve, 87 are left: 43 steps of 2 s more, or 87 of 1 s."""
    settings = FitSettings(max_minutes=100 / 60)
    assert RESERVE == 0.03
    assert plan_steps(settings, 7, 5, 10.0, 2.0) == 5 + 43
    assert plan_steps(settings, 7, 5, 10.0, 1.0) == 5 + 87
    assert plan_steps(settings, 7, 60, 99.0, 1.0) == 60  # time is up: no further step is planned
    assert plan_steps(settings, 7, 60, 500.0, 1.0) == 60


def test_the_last_validation_is_part_of_the_minutes() -> None:
    """Of 100 s, less the reserve, 67 are left."""
    assert plan_steps(FitSettings(max_minutes=100 / 60), 7, 5, 10.0, 2.0, ending=20.0) == 5 + 33


def test_the_smaller_of_both() -> None:
    settings = FitSettings(max_minutes=100 / 60, epochs=3)
    assert plan_steps(settings, 7, 5, 10.0, 2.0) == 21
    assert plan_steps(settings, 70, 5, 10.0, 2.0) == 48


def test_at_least_one_step() -> None:
    assert plan_steps(FitSettings(max_minutes=1e-6), 7, 0, 100.0, 1.0) == 1


@given(st.integers(1, 2000), st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0, 0.9))
def test_the_decay_starts_where_the_rate_begins_to_fall(total: int, warmup: float, hold: float, start: float) -> None:
    factors = [rate_factor(step, total, warmup, start, hold) for step in range(total + 1)]
    begins = decay_start(total, warmup, start, hold)
    assert factors[begins:] == sorted(factors[begins:], reverse=True)
    before = [rate_factor(step, total, warmup, 0.0, hold) for step in range(decay_start(total, warmup, 0.0, hold))]
    assert before == sorted(before)
    assert before[-1] == 1.0


def test_patience_by_number_and_by_part() -> None:
    assert patience_in(FitSettings(), 500, 5) is None
    assert patience_in(FitSettings(patience=3), 500, 5) == 3
    assert patience_in(FitSettings(patience=0.25), 500, 5) == 25
    assert patience_in(FitSettings(patience=0.25, validate_every=2), 500, 5) == 12
    assert patience_in(FitSettings(patience=0.25), 50, 5) == LEAST_PATIENCE == 10
    assert patience_in(FitSettings(patience=0.5), 512, 5) == 51  # a plan by minutes ends within an epoch


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: 0} for name in ("rate", "epochs", "max_minutes", "batch", "patience", "validate_every", "processes")),
        {"checkpoint_minutes": 0},
        {"warmup": 1.0},
        {"ema": 1.0},
        {"clip": -1},
        {"patience": -0.5},
        {"patience": 1.5},
        {"learning_rate": 1},
    ],
)
def test_values_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        FitSettings(**wrong)  # type: ignore[arg-type]

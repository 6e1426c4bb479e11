"""Expected improvement: closed forms against integrals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from matgraft.formulas.learners.transform import Transform
from matgraft.formulas.report.suggested import Goal
from matgraft.formulas.suggest.worth import Worth, entropy, expected_excess

NUMBER = st.floats(-5, 5)
WIDTH = st.floats(0.05, 5)


def worth_of(goal, value, deviation, measured, transform=None):
    sides = tuple(np.atleast_1d(np.asarray(one, float)) for one in (value, deviation, deviation))
    return Worth.of_values(goal, sides, transform or Transform(), np.asarray(measured, float))


@given(NUMBER, WIDTH, NUMBER)
def test_expected_excess_is_the_integral(mean, deviation, threshold):
    y = np.linspace(threshold, max(threshold, mean) + 9 * deviation, 20001)
    exact = np.trapezoid((y - threshold) * norm.pdf(y, mean, deviation), y)
    assert expected_excess(np.array([mean]), np.array([deviation]), np.array([threshold]))[0] == pytest.approx(
        exact, abs=1e-5
    )


@given(NUMBER, WIDTH, NUMBER, st.floats(0.1, 3))
def test_improvement_toward_a_value_is_the_integral(value, deviation, wanted, distance):
    made = worth_of(Goal(kind="target-value", value=wanted), value, deviation, [wanted + distance, wanted + 9])

    y = np.linspace(wanted - distance, wanted + distance, 20001)
    exact = np.trapezoid((distance - abs(y - wanted)) * norm.pdf(y, value, deviation), y)
    assert made(np.ones(1))[0] == pytest.approx(exact, abs=1e-5)


def test_what_is_certain_improves_by_what_it_exceeds_the_best():
    found = expected_excess(np.array([3.0, 1.0]), np.zeros(2), np.array([2.0]))
    assert found.tolist() == [1.0, 0.0]


@given(NUMBER, WIDTH, st.lists(NUMBER, min_size=1, max_size=5))
def test_to_minimise_is_to_maximise_the_negative(value, deviation, measured):
    down = worth_of(Goal(kind="minimise"), value, deviation, measured)
    up = worth_of(Goal(kind="maximise"), -value, deviation, [-one for one in measured])
    assert down(np.ones(1)) == pytest.approx(up(np.ones(1)))


def test_the_side_toward_the_goal_counts():
    sides = (np.zeros(2), np.array([1.0, 0.1]), np.array([0.1, 1.0]))
    for kind, first in (("maximise", 1), ("minimise", 0)):
        found = Worth.of_values(Goal(kind=kind), sides, Transform(), np.array([0.5, -0.5]))(np.ones(2))
        assert np.argmax(found) == first


def test_a_row_with_the_wanted_value_leaves_candidates_apart():
    made = worth_of(Goal(kind="target-value", value=1.0), [1.0, 4.0], [0.3, 0.3], [1.0, 2.0])
    near, far = made(np.ones(2))
    assert near > far >= 0


def test_a_wanted_value_is_meant_on_the_scale_that_was_learned():
    log = Transform(scale="log", positive=True)
    made = worth_of(Goal(kind="target-value", value=100.0), np.log([100.0, 1000.0]), [0.1, 0.1], np.log([10.0]), log)
    assert made.place == pytest.approx([0.0, np.log(10)])
    assert -made.best == pytest.approx(np.log(10))


def test_what_the_batch_tells_already_is_worth_less():
    likely = np.array([0.9, 0.6])
    made = Worth(likely, np.ones(2), np.ones(2))
    assert made(np.array([0.5, 1.0])) == pytest.approx([0.45, 0.6])


def test_entropy_is_in_bits():
    assert entropy(np.array([[0.5, 0.5], [1.0, 0.0]])) == pytest.approx([1.0, 0.0])

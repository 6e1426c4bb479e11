"""A batch: what measuring one candidate does to the others, against the whole matrix; and that it spreads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from matgraft.formulas.suggest import batch
from matgraft.formulas.suggest.batch import Joint, choose_batch, matern
from matgraft.formulas.suggest.worth import Worth


def drawn(m, seed=0, width=2):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (m, width)), rng.uniform(0.2, 2, m)


def whole(points, deviation):
    return matern(cdist(points, points)) * deviation[:, None] * deviation


def conditioned(covariance, i):
    return covariance - np.outer(covariance[:, i], covariance[i]) / covariance[i, i]


@given(st.integers(0, 1000), st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True))
@settings(max_examples=30)
def test_measurements_shrink_variances_as_in_the_joint_normal_distribution(seed, measured):
    points, deviation = drawn(12, seed)
    joint, exact = Joint(points, deviation), whole(points, deviation)
    total = np.trace(exact)
    for i in measured:
        before = np.trace(exact)
        told = joint.information()[i]
        exact = conditioned(exact, i)
        assert told == pytest.approx((before - np.trace(exact)) / total, abs=1e-9)
        joint.measure(i)
    assert joint.variance == pytest.approx(np.diag(exact), abs=1e-9)


def test_a_sample_of_the_candidates_speaks_for_all(monkeypatch):
    points, deviation = drawn(600, 3)
    monkeypatch.setattr(batch, "MOST_HEARD", 600)
    exact = Joint(points, deviation).information()
    monkeypatch.setattr(batch, "MOST_HEARD", 200)
    sampled = np.mean([Joint(points, deviation, seed).information() for seed in range(20)], 0)
    assert sampled == pytest.approx(exact, rel=0.15)


def test_what_is_measured_tells_nothing_more():
    points, deviation = drawn(5)
    joint = Joint(points, deviation)
    joint.measure(2)
    joint.measure(2)
    assert joint.information()[2] == 0 and joint.left[2] == pytest.approx(0, abs=1e-6)
    assert np.isfinite(joint.information()).all()


def test_a_twin_of_a_pick_is_left_for_other_chemistry():
    points = np.array([[0.0, 0], [0.01, 0], [5.0, 0], [9.0, 9]])
    worth = Worth(np.array([2.0, 1.99, 1.5, 0.0]), np.full(4, 0.5), np.full(4, 0.5), 1.0)
    picks = choose_batch(Joint(points, np.full(4, 0.5)), worth, 2, 0.0)
    assert [one.index for one in picks] == [0, 2]
    assert picks[0].improvement > picks[1].improvement


def test_without_a_goal_one_that_speaks_for_many_comes_before_one_alone():
    points = np.concatenate([np.random.default_rng(0).normal(0, 0.3, (10, 2)), [[50.0, 50.0]]])
    picks = choose_batch(Joint(points, np.ones(11)), None, 2, 1.0)
    assert picks[0].index != 10 and picks[1].index == 10
    assert all(one.improvement is None and one.chosen_for == "information" for one in picks)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.2, 2), (0.5, 5), (1.0, 10)])
def test_a_share_of_the_batch_is_chosen_for_what_it_teaches(share, expected):
    points, deviation = drawn(40)
    worth = Worth(points[:, 0], deviation, deviation, 0.0)
    picks = choose_batch(Joint(points, deviation), worth, 10, share)
    assert sum(one.chosen_for == "information" for one in picks) == expected
    assert len({one.index for one in picks}) == 10


@pytest.mark.parametrize(("n", "share"), [(100, 0.57), (100, 0.29), (50, 0.58)])
def test_a_share_that_is_whole_is_not_rounded_down(n, share):
    points, deviation = np.random.default_rng(0).normal(size=(n, 2)), np.ones(n)
    worth = Worth(np.zeros(n), deviation, deviation, 0.0)
    picks = choose_batch(Joint(points, deviation), worth, n, share)
    assert sum(pick.chosen_for == "information" for pick in picks) == round(n * share)


def test_no_more_are_chosen_than_there_are_and_equal_ones_all_come():
    points = np.zeros((3, 2))
    worth = Worth(np.zeros(3), np.zeros(3), np.zeros(3), 1.0)
    picks = choose_batch(Joint(points, np.zeros(3)), worth, 10, 0.2)
    assert sorted(one.index for one in picks) == [0, 1, 2]
    assert all(np.isfinite([one.improvement, one.information]).all() for one in picks)


def test_where_nothing_can_improve_the_nearest_comes_first():
    points, _ = drawn(4)
    worth = Worth(np.array([-5.0, -3.0, -4.0, -9.0]), np.full(4, 1e-3), np.full(4, 1e-3), 100.0)
    picks = choose_batch(Joint(points, np.full(4, 1e-3)), worth, 3, 0.0)
    assert [one.index for one in picks] == [1, 2, 0]


@given(st.floats(0, 50))
def test_correlations_are_between_0_and_1(distance):
    assert 0 <= matern(np.array([distance]))[0] <= 1


def test_outcomes_shift_their_neighbours_as_the_joint_normal_distribution_does():
    points, deviation = drawn(6)
    joint, exact = Joint(points, deviation), whole(points, deviation)
    outcomes = joint.measure(1)
    assert outcomes.mean() == pytest.approx(0, abs=1e-9)
    assert outcomes.std() == pytest.approx(deviation[1], rel=0.05)
    for i in range(6):
        assert joint.shift[i] == pytest.approx(outcomes * exact[i, 1] / exact[1, 1])


@pytest.mark.parametrize("near", [False, True])
def test_a_pick_improves_no_more_behind_others_than_before_them(near):
    points, deviation = drawn(30, 5)
    place = np.random.default_rng(1).normal(0, 1, 30)
    worth = Worth(place, deviation, deviation, -0.5 if near else 1.0, near=near)
    alone = worth(np.ones(30))
    for pick in choose_batch(Joint(points, deviation), worth, 10, 0.0):
        assert pick.improvement <= alone[pick.index] * 1.05  # outcomes are 32 draws


def test_a_twin_near_the_wanted_value_does_not_follow_its_pick():
    points = np.array([[0.0, 0], [0.001, 0], [6.0, 0]])
    worth = Worth(np.array([0.05, 0.01, 0.2]), np.full(3, 0.4), np.full(3, 0.4), -0.05, near=True)
    picks = choose_batch(Joint(points, np.full(3, 0.4)), worth, 2, 0.0)
    assert [one.index for one in picks] == [1, 2]

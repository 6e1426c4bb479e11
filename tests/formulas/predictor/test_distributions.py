"""Trees, closed forms, transforms and calibration on distributions that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from matgraft.formulas.learners.closed_form import Logistic, Process
from matgraft.formulas.learners.forest import LEVELS, Forest, Trees, _at, _at_weighted, is_zero_inflated
from matgraft.formulas.learners.inputs import Labels
from matgraft.formulas.learners.transform import Transform, choose_transform
from matgraft.formulas.predictor.calibration import IntervalRule, apply_temperature, central, fit_temperature, pooled
from matgraft.formulas.predictor.out_of_fold import OutOfFoldCalibration

FEW = Trees(count=100, features=1.0)


def labels(y, weights=None, n_classes=0):
    y = np.asarray(y, float)
    return Labels(y, np.ones(len(y)) if weights is None else np.asarray(weights, float), n_classes)


def test_trees_give_the_spread_of_what_cannot_be_told_apart():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 10))
    y = rng.normal(size=2000)
    quantiles = Forest(x, labels(y), FEW)(rng.normal(size=(200, 10)))
    assert quantiles.shape == (200, 99)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_allclose(np.median(quantiles, 0)[[9, 49, 89]], norm.ppf([0.1, 0.5, 0.9]), atol=0.35)


@pytest.mark.parametrize("zeros", [0.0, 0.4])
def test_boosted_trees_move_the_median_of_a_forest_and_keep_its_spread(zeros, monkeypatch):
    monkeypatch.setattr("matgraft.formulas.learners.forest.BOOSTED", 30)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (300, 3))
    y = np.where(rng.random(300) < zeros, 0.0, 3 + x[:, 0] + 0.1 * rng.normal(size=300))
    few = Trees(count=20, features=1.0)
    forest = Forest(x, labels(y), few)
    moved, new = forest.moved(x, labels(y), few), rng.uniform(-1, 1, (50, 3))
    ours, theirs = moved(new), forest(new)
    assert forest.median is None and (np.diff(ours, axis=1) >= -1e-9).all()
    if not zeros:
        np.testing.assert_allclose(ours[:, 49], moved.median.predict(new))
        np.testing.assert_allclose(np.diff(ours, axis=1), np.diff(theirs, axis=1), atol=1e-9)
    assert (ours == 0).mean() == pytest.approx((theirs == 0).mean(), abs=1e-9)  # zeros are told by the same classifier


@pytest.mark.parametrize("n_classes", [0, 2])
def test_rows_that_hardly_count_hardly_answer(n_classes):
    """A quarter of the labels is wrong and has the weight 1e-6: the trees answer as if these rows were absent."""
    rng = np.random.default_rng(2)
    x, new = rng.uniform(-1, 1, (400, 3)), rng.uniform(-1, 1, (200, 3))
    bad = rng.random(400) < 0.25
    right = (x[:, 0] > 0).astype(float)
    y = np.where(bad, 1 - right if n_classes else 20.0, right)
    weights = np.where(bad, 1e-6, 1.0)

    def answers(rows):
        forest = Forest(x[rows], labels(y[rows], weights[rows], n_classes), FEW)
        return forest(new)[:, 1 if n_classes else 89]  # of values the upper end, which wrong labels reach first

    kept, absent = (np.abs(answers(rows) - (new[:, 0] > 0)).mean() for rows in (np.ones(400, bool), ~bad))
    assert kept < absent + 0.05


def test_weighted_answers_are_those_of_repeated_rows():
    rng = np.random.default_rng(3)
    ascending = np.sort(rng.normal(size=(4, 6)), axis=1)
    counts = rng.integers(1, 4, (4, 6)).astype(float)
    levels = np.broadcast_to(LEVELS, (4, 99))
    found = _at_weighted(ascending, counts, levels)
    np.testing.assert_allclose(_at_weighted(ascending, np.full((4, 6), 0.3), levels), _at(ascending, levels))
    for row, values, times in zip(found, ascending, counts, strict=True):
        below = np.array([(np.repeat(values, times.astype(int)) <= one).mean() for one in row])
        assert (np.abs(below - LEVELS) <= times.max() / times.sum()).all()


def test_half_zeros_get_a_median_of_exactly_zero_and_leave_the_rest_alone():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (400, 1))
    y = np.where(x[:, 0] < 0.5, 0.0, 2.0 + rng.normal(0, 0.05, 400))
    median = Forest(x, labels(y), FEW)(np.array([[0.2], [0.8]]))[:, 49]
    assert median[0] == 0
    assert median[1] == pytest.approx(2.0, abs=0.2)
    assert is_zero_inflated(y)
    assert not is_zero_inflated(y - 1)


@pytest.mark.parametrize(
    "fit", [lambda x, given: Forest(x, given, FEW), lambda x, given: Process(x, given, 0)], ids=["trees", "process"]
)
def test_a_row_of_weight_zero_does_not_matter(fit):
    x = np.linspace(0, 1, 60)[:, None]
    y = 3 * x[:, 0]
    y[30] = 500.0
    weights = np.ones(60)
    weights[30] = 0.0
    assert fit(x, labels(y, weights))(x[29:32])[:, 49].max() < 50


def test_the_process_learns_a_line_and_is_unsure_far_away():
    x = np.linspace(-1, 1, 40)[:, None]
    quantiles = Process(x, labels(2 * x[:, 0]), 0)(np.array([[0.33], [40.0]]))
    assert quantiles[0, 49] == pytest.approx(0.66, abs=0.05)
    width = quantiles[:, 89] - quantiles[:, 9]
    assert width[1] > 5 * width[0]


def test_probabilities_keep_the_place_of_a_class_that_a_fold_lacks():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 0.5, (30, 2)), rng.normal(2, 0.5, (30, 2))])
    y = np.repeat([0, 2], 30)  # class 1 does not occur
    for fit in (lambda: Forest(x, labels(y, n_classes=3), FEW), lambda: Logistic(x, labels(y, n_classes=3))):
        p = fit()(np.array([[-2.0, -2.0], [2.0, 2.0]]))
        assert p.shape == (2, 3)
        assert (p[:, 1] == 0).all()
        assert p[0, 0] > 0.8
        assert p[1, 2] > 0.8


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.sampled_from(["none", "asinh"]), st.floats(-1e4, 1e4))
def test_transforms_come_back(centre, width, scale, value):
    transform = Transform(scale=scale, centre=centre, width=width)
    assert transform.back(transform.forward(np.array([value])))[0] == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_the_scale_is_chosen_by_the_data():
    rng = np.random.default_rng(0)
    wide = np.exp(rng.normal(0, 2, 500))
    assert choose_transform(wide).scale == "log"
    assert choose_transform(rng.normal(5, 1, 500)).scale == "none"
    assert choose_transform(np.where(rng.random(500) < 0.5, 0, wide)).scale == "none"  # zeros have no logarithm
    assert choose_transform(rng.standard_t(1.2, 2000)).scale == "asinh"
    assert choose_transform(rng.normal(5, 1, 50), "none").scale == "none"
    with pytest.raises(ValueError, match="logarithm"):
        choose_transform(np.array([0.0, 1.0]), "log")


def test_no_value_lies_outside_its_own_interval():
    """Six members in ten say 0, four 5: the mean of their medians is 2, and the middle half of the mixture is 0."""
    members = [np.zeros((1, 99))] * 6 + [np.full((1, 99), 5.0)] * 4
    spread, mixed = pooled(members, [0.1] * 10), np.mean(members, 0)
    rule = IntervalRule(level=0.6, part=0.1)
    assert rule(spread)[1][0] < mixed[0, 49] == 2
    held = OutOfFoldCalibration(np.ones(10), rule, np.ones(10), np.ones(0), Transform(), deviation=rule)
    found = held.read(mixed, spread, np.zeros(1))
    assert found.lower[0] == 0 and found.upper[0] == found.value[0] == 2


@pytest.mark.parametrize("n", [19, 29, 69, 79, 99, 129])
def test_the_margin_is_the_smallest_that_holds_enough(n):
    """Of n truths 0.9 (n + 1) must be held (Vovk et al.); as a float that is 27.000000000000004 for n = 29."""
    rule = IntervalRule.of(np.zeros((n, 99)), np.arange(1.0, n + 1), 0.9)
    assert rule.margin == 9 * (n + 1) // 10


def test_a_scale_of_its_own_is_not_taken_from_quartiles_that_are_equal():
    """60 % of a table at 300 K: with the quartiles' width of 0 every other value was far out in a heavy tail."""
    y = np.repeat([240.0, 300.0, 360.0], [40, 120, 40])
    assert choose_transform(y).scale == "none"
    assert choose_transform(y, "asinh").width == pytest.approx(np.sqrt(0.4) * 60)
    assert choose_transform(np.full(20, 5.0)).scale == "none"


@pytest.mark.parametrize("wanted", ["none", "log", "asinh"])
def test_a_bound_that_is_a_value_of_the_target_holds_it(wanted):
    """Both functions round: of intervals from 7 to 7 many let the 7 out, and 31 % were held where 94 % should be."""
    y = np.concatenate([[1.0, 3, 7, 10, 30, 70, 100, 300] * 5, np.random.default_rng(0).lognormal(0, 3, 500)])
    transform = choose_transform(y, wanted)
    z = transform.forward(y)
    rule = IntervalRule(level=0.9, part=0.9)
    calibration = OutOfFoldCalibration(np.ones(1), rule, np.ones(1), np.ones(0), transform, deviation=rule)
    held = calibration.read(*[np.repeat(z[:, None], 99, 1)] * 2, np.zeros(len(y)))
    assert ((held.lower <= y) & (y <= held.upper)).all()
    assert (held.upper - held.lower <= 1e-11 * np.maximum(y, abs(transform.centre))).all()
    far = np.array([-np.inf, -1e4, 1e4, np.inf])
    with np.errstate(over="ignore"):
        low, high = transform.back_bounds(far, far)
    assert (low <= high).all()  # neither NaN nor turned about


@pytest.mark.parametrize("kind", ["exact", "too narrow", "too wide", "skewed", "half zeros"])
def test_intervals_hold_what_they_state_on_further_data(kind):
    rng = np.random.default_rng(2)
    n = 4000
    centre = rng.uniform(0, 10, n)
    width = {"too narrow": 0.3, "too wide": 3.0}.get(kind, 1.0)
    quantiles = centre[:, None] + width * norm.ppf(LEVELS)
    y = centre + rng.normal(size=n)
    if kind == "skewed":
        y = centre + rng.exponential(size=n)
    if kind == "half zeros":
        zero = rng.random(n) < 0.5
        quantiles[zero], y[zero] = 0.0, 0.0
    rule = IntervalRule.of(quantiles[::2], y[::2], 0.9)
    low, high = rule(quantiles[1::2])
    held = ((y[1::2] >= low) & (y[1::2] <= high)).mean()
    assert held == pytest.approx(0.9, abs=0.025)


def test_a_pool_keeps_the_zeros_that_averaging_loses():
    zeros, positive = np.zeros((1, 99)), np.linspace(1, 2, 99)[None]
    quantiles = pooled([zeros, positive], [0.6, 0.4])
    assert (quantiles[0] == 0).mean() == pytest.approx(0.6, abs=0.02)
    assert quantiles[0, -1] == pytest.approx(2, abs=0.05)
    np.testing.assert_array_equal(pooled([zeros, positive], [0.0, 1.0]), positive)
    normal = norm.ppf(LEVELS)[None]
    np.testing.assert_allclose(pooled([normal, normal], [0.5, 0.5])[:, 5:-5], normal[:, 5:-5], atol=0.05)


def test_the_central_part_is_read_between_levels():
    low, high = central(norm.ppf(LEVELS)[None], 0.905)
    assert low[0] == pytest.approx(norm.ppf(0.0475), abs=0.01)
    assert high[0] == pytest.approx(norm.ppf(0.9525), abs=0.01)


def test_the_temperature_finds_how_overconfident_probabilities_are():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 5000)
    y = np.array([rng.choice(3, p=one) for one in p])
    sharpened = apply_temperature(p, 0.5)
    assert fit_temperature(sharpened, y, np.ones(len(y))) == pytest.approx(2.0, rel=0.1)
    assert fit_temperature(p, y, np.ones(len(y))) == pytest.approx(1.0, rel=0.1)

"""Intervals over units: by hand, at their stated level on null models, and undecided where there are few units.

The level is tested on planted models that are equally good: a 5 % interval may call one better or worse in so many of
the draws as a binomial of 5 % has at the far end of its own 99 % interval.
"""

import numpy as np
import pytest
from scipy import stats

from matgraft.core.statistics import (
    MIN_UNITS,
    effective_number,
    estimate,
    joined_units,
    mean_difference,
    mean_loss,
    numbered,
    shared_weights,
    unit_totals,
)

DRAWS = 400
RNG = np.random.default_rng


def mean(sums):
    return sums[..., 1:] / sums[..., :1]


def log_ratio(sums):
    """Terms (..., 2) of the logarithm of two RMSEs' ratio, from sums (..., 3): frames, squared errors of two models."""
    return np.log(mean(sums)) / 2 * [1, -1]


def test_units_are_numbered_by_first_appearance():
    assert numbered(["b", "a", "b", "", ""]).tolist() == [0, 1, 0, 2, 2]
    assert numbered([]).tolist() == []


def test_units_join_what_any_naming_joins():
    formulas, papers = list("aabbcdd"), list("1223456")
    assert joined_units(formulas, papers).tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert joined_units(formulas, formulas).tolist() == numbered(formulas).tolist()
    assert joined_units(list("abc"), list("xxx")).tolist() == [0, 0, 0]
    assert joined_units(["x", "y"], ["y", "x"]).tolist() == [0, 1]  # a name means nothing in the other naming


def test_units_with_nothing_to_compare_are_left_out():
    totals = unit_totals(np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]), np.array([0, 1, 0, 2]))
    assert totals.tolist() == [[4.0, 6.0]]
    assert unit_totals(np.zeros((0, 2)), numbered([])).shape == (0, 2)


def test_the_effective_number_counts_shares():
    assert effective_number(np.ones(7)) == 7
    assert effective_number(np.array([1.0, 0.0, 0.0])) == 1
    assert effective_number(np.array([2.0, 1.0, 1.0])) == pytest.approx(16 / 6)
    assert effective_number(np.zeros(3)) == 3  # a perfect model
    assert effective_number(np.array([np.inf, 1.0])) == 2


def test_a_unit_counts_as_its_heaviest_row_under_shared_weights():
    weights = shared_weights(np.array([1.0, 3.0, 2.0, 0.0, 0.0]), np.array([0, 0, 1, 1, 2]))
    assert weights.tolist() == [0.75, 2.25, 2.0, 0.0, 0.0]
    assert shared_weights(np.ones(5), np.array([0, 0, 0, 0, 2])).tolist() == [0.25, 0.25, 0.25, 0.25, 1.0]


def test_the_mean_of_equal_units_has_students_interval():
    """Alone and alike the jackknife is the textbook: mean ± t s / sqrt(n)."""
    values = RNG(0).normal(size=12)
    found = estimate(mean, np.stack([np.ones(12), values], 1), np.ones((12, 1)))
    known = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert found.interval == pytest.approx(known)
    assert (found.value, found.error) == pytest.approx((values.mean(), stats.sem(values)))


def test_copies_of_a_row_tell_nothing_new():
    values = RNG(1).normal(size=10)
    ours, theirs = np.abs(values), np.abs(values[::-1] + 0.1)
    once = mean_difference(ours, theirs, np.ones(10), np.arange(10))
    copied = mean_difference(*(np.repeat(each, 20) for each in (ours, theirs, np.ones(10), np.arange(10))))
    assert copied.interval == pytest.approx(once.interval)
    assert (copied.n_units, copied.effective) == pytest.approx((10, once.effective))


def test_rows_of_weight_zero_do_not_count():
    weights = np.array([1.0, 2.0, 1.0, 1.0, 3.0, 0.0])
    ours, theirs = weights * np.arange(6.0), weights
    whole, without = (mean_difference(ours[:n], theirs[:n], weights[:n], np.arange(n)) for n in (6, 5))
    assert whole == without
    few = mean_difference(ours, theirs, np.array([1.0, 2.0, 1.0, 1.0, 0.0, 0.0]), np.arange(6))
    assert few.interval is None and few.n_units == 4


def test_the_interval_of_an_error_does_not_go_below_zero():
    found = mean_loss(np.array([0.0, 0.0, 0.0, 0.0, 1.0, 5.0]), np.ones(6), np.arange(6))
    assert found.value == 1 and found.interval[0] < 0
    assert found.above_zero == (0.0, found.interval[1])


@pytest.mark.parametrize("n_units", range(MIN_UNITS))
def test_fewer_than_five_units_are_undecided(n_units):
    found = mean_difference(np.ones(30), np.zeros(30), np.ones(30), np.arange(30) % max(n_units, 1))
    if n_units == 0:
        found = estimate(mean, np.zeros((0, 2)), np.zeros((0, 1)))
    assert found.interval is None and found.error == np.inf and found.n_units == n_units


def test_a_unit_that_holds_nearly_all_leaves_one_observation():
    totals = np.array([[1e6, 1e6], *([[1.0, 2.0]] * 9)])
    found = estimate(mean, totals, totals[:, :1])
    assert found.n_units == 10 and found.effective == pytest.approx(1, abs=1e-4)
    low, high = found.interval
    assert high - low > 2 * 12 * found.error  # Student's t of one degree of freedom


def test_sums_without_a_unit_lose_no_digits():
    """The unit of 1e20 is left out by adding up the others, not by taking it off."""
    totals = np.array([[1.0, 1e20], *([[1.0, 3.0]] * 5)])
    left = []
    estimate(lambda sums: left.append(sums) or mean(sums), totals, np.ones((6, 1)))
    assert left[1][0].tolist() == [5.0, 15.0]


def test_the_model_whose_errors_lie_in_few_units_sets_the_degrees_of_freedom():
    """Ours errs in two of ten units, theirs alike in all: there are about two observations, not ten."""
    ours, theirs = np.array([30.0, 30.0, *np.linspace(0.9, 1.1, 8)]), np.linspace(0.99, 1.01, 10)
    shares = [each / each.sum() for each in (ours, theirs)]
    alone = [1 / (share**2).sum() for share in shares]
    assert alone == pytest.approx([2.5, 10.0], rel=0.06)
    for first, second in ((ours, theirs), (theirs, ours)):
        totals = np.stack([np.ones(10), first, second], 1)
        found = estimate(log_ratio, totals, totals[:, 1:])
        assert alone[0] <= found.effective < 1.001 * alone[0]
        t = stats.t.ppf(0.975, found.effective - 1)
        assert found.interval == pytest.approx((found.value - t * found.error, found.value + t * found.error))


def sizes_of(kind, n_units, rng):
    if kind == "equal":
        return np.full(n_units, 6)
    return np.maximum(1, np.round(6 * np.exp(rng.normal(size=n_units)))).astype(int)


def null_errors(kind, sizes, rng):
    """Return sums of squared errors (n_units,) of two models that are equally good."""
    n_units = len(sizes)
    if kind == "outliers":  # one frame in a hundred is a hundred times as wrong
        frames = [rng.normal(size=sizes.sum()) * np.where(rng.random(sizes.sum()) < 0.01, 100, 1) for _ in range(2)]
        ours, theirs = (np.bincount(np.repeat(np.arange(n_units), sizes), each**2, n_units) for each in frames)
        return ours, theirs
    if kind == "favours":  # each trajectory favours one or the other
        factor, base = np.exp(rng.normal(0, 0.3, n_units)), rng.chisquare(6 * sizes)
        return base * factor, base / factor
    scale = np.exp(rng.normal(0, 1, n_units))  # hard and easy trajectories
    if kind == "anew":
        return scale * rng.chisquare(3 * sizes), scale * rng.chisquare(3 * sizes)
    tails = [[np.square(rng.standard_t(3, 3 * n)).sum() for n in sizes] for _ in range(2)]  # a few large errors
    return scale * np.array(tails[0]), scale * np.array(tails[1])


def allowed(level=0.05, draws=DRAWS):
    return stats.binom.ppf(0.995, draws, level)


@pytest.mark.parametrize("kind", ["favours", "anew", "tails", "outliers"])
@pytest.mark.parametrize("sized", ["equal", "unequal"])
@pytest.mark.parametrize("n_units", [5, 8, 20, 60])
def test_null_models_are_decided_in_five_per_cent_of_draws(kind, sized, n_units):
    rng, decided = RNG(n_units), 0
    for _ in range(DRAWS):
        sizes = sizes_of(sized, n_units, rng)
        totals = np.stack([sizes, *null_errors(kind, sizes, rng)], 1)
        low, high = estimate(log_ratio, totals, totals[:, 1:]).interval
        decided += low > 0 or high < 0
    assert decided <= allowed()


@pytest.mark.parametrize("n_units", [5, 8, 20, 60])
def test_a_model_half_as_wrong_is_found_better(n_units):
    rng, better = RNG(n_units), 0
    for _ in range(100):
        ours, theirs = null_errors("favours", np.full(n_units, 6), rng)
        totals = np.stack([np.ones(n_units), ours / 4, theirs], 1)
        better += estimate(log_ratio, totals, totals[:, 1:]).interval[1] < 0
    assert better >= 90


@pytest.mark.parametrize(("formulas", "copies"), [(60, 20), (8, 20), (200, 1), (30, 7)])
def test_equal_losses_of_repeated_rows_are_decided_in_five_per_cent_of_draws(formulas, copies):
    """By rows 63 % were called better or worse with 60 formulas of 20 rows each."""
    rng, decided, by_rows = RNG(formulas), 0, 0
    units, ones = np.repeat(np.arange(formulas), copies), np.ones(formulas * copies)
    for _ in range(DRAWS):
        formula, row = rng.normal(size=(2, formulas)), rng.normal(size=(2, len(ones)))
        losses = np.abs(np.repeat(formula, copies, 1) + 0.3 * row)
        low, high = mean_difference(*losses, ones, units).interval
        decided += low > 0 or high < 0
        low, high = mean_difference(*losses, ones, np.arange(len(ones))).interval
        by_rows += low > 0 or high < 0
    assert decided <= allowed()
    assert copies == 1 or by_rows > 0.3 * DRAWS

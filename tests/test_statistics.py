"""Intervals over units: by hand, at their stated level on null models, and undecided where there are few units.

The level is tested on planted models that are equally good: a 5 % interval may call one better or worse in so many of
the draws as a binomial of 5 % has at the far end of its own 99 % interval.
"""

import numpy as np
import pytest
from scipy import stats

from matgraft.statistics import (
    MIN_UNITS,
    effective_number,
    estimate,
    joined_units,
    mean_over_units,
    numbered,
    sharing,
    unit_totals,
)

DRAWS = 400
RNG = np.random.default_rng


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


def test_every_unit_counts_one_under_shared_weights():
    weights = sharing(np.array([1.0, 3.0, 2.0, 0.0, 0.0]), np.array([0, 0, 1, 1, 2]))
    assert weights.tolist() == [0.25, 0.75, 1.0, 0.0, 0.0]


def test_the_mean_of_equal_units_has_students_interval():
    """Alone and alike the jackknife is the textbook: mean ± t s / sqrt(n)."""
    values = RNG(0).normal(size=12)
    found = mean_over_units(values, np.ones(12), np.arange(12), np.ones(12))
    known = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert found.interval == pytest.approx(known)
    assert (found.value, found.error) == pytest.approx((values.mean(), stats.sem(values)))


def test_copies_of_a_row_tell_nothing_new():
    values = RNG(1).normal(size=10)
    once = mean_over_units(values, np.ones(10), np.arange(10), np.ones(10))
    copied = mean_over_units(np.repeat(values, 20), np.ones(200), np.repeat(np.arange(10), 20), np.ones(200))
    assert copied.interval == pytest.approx(once.interval)
    assert (copied.n_units, copied.effective) == pytest.approx((10, 10))


def test_rows_of_weight_zero_do_not_count():
    weights = np.array([1.0, 2.0, 1.0, 1.0, 3.0, 0.0])
    values, sizes = weights * np.arange(6.0), weights
    whole, without = (mean_over_units(values[:n], weights[:n], np.arange(n), sizes[:n]) for n in (6, 5))
    assert whole == without
    few = mean_over_units(values, np.array([1.0, 2.0, 1.0, 1.0, 0.0, 0.0]), np.arange(6), sizes)
    assert few.interval is None and few.n_units == 4


@pytest.mark.parametrize("n_units", range(MIN_UNITS))
def test_fewer_than_five_units_are_undecided(n_units):
    found = mean_over_units(np.ones(30), np.ones(30), np.arange(30) % max(n_units, 1), np.ones(30))
    if n_units == 0:
        found = estimate(lambda sums: sums[..., 1] / sums[..., 0], np.zeros((0, 2)), np.zeros(0))
    assert found.interval is None and found.error == np.inf and found.n_units == n_units


def test_a_unit_that_holds_nearly_all_leaves_one_observation():
    totals = np.array([[1e6, 1e6], *([[1.0, 2.0]] * 9)])
    found = estimate(lambda sums: sums[..., 1] / sums[..., 0], totals, totals[:, 0])
    assert found.n_units == 10 and found.effective == pytest.approx(1, abs=1e-4)
    low, high = found.interval
    assert high - low > 2 * 12 * found.error  # Student's t of one degree of freedom


def test_sums_without_a_unit_lose_no_digits():
    """The unit of 1e20 is left out by adding up the others, not by taking it off."""
    totals = np.array([[1.0, 1e20], *([[1.0, 3.0]] * 5)])
    left = []
    estimate(lambda sums: left.append(sums) or sums[..., 1] / sums[..., 0], totals, np.ones(6))
    assert left[1][0].tolist() == [5.0, 15.0]


def sizes_of(kind, n_units, rng):
    if kind == "equal":
        return np.full(n_units, 6)
    return np.maximum(1, np.round(6 * np.exp(rng.normal(size=n_units)))).astype(int)


def null_errors(kind, sizes, rng):
    """Return sums of squared errors (n_units,) of two models that are equally good."""
    n_units = len(sizes)
    if kind == "favours":  # each trajectory favours one or the other
        factor, base = np.exp(rng.normal(0, 0.3, n_units)), rng.chisquare(6 * sizes)
        return base * factor, base / factor
    scale = np.exp(rng.normal(0, 1, n_units))  # hard and easy trajectories
    if kind == "anew":
        return scale * rng.chisquare(3 * sizes), scale * rng.chisquare(3 * sizes)
    tails = [[np.square(rng.standard_t(3, 3 * n)).sum() for n in sizes] for _ in range(2)]  # a few large errors
    return scale * np.array(tails[0]), scale * np.array(tails[1])


def log_ratio(sums):
    return (np.log(sums[..., 1]) - np.log(sums[..., 2])) / 2


def allowed(level=0.05, draws=DRAWS):
    return stats.binom.ppf(0.995, draws, level)


@pytest.mark.parametrize("kind", ["favours", "anew", "tails"])
@pytest.mark.parametrize("sized", ["equal", "unequal"])
@pytest.mark.parametrize("n_units", [5, 8, 20, 60])
def test_null_models_are_decided_in_five_per_cent_of_draws(kind, sized, n_units):
    rng, decided = RNG(n_units), 0
    for _ in range(DRAWS):
        sizes = sizes_of(sized, n_units, rng)
        ours, theirs = null_errors(kind, sizes, rng)
        shares = ours / ours.sum() + theirs / theirs.sum()
        low, high = estimate(log_ratio, np.stack([sizes, ours, theirs], 1), shares).interval
        decided += low > 0 or high < 0
    assert decided <= allowed()


@pytest.mark.parametrize("n_units", [5, 8, 20, 60])
def test_a_model_half_as_wrong_is_found_better(n_units):
    rng, better = RNG(n_units), 0
    for _ in range(100):
        ours, theirs = null_errors("favours", np.full(n_units, 6), rng)
        totals = np.stack([np.ones(n_units), ours / 4, theirs], 1)
        better += estimate(log_ratio, totals, ours / ours.sum() + theirs / theirs.sum()).interval[1] < 0
    assert better >= 90


@pytest.mark.parametrize(("formulas", "copies"), [(60, 20), (8, 20), (200, 1), (30, 7)])
def test_equal_losses_of_repeated_rows_are_decided_in_five_per_cent_of_draws(formulas, copies):
    """By rows 63 % were called better or worse with 60 formulas of 20 rows each."""
    rng, decided, by_rows = RNG(formulas), 0, 0
    units, ones = np.repeat(np.arange(formulas), copies), np.ones(formulas * copies)
    for _ in range(DRAWS):
        difference = np.repeat(rng.normal(size=formulas), copies) + 0.3 * rng.normal(size=len(ones))
        low, high = mean_over_units(difference, ones, units, np.abs(difference)).interval
        decided += low > 0 or high < 0
        low, high = mean_over_units(difference, ones, np.arange(len(ones)), ones).interval
        by_rows += low > 0 or high < 0
    assert decided <= allowed()
    assert copies == 1 or by_rows > 0.3 * DRAWS

"""Rows of one formula or group are one observation: for the verdict, the gate of the stack and the intervals."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from matgraft.core.statistics import joined_units, shared_weights
from matgraft.formulas.learners.forest import LEVELS
from matgraft.formulas.learners.inputs import Examples, Labels
from matgraft.formulas.learners.transform import Transform, choose_transform
from matgraft.formulas.predictor.calibration import IntervalRule, fit_temperature
from matgraft.formulas.predictor.facts import HeldLosses, PredictorFacts, WeighedMember
from matgraft.formulas.predictor.fitting import _calibrate, fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.predictor.stack import member_weights
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.scoring.verdict import property_verdict


def test_equal_predictors_on_repeated_formulas_are_decided_in_five_per_cent_of_draws():
    """60 formulas of 20 rows: by rows 63 % of these draws are called better or worse."""
    units, decided, draws = np.repeat(np.arange(60), 20), 0, 300
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        gain = np.repeat(rng.normal(size=60), 20) + 0.3 * rng.normal(size=1200)
        ours, theirs = np.maximum(gain, 0), np.maximum(-gain, 0)
        low, high = HeldLosses(ours, theirs, np.ones(1200), units).compared().interval
        decided += low > 0 or high < 0
    assert decided <= 26  # the 99.5 % quantile of a binomial of 5 %


def test_the_gate_sees_as_many_observations_as_there_are_formulas():
    """Of 20 formulas the encoder is better on 13: luck. Counted as 400 rows it would be beyond doubt."""
    y = np.zeros(400)
    worse = np.repeat(np.random.default_rng(4).normal(0.35, 1, 20), 20)
    plain, encoder = (np.full((400, 1), 2.0) for _ in range(2))
    encoder = encoder - worse[:, None]

    def losses(p):
        return np.abs(p[:, 0] - y)

    units = np.repeat(np.arange(20), 20)
    by_rows = member_weights([plain, encoder], losses, [True, False], familiar=False)[0]
    by_formulas = member_weights([plain, encoder], losses, [True, False], familiar=False, units=units)[0]
    assert by_rows[1] > 0 and by_formulas.tolist() == [1, 0]


def test_twenty_formulas_are_few_however_often_each_was_measured():
    """Six members of equal skill on 20 formulas of 20 rows: a choice among them is luck, so they count alike."""
    units = np.repeat(np.arange(20), 20)
    rng = np.random.default_rng(0)
    members = [np.abs(np.repeat(rng.normal(size=20), 20))[:, None] for _ in range(6)]
    plain = [True] * 6
    by_rows, _ = member_weights(members, lambda one: one[:, 0], plain, familiar=False)
    by_formulas, _ = member_weights(members, lambda one: one[:, 0], plain, familiar=False, units=units)
    assert by_rows.max() > 0.4
    np.testing.assert_allclose(by_formulas, 1 / 6)


@pytest.mark.parametrize("n_groups", [12, 40])
def test_intervals_hold_on_rows_of_new_groups(n_groups):
    """20 rows a group that share an error; by rows a 90 % interval held 87 % with few groups."""
    held, by_rows = [], []
    units = np.repeat(np.arange(n_groups), 20)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=n_groups)[units] + 0.2 * rng.normal(size=len(units))
        quantiles = np.zeros((len(y), 99)) + norm.ppf(LEVELS)
        new = rng.normal(size=500) + 0.2 * rng.normal(size=500)
        for rule, into in (
            (IntervalRule.of(quantiles, y, 0.9, shared_weights(np.ones(len(y)), units), units), held),
            (IntervalRule.of(quantiles, y, 0.9), by_rows),
        ):
            low, high = rule(quantiles[:1])
            into.append(((low <= new) & (new <= high)).mean())
    assert np.mean(held) > 0.89
    assert n_groups > 12 or np.mean(held) > np.mean(by_rows) + 0.01


def test_a_unit_of_many_rows_counts_as_one_of_few():
    """One paper of 500 rows with errors ten times as large does not set the intervals of forty others."""
    units = np.concatenate([np.zeros(500, dtype=int), np.arange(1, 41)])
    rng = np.random.default_rng(0)
    y = np.concatenate([10 * rng.normal(size=500), rng.normal(size=40)])
    quantiles = np.zeros((540, 99)) + norm.ppf(LEVELS)
    low, high = IntervalRule.of(quantiles, y, 0.9, shared_weights(np.ones(540), units), units)(quantiles[:1])
    assert 1.4 < high[0] < 4 and -4 < low[0] < -1.4
    assert IntervalRule.of(quantiles, y, 0.9)(quantiles[:1])[1][0] > 8


def test_rows_of_weight_zero_do_not_set_the_interval():
    rng = np.random.default_rng(0)
    y, weights = rng.normal(size=100), np.repeat([1.0, 0.0], 50)
    y[50:] *= 50
    quantiles = np.zeros((100, 99)) + norm.ppf(LEVELS)
    assert IntervalRule.of(quantiles, y, 0.9, weights) == IntervalRule.of(quantiles[:50], y[:50], 0.9)


def test_rows_that_hardly_count_are_as_good_as_absent():
    """A quarter of a table at a weight of 1e-9 set intervals 35 times as wide, and a scale of its own."""
    rng = np.random.default_rng(0)
    y, weights = rng.normal(size=200), np.repeat([1.0, 1e-9], [150, 50])
    y[150:] *= 50
    quantiles, units = np.zeros((200, 99)) + norm.ppf(LEVELS), np.arange(200)
    found = IntervalRule.of(quantiles, y, 0.9, shared_weights(weights, units), units)
    assert found == IntervalRule.of(quantiles[:150], y[:150], 0.9)
    assert choose_transform(y).scale == "asinh" and choose_transform(y, "auto", weights).scale == "none"
    decades = np.append(np.exp(rng.normal(0, 0.1, 150)), np.full(50, 1e4))
    assert choose_transform(decades).scale == "log" and choose_transform(decades, "auto", weights).scale == "none"


def test_a_formula_with_many_rows_does_not_set_the_temperature():
    """Logits twice too large, on 40 formulas of which two have 200 rows each: the temperature is that of formulas.

    The frequencies by which probabilities are divided stay those of rows, which the members learned from.
    """
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, 40)
    y = (rng.random(40) < 1 / (1 + np.exp(-logits / 2))).astype(int)
    likely = np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], 1)
    rows = np.repeat(np.arange(40), [200, 200] + [1] * 38)
    inner = SimpleNamespace(members=[SimpleNamespace(pretrained=False)], predictions=[likely[rows]], n_weighed=1)
    labels = Labels(y[rows].astype(float), np.ones(len(rows)), 2)
    calibration, _ = _calibrate(inner, labels, Transform(), PredictorSettings(), False, rows, None)
    by_formulas, by_rows = (
        fit_temperature(likely, y, np.ones(40)),
        fit_temperature(likely[rows], y[rows], np.ones(len(rows))),
    )
    assert calibration.temperatures.tolist() == pytest.approx([by_formulas], rel=1e-3)
    assert abs(by_rows / by_formulas - 1) > 0.2
    np.testing.assert_allclose(calibration.priors, np.bincount(y[rows]) / len(rows))


ENCODER = WeighedMember(name="encoder", score=0.1, weight=1.0, pretrained=True)


def judged(baseline, n):
    facts = PredictorFacts(
        criterion="mean absolute error", members=(ENCODER,), dropped=(), gate=None, score=0.1, baseline=baseline,
        scale="none", familiar=True,
    )  # fmt: skip
    return property_verdict(facts, {}, None, n=n, unlike=0.0, level=0.9)


def test_few_independent_sets_of_rows_are_undecided():
    """Four papers that measured the same formulas are one set, however many rows they have."""
    formulas = [f"F{i % 50}" for i in range(200)]
    papers = [f"paper{i // 50}" for i in range(200)]
    units = joined_units(formulas, papers)
    assert set(units.tolist()) == {0}
    baseline = HeldLosses(np.full(200, 0.1), np.full(200, 0.2), np.ones(200), units).compared()
    assert baseline.interval is None and baseline.n_units == 1
    verdict = judged(baseline, 400)
    assert (verdict.level, verdict.tone) == ("undecided", "caution")
    assert "Undecided against descriptors and trees" in verdict.headline
    assert "1 of 5 sets of rows that share no formula and no group" in verdict.headline


def test_rows_of_a_few_formulas_are_called_few():
    """Ten formulas repeated ten times are ten observations, not a hundred."""
    losses, ones = np.random.default_rng(0).uniform(size=(2, 100)), np.ones(100)
    every = np.arange(100)
    few, many = (HeldLosses(*losses, ones, units).compared(every) for units in (every % 10, every))
    rough, other = (judged(baseline, 100).cautions for baseline in (few, many))
    assert rough[0].code == "few-rows"
    assert rough[0].text.startswith("10 sets of rows that share no formula and no group, in 100 rows: the scores")
    assert "few-rows" not in {caution.code for caution in other}
    assert judged(few, 10).cautions[0].text.startswith("10 rows: the scores")


def test_a_predictor_counts_its_formulas_and_groups(small, table):
    formulas, y = table
    settings = PredictorSettings(strategy="descriptors", inner_folds=2)
    papers = [str(i % 4) for i in range(len(y))]
    weights = np.linspace(0.1, 10, len(y))
    grouped = fit_predictor(Examples(formulas, y, weights=weights, groups=papers), small, settings)
    assert (grouped.facts.baseline.n_units, grouped.facts.baseline.interval) == (4, None)
    assert grouped.facts.criterion == "weighted mean absolute error"
    errors = np.abs(grouped.out_of_fold.value - y)
    assert grouped.facts.score == pytest.approx(np.average(errors, weights=weights))
    assert scores_of(y, grouped.out_of_fold, weights)["mae"] == pytest.approx(grouped.facts.score)

"""How a way to the target is chosen: proxies without a label of the target, doubt in favour of source-only."""

from __future__ import annotations

import numpy as np
import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.core.verdict import EXIT_WORSE, Caution, Damage, Outcome, Verdict
from matgraft.formulas.domain.adaptation import (
    ComparedMethod,
    MethodChoice,
    Proxy,
    best_method,
    choose_method,
    outcome_of,
    paired,
    reverse_predictions,
)
from matgraft.formulas.domain.member import DomainSettings, TargetDomain
from matgraft.formulas.domain.overlap import DomainOverlap
from matgraft.formulas.domain.verdict import described, domain_verdict, harm_finding, overlap_finding
from matgraft.formulas.learners.inputs import Examples, Inputs, Labels
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.predictor.calibration import IntervalRule
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings

QUICK = NetworkSettings(epochs=1, fewest_steps=3, batch=20)
NEAR, FAR = (DomainOverlap(auc, within, effective, np.ones(200))
             for auc, within, effective in ((0.7, 0.9, 100.0), (0.999, 0.2, 100.0)))  # fmt: skip


def proxy(difference: float, error: float = 0.01, score: float = 0.5) -> Proxy:
    ends = (difference - 2 * error, difference + 2 * error)
    return Proxy(difference=difference, error=error, interval=ends, score=score)


def row(method: str, reverse: float, weighted: float) -> ComparedMethod:
    return compared(method, proxy(reverse), proxy(weighted, score=0.5 + weighted))


def compared(method: str, reverse: Proxy, weighted: Proxy) -> ComparedMethod:
    outcome = "" if method == "source" else outcome_of(reverse, weighted)
    return ComparedMethod(method=method, reverse=reverse, weighted=weighted, distance=0.1, outcome=outcome)


def choice(method: str, *rivals: ComparedMethod, asked: str = "auto", overlap: DomainOverlap = NEAR) -> MethodChoice:
    return MethodChoice(
        method=method, asked=asked, overlap=overlap.facts(30), distance=0.2, compared=(SOURCE, *rivals), skipped={},
        n=100,
    )  # fmt: skip


SOURCE = row("source", 0, 0)
UNSURE = Proxy(difference=-0.5, error=None, interval=None, score=0.2)
FINE = Verdict(
    outcome=Outcome.BETTER,
    headline="Fine.",
    cautions=(
        Caution(code="few-rows", damage=Damage.DOUBT, text="few rows", remedy="strategy auto"),
        Caution(code="not-nested", damage=Damage.NOTE, text="`matgraft crossval` scores the whole"),
    ),
)


@pytest.fixture(scope="module")
def parts(small, table):
    """The first 60 formulas with their values, and the other 20 without."""
    formulas, y = table
    inputs = Inputs.of(formulas, small)
    rows = np.random.default_rng(0).permutation(len(y))
    return (inputs.take(rows[:60]), Labels(y[rows[:60]], np.ones(60))), inputs.take(rows[60:])


def chosen_from(small, parts, **options):
    (inputs, labels), target = parts
    domain = TargetDomain(target, DomainSettings(rows=50, **options))
    return choose_method((inputs, labels), domain, lambda p, rows: np.abs(p[:, 49] - labels.y[rows]), small, QUICK, 0)


def test_a_method_is_taken_only_where_a_proxy_is_sure_and_none_objects():
    assert row("coral", -0.03, -0.001).outcome == "better"
    assert row("coral", -0.03, 0.001).outcome == "in doubt"
    assert row("coral", -0.01, -0.01).outcome == "in doubt"
    assert row("coral", -0.03, 0.03).outcome == "harm"
    better, best = row("coral", -0.03, -0.01), row("mmd", -0.03, -0.02)
    assert best_method([SOURCE, better, best, row("weights", 0.1, -0.1)], NEAR) == "mmd"
    assert best_method([SOURCE, row("coral", 0.0, 0.0)], NEAR) == "source"
    assert best_method([SOURCE, better], FAR) == "source"  # no proxy is believed where the domains do not overlap


def test_differences_are_paired_and_their_error_is_over_groups():
    theirs = np.arange(1.0, 13.0)
    ours = theirs + np.repeat([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 2)
    ones, pairs = np.ones(12), np.repeat(np.arange(6), 2)
    alone = paired(ours, theirs, ones, ones, np.arange(12))
    tied = paired(ours, theirs, ones, ones, pairs)
    assert (alone.difference, tied.difference) == pytest.approx((0.35, 0.35))
    assert alone.score == pytest.approx(6.85)
    assert tied.error == pytest.approx(np.std([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], ddof=1) / 6**0.5)
    assert alone.error < 0.8 * tied.error  # six groups know less than twelve rows
    assert tied.interval[0] < 0.35 - 2 * tied.error < 0.35 + 2 * tied.error < tied.interval[1]
    some = np.repeat([1.0, 0.0], [8, 4])
    few = paired(ours, theirs, some, ones, pairs)
    assert few.difference == pytest.approx(0.25)
    assert (few.error, few.interval) == (None, None)  # four systems that count decide nothing
    assert paired(some * ours, some * theirs, ones, some, pairs) == few  # nor do four whose rows have weights


def test_papers_that_reach_over_chemical_systems_are_one_observation_each(small, parts):
    """Without a true difference, by chemical systems alone 89 % of tables of six papers were decided."""
    (inputs, labels), target = parts
    domain = TargetDomain(target, DomainSettings(rows=60, method="coral"))
    papers = np.arange(60) // 15

    def losses(predicted, rows):
        return np.abs(predicted[:, 49] - labels.y[rows])

    alone, grouped = (
        choose_method((inputs, labels), domain, losses, small, QUICK, 0, units=units).facts.compared[1].reverse
        for units in (None, papers)
    )
    assert alone.interval is not None and grouped.interval is None
    assert alone.score == grouped.score and alone.difference == pytest.approx(grouped.difference)


def test_nothing_is_beyond_doubt_with_few_chemical_systems():
    assert outcome_of(UNSURE, UNSURE) == "in doubt"
    assert outcome_of(UNSURE, proxy(-0.5)) == "better"
    assert outcome_of(UNSURE, proxy(0.5)) == "harm"
    row = compared("coral", UNSURE, UNSURE)
    assert "-0.5 (too few independent sets of rows to say how sure)" in described(row)
    row = compared("coral", UNSURE, proxy(-0.5))
    assert set(harm_finding(choice("coral", row)).numbers) == {
        "coral_reverse_difference", "coral_weighted_difference", "coral_weighted_error"
    }  # fmt: skip


def test_every_method_is_compared_on_rows_left_out(small, parts):
    adapted = chosen_from(small, parts)
    methods = [one.method for one in adapted.facts.compared]
    assert methods == ["source", "reversal", "coral", "mmd", "weights"]
    assert adapted.facts.compared[0].reverse.difference == 0
    assert len({one.weighted.score for one in adapted.facts.compared}) == 5  # no method does nothing
    assert {name: len(said) for name, said in adapted.labelled.items()} == dict.fromkeys(methods, 20)
    assert adapted.facts.overlap.auc < 0.8


def test_reverse_validation_sees_spoilt_labels(small, parts):
    (target, said), held = parts  # sixty labelled rows, and twenty to be led back to
    anions = {8: 2.0, 16: 1.0, 9: 4.0, 17: 3.0}
    truth = np.array([next(anions[z] for z in one.numbers if z in anions) for one in held.formulas])
    errors = []
    for y in (said.y, np.random.default_rng(0).permutation(said.y)):
        reverse = reverse_predictions(target, Labels(y, np.ones(60)), held, 0)
        errors.append(np.abs(reverse[:, 49] - truth).mean())
    assert errors[0] < 0.7 * errors[1]
    one_class = reverse_predictions(target, Labels(np.ones(60), np.ones(60), 2), held, 0)
    assert (one_class == [0.0, 1.0]).all()


def test_a_method_asked_for_is_taken_and_held_against_source_only(small, parts):
    adapted = chosen_from(small, parts, method="coral")
    assert adapted.facts.method == "coral"
    assert [one.method for one in adapted.facts.compared] == ["source", "coral"]
    assert not chosen_from(small, parts, method="source").facts.compared


def test_weights_that_leave_no_rows_are_refused(small, parts, monkeypatch):
    monkeypatch.setattr(DomainOverlap, "of", lambda *given: DomainOverlap(0.99, 0.1, 2.0, np.ones(60)))
    with pytest.raises(DataError, match="leave 2 of 60 rows"):
        chosen_from(small, parts, method="weights")
    asked = []
    compare = "matgraft.formulas.domain.adaptation._Trial.compare"
    monkeypatch.setattr(compare, lambda trial, methods, progress: asked.append(methods) or [])
    facts = chosen_from(small, parts).facts
    assert facts.skipped == {"weights": "their weights leave 2 of 60 rows"}
    assert (facts.method, asked) == ("source", [["source", "reversal", "coral", "mmd"]])


def test_strategy_and_target_go_together(small, table):
    formulas, y = table
    other = Inputs.of(formulas[:20], small)
    for settings, target, said in (
        (PredictorSettings(strategy="domain"), None, "needs a table of the target"),
        (PredictorSettings(strategy="feature"), other, "is not read with strategy 'feature'"),
        (PredictorSettings(domain=DomainSettings(clip=3)), None, "domain.clip is not read"),
    ):
        with pytest.raises(OptionError, match=said):
            fit_predictor(Examples(formulas, y), small, settings, target=target)


def test_findings_and_verdict_say_what_was_measured():
    facts = choice("coral", row("coral", 0.05, 0.01), asked="coral", overlap=FAR)
    overlap, harm = overlap_finding(facts), harm_finding(facts)
    assert (overlap.outcome, harm.outcome, harm.option) == ("failed", "failed", "domain.method=source")
    assert overlap.numbers["auc"] == pytest.approx(0.999)
    verdict = domain_verdict(facts, FINE, "s.csv", "t.csv")
    assert (verdict.level, verdict.exit_code) == ("worse than source-only", EXIT_WORSE)
    assert "harm: coral" in verdict.headline
    assert [(reason.about, reason.speaks) for reason in verdict.reasons] == [("coral", "against")]
    assert "+0.05 ± 0.01" in verdict.reasons[0].text
    codes = [caution.code for caution in verdict.cautions]
    assert codes == ["domain-overlap", "domain-harm", "label-shift", "few-rows", "source"]  # crossval knows no target
    assert verdict.cautions[1].actions == harm.actions
    assert not verdict.cautions[3].remedy  # those of a run without a target
    assert [use.use for use in verdict.not_fit_for] == ["formulas of the target"] and not verdict.fit_for
    kept = choice("source", row("coral", 0.05, 0.01))
    assert domain_verdict(kept, FINE, "s.csv", "t.csv").level == "no better than source-only"
    better = choice("coral", row("coral", -0.05, -0.01))
    assert harm_finding(better).outcome == "passed"
    verdict = domain_verdict(better, FINE, "s.csv", "t.csv")
    assert (verdict.level, verdict.tone) == ("better than source-only", "good")
    assert [use.use for use in verdict.fit_for] == ["formulas of the target"]


def test_what_was_not_compared_or_cannot_be_believed_is_no_verdict():
    def judged(facts):
        verdict = domain_verdict(facts, FINE, "s.csv", "t.csv")
        return verdict.level, verdict.tone, verdict.headline.split(":")[0].split(" by ")[0]

    alone = choice("source", asked="source").model_copy(update={"compared": ()})
    assert judged(alone) == ("not compared", "unknown", "Only the source was used, as you asked")
    believed_by_no_one = choice("coral", row("coral", -0.05, -0.01), asked="coral", overlap=FAR)
    assert judged(believed_by_no_one) == ("undecided", "caution", "Undecided against source-only")
    few = compared("coral", UNSURE, UNSURE)
    assert judged(choice("coral", few, asked="coral")) == ("undecided", "caution", "Undecided against source-only")
    assert judged(choice("source", few)) == ("undecided", "caution", "Undecided against source-only, which is kept,")
    doubt = choice("coral", row("coral", 0.0, 0.0), asked="coral")
    assert judged(doubt) == ("no better than source-only", "caution", "No better than source-only")


def test_intervals_hold_where_the_weighted_rows_are():
    rng = np.random.default_rng(0)
    spread = np.repeat([0.1, 2.0], 500)  # errors are large where the target lies
    quantiles = np.tile(np.quantile(rng.normal(size=4000), np.arange(1, 100) / 100), (1000, 1))
    y = spread * rng.normal(size=1000)
    weights = np.repeat([0.1, 1.9], 500)
    plain, weighted = (IntervalRule.of(quantiles, y, 0.9, one) for one in (None, weights))
    held = []
    for rule in (plain, weighted):
        low, high = rule(quantiles[500:])
        held.append(((y[500:] >= low) & (y[500:] <= high)).mean())
    assert held[0] < 0.85 < 0.88 < held[1]

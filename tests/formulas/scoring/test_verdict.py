"""The verdict on a predictor says what was tried, and why the encoder is in the mixture or is not."""

import numpy as np
import pytest

from matgraft.core.findings import Finding
from matgraft.core.verdict import EXIT_WORSE, Damage
from matgraft.formulas.predictor.facts import BaselineComparison, PredictorFacts, WeighedMember
from matgraft.formulas.predictor.stack import EncoderGate, member_weights
from matgraft.formulas.scoring.verdict import gain_sentence, gate_sentence, property_verdict

PLAIN, ENCODER = (WeighedMember(name=name, score=0.5, weight=1.0, pretrained=which)
                  for name, which in (("trees", False), ("closed form", True)))  # fmt: skip


def compared(difference, half=0.0):
    interval = (difference - half, difference + half)
    return BaselineComparison(
        name="descriptors and trees", score=0.5, difference=difference, interval=interval, n_units=90
    )


def facts(members=(PLAIN,), dropped=(), gate=None, baseline=None):
    return PredictorFacts(
        criterion="mean absolute error", members=members, dropped=dropped, gate=gate, score=0.5,
        baseline=baseline or compared(0.0), scale="none", familiar=True,
    )  # fmt: skip


def judged(scores=None, **given):
    return property_verdict(facts(**given), scores or {}, None, n=400, unlike=0.0, level=0.9)


def gated(encoder_error, n, familiar):
    """The verdict where the encoder's errors are `encoder_error` times the plain ones, give or take a half."""
    wobble = np.random.default_rng(0).normal(1, 0.5, n)
    predictions = [np.full((n, 1), 1.0), (encoder_error * wobble)[:, None]]
    weights, gate = member_weights(predictions, lambda p: np.abs(p[:, 0]), [True, False], familiar)
    members = tuple(one.model_copy(update={"weight": w}) for one, w in zip((PLAIN, ENCODER), weights, strict=True))
    return gate, judged(members=members, gate=gate)


def test_a_verdict_claims_nothing_of_an_encoder_that_was_not_fitted():
    said = judged()
    assert (said.level, said.tone) == ("not compared", "unknown")
    assert "no member with the pretrained encoder was fitted" in said.headline
    assert "help" not in said.headline and "worse" not in said.headline
    dropped = WeighedMember(**dict(ENCODER))
    assert judged(dropped=(dropped,)).level != "not compared"  # a network that the first fold dropped was fitted


def test_outcome_reasons_cautions_and_exit_code_follow_from_the_interval():
    members = (PLAIN, ENCODER)
    better, worse = (judged(members=members, baseline=compared(sign * 0.1, 0.05)) for sign in (-1, 1))
    assert (better.level, better.tone, better.exit_code) == ("better than descriptors and trees", "good", 0)
    assert [reason.speaks for reason in better.reasons] == ["for"] and better.fit_for
    assert "is 0.1 lower than that of descriptors and trees" in better.reasons[0].text
    assert "is 0.1 higher than that of descriptors and trees" in worse.reasons[0].text
    assert (worse.level, worse.exit_code) == ("worse than descriptors and trees", EXIT_WORSE)
    assert worse.cautions[0].code == "worse-than-baseline" and not worse.fit_for
    assert [action.options for action in worse.cautions[0].actions] == [
        {"strategy": "auto"},
        {"strategy": "descriptors"},
    ]
    assert judged(members=members, baseline=compared(-0.1, 0.2)).level == "no better than descriptors and trees"


def test_intervals_that_hold_less_than_they_state_come_first():
    narrow, wide = (judged({"coverage": held}).cautions for held in (0.7, 0.99))
    assert narrow[0].code == "interval-coverage" and "held 70.0%" in narrow[0].text
    assert wide[0].code == "interval-coverage" and wide[0].damage < narrow[0].damage
    assert "interval-coverage" not in {caution.code for caution in judged({"coverage": 0.89}).cautions}
    gained = {"members": (PLAIN, ENCODER), "baseline": compared(-0.1, 0.05)}
    tones = [judged({"coverage": held}, **gained).tone for held in (0.7, 0.89, 0.99)]
    assert tones == ["caution", "good", "good"]


@pytest.mark.parametrize(
    ("familiar", "error", "taken", "rule"),
    [
        (True, 1.02, True, "left out only if it is worse by 2 standard errors"),
        (True, 2.0, False, "left out only if it is worse by 2 standard errors"),
        (False, 0.9, False, "taken only if it is better by 3 standard errors"),
        (False, 0.3, True, "taken only if it is better by 3 standard errors"),
    ],
)
def test_the_gate_is_described_as_it_acts(familiar, error, taken, rule):
    gate, said = gated(error, 100, familiar)
    assert gate.passed == taken
    assert rule in said.chosen
    change = "higher" if error > 1 else "lower"
    assert f"{abs(gate.gain):.3g} {change} (standard error {gate.error:.2g})" in said.chosen
    assert ("alone" in said.headline) != taken
    assert (rule in said.headline) != taken


def test_an_encoder_that_the_mixture_does_not_use_and_too_few_units_are_said():
    idle = (PLAIN, ENCODER.model_copy(update={"weight": 0.0}))
    none = EncoderGate(gain=0.0, error=0.0, needed=-2.0, passed=False)
    assert "no weight" in judged(members=idle, gate=none).headline
    few = facts(gate=EncoderGate(gain=0.1, error=None, needed=3.0, passed=False))
    assert "too few data for a standard error" in gate_sentence(few)


@pytest.mark.parametrize(
    ("gain", "half", "helps", "said"),
    [
        (0.08, 0.04, "yes", "Pretraining helps: with the encoder the mean absolute error is 16.0 % lower"),
        (-0.08, 0.04, "no", "Pretraining does not help, it costs: with the encoder the mean absolute error is 16.0 %"),
        (0.01, 0.04, "undecided", "Whether pretraining helps is undecided"),
        (0.01, None, "undecided", "too few data for an interval"),
    ],
)
def test_the_gain_of_pretraining_is_stated_in_per_cent_with_its_interval(gain, half, helps, said):
    interval = None if half is None else (gain - half, gain + half)
    gate = EncoderGate(gain=gain, error=half, needed=0.0, passed=gain > 0, interval=interval, without=0.5)
    found = facts(members=(PLAIN, ENCODER), gate=gate)
    assert found.pretraining_gain.helps == helps
    assert found.pretraining_gain.per_cent == pytest.approx(200 * gain)
    if half:
        assert found.pretraining_gain.interval == pytest.approx((200 * (gain - half), 200 * (gain + half)))
    assert said in gain_sentence(found)
    (reason,) = [one for one in judged(members=(PLAIN, ENCODER), gate=gate).reasons if one.about == "pretraining"]
    assert reason.speaks == {"yes": "for", "no": "against"}.get(helps, "neither")
    assert PredictorFacts.model_validate(found.model_dump(mode="json")) == found


def test_without_a_gate_the_baseline_tells_what_pretraining_is_worth_and_nothing_is_claimed_untried():
    gain = facts(members=(ENCODER,), baseline=compared(-0.1, 0.05)).pretraining_gain
    assert gain.per_cent == pytest.approx(20) and gain.interval == pytest.approx((10, 30)) and gain.helps == "yes"
    assert facts().pretraining_gain is None and gain_sentence(facts()) == ""


@pytest.mark.parametrize(("scores", "rough"), [({"coverage": 0.9}, "widths of the intervals"), ({}, "probabilities")])
def test_few_rows_of_classes_have_no_intervals_that_are_rough(scores, rough):
    few = compared(0.0).model_copy(update={"n_units": 20})
    (text,) = [one.text for one in judged(scores, baseline=few).cautions if one.code == "few-rows"]
    assert text.endswith(f"and so are the {rough}")


def test_intervals_that_hold_few_rows_but_most_sets_of_rows_are_told_apart():
    """The rule of the intervals counts sets of rows; one formula with half of all rows may be held seldom."""
    alone = compared(0.0).model_copy(update={"n_units": 400})
    texts = [judged({"coverage": 0.5}, baseline=one).cautions[0].text for one in (compared(0.0), alone)]
    assert texts[0].startswith("Intervals stated to hold 90% held 50.0% of the rows. They were set so that each of 90")
    assert texts[1] == "Intervals stated to hold 90% held 50.0%"


def test_what_the_audit_found_is_a_caution_by_what_it_costs():
    looked = {"outlier-value": "error", "near-duplicates": "warning", "charge-balance": "warning",
              "heavy-zeros": "info", "few-rows": "warning"}  # fmt: skip
    found = [Finding(code=code, title=code, outcome="failed", severity=severity) for code, severity in looked.items()]
    passed = Finding(code="censored", title="", outcome="passed")
    said = property_verdict(facts(), {}, None, n=400, unlike=0.0, level=0.9, findings=[*found, passed])
    damage = {one.code: one.damage for one in said.cautions if one.code in (*looked, "censored")}
    assert damage == {
        "outlier-value": Damage.WRONG, "near-duplicates": Damage.DOUBT, "charge-balance": Damage.NOTE
    }  # fmt: skip

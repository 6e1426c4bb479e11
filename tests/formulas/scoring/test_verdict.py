"""The verdict on a predictor says what was tried, and why the encoder is in the mixture or is not."""

import numpy as np
import pytest

from matgraft.formulas.predictor.stack import member_weights
from matgraft.formulas.scoring.verdict import gate_sentence, property_verdict

PLAIN, ENCODER = ({"name": name, "score": 0.5, "weight": 1.0, "pretrained": which}
                  for name, which in (("trees", False), ("closed form", True)))  # fmt: skip
BASELINE = {"name": "descriptors and trees", "score": 0.5, "difference": 0.0, "interval": [0.0, 0.0], "n_units": 90}
FACTS = {"criterion": "mean absolute error", "members": [PLAIN], "dropped": [], "gate": None, "score": 0.5,
         "baseline": BASELINE, "n": 400}  # fmt: skip


def judged(**facts):
    return property_verdict(FACTS | facts, {}, 0.0, 0.9)


def gated(encoder_error, n, familiar):
    """The verdict where the encoder's errors are `encoder_error` times the plain ones, give or take a half."""
    wobble = np.random.default_rng(0).normal(1, 0.5, n)
    predictions = [np.full((n, 1), 1.0), (encoder_error * wobble)[:, None]]
    weights, gate = member_weights(predictions, lambda p: np.abs(p[:, 0]), [True, False], familiar)
    members = [one | {"weight": w} for one, w in zip((PLAIN, ENCODER), weights, strict=True)]
    return gate, judged(members=members, gate=gate.facts())


def test_a_verdict_claims_nothing_of_an_encoder_that_was_not_fitted():
    said = judged()
    assert said["level"] == "not compared"
    assert "no member with the pretrained encoder was fitted" in said["headline"]
    assert "help" not in said["headline"] and "worse" not in said["headline"]
    assert judged(dropped=[ENCODER])["level"] != "not compared"  # a network that the first fold dropped was fitted


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
    assert rule in said["gate"]
    change = "higher" if error > 1 else "lower"
    assert f"{abs(gate.gain):.3g} {change} (standard error {gate.error:.2g})" in said["gate"]
    assert ("alone" in said["headline"]) != taken
    assert (rule in said["headline"]) != taken


def test_an_encoder_that_the_mixture_does_not_use_and_too_few_units_are_said():
    gate = {"gain": 0.0, "error": 0.0, "needed": -2.0, "passed": False}
    idle = [PLAIN, ENCODER | {"weight": 0.0}]
    assert "no weight" in judged(members=idle, gate=gate)["headline"]
    few = FACTS | {"gate": {"gain": 0.1, "error": None, "needed": 3.0, "passed": False}}
    assert "too few data for a standard error" in gate_sentence(few)

"""One honest verdict on a predictor of properties: did the encoder help, do the error bars hold, where to doubt them.

The figures are out of fold: every formula is predicted by fits that did not see it. The predictor is better or worse
than descriptors and trees only beyond chance, where the interval of the paired difference leaves out 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matgraft.core.statistics import MIN_UNITS

FEW = 50
"""Sets of rows that share no formula and no group: below so many the scores are called rough."""
FAR = 0.1
"""Part of formulas unlike the rest from which on a table is called scattered."""
SLACK = 0.03
NOT_COMPARED = "not compared"
"""Level where no member with the encoder was fitted."""
DECIDED = ("better", "no better", "worse")


def property_verdict(
    facts: Mapping[str, Any], scores: Mapping[str, float], unlike: float, level: float
) -> dict[str, Any]:
    """Judge a predictor.

    Parameters
    ----------
    facts
        What `fit_predictor` chose and compared.
    scores
        Out-of-fold scores.
    unlike
        Part of the rows whose formula was unlike the others.
    level
        Part of the truths that intervals are stated to hold.

    Returns
    -------
    dict
        ``level`` ("better", "no better" or "worse than descriptors and trees", "undecided", or "not compared" where
        no member with the encoder was fitted), ``headline``, ``cautions``, ``gate`` (what decided whether the encoder
        is in the mixture, in a sentence; empty where nothing had to be decided).
    """
    tried = any(member["pretrained"] for member in (*facts["members"], *facts["dropped"]))
    outcome, between = _outcome(facts["baseline"]) if tried else (NOT_COMPARED, "")
    return {
        "level": f"{outcome} than {facts['baseline']['name']}" if outcome in DECIDED else outcome,
        "headline": _headline(facts, outcome, between),
        "cautions": list(_cautions(facts, scores, unlike, level, outcome)),
        "gate": gate_sentence(facts),
    }


def gate_sentence(facts: Mapping[str, Any]) -> str:
    """Say what decided whether the encoder is in the mixture (`predictor.stack`); empty without a gate."""
    gate = facts["gate"]
    if gate is None:
        return ""
    if not gate["gain"]:
        return "the best mixture gives the pretrained encoder no weight"
    sure = "too few data for a standard error" if gate["error"] is None else f"standard error {gate['error']:.2g}"
    change = "higher" if gate["gain"] < 0 else "lower"
    found = f"with the pretrained encoder the {facts['criterion']} is {abs(gate['gain']):.3g} {change} ({sure})"
    if gate["needed"] < 0:
        return f"{found}, and the encoder is left out only if it is worse by {-gate['needed']:g} standard errors"
    return (
        f"{found}, and on formulas unlike those of the pretraining the encoder is taken only if it is better by "
        f"{gate['needed']:g} standard errors"
    )


def _headline(facts: Mapping[str, Any], outcome: str, between: str) -> str:
    baseline, score = facts["baseline"], f"{facts['criterion']} {facts['score']:.4g}"
    if any(member["weight"] for member in facts["members"] if member["pretrained"]):
        than = f"{outcome} than" if outcome in DECIDED else f"{outcome} against"
        difference = f"difference {baseline['difference']:+.3g}, {between}"
        return f"{than} {baseline['name']}: {score} against {baseline['score']:.4g} ({difference})"
    why = gate_sentence(facts) or "no member with the pretrained encoder was fitted, so nothing was compared"
    return f"{baseline['name']} alone: {score}; {why}"


def _outcome(baseline: Mapping[str, Any]) -> tuple[str, str]:
    """Return the outcome, and the interval that it rests on in words."""
    if baseline["interval"] is None:
        found = f"{baseline['n_units']} of {MIN_UNITS} sets of rows that share no formula and no group"
        return "undecided", f"too few data for an interval: {found}"
    low, high = baseline["interval"]
    outcome = "better" if high < 0 else "worse" if low > 0 else "no better"
    return outcome, f"95 % between {low:+.3g} and {high:+.3g}"


def _cautions(facts: Mapping[str, Any], scores: Mapping[str, float], unlike: float, level: float, outcome: str) -> Any:
    if outcome == "worse":
        yield "it loses to its own baseline: use --strategy auto or descriptors"
    if (n_units := facts["baseline"]["n_units"]) < FEW:
        found = f"{facts['n']} rows"
        if n_units < facts["n"]:
            found = f"{n_units} sets of rows that share no formula and no group, in {found}"
        yield f"{found}: the scores themselves are rough, and so are the widths of the intervals"
    if "coverage" in scores and abs(scores["coverage"] - level) > SLACK:
        yield f"intervals stated to hold {level:.0%} held {scores['coverage']:.1%}"
    if unlike > FAR:
        yield f"{unlike:.0%} of the rows have a formula unlike the others: expect larger errors on new chemistry"
    yield "a formula marked as unlike the training set has an error bar that nothing here speaks for"
    yield "weights and intervals were chosen on these same predictions: `matgraft crossval` scores the whole procedure"

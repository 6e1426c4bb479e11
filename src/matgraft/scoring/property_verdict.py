"""One honest verdict on a predictor of properties: did the encoder help, do the error bars hold, where to doubt them.

The figures are out of fold: every formula is predicted by fits that did not see it. The predictor is better or worse
than descriptors and trees only beyond chance, where the interval of the paired difference leaves out 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matgraft.statistics import MIN_UNITS

FEW = 50
FAR = 0.1
"""Part of formulas unlike the rest from which on a table is called scattered."""
SLACK = 0.03


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
        Part of the formulas that were unlike the others.
    level
        Part of the truths that intervals are stated to hold.

    Returns
    -------
    dict
        ``level`` ("better", "no better" or "worse than descriptors and trees", or "undecided"), ``headline``,
        ``cautions``.
    """
    baseline = facts["baseline"]
    outcome, between = _outcome(baseline)
    used = sum(member["weight"] for member in facts["members"] if member["pretrained"])
    than = "undecided against" if outcome == "undecided" else f"{outcome} than"
    headline = (
        f"{than} {baseline['name']}: {facts['criterion']} {facts['score']:.4g} against {baseline['score']:.4g} "
        f"(difference {baseline['difference']:+.3g}, {between})"
    )
    if not used:
        headline = f"{baseline['name']} alone: the pretrained encoder did not help beyond doubt; " + headline
    return {
        "level": "undecided" if outcome == "undecided" else f"{outcome} than {baseline['name']}",
        "headline": headline,
        "cautions": list(_cautions(facts, scores, unlike, level, outcome)),
    }


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
    if facts["n"] < FEW:
        yield f"{facts['n']} rows: the scores themselves are rough, and so are the widths of the intervals"
    if "coverage" in scores and abs(scores["coverage"] - level) > SLACK:
        yield f"intervals stated to hold {level:.0%} held {scores['coverage']:.1%}"
    if unlike > FAR:
        yield f"{unlike:.0%} of the formulas are unlike the others: expect larger errors on new chemistry"
    yield "a formula marked as unlike the training set has an error bar that nothing here speaks for"
    yield "weights and intervals were chosen on these same predictions: `matgraft crossval` scores the whole procedure"

"""The verdict on a predictor of properties: did the encoder help, do the error bars hold, where to doubt them.

The figures are out of fold: every formula is predicted by fits that did not see it. The predictor is better or worse
than descriptors and trees only beyond chance, where the interval of the paired difference leaves out 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matgraft.core.findings import Action, Finding
from matgraft.core.statistics import MIN_UNITS
from matgraft.core.verdict import THAN, Caution, Damage, Outcome, Reason, Side, Use, Verdict
from matgraft.formulas.domain.verdict import NOT_NESTED
from matgraft.formulas.predictor.facts import BaselineComparison, PredictorFacts
from matgraft.formulas.scoring.pretraining import PARTS, PretrainingFacts, pretraining_sentence

FEW = 50
"""Sets of rows that share no formula and no group: below so many the scores are called rough."""
FAR = 0.1
"""Part of formulas unlike the rest from which on a table is called scattered."""
SLACK = 0.03
"""Part of the truths by which intervals may miss what they state."""
FEW_ROWS = "few-rows"
LEAKS = ("covariate-is-target", "near-duplicates", "groups-across-folds")
"""Findings of the audit that make the scores too good."""
OF_SETS = "sets of rows that share no formula and no group"
UNLIKE = Use(
    use="formulas marked as unlike the training set", reason="whether their error bars are right was not tested"
)


def property_verdict(
    facts: PredictorFacts,
    scores: Mapping[str, float],
    known: PretrainingFacts | None,
    *,
    n: int,
    unlike: float,
    level: float,
    findings: Sequence[Finding] = (),
) -> Verdict:
    """Judge a predictor.

    Parameters
    ----------
    scores
        Out-of-fold scores.
    known
        What the encoder's pretraining knew of the rows.
    n
        Rows.
    unlike
        Part of the rows whose formula was unlike the others.
    level
        Part of the truths that intervals are stated to hold.
    findings
        Of the audit of the table.
    """
    outcome = outcome_of_comparison(facts.baseline) if facts.tried else Outcome.NOT_COMPARED
    narrow = "coverage" in scores and scores["coverage"] < level - SLACK
    if narrow and outcome == Outcome.BETTER:
        outcome = Outcome.RESERVED
    here, gate = Use(use="formulas like those of the table"), gate_sentence(facts)
    return Verdict(
        outcome=outcome,
        against=facts.baseline.name,
        headline=_headline(facts, outcome),
        reasons=tuple(_reasons(facts, known)) if facts.tried else (),
        cautions=(
            *_cautions(facts, scores, known, n=n, unlike=unlike, level=level, outcome=outcome),
            *_of_audit(findings),
        ),
        fit_for=() if narrow or outcome == Outcome.WORSE else (here,),
        not_fit_for=(UNLIKE,),
        chosen=f"{gate[:1].upper()}{gate[1:]}",
    )


def _of_audit(findings: Sequence[Finding]) -> Iterator[Caution]:
    """Yield a caution for each finding that was allowed, and for each warning; the count of rows is judged here."""
    for one in findings:
        if one.outcome == "failed" and one.severity != "info" and one.code != FEW_ROWS:
            leaks = Damage.DOUBT if one.code in LEAKS else Damage.NOTE
            yield Caution(
                code=one.code,
                damage=Damage.WRONG if one.blocks else leaks,
                text=f"{one.title}: {one.evidence}",
                remedy=one.remedy,
                actions=one.actions,
            )


def outcome_of_comparison(compared: BaselineComparison) -> Outcome:
    """Return what a comparison with the baseline says; undecided without an interval."""
    if compared.interval is None:
        return Outcome.UNDECIDED
    low, high = compared.interval
    return Outcome.BETTER if high < 0 else Outcome.WORSE if low > 0 else Outcome.NO_BETTER


def gate_sentence(facts: PredictorFacts) -> str:
    """Say what decided whether the encoder is in the mixture (`predictor.stack`); empty without a gate."""
    gate = facts.gate
    if gate is None:
        return ""
    if not gate.gain:
        return "the best mixture gives the pretrained encoder no weight"
    sure = "too few data for a standard error" if gate.error is None else f"standard error {gate.error:.2g}"
    change = "higher" if gate.gain < 0 else "lower"
    found = f"with the pretrained encoder the {facts.criterion} is {abs(gate.gain):.3g} {change} ({sure})"
    if not gate.needed:
        return f"{found}, and of so many formulas like those of the pretraining the encoder is taken where it is better"
    if gate.needed < 0:
        return f"{found}, and the encoder is left out only if it is worse by {-gate.needed:g} standard errors"
    return (
        f"{found}, and on formulas unlike those of the pretraining the encoder is taken only if it is better by "
        f"{gate.needed:g} standard errors"
    )


def gain_sentence(facts: PredictorFacts) -> str:
    """Say by how much the pretraining lowers the error; empty where nothing tells."""
    gain = facts.pretraining_gain
    if gain is None:
        return ""
    change = f"{abs(gain.per_cent):.1f} % {'lower' if gain.per_cent >= 0 else 'higher'}"
    sure = "too few data for an interval"
    if gain.interval:
        sure = f"gain between {gain.interval[0]:+.1f} and {gain.interval[1]:+.1f} % with 95 %"
    begin = {"yes": "Pretraining helps", "no": "Pretraining does not help, it costs"}.get(
        gain.helps, "Whether pretraining helps is undecided"
    )
    return f"{begin}: with the encoder the {facts.criterion} is {change} than without ({sure})"


def _headline(facts: PredictorFacts, outcome: Outcome) -> str:
    baseline, score = facts.baseline, f"{facts.criterion} {facts.score:.4g}"
    if facts.share:
        than = f"{outcome.capitalize()} {'than' if outcome in THAN else 'against'} {baseline.name}"
        difference = f"difference {baseline.difference:+.3g}, {_between(baseline)}"
        return f"{than}: {score} against {baseline.score:.4g} ({difference})"
    why = gate_sentence(facts) or "no member with the pretrained encoder was fitted, so nothing was compared"
    return f"{baseline.name.capitalize()} alone: {score}; {why}"


def _between(compared: BaselineComparison) -> str:
    if compared.interval is None:
        return f"too few data for an interval: {compared.n_units} of {MIN_UNITS} {OF_SETS}"
    low, high = compared.interval
    return f"95 % between {low:+.3g} and {high:+.3g}"


def _reasons(facts: PredictorFacts, known: PretrainingFacts | None) -> Iterator[Reason]:
    """Yield what pretraining is worth where a gate saw it, and the comparisons that are decided."""
    if facts.gate and (gain := facts.pretraining_gain):
        speaks: dict[str, Side] = {"yes": "for", "no": "against"}
        yield Reason(about="pretraining", speaks=speaks.get(gain.helps, "neither"), text=gain_sentence(facts))
    parts = {f"rows {PARTS[part]} in the pretraining": one for part, one in (known.compared if known else {}).items()}
    for about, compared in {"all rows": facts.baseline, **parts}.items():
        outcome = outcome_of_comparison(compared)
        if outcome in (Outcome.BETTER, Outcome.WORSE):
            change = "lower" if compared.difference < 0 else "higher"
            difference = f"{abs(compared.difference):.3g} {change} than that of {compared.name}"
            text = f"On {about} the {facts.criterion} is {difference} (difference: {_between(compared)})"
            yield Reason(about=about, speaks="for" if outcome == Outcome.BETTER else "against", text=text)


def _cautions(
    facts: PredictorFacts,
    scores: Mapping[str, float],
    known: PretrainingFacts | None,
    *,
    n: int,
    unlike: float,
    level: float,
    outcome: Outcome,
) -> Iterator[Caution]:
    if outcome == Outcome.WORSE:
        yield Caution(
            code="worse-than-baseline",
            damage=Damage.HARM,
            text="It is worse than its baseline",
            remedy="Use strategy auto or descriptors",
            actions=(Action(settings={"strategy": "auto"}), Action(settings={"strategy": "descriptors"})),
        )
    if (n_units := facts.baseline.n_units) < FEW:
        found = f"{n_units} {OF_SETS}, in {n} rows" if n_units < n else f"{n} rows"
        also = "the widths of the intervals" if "coverage" in scores else "the probabilities"
        text = f"{found}: the scores are rough, and so are {also}"
        yield Caution(code=FEW_ROWS, damage=Damage.DOUBT, text=text)
    if "coverage" in scores and abs(scores["coverage"] - level) > SLACK:
        text = f"Intervals stated to hold {level:.0%} held {scores['coverage']:.1%}"
        if scores["coverage"] < level and n_units < n:
            text += (
                f" of the rows. They were set so that each of {n_units} {OF_SETS} counts as one: sets of many rows are "
                "held less often than others"
            )
        damage = Damage.WRONG if scores["coverage"] < level else Damage.NOTE
        yield Caution(code="interval-coverage", damage=damage, text=text)
    if unlike > FAR:
        text = f"{unlike:.0%} of the rows have a formula unlike the others: expect larger errors on new chemistry"
        yield Caution(code="scattered", damage=Damage.DOUBT, text=text)
    text = "Weights and intervals were chosen on these same predictions: `matgraft crossval` scores the whole procedure"
    yield Caution(code=NOT_NESTED, damage=Damage.NOTE, text=text)
    yield Caution(code="pretraining-labels", damage=Damage.NOTE, text=pretraining_sentence(known))

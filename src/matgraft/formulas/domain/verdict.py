"""What is said of a predictor that was carried over to a domain without labels: two findings and a verdict.

``domain-overlap``: are the domains near enough for anything to be carried over? ``domain-harm``: would a method do
worse than none? Both are measured without a label of the target (`matgraft.formulas.domain.adaptation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matgraft.core.findings import Action, Finding
from matgraft.core.verdict import THAN, Caution, Damage, Outcome, Reason, Side, Use, Verdict
from matgraft.formulas.domain.adaptation import ComparedMethod, MethodChoice
from matgraft.formulas.domain.member import SOURCE

AGAINST = "source-only"
NOT_NESTED = "not-nested"
"""Code of the caution that names `matgraft crossval`, which takes no target."""
SIDES: Mapping[str, Side] = {"better": "for", "harm": "against", "in doubt": "neither"}
OUTCOMES = {"better": Outcome.BETTER, "harm": Outcome.WORSE, "in doubt": Outcome.NO_BETTER}
IN_WORDS = {"better": "better", "harm": "does harm", "in doubt": "no better beyond doubt"}
SHIFT = (
    "No proxy sees whether the same formula has another value in the target (a measurement, another level of theory): "
    "some labels of the target do"
)


def overlap_finding(facts: MethodChoice) -> Finding:
    """Return the finding on the overlap of two domains."""
    seen = facts.overlap
    lacks = bool(seen.lacks)
    evidence = (
        f"{'The domains do not overlap: a' if lacks else 'A'} classifier on the frozen features tells them apart with "
        f"an AUC of {seen.auc:.3f} (0.5: alike), {seen.within:.0%} of the target's {seen.n_target} rows lie in the "
        f"source's range, and importance weights leave {seen.effective:.0f} of the source's {seen.n_source} rows to "
        "speak for it"
    )
    return Finding(
        code="domain-overlap",
        title="Overlap of source and target",
        outcome="failed" if lacks else "passed",
        severity="warning",
        evidence=evidence,
        numbers={"auc": seen.auc, "within": seen.within, "effective": seen.effective},
        remedy="Take a source nearer to the target, or labels of the target" if lacks else "",
    )


def harm_finding(facts: MethodChoice) -> Finding:
    """Return the finding on the harm that methods would do; failed if one that is used, or was weighed, does harm."""
    title, rows = "Harm by adaptation", facts.rivals
    if not rows:
        return Finding(
            code="domain-harm", title=title, outcome="not applicable", evidence="source-only was compared with nothing"
        )
    harmful = [row for row in rows if row.outcome == "harm"]
    used = any(row.method == facts.method for row in harmful)
    figures = {
        f"{row.method}_{proxy}_{name}": value
        for row in rows
        for proxy, said in (("reverse", row.reverse), ("weighted", row.weighted))
        for name, value in (("difference", said.difference), ("error", said.error))
    }
    return Finding(
        code="domain-harm",
        title=title,
        outcome="failed" if harmful else "passed",
        severity="warning",
        evidence="; ".join(described(row) for row in rows),
        numbers={name: value for name, value in figures.items() if value is not None},
        remedy="Use the source alone, or let the method be chosen" if used else "",
        actions=(Action(settings={"domain.method": "source"}),) if used else (),
    )


def in_short(rows: Sequence[ComparedMethod]) -> str:
    """Say what the proxies say of all methods, without figures: ``harm: reversal; in doubt: coral, mmd``."""
    said = {outcome: [row.method for row in rows if row.outcome == outcome] for outcome in IN_WORDS}
    return "; ".join(f"{outcome}: {', '.join(names)}" for outcome, names in said.items() if names)


def described(row: ComparedMethod) -> str:
    """Say what the proxies say of a method."""
    figures = ", ".join(
        f"{name} validation {proxy.difference:+.3g} {_sure(proxy.error)}"
        for name, proxy in (("reverse", row.reverse), ("importance-weighted", row.weighted))
    )
    return f"{row.method} {IN_WORDS[row.outcome]} ({figures})"


def _sure(error: float | None) -> str:
    return "(too few independent sets of rows to say how sure)" if error is None else f"± {error:.2g}"


def domain_verdict(facts: MethodChoice, source: Verdict, table: str, target: str) -> Verdict:
    """Judge how the labels were carried over.

    Parameters
    ----------
    source
        The verdict on the source's own rows, out of fold.
    table, target
        Files, for what to do next.
    """
    outcome = _outcome(facts)
    rivals = [Reason(about=row.method, speaks=SIDES[row.outcome], text=described(row)) for row in facts.rivals]
    applies = [
        caution.model_copy(update={"remedy": "", "actions": ()})  # they are of runs without a target
        for caution in source.cautions
        if caution.code != NOT_NESTED
    ]
    overlaps = not facts.overlap.lacks
    here = Use(use="formulas of the target", reason="" if overlaps else "the domains do not overlap")
    return Verdict(
        outcome=outcome,
        against=AGAINST,
        headline=_headline(facts, outcome),
        reasons=tuple(rivals),
        cautions=(*_cautions(facts, source, table, target), *applies),
        fit_for=(here,) if overlaps and outcome != Outcome.WORSE else (),
        not_fit_for=(*source.not_fit_for, *(() if overlaps else (here,))),
    )


def _outcome(facts: MethodChoice) -> Outcome:
    """Return what the proxies say of the method; where no proxy can say anything, it is not called better."""
    rows = [row for row in facts.rivals if row.method == facts.method] or facts.rivals
    if not rows:
        return Outcome.NOT_COMPARED
    outcome = Outcome.NO_BETTER if facts.method == SOURCE else OUTCOMES[rows[0].outcome]
    unsure = all(proxy.interval is None for row in rows for proxy in (row.reverse, row.weighted))
    disbelieved = outcome == Outcome.BETTER and bool(facts.overlap.lacks)
    return Outcome.UNDECIDED if unsure or disbelieved else outcome


def _headline(facts: MethodChoice, outcome: Outcome) -> str:
    said = f"proxies that need no label of the target ({in_short(facts.rivals)})"
    if facts.asked == SOURCE:
        return "Only the source was used, as you asked: nothing was compared"
    than = f"{outcome.capitalize()} {'than' if outcome in THAN else 'against'} {AGAINST}"
    if facts.method == SOURCE:
        return f"{than}, which is kept, by {said}"
    chosen = "as asked" if facts.asked == facts.method else f"chosen among {len(facts.compared)}"
    return f"{than}: {facts.method}, {chosen}, by {said}"


def _cautions(facts: MethodChoice, source: Verdict, table: str, target: str) -> Iterator[Caution]:
    overlap, harm = overlap_finding(facts), harm_finding(facts)
    if overlap.outcome == "failed":
        text = f"{overlap.evidence}. Predictions there are extrapolations, and no proxy is believed"
        yield Caution(code=overlap.code, damage=Damage.WRONG, text=text, remedy=overlap.remedy)
    if harm.actions:
        text = f"{facts.method} was asked for and is worse by the proxies"
        yield Caution(code=harm.code, damage=Damage.HARM, text=text, remedy=harm.remedy, actions=harm.actions)
    for name, reason in facts.skipped.items():
        yield Caution(code="method-left-out", damage=Damage.NOTE, text=f"{name} was left out: {reason}")
    yield Caution(code="label-shift", damage=Damage.DOUBT, text=f"{SHIFT} (`matgraft fewshot` takes 5 to 50)")
    if facts.method == SOURCE:
        text = (
            f"Source-only is one fine-tuned network: `matgraft tune {table}` without --adapt-to weighs trees and "
            f"closed forms as well, and `matgraft predict RUN {target}` takes it there"
        )
        yield Caution(code="one-network", damage=Damage.NOTE, text=text)
    yield Caution(
        code="source",
        damage=Damage.NOTE,
        text=f"On the source itself: {source.headline[:1].lower()}{source.headline[1:]}",
    )

"""What is said of a predictor that was carried over to a domain without labels: two findings and a verdict.

``domain-overlap``: are the domains near enough for anything to be carried over? ``domain-harm``: would a method do
worse than none? Both are measured without a label of the target (`matgraft.formulas.domain.adaptation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matgraft.core.findings import Action, Finding

Facts = Mapping[str, Any]
OUTCOMES = {"better": "better", "harm": "does harm", "in doubt": "no better beyond doubt"}
SHIFT = (
    "no proxy sees whether the same formula has another value in the target (a measurement, another level of theory): "
    "some labels of the target do"
)


def overlap_finding(facts: Facts) -> Finding:
    """Return the finding on the overlap of two domains."""
    seen = facts["overlap"]
    evidence = (
        f"a classifier on the frozen features tells them apart with an AUC of {seen['auc']:.3f} (0.5: alike), "
        f"{seen['within']:.0%} of the target's {seen['n_target']} rows lie in the source's range, and importance "
        f"weights leave {seen['effective']:.0f} of the source's {seen['n_source']} rows to speak for it"
    )
    return Finding(
        code="domain-overlap",
        title="Overlap of source and target",
        outcome="failed" if seen["lacks"] else "passed",
        severity="warning",
        evidence=f"{'the domains do not overlap: ' if seen['lacks'] else ''}{evidence}",
        numbers={name: float(seen[name]) for name in ("auc", "within", "effective")},
        remedy="a source nearer to the target, or labels of the target" if seen["lacks"] else "",
    )


def harm_finding(facts: Facts) -> Finding:
    """Return the finding on the harm that methods would do; failed if one that is used, or was weighed, does harm."""
    title, rows = "Harm by adaptation", [row for row in facts["compared"] if row["outcome"]]
    if not rows:
        return Finding(
            code="domain-harm", title=title, outcome="not applicable", evidence="source-only was compared with nothing"
        )
    harmful = [row for row in rows if row["outcome"] == "harm"]
    used = any(row["method"] == facts["method"] for row in harmful)
    instead = "use the source alone, or let the method be chosen" if used else ""
    return Finding(
        code="domain-harm",
        title=title,
        outcome="failed" if harmful else "passed",
        severity="warning",
        evidence="; ".join(described(row) for row in rows),
        numbers={
            f"{row['method']}_{proxy}_{name}": row[proxy][name]
            for row in rows for proxy in ("reverse", "weighted") for name in ("difference", "error")
            if row[proxy][name] is not None
        },
        remedy=instead,
        actions=(Action(settings={"domain.method": "source"}),) if used else (),
    )  # fmt: skip


def in_short(rows: list[Facts]) -> str:
    """Say what the proxies say of all methods, without figures: ``harm: reversal; in doubt: coral, mmd``."""
    said = {outcome: [row["method"] for row in rows if row["outcome"] == outcome] for outcome in OUTCOMES}
    return "; ".join(f"{outcome}: {', '.join(names)}" for outcome, names in said.items() if names)


def described(row: Facts) -> str:
    """Say what the proxies say of a method."""
    figures = ", ".join(
        f"{name} validation {row[proxy]['difference']:+.3g} {_sure(row[proxy]['error'])}"
        for name, proxy in (("reverse", "reverse"), ("importance-weighted", "weighted"))
    )
    return f"{row['method']} {OUTCOMES[row['outcome']]} ({figures})"


def _sure(error: float | None) -> str:
    return "(too few independent sets of rows to say how sure)" if error is None else f"± {error:.2g}"


def domain_verdict(facts: Facts, source: Facts, table: str, target: str) -> dict[str, Any]:
    """Return the verdict: ``level``, ``headline``, ``cautions``.

    Parameters
    ----------
    facts
        What `matgraft.formulas.domain.adaptation.adapt` chose and compared.
    source
        The verdict on the source's own rows, out of fold.
    table, target
        Files, for what to do next.
    """
    method, asked = facts["method"], facts["asked"]
    rows = {row["method"]: row for row in facts["compared"]}
    outcome = (rows[method]["outcome"] if method in rows else "") or "in doubt"
    level = {"better": "better", "harm": "worse", "in doubt": "no better"}[outcome] + " than source-only"
    said = f"proxies that need no label of the target ({in_short([row for row in rows.values() if row['outcome']])})"
    if asked == "source":
        headline = "source-only, as asked: nothing was compared"
    elif method == "source":
        headline = f"no better than source-only, which is kept, by {said}"
    else:
        chosen = "as asked" if asked == method else f"chosen among {len(rows)}"
        headline = f"{level}: {method}, {chosen}, by {said}"
    applies = [line for line in source["cautions"] if "crossval" not in line]  # it knows no target
    return {"level": level, "headline": headline, "cautions": [*_cautions(facts, source, table, target), *applies]}


def _cautions(facts: Facts, source: Facts, table: str, target: str) -> list[str]:
    said = []
    overlap, harm = overlap_finding(facts), harm_finding(facts)
    if overlap.outcome == "failed":
        said.append(
            f"{overlap.evidence}; predictions there are extrapolations, and no proxy is believed: {overlap.remedy}"
        )
    if harm.outcome == "failed" and harm.option:
        said.append(f"{facts['method']} was asked for and does harm by the proxies: {harm.option}")
    said += [f"by the proxies {harm.evidence}"] if harm.outcome != "not applicable" else []
    said += [f"{name} was left out: {reason}" for name, reason in facts["skipped"].items()]
    said.append(f"{SHIFT} (`matgraft fewshot` takes 5 to 50)")
    if facts["method"] == "source":
        said.append(
            f"source-only is one fine-tuned network: `matgraft tune {table}` without --adapt-to weighs trees and "
            f"closed forms as well, and `matgraft predict RUN {target}` takes it there"
        )
    said.append(f"on the source itself: {source['headline']}")
    return said

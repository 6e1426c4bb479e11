"""Looks at how many rows there are, and of which class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from matgraft.core.findings import Code, Fault, Finding
from matgraft.core.statistics import MIN_UNITS, effective_number, numbered
from matgraft.formulas.table.audit.base import TableEvidence, count_rows

FEW = Code("few-rows", "Few rows that are independent of each other")
RARE = Code("rare-classes", "Classes too rare for the folds")
IMBALANCE = Code("imbalance", "One class is nearly all")

FEWEST = 50
"""Sets of rows that share no formula and no group, below which the verdict calls scores rough."""
HEAVY = 0.1
"""Part of what equal weights are worth, below which few rows decide all."""
NEARLY_ALL = 0.9


def few_rows(evidence: TableEvidence) -> Iterator[Finding]:
    """Count what is independent: sets of rows that share no formula and no group."""
    n = len(set(evidence.table.grouped(evidence.columns.group)))
    text = f"{n} sets of rows that share no formula and no group, in {count_rows(len(evidence))}"
    alike, worth = _worth(evidence)
    if worth < HEAVY * alike:
        row = int(np.argmax(evidence.table.weights))
        share = float(evidence.table.weights[row] / evidence.table.weights.sum())
        yield FEW.failed(Fault(
            (), f"{text}, which their weights make worth {worth:.2g}: line {evidence.lines[row]} "
            f"({evidence.table.formulas[row]}) alone has {share:.0%} of the weight, and the scores are of few rows",
            "look at the smallest uncertainties or the largest weights: an error that all rows share bounds them from "
            "below", (), {"sets": n, "worth": worth},
        ))  # fmt: skip
        return
    if n >= FEWEST:
        yield FEW.passed(text, sets=n)
        return
    rough = f"the error of a mean over {n} is {1 / np.sqrt(n):.0%} of their scatter"
    undecided = f", and below {MIN_UNITS} nothing can be compared" if n < MIN_UNITS else ""
    yield FEW.failed(
        Fault(
            (),
            f"{text}: {rough}{undecided}",
            "add formulas; more rows of the same formulas do not help",
            (),
            {"sets": n},
        )
    )


def _worth(evidence: TableEvidence) -> tuple[float, float]:
    """Return how many sets of equal weight would be worth as much, if rows counted alike and as they are weighed."""
    sets, weights = numbered(evidence.table.grouped(evidence.columns.group)), evidence.table.weights
    sums = [np.bincount(sets, weights=each).astype(float) for each in (np.ones(len(sets)), weights)]
    alike, weighed = map(effective_number, sums)
    return alike, weighed


def rare_classes(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for classes with rows of fewer independent sets than there are folds."""
    classes = evidence.table.classes
    if not classes:
        yield RARE.skipped("the target is one of numbers")
        return
    sets = numbered(evidence.table.grouped(evidence.columns.group))
    homes = [len(set(sets[evidence.values == k].tolist())) for k in range(len(classes))]
    rare = [k for k, n in enumerate(homes) if n < MIN_UNITS]
    if not rare:
        yield RARE.passed(f"the rarest class, {classes[int(np.argmin(homes))]!r}, has {min(homes)} independent sets")
        return
    shown = ", ".join(f"{classes[k]!r} {homes[k]}" for k in rare[:10]) + (", …" if rare[10:] else "")
    rows = np.flatnonzero(np.isin(evidence.values, rare))
    fault = Fault(
        (), f"rows of too few formulas or groups for {MIN_UNITS} folds: {shown}",
        "leave these rows out, join the class with another one, or add formulas of it", [evidence.dropped(rows)],
        {"classes": len(rare)}, None, evidence.at(rows),
    )  # fmt: skip
    yield RARE.failed(fault)


def imbalance(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for a class that is so frequent that its name alone is nearly always right."""
    classes = evidence.table.classes
    if not classes:
        yield IMBALANCE.skipped("the target is one of numbers")
        return
    counts = np.bincount(evidence.values.astype(int), minlength=len(classes))
    share, name = float(counts.max() / counts.sum()), classes[int(np.argmax(counts))]
    if share < NEARLY_ALL:
        yield IMBALANCE.passed(f"the most frequent class, {name!r}, is {share:.0%} of the rows", share=share)
        return
    text = (
        f"{share:.1%} of the rows are {name!r}: always answering this class is right as often. Read the log "
        f"loss, not accuracy"
    )
    remedy = "give the rare rows more weight by a column of weights, or ask for a value in the place of a class"
    yield IMBALANCE.failed(Fault((), text, remedy, (), {"share": share}))

"""Looks at the values alone: far from all others, impossible by the name of the column, piled up at a bound or at 0."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from matgraft.core.findings import Code, Fault, Finding
from matgraft.formulas.table.audit.base import Array, Rows, TableEvidence, count_rows

OUTLIER = Code("outlier-value", "Values far from all others")
IMPOSSIBLE = Code("impossible-value", "Values that the quantity cannot have")
CENSORED = Code("censored", "Values piled up at a bound")
ZEROS = Code("heavy-zeros", "Many zeros among other values", "info")

CLASSES = "the target is one of classes"
FEWEST = 8
"""Values below which nothing is called far from the others."""
MOST_OUT = 0.01
"""Part of the rows that may lie apart and still be single values, not a cluster."""
STAND_INS = np.array([-1.0, *(sign * (10.0**n - 1) for n in range(1, 8) for sign in (1, -1))])
"""Numbers that are written where there is no value."""
WARN, BLOCK = 3.0, 300.0
"""Distance beyond the range of all other values, in units of this range, from which on values are apart."""
DECADES = 0.3
"""The same distance and range on a logarithmic scale: a quantity that spans many decades has large values."""
DECADES_BLOCK = 1.0
PILE, PILE_ROWS = 0.02, 5
"""Part of the rows, and rows, from which on equal values at a bound are a pile."""
TIMES = 5
"""How much more often the value at a bound stands there than the most frequent one of those beside it."""
MANY_ZEROS = 0.1

_SPELLED = re.compile(r"temperature|melting|boiling|curie|n[eé]el|debye|liquidus|solidus|anneal|sinter", re.IGNORECASE)
_SHORT = re.compile(r"(?:^|[\s_])(?:temp|t[\s_]?[cmgbnd]?)(?:$|[\s_(\[/])", re.IGNORECASE)
"""Words and signs of a temperature."""
_KELVIN = re.compile(r"(?:^|[\s_(\[/-])(?:k|kelvin)(?:[\s_)\]]|$)|debye", re.IGNORECASE)
_CELSIUS = re.compile(r"°\s*c|celsius|deg_?c|[\s_(\[]c[\s_)\]]|_c$", re.IGNORECASE)
_POSITIVE = re.compile(
    r"densit|hardness|vickers|mass(?:$|[\s_])|volume|lattice[\s_]*(?:constant|parameter|spacing|[abc](?:$|[\s_(\[]))",
    re.IGNORECASE,
)
_SIGNED = re.compile(
    r"change|differen|(?:^|[\s_])diff(?:$|[\s_])|delta|[Δδ]|excess|mismatch|deviat|shift|residual|expansion|strain|drift"
    r"|energy|enthalp|entrop|weiss|coefficient|derivat|error|log|magneti[sz]|charge|spin|current|polari[sz]|activation"
    r"|reaction|mixing|formation|(?:^|[\s_])rate",
    re.IGNORECASE,
)
"""Words of quantities that may be negative whatever else their name says: a volume change, a Weiss temperature."""
_GAP = re.compile(r"gap", re.IGNORECASE)
_OVERLAP = "a gap is not negative (some tables write the overlap of bands so)"


def outlier_value(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for numbers that stand for no value, such as -999, and for single values beyond the range of all others."""
    if evidence.of_numbers and len(rows := stand_ins(evidence.values)):
        yield _stands_for_none(evidence, rows)
        return
    if not evidence.of_numbers or len(evidence) < FEWEST:
        yield OUTLIER.skipped(CLASSES if not evidence.of_numbers else f"fewer than {FEWEST} values")
        return
    sides = [(rows, *apart(values, rows)) for values, rows in _ends(evidence.values)]
    out = [(rows, linear, decades) for rows, linear, decades in sides if linear >= WARN and decades >= DECADES]
    if not out:
        yield OUTLIER.passed(f"no value lies beyond the others by {WARN:g} times their range")
        return
    rows = np.concatenate([rows for rows, *_ in out])
    rest = np.delete(evidence.values, rows)
    farthest, decades = max(linear for _, linear, _ in out), max(decades for *_, decades in out)
    said = f"{evidence.named(rows)}. All other values lie between {rest.min():.6g} and {rest.max():.6g}"
    fault = Fault(
        (), f"{said}: {farthest:,.3g} times this range beyond it",
        "correct the value if it lost its decimal point or has another unit; leave the row out if it cannot be right",
        [evidence.dropped(rows)], {"ranges_beyond": farthest},
        "error" if farthest >= BLOCK and decades >= DECADES_BLOCK else "warning", evidence.at(rows),
    )  # fmt: skip
    yield OUTLIER.failed(fault)


def stand_ins(values: Array) -> Rows:
    """Return the rows of numbers that stand for no value: 99, -999, 9999, ..., or -1 among positive ones.

    They lie beyond the range of all others, by half of it at least, or are the only negative ones.
    """
    marks = np.unique(values[np.isin(values, STAND_INS)])
    rest = values[~np.isin(values, marks)]
    if not len(marks) or len(np.unique(rest)) < FEWEST:
        return np.empty(0, np.intp)
    width, is_positive = float(np.ptp(rest)), bool(rest.min() >= 0)
    is_counted = bool((rest == np.round(rest)).mean() > 0.5)  # -1, 9 and 99 are numbers like others there
    found = []
    for mark in marks:
        beyond = max(mark - rest.max(), rest.min() - mark)
        lone = (is_positive and mark < 0) or beyond > 0.5 * width
        if beyond > 0 and lone and (abs(mark) > 99 or (not is_counted and (values == mark).sum() > 1)):
            found.append(mark)
    return np.flatnonzero(np.isin(values, found))


def _stands_for_none(evidence: TableEvidence, rows: Rows) -> Finding:
    values = evidence.values
    marks, counts = np.unique(values[rows], return_counts=True)
    rest = np.delete(values, rows)
    said = " and ".join(
        f"{count_rows(int(n), len(values))} hold {mark:g}" for mark, n in zip(marks, counts, strict=True)
    )
    text = f"{said}, which often stands for no value. All others lie between {rest.min():.6g} and {rest.max():.6g}"
    sure = bool((np.abs(marks) > 99).all() and len(rows) > 1 and (marks < 0).all() and rest.min() >= 0)
    fault = Fault(
        (), f"{text}: {evidence.named(rows)}", "leave these cells empty, or leave the rows out",
        [evidence.dropped(rows)], {"rows": float(len(rows))}, "error" if sure else "warning", evidence.at(rows),
    )  # fmt: skip
    return OUTLIER.failed(fault)


def _ends(values: Array) -> Iterator[tuple[Array, Rows]]:
    """Yield the values, the largest counted upward, with the rows at either end that the widest gap sets apart."""
    most = max(1, int(MOST_OUT * len(values)))
    for signed in (values, -values):
        order = np.argsort(-signed, kind="stable")
        gaps = signed[order[:most]] - signed[order[1 : most + 1]]
        yield signed, order[: int(np.argmax(gaps)) + 1]


def apart(values: Array, rows: Rows) -> tuple[float, float]:
    """Return how far the rows with the largest values lie beyond the others, in ranges of these.

    The second number is the same by logarithms of sizes; infinite where the others have no sizes that differ, or the
    signs do.
    """
    rest = np.delete(values, rows)
    nearest, width = float(values[rows].min()), float(rest.max() - rest.min())
    if width <= 0:
        return 0.0, 0.0
    beyond = (nearest - float(rest.max())) / width
    sizes = np.abs(rest[rest != 0])
    if not len(sizes) or sizes.min() == sizes.max() or nearest == 0:
        return beyond, np.inf
    decades = np.log10(abs(nearest) / sizes.max()) / np.log10(sizes.max() / sizes.min())
    return beyond, float(decades)


def impossible_value(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for values below the least one that a quantity of this name can have."""
    name, values = evidence.target, evidence.values
    known = _least(name)
    if not evidence.of_numbers or known is None:
        yield IMPOSSIBLE.skipped(CLASSES if not evidence.of_numbers else f"nothing is known of {name!r} by its name")
        return
    least, why, certain = known
    rows = np.flatnonzero(values < least)
    if not len(rows):
        yield IMPOSSIBLE.passed(f"no value is below {least:g}: {why}")
        return
    fault = Fault(
        (), f"{count_rows(len(rows), len(values))} below {least:g}, and {why}: {evidence.named(rows)}",
        "look for a wrong sign, another unit or °C among K; rename the column if it is another quantity",
        [evidence.dropped(rows)], {"smallest": float(values.min())}, "error" if certain else "warning",
        evidence.at(rows),
    )  # fmt: skip
    yield IMPOSSIBLE.failed(fault)


def _least(name: str) -> tuple[float, str, bool] | None:
    """Return the least value by the name of a column, why, and whether that is beyond doubt."""
    if _SIGNED.search(name):
        return (0.0, _OVERLAP, False) if _GAP.search(name) else None
    spelled = bool(_SPELLED.search(name))
    if (spelled or _SHORT.search(name)) and _KELVIN.search(name):
        return 0.0, "no temperature in K is negative", True
    if spelled or (_SHORT.search(name) and _CELSIUS.search(name)):
        return -273.15, "no temperature is below -273.15 °C", True
    if _POSITIVE.search(name):
        return 0.0, f"{name} is not negative", True
    if _GAP.search(name):
        return 0.0, _OVERLAP, False
    return None


def censored(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for a value at either end that stands there far more often than those beside it."""
    values = evidence.values
    distinct, counts = np.unique(values, return_counts=True)
    if not evidence.of_numbers or len(distinct) < 2 * FEWEST:
        yield CENSORED.skipped(CLASSES if not evidence.of_numbers else f"{len(distinct)} different values")
        return
    least = max(PILE_ROWS, PILE * len(values))
    piles = [
        (float(distinct[at]), int(counts[at]), side)
        for at, beside, side in ((-1, counts[-FEWEST - 1 : -1], "largest"), (0, counts[1 : FEWEST + 1], "smallest"))
        if counts[at] >= max(least, TIMES * int(beside.max())) and distinct[at] != 0
    ]
    if not piles:
        yield CENSORED.passed("neither the smallest nor the largest value is more frequent than others")
        return
    text = " and ".join(f"{count_rows(n, len(values))} have the {side} value, {value:.6g}" for value, n, side in piles)
    rows = np.flatnonzero(np.isin(values, [value for value, *_ in piles]))
    fault = Fault(
        (), f"{text}: where a measurement ends at a bound, the true values lie beyond it",
        "if the bound is that of the instrument, leave these rows out and ask nothing beyond it; an error bar does not "
        "know that the truth was cut", [evidence.dropped(rows)], {"rows": len(rows)}, None, evidence.at(rows),
    )  # fmt: skip
    yield CENSORED.failed(fault)


def heavy_zeros(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for zeros that are many beside values that are not."""
    values = evidence.values
    zero = values == 0
    others = len(np.unique(values[~zero]))
    if not evidence.of_numbers or others < FEWEST:
        yield ZEROS.skipped(CLASSES if not evidence.of_numbers else f"{others} different values beside 0")
        return
    if zero.mean() < MANY_ZEROS:
        yield ZEROS.passed(f"{count_rows(int(zero.sum()), len(values))} of value 0")
        return
    smallest = np.abs(values[~zero]).min()
    fault = Fault(
        (),
        f"{count_rows(int(zero.sum()), len(values))} have the value 0, and the smallest other one is {smallest:.3g}: "
        "the column asks two things, whether there is any and how much",
        "if 0 stands for not measured, leave the cells empty; if it stands for none, such as a metal's gap, a second "
        "column of yes and no answers whether, and the rows above 0 how much",
        numbers={"share": float(zero.mean())},
    )
    yield ZEROS.failed(fault)

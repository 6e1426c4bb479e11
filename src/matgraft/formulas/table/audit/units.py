"""Looks for rows in another unit: a cluster a known factor away, or °C among K.

A value is held against what is expected of its formula, the values of the nearest formulas (`expected`), by log10 of
the ratio, and against the median of the table. Rows in another unit lie at the logarithm of a factor, and between them
and the others there is a valley. A distribution that falls on either side of one mode has none: where a window around
the factor holds n rows and one as wide nearer to the mode m, the odds of so many are those of n or more heads in n + m
throws. That is the evidence, or that no other row lies half as far out; that the cluster is as wide as the rest, and
lies at the factor within its error, is more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matgraft.core.findings import Code, Fault, Finding
from matgraft.formulas.table.audit.base import Array, Rows, TableEvidence, count_rows
from matgraft.formulas.table.audit.expected import bulk_spread
from matgraft.formulas.table.cell import is_unit
from matgraft.formulas.table.layout import plain_name

MIXED = Code("mixed-units", "Rows in another unit")
OFFSET = Code("temperature-offset", "°C among K")

FACTORS = {
    1e6: "a factor of a million",
    160.2177: "eV/Å³ and GPa",
    96.4853: "eV and kJ/mol",
    23.0605: "eV and kcal/mol",
    27.2114: "Hartree and eV",
    13.6057: "Ry and eV",
    1000.0: "a thousand, as of eV and meV or GPa and MPa",
    100.0: "a hundred, as of fractions and percent",
    10.0: "ten, as of GPa and kbar",
    9.80665: "kgf/mm² (HV) and MPa",
    4.184: "kcal and kJ",
    6.89476: "ksi and MPa",
    6.24151: "GPa and meV/Å³",
}
"""Ratio of two units that stand for one quantity -> which."""
FEWEST, MOST_SHARE = 5, 0.45
"""Rows of another unit: at least, and at most as a part of all."""
REACH = 0.4
"""Distance from the factor, in parts of the step, up to which rows are of a cluster that is well apart."""
FAINT_WIDTHS, WIDTHS, WIDE = 4.0, 6.0, 10.0
"""Standard deviations of the rest between the cluster and the rest: to warn, to block, to block by few rows alone."""
SURE, LIKELY = 1e-3, 0.02
"""Odds of the valley by chance, below which a finding blocks, and warns."""
WINDOWS, VALLEYS = (0.25, 0.125), (0.3, 0.4, 0.5, 0.6)
"""Half widths of the windows, and where a valley is sought, in parts of the step."""
ALIKE = (0.25, 2.5)
"""Width of a cluster over that of the rest: another unit moves values and does not spread them."""
ROUND = 0.02
"""Decades by which a cluster may miss its factor beyond its error."""
REPEATS, TWICE = 3, 0.005
"""Formulas that stand in both units, and how exactly their values must have the ratio."""

_UNIT_COLUMN = re.compile(r"(?:^|\s)(?:units?|einheit|unité|単位|单位)(?:\s|$)")
ZERO_CELSIUS = 273.15
_TEMPERATURE = re.compile(
    r"temperature|melting|boiling|curie|neel|néel|debye|(?:^|[\s_])t[\s_]?(?:c|m|g|b|n|d)?(?:$|[\s_(\[/])"
    r"|(?:^|[\s_(\[/])k(?:[\s_)\]]|$)|kelvin|celsius|°\s*c",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Cluster:
    """Rows that lie a step away from the rest.

    Attributes
    ----------
    rows
        Which.
    step
        Where they lie: decades, or a difference.
    odds
        Of the valley between them and the rest, by chance.
    widths
        Standard deviations of the rest that the step is long.
    alike
        Whether they are as wide as the rest.
    isolated
        Whether no other row lies farther out than half of the step.
    miss
        Standard errors between their median and the step.
    """

    rows: Rows
    step: float
    odds: float
    widths: float
    alike: bool
    isolated: bool
    miss: float

    @property
    def likely(self) -> bool:
        """True if it is worth a warning."""
        return self.widths >= FAINT_WIDTHS and (self.odds <= LIKELY or self.isolated)

    @property
    def sure(self) -> bool:
        """True if it is beyond doubt."""
        valley = self.odds <= SURE and self.widths >= WIDTHS
        return self.alike and (valley or (self.isolated and self.widths >= WIDE))


def cluster_at(departures: Array, step: float, slack: float) -> Cluster | None:
    """Return the rows around a step from the rest (n,); None where there are too few, or they lie elsewhere."""
    known = np.flatnonzero(np.isfinite(departures))
    here = departures[known] / step  # the rest lies at 0, the cluster at 1
    floor = max(bulk_spread(here), 1e-3)
    near = np.abs(here - 1) <= min(3 * floor, 0.25)
    n = int(near.sum())
    if not FEWEST <= n <= MOST_SHARE * len(here):
        return None
    own = max(bulk_spread(here[near]), floor / 4)
    error = 1.25 * own / np.sqrt(n)
    miss = abs(float(np.median(here[near])) - 1)
    if miss > 3 * error + slack / abs(step):
        return None
    alike = ALIKE[0] * floor <= own <= ALIKE[1] * floor
    isolated = bool((here[~near] <= 0.5).all())
    # Evidence is what lies close to the factor; what lies farther out, on this side of the valley, is of it.
    rows = np.abs(here - 1) <= REACH if 1 / floor >= WIDTHS else near
    return Cluster(known[rows], step, valley_odds(here), 1 / floor, alike, isolated, miss / error)


def valley_odds(here: Array) -> float:
    """Return the odds by chance of a valley between rows around 0 and rows around 1, of any of several windows."""
    from scipy.stats import binom

    odds = []
    for window in WINDOWS:
        there = int((np.abs(here - 1) <= window).sum())
        for at in VALLEYS:
            if at + 2 * window <= 1:
                between = int((np.abs(here - at) <= window).sum())
                odds.append(float(binom.sf(there - 1, there + between, 0.5)))
    return min(1.0, len(odds) * min(odds))


def mixed_units(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for a column of units that differ, and for a cluster a known factor from what is expected of formulas."""
    if (stated := _stated_units(evidence)) is not None:
        yield stated
        return
    if not evidence.of_numbers or (evidence.values != 0).sum() < 4 * FEWEST:
        too_few = f"fewer than {4 * FEWEST} values beside 0"
        yield MIXED.skipped("the target is one of classes" if not evidence.of_numbers else too_few)
        return
    repeated = _repeats_apart(evidence)
    found = [(cluster, factor) for cluster, factor in _clusters(evidence) if cluster.likely]
    if not found and repeated is None:
        yield MIXED.passed("no cluster of rows lies a known factor from the nearest formulas")
        return
    if found:
        cluster, factor = _nearest_factor(found)
        sure, rows, above = cluster.sure, cluster.rows, cluster.step > 0
        how = (
            f"{count_rows(len(rows), len(evidence))} lie {factor:g} times {'above' if above else 'below'} what is near"
        )
        figures = {"factor": factor, "rows": float(len(rows)), "odds_by_chance": cluster.odds}
        others = sorted({f"{one:g}: {FACTORS[one]}" for near, one in found if one != factor and near.miss <= 3})
        also = f"; the rows do not distinguish it from {', '.join(others)}" if others else ""
        text = f"{how} for their formulas ({FACTORS[factor]}{also}), and nearly none between: {evidence.named(rows)}"
    else:
        assert repeated is not None
        (rows, factor), sure = repeated, True
        text = f"{len(rows) // 2} formulas stand in the table twice, with values {factor:g} times apart"
        text, figures = f"{text} ({FACTORS[factor]}): {evidence.named(rows)}", {"factor": factor}
    if repeated is not None and found:
        text, sure = f"{text}. Of {len(repeated[0]) // 2} formulas both values are there", True
    unit = "divide these by it" if not found or cluster.step > 0 else "multiply these by it"
    fault = Fault(
        (), text, f"bring all rows to one unit: {unit}. Look at the source of one of the rows",
        [evidence.dropped(rows)] if found else (), figures, "error" if sure else "warning", evidence.at(rows),
    )  # fmt: skip
    yield MIXED.failed(fault)


def _stated_units(evidence: TableEvidence) -> Finding | None:
    """Return the finding where a column says the unit of each row, and not all say the same."""
    for name in evidence.unused if evidence.of_numbers else ():
        words = evidence.words(name)
        counts = words[words != ""].value_counts()
        if not _UNIT_COLUMN.search(plain_name(name)) or len(counts) < 2 or not all(map(is_unit, counts.index)):
            continue
        rows = np.flatnonzero((words != counts.index[0]) & (words != ""))
        said = ", ".join(f"{unit} in {count_rows(int(n))}" for unit, n in counts.head(4).items())
        fault = Fault(
            (), f"column {name!r} says different units: {said}; the values are read as if they had one: "
            f"{evidence.named(rows)}", "bring all rows to one unit, or leave rows out",
            [evidence.dropped(rows)], {"rows": float(len(rows))}, "warning", evidence.at(rows),
        )  # fmt: skip
        return MIXED.failed(fault)
    return None


def _nearest_factor(found: list[tuple[Cluster, float]]) -> tuple[Cluster, float]:
    """Return the cluster that is surest, and of the factors that explain its rows as surely the nearest."""
    sure = [one for one in found if one[0].sure] or found
    least = min(max(cluster.odds, 1e-12) for cluster, _ in sure)
    return min((one for one in sure if one[0].odds <= 10 * least), key=lambda one: one[0].miss)


def _clusters(evidence: TableEvidence) -> Iterator[tuple[Cluster, float]]:
    for departures in (evidence.departures.magnitude, evidence.departures.raw):
        for factor in FACTORS:
            for sign in (1, -1):
                if (cluster := cluster_at(departures, sign * float(np.log10(factor)), ROUND)) is not None:
                    yield cluster, factor


def _repeats_apart(evidence: TableEvidence) -> tuple[Rows, float] | None:
    """Return rows, two a formula, of formulas whose values are exactly a known factor apart, with the factor."""
    pairs = repeated_pairs(evidence)
    values = np.abs(evidence.values[pairs])
    values.sort(axis=1)
    usable = values[:, 0] > 0
    ratio = np.divide(values[:, 1], values[:, 0], where=usable, out=np.ones(len(pairs)))
    for factor in FACTORS:
        exact = np.abs(ratio / factor - 1) <= TWICE
        if factor > 3 and exact.sum() >= REPEATS and exact.sum() > (ratio > 2).sum() / 2:
            return pairs[exact].ravel(), factor
    return None


def repeated_pairs(evidence: TableEvidence) -> NDArray[np.intp]:
    """Return (m, 2) rows of the smallest and of the largest value of each formula that has several."""
    order = np.lexsort((evidence.values, evidence.formulas))
    numbers = evidence.formulas[order]
    first = np.flatnonzero(np.diff(numbers, prepend=-1))
    last = np.append(first[1:], len(order)) - 1
    several = last > first
    return np.stack([order[first[several]], order[last[several]]], 1)


def temperature_offset(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for temperatures 273.15 below what is expected: by repeated formulas, by digits, by a cluster."""
    if not evidence.of_numbers or not _TEMPERATURE.search(evidence.target):
        why = "by its name the column is not a temperature" if evidence.of_numbers else "the target is one of classes"
        yield OFFSET.skipped(why)
        return
    pairs = repeated_pairs(evidence)
    apart = np.abs(np.diff(evidence.values[pairs], axis=1)[:, 0] - ZERO_CELSIUS) <= 0.2
    digits = _by_digits(evidence)
    cluster = cluster_at(evidence.departures.linear, -ZERO_CELSIUS, 5.0)
    if apart.sum() >= REPEATS and apart.sum() > 0.2 * len(pairs):
        rows, sure = pairs[apart][:, 0], True
        text = f"{len(rows)} formulas stand in the table with values 273.15 apart: {evidence.named(rows)}"
    elif digits is not None:
        rows, sure, text = digits
    elif cluster is not None and cluster.likely:
        rows, sure = cluster.rows, cluster.sure
        text = f"{count_rows(len(rows), len(evidence))} lie 273 below what is near for their formulas: "
        text += evidence.named(rows)
    else:
        yield OFFSET.passed("no rows lie 273.15 below the others, and no digits suggest °C")
        return
    fault = Fault(
        (), text, "bring all rows to K: add 273.15 to these. Look at the source of one of the rows",
        [evidence.dropped(rows)], {"rows": float(len(rows))}, "error" if sure else "warning", evidence.at(rows),
    )  # fmt: skip
    yield OFFSET.failed(fault)


def _by_digits(evidence: TableEvidence) -> tuple[Rows, bool, str] | None:
    """Return rows of whole numbers in a table whose other values end in .15, as whole degrees C do in K.

    It is beyond doubt where these rows also lie 273 below what is expected, within twice the error, and 0 is out of
    the question.
    """
    part = np.round(evidence.values % 1, 2)
    converted, whole = np.isclose(part, 0.15), np.isclose(part % 1, 0)
    if converted.sum() < 2 * whole.sum() or whole.sum() < FEWEST:
        return None
    # A block of rows may have its own kin for neighbours, which are as wrong: then the values themselves tell.
    tried = [_difference(one[whole], one[converted]) for one in (evidence.departures.linear, evidence.values)]
    below, error = min(tried, key=lambda one: one[0] / one[1])
    as_celsius = abs(below + ZERO_CELSIUS) <= 2 * error
    if below + 2.5 * error > 0 or not as_celsius:  # whole numbers of K, as they should be
        return None
    rows = np.flatnonzero(whole)
    text = (
        f"{count_rows(int(converted.sum()), len(evidence))} end in .15, as whole °C do in K; "
        f"{count_rows(len(rows))} are whole numbers, and lie {-below:.0f} ± {error:.0f} below the "
        f"others for their formulas: {evidence.named(rows)}"
    )
    return rows, error < ZERO_CELSIUS / 5, text


def _difference(first: Array, second: Array) -> tuple[float, float]:
    """Return the difference of two medians and its standard error."""
    parts = [one[np.isfinite(one)] for one in (first, second)]
    if min(map(len, parts)) < FEWEST:
        return 0.0, np.inf
    error = 1.25 * np.sqrt(sum(bulk_spread(one) ** 2 / len(one) for one in parts))
    return float(np.median(parts[0]) - np.median(parts[1])), float(error)

"""Looks at formulas that stand in several rows: how far their values scatter, and what is there twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from matgraft.core.findings import Action, Code, Fault, Finding, Severity
from matgraft.core.statistics import numbered
from matgraft.formulas import descriptors
from matgraft.formulas.table.audit.base import Array, TableEvidence, count_rows

REPEATED = Code("repeated-formula", "One formula with several values")
DUPLICATES = Code("duplicates", "Rows that are there twice", "info")
NEAR = Code("near-duplicates", "Rows that are there nearly twice")

SCATTERS = 0.1
"""Scatter within formulas over the scatter of the whole table, from which on it is a warning."""
EXPLAINS = 0.3
"""Part of the scatter within formulas that a column must explain to be named as the condition."""
FEWEST = 8
"""Rows of repeated formulas from which on a column is asked."""
CLOSE = 0.005
"""Atomic fraction by which the elements of nearly equal rows differ at most."""
CLOSE_VALUE = 0.02
"""Difference of their values at most, over the standard deviation of the table."""
MANY = 0.05
FEW_POINTS = 200
"""Points of which all distances are computed: a tree costs more."""


def repeated_formula(evidence: TableEvidence) -> Iterator[Finding]:
    """Look at the scatter of the values of one formula: no model that reads the formula alone can do better."""
    of = _conditions(evidence)
    shared = np.bincount(of)[of] > 1
    if not shared.any():
        yield REPEATED.passed("no formula has several rows with equal covariates")
        return
    rows = np.flatnonzero(shared)
    n_formulas = len(np.unique(of[rows]))
    among = f"{count_rows(n_formulas, what='formula')} stand{'s' if n_formulas == 1 else ''} in {count_rows(len(rows))}"
    differing = rows[_differs(evidence.values, of)[of[rows]]]
    if not len(differing):
        yield REPEATED.passed(f"{among}, each with one value")
        return
    if evidence.of_numbers:
        floor = mean_deviation_within(evidence.values[rows], of[rows])
        whole = float(np.abs(evidence.values - np.median(evidence.values)).mean())
        text = (
            f"{among}, {len(np.unique(of[differing]))} of them with values that differ. They scatter by "
            f"{floor:.3g} on average about the best that one value a formula could say: no model that reads the "
            f"formula alone has a smaller mean error on these rows (a constant has {whole:.3g} on the table)"
        )
        figures = {"floor_of_the_mean_error": floor, "error_of_a_constant": whole}
        grave = floor > SCATTERS * whole
    else:
        wrong = _outvoted(evidence.values[rows].astype(int), of[rows])
        text = f"{among}. {count_rows(wrong)} of another class than most of their formula: no model gets these right"
        figures, grave = {"rows_of_another_class": float(wrong)}, wrong > SCATTERS * len(rows)
    named = _condition(evidence, of) if evidence.of_numbers else None
    remedy = "polymorphs and conditions differ: give what was different as a covariate, or keep one value a formula"
    actions: list[Action] = []
    if named:
        column, share = named
        remedy = f"column {column!r} explains {share:.0%} of the scatter within formulas: give it as a covariate"
        actions = [Action(settings={"--covariate": column})]
    severity: Severity = "warning" if grave else "info"
    yield REPEATED.failed(Fault((), text, remedy, actions, figures, severity, evidence.at(differing)))


def _conditions(evidence: TableEvidence) -> np.ndarray:
    """Return (n,) numbers of formula and covariates: rows that a model cannot tell apart share one."""
    beside = evidence.table.covariates
    if not beside.shape[1]:
        return evidence.formulas
    return numbered([(int(one), *row) for one, row in zip(evidence.formulas, beside.tolist(), strict=True)])


def _differs(values: Array, of: np.ndarray) -> np.ndarray:
    """Return (n_formulas,) whether the rows of a formula have different values."""
    low, high = np.full(of.max() + 1, np.inf), np.full(of.max() + 1, -np.inf)
    np.minimum.at(low, of, values)
    np.maximum.at(high, of, values)
    return np.asarray(high > low)


def mean_deviation_within(values: Array, of: np.ndarray) -> float:
    """Return the mean absolute deviation of values from the median of their formula: the least one value leaves."""
    order = np.lexsort((values, of))
    parts = np.split(values[order], np.flatnonzero(np.diff(of[order])) + 1)
    return float(sum(np.abs(own - np.median(own)).sum() for own in parts) / len(values)) if len(values) else 0.0


def _outvoted(classes: np.ndarray, of: np.ndarray) -> int:
    counts = np.zeros((of.max() + 1, classes.max() + 1), int)
    np.add.at(counts, (of, classes), 1)
    return int((counts.sum(1) - counts.max(1)).sum())


def _condition(evidence: TableEvidence, of: np.ndarray) -> tuple[str, float] | None:
    """Return the unused column that explains most of the scatter within formulas, with its part, if that is much."""
    found = [(share, column) for column in evidence.unused if (share := _explained(evidence, of, column)) >= EXPLAINS]
    if not found:
        return None
    share, column = max(found)
    return column, share


def _explained(evidence: TableEvidence, of: np.ndarray, column: str) -> float:
    """Return the part of the variance within formulas that goes with a column of numbers or of few words."""
    numbers = evidence.numbers(column)
    known = np.ones(len(of), bool) if numbers is None else np.isfinite(numbers)
    rows = np.flatnonzero(known & (np.bincount(of)[of] > 1))
    if len(rows) < FEWEST:
        return 0.0
    own = of[rows]
    y = _centred(evidence.values[rows], own)
    if numbers is not None:
        x = _centred(numbers[rows], own)[:, None]
    else:
        words = numbered(list(evidence.words(column).iloc[rows]))
        if words.max() < 1 or words.max() > len(rows) // 5:
            return 0.0
        x = np.stack([_centred((words == k).astype(float), own) for k in range(words.max() + 1)], 1)
    if not (np.abs(x) > 0).any() or not (y**2).sum():
        return 0.0
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    spare = max(len(rows) - len(np.unique(own)), 1)
    return float(1 - (rest**2).sum() / (y**2).sum() * spare / max(spare - np.linalg.matrix_rank(x), 1))


def _centred(values: Array, of: np.ndarray) -> Array:
    sums, counts = np.bincount(of, values), np.bincount(of)
    return np.asarray(values - (sums / np.maximum(counts, 1))[of])


def duplicate_rows(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for rows of one formula, one value and the same covariates, however the formula is written."""
    same = numbered(list(zip(_conditions(evidence).tolist(), evidence.values.tolist(), strict=True)))
    again = np.flatnonzero(np.unique(same, return_index=True)[1][same] != np.arange(len(same)))
    if not len(again):
        yield DUPLICATES.passed("no row is twice in the table")
        return
    first = np.unique(same, return_index=True)[1][same[again]]
    texts = [str(formula) for formula in evidence.table.formulas]
    otherwise = sum(texts[i] != texts[j] for i, j in zip(again, first, strict=True))
    spelled = f", {otherwise} of them with the formula written otherwise" if otherwise else ""
    text = (
        f"{count_rows(len(again), len(same))} repeat{'s' if len(again) == 1 else ''} another one{spelled}: "
        f"line {evidence.lines[again[0]]} ({texts[again[0]]}) that of line {evidence.lines[first[0]]} "
        f"({texts[first[0]]})"
    )
    fault = Fault(
        (), f"{text}. Folds keep them together; each of them counts",
        "leave the copies out, unless each is a measurement of its own", [evidence.dropped(again)],
        {"copies": float(len(again))}, "warning" if len(again) > MANY * len(same) else None, evidence.at(again),
    )  # fmt: skip
    yield DUPLICATES.failed(fault)


def near_duplicate_rows(evidence: TableEvidence) -> Iterator[Finding]:
    """Look for rows of nearly one composition with nearly one value, which folds by formula part."""
    if evidence.columns.group == "chemical-system":
        yield NEAR.passed("folds are drawn by chemical system: nearly equal compositions stay together")
        return
    fractions = descriptors.element_fractions(evidence.table.formulas)
    first = np.unique(evidence.formulas, return_index=True)[1]
    if len(first) < 2:
        yield NEAR.skipped("the table has one formula")
        return
    systems = [evidence.table.formulas[i].chemical_system for i in first]
    near: set[int] = set()
    scale = float(evidence.values.std()) if evidence.of_numbers else 0.0
    for system in numbered_parts(systems):
        if len(system) > 1:
            rows = first[system]
            distance, beside = _nearest(fractions[rows][:, fractions[rows].any(0)])
            step = np.abs(evidence.values[rows] - evidence.values[rows[beside]])
            near |= set(rows[(distance <= CLOSE) & (step <= CLOSE_VALUE * scale)].tolist())
    grouped = np.array(evidence.table.grouped(evidence.columns.group))
    if len(near) <= MANY * len(first):
        yield NEAR.passed(
            f"{count_rows(len(near), len(first), 'formula')} nearly equal to another one, in elements and value"
        )
        return
    rows = np.array(sorted(near))
    fault = Fault(
        (), f"{count_rows(len(near), len(first), 'formula')} differ from another one by less than {CLOSE:.1%} of the "
        f"atoms and have nearly its value; the table has {len(set(grouped.tolist()))} sets that folds keep together. "
        f"A fold that holds one of two such rows knows the other: {evidence.named(rows)}",
        "hold out whole chemical systems, if the predictor shall serve others",
        [Action(settings={"--group": "chemical-system"})], {"formulas": float(len(near))}, None, evidence.at(rows),
    )  # fmt: skip
    yield NEAR.failed(fault)


def _nearest(points: Array) -> tuple[Array, np.ndarray]:
    """Return the distance (n,) of each point to its nearest other one, by the largest coordinate, and which it is."""
    from sklearn.neighbors import NearestNeighbors

    if len(points) > FEW_POINTS:
        distance, beside = NearestNeighbors(n_neighbors=2, metric="chebyshev").fit(points).kneighbors(points)
        return distance[:, 1], beside[:, 1]
    apart = np.abs(points[:, None] - points[None]).max(-1)
    np.fill_diagonal(apart, np.inf)
    return apart.min(1), apart.argmin(1)


def numbered_parts(names: list[str]) -> list[np.ndarray]:
    """Return the positions of each name."""
    numbers = numbered(names)
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.cumsum(np.bincount(numbers))[:-1])

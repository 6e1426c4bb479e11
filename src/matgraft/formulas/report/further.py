"""What a further table with labels says of a target: verdict, scores by what the fit knew of the rows, parity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from matgraft.core.report.document import (
    Block,
    Column,
    Drawing,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
    verdict_section,
)
from matgraft.core.report.text import ABSENT, percent
from matgraft.formulas.report.plots import distance_figure, in_unit, reliability_figure, roc_figure, said, truth_figure
from matgraft.formulas.report.rows import Spots, TableRow
from matgraft.formulas.scoring.further import FurtherScores, PartScores
from matgraft.formulas.scoring.metrics import SHARES
from matgraft.formulas.table.units import shown_beside, unit_in

IN_WORDS = {
    "new": "new formulas and groups",
    "known group": "new formulas of groups that were trained on",
    "known formula": "formulas that were trained on",
    "like": "of these, like the training set",
    "unlike": "of these, unlike the training set",
}


def further_spots(rows: Sequence[TableRow]) -> Spots:
    """Return rows of predictions by their columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def further_sections(scores: FurtherScores, rows: Spots, i: int) -> list[Section]:
    """Return the verdict with its table of scores, and the figures."""
    title = f"{scores.target}: figures of the further table"
    return [
        further_section(scores, i),
        Section(f"further-figures-{i}", title, [Plots(_plots(scores, rows, i))], nav=None),
    ]


def further_section(scores: FurtherScores, i: int) -> Section:
    """Return the verdict on a target by a further table, with its scores."""
    name = f"{scores.target} on {Path(scores.file).name}"
    return verdict_section(scores.verdict, [scores_table(scores), *_notes(scores)], name=f"further-{i}", of=name)


def scores_table(scores: FurtherScores) -> Table:
    """Return the scores of each part; below the judged one its rows like and unlike the training set."""
    shown = [*scores.parts.values(), *scores.places.values()]
    names = [name for name in shown[0].scores if not all(_is_criterion(name, part) for part in shown)]
    titles = ["Rows", "Number", scores.criterion.capitalize(), "95 % interval", *names]
    rows: list[Row] = []
    for part, found in scores.parts.items():
        rows.append(_row(IN_WORDS[part], found, names, strong=part == scores.judged))
        if part == scores.judged and len(scores.places) > 1:
            rows += [_row(IN_WORDS[place], one, names) for place, one in scores.places.items()]
    return Table([Column(title, number=title != "Rows") for title in titles], rows, "fit")


def _is_criterion(name: str, part: PartScores) -> bool:
    value = part.scores.get(name)
    return value is not None and math.isclose(value, part.error, rel_tol=1e-9)


def _row(title: str, found: PartScores, names: Sequence[str], *, strong: bool = False) -> Row:
    interval = ABSENT if found.interval is None else f"{found.interval[0]:.3g} to {found.interval[1]:.3g}"
    cells = [_score(name, found.scores.get(name)) for name in names]
    return Row(title, str(found.n), said(found.error), interval, *cells, manner="strong" if strong else "")


def _score(name: str, value: float | None) -> str:
    return ABSENT if value is None else percent(value) if name in SHARES else said(value)


def _notes(scores: FurtherScores) -> list[Block]:
    left_out = {"without a value": scores.without_value, "of weight 0": scores.without_weight}
    notes = [f"{n} rows {which} were left out." for which, n in left_out.items() if n]
    notes += [f"This table has no column {name!r}, which the run used: it is not used here." for name in scores.lacks]
    return [Text(note, "note") for note in notes]


def _plots(scores: FurtherScores, rows: Spots, i: int) -> list[Plot]:
    name, classes = scores.target, scores.classes
    label = f"{name}: predictions of the further table"
    if not classes:
        error = np.abs(_numbers(rows, "value") - _numbers(rows, "truth")).tolist()
        unit = unit_in(name)
        parity = truth_figure(name, rows, error, "predicted", shown_beside(name, unit))
        apart = distance_figure(rows, error, f"absolute error{in_unit(unit)}")
        return [
            Plot("Parity", [Drawing(f"further-parity-{i}", parity, f"{label} against its values")]),
            Plot("Error by distance from the training set", [Drawing(f"further-distance-{i}", apart, label)]),
        ]
    if set(map(str, rows["truth"])) != set(classes):
        return []  # a class that does not occur has no curve
    of = f" of {classes[1]}" if len(classes) == 2 else ""
    return [
        Plot(f"ROC{of}", [Drawing(f"further-roc-{i}", roc_figure(rows, classes), label)]),
        Plot(f"Calibration of the probabilities{of}",
             [Drawing(f"further-reliability-{i}", reliability_figure(rows, classes), label)]),
    ]  # fmt: skip


def _numbers(rows: Spots, column: str) -> np.ndarray:
    return np.array(rows[column], dtype=float)

"""What was suggested to be measured next: the facts that `suggest` gives, their section, and their rows.

The last suggestions for each target stand in suggestions.json of the run.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from matgraft.core.frozen import Frozen
from matgraft.core.report.document import EVERYWHERE, Cell, Column, Row, Section, Table, Text
from matgraft.core.report.text import percent
from matgraft.core.run_folder import RunFile
from matgraft.formulas.report.plots import said
from matgraft.formulas.report.rows import CellValue, TableRow

Reason = Literal["prediction", "uncertain", "new chemistry", "both", "speaks for others"]
GoalKind = Literal["maximise", "minimise", "target-value", "class", "explore"]


class Goal(Frozen):
    """What is wanted of a target.

    Attributes
    ----------
    value
        Of ``target-value``, in the target's units.
    wanted
        Of ``class``, its name.
    """

    kind: GoalKind
    value: float | None = None
    wanted: str | None = None


class Measured(Frozen):
    """A row that the predictor was trained on; `value` is a number, or the name of a class."""

    formula: str
    value: float | str


class Suggestion(Frozen):
    """A candidate to be measured.

    Attributes
    ----------
    rank
        From 1.
    line
        In the candidates' file, the header being line 1; None where there is no file.
    conditions
        Covariates, as they were given.
    value
        As predicted: a number, or the name of a class.
    lower, upper
        The calibrated interval; of classes None.
    chosen_for
        What it was the best in when it was chosen: ``improvement`` or ``information``.
    improvement
        Expected improvement beyond the best of what was measured and of the ranks before, on the scale that the target
        was learned on. None for classes, and without a goal.
    probability
        Of the wanted class.
    entropy
        Of the classes' probabilities, in bits.
    information
        Part of the candidates' variance that its measurement is expected to take away, behind the ranks before.
    distance
        To the training set; above 1 it is out of domain.
    new_elements
        That no training row has.
    nearest
        The training row with the most similar features.
    """

    rank: int
    formula: str
    line: int | None
    conditions: dict[str, str]
    value: float | str
    lower: float | None
    upper: float | None
    chosen_for: Literal["improvement", "information"]
    improvement: float | None
    probability: float | None
    entropy: float | None
    information: float
    distance: float
    new_elements: tuple[str, ...]
    reasons: tuple[Reason, ...]
    nearest: Measured

    @property
    def unlike(self) -> bool:
        """True if it is out of domain."""
        return self.distance > 1


class Made(Frozen):
    """Compositions that were made of elements: how many were tried, and how many of them balance in charge."""

    elements: tuple[str, ...]
    tried: int
    balanced: int | None


class Suggested(Frozen):
    """What to measure next.

    Attributes
    ----------
    run, target, goal
        What was asked.
    n
        How many suggestions were asked for.
    share
        Part of them that is chosen for what it teaches.
    best
        The best of what was measured; None without a goal, and of classes.
    scale
        That the target was learned on: improvements are in its units.
    level
        Part of the truths that an interval holds.
    file
        Of the candidates; None where there is none.
    made
        How they were made of elements.
    n_candidates
        Of which was chosen: none of them was measured, none stands there twice.
    n_measured, n_repeated
        Left out as measured already, and as named before.
    n_unlike
        Candidates out of domain.
    """

    run: str
    target: str
    goal: Goal
    n: int
    share: float
    best: Measured | None
    scale: str
    level: float
    file: str | None
    made: Made | None
    n_candidates: int
    n_measured: int
    n_repeated: int
    n_unlike: int
    suggestions: tuple[Suggestion, ...]


class Suggestions(Frozen):
    """The last suggestions by target."""

    targets: dict[str, Suggested] = Field(default_factory=dict)


SUGGESTIONS = RunFile("suggestions.json", Suggestions)


def suggestion_rows(found: Suggested) -> list[TableRow]:
    """Return a row a suggestion, for a table."""
    rows: list[TableRow] = []
    for one in found.suggestions:
        row: TableRow = {"rank": one.rank, "formula": one.formula, **one.conditions, "target": found.target}
        numbers = ("value", "lower", "upper", "improvement", "probability", "entropy", "information", "distance")
        row |= {name: value for name in numbers if (value := getattr(one, name)) is not None}
        row |= {"unlike": one.unlike, "chosen_for": one.chosen_for, "why": why(one, found)}
        row |= {"new_elements": " ".join(one.new_elements), "nearest": one.nearest.formula}
        rows.append(row | {"nearest_value": one.nearest.value, "line": one.line})
    return rows


def suggested_section(found: Suggested, anchor: str) -> Section:
    """Return what to measure next, with the reasons."""
    classes = isinstance(found.suggestions[0].value, str)
    titles = {
        "#": True,
        "Formula": False,
        "Predicted": not classes,
        **({} if found.goal.kind == "explore" else {"Probability" if classes else "Improves": True}),
        "Informs": True,
        "Why": False,
    }
    rows = [_row(one, found, titles) for one in found.suggestions]
    units = {} if classes else {"Predicted": f"{percent(found.level, 0)} interval"}
    columns = [Column(title, units.get(title, ""), number=number) for title, number in titles.items()]
    table = Table(columns, rows, "fit")
    notes = [Text(line, "note") for line in _notes(found, classes)]
    title = f"{found.target}: what to measure next, {goal_in_words(found.goal)}"
    return Section(anchor, title, [table, *notes], EVERYWHERE, nav=f"{found.target}: next")


def _row(one: Suggestion, found: Suggested, titles: dict[str, bool]) -> Row:
    conditions = "".join(f", {name} {value}" for name, value in one.conditions.items())
    near = f"near {one.nearest.formula} ({said(one.nearest.value)})"
    cells: dict[str, str | Cell] = {
        "#": str(one.rank),
        "Formula": Cell(one.formula + conditions, near),
        "Predicted": Cell(said(one.value), "" if one.lower is None else f"{said(one.lower)} to {said(one.upper)}"),
        "Improves": _improvement(one),
        "Probability": "" if one.probability is None else percent(one.probability, 0),
        "Informs": percent(one.information),
        "Why": why(one, found),
    }
    return Row(*(cells[title] for title in titles))


def why(one: Suggestion, found: Suggested) -> str:
    """Say why a candidate was chosen."""
    wanted = {"maximise": "high prediction", "minimise": "low prediction", "target-value": "prediction near the value",
              "class": f"likely {found.goal.wanted}", "explore": ""}  # fmt: skip
    words: dict[Reason, str] = {
        "prediction": wanted[found.goal.kind],
        "uncertain": "uncertain",
        "new chemistry": "new chemistry",
        "both": "prediction and uncertainty together",
        "speaks for others": "tells of many others",
    }
    new = f" ({', '.join(one.new_elements)} not measured yet)" if one.new_elements else ""
    return ", ".join(words[reason] for reason in one.reasons) + new


def goal_in_words(goal: Goal) -> str:
    """Say what is wanted."""
    return {
        "maximise": "the highest value wanted",
        "minimise": "the lowest value wanted",
        "target-value": f"a value near {said(goal.value)} wanted",
        "class": f"class {goal.wanted} wanted",
        "explore": "to learn most",
    }[goal.kind]


def _notes(found: Suggested, classes: bool) -> list[str]:
    left_out = {"measured already": found.n_measured, "named before": found.n_repeated}
    out = ", ".join(f"{n:,} {which}" for which, n in left_out.items() if n)
    notes = [f"Chosen of {found.n_candidates:,} candidates{f' ({out}: left out)' if out else ''}."]
    if found.n_unlike:
        sure = "probabilities" if classes else "intervals"
        notes.append(f"Out of domain: {found.n_unlike:,} of them. Do not rely on their {sure}.")
    if found.made:
        balanced = "" if found.made.balanced is None else f", {found.made.balanced:,} of them balance in charge"
        notes.append(f"Made of {', '.join(found.made.elements)}: {found.made.tried:,} compositions{balanced}.")
    if len(found.suggestions) < found.n:
        notes.append(f"{found.n} were asked for, and there are no more candidates.")
    if found.best:
        notes.append(f"Best so far: {found.best.formula}, {said(found.best.value)}.")
    if found.goal.kind != "explore" and not classes:
        unit = {"none": "in the target's units", "log": "of its natural logarithm",
                "asinh": "of the target's inverse hyperbolic sine"}[found.scale]  # fmt: skip
        notes.append(f"Improves: expected improvement beyond the best so far and the ranks above, {unit}.")
    notes.append("Informs: part of the candidates' variance that a measurement takes away, behind the ranks above.")
    return notes


def _improvement(one: Suggestion) -> str:
    """Write the expected improvement; 0 below a millionth of the interval, where its exponent tells nothing."""
    width = 0.0 if one.lower is None or one.upper is None else one.upper - one.lower
    return "0" if one.improvement is not None and one.improvement < 1e-6 * width else _short(one.improvement)


def _short(value: CellValue) -> str:
    return f"{value:.3g}" if isinstance(value, float) else ""

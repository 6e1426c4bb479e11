"""What `matgraft fewshot` shows: expectation and predictions on the screen, and one HTML page that stands alone.

>>> write_fewshot_report(few_shot(run), Path("page.html"))
PosixPath('page.html')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from rich.console import Console
from rich.markup import escape as plain
from rich.table import Table

from matgraft.core.files import write_text
from matgraft.core.report.figures import PALETTE, add_legend, empty_figure, style, verbatim
from matgraft.core.report.page import page
from matgraft.formulas.report.plots import parity_figure
from matgraft.formulas.report.text import show_predictions

TEMPLATE = Path(__file__).with_name("fewshot.html.jinja")

Facts = Mapping[str, Any]
MOST_BARS = 40
"""Queries whose probabilities are drawn; the table has all."""
SYMBOLS = {"query": "circle-open", "example": "circle", "prototype": "star"}


def write_fewshot_report(facts: Facts, path: Path) -> Path:
    """Write the page."""
    content = {"facts": facts, "said": promise(facts), "cautions": cautions(facts)}
    write_text(path, page(TEMPLATE, fewshot_figures(facts), **content))
    return path


def promise(facts: Facts) -> str:
    """Say in a sentence what the examples let expect."""
    found = facts["expectation"]
    if facts["kind"] == "values":
        low, high = found["gain_interval"]
        verdict = "better" if low > 0 else "worse" if high < 0 else "no better"
        return (
            f"{verdict} than the mean of the labels: left-out examples are missed by {found['mae']:.4g} on average, "
            f"by the mean of the others {found['mean_mae']:.4g} (difference {found['gain']:+.3g}, 95 % between "
            f"{low:+.3g} and {high:+.3g})"
        )
    if found is None:
        return "one formula a class: nothing can be left out, so the examples say nothing of the accuracy"
    return (
        f"expect {found['accuracy']:.0%} right, 95 % between {found['low']:.0%} and {found['high']:.0%}, where queries "
        f"are of each class equally often: {found['correct']} of {found['counted']} left-out examples were named "
        f"rightly; chance is {1 / len(facts['classes']):.0%}"
    )


def cautions(facts: Facts) -> list[str]:
    """Return what to keep in mind."""
    if facts["kind"] == "values":
        stated = facts["level"]
        needed = round(1 / (1 - stated)) - 1  # so many left-out truths have their largest quantile at the stated level
        few = facts["formulas"] < needed
        return [
            f"intervals hold {facts['expectation']['coverage']:.0%} of the left-out examples, by which they were set"
            + (f"; fewer than {needed} different formulas cannot set a {stated:.0%} interval" if few else "")
        ]
    found, said = facts["expectation"], []
    if alone := [name for name, count in zip(facts["classes"], facts["shots"], strict=True) if count == 1]:
        rest = "; the expectation is that of the other classes" if found else ""
        said.append(f"a class of one formula cannot be left out: {', '.join(alone)}{rest}")
    if found and found["low"] <= 1 / len(facts["classes"]):
        said.append("the examples do not show that this is better than guessing: more of them, or other classes")
    if facts["threshold"] is None:
        said.append('one example a class and no taught metric: nothing can be called "none of these"')
    if facts["metric"] == "none":
        said.append("without a taught metric probabilities rank, but their size means nothing")
    return said


def show_fewshot(screen: Console, facts: Facts) -> None:
    """Print the examples, what they promise, and the predictions."""
    if facts["kind"] == "classes":
        pairs = zip(facts["classes"], facts["shots"], strict=True)
        made_of = ", ".join(f"{name} ({shots})" for name, shots in pairs)
        screen.print(f"{plain(facts['target'])}: {plain(made_of)}; {facts['distance']} distance", highlight=False)
        if facts["repeated"]:
            screen.print(
                f"  rows left out, since an earlier row has their formula: {facts['repeated']}", highlight=False
            )
    else:
        screen.print(f"{plain(facts['target'])}: {facts['examples']} values", highlight=False)
    screen.print(f"[bold]{plain(promise(facts))}[/]", highlight=False, soft_wrap=True)
    nearest = (facts.get("base_classes") or {}).get("nearest")
    if nearest:
        screen.print(f"  {base_promise(nearest)}", highlight=False, soft_wrap=True)
    for caution in cautions(facts):
        screen.print(f"  caution: {plain(caution)}", highlight=False, soft_wrap=True)
    if facts["kind"] == "values":
        show_predictions(screen, [{**row, "target": facts["target"]} for row in facts["predictions"]])
    else:
        screen.print(_class_table(facts))


def show_scores(screen: Console, rows: Sequence[Facts]) -> None:
    """Print how well a metric does on base classes that it did not see."""
    shown = Table("distance", "classes", "examples", "tasks", "accuracy", "untrained", "gain")
    for row in rows:
        cells = [f"{row[name]:.3f} ± {row[f'{name}_error']:.3f}" for name in ("accuracy", "untrained", "gain")]
        shown.add_row(row["distance"], str(row["ways"]), str(row["shots"]), str(row["episodes"]), *cells)
    screen.print(shown)


def base_promise(row: Facts) -> str:
    """Say how well the metric does on base classes that it did not see."""
    low, high = (row["accuracy"] + sign * row["accuracy_error"] for sign in (-1, 1))
    return (
        f"on {row['episodes']} tasks of {row['ways']} classes with {row['shots']} examples each, from DFT properties "
        f"held out while the metric learned: {row['accuracy']:.1%} ({low:.1%} to {high:.1%})"
    )


def fewshot_figures(facts: Facts) -> dict[str, go.Figure]:
    """Return the figures by the id of their place."""
    if facts["kind"] == "values":
        left_out = facts["left_out"]
        held = {name: [row[name] for row in left_out] for name in left_out[0]}
        return {"parity": parity_figure({"name": facts["target"], "held": held, "error": held["value"]})}
    figures = {"map": map_figure(facts), "likely": probability_figure(facts)}
    if facts["base_classes"]:
        figures["episodes"] = episodes_figure(facts["base_classes"]["rows"])
    return figures


def map_figure(facts: Facts) -> go.Figure:
    """Draw examples, prototypes and queries, a colour a class."""
    plot = empty_figure()
    for kind, symbol in SYMBOLS.items():
        spots = [spot for spot in facts["map"] if spot["kind"] == kind]
        marker: dict[str, Any] = {"symbol": symbol, "size": 15 if kind == "prototype" else 7}
        marker["color"] = [PALETTE[spot["class"] % len(PALETTE)] for spot in spots]
        names = [f"{kind} {verbatim(spot['name'])}: {verbatim(facts['classes'][spot['class']])}" for spot in spots]
        plot.add_scatter(
            x=[spot["x"] for spot in spots], y=[spot["y"] for spot in spots], mode="markers", marker=marker,
            text=names, hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    for i, name in enumerate(facts["classes"]):  # no points: a colour for the legend
        plot.add_scatter(x=[None], y=[None], mode="markers", marker={"color": style(i)["colour"]}, name=verbatim(name))
    plot.update_xaxes(title_text="first principal component", nticks=5)
    plot.update_yaxes(title_text="second principal component", nticks=5)
    add_legend(plot)
    return plot


def probability_figure(facts: Facts) -> go.Figure:
    """Draw the probabilities of the first queries as stacked bars."""
    rows = facts["predictions"][:MOST_BARS][::-1]
    plot = empty_figure()
    formulas = [verbatim(row["formula"]) for row in rows]
    for i, name in enumerate(facts["classes"]):
        plot.add_bar(
            x=[row[f"p_{name}"] for row in rows], y=list(range(len(rows))), orientation="h", name=verbatim(name),
            marker={"color": style(i)["colour"], "pattern": {"shape": style(i)["pattern"]}},
            text=formulas, textposition="none", hovertemplate=f"%{{text}}: {verbatim(name)} %{{x:.2f}}<extra></extra>",
        )  # fmt: skip
    plot.update_layout(barmode="stack", bargap=0.25)
    plot.update_xaxes(title_text="probability", range=[0, 1])
    shown = [verbatim(row["formula"][:16]) for row in rows] if len(rows) <= 20 else []
    plot.update_yaxes(title_text="queries", tickvals=list(range(len(shown))), ticktext=shown)
    add_legend(plot)
    return plot


def episodes_figure(rows: list[Facts]) -> go.Figure:
    """Draw accuracies on base classes against shots, trained and untrained, with 95 % intervals."""
    plot = empty_figure()
    for ways in sorted({row["ways"] for row in rows}):
        some = [row for row in rows if row["ways"] == ways]
        for name, dash in (("accuracy", "solid"), ("untrained", "dot")):
            colour = PALETTE[ways % len(PALETTE)]
            plot.add_scatter(
                x=[row["shots"] for row in some], y=[row[name] for row in some], mode="lines+markers",
                error_y={"type": "data", "array": [row[f"{name}_error"] for row in some], "width": 3},
                line={"color": colour, "width": 2, "dash": dash}, marker={"color": colour},
                hovertemplate=f"{ways} classes, %{{x}} shots: %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
    plot.update_xaxes(title_text="examples a class", type="log", tickvals=sorted({row["shots"] for row in rows}))
    plot.update_yaxes(title_text="accuracy")
    return plot


def _class_table(facts: Facts) -> Table:
    shown = Table("formula", "class", *(f"p({plain(name)})" for name in facts["classes"]), "")
    for row in facts["predictions"]:
        likely = [f"{row[f'p_{name}']:.1%}" for name in facts["classes"]]
        shown.add_row(
            plain(row["formula"]), plain(row["value"]), *likely, "none of these" if row["none_of_these"] else ""
        )
    return shown

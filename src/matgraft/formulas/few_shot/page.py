"""What `matgraft fewshot` shows: expectation and predictions on the screen, and one HTML page that stands alone.

>>> write_fewshot_report(few_shot(run), Path("page.html"))
PosixPath('page.html')
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from rich.console import Console

from matgraft.core.files import write_text
from matgraft.core.report.document import (
    EVERYWHERE,
    Block,
    Cell,
    Column,
    Document,
    Drawing,
    Pairs,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
    verdict_section,
)
from matgraft.core.report.figures import PALETTE, add_legend, empty_figure, style, verbatim
from matgraft.core.report.html import to_html
from matgraft.core.report.screen import show_blocks, show_document
from matgraft.core.report.text import percent
from matgraft.formulas.few_shot.metric import MetricScore
from matgraft.formulas.few_shot.result import BaseScores, FewClasses, FewValues
from matgraft.formulas.report.plots import truth_figure

MOST_BARS = 40
"""Queries whose probabilities are drawn; the table has all."""
SYMBOLS = {"query": "circle-open", "example": "circle", "prototype": "star"}


def write_fewshot_report(result: FewClasses | FewValues, path: Path) -> Path:
    """Write the page."""
    write_text(path, to_html(fewshot_document(result)))
    return path


def show_fewshot(screen: Console, result: FewClasses | FewValues) -> None:
    """Print the examples, what they promise, and the predictions."""
    show_document(screen, fewshot_document(result))


def show_scores(screen: Console, rows: Sequence[MetricScore]) -> None:
    """Print how well a metric does on base classes that it did not see."""
    show_blocks(screen, [_score_table(rows)])


def fewshot_document(result: FewClasses | FewValues) -> Document:
    """Return what the page and the screen show."""
    parts = _of_classes(result) if isinstance(result, FewClasses) else _of_values(result)
    return Document(result.target, [*parts, _provenance(result)], kind="matgraft few-shot report")


def _of_classes(result: FewClasses) -> list[Section]:
    shots = ", ".join(f"{name} ({count})" for name, count in zip(result.classes, result.shots, strict=True))
    told = [
        ("examples", shots),
        *_left_out(result),
        *([("rows left out, since an earlier row has their formula", str(result.repeated))] * bool(result.repeated)),
        ("distance", result.distance),
        ("metric", result.metric),
        *([("“none of these” set by", result.threshold_from)] * (result.threshold is not None)),
    ]
    scores = result.base_classes
    between: list[Block] = [Pairs(told)]
    between += [Text(_base_promise(scores.nearest))] if scores and scores.nearest else []
    names = [Column(name) for name in result.classes]
    rows = [
        Row(
            one.formula, one.value, *map(percent, one.probabilities.values()), "none of these" * bool(one.none_of_these)
        )
        for one in result.predictions
    ]
    table = Table([Column("Formula", number=False), Column("Class", number=False), *names, Column("")], rows, "fit")
    blocks: list[Block] = [Plots(_class_plots(result)), table]
    if result.threshold is not None:
        by = "queries of base classes" if result.threshold_from == "base classes" else "left-out examples"
        said = f"farther from the likeliest prototype, in units of the examples' own spread, than 95 % of the {by} are."
        blocks.append(Text(f"“None of these”: {said}", "note"))
    return [
        verdict_section(result.verdict, between, name="expectation", of="Expectation"),
        Section("predictions", "Predictions", blocks, EVERYWHERE),
        *([_base_section(scores)] if scores else []),
    ]


def _of_values(result: FewValues) -> list[Section]:
    found = result.expectation
    told = [
        ("examples", str(result.examples)),
        *_left_out(result),
        ("error, left out", f"{found.mae:.4g}"),
        ("of the mean of the others", f"{found.mean_mae:.4g}"),
    ]
    columns = ["Value", f"{result.level:.0%} interval", "Distance"]
    rows = [
        Row(one.formula, f"{one.value:.4g}", f"{one.lower:.4g} to {one.upper:.4g}",
            f"{one.distance:.2f}{', unlike' * one.unlike}")
        for one in result.predictions
    ]  # fmt: skip
    table = Table([Column("Formula", number=False), *map(Column, columns)], rows, "fit")
    label = "left-out examples with intervals against their values"
    plot = Plot("Left-out examples", [Drawing("parity", _left_out_figure(result), label)])
    return [
        verdict_section(result.verdict, [Pairs(told)], name="expectation", of="Expectation"),
        Section("predictions", "Predictions", [Plots([plot]), table], EVERYWHERE),
    ]


def _left_out(result: FewClasses | FewValues) -> list[tuple[str, str]]:
    return [("rows without a value left out", str(result.without_value))] * bool(result.without_value)


def _provenance(result: FewClasses | FewValues) -> Section:
    run = result.run
    rows: list[tuple[str, str | Cell]] = [
        ("support", run.support),
        ("queries", run.queries),
        ("foundation", run.foundation),
        ("encoder", result.encoder.name),
        ("sha256", Cell(result.encoder.sha256, code=True)),
    ]
    return Section("provenance", "Provenance", [Pairs(rows)])


def _base_promise(row: MetricScore) -> str:
    """Say how well the metric does on base classes that it did not see."""
    low, high = (row.accuracy + sign * row.accuracy_error for sign in (-1, 1))
    return (
        f"On {row.episodes} tasks of {row.ways} classes with {row.shots} examples each, from DFT properties held out "
        f"while the metric learned: {row.accuracy:.1%} ({low:.1%} to {high:.1%})"
    )


def _base_section(scores: BaseScores) -> Section:
    lead = (
        "Tasks drawn from DFT properties, each of a family of properties that was held out while the metric learned, "
        "on formulas that the encoder did not see. “Untrained” is the same encoder with nothing taught."
    )
    title = "How well this metric does on classes it did not see"
    return Section("base-classes", title, [Text(lead, "lead"), _score_table(scores.rows)], nav=None)


def _score_table(scores: Sequence[MetricScore]) -> Table:
    columns = [Column("Distance", number=False)]
    columns += map(Column, ("Classes", "Examples each", "Tasks", "Accuracy", "Untrained", "Gain"))
    rows = [
        Row(
            one.distance, str(one.ways), str(one.shots), str(one.episodes),
            f"{percent(one.accuracy)} ± {percent(one.accuracy_error)}",
            f"{percent(one.untrained)} ± {percent(one.untrained_error)}",
            f"{percent(one.gain)} ± {percent(one.gain_error)}",
        )
        for one in scores
    ]  # fmt: skip
    return Table(columns, rows, "fit")


def _class_plots(result: FewClasses) -> list[Plot]:
    label = "map of the points by their first two principal components"
    drawn = f"the first {min(MOST_BARS, len(result.predictions))} of {len(result.predictions)}"
    plots = [
        Plot("Examples, prototypes, queries", [Drawing("map", _map_figure(result), label)],
             "dots: examples; stars: prototypes; rings: queries"),
        Plot("Probabilities of the queries", [
            Drawing("likely", _probability_figure(result), "stacked probabilities of the queries")
        ], drawn),
    ]  # fmt: skip
    if result.base_classes:
        figure = _episodes_figure(result.base_classes.rows)
        drawing = Drawing("episodes", figure, "accuracy on base classes by examples a class")
        small = "upper lines 2 classes, lower 3; dotted: nothing taught; 95 % intervals"
        plots.append(Plot("Accuracy on base classes", [drawing], small))
    return plots


def _left_out_figure(result: FewValues) -> go.Figure:
    names = ("formula", "line", "truth", "value", "lower", "upper")
    held = {name: [getattr(one, name) for one in result.left_out] for name in names}
    return truth_figure(result.target, held, [one.value for one in result.left_out])


def _map_figure(result: FewClasses) -> go.Figure:
    """Draw examples, prototypes and queries, a colour a class."""
    plot = empty_figure()
    for kind, symbol in SYMBOLS.items():
        spots = [spot for spot in result.map if spot.kind == kind]
        colours = [PALETTE[spot.of_class % len(PALETTE)] for spot in spots]
        names = [f"{kind} {verbatim(spot.name)}: {verbatim(result.classes[spot.of_class])}" for spot in spots]
        plot.add_scatter(
            x=[spot.x for spot in spots], y=[spot.y for spot in spots], mode="markers", text=names,
            marker={"symbol": symbol, "size": 15 if kind == "prototype" else 7, "color": colours},
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    for i, name in enumerate(result.classes):  # no points: a colour for the legend
        plot.add_scatter(x=[None], y=[None], mode="markers", marker={"color": style(i)["colour"]}, name=verbatim(name))
    plot.update_xaxes(title_text="first principal component", nticks=5)
    plot.update_yaxes(title_text="second principal component", nticks=5)
    add_legend(plot)
    return plot


def _probability_figure(result: FewClasses) -> go.Figure:
    """Draw the probabilities of the first queries as stacked bars."""
    rows = result.predictions[:MOST_BARS][::-1]
    plot = empty_figure()
    formulas = [verbatim(row.formula) for row in rows]
    for i, name in enumerate(result.classes):
        plot.add_bar(
            x=[row.probabilities[name] for row in rows], y=list(range(len(rows))), orientation="h", name=verbatim(name),
            marker={"color": style(i)["colour"], "pattern": {"shape": style(i)["pattern"]}},
            text=formulas, textposition="none", hovertemplate=f"%{{text}}: {verbatim(name)} %{{x:.2f}}<extra></extra>",
        )  # fmt: skip
    plot.update_layout(barmode="stack", bargap=0.25)
    plot.update_xaxes(title_text="probability", range=[0, 1])
    shown = [verbatim(row.formula[:16]) for row in rows] if len(rows) <= 20 else []
    plot.update_yaxes(title_text="queries", tickvals=list(range(len(shown))), ticktext=shown)
    add_legend(plot)
    return plot


def _episodes_figure(rows: Sequence[MetricScore]) -> go.Figure:
    """Draw accuracies on base classes against shots, trained and untrained, with 95 % intervals."""
    plot = empty_figure()
    for ways in sorted({row.ways for row in rows}):
        some = [row for row in rows if row.ways == ways]
        trained = [(row.accuracy, row.accuracy_error) for row in some]
        untrained = [(row.untrained, row.untrained_error) for row in some]
        for points, dash in ((trained, "solid"), (untrained, "dot")):
            colour = PALETTE[ways % len(PALETTE)]
            plot.add_scatter(
                x=[row.shots for row in some], y=[value for value, _ in points], mode="lines+markers",
                error_y={"type": "data", "array": [error for _, error in points], "width": 3},
                line={"color": colour, "width": 2, "dash": dash}, marker={"color": colour},
                hovertemplate=f"{ways} classes, %{{x}} shots: %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
    plot.update_xaxes(title_text="examples a class", type="log", tickvals=sorted({row.shots for row in rows}))
    plot.update_yaxes(title_text="accuracy")
    return plot

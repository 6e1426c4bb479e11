"""The section of labels against predictions: clouds on equal axes, and how the errors are spread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from matgraft.core.report.document import Block, Column, Drawing, Folded, Plot, Plots, Row, Section, Table, Text
from matgraft.core.report.figures import COLOURS, AtEdge, beyond_note, empty_figure, ends_of
from matgraft.core.report.text import decimals, written
from matgraft.potentials.report.facts import RunFacts
from matgraft.potentials.report.parity import Parity, PredictedBy, QuantityParity
from matgraft.potentials.report.scores import LEGEND, SHORT_TITLES, TITLES
from matgraft.potentials.run_files import PREDICTIONS
from matgraft.potentials.scoring.scores import ModelName

KEYS: Mapping[PredictedBy, ModelName] = {"untuned": "untuned", "shift": "shift", "tuned": "test"}
"""Model of a table of predictions -> what metrics.json calls it."""


def parity_section(facts: RunFacts) -> Section:
    """Return every labelled value against its prediction."""
    return Section("parity", "Parity", facts.blocks(PREDICTIONS, facts.parity, _blocks))


def _blocks(parity: Parity) -> list[Block]:
    lead = (
        f"Every labelled value of the {parity.part} part ({parity.n_frames} frames) against its prediction, and below "
        "it how the errors are spread. On the dotted line prediction and label agree; a cloud flatter than the line is "
        "a potential too soft. Drag to zoom, double-click to go back."
    )
    note = (
        "Energies are per atom, less one energy an element fitted to the labels, the same for labels and predictions: "
        "frames of different composition share a scale, errors are untouched. If a plot does not show all "
        "points, a tenth of its "
        "points are the largest errors of the tuned model and the rest a random draw; the spread below it counts all "
        "of them, its outermost bins with whatever lies beyond."
    )
    left_out = " Frames are left out where a model gave no finite prediction."
    return [
        Text(lead, "lead"),
        Plots([_plot(name, shown) for name, shown in parity.quantities.items()], LEGEND),
        Text(note + left_out * any(shown.n_left_out for shown in parity.quantities.values()), "note"),
        Folded("The same as figures", [_statistics(parity)]),
    ]


def _plot(name: str, shown: QuantityParity) -> Plot:
    drawn = f", {shown.n_drawn:,} drawn" * (shown.n_drawn < shown.n_points)
    left_out = f"; {shown.n_left_out} frames left out" * bool(shown.n_left_out)
    left_out += f"; {far}" if (far := beyond_note(n_beyond(shown))) else ""
    drawings = [
        Drawing(f"parity-{name}", cloud_figure(name, shown), f"{name}: predictions against labels", "parity"),
        Drawing(f"errors-{name}", error_figure(shown), f"{name}: distribution of the errors", "errors"),
    ]
    return Plot(name.capitalize(), drawings, f"{shown.n_points:,} values{drawn}{left_out}")


def _statistics(parity: Parity) -> Table:
    """One row a quantity and model: RMSE, MAE, worst error, slope."""
    rows = []
    for name, shown in parity.quantities.items():
        places = decimals(model.mae for model in shown.models.values())
        rows += [
            Row(f"{name} ({shown.unit})", TITLES[KEYS[model]],
                *(written(value, places) for value in (found.rmse, found.mae, found.worst)), written(found.slope, 3))
            for model, found in shown.models.items()
        ]  # fmt: skip
    heads = [Column("Quantity", number=False), Column("Model", number=False)]
    return Table([*heads, *map(Column, ("RMSE", "MAE", "Worst", "Slope"))], rows, "fit")


def cloud_figure(name: str, shown: QuantityParity) -> go.Figure:
    """Draw predictions against labels on equal axes, with the line y = x."""
    everything = np.concatenate([shown.label, *(shown.models[model].points for model in shown.drawn)])
    ends = ends_of(everything)
    few = shown.n_drawn < 500
    plot = empty_figure()
    line = {"width": 1, "dash": "dot"}
    plot.add_scatter(x=ends, y=ends, mode="lines", line=line, meta="ink", hoverinfo="skip")
    for model in shown.drawn:
        marker: dict[str, object] = {"color": COLOURS[model], "size": 6 if few else 3, "opacity": 0.75 if few else 0.3}
        points = np.asarray(shown.models[model].points, dtype="float32")
        label = np.asarray(shown.label, dtype="float32")
        held, who = AtEdge.of(label, points, ends, ends), SHORT_TITLES[KEYS[model]]
        far = held.beyond
        hover = f"label %{{x:.4g}}<br>{who} %{{y:.4g}} {shown.unit}<extra></extra>"
        plot.add_scatter(x=label[~far], y=points[~far], mode="markers", marker=marker, hovertemplate=hover)
        if held.n:
            marks = {**marker, "symbol": [held.symbols[i] for i in np.flatnonzero(far)], "size": 9, "opacity": 1}
            hover = f"label %{{customdata[0]:.4g}}<br>{who} %{{customdata[1]:.4g}} {shown.unit}<extra></extra>"
            true = np.stack([label[far], points[far]], axis=1)
            edge = {"x": held.x[far], "y": held.y[far], "customdata": true}
            plot.add_scatter(**edge, mode="markers", marker=marks, hovertemplate=hover, cliponaxis=False)
    axis = {"range": list(ends), "nticks": 6, "constrain": "domain"}
    plot.update_xaxes(title_text=f"{name}, DFT ({shown.unit})", **axis)
    plot.update_yaxes(title_text=f"{name}, model ({shown.unit})", scaleanchor="x", **axis)
    return plot


def n_beyond(shown: QuantityParity) -> int:
    """Return how many points of all models a chart draws at its edge."""
    label = np.asarray(shown.label)
    ends = ends_of(np.concatenate([label, *(shown.models[model].points for model in shown.drawn)]))
    drawn = (np.asarray(shown.models[model].points) for model in shown.drawn)
    return sum(AtEdge.of(label, points, ends, ends).n for points in drawn)


def error_figure(shown: QuantityParity) -> go.Figure:
    """Draw how the errors of every point are spread, for all models in the same bins."""
    plot = empty_figure()
    for model, percent in shown.histogram.percent.items():
        plot.add_scatter(
            x=shown.histogram.centres,
            y=percent,
            mode="lines",
            line={"color": COLOURS[model], "width": 2 if model == "tuned" else 1.5, "shape": "hvh"},
            fill="tozeroy" if model == "tuned" else None,
            fillcolor="rgba(47,120,196,0.15)",
            hovertemplate=f"{SHORT_TITLES[KEYS[model]]}: %{{y:.2g}} % at %{{x:.3g}} {shown.unit}<extra></extra>",
        )
    plot.update_xaxes(title_text=f"model − DFT ({shown.unit})", nticks=6)
    plot.update_yaxes(title_text="share (%)", rangemode="tozero", nticks=4)
    return plot

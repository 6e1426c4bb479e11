"""Figures of a report on a table: parity or ROC, calibration, error by distance, the map of the embedding."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from matgraft.core.report.figures import COLOURS, AtEdge, add_legend, empty_figure, ends_of, style, verbatim
from matgraft.core.report.text import ABSENT
from matgraft.formulas.learners.inputs import Array
from matgraft.formulas.report.rows import CellValue, Spots

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST = 3000
"""Points drawn; SVG grows slow beyond."""
WORST = MOST // 10
"""So many of them are those of the largest errors, so that no outlier is hidden."""
OURS, OTHER = COLOURS["tuned"], COLOURS["shift"]


def truth_figure(
    name: str, held: Spots, error: Sequence[float], how: str = "predicted out of fold", unit: str = ""
) -> go.Figure:
    """Draw predictions with their intervals against the truths.

    Parameters
    ----------
    name
        Of the target.
    held
        Columns formula, line, truth, value, lower and upper.
    error
        (n,) of the rows; the largest are always drawn.
    how
        The rows were predicted, for the axis.
    unit
        Of the values, where it is known and the name does not end with it.
    """
    rows = drawn_rows(error)
    truth, value, low, high = (_of(held[column], rows) for column in ("truth", "value", "lower", "upper"))
    ends = ends_of(np.concatenate([truth, value]))
    points = AtEdge.of(truth, value, ends, ends)
    plot = empty_figure()
    line = {"width": 1, "dash": "dot"}
    plot.add_scatter(x=ends, y=ends, mode="lines", line=line, meta="ink", hoverinfo="skip", name="equal")
    bars = {"type": "data", "array": high - value, "arrayminus": value - low, "thickness": 0.5, "width": 0,
            "color": "rgba(47,120,196,0.18)"}  # fmt: skip
    names = [f"{verbatim(held['formula'][i])}, line {held['line'][i]}" for i in rows]
    plot.add_scatter(
        x=points.x, y=points.y, error_y=bars, mode="markers", customdata=np.stack([truth, value], axis=1),
        marker={"color": OURS, "size": 4, "opacity": 0.6} | points.marks, text=names, name="a row, with its interval",
        hovertemplate="%{text}<br>in the table %{customdata[0]:.4g}, predicted %{customdata[1]:.4g}<extra></extra>",
    )  # fmt: skip
    plot.update_xaxes(title_text=f"{verbatim(name)}, in the table{in_unit(unit)}", nticks=6, range=list(ends))
    plot.update_yaxes(title_text=f"{verbatim(name)}, {how}{in_unit(unit)}", nticks=6, range=list(ends))
    add_legend(plot)
    return plot


def beyond_truth(held: Spots, error: Sequence[float]) -> int:
    """Return how many rows `truth_figure` draws at its edge."""
    rows = drawn_rows(error)
    truth, value = (_of(held[column], rows) for column in ("truth", "value"))
    ends = ends_of(np.concatenate([truth, value]))
    return AtEdge.of(truth, value, ends, ends).n


def in_unit(unit: str) -> str:
    """Write a unit behind the title of an axis."""
    return f" ({verbatim(unit)})" if unit else ""


def distance_figure(held: Spots, error: Sequence[float], title: str) -> go.Figure:
    """Draw errors against the distance from the training set, and the mean of ten equally filled bins of all rows."""
    rows = drawn_rows(error)
    distance, errors = np.array(held["distance"], dtype=float), np.array(error)
    ends = 0.0, max(ends_of(errors)[1], 0.0)
    points = AtEdge.of(distance[rows], errors[rows], (-np.inf, np.inf), ends)
    names = [verbatim(held["formula"][i]) for i in rows]
    plot = empty_figure()
    plot.add_scatter(
        x=points.x, y=points.y, mode="markers", marker={"color": OURS, "size": 4, "opacity": 0.4} | points.marks,
        text=names, customdata=errors[rows], name="a row",
        hovertemplate="%{text}: error %{customdata:.4g} at %{x:.2f}<extra></extra>",
    )  # fmt: skip
    parts = [part for part in np.array_split(np.argsort(distance, kind="stable"), 10) if len(part)]
    means = np.array([errors[part].mean() for part in parts])
    plot.add_scatter(
        x=[float(distance[part].mean()) for part in parts], y=np.clip(means, *ends), customdata=means,
        mode="lines+markers", line={"color": OTHER, "width": 2}, marker={"color": OTHER, "size": 6},
        name="mean of a tenth of all rows", hovertemplate="mean of a tenth: %{customdata:.4g}<extra></extra>",
    )  # fmt: skip
    plot.update_xaxes(title_text="distance (above 1: unlike)", nticks=6, rangemode="tozero")
    plot.update_yaxes(title_text=title, nticks=5, range=list(ends))
    add_legend(plot)
    return plot


def roc_figure(held: Spots, classes: Sequence[str]) -> go.Figure:
    """Draw the receiver operating characteristic: of the second of two classes, or of each of several."""
    from sklearn.metrics import roc_curve

    plot = _of_classes()
    for i, name in _classes_drawn(classes):
        true = np.array([str(word) == name for word in held["truth"]])
        false_rate, true_rate, _ = roc_curve(true, held[f"p_{name}"])
        plot.add_scatter(
            x=false_rate, y=true_rate, mode="lines", name=verbatim(name),
            line={"color": style(i)["colour"], "dash": style(i)["dash"], "width": 2},
            hovertemplate=f"{verbatim(name)}: found %{{y:.2f}}, false alarms %{{x:.2f}}<extra></extra>",
        )  # fmt: skip
    plot.update_xaxes(title_text="false alarms (part of the others)", range=[-0.02, 1.02])
    plot.update_yaxes(title_text="found (part of the class)", range=[-0.02, 1.02])
    add_legend(plot)
    return plot


def reliability_figure(held: Spots, classes: Sequence[str]) -> go.Figure:
    """Draw how often a stated probability came true, in bins of equal number."""
    from sklearn.calibration import calibration_curve

    plot = _of_classes()
    for i, name in _classes_drawn(classes):
        true = np.array([str(word) == name for word in held["truth"]])
        came_true, stated = calibration_curve(true, held[f"p_{name}"], n_bins=8, strategy="quantile")
        own = style(i)
        plot.add_scatter(
            x=stated, y=came_true, mode="lines+markers", name=verbatim(name),
            line={"color": own["colour"], "dash": own["dash"], "width": 2},
            marker={"color": own["colour"], "symbol": own["symbol"]},
            hovertemplate=f"{verbatim(name)}: stated %{{x:.2f}}, came true %{{y:.2f}}<extra></extra>",
        )  # fmt: skip
    plot.update_xaxes(title_text="stated probability", range=[-0.02, 1.02])
    plot.update_yaxes(title_text="came true", range=[-0.02, 1.02])
    add_legend(plot)
    return plot


def embedding_figure(spots: Spots, classes: Sequence[str], far: Collection[CellValue], values: str = "") -> go.Figure:
    """Draw the formulas at the first two principal components of the encoder's features, coloured by their values.

    Parameters
    ----------
    spots
        Columns line, formula, x, y and truth (a number, or the index of a class).
    far
        Lines of the formulas unlike the others, which get a ring.
    values
        What the colours are, with the unit, where they are no classes.
    """
    plot, truths = empty_figure(), _of(spots["truth"], range(len(spots["truth"])))
    if classes:
        for i, name in enumerate(classes):
            rows = [row for row, value in enumerate(truths) if int(value) == i]
            marker = {"size": 5, "opacity": 0.7, "color": style(i)["colour"], "symbol": style(i)["symbol"]}
            _add_spots(plot, spots, rows, [name] * len(rows), marker, verbatim(name))
        add_legend(plot)
    else:
        ends = np.quantile(truths, [0.02, 0.98])
        marker = {"size": 5, "opacity": 0.7, "color": truths, "colorscale": "Viridis", "showscale": True}
        bar = {
            "thickness": 10,
            "outlinewidth": 0,
            "title": {"text": verbatim(values), "side": "right", "font": {"size": 12}},
        }
        marker |= {"colorbar": bar, "cmin": float(ends[0]), "cmax": float(ends[1])}
        _add_spots(plot, spots, range(len(truths)), [f"{value:.4g}" for value in truths], marker)
    if ringed := [i for i, line in enumerate(spots["line"]) if line in far]:
        ring = {"symbol": "circle-open", "size": 9, "line": {"width": 1}}
        plot.add_scatter(
            x=_of(spots["x"], ringed), y=_of(spots["y"], ringed), mode="markers", marker=ring, meta="ink",
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    plot.update_xaxes(title_text="first principal component", nticks=5)
    plot.update_yaxes(title_text="second principal component", nticks=5)
    return plot


def loss_figure(history: Spots, columns: Mapping[str, str], title: str) -> go.Figure:
    """Draw losses against the epoch: of each fit a thin line, and their mean.

    Parameters
    ----------
    history
        Columns of history.csv of one target and member.
    columns
        What is drawn -> its colour.
    """
    import pandas as pd

    plot, table = empty_figure(), pd.DataFrame(history)
    for column, colour in columns.items():
        kept = table.dropna(subset=[column])
        for _, fit in kept.groupby("fold"):
            thin = {"color": colour, "width": 0.6}
            plot.add_scatter(
                x=fit["epoch"], y=fit[column], mode="lines", line=thin, opacity=0.4, hoverinfo="skip", showlegend=False
            )
        means = kept.groupby("step")[["epoch", column]].mean()
        plot.add_scatter(
            x=means["epoch"], y=means[column], mode="lines", line={"color": colour, "width": 2},
            name=column.replace("_", " "), hovertemplate="epoch %{x:.1f}: %{y:.4g}<extra></extra>",
        )  # fmt: skip
    plot.update_xaxes(title_text="epoch", nticks=6, rangemode="tozero")
    plot.update_yaxes(title_text=title, nticks=5)
    add_legend(plot)
    return plot


def drawn_rows(errors: Sequence[float] | np.ndarray) -> list[int]:
    """Return the rows drawn: all, or those of the `WORST` largest errors and a random draw of the rest.

    They are no sample of the rows: an average over them is too large.
    """
    n = len(errors)
    if n <= MOST:
        return list(range(n))
    order = np.argsort(-np.asarray(errors), kind="stable")
    rest = np.random.default_rng(0).permutation(order[WORST:])[: MOST - WORST]
    return sorted(int(i) for i in (*order[:WORST], *rest))


def _of_classes() -> go.Figure:
    """Return a figure with the diagonal from 0 to 1."""
    plot = empty_figure()
    plot.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"width": 1, "dash": "dot"}, meta="ink", hoverinfo="skip")
    return plot


def _classes_drawn(classes: Sequence[str]) -> list[tuple[int, str]]:
    """Return the classes that have a curve, with their number: the second one of two, or all."""
    return list(enumerate(classes))[1 if len(classes) == 2 else 0 :]


def _add_spots(
    plot: go.Figure, spots: Spots, rows: Sequence[int], said: Sequence[str], marker: Mapping[str, Any], name: str = ""
) -> None:
    text = [f"{verbatim(spots['formula'][i])}: {verbatim(word)}" for i, word in zip(rows, said, strict=True)]
    plot.add_scatter(
        x=_of(spots["x"], rows), y=_of(spots["y"], rows), mode="markers", marker=marker, text=text,
        hovertemplate="%{text}<extra></extra>", name=name,
    )  # fmt: skip


def _of(values: Sequence[CellValue], rows: Sequence[int]) -> Array:
    return np.array([values[i] for i in rows], dtype=float)


def said(value: CellValue) -> str:
    """Write a value of a table with four significant digits."""
    if value is None:
        return ABSENT
    return f"{value:.4g}" if isinstance(value, float) else str(value)

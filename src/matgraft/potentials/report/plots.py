"""The figures of a report: facts in, plotly figures out.

Figures carry data, axes and the colours of the three models, which read on light and on dark paper. The page's script
adds the colours of text and grid, so that they follow the reader's theme. Scatter plots are SVG: WebGL fails in
headless browsers and on paper.

>>> figures(facts(run)).keys()
dict_keys(['parity-energy', 'errors-energy', ..., 'types-energy', ..., 'curve-loss', ...])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from matgraft.core.quantities import ENERGY, FORCES, POTENTIAL_QUANTITIES, Quantity
from matgraft.core.report.figures import COLOURS, empty_figure, log_ticks, verbatim
from matgraft.core.report.text import figure as written
from matgraft.core.report.text import find, mapping, number
from matgraft.potentials.report.parity import MODELS
from matgraft.potentials.report.tables import METRICS_OF
from matgraft.potentials.scoring.metrics import metric_key

Facts = Mapping[str, Any]

MOST_TYPES = 24
"""Config types drawn, those with the most frames: more bars cannot be read; the table below has all."""
LONGEST_NAME = 16
MOST_STEPS = 1500
"""Points of a curve: more than its pixels."""
FAR_OFF = 30.0
"""Times the lower quartile of a figure's bars beyond which a bar is cut: the others would be too short to be seen."""
ROOM = 1.28
"""Length of the axis of bars, by the longest one that is not cut: the figures stand at the ends."""
CURVES = {
    "loss": ("validation_loss", "loss", "log"),
    "energy": ("validation_energy_rmse_meV_per_atom", "energy RMSE (meV/atom)", "linear"),
    "forces": ("validation_forces_rmse_eV_per_A", "forces RMSE (eV/Å)", "linear"),
    "stress": ("validation_stress_rmse_GPa", "stress RMSE (GPa)", "linear"),
    "rate": ("learning_rate", "learning rate", "linear"),
}
"""Figure -> column of history.csv, title of its axis, scale."""


def figures(facts: Facts) -> dict[str, go.Figure]:
    """Return every figure that the facts have data for, by the id of its place on the page."""
    found: dict[str, go.Figure] = {}
    for name, shown in mapping(find(facts, "parity", "quantities")).items():
        found[f"parity-{name}"] = parity_figure(name, shown)
        found[f"errors-{name}"] = error_figure(shown)
    for name, quantity in POTENTIAL_QUANTITIES.items():
        if (bars := type_figure(facts, quantity)) is not None:
            found[f"types-{name}"] = bars
    for name in CURVES:
        if (curve := curve_figure(facts, name)) is not None:
            found[f"curve-{name}"] = curve
    return found


def parity_figure(name: str, shown: Facts) -> go.Figure:
    """Draw predictions against labels on equal axes, with the line y = x."""
    models = shown["drawn"]
    everything = np.concatenate([shown["label"], *(shown["models"][model]["points"] for model in models)])
    low, high = everything.min(), everything.max()
    pad = 0.04 * (high - low) or 1.0
    ends = [float(low - pad), float(high + pad)]
    few = shown["n_drawn"] < 500
    plot = empty_figure()
    plot.add_scatter(x=ends, y=ends, mode="lines", line={"width": 1, "dash": "dot"}, meta="ink", hoverinfo="skip")
    for model in models:
        marker = {"color": COLOURS[model], "size": 6 if few else 3, "opacity": 0.75 if few else 0.3}
        points = np.asarray(shown["models"][model]["points"], dtype="float32")
        label = np.asarray(shown["label"], dtype="float32")
        hover = f"label %{{x:.4g}}<br>{model} %{{y:.4g}} {shown['unit']}<extra></extra>"
        plot.add_scatter(x=label, y=points, mode="markers", marker=marker, hovertemplate=hover)
    axis = {"range": ends, "nticks": 6, "constrain": "domain"}
    plot.update_xaxes(title_text=f"{name}, DFT ({shown['unit']})", **axis)
    plot.update_yaxes(title_text=f"{name}, model ({shown['unit']})", scaleanchor="x", **axis)
    return plot


def error_figure(shown: Facts) -> go.Figure:
    """Draw how the errors of every point are spread, for all models in the same bins."""
    plot = empty_figure()
    for model, percent in shown["histogram"]["percent"].items():
        plot.add_scatter(
            x=shown["histogram"]["centres"],
            y=percent,
            mode="lines",
            line={"color": COLOURS[model], "width": 2 if model == "tuned" else 1.5, "shape": "hvh"},
            fill="tozeroy" if model == "tuned" else None,
            fillcolor="rgba(47,120,196,0.15)",
            hovertemplate=f"{model}: %{{y:.2g}} % at %{{x:.3g}} {shown['unit']}<extra></extra>",
        )
    plot.update_xaxes(title_text=f"model − DFT ({shown['unit']})", nticks=6)
    plot.update_yaxes(title_text="share (%)", rangemode="tozero", nticks=4)
    return plot


def type_figure(facts: Facts, quantity: Quantity) -> go.Figure | None:
    """Draw the RMSE of each config type as bars, a colour a model; for forces also the worst decile of atoms."""
    key = metric_key(quantity, "rmse")
    tables = {m: mapping(find(facts, "metrics", "by_config_type", METRICS_OF[m])) for m in MODELS}
    if quantity.name != ENERGY.name:
        tables.pop("shift")  # forces and stresses of the shifted foundation are the untuned one's
    values = {m: {k: v for k, row in t.items() if (v := number(find(row, key))) is not None} for m, t in tables.items()}
    sizes = {kind: number(find(row, "n_frames")) or 0.0 for t in tables.values() for kind, row in t.items()}
    kinds = sorted({kind for found in values.values() for kind in found}, key=lambda kind: (-sizes[kind], kind))
    kinds = sorted(kinds[:MOST_TYPES])
    names = [f"{_shortened(kind)} ({sizes[kind]:.0f})" for kind in kinds]
    bars = {m: [found.get(kind) for kind in kinds] for m, found in values.items() if found}
    if not bars:
        return None
    if quantity.name == FORCES.name:
        worst = {m: number(find(facts, "metrics", "worst_force_decile", METRICS_OF[m], key)) for m in bars}
        if any(value is not None for value in worst.values()):
            names.append("worst 10 %")
            bars = {m: [*found, worst[m]] for m, found in bars.items()}
    return _bars(names, bars, f"RMSE ({quantity.report_unit})")


def curve_figure(facts: Facts, name: str) -> go.Figure | None:
    """Draw a column of the history by step, with the best checkpoint ringed; minutes ride along as customdata."""
    column, title, scale = CURVES[name]
    history = mapping(facts["history"])
    plot = empty_figure()
    if name == "loss":  # at step 0 nothing has been trained: no loss, written as 0
        _line(plot, history, "train_loss", COLOURS["untuned"], "train")
    if not _line(plot, history, column, COLOURS["tuned"], "validation" if name != "rate" else "rate") and not plot.data:
        return None
    _ring(plot, history, column, number(find(facts, "fit", "best_step")))
    plot.update_xaxes(title_text="step", nticks=6, rangemode="tozero")
    plot.update_yaxes(title_text=title, type=scale, nticks=5, rangemode="tozero", automargin=True)
    if scale == "log":
        ticks = log_ticks([y for trace in plot.data for y in trace.y])
        plot.update_yaxes(tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return plot


def _bars(names: Sequence[str], bars: Mapping[str, Sequence[float | None]], title: str) -> go.Figure:
    """Draw a bar a name and model; one that would leave the others too short to be seen is cut, and says so."""
    known = [value for values in bars.values() for value in values if value is not None]
    bound = FAR_OFF * float(np.quantile(known, 0.25)) or np.inf
    end = ROOM * max(value for value in known if value <= bound) or 1.0
    places = list(range(len(names)))
    plot = empty_figure()
    for model, values in bars.items():
        cut = [value is not None and value > bound for value in values]
        text = [_bar_text(value, far) for value, far in zip(values, cut, strict=True)]
        plot.add_bar(
            x=[end if far else value for value, far in zip(values, cut, strict=True)], y=places, orientation="h",
            marker={"color": COLOURS[model]}, text=text, textposition=["inside" if far else "outside" for far in cut],
            insidetextanchor="end", insidetextfont={"color": "#111111"}, constraintext="none", cliponaxis=False,
            hoverinfo="text",
            hovertext=[f"{said}, {model}, {name}" for said, name in zip(text, names, strict=True)],
        )  # fmt: skip
    plot.update_layout(barmode="group", bargap=0.28, bargroupgap=0.06, height=70 + len(names) * (10 + 17 * len(bars)))
    plot.update_yaxes(tickvals=places, ticktext=names, autorange="reversed", showgrid=False, ticks="", automargin=True)
    plot.update_xaxes(title_text=title, range=[0, end], nticks=5)
    return plot


def _bar_text(value: float | None, is_cut: bool) -> str:
    return "" if value is None else f"{written(value)}, bar cut" if is_cut else written(value)


def _line(plot: go.Figure, history: Facts, column: str, colour: str, name: str) -> bool:
    """Add a column against the step; say whether it has any value."""
    rows = [row for row in _rows(history, column) if _is_drawn(column, row[2])]
    rows = rows[:: max(1, len(rows) // MOST_STEPS)]
    if not rows:
        return False
    step, minutes, values = zip(*rows, strict=True)
    plot.add_scatter(
        x=step,
        y=values,
        customdata=minutes,
        mode="lines" if len(rows) > 60 else "lines+markers",
        line={"color": colour, "width": 1.2 if name == "train" else 2},
        marker={"size": 4},
        name=name,
        hovertemplate=f"{name} %{{y:.4g}}<br>step %{{x}}<extra></extra>",
    )
    return True


def _ring(plot: go.Figure, history: Facts, column: str, best_step: float | None) -> None:
    best = [row for row in _rows(history, column) if row[0] == best_step and _is_drawn(column, row[2])]
    if best:
        step, minutes, value = best[-1]
        marker = {"size": 12, "color": "rgba(0,0,0,0)", "line": {"width": 2}}
        hover = f"best checkpoint: %{{y:.4g}} at step {step:.0f}<extra></extra>"
        plot.add_scatter(
            x=[step], y=[value], customdata=[minutes], mode="markers", marker=marker, meta="ink", hovertemplate=hover
        )


def _is_drawn(column: str, value: float) -> bool:
    """Say whether a value has a place on its axis: that of losses is logarithmic."""
    return value > 0 or not column.endswith("_loss")


def _rows(history: Facts, column: str) -> list[tuple[float, float | None, float]]:
    """(step, minutes, value) where the column has a value."""
    steps, values = history.get("step") or [], history.get(column) or []
    seconds = history.get("seconds") or [None] * len(steps)
    rows = zip(steps, seconds, values, strict=False)
    return [(step, None if s is None else s / 60, v) for step, s, v in rows if step is not None and v is not None]


def _shortened(name: str) -> str:
    """Cut a long name, and escape it: plotly reads some HTML in labels."""
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return verbatim(short or "(none)")

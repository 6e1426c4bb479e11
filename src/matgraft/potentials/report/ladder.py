"""The ladder in a report: its table, and error against minutes with a point a rung. Facts in, text and figures out.

>>> rows(facts(run))["rows"][-1]
{'name': 'full', 'minutes': '8.1', 'cells': ['5.82', '0.128', '0.421'], 'loss': '0.0181', 'gain': '47 %', ...}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from matgraft.core.quantities import ENERGY, POTENTIAL_QUANTITIES, Quantity
from matgraft.core.report.figures import COLOURS, empty_figure, log_ticks
from matgraft.core.report.text import ABSENT, decimals, entries, figure, find, mapping, number, say
from matgraft.potentials.scoring.metrics import BASELINES, metric_key

Facts = Mapping[str, Any]
Rung = Mapping[str, Any]

FAR_OFF = 30.0
"""Times the error of all other rungs: an untuned energy beyond it would press their points onto one line."""


def rows(facts: Facts) -> dict[str, Any] | None:
    """Return the rungs as a table, or None where the run climbed no ladder.

    Returns
    -------
    dict
        ``columns`` (name, unit), ``rows`` (name, minutes, cells, loss, gain, verdict, why), ``kept``, ``stopped`` and
        ``target``, in words.
    """
    rungs = _rungs(facts)
    if not rungs:
        return None
    shown = [
        quantity for quantity in POTENTIAL_QUANTITIES.values() if any(_error(r, quantity) is not None for r in rungs)
    ]
    places = {q.name: decimals(_error(rung, q) for rung in rungs) for q in shown}
    target = mapping(find(facts, "ladder", "target"))
    wanted = [
        f"{q.name} {figure(target[q.name])} {q.report_unit}" for q in POTENTIAL_QUANTITIES.values() if q.name in target
    ]
    return {
        "columns": [{"name": q.name.capitalize(), "unit": q.report_unit} for q in shown],
        "rows": [_row(rung, [figure(_error(rung, q), places[q.name]) for q in shown]) for rung in rungs],
        "kept": say(find(facts, "ladder", "kept")),
        "stopped": say(find(facts, "ladder", "stopped")),
        "target": ", ".join(wanted),
    }


def _row(rung: Rung, cells: Sequence[str]) -> dict[str, Any]:
    gain = number(rung.get("gain"))
    return {
        "name": say(rung.get("name")),
        "minutes": figure(rung.get("minutes"), 1),
        "cells": cells,
        "loss": figure(find(rung, "errors", "validation_loss")),
        "gain": ABSENT if gain is None else f"{100 * gain:.3g} %".replace("-", "−"),
        "verdict": say(rung.get("verdict")),
        "why": say(rung.get("why")) if rung.get("why") else "",
    }


def figures(facts: Facts) -> dict[str, go.Figure]:
    """Return error against minutes of each quantity that the rungs were judged by."""
    found = {f"ladder-{q.name}": ladder_figure(facts, q) for q in POTENTIAL_QUANTITIES.values()}
    return {name: plot for name, plot in found.items() if plot is not None}


def ladder_figure(facts: Facts, quantity: Quantity) -> go.Figure | None:
    """Draw a point a rung, a ring around the one kept, and a line at the target where there is one."""
    points = _points(_rungs(facts), quantity)
    if not points:
        return None
    plot = empty_figure()
    names, minutes, errors = (list(column) for column in zip(*points, strict=True))
    plot.add_scatter(
        x=minutes, y=errors, text=names, mode="markers+text", textposition="middle right", cliponaxis=False,
        marker={"size": 9, "color": [COLOURS.get(name, COLOURS["tuned"]) for name in names]},
        hovertemplate=f"%{{text}}: %{{y:.4g}} {quantity.report_unit}<br>%{{x:.2g}} minutes<extra></extra>",
    )  # fmt: skip
    if (kept := find(facts, "ladder", "kept")) in names:
        at = names.index(kept)
        marker = {"size": 15, "color": "rgba(0,0,0,0)", "line": {"width": 2}}
        plot.add_scatter(x=[minutes[at]], y=[errors[at]], mode="markers", marker=marker, meta="ink", hoverinfo="skip")
    ends = [-0.06 * (max(minutes) or 1.0), 1.3 * (max(minutes) or 1.0)]  # room for the names
    if (target := number(find(facts, "ladder", "target", quantity.name))) is not None and target > 0:
        line = {"width": 1, "dash": "dot"}
        plot.add_scatter(x=ends, y=[target] * 2, mode="lines", line=line, meta="ink", hoverinfo="skip", name="target")
    ticks = log_ticks([y for trace in plot.data for y in trace.y])
    plot.update_xaxes(title_text="minutes", range=ends, nticks=6)
    title = f"{quantity.name} RMSE ({quantity.report_unit})"
    plot.update_yaxes(title_text=title, type="log", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks], automargin=True)
    return plot


def _points(rungs: Sequence[Rung], quantity: Quantity) -> list[tuple[str, float, float]]:
    """(name, minutes, error) of the rungs climbed. A shift of references moves energies alone."""
    known = {
        say(rung.get("name")): (number(rung.get("minutes")) or 0.0, error)
        for rung in rungs
        if (error := _error(rung, quantity)) is not None and error > 0
    }
    untuned, shift = BASELINES
    if quantity != ENERGY:
        known.pop(shift, None)
    others = [error for name, (_, error) in known.items() if name != untuned]
    if quantity == ENERGY and untuned in known and others and known[untuned][1] > FAR_OFF * max(others):
        known.pop(untuned)
    return [(name, *point) for name, point in known.items()]


def _rungs(facts: Facts) -> list[Rung]:
    return [mapping(rung) for rung in entries(find(facts, "ladder", "rungs")) if mapping(rung)]


def _error(rung: Rung, quantity: Quantity) -> float | None:
    return number(find(rung, "errors", f"validation_{metric_key(quantity, 'rmse')}"))

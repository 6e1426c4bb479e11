"""The section of the ladder: its table, and error against minutes with a point a rung."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from matgraft.core.quantities import ENERGY, POTENTIAL_QUANTITIES, Quantity
from matgraft.core.report.document import (
    EVERYWHERE,
    Block,
    Bullets,
    Cell,
    Column,
    Drawing,
    Key,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
)
from matgraft.core.report.figures import COLOURS, empty_figure, log_ticks
from matgraft.core.report.text import ABSENT, decimals, written
from matgraft.potentials.report.facts import RunFacts
from matgraft.potentials.report.scores import LEGEND
from matgraft.potentials.scoring.frame_errors import metric_key
from matgraft.potentials.scoring.scores import BASELINES
from matgraft.potentials.tuning.ladder import CLIMB, Climb, RungResult

FAR_FROM_ALL = 30.0
"""Times the error of all other rungs: a foundation's energy beyond it would press their points onto one line."""


def ladder_sections(facts: RunFacts) -> list[Section]:
    """Return the section of a run that climbed the ladder; none of another."""
    if CLIMB.name in facts.unreadable:
        return [Section("ladder", "Ladder", [facts.lacking(CLIMB.name)])]
    return [climb_section(facts.ladder)] if facts.ladder else []


def climb_section(climb: Climb) -> Section:
    """Return what each rung reached, and in how many minutes."""
    lead = (
        "What each rung reaches on the validation frames, and in how many minutes. Every rung starts from the "
        "foundation anew and is judged by the same loss."
    )
    note = (
        "RMSE on the validation frames, which chose the rung and flatter it: the errors to quote are those of the "
        "verdict. An energy of the foundation far above all others is only in the table."
    )
    target = ", ".join(
        f"{q.name} {written(climb.target[q.name])} {q.report_unit}"
        for q in POTENTIAL_QUANTITIES.values()
        if q.name in climb.target
    )
    legend = [
        Key("a rung", COLOURS["tuned"]),
        *LEGEND[1:],
        Key("kept", "ring"),
        *([Key(f"dotted: the target, {target}")] if target else []),
    ]
    plots = [
        Plot(name.capitalize(), [Drawing(f"ladder-{name}", drawn, f"{name}: error against minutes", "curve")])
        for name, q in POTENTIAL_QUANTITIES.items()
        if (drawn := rung_figure(climb, q)) is not None
    ]
    kept = (
        [f"Kept {climb.kept}. The climb ended because {climb.stopped}."] if climb.kept else ["The climb is not done."]
    )
    said = [*kept, *([f"Target: {target}."] if target else [])]
    blocks: list[Block] = [Text(lead, "lead"), Bullets(said), Plots(plots, legend), _table(climb), Text(note, "note")]
    return Section("ladder", "Ladder", blocks, EVERYWHERE)


def _table(climb: Climb) -> Table:
    shown = [q for q in POTENTIAL_QUANTITIES.values() if any(_error(rung, q) is not None for rung in climb.rungs)]
    places = {q.name: decimals(_error(rung, q) for rung in climb.rungs) for q in shown}
    return Table(
        [Column("Rung", number=False), Column("Time", "minutes"),
         *(Column(q.name.capitalize(), q.report_unit) for q in shown),
         Column("Loss"), Column("Taken off", "the best before"), Column("Verdict", number=False)],
        [Row(rung.name, written(rung.minutes, 1), *(written(_error(rung, q), places[q.name]) for q in shown),
             written(rung.errors.get("validation_loss")), _gain(rung), Cell(rung.verdict, rung.why))
         for rung in climb.rungs],
    )  # fmt: skip


def _gain(rung: RungResult) -> str:
    return ABSENT if rung.gain is None else f"{100 * rung.gain:.3g} %".replace("-", "−")


def rung_figure(climb: Climb, quantity: Quantity) -> go.Figure | None:
    """Draw a point a rung, a ring around the one kept, and a line at the target where there is one."""
    points = _points(climb.rungs, quantity)
    if not points:
        return None
    plot = empty_figure()
    names, minutes, errors = (list(column) for column in zip(*points, strict=True))
    plot.add_scatter(
        x=minutes, y=errors, text=names, mode="markers+text", textposition="middle right", cliponaxis=False,
        marker={"size": 9, "color": [COLOURS.get(name, COLOURS["tuned"]) for name in names]},
        hovertemplate=f"%{{text}}: %{{y:.4g}} {quantity.report_unit}<br>%{{x:.2g}} minutes<extra></extra>",
    )  # fmt: skip
    if climb.kept in names:
        at = names.index(climb.kept)
        marker = {"size": 15, "color": "rgba(0,0,0,0)", "line": {"width": 2}}
        plot.add_scatter(x=[minutes[at]], y=[errors[at]], mode="markers", marker=marker, meta="ink", hoverinfo="skip")
    ends = [-0.06 * (max(minutes) or 1.0), 1.3 * (max(minutes) or 1.0)]  # room for the names
    if (target := climb.target.get(quantity.name, 0.0)) > 0:
        line = {"width": 1, "dash": "dot"}
        plot.add_scatter(x=ends, y=[target] * 2, mode="lines", line=line, meta="ink", hoverinfo="skip", name="target")
    ticks = log_ticks([y for trace in plot.data for y in trace.y])
    plot.update_xaxes(title_text="minutes", range=ends, nticks=6)
    title = f"{quantity.name} RMSE ({quantity.report_unit})"
    plot.update_yaxes(title_text=title, type="log", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks], automargin=True)
    return plot


def _points(rungs: Sequence[RungResult], quantity: Quantity) -> list[tuple[str, float, float]]:
    """(name, minutes, error) of the rungs climbed. A shift of references moves energies alone."""
    known = {r.name: (r.minutes, error) for r in rungs if (error := _error(r, quantity)) is not None and error > 0}
    untuned, shift = BASELINES
    if quantity != ENERGY:
        known.pop(shift, None)
    others = [error for name, (_, error) in known.items() if name != untuned]
    if quantity == ENERGY and untuned in known and others and known[untuned][1] > FAR_FROM_ALL * max(others):
        known.pop(untuned)
    return [(name, *point) for name, point in known.items()]


def _error(rung: RungResult, quantity: Quantity) -> float | None:
    return rung.errors.get(f"validation_{metric_key(quantity, 'rmse')}")

"""The sections of the fit: its curves, how it went, and the shift of the reference energies."""

from __future__ import annotations

import plotly.graph_objects as go

from matgraft.core.report.document import (
    EVERYWHERE,
    Block,
    Column,
    Drawing,
    Heading,
    Key,
    Pairs,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
)
from matgraft.core.report.figures import COLOURS, empty_figure, log_ticks
from matgraft.core.report.text import written
from matgraft.potentials.report.facts import History, RunFacts
from matgraft.potentials.run_files import FIT, HISTORY, REFERENCES
from matgraft.potentials.tuning.facts import FitFacts
from matgraft.potentials.tuning.references import HeadShifts, References, ReferenceShift
from matgraft.potentials.tuning.replay import Rehearsal

MOST_STEPS = 1500
"""Points of a curve: more than its pixels."""
CURVES = {
    "loss": ("validation_loss", "Loss", "loss", "log"),
    "energy": ("validation_energy_rmse_meV_per_atom", "Energy on validation", "energy RMSE (meV/atom)", "linear"),
    "forces": ("validation_forces_rmse_eV_per_A", "Forces on validation", "forces RMSE (eV/Å)", "linear"),
    "stress": ("validation_stress_rmse_GPa", "Stress on validation", "stress RMSE (GPa)", "linear"),
    "rate": ("learning_rate", "Learning rate", "learning rate", "linear"),
}
"""Figure -> column of history.csv, caption, title of its axis, scale."""
LEGEND_OF_CURVES = (
    Key("validation", COLOURS["tuned"]),
    Key("training", COLOURS["untuned"]),
    Key("best checkpoint, the one kept", "ring"),
)

Point = tuple[float, float | None, float]
"""Step, minutes, value."""


def training_section(facts: RunFacts) -> Section:
    """Return the curves, and how the fit went."""
    fit = Pairs(how_the_fit_went(facts.fit), "stack") if facts.fit else facts.lacking(FIT.name)
    best = facts.fit.best_step if facts.fit else None
    curves = {name: curve_figure(facts.history, name, best) for name in CURVES} if facts.history else {}
    plots = [
        Plot(CURVES[name][1], [Drawing(f"curve-{name}", drawn, f"{name} by step", "curve")])
        for name, drawn in curves.items()
        if drawn is not None
    ]
    if plots:
        return Section("training", "Training", [Plots(plots, LEGEND_OF_CURVES, beside=[fit], curves=True)])
    return Section("training", "Training", [facts.lacking(HISTORY), fit])


def fit_section(fit: FitFacts) -> Section:
    """Return how a fit went, for the short forms."""
    return Section("training", "Training", [Pairs(how_the_fit_went(fit))], EVERYWHERE)


def how_the_fit_went(fit: FitFacts) -> list[tuple[str, str]]:
    """Return the facts of a fit in words."""
    zero, weights = fit.step_zero, ", ".join(f"{name}: {weight:.6g}" for name, weight in fit.loss_weights.items())
    start = "" if fit.best_step or not fit.steps else ", the starting weights: no step was better"
    energy, force = map(_tiny, (zero.max_energy_difference_eV_per_atom, zero.max_force_difference_eV_per_A))
    processes = f" on {fit.processes} processes" if fit.processes > 1 else ""
    return [
        ("Best checkpoint", f"step {fit.best_step:,}{start}"),
        ("By", f"{fit.criterion} = {written(fit.best_value)}"),
        ("Stopped by", fit.stopped),
        ("Length", f"{fit.steps:,} steps, {fit.epochs:,.1f} epochs"),
        ("Time", f"{written(fit.seconds / 60)} minutes{processes}"),
        *([("Loss weights", weights)] if weights else []),
        *([("Replay frames", _rehearsed(fit.replay))] if fit.replay else []),
        ("Step 0 against the foundation", f"within {energy} eV/atom and {force} eV/Å, up to the shift"),
    ]


def _rehearsed(replay: Rehearsal) -> str:
    best = "" if replay.loss_at_best is None else f", {replay.loss_at_best:.2g} at the best"
    losses = f"mean loss {replay.loss_at_start:.2g} at the start{best}"
    own = " with their own labels" if replay.labels == "file" else ""
    heads = f" under {', '.join(replay.heads)}" if replay.heads else ""
    return f"{replay.n_frames:,} frames{own} at weight {replay.weight:g}{heads}; {losses}"


def _tiny(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e-")


def curve_figure(history: History, name: str, best_step: int | None) -> go.Figure | None:
    """Draw a column of the history by step, with the best checkpoint ringed; minutes ride along as customdata."""
    column, _, title, scale = CURVES[name]
    plot = empty_figure()
    if name == "loss":  # at step 0 nothing has been trained: no loss, written as 0
        _line(plot, history, "train_loss", COLOURS["untuned"], "train")
    _line(plot, history, column, COLOURS["tuned"], "validation" if name != "rate" else "rate")
    if not plot.data:
        return None
    _ring(plot, history, column, best_step)
    plot.update_xaxes(title_text="step", nticks=6, rangemode="tozero")
    plot.update_yaxes(title_text=title, type=scale, nticks=5, rangemode="tozero", automargin=True)
    if scale == "log":
        ticks = log_ticks([y for trace in plot.data for y in trace.y])
        plot.update_yaxes(tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return plot


def _line(plot: go.Figure, history: History, column: str, colour: str, name: str) -> None:
    """Add a column against the step, where it has a value."""
    rows = _points(history, column)
    rows = rows[:: max(1, len(rows) // MOST_STEPS)]
    if not rows:
        return
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


def _ring(plot: go.Figure, history: History, column: str, best_step: int | None) -> None:
    best = [point for point in _points(history, column) if point[0] == best_step]
    if best:
        step, minutes, value = best[-1]
        marker = {"size": 12, "color": "rgba(0,0,0,0)", "line": {"width": 2}}
        hover = f"best checkpoint: %{{y:.4g}} at step {step:.0f}<extra></extra>"
        plot.add_scatter(
            x=[step], y=[value], customdata=[minutes], mode="markers", marker=marker, meta="ink", hovertemplate=hover
        )


def _points(history: History, column: str) -> list[Point]:
    """Return where the column has a value that its axis can show: that of losses is logarithmic."""
    steps, values = history.get("step", []), history.get(column, [])
    seconds = history.get("seconds", [None] * len(steps))
    rows = zip(steps, seconds, values, strict=False)
    known = [(step, None if s is None else s / 60, v) for step, s, v in rows if step is not None and v is not None]
    return [point for point in known if point[2] > 0 or not column.endswith("_loss")]


def references_section(facts: RunFacts) -> Section:
    """Return the shift of each element and what the data say about it."""
    return Section(
        "references",
        "Reference energies",
        _references(facts.references) if facts.references else [facts.lacking(REFERENCES.name)],
        nav="References",
    )


def _references(found: References) -> list[Block]:
    heads = found.heads if isinstance(found, HeadShifts) else {"": found}
    lead = (
        "Added to the foundation's energy of every atom before training, since another level of theory counts energies "
        "from elsewhere."
    )
    return [Text(lead, "lead"), *(block for name, one in heads.items() for block in _shift(name, one))]


def _shift(head: str, shift: ReferenceShift) -> list[Block]:
    rows = [Row(element, f"{value:+.4f}".replace("-", "−")) for element, value in shift.shift_eV.items()]
    residuals = {"before": shift.residual_before_meV, "after": shift.residual_after_meV}
    pairs = [
        ("Mode", shift.mode),
        ("Rank", f"{shift.rank} of {shift.n_elements} elements"),
        *((f"Residual {when} the shift", f"{written(value)} meV/atom")
          for when, value in residuals.items() if value is not None),
    ]  # fmt: skip
    return [
        *([Heading(f"Head {head}")] if head else []),
        *(Text(direction, mark="undetermined:", tone="caution") for direction in shift.undetermined),
        *([Table([Column("Element", number=False), Column("Shift", "eV/atom")], rows, "fit")] if rows else []),
        Pairs(pairs),
    ]

"""Verdict, errors beside the baselines, errors by head and by config type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from matgraft.core.quantities import ENERGY, FORCES, POTENTIAL_QUANTITIES, Quantity
from matgraft.core.report.document import (
    EVERYWHERE,
    Block,
    Bullets,
    Cell,
    Column,
    Drawing,
    Folded,
    Heading,
    Key,
    Pairs,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
    verdict_section,
)
from matgraft.core.report.figures import COLOURS, empty_figure, verbatim
from matgraft.core.report.text import decimals, interval, written
from matgraft.potentials.report.facts import RunFacts
from matgraft.potentials.run_files import METRICS, VERDICT
from matgraft.potentials.scoring.frame_errors import metric_key
from matgraft.potentials.scoring.judged import Judged, trajectories
from matgraft.potentials.scoring.metrics import Figures
from matgraft.potentials.scoring.relative import InOrder, Relative, RelativeError
from matgraft.potentials.scoring.scores import ModelName, Scores

TITLES: Mapping[ModelName, str] = {
    "untuned": "Foundation",
    "shift": "Foundation, references shifted",
    "test": "Tuned",
}
"""Model -> what a reader calls it."""
OF_CORRECTION: Mapping[ModelName, str] = {
    "untuned": "Cheap method alone",
    "shift": "Cheap method, references shifted",
    "test": "With the correction",
}
"""The same of a model that is added to a cheap method."""
SHORT_TITLES: Mapping[ModelName, str] = {"untuned": "foundation", "shift": "shifted", "test": "tuned"}
MODEL_COLOURS: Mapping[ModelName, str] = {
    "untuned": COLOURS["untuned"],
    "shift": COLOURS["shift"],
    "test": COLOURS["tuned"],
}
LEGEND = (
    Key("tuned", COLOURS["tuned"]),
    Key("foundation", COLOURS["untuned"]),
    Key("foundation, references shifted (energies)", COLOURS["shift"]),
)

MOST_TYPES = 24
"""Config types drawn, those with the most frames: more bars cannot be read; the table below has all."""
LONGEST_NAME = 16
FAR_OFF = 30.0
"""Times the lower quartile of a figure's bars beyond which a bar is cut: the others would be too short to be seen."""
ROOM = 1.28
"""Length of the axis of bars, by the longest one that is not cut: the figures stand at the ends."""


def run_verdict_section(facts: RunFacts) -> Section:
    """Return the verdict with the errors that it rests on, and how the model was made."""
    between = list(facts.blocks(METRICS.name, facts.metrics, score_blocks))
    made = [Pairs(rows, "strip")] if (rows := how_it_was_made(facts)) else []
    if facts.verdict is not None:
        return verdict_section(facts.verdict, between, made)
    headline = Text("No verdict was recorded: judge by the figures below.", "headline")
    said = [facts.lacking(VERDICT.name)] if VERDICT.name in facts.unreadable else []
    blocks = [headline, *said, *between, *made]
    return Section("verdict", "Verdict: no verdict", blocks, EVERYWHERE, "unknown", "Verdict")


def how_it_was_made(facts: RunFacts) -> list[tuple[str, str]]:
    """Return what the model is and how it was made, in a few words each."""
    card = facts.heads or facts.card
    foundation = card.parent.name if card and card.parent else facts.recipe.foundation if facts.recipe else ""
    fit, kept = facts.fit, facts.ladder.kept if facts.ladder else ""
    frames = [f"{len(facts.split.train)} train", f"{len(facts.split.validation)} validation"] if facts.split else []
    frames += [f"{facts.metrics.test['n_frames']:,.0f} {facts.metrics.part}"] if facts.metrics else []
    known = {
        "Foundation": foundation,
        "Strategy": (_strategy(facts) + (f", kept {kept}" if kept else "")) if facts.recipe else "",
        "Frames": ", ".join(frames),
        "Time": f"{written(fit.seconds / 60)} minutes" if fit else "",
        "Trained": f"{fit.parameters_trained:,} of {fit.parameters_total:,} parameters" if fit else "",
        "Licence": card.licence if card else "",
    }
    return [(name, value) for name, value in known.items() if value]


def _strategy(facts: RunFacts) -> str:
    """Name the strategy with the options that were given; the others are its own defaults."""
    assert facts.recipe is not None
    given = facts.recipe.strategy
    options = [f"{key} {', '.join(value) if isinstance(value, tuple) else value}"
               for key, value in given if key != "name" and value not in (None, ())]  # fmt: skip
    return ", ".join([given.name or "", *options])


def score_blocks(scores: Scores) -> list[Block]:
    """Return the errors of each model with 95 % intervals, how the tuned one compares, and the errors by head."""
    shown = [q for q in POTENTIAL_QUANTITIES.values() if any(rmse(scores, model, q) is not None for model in TITLES)]
    models = [model for model in TITLES if scores.of(model)]
    cells = {model: [_score_cell(scores, model, quantity, models) for quantity in shown] for model in models}
    titles = {**TITLES, **OF_CORRECTION} if scores.corrects else TITLES
    rows = [Row(titles[model], *cells[model], manner="strong" if model == "test" else "") for model in models]
    absolute = [written(scores.test.get(metric_key(q, "mae")), _places(scores, models, q)) for q in shown]
    ratios = [_gain_cell(scores, quantity) for quantity in shown]
    table = Table(
        [Column("Root mean square error", number=False), *(Column(q.name.capitalize(), q.report_unit) for q in shown)],
        [
            *rows,
            Row("Tuned, mean absolute error", *absolute, manner="faint"),
            Row(Cell("Tuned ÷ stronger baseline", "below 1 the tuned model is better"), *ratios, manner="ruled"),
        ],
        "scores",
    )
    note = Text(_score_note(scores), "note")
    said = [Text(_corrects(scores.corrects), "note")] if scores.corrects else []
    more = [*_held_blocks(scores), *_tag_blocks(scores), *relative_blocks(scores), *_head_blocks(scores)]
    return [*said, table, note, *more]


def _held_blocks(scores: Scores) -> list[Block]:
    """Return the errors where the condition that was held out is met, beside those where it is not."""
    if (inside := scores.inside) is None:
        return []
    both = {f"outside ({scores.held})": scores, "inside (other frames)": inside}
    shown = [q for q in POTENTIAL_QUANTITIES.values() if any(rmse(one, "test", q) is not None for one in both.values())]
    models = [model for model in TITLES if scores.of(model)]
    rows = [
        Row(f"{TITLES[model]}, {which}", written(one.of(model)["n_frames"], 0),
            *(_score_cell(one, model, quantity, models) for quantity in shown),
            manner="strong" if model == "test" else "")
        for model in models for which, one in both.items()
    ]  # fmt: skip
    columns = [Column("Root mean square error", number=False), Column("Frames")]
    return [
        Heading("Outside and inside of what was trained on"),
        Table([*columns, *(Column(q.name.capitalize(), q.report_unit) for q in shown)], rows, "scores"),
        Text(
            f"Outside is extrapolation: no training frame has {scores.held}. Inside is interpolation: other "
            f"frames, held out from those that were trained on ({trajectories(inside.n_groups)}).",
            "note",
        ),
    ]


def _tag_blocks(scores: Scores) -> list[Block]:
    """Return a table for each tag or condition that was asked for; frames beside what was held out have own rows."""
    blocks: list[Block] = []
    for name, tables in scores.by_tag.items():
        beside = scores.inside.by_tag.get(name, {}) if scores.inside else {}
        known = {model for model in TITLES if tables.get(model) or beside.get(model)}
        joined: dict[ModelName, dict[str, Figures]] = {
            model: {
                **{f"{value}, inside": row for value, row in beside.get(model, {}).items()},
                **tables.get(model, {}),
            }
            for model in TITLES
            if model in known
        }
        blocks += [Heading(f"Root mean square error by {name}")]
        blocks += [kinds_table(name, joined)] if joined else [Text(f"No scored frame says its {name}.", "nothing")]
    return blocks


def _corrects(corrects: Mapping[str, str]) -> str:
    keys = ", ".join(f"{quantity} from {key}" for quantity, key in corrects.items())
    return (
        f"The model is a correction: what it predicts is added to the cheap method ({keys}). Errors are those of the "
        "sum. Where plots say foundation they mean the cheap method alone, which a correction of zero leaves, and "
        "labels are differences."
    )


def rmse(scores: Scores, model: ModelName, quantity: Quantity) -> float | None:
    """Return the RMSE of a model in the unit of reports; None where it was not scored."""
    return scores.of(model).get(metric_key(quantity, "rmse"))


def _places(scores: Scores, models: Sequence[ModelName], quantity: Quantity) -> int:
    return decimals(rmse(scores, model, quantity) for model in models)


def _score_cell(scores: Scores, model: ModelName, quantity: Quantity, models: Sequence[ModelName]) -> Cell:
    places = _places(scores, models, quantity)
    ends = scores.intervals.get(model, {}).get(metric_key(quantity, "rmse"))
    return Cell(written(rmse(scores, model, quantity), places), interval(ends, places))


def _gain_cell(scores: Scores, quantity: Quantity) -> Cell:
    """Tuned by the stronger baseline: an energy that only lost its offset has learned nothing."""
    if rmse(scores, "test", quantity) is None:
        return Cell(written(None))
    judged = Judged.of(scores, quantity)
    if not judged.baselines:
        return Cell(written(None))
    places = max(2, decimals([judged.ratio, *(judged.interval or ())], digits=2))
    said = [interval(judged.interval, places), judged.words()]
    return Cell(written(judged.ratio, places), " · ".join(filter(None, said)))


def _score_note(scores: Scores) -> str:
    over = ", ".join(f"{count} with {name} labels" for name, count in scores.n_groups_with.items())
    intervals = f" 95 % intervals are over trajectories: {over}." if over else ""
    n_frames, n_atoms, groups = scores.test["n_frames"], scores.test.get("n_atoms", 0), scores.n_groups
    of = f"{groups} {'trajectory' if groups == 1 else 'trajectories'}"
    return f"On the {scores.part} part: {n_frames:,.0f} frames, {n_atoms:,.0f} atoms of {of}.{intervals}"


def _head_blocks(scores: Scores) -> list[Block]:
    by_head = {model: {name: one.of(model) for name, one in scores.heads.items()} for model in TITLES}
    if not scores.heads:
        return []
    note = "Each head on its own frames. “Shifted” is the foundation with the head's own reference energies."
    return [Heading("Root mean square error by head"), kinds_table("Head", by_head), Text(note, "note")]


def kinds_table(title: str, tables: Mapping[ModelName, Mapping[str, Figures]]) -> Table:
    """Lay out model -> kind of frames -> errors as columns of quantity and model, a row each kind."""
    kinds = list(dict.fromkeys(kind for table in tables.values() for kind in table))
    errors = {
        (q, model): {kind: tables[model].get(kind, {}).get(metric_key(q, "rmse")) for kind in kinds}
        for q in POTENTIAL_QUANTITIES.values()
        for model in TITLES
        if model in tables
    }
    used = {column: found for column, found in errors.items() if any(one is not None for one in found.values())}
    places = {
        q: decimals(one for (other, _), found in used.items() if other == q for one in found.values()) for q, _ in used
    }
    sizes = {kind: figures["n_frames"] for table in tables.values() for kind, figures in table.items() if figures}
    return Table(
        [Column(title, number=False), Column("Frames"),
         *(Column(f"{q.name.capitalize()}, {SHORT_TITLES[model]}", q.report_unit) for q, model in used)],
        [Row(kind, written(sizes.get(kind), 0),
             *(written(found[kind], places[q]) for (q, _), found in used.items()))
         for kind in kinds],
    )  # fmt: skip


def relative_blocks(scores: Scores) -> list[Block]:
    """Return the errors of relative energies by model, the phases above the lowest one, and what cannot be had."""
    if (found := scores.relative) is None:
        return []
    phases = [Folded("Phases above the lowest of their formula", [_phase_table(found)])] if found.phases else []
    table = relative_table({TITLES[model]: (found, model) for model in TITLES})
    return [Heading("Relative energies"), *table, *phases]


def relative_table(rows: Mapping[str, tuple[Relative, str]]) -> list[Block]:
    """Return a table of title -> figures and the name of the model in them, and what cannot be had."""
    first = next(found for found, _ in rows.values())
    shown = {
        name: column
        for name, column in _RELATIVE.items()
        if any(model in getattr(found, name) for found, model in rows.values())
    }
    lines = [
        Row(title, *(_relative_cell(getattr(found, name).get(model)) for name in shown),
            manner="strong" if title == TITLES["test"] else "")
        for title, (found, model) in rows.items() if any(model in getattr(found, name) for name in shown)
    ]  # fmt: skip
    table = [Table([Column("Root mean square error", number=False), *shown.values()], lines, "scores")] if lines else []
    by = [Text(f"Phases are told by {first.phases_by}. {_PAIRS}", "note")] if first.between_phases else []
    lacking = [Bullets([f"{one[0].upper()}{one[1:]}." for one in first.lacking])] if first.lacking else []
    return [*table, *by, *lacking]


_RELATIVE = {
    "same_composition": Column("Differences at one composition", "meV/atom"),
    "between_phases": Column("Between phases", "meV/atom"),
    "in_order": Column("Pairs in the right order", "%"),
    "formation": Column("Formation energies", "meV/atom"),
}
_PAIRS = "An offset that all frames of a composition share is in none of these figures."
MOST_PHASES = 60


def _relative_cell(one: RelativeError | InOrder | None) -> Cell:
    if one is None:
        return Cell(written(None))
    value, ends = one.rmse if isinstance(one, RelativeError) else 100 * one.share, one.interval
    if isinstance(one, InOrder) and ends:
        ends = (100 * ends[0], 100 * ends[1])
    places = decimals([value])
    return Cell(written(value, places), " · ".join(filter(None, (interval(ends, places), f"over {one.count:,}"))))


def _phase_table(found: Relative) -> Table:
    models = [model for model in TITLES if any(model in one.models for one in found.phases)]
    energies = [value for one in found.phases for value in (one.label, *one.models.values())]
    places = decimals(energies)
    heads = [Column(name, number=False) for name in ("Formula", "Phase")]
    return Table(
        [*heads, Column("Frames"), Column("Label", "meV/atom"),
         *(Column(SHORT_TITLES[model].capitalize(), "meV/atom") for model in models)],
        [Row(one.formula, one.phase, written(one.n_frames, 0), written(one.label, places),
             *(written(one.models.get(model), places) for model in models))
         for one in found.phases[:MOST_PHASES]],
    )  # fmt: skip


def types_section(facts: RunFacts) -> Section:
    """Return the errors by config type."""
    return Section(
        "types", "Errors by config type", facts.blocks(METRICS.name, facts.metrics, _type_blocks), nav="Errors by type"
    )


def _type_blocks(scores: Scores) -> list[Block]:
    if not any(scores.by_config_type.values()):
        return [Text("No frame has a tag config_type.", "nothing")]
    plots = [
        Plot(name.capitalize(), [Drawing(f"types-{name}", bars, f"{name}: error by config type", "types")])
        for name, quantity in POTENTIAL_QUANTITIES.items()
        if (bars := type_figure(scores, quantity)) is not None
    ]
    lead = (
        "Where the model gained and where it did not. In brackets the number of frames; an error of few frames is a "
        "rough one."
    )
    return [
        Text(lead, "lead"),
        Plots(plots, LEGEND),
        Text("“Worst 10 %” are the atoms with the largest tenth of reference forces.", "note"),
        Folded("The same as figures", [kinds_table("Config type", scores.by_config_type)]),
    ]


def type_figure(scores: Scores, quantity: Quantity) -> go.Figure | None:
    """Draw the RMSE of each config type as bars, a colour a model; for forces also the worst decile of atoms."""
    key = metric_key(quantity, "rmse")
    tables = {m: scores.by_config_type.get(m, {}) for m in TITLES}
    if quantity != ENERGY:
        tables.pop("shift")  # forces and stresses of the shifted foundation are the foundation's
    values = {
        m: {kind: row[key] for kind, row in table.items() if _finite(row.get(key)) is not None}
        for m, table in tables.items()
    }
    sizes = {kind: row["n_frames"] for table in tables.values() for kind, row in table.items()}
    kinds = sorted({kind for found in values.values() for kind in found}, key=lambda kind: (-sizes[kind], kind))
    kinds = sorted(kinds[:MOST_TYPES])
    names = [f"{_shortened(kind)} ({sizes[kind]:.0f})" for kind in kinds]
    bars = {m: [found.get(kind) for kind in kinds] for m, found in values.items() if found}
    if not bars:
        return None
    worst = {m: _finite(scores.worst_force_decile.get(m, {}).get(key)) for m in bars}
    if quantity == FORCES and any(value is not None for value in worst.values()):
        names.append("worst 10 %")
        bars = {m: [*found, worst[m]] for m, found in bars.items()}
    return _bars(names, bars, f"RMSE ({quantity.report_unit})")


def _bars(names: Sequence[str], bars: Mapping[ModelName, Sequence[float | None]], title: str) -> go.Figure:
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
            marker={"color": MODEL_COLOURS[model]}, text=text,
            textposition=["inside" if far else "outside" for far in cut],
            insidetextanchor="end", insidetextfont={"color": "#111111"}, constraintext="none", cliponaxis=False,
            hoverinfo="text",
            hovertext=[f"{said}, {SHORT_TITLES[model]}, {name}" for said, name in zip(text, names, strict=True)],
        )  # fmt: skip
    plot.update_layout(barmode="group", bargap=0.28, bargroupgap=0.06, height=70 + len(names) * (10 + 17 * len(bars)))
    plot.update_yaxes(tickvals=places, ticktext=names, autorange="reversed", showgrid=False, ticks="", automargin=True)
    plot.update_xaxes(title_text=title, range=[0, end], nticks=5)
    return plot


def _finite(value: float | None) -> float | None:
    """Return a value that a bar can have, or None."""
    return value if value is not None and np.isfinite(value) else None


def _bar_text(value: float | None, is_cut: bool) -> str:
    return "" if value is None else f"{written(value)}, bar cut" if is_cut else written(value)


def _shortened(name: str) -> str:
    """Cut a long name, and escape it: plotly reads some HTML in labels."""
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return verbatim(short)

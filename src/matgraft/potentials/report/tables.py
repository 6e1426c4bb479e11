"""The tables about a model: verdict, errors, training, references. Facts in, rows of ready text out.

Every function takes the value of `matgraft.potentials.report.facts.facts` and stands whatever is missing from it or odd
in it. The tables about data are in `matgraft.potentials.report.origins`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matgraft.core.quantities import POTENTIAL_QUANTITIES, Quantity
from matgraft.core.report.text import ABSENT, decimals, entries, figure, find, mapping, number, say, span
from matgraft.core.verdict import Verdict
from matgraft.potentials.report.parity import MODELS
from matgraft.potentials.scoring.metrics import BASELINES, ROUNDING, metric_key

Facts = Mapping[str, Any]

NAMES = {"untuned": "Foundation, untuned", "shift": "Foundation, references shifted", "tuned": "Tuned"}
"""Model -> what a reader calls it."""
METRICS_OF = {"untuned": "untuned", "shift": "shift", "tuned": "test"}
"""Model -> its entry in metrics.json."""


def verdict(facts: Facts) -> dict[str, Any]:
    """Return level, tone, headline, and the lists of reasons and cautions, each with its title."""
    if not facts["verdict"]:
        headline = "No verdict was recorded: judge by the figures below."
        return {
            "level": "no verdict",
            "tone": "unknown",
            "headline": headline,
            "chosen": "",
            "caution": "",
            "lists": [],
        }
    found = Verdict.model_validate(facts["verdict"])
    return {
        "level": found.level,
        "tone": found.tone,
        "headline": found.headline,
        "chosen": found.chosen,
        "caution": found.first.text if found.first else "",
        "lists": [
            ("reasons_for", "Speaks for it", [one.text for one in found.speaking("for")]),
            ("reasons_against", "Speaks against it", [one.text for one in found.speaking("against")]),
            ("cautions", "Why the figures may mislead", [one.text for one in found.cautions]),
            ("not_fit_for", "Do not trust it for", [f"{one.use} ({one.reason})" for one in found.not_fit_for]),
        ],
    }


def scores(facts: Facts) -> dict[str, Any]:
    """Return the errors of each model with their 95 % intervals, and how the tuned one compares.

    Returns
    -------
    dict
        ``columns`` (name, unit), ``rows`` (model, name, cells with value and interval), ``gains`` (cells with ratio,
        interval, against, outcome) and ``note``.
    """
    metrics = mapping(facts["metrics"])
    shown = [q for q in POTENTIAL_QUANTITIES.values() if any(_error(metrics, m, q) is not None for m in MODELS)]
    models = [model for model in MODELS if isinstance(metrics.get(METRICS_OF[model]), Mapping)]
    columns = [_score_column(metrics, models, quantity) for quantity in shown]
    rows = [{"model": model, "name": NAMES[model], "cells": [column[model] for column in columns]} for model in models]
    return {
        "columns": [{"name": q.name.capitalize(), "unit": q.report_unit} for q in shown],
        "rows": rows,
        "gains": [_gain(metrics, quantity) for quantity in shown],
        "note": _score_note(metrics),
    }


def _error(metrics: Facts, model: str, quantity: Quantity) -> Any:
    return find(metrics, METRICS_OF[model], metric_key(quantity, "rmse"))


def _score_column(metrics: Facts, models: list[str], quantity: Quantity) -> dict[str, dict[str, str]]:
    values = {model: _error(metrics, model, quantity) for model in models}
    places = decimals(number(value) for value in values.values())
    spans = {m: find(metrics, "intervals", METRICS_OF[m], metric_key(quantity, "rmse")) for m in models}
    return {m: {"value": figure(values[m], places), "interval": span(spans[m], places)} for m in models}


def _gain(metrics: Facts, quantity: Quantity) -> dict[str, str]:
    """Tuned by the stronger baseline: an energy that only lost its offset has learned nothing."""
    errors: dict[str, float | None] = {model: number(_error(metrics, model, quantity)) for model in BASELINES}
    known = {model: error for model, error in errors.items() if error is not None}
    rival = min(known, key=lambda model: known[model], default="")
    gain = mapping(find(metrics, "gain", rival, metric_key(quantity, "rmse")))
    tuned = number(_error(metrics, "tuned", quantity))
    ratio = tuned / known[rival] if tuned is not None and rival and known[rival] else None
    ends = [number(end) for end in entries(gain.get("interval"))]
    places = max(2, decimals([ratio, *ends], digits=2))
    return {
        "ratio": figure(ratio, places),
        "interval": span(gain.get("interval"), places),
        "against": "references shifted" if rival == "shift" else rival,
        "outcome": _outcome(ends) if ratio is not None else "",
    }


def _outcome(ends: list[float | None]) -> str:
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return "undecided"
    better, worse = ends[1] < 1 - ROUNDING, ends[0] > 1 + ROUNDING
    return "lower error" if better else "higher error" if worse else "not beyond chance"


def _score_note(metrics: Facts) -> str:
    counts = mapping(metrics.get("test"))
    frames, atoms = (figure(counts.get(key), 0) for key in ("n_frames", "n_atoms"))
    carried = mapping(metrics.get("n_groups_with"))
    over = ", ".join(f"{count} with {name} labels" for name, count in carried.items())
    count = metrics.get("n_groups")
    groups = "" if count is None else f" of {figure(count, 0)} {'trajectory' if count == 1 else 'trajectories'}"
    intervals = f". 95 % intervals are over trajectories: {over}" if over else ""
    return f"On the {metrics.get('part') or 'test'} part: {frames} frames, {atoms} atoms{groups}{intervals}."


def settings(facts: Facts) -> list[tuple[str, str]]:
    """Return what the model is and how it was made, in a few words each."""
    fit, split, card = (mapping(facts[key]) for key in ("fit", "split", "card"))
    recipe, kept = mapping(facts["recipe"]), find(facts, "ladder", "kept")
    frames = [f"{len(entries(split.get(part)))} {part}" for part in ("train", "validation") if split]
    tested = number(find(facts, "metrics", "test", "n_frames"))
    seconds, trained, total = (number(fit.get(k)) for k in ("seconds", "parameters_trained", "parameters_total"))
    share = f" of {total:,.0f}" if total else ""
    known = {
        "Foundation": find(card, "parent", "name") or recipe.get("foundation") or card.get("name"),
        "Strategy": f"{_strategy(recipe)}, kept {say(kept)}" if kept else _strategy(recipe),
        "Frames": ", ".join(
            [*frames, f"{tested:,.0f} {find(facts, 'metrics', 'part') or 'test'}"] if tested else frames
        ),
        "Time": f"{figure(seconds / 60)} minutes" if seconds is not None else None,
        "Trained": f"{trained:,.0f}{share} parameters" if trained is not None else None,
        "Licence": card.get("licence"),
    }
    return [(name, say(value)) for name, value in known.items() if value]


def _strategy(recipe: Mapping[str, Any]) -> str | None:
    """Name the strategy with the options that were given; the others are its own defaults."""
    given = mapping(recipe.get("strategy"))
    name = given.get("name") or recipe.get("strategy")
    options = [f"{key} {say(value)}" for key, value in given.items() if key != "name" and value not in (None, [], {})]
    return ", ".join([say(name), *options]) if name else None


def parity_statistics(facts: Facts) -> list[dict[str, Any]]:
    """Return one row a quantity and model: RMSE, MAE, worst error, slope."""
    rows = []
    for name, shown in mapping(find(facts, "parity", "quantities")).items():
        models = shown["models"]
        places = decimals(model["mae"] for model in models.values())
        for model, found in models.items():
            cells = [figure(found[key], places) for key in ("rmse", "mae", "worst")] + [figure(found["slope"], 3)]
            rows.append({"quantity": f"{name} ({shown['unit']})", "model": NAMES[model], "cells": cells})
    return rows


def by_type(facts: Facts) -> dict[str, Any]:
    """Return the RMSE of each config type: ``columns`` and ``rows`` of (type, frames, cells)."""
    return _by_kind({m: mapping(find(facts, "metrics", "by_config_type", METRICS_OF[m])) for m in MODELS})


def by_head(facts: Facts) -> dict[str, Any]:
    """Return the RMSE of each head on its own frames, as `by_type` does; no rows where the model has one head."""
    heads = mapping(find(facts, "metrics", "heads"))
    return _by_kind({m: {name: mapping(find(one, METRICS_OF[m])) for name, one in heads.items()} for m in MODELS})


def _by_kind(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Lay out model -> kind -> metrics as columns of quantity and model, a row each kind."""
    quantities = list(POTENTIAL_QUANTITIES.values())
    used = [
        (q, m)
        for q in quantities
        for m in MODELS
        if any(find(row, metric_key(q, "rmse")) is not None for row in tables[m].values())
    ]
    kinds = sorted({kind for table in tables.values() for kind in table})
    columns = [{"name": f"{q.name.capitalize()}, {_short(m)}", "unit": q.report_unit} for q, m in used]
    places = {
        q.name: decimals(
            number(find(row, metric_key(q, "rmse"))) for table in tables.values() for row in table.values()
        )
        for q in quantities
    }
    rows = [
        {
            "name": kind or "(none)",
            "n_frames": figure(next((n for t in tables.values() if (n := find(t, kind, "n_frames"))), None), 0),
            "cells": [figure(find(tables[m], kind, metric_key(q, "rmse")), places[q.name]) for q, m in used],
        }
        for kind in kinds
    ]
    return {"columns": columns, "rows": rows}


def _short(model: str) -> str:
    return {"shift": "shifted"}.get(model, model)


def training(facts: Facts) -> list[tuple[str, str]]:
    """Return how the fit went."""
    fit = mapping(facts["fit"])
    if not fit:
        return []
    zero = mapping(fit.get("step_zero"))
    energy, force = (zero.get(k) for k in ("max_energy_difference_eV_per_atom", "max_force_difference_eV_per_A"))
    seconds = number(fit.get("seconds"))
    start = number(fit.get("best_step")) == 0 and bool(number(fit.get("steps")))
    return [
        (
            "Best checkpoint",
            f"step {figure(fit.get('best_step'), 0)}{', the starting weights: no step was better' if start else ''}",
        ),
        ("By", f"{say(fit.get('criterion'))} = {figure(fit.get('best_value'))}"),
        ("Stopped by", say(fit.get("stopped"))),
        ("Length", f"{figure(fit.get('steps'), 0)} steps, {figure(fit.get('epochs'), 1)} epochs"),
        ("Time", ABSENT if seconds is None else f"{figure(seconds / 60)} minutes"),
        *([("Loss weights", say(fit["loss_weights"]))] if fit.get("loss_weights") else []),
        *([("Rehearsed", _rehearsed(mapping(fit["replay"])))] if fit.get("replay") else []),
        ("Step 0 against the foundation", f"within {_tiny(energy)} eV/atom and {_tiny(force)} eV/Å, up to the shift"),
    ]


def _rehearsed(replay: Facts) -> str:
    losses = [number(replay.get(f"loss_at_{when}")) for when in ("start", "best")]
    start, best = (ABSENT if loss is None else f"{loss:.2g}" for loss in losses)
    frames = figure(replay.get("n_frames"), 0)
    return f"{frames} frames at weight {say(replay.get('weight'))}; mean loss {start} at the start, {best} at the best"


def _tiny(value: Any) -> str:
    known = number(value)
    return ABSENT if known is None else "0" if known == 0 else f"{known:.0e}".replace("e-0", "e-")


def references(facts: Facts) -> list[dict[str, Any]]:
    """Return the shift of each element and what the data say about it; one entry a head, or a single one."""
    found = mapping(facts["references"])
    if not found:
        return []
    heads = mapping(found.get("heads")) or {"": found}
    return [_shift(name, mapping(one)) for name, one in heads.items()]


def _shift(head: str, found: Facts) -> dict[str, Any]:
    shift = mapping(found.get("shift_eV"))
    return {
        "head": head,
        "shift": [
            (element, f"{value:+.4f}".replace("-", "−"))
            for element, item in shift.items()
            if (value := number(item)) is not None
        ],
        "facts": [
            ("Mode", say(found.get("mode"))),
            ("Rank", f"{say(found.get('rank'))} of {say(found.get('n_elements'))} elements"),
            *[
                (f"Residual {when} the shift", f"{figure(found.get(f'residual_{when}_meV'))} meV/atom")
                for when in ("before", "after")
                if number(found.get(f"residual_{when}_meV")) is not None
            ],
        ],
        "undetermined": [say(direction) for direction in entries(found.get("undetermined"))],
    }

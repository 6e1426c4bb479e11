"""The report of a run on a table of formulas: one HTML page that stands alone, as for potentials.

>>> write_property_report(Path("runs/gaps"))
PosixPath('runs/gaps/report.html')
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from matgraft.core.errors import RunError
from matgraft.core.files import write_json, write_text
from matgraft.core.report.page import page
from matgraft.core.run_folder import resume_commands
from matgraft.formulas.prompts.report import prompt_figures
from matgraft.formulas.report.domain_plots import domain_figures
from matgraft.formulas.report.plots import CALIBRATION_BINS, WORST, drawn_rows, target_figures
from matgraft.formulas.report.text import read_predictions

TEMPLATE = Path(__file__).with_name("property.html.jinja")

LISTED = 10
"""Worst predictions in the table."""
SCORES = {
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "coverage": "truths inside their interval",
    "width": "mean width of the intervals",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC-AUC of the probabilities",
    "accuracy": "accuracy",
    "log_loss": "log loss",
}


def write_property_report(run: Path) -> Path:
    """Write report.html and report.json (the facts) into the folder of a run on a table.

    Raises
    ------
    RunError
        If the folder holds no metrics.
    """
    said = property_facts(run)
    write_json(run / "report.json", said, indent=None)
    figures = {
        f"{name}-{i}": figure
        for i, target in enumerate(said["targets"])
        for name, figure in (target_figures(target) | domain_figures(target)).items()
    } | prompt_figures(said["prompts"])
    write_text(run / "report.html", page(TEMPLATE, figures, facts=said, scores=SCORES))
    return run / "report.html"


def property_facts(run: Path) -> dict[str, Any]:
    """Return everything that the page shows, as plain data."""
    if not (run / "metrics.json").is_file():
        raise RunError(
            "this run has no metrics.json", where=str(run), remedy="finish it", commands=resume_commands(run)
        )
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["targets"]
    held, places, domains = (_table(run / f"{name}.csv") for name in ("predictions", "map", "domains"))
    card = _json(run / "model" / "card.json")
    return {
        "run": run.resolve().name,
        "settings": _json(run / "settings.json"),
        "card": {name: card.get(name) for name in ("name", "weights_from", "weights_sha256", "n_parameters")},
        "pretraining": _pretraining(card),
        "targets": [
            {**_target(name, part, held, places), "domain": part.get("domain"), "domains": _spots(domains, name)}
            for name, part in metrics.items()
        ],
        "prompts": _json(run / "prompts.json"),
    }


def _target(name: str, metrics: Mapping[str, Any], held: pd.DataFrame, places: pd.DataFrame) -> dict[str, Any]:
    rows = held[held["target"] == name] if len(held) else held
    classes = list(metrics["classes"])
    if not classes and len(rows):
        rows = rows.assign(**{column: rows[column].astype(float) for column in ("truth", "value")})
    error = _errors(rows, classes)
    worst = rows.iloc[np.argsort(-error, kind="stable")[:LISTED]]
    return {
        "name": name,
        **metrics,
        "held": {column: _plain(rows[column]) for column in rows.columns if column not in ("target", "fold")},
        "map": _spots(places, name),
        "by_label": _by_label(metrics),
        "drawn": _drawn(error, metrics["n"], int((places["target"] == name).sum()) if len(places) else 0),
        "error": [float(e) for e in error],
        "worst": [{str(key): _value(value) for key, value in row.items()} for row in worst.to_dict("records")],
        "held_by": [] if classes or not len(rows) else _coverage(rows),
    }


def _by_label(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for the formulas with and for those without a label in the pretraining; none where it is not known.

    A row has ``part``, ``n``, ``ours``, ``baseline``, ``difference`` and ``interval``, all of the criterion; the last
    three are None where the predictor is not compared with its baseline.
    """
    known = metrics.get("pretraining")
    if not known:
        return []
    counts = {"with_label": known["with_label"], "without_label": known["n"] - known["with_label"]}
    rows = []
    for part, n in counts.items():
        ours = known["scores"][part].get("log_loss" if metrics["classes"] else "mae")
        against = known.get("compared", {}).get(part, {"score": None, "difference": None, "interval": None})
        against = {"baseline": against["score"], "difference": against["difference"], "interval": against["interval"]}
        if against["baseline"] is not None:
            ours = against["baseline"] + against["difference"]
        rows += [{"part": part.replace("_", " a "), "n": n, "ours": ours, **against}] * bool(n)
    return rows


def _drawn(error: np.ndarray, n: int, on_map: int) -> dict[str, str]:
    """Say of which rows the figures have points, where these are not all."""
    said = {}
    if (shown := len(drawn_rows(error))) < len(error):
        said["points"] = f"{shown:,} of {len(error):,} rows drawn: the {WORST} of the largest errors, and a random draw"
    if 0 < on_map < n:
        said["map"] = f"{on_map:,} of {n:,} rows drawn at random"
    return said


def _spots(places: pd.DataFrame, name: str) -> dict[str, list[Any]]:
    """Return the columns of one target's map."""
    spots = places[places["target"] == name] if len(places) else places
    return {column: _plain(_numbers(spots[column])) for column in spots.columns if column != "target"}


def _errors(rows: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """Return absolute errors, or what the probability of the true class lacks."""
    if not len(rows):
        return np.zeros(0)
    if not classes:
        return np.abs(rows["value"].to_numpy(float) - rows["truth"].to_numpy(float))
    likely = rows[[f"p_{name}" for name in classes]].to_numpy(float)
    true = [classes.index(str(name)) for name in rows["truth"]]
    return 1 - likely[np.arange(len(rows)), true]


def _coverage(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how many truths lie inside, in all and by thirds of the intervals' widths and of the distances."""
    inside = (rows["truth"] >= rows["lower"]) & (rows["truth"] <= rows["upper"])
    found = [{"part": "all", "n": len(rows), "held": float(inside.mean())}]
    for title, key in (("width", rows["upper"] - rows["lower"]), ("distance", rows["distance"])):
        ranks = np.argsort(np.argsort(key.to_numpy(float), kind="stable"), kind="stable") * CALIBRATION_BINS
        thirds = ranks // max(1, len(rows))
        for i, which in enumerate(("smallest", "middle", "largest")):
            part = inside[thirds == i]
            if len(part):
                found.append({"part": f"{which} third by {title}", "n": len(part), "held": float(part.mean())})
    return found


def _pretraining(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    metrics, recipe = card.get("metrics") or {}, card.get("recipe") or {}
    if not metrics:
        return []
    epochs = ", ".join(f"{n:.1f}" for n in metrics["epochs"])
    losses = ", ".join(f"{best['validation_loss']:.3f}" for best in metrics["best"])
    rows = [
        ("formulas", f"{metrics['formulas']:,}"),
        ("labels", f"{metrics['labels']:,}"),
        ("rows left out", f"those with {recipe['exclude']} = 1" if recipe.get("exclude") else "none"),
        ("objectives", ", ".join(f"{name} {weight:g}" for name, weight in recipe["weights"].items())),
        ("encoders", str(len(metrics["best"]))),
        ("minutes", f"{metrics['minutes']:.0f} on {metrics['processes']} core(s), {epochs} epochs"),
        ("validation loss", f"{losses} on held-out chemical systems"),
    ]
    return rows + [(f"sha256 of {name}", value) for name, value in (card.get("data_sha256") or {}).items()]


def _table(path: Path) -> pd.DataFrame:
    return read_predictions(path) if path.is_file() else pd.DataFrame()


def _numbers(column: pd.Series) -> pd.Series:
    return column.astype(float) if column.name == "truth" else column


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _plain(column: pd.Series) -> list[Any]:
    return [_value(value) for value in column.tolist()]


def _value(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value

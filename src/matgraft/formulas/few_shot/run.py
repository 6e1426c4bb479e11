"""From a table of examples and a table of formulas to predictions: `matgraft fewshot`.

    facts = few_shot(FewShotRun(support="support.csv", queries="queries.csv"))

Words, and zeros and ones alone, are classes, compared by prototypes; other numbers are values, for the closed form.
The facts are plain data: what the examples promise, the predictions, a map. The screen and the report show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict
from sklearn.decomposition import PCA

from matgraft.core.errors import DataError, OptionError
from matgraft.core.reads import Read, refuse_unread
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.classifier import FewShot, fit_few_shot
from matgraft.formulas.few_shot.metric import Space, choose_metric
from matgraft.formulas.few_shot.page import cautions, promise
from matgraft.formulas.few_shot.prototypes import DISTANCES
from matgraft.formulas.few_shot.values import fit_few_values
from matgraft.formulas.formula import Formula
from matgraft.formulas.predictor.predictor import Prediction
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.report.text import prediction_rows
from matgraft.formulas.table.reading import (
    FormulaTable,
    formula_column,
    formulas_of,
    read_cells,
    read_table,
    value_columns,
)

READS = tuple(Read(key, "columns of classes", lambda table: bool(table.classes)) for key in ("--distance", "--metric"))
"""What is read of the options in some cases only."""


class FewShotRun(BaseModel):
    """What is asked.

    Attributes
    ----------
    target
        Column of the classes or values; None: the only one beside the formulas.
    distance, metric
        Of classes alone: one of `DISTANCES`; ``shipped``, ``none`` or a folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    support: str
    queries: str
    target: str | None = None
    formula: str | None = None
    foundation: str = "composition"
    distance: str | None = None
    metric: str | None = None


def few_shot(run: FewShotRun, *, quiet: bool = False) -> dict[str, Any]:
    """Predict the queries from the examples.

    Returns
    -------
    dict
        ``kind`` ("classes" or "values"), ``target``, ``examples``, ``expectation``, ``predictions`` (a row a query),
        ``map``, ``promise`` and ``cautions`` (what the examples let expect, in words); for values ``formulas`` (how
        many are different); for classes ``classes``, ``shots``, ``repeated`` (rows whose formula an earlier row has,
        which count for nothing), ``distance``, ``metric``, ``base_classes``, ``threshold``.

    Raises
    ------
    DataError, OptionError
        If a table or an option cannot be used.
    """
    support = Path(run.support)
    target = run.target or _only_column(support, run.formula)
    table = read_table(support, target, formula=run.formula)
    queries = _queries(Path(run.queries), run.formula)
    given = [f"--{name}" for name in ("distance", "metric") if getattr(run, name) is not None]
    refuse_unread("fewshot", READS, given, table)
    backbone = load_encoder(run.foundation)
    facts: dict[str, Any] = {
        "run": run.model_dump(mode="json"),
        "encoder": {"name": backbone.card.name, "sha256": backbone.card.weights_sha256},
        "target": target,
        "examples": len(table.formulas),
        "without_value": table.without_value,
    }
    if table.classes:
        facts |= _classes(run, table, queries, backbone)
    else:
        facts |= _values(target, table, queries, backbone, quiet)
    return facts | {"promise": promise(facts), "cautions": cautions(facts)}


def _classes(
    run: FewShotRun, table: FormulaTable, queries: Sequence[Formula], backbone: CompositionBackbone
) -> dict[str, Any]:
    metric = choose_metric(run.metric, backbone)
    space = Space.of(backbone, metric, run.distance or DISTANCES[0])
    few = fit_few_shot(table.formulas, table.values.astype(int), len(table.classes), space)
    prediction = few.predict(queries)
    rows = prediction_rows(queries, prediction, table.classes, {})
    for row in rows:
        row["none_of_these"] = None if few.threshold is None else row["unlike"]
        row["distance"] = None if few.threshold is None else row["distance"]
        del row["unlike"], row["std"]
    expected = few.expectation
    return {
        "kind": "classes",
        "classes": list(table.classes),
        "examples": len(few.formulas),
        "repeated": len(table.formulas) - len(few.formulas),
        "shots": few.shots.tolist(),
        "distance": space.distance,
        "metric": metric.name,
        "threshold": few.threshold,
        "threshold_from": "base classes" if metric.card.thresholds else "left-out examples",
        "expectation": expected and asdict(expected),
        "base_classes": _base_classes(few, space),
        "predictions": rows,
        "map": _class_map(few, table.classes, queries, prediction),
    }


def _values(
    target: str, table: FormulaTable, queries: Sequence[Formula], backbone: CompositionBackbone, quiet: bool
) -> dict[str, Any]:
    predictor = fit_few_values(
        table.formulas, table.values, backbone, progress="" if quiet else f"leaving out examples of {target}"
    )
    assert predictor.out_of_fold is not None
    held = prediction_rows(table.formulas, predictor.out_of_fold, (), {}, truths=table.values, lines=table.lines)
    return {
        "kind": "values",
        "level": predictor.settings.level,
        "formulas": len({formula.key for formula in table.formulas}),
        "expectation": predictor.facts,
        "left_out": held,
        "predictions": prediction_rows(queries, predictor.predict(queries), (), {}),
    }


def _base_classes(few: FewShot, space: Space) -> dict[str, Any] | None:
    """Return the metric's own scores with this distance, and the one nearest to so many classes and shots."""
    rows = [row for row in space.metric.card.scores if row["distance"] == space.distance]
    alike = [row for row in rows if row["ways"] == len(few.shots)]
    nearest = min(alike, key=lambda row: abs(np.log(row["shots"] / few.shots.mean())), default=None)
    return {"nearest": nearest, "rows": rows} if rows else None


def _class_map(
    few: FewShot, classes: Sequence[str], queries: Sequence[Formula], prediction: Prediction
) -> list[dict[str, Any]]:
    """Return examples, queries and prototypes at the first two principal components of them all."""
    points = [few.space.points(list(formulas)).numpy() for formulas in (few.formulas, queries)]
    everything = np.concatenate([*points, few.prototypes.centres.numpy()])
    places = PCA(2, random_state=0).fit_transform(everything)
    kinds = [
        *(("example", str(one), int(label)) for one, label in zip(few.formulas, few.labels, strict=True)),
        *(("query", str(one), int(value)) for one, value in zip(queries, prediction.value, strict=True)),
        *(("prototype", name, i) for i, name in enumerate(classes)),
    ]
    return [
        {"kind": kind, "name": name, "class": label, "x": float(x), "y": float(y)}
        for (kind, name, label), (x, y) in zip(kinds, places, strict=True)
    ]


def _queries(path: Path, column: str | None) -> tuple[Formula, ...]:
    cells = read_cells(path)
    formulas = formulas_of(_formulas(cells, column, path), path)
    if not formulas:
        raise DataError("there is no formula to predict", where=str(path))
    return formulas


def _formulas(cells: pd.DataFrame, column: str | None, path: Path) -> pd.Series:
    """Return the column of formulas; queries may lack the name that the support's column has."""
    known = column if column in cells.columns else None
    return cells[formula_column(cells, known, path)]


def _only_column(path: Path, formula: str | None) -> str:
    others = value_columns(path, formula)
    if len(others) != 1:
        raise OptionError(
            f"{len(others)} columns beside the formulas",
            where=str(path),
            remedy="say which holds the classes or values" if others else "give the classes or values in a column",
            options=[{"--target": name} for name in others],
        )
    return others[0]

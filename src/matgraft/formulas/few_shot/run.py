"""From a table of examples and a table of formulas to predictions: `matgraft fewshot`.

    result = few_shot(FewShotRun(support="support.csv", queries="queries.csv"))

Words, and zeros and ones alone, are classes, compared by prototypes; other numbers are values, for the closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from matgraft.core.errors import DataError, OptionError
from matgraft.core.reads import Read, refuse_unread
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.classifier import FewShot, fit_few_shot
from matgraft.formulas.few_shot.metric import Space, choose_metric
from matgraft.formulas.few_shot.prototypes import DISTANCES
from matgraft.formulas.few_shot.result import (
    BaseScores,
    FewClasses,
    FewShotRun,
    FewValues,
    LeftOutValue,
    NamedFormula,
    PredictedValue,
    Spot,
    UsedEncoder,
)
from matgraft.formulas.few_shot.values import fit_few_values
from matgraft.formulas.formula import Formula
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.facts import TableReading, Tell
from matgraft.formulas.table.formula_table import FormulaTable
from matgraft.formulas.table.opening import further, value_columns
from matgraft.formulas.table.reading import read_table
from matgraft.formulas.table.unlabelled import Queries, read_formulas

READS = tuple(Read(key, "columns of classes", lambda table: bool(table.classes)) for key in ("--distance", "--metric"))
"""What is read of the options in some cases only."""


def few_shot(run: FewShotRun, *, quiet: bool = False, tell: Tell | None = None) -> FewClasses | FewValues:
    """Predict the queries from the examples.

    Parameters
    ----------
    tell
        Is told how each of the two tables was read.

    Raises
    ------
    DataError, OptionError
        If a table or an option cannot be used.
    """
    support = Path(run.support)
    target = run.target or _only_column(support, run)
    table = read_table(support, target, run.columns)
    asked = _queries(run, target)
    if tell:
        for path, read in ((support, table), (Path(run.queries), asked)):
            tell(TableReading.of(path, [read]))
    queries = tuple(map(parse_plain, asked.formulas))
    given = [f"--{name}" for name in ("distance", "metric") if getattr(run, name) is not None]
    refuse_unread("fewshot", READS, given, table)
    backbone = load_encoder(run.foundation)
    if table.classes:
        return _classes(run, target, table, queries, backbone)
    return _values(run, target, table, queries, backbone, quiet)


def _classes(
    run: FewShotRun, target: str, table: FormulaTable, queries: Sequence[Formula], backbone: CompositionBackbone
) -> FewClasses:
    metric = choose_metric(run.metric, backbone)
    space = Space.of(backbone, metric, run.distance or DISTANCES[0])
    few = fit_few_shot(table.formulas, table.values.astype(int), len(table.classes), space)
    prediction = few.predict(queries)
    return FewClasses(
        run=run,
        encoder=_encoder(backbone),
        target=target,
        examples=len(few.formulas),
        without_value=table.without_value,
        classes=tuple(table.classes),
        shots=tuple(few.shots.tolist()),
        repeated=len(table.formulas) - len(few.formulas),
        distance=space.distance,
        metric=metric.name,
        threshold=few.threshold,
        threshold_from="base classes" if metric.card.thresholds else "left-out examples",
        expectation=few.expectation,
        base_classes=_base_scores(few, space),
        predictions=tuple(_named(queries, prediction, table.classes, few.threshold is not None)),
        map=tuple(_spots(few, table.classes, queries, prediction)),
    )


def _values(
    run: FewShotRun,
    target: str,
    table: FormulaTable,
    queries: Sequence[Formula],
    backbone: CompositionBackbone,
    quiet: bool,
) -> FewValues:
    progress = "" if quiet else f"leaving out examples of {target}"
    few = fit_few_values(table.formulas, table.values, backbone, progress=progress)
    truths = zip(table.lines, table.values.tolist(), strict=True)
    held = zip(_columns(table.formulas, few.left_out), truths, strict=True)
    return FewValues(
        run=run,
        encoder=_encoder(backbone),
        target=target,
        examples=len(table.formulas),
        without_value=table.without_value,
        level=few.predictor.settings.level,
        formulas=len({formula.key for formula in table.formulas}),
        expectation=few.expectation,
        left_out=tuple(LeftOutValue(**one.model_dump(), line=line, truth=truth) for one, (line, truth) in held),
        predictions=tuple(_columns(queries, few.predictor.predict(queries))),
    )


def _encoder(backbone: CompositionBackbone) -> UsedEncoder:
    return UsedEncoder(name=backbone.card.name, sha256=backbone.card.weights_sha256)


def _named(
    queries: Sequence[Formula], prediction: Prediction, classes: Sequence[str], is_far_known: bool
) -> list[NamedFormula]:
    assert prediction.probabilities is not None
    return [
        NamedFormula(
            formula=str(formula),
            value=classes[int(prediction.value[i])],
            distance=float(prediction.distance[i]) if is_far_known else None,
            none_of_these=bool(prediction.unlike[i]) if is_far_known else None,
            probabilities=dict(zip(classes, prediction.probabilities[i].tolist(), strict=True)),
        )
        for i, formula in enumerate(queries)
    ]


def _columns(formulas: Sequence[Formula], prediction: Prediction) -> list[PredictedValue]:
    names = ("value", "lower", "upper", "std", "distance", "unlike")
    columns = zip(*(getattr(prediction, name).tolist() for name in names), strict=True)
    return [
        PredictedValue(formula=str(formula), **dict(zip(names, row, strict=True)))
        for formula, row in zip(formulas, columns, strict=True)
    ]


def _base_scores(few: FewShot, space: Space) -> BaseScores | None:
    """Return the metric's own scores with this distance, and the one nearest to so many classes and shots."""
    rows = tuple(row for row in space.metric.card.scores if row.distance == space.distance)
    alike = [row for row in rows if row.ways == len(few.shots)]
    nearest = min(alike, key=lambda row: abs(np.log(row.shots / few.shots.mean())), default=None)
    return BaseScores(nearest=nearest, rows=rows) if rows else None


def _spots(few: FewShot, classes: Sequence[str], queries: Sequence[Formula], prediction: Prediction) -> list[Spot]:
    """Return examples, queries and prototypes at the first two principal components of them all."""
    points = [few.space.points(list(formulas)).numpy() for formulas in (few.formulas, queries)]
    everything = np.concatenate([*points, few.prototypes.centres.numpy()])
    places = PCA(2, random_state=0).fit_transform(everything).tolist()
    named = [*map(str, few.formulas), *map(str, queries), *classes]
    numbers = [*few.labels.tolist(), *map(int, prediction.value), *range(len(classes))]
    counts = {"example": len(few.formulas), "query": len(queries), "prototype": len(classes)}
    kinds = [kind for kind, n in counts.items() for _ in range(n)]
    return [
        Spot(kind=kind, name=name, of_class=number, x=x, y=y)
        for kind, name, number, (x, y) in zip(kinds, named, numbers, places, strict=True)
    ]


def _queries(run: FewShotRun, target: str) -> Queries:
    """Read the queries, which may call their formulas otherwise, or have no sheets."""
    path = Path(run.queries)
    columns = further(path, run.columns)
    queries = read_formulas(path, columns, parse_plain, [target])
    if not queries.formulas:
        raise DataError("there is no formula to predict", where=str(path))
    return queries


def _only_column(path: Path, run: FewShotRun) -> str:
    others = value_columns(path, run.formula, run.columns.reading)
    if len(others) != 1:
        raise OptionError(
            f"{len(others)} columns beside the formulas",
            where=str(path),
            remedy="say which holds the classes or values" if others else "give the classes or values in a column",
            options=[{"--target": name} for name in others],
        )
    return others[0]

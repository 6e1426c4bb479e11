"""Cross-validation of a property predictor on a table: what a user may expect on formulas not yet measured.

Folds are drawn by formula, by chemical system or by the table's groups, and no formula is on both sides; or they are
those of the table, taken as they are. Everything that is chosen (members, weights, intervals) is chosen inside the
training part of each fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from matgraft.core.errors import DataError
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.folds import inner_folds, refuse_lone_classes
from matgraft.formulas.predictor.predictor import Prediction, PredictorSettings, fit_predictor, refuse_idle
from matgraft.formulas.report.text import prediction_rows
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.scoring.pretraining import pretraining_facts
from matgraft.formulas.table.reading import FormulaTable


def crossval(
    table: FormulaTable,
    backbone: CompositionBackbone,
    *,
    by: str = "formula",
    n_folds: int = 5,
    settings: PredictorSettings | None = None,
    given: Sequence[str] = (),
    quiet: bool = False,
) -> dict[str, Any]:
    """Score a predictor on held-out folds.

    Parameters
    ----------
    by
        What inner folds, and outer ones where the table brings none, never tear apart: ``formula``,
        ``chemical-system``, or the groups of the table.
    given
        Keys of the settings that the user named: those that nothing reads are an error.

    Returns
    -------
    dict
        ``folds`` (scores and what was chosen), ``mean`` and ``std`` over the folds that have a score (std None of one
        fold), ``n_folds`` (how many these are, by score), ``weighted`` (whether rows count differently), ``classes``,
        ``n`` (rows scored), ``n_unlike`` (those unlike their training set), ``without_value`` and ``without_weight``
        (rows left out), ``pretraining`` (what the encoder's pretraining knew of the formulas), ``predictions`` (a row
        each).
    """
    settings = settings or PredictorSettings()
    parts = list(_folds(table, by, n_folds, settings.seed))
    rows_of_folds = [len(train) for _, train, _ in parts]
    refuse_idle(settings, given=given, rows=rows_of_folds, n_classes=[len(table.classes)], verb="crossval")
    if table.classes:  # before any fit: later ones would be in vain
        groups = np.array(table.grouped(by))
        for name, train, _ in parts:
            if missing := set(range(len(table.classes))) - set(table.values[train].astype(int)):
                lost = table.classes[min(missing)]
                raise DataError(f"the training part has no row of class {lost!r}", where=f"fold {name}")
            refuse_lone_classes(groups[train].tolist(), table.values[train], where=f"fold {name}")
    folds, rows, scored, held = [], [], [], []
    for name, train, test in track(
        parts, "cross-validation", console=Console(stderr=True), disable=quiet, transient=True
    ):
        scores, facts, prediction = _fold(table, backbone, settings, by, train, test)
        scored.append(scores)
        held.append(prediction)
        folds.append({"fold": name, "n_train": len(train), "n_test": len(test), **scores, "members": facts["members"]})
        rows += prediction_rows(
            [table.formulas[i] for i in test],
            prediction,
            table.classes,
            {"fold": name},
            truths=table.values[test],
            lines=[table.lines[i] for i in test],
        )
    names = dict.fromkeys(name for scores in scored for name in scores)
    values = {name: [scores[name] for scores in scored if name in scores] for name in names}
    return {
        "folds": folds,
        "mean": {name: float(np.mean(value)) for name, value in values.items()},
        "std": {name: float(np.std(value)) if len(value) > 1 else None for name, value in values.items()},
        "n_folds": {name: len(value) for name, value in values.items()},
        "weighted": table.weighted,
        "classes": list(table.classes),
        "n": len(rows),
        "n_unlike": sum(row["unlike"] for row in rows),
        "without_value": table.without_value,
        "without_weight": table.without_weight,
        "pretraining": _pretraining(table, backbone, np.concatenate([test for _, _, test in parts]), held),
        "predictions": sorted(rows, key=lambda row: row["line"]),
    }


def _pretraining(
    table: FormulaTable, backbone: CompositionBackbone, rows: NDArray[np.int_], held: Sequence[Prediction]
) -> dict[str, Any] | None:
    """Return what the pretraining knew of rows, which are those of the predictions one after the other."""
    whole = {name: [vars(one)[name] for one in held] for name in vars(held[0])}
    joined: dict[str, Any] = {name: None if one[0] is None else np.concatenate(one) for name, one in whole.items()}
    formulas = [table.formulas[i] for i in rows]
    return pretraining_facts(backbone.labels, formulas, table.values[rows], Prediction(**joined), table.weights[rows])


def _fold(
    table: FormulaTable,
    backbone: CompositionBackbone,
    settings: PredictorSettings,
    by: str,
    train: NDArray[np.int_],
    test: NDArray[np.int_],
) -> tuple[dict[str, float], dict[str, Any], Prediction]:
    groups = table.grouped(by)
    predictor = fit_predictor(
        [table.formulas[i] for i in train],
        table.values[train],
        backbone=backbone,
        n_classes=len(table.classes),
        covariates=table.covariates[train],
        weights=table.weights[train],
        groups=[groups[i] for i in train],
        settings=settings,
    )
    prediction = predictor.predict([table.formulas[i] for i in test], table.covariates[test])
    return scores_of(table.values[test], prediction, table.weights[test]), predictor.facts, prediction


def _folds(
    table: FormulaTable, by: str, n_folds: int, seed: int
) -> Iterator[tuple[str, NDArray[np.int_], NDArray[np.int_]]]:
    everyone = np.arange(len(table.formulas))
    if table.folds:
        names = np.array(table.folds)
        if len(set(table.folds)) < 2:
            raise DataError("the fold column names one fold only")
        for name in sorted(set(table.folds)):
            yield name, everyone[names != name], everyone[names == name]
        return
    groups = table.grouped(by)
    if len(set(groups)) < n_folds:
        is_grouped = by != "formula"  # a group joins formulas, and so leaves fewer sets
        shared = f"share neither a formula nor a {by}" if is_grouped else "share no formula"
        raise DataError(
            f"{len(set(groups))} sets of rows that {shared} cannot fill {n_folds} folds",
            remedy="fewer --folds" + ", or another --group" * is_grouped,
        )
    for i, test in enumerate(inner_folds(groups, n_folds, seed, table.values if table.classes else None)):
        yield str(i), np.setdiff1d(everyone, test), test

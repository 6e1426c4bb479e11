"""Cross-validation of a property predictor on a table: what a user may expect on formulas not yet measured.

Folds are the table's own, or drawn by formula or by chemical system: a formula is never on both sides. Everything that
is chosen (members, weights, intervals) is chosen inside the training part of each fold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.model_selection import GroupKFold

from matgraft.backbones.composition import CompositionBackbone
from matgraft.data.table import FormulaTable
from matgraft.errors import DataError, OptionError, choose
from matgraft.predictors.predictor import Prediction, PredictorSettings, fit_predictor
from matgraft.scoring.properties import classification_scores, regression_scores

STRATEGIES = ("auto", "feature", "descriptors")
GROUPINGS = ("formula", "chemical-system")


def crossval(
    table: FormulaTable,
    backbone: CompositionBackbone,
    *,
    by: str = "formula",
    n_folds: int = 5,
    settings: PredictorSettings | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Score a predictor on held-out folds.

    Parameters
    ----------
    by
        What is never torn apart where the table brings no folds: ``formula`` or ``chemical-system``.

    Returns
    -------
    dict
        ``folds`` (scores and what was chosen), ``mean`` and ``std`` over folds, ``predictions`` (one row a formula).
    """
    settings = settings or PredictorSettings()
    parts = list(_folds(table, by, n_folds, settings.seed))
    folds, rows = [], []
    for name, train, test in track(
        parts, "cross-validation", console=Console(stderr=True), disable=quiet, transient=True
    ):
        scores, facts, prediction = _fold(table, backbone, settings, train, test)
        folds.append({"fold": name, "n_train": len(train), "n_test": len(test), **scores, "members": facts["members"]})
        rows += _rows(table, name, test, prediction)
    names = [key for key in folds[0] if isinstance(folds[0][key], float)]
    values = {name: [fold[name] for fold in folds if name in fold] for name in names}
    return {
        "folds": folds,
        "mean": {name: float(np.mean(value)) for name, value in values.items()},
        "std": {name: float(np.std(value)) for name, value in values.items()},
        "classes": list(table.classes),
        "predictions": sorted(rows, key=lambda row: row["line"]),
    }


def settings_of(strategy: str, seed: int) -> PredictorSettings:
    """Return settings, or say which strategies there are."""
    choose(strategy, dict.fromkeys(STRATEGIES), "strategy")
    return PredictorSettings(strategy=strategy, seed=seed)


def _fold(
    table: FormulaTable,
    backbone: CompositionBackbone,
    settings: PredictorSettings,
    train: NDArray[np.int_],
    test: NDArray[np.int_],
) -> tuple[dict[str, float], dict[str, Any], Prediction]:
    predictor = fit_predictor(
        [table.formulas[i] for i in train],
        table.values[train],
        backbone=backbone,
        n_classes=len(table.classes),
        covariates=table.covariates[train],
        settings=settings,
    )
    prediction = predictor.predict([table.formulas[i] for i in test], table.covariates[test])
    score = classification_scores if table.classes else regression_scores
    return score(table.values[test], prediction), predictor.facts, prediction


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
    groups = _groups(table, by)
    if len(set(groups)) < n_folds:
        raise DataError(f"{len(set(groups))} groups by {by} cannot fill {n_folds} folds", remedy="fewer --folds")
    folds = GroupKFold(n_folds, shuffle=True, random_state=seed)
    for i, (train, test) in enumerate(folds.split(everyone, groups=groups)):
        yield str(i), train, test


def _groups(table: FormulaTable, by: str) -> list[str]:
    if by not in GROUPINGS:
        raise OptionError(f"cannot group by {by!r}", allowed=GROUPINGS)
    if by == "chemical-system":
        return [formula.chemical_system for formula in table.formulas]
    return [f"{formula.numbers}{formula.fractions}" for formula in table.formulas]


def _rows(table: FormulaTable, name: str, test: NDArray[np.int_], prediction: Prediction) -> list[dict[str, Any]]:
    return [
        {
            "line": table.lines[i],
            "formula": str(table.formulas[i]),
            "fold": name,
            "truth": float(table.values[i]),
            "value": float(prediction.value[k]),
            "lower": float(prediction.lower[k]),
            "upper": float(prediction.upper[k]),
            "std": float(prediction.std[k]),
            "distance": float(prediction.distance[k]),
            "unlike": bool(prediction.unlike[k]),
            **_class_columns(table.classes, prediction, k),
        }
        for k, i in enumerate(test)
    ]


def _class_columns(classes: tuple[str, ...], prediction: Prediction, k: int) -> dict[str, float]:
    if prediction.probabilities is None:
        return {}
    return {f"p_{name}": float(p) for name, p in zip(classes, prediction.probabilities[k], strict=True)}

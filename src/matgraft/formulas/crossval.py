"""Cross-validation of a property predictor on a table: what a user may expect on formulas not yet measured.

Folds are drawn by formula, by chemical system or by the table's groups, and no formula is on both sides; or they are
those of the table, taken as they are. Everything that is chosen (members, weights, intervals) is chosen inside the
training part of each fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console
from rich.progress import track

from matgraft.core.errors import DataError
from matgraft.core.findings import Finding
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.folds import inner_folds, refuse_lone_classes
from matgraft.formulas.learners.inputs import Inputs, Rows
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.settings import PredictorSettings, refuse_idle
from matgraft.formulas.report.rows import TableRow, prediction_rows
from matgraft.formulas.scoring.folds import CrossValidation, FoldScores
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.scoring.pretraining import pretraining_facts
from matgraft.formulas.table.audit.audit import audit_table, refuse_blocking_rows
from matgraft.formulas.table.audit.base import TableEvidence
from matgraft.formulas.table.formula_table import ColumnNames, FormulaTable


def crossval(
    table: FormulaTable,
    backbone: CompositionBackbone,
    *,
    by: str = "formula",
    n_folds: int = 5,
    settings: PredictorSettings | None = None,
    given: Sequence[str] = (),
    audited: Sequence[Finding] | None = None,
    progress: str = "cross-validation",
) -> tuple[CrossValidation, list[TableRow]]:
    """Score a predictor on held-out folds; return the scores, and the predictions, a row each by line.

    Parameters
    ----------
    by
        What inner folds, and outer ones where the table brings none, never tear apart: ``formula``,
        ``chemical-system``, or the groups of the table.
    given
        Keys of the settings that the user named: those that nothing reads are an error.
    audited
        What an audit of the table found; by default the table is looked at here, before any fit.
    progress
        Title of a progress bar on standard error; none if empty.

    Raises
    ------
    AuditError
        If the audit that is made here finds what blocks; ``audited=()`` goes on nevertheless.
    """
    settings, examples = settings or PredictorSettings(), table.examples(by)
    parts = list(held_out_folds(table, by, n_folds, settings.seed))
    sizes = [len(train) for _, train, _ in parts]
    refuse_idle(settings, given=given, rows=sizes, n_classes=[examples.n_classes], verb="crossval")
    _refuse_lost_classes(table, by, parts)
    if audited is None:
        audited = audit_table(TableEvidence(table, table.target, columns_asked(table, by), backbone))
        refuse_blocking_rows(audited, (), table.target)
    inputs = Inputs.of(table.formulas, backbone, table.covariates)  # once, for the parts of all folds
    folds, held = [], []
    bar = track(parts, progress, console=Console(stderr=True), disable=not progress, transient=True)
    for name, train, test in bar:
        fold, prediction = _fold(table, inputs, backbone, settings, by, (name, train, test))
        folds.append(fold)
        held.append(prediction)
    tested = np.concatenate([test for _, _, test in parts])
    known = pretraining_facts(backbone.labels, examples.take(tested), Prediction.joined(held))
    rows = [row for (name, _, test), one in zip(parts, held, strict=True) for row in _rows(table, name, test, one)]
    names = dict.fromkeys(name for fold in folds for name in fold.scores)
    values = {name: [fold.scores[name] for fold in folds if name in fold.scores] for name in names}
    scored = CrossValidation(
        folds=tuple(folds),
        mean={name: float(np.mean(value)) for name, value in values.items()},
        std={name: float(np.std(value)) if len(value) > 1 else None for name, value in values.items()},
        n_folds={name: len(value) for name, value in values.items()},
        weighted=table.weighted,
        classes=table.classes,
        n=len(tested),
        findings=tuple(audited),
        n_unlike=sum(int(one.unlike.sum()) for one in held),
        n_in_training=sum(int(one.in_training.sum()) for one in held if one.in_training is not None),
        without_value=table.without_value,
        without_weight=table.without_weight,
        pretraining=known,
    )
    return scored, sorted(rows, key=lambda row: int(row["line"] or 0))


def _fold(
    table: FormulaTable,
    inputs: Inputs,
    backbone: CompositionBackbone,
    settings: PredictorSettings,
    by: str,
    part: tuple[str, Rows, Rows],
) -> tuple[FoldScores, Prediction]:
    name, train, test = part
    predictor = fit_predictor(table.examples(by).take(train), backbone, settings, inputs=inputs.take(train))
    assert predictor.facts is not None
    prediction = predictor.predict_inputs(inputs.take(test))
    scores = scores_of(table.values[test], prediction, table.weights[test])
    members = predictor.facts.members
    return FoldScores(fold=name, n_train=len(train), n_test=len(test), scores=scores, members=members), prediction


def _rows(table: FormulaTable, fold: str, test: Rows, prediction: Prediction) -> list[TableRow]:
    formulas, lines = [table.formulas[i] for i in test], [table.lines[i] for i in test]
    return prediction_rows(formulas, prediction, table.classes, {"fold": fold}, table.values[test], lines)


def _refuse_lost_classes(table: FormulaTable, by: str, parts: Sequence[tuple[str, Rows, Rows]]) -> None:
    """Raise a `DataError`, before any fit, for a class that the training part of a fold cannot teach."""
    if not table.classes:
        return
    groups = np.array(table.grouped(by))
    for name, train, _ in parts:
        if missing := set(range(len(table.classes))) - set(table.values[train].astype(int)):
            lost = table.classes[min(missing)]
            raise DataError(f"the training part has no row of class {lost!r}", where=f"fold {name}")
        refuse_lone_classes(groups[train].tolist(), table.values[train], where=f"fold {name}")


def columns_asked(table: FormulaTable, by: str) -> ColumnNames:
    """Return what the columns of a table that was read are used for."""
    return ColumnNames(covariates=tuple(table.code), group=by)


def held_out_folds(table: FormulaTable, by: str, n_folds: int, seed: int) -> Iterator[tuple[str, Rows, Rows]]:
    """Yield name, training rows and test rows of each fold: those of the table, or drawn by the seed."""
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

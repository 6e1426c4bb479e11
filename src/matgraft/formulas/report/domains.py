"""Files of a run toward a target: what the predictor says there, and both domains on one map before and after the fit.

``target_predictions.csv`` is as predictions.csv, with the truth where the target's table has one; ``domains.csv`` has
the columns target, domain, formula, weight, x_before, y_before, x_after, y_after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from matgraft.formulas.domain.verdict import harm_finding, overlap_finding
from matgraft.formulas.learners.network import FittedNetwork
from matgraft.formulas.predictor.predictor import Prediction, Predictor
from matgraft.formulas.report.text import prediction_rows
from matgraft.formulas.scoring.metrics import scores_of
from matgraft.formulas.table.target import TargetTable

MOST = 1000
"""Formulas of each domain on the map."""


def target_rows(
    table: TargetTable, prediction: Prediction, classes: tuple[str, ...], target: str
) -> list[dict[str, Any]]:
    """Return a row a formula of the target, its truth last, where there is any."""
    rows = prediction_rows(table.formulas, prediction, classes, {"target": target}, lines=table.lines)
    if len(table.labelled):
        for row, truth in zip(rows, table.truths, strict=True):
            row["truth"] = None if np.isnan(truth) else classes[int(truth)] if classes else float(truth)
    return rows


def domain_facts(predictor: Predictor, table: TargetTable, prediction: Prediction) -> dict[str, Any]:
    """Return what was chosen and found, and what the target's truths, used for nothing else, say of it.

    Returns
    -------
    dict
        Those of `Adapted.facts`, ``findings``, and ``target``: ``unlike`` (part of the rows), ``n_labelled``, and where
        there are truths ``scores`` and ``errors`` (of each method compared, on the rows that it labelled: mean absolute
        error, or part named wrongly).
    """
    facts: Mapping[str, Any] = predictor.facts["domain"]
    found: dict[str, Any] = {"unlike": float(prediction.unlike.mean()), "n_labelled": len(table.labelled)}
    if len(table.labelled):
        found["scores"] = scores_of(table.truths[table.labelled], prediction.take(table.labelled))
        found["errors"] = _errors(predictor, table)
    findings = [finding(facts).model_dump(mode="json") for finding in (overlap_finding, harm_finding)]
    return {**facts, "findings": findings, "target": found}


def domain_map(predictor: Predictor, target: str) -> list[dict[str, Any]]:
    """Return rows of both domains at the first two principal components of all features, frozen and tuned.

    The tuned ones are those of the network of the first inner fold, the frozen ones those that it began with.
    """
    adapted, seed = predictor.adapted, predictor.settings.seed
    assert adapted is not None
    parts = {"source": predictor.inputs, "target": adapted.target.inputs}
    chosen = {name: np.sort(np.random.default_rng(seed).permutation(len(part))[:MOST]) for name, part in parts.items()}
    network = predictor.networks[predictor.members[0].name][0]
    assert isinstance(network, FittedNetwork)
    some = {name: parts[name].take(rows) for name, rows in chosen.items()}
    before = [predictor.tools.backbone.alone(seed).embed(part.formulas) for part in some.values()]
    after = [network.features(part) for part in some.values()]
    both = [np.concatenate(blocks) for blocks in (before, after)]
    projection = PCA(2, random_state=0).fit(np.concatenate(both))
    places = [projection.transform(block) for block in both]
    names = [(name, i) for name, rows in chosen.items() for i in rows]
    return [
        {"target": target, "domain": name, "formula": str(parts[name].formulas[i]),
         "weight": float(adapted.overlap.weights[i]) if name == "source" else None,
         "x_before": float(x0), "y_before": float(y0), "x_after": float(x1), "y_after": float(y1)}
        for (name, i), (x0, y0), (x1, y1) in zip(names, *places, strict=True)
    ]  # fmt: skip


def _errors(predictor: Predictor, table: TargetTable) -> dict[str, float]:
    """Return the error of each method's labels on the rows that it labelled, where these have a truth."""
    adapted, back = predictor.adapted, predictor.calibration.transform.back
    assert adapted is not None
    truths = table.truths[adapted.rows]
    known = np.isfinite(truths)
    if not known.any():
        return {}
    if predictor.labels.n_classes:
        return {name: float((said != truths)[known].mean()) for name, said in adapted.labelled.items()}
    return {name: float(np.abs(back(said) - truths)[known].mean()) for name, said in adapted.labelled.items()}

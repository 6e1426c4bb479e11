"""Measured gaps, metals and steels: matgraft beside descriptors with trees, and the published.

    python benchmarks/formula_folds.py                                          # official Matbench folds
    python benchmarks/formula_folds.py --table steels --folds formula --draws 5  # folds drawn anew
    python benchmarks/formula_folds.py --table gaps --folds chemical-system
    python benchmarks/formula_folds.py --report

Metals are the measured gaps again, asked whether they are above zero, on the folds of the gaps: two classes.

Ours is ``matgraft crossval`` as it comes, one configuration for all. The baselines are random forest, extra trees and
gradient boosting of scikit-learn on Magpie-type descriptors and fractions, matgraft's own trees without the encoder,
and the same encoder untrained, fine-tuned by the same settings. Selection stands strictly inside the training part of
each fold.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, RESULTS, Results, Row, circumstances, number, prepare, run, show
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GroupKFold

from matgraft.formulas import descriptors
from matgraft.formulas.crossval import crossval
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.formula_table import GROUPINGS, ColumnNames, FormulaTable
from matgraft.formulas.table.reading import read_table

FORMULAS = HERE.parents[1] / "shared" / "data" / "formulas"
TABLES = {"gaps": "matbench_expt_gap.csv", "metals": "matbench_expt_gap.csv", "steels": "matbench_steels.csv"}
PUBLISHED = {
    "gaps": {"CrabNet": 0.346, "MODNet": 0.333, "CrabNet, tuned": 0.331, "an open submission": 0.2775},
    "steels": {"random forest": 103.5, "MODNet": 87.8, "auto-sklearn": 82.3, "TPOT (selected on the whole set)": 79.9},
}
SCORES = ("mae", "rmse", "coverage", "balanced_accuracy", "roc_auc", "accuracy", "log_loss")
TREES: dict[str, Callable[[int], Any]] = {
    "random forest": lambda seed: RandomForestRegressor(300, random_state=seed),
    "extra trees": lambda seed: ExtraTreesRegressor(300, random_state=seed),
    "gradient boosting": lambda seed: GradientBoostingRegressor(
        n_estimators=500, learning_rate=0.05, max_depth=5, subsample=0.7, max_features=0.3, random_state=seed
    ),
}
CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    "random forest": lambda seed: RandomForestClassifier(300, random_state=seed),
    "extra trees": lambda seed: ExtraTreesClassifier(300, random_state=seed),
    "gradient boosting": lambda seed: GradientBoostingClassifier(
        n_estimators=500, learning_rate=0.05, max_depth=5, subsample=0.7, max_features=0.3, random_state=seed
    ),
}
METHODS = ("auto", "feature", "descriptors", "scratch", *TREES)
ENCODED = ("auto", "feature")
"""Methods that read the encoder's weights."""
OFFICIAL = "official"


def read(name: str, folder: Path) -> FormulaTable:
    """Return a table with its official folds."""
    table = read_table(folder / TABLES[name], "target", ColumnNames(fold="fold"))
    return replace(table, values=(table.values > 0).astype(float), classes=("0", "1")) if name == "metals" else table


def score(table: FormulaTable, method: str, foundation: str, by: str, draw: int) -> Row:
    """Return a row of scores over the folds."""
    if by != OFFICIAL:
        table = redrawn(table, by, draw)
    began = time.monotonic()
    if method in TREES:
        folds = trees(table, (CLASSIFIERS if table.classes else TREES)[method], draw)
        row: Row = {}
    else:
        strategy = "full" if method == "scratch" else method
        group = "formula" if by == OFFICIAL else by
        settings = PredictorSettings(strategy=strategy, seed=draw)
        scored, _ = crossval(table, backbone_of(method, foundation), by=group, settings=settings, progress="")
        folds = scored.model_dump(mode="json")["folds"]
        row = {"weights": mean_weights(folds)}
    values = {name: [fold[name] for fold in folds] for name in SCORES if name in folds[0]}
    means = {name: float(np.mean(value)) for name, value in values.items()}
    main = "balanced_accuracy" if table.classes else "mae"
    spread = {"std": float(np.std(values[main])), "folds": [float(f"{value:.5g}") for value in values[main]]}
    return means | spread | row | {"minutes": round((time.monotonic() - began) / 60, 2)}


def backbone_of(method: str, foundation: str) -> CompositionBackbone:
    """Return the encoder, or one of its sizes that learned nothing."""
    backbone = load_encoder(foundation)
    if method != "scratch":
        return backbone
    return CompositionBackbone.scratch(0, property_names=backbone.property_names, **sizes(backbone))


def mean_weights(folds: list[Row]) -> dict[str, float]:
    """Return each member's weight, averaged over the folds; 0 where it was left out."""
    names = dict.fromkeys(member["name"] for fold in folds for member in fold["members"])
    each = [{member["name"]: member["weight"] for member in fold["members"]} for fold in folds]
    return {name: round(float(np.mean([one.get(name, 0) for one in each])), 3) for name in names}


def sizes(backbone: CompositionBackbone) -> dict[str, int]:
    """Return the sizes of an encoder."""
    module = backbone.module
    heads: Any = module.layers[0]
    return {
        "width": module.elements.learned.embedding_dim,
        "layers": len(module.layers),
        "heads": heads.heads,
        "features": module.width_of_features,
    }


def trees(table: FormulaTable, make: Callable[[int], Any], seed: int) -> list[Row]:
    """Return the scores of each fold."""
    x = np.concatenate([descriptors.magpie(table.formulas), descriptors.element_fractions(table.formulas)], 1)
    names, scores = np.array(table.folds), []
    for name in sorted(set(table.folds)):
        held = names == name
        model, truth = make(seed).fit(x[~held], table.values[~held]), table.values[held]
        predicted = model.predict(x[held])
        if table.classes:
            likely = model.predict_proba(x[held])[:, 1]
            scores.append({"balanced_accuracy": float(balanced_accuracy_score(truth, predicted)),
                           "roc_auc": float(roc_auc_score(truth, likely))})  # fmt: skip
        else:
            scores.append({"mae": float(np.abs(predicted - truth).mean())})
    return scores


def redrawn(table: FormulaTable, by: str, draw: int) -> FormulaTable:
    """Return the table with other folds, drawn by formula or by chemical system."""
    folds = np.zeros(len(table.formulas), int)
    drawn = GroupKFold(5, shuffle=True, random_state=draw).split(folds, groups=table.grouped(by))
    for k, (_, held) in enumerate(drawn):
        folds[held] = k
    return replace(table, folds=tuple(map(str, folds)))


def main() -> None:
    """Score what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--method", choices=METHODS, action="append")
    parser.add_argument("--folds", choices=(OFFICIAL, *GROUPINGS), default=OFFICIAL)
    parser.add_argument("--draws", type=int, default=1, help="of folds that are not the official ones")
    parser.add_argument("--from", dest="foundation", default="composition")
    parser.add_argument("--data", type=Path, default=FORMULAS)
    parser.add_argument("--out", type=Path, default=RESULTS / "formula_folds.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("table", "method", "folds_by", "draw", "weights_sha256"))
    if not chosen.report:
        prepare()
        digest = load_encoder(chosen.foundation).card.weights_sha256[:12]
        for name in chosen.table or TABLES:
            table = read(name, chosen.data)
            for draw in range(1 if chosen.folds == OFFICIAL else chosen.draws):
                for method in chosen.method or METHODS:
                    key = {"table": name, "method": method, "folds_by": chosen.folds, "draw": draw,
                           "weights_sha256": digest}  # fmt: skip
                    if results.find(**key) is None:
                        row = score(table, method, chosen.foundation, chosen.folds, draw)
                        results.put(key | row | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a table for each data set."""
    for name in TABLES:
        scores = ("balanced_accuracy", "roc_auc") if name == "metals" else ("mae", "coverage")
        lines = [
            [row["method"], row["weights_sha256"][:6] if row["method"] in ENCODED else "", row["folds_by"],
             str(row["draw"]), number(row[scores[0]], 4), number(row["std"], 3), number(row.get(scores[1]), 3),
             number(row["minutes"], 1)]
            for row in rows if row["table"] == name
        ]  # fmt: skip
        published = PUBLISHED.get(name, {})
        lines += [[f"published: {who}", "", OFFICIAL, "", number(mae, 4), "", "", ""] for who, mae in published.items()]
        header = ("method", "encoder", "folds", "draw", scores[0], "± over folds", scores[1], "minutes")
        show(name, header, lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)

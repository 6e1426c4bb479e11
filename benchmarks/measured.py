"""Measured melting points and densities, and computed formation energies: what the encoder adds to descriptors.

    python benchmarks/measured.py                              # the shipped encoder, all tables
    python benchmarks/measured.py --from runs/pretrain/model   # another one
    python benchmarks/measured.py --method auto --table densities
    python benchmarks/measured.py --report

Five folds by chemical system, with three inner ones. Errors are mean absolute ones, with a standard error over chemical
systems: of the median of the training part, of ``matgraft crossval --strategy descriptors``, and of a method with the
encoder; apart for formulas with and without a label in the encoder's pretraining.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, RESULTS, Results, Row, circumstances, number, prepare, run, show
from formula_folds import redrawn
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.statistics import Units, mean_difference, numbered
from matgraft.formulas.crossval import crossval
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.formula_table import FormulaTable
from matgraft.formulas.table.reading import read_table

Array = NDArray[np.float64]
EXAMPLES = HERE.parent / "examples" / "data"
BY = "chemical-system"
INNER = 3
"""Inner folds; by default there are five, which takes half as long again."""


@dataclass(frozen=True)
class Measured:
    """Where a table is, what is learned, and its unit."""

    file: Path
    target: str
    unit: str
    digits: int


TABLES = {
    "melting points": Measured(EXAMPLES / "measured" / "melting_points.csv", "melting_point_K", "K", 0),
    "densities": Measured(EXAMPLES / "measured" / "densities.csv", "density_g_cm3", "g/cm3", 3),
    "formation energies": Measured(EXAMPLES / "formation" / "formation_energies.csv", "formation_energy", "eV/atom", 4),
}
METHODS = ("feature", "auto")


@dataclass(frozen=True)
class Held:
    """Out-of-fold errors (n,), not negative, and whether the intervals held the truth."""

    errors: Array
    inside: NDArray[np.bool_]


def held_out(table: FormulaTable, backbone: CompositionBackbone, strategy: str, draw: int) -> Held:
    """Predict every row by a predictor that was made without its fold."""
    settings = PredictorSettings(strategy=strategy, seed=draw, inner_folds=INNER)
    _, rows = crossval(table, backbone, by=BY, settings=settings, progress="")
    value, low, high, truth = (np.array([row[name] for row in rows]) for name in ("value", "lower", "upper", "truth"))
    assert (truth == table.values).all()  # rows are in the order of the table
    return Held(np.abs(value - truth), (truth >= low) & (truth <= high))


def of_median(table: FormulaTable) -> Array:
    """Return the errors (n,) of the median of each row's training part."""
    folds, errors = np.array(table.folds), np.zeros(len(table.values))
    for name in set(table.folds):
        held = folds == name
        errors[held] = np.abs(table.values[held] - np.median(table.values[~held]))
    return errors


def compared(chosen: NDArray[np.bool_], units: Units, median: Array, plain: Held, ours: Held) -> Row:
    """Return errors, each with its standard error, on some rows; the gain is what ours takes off the descriptors'."""
    one, nothing, units = np.ones(chosen.sum()), np.zeros(chosen.sum()), units[chosen]
    errors = {"median": median[chosen], "descriptors": plain.errors[chosen], "ours": ours.errors[chosen]}
    each = {name: mean_difference(error, nothing, one, units) for name, error in errors.items()}
    gain = mean_difference(errors["descriptors"], errors["ours"], one, units)
    return {
        "n": int(chosen.sum()),
        "systems": gain.n_units,
        **{name: [_round(found.value), _round(found.error)] for name, found in (each | {"gain": gain}).items()},
        "held": {"descriptors": _round(plain.inside[chosen].mean()), "ours": _round(ours.inside[chosen].mean())},
    }


def _round(value: Any) -> float:
    return float(f"{value:.5g}")


def score(name: str, method: str, foundation: str, draw: int) -> Row:
    """Return a row: the whole table, and the formulas with and without a label in the pretraining."""
    began, backbone = time.monotonic(), load_encoder(foundation)
    table, median, plain = _without_encoder(name, foundation, draw)
    ours = held_out(table, backbone, method, draw)
    had = seen(table, backbone, foundation)
    units = numbered([formula.chemical_system for formula in table.formulas])
    parts = {"all": had | True, "with_label": had, "without_label": ~had}
    rows = {part: compared(chosen, units, median, plain, ours) for part, chosen in parts.items()}
    return rows | {"unit": TABLES[name].unit, "minutes": round((time.monotonic() - began) / 60, 2)}


@cache
def _without_encoder(name: str, foundation: str, draw: int) -> tuple[FormulaTable, Array, Held]:
    """Return the table with its folds, and what needs no encoder: once for all methods."""
    table = redrawn(read_table(TABLES[name].file, TABLES[name].target), BY, draw)
    return table, of_median(table), held_out(table, load_encoder(foundation), "descriptors", draw)


def seen(table: FormulaTable, backbone: CompositionBackbone, foundation: str) -> NDArray[np.bool_]:
    """Return (n,) True where a formula had any label in the encoder's pretraining."""
    if backbone.labels is None:
        raise DataError(
            "the encoder has no list of its labels",
            where=foundation,
            remedy="python -m matgraft.formulas.pretraining.labels dft_properties.csv.gz FOLDER writes it",
        )
    return backbone.labels.of(table.formulas).any(1)


def main() -> None:
    """Score what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--method", choices=METHODS, action="append", help="by default feature")
    parser.add_argument("--draws", type=int, default=1, help="of the folds")
    parser.add_argument("--from", dest="foundation", default="composition")
    parser.add_argument("--out", type=Path, default=RESULTS / "measured.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("table", "method", "draw", "weights_sha256"))
    if not chosen.report:
        prepare()
        card = load_encoder(chosen.foundation).card
        for name in chosen.table or TABLES:
            for draw in range(chosen.draws):
                for method in chosen.method or METHODS[:1]:
                    key = {"table": name, "method": method, "draw": draw, "weights_sha256": card.weights_sha256[:12]}
                    if results.find(**key) is None:
                        row = score(name, method, chosen.foundation, draw)
                        results.put(key | {"weights": card.name, "folds_by": BY} | row | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a table for each data set: a line a part of the formulas."""
    header = ("method", "weights", "draw", "formulas", "n", "median", "descriptors", "method's error", "gain",
              "held, descriptors", "held, method")  # fmt: skip
    for name, table in TABLES.items():
        lines = []
        for row in (one for one in rows if one["table"] == name):
            for part in ("all", "with_label", "without_label"):
                found = row[part]
                errors = [_with_error(found[key], table.digits) for key in ("median", "descriptors", "ours", "gain")]
                held = [number(found["held"][key], 3) for key in ("descriptors", "ours")]
                start = [row["method"], row["weights_sha256"], str(row["draw"]), part.replace("_", " a ")]
                lines.append([*start, str(found["n"]), *errors, *held])
        show(f"{name}, {table.unit}", header, lines, as_markdown=as_markdown)


def _with_error(found: list[float], digits: int) -> str:
    return f"{number(found[0], digits)} ± {number(found[1], digits)}"


if __name__ == "__main__":
    run(main)

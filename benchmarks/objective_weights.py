"""How much the pretraining objectives shall weigh, chosen on validation: no table of a benchmark is looked at.

    python benchmarks/objective_weights.py                        # three trials of four minutes of a core each
    python benchmarks/objective_weights.py --weights 1 0.2 0      # another one: properties, masked atoms, contrast
    python benchmarks/objective_weights.py --report

One encoder learns from half of the formulas for one epoch. A tenth of the chemical systems is held out, and so are the
properties of `LEFT_OUT`: nothing is learned from their labels. Then the frozen encoder is asked for some of these
properties in held-out chemical systems, by two Gaussian processes (as ``feature`` takes them), from 200 labels, no
chemical system on both sides, four draws. Errors are parts of that of the median of the 200 labels; the trial with the
lowest mean is the best. The losses of the objectives on held-out chemical systems stand beside it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import RESULTS, Results, Row, circumstances, number, prepare, run, show
from formula_folds import FORMULAS

from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.closed_form import Process
from matgraft.formulas.learners.inputs import Labels
from matgraft.formulas.pretraining.objectives import PretrainModule, PretrainObjective, named_parameters
from matgraft.formulas.pretraining.settings import ObjectiveWeights, PretrainSettings
from matgraft.formulas.pretraining.tables import Tables, read_tables

TRIALS = ((1.0, 0.2, 0.1), (1.0, 0.0, 0.0), (1.0, 0.5, 0.25))
LEFT_OUT = (
    *("mp_gap", "mp_is_metal", "aflow__Egap", "mp_mu_b", "elast", "bulk_modulus", "shear_modulus", "debye"),
    *("agl_", "dielectric", "anisotropy", "phonons"),
)
"""Parts of the names of properties that nothing is learned from. Gaps of another source stay, as for measured gaps."""
JUDGED = ("mp_gap", "mp_mu_b", "elasticity_log10(G_VRH)", "mp_elastic_anisotropy", "dielectric")
LABELS, DRAWS, MOST = 200, 4, 1500
MEDIAN = 49
"""Column of the 99 quantiles."""


def halved(tables: Tables) -> Tables:
    """Return half of the formulas that learn and all held-out ones, without the properties that are left out."""
    known = np.array([not any(part in name for part in LEFT_OUT) for name in tables.names])
    kept = tables.held_out | (np.random.default_rng(0).random(len(tables.held_out)) < 0.5)
    names = tuple(name for name, stays in zip(tables.names, known, strict=True) if stays)
    return replace(
        tables, numbers=tables.numbers[kept], fractions=tables.fractions[kept], binary=tables.binary[known],
        targets=tables.targets[kept][:, known], names=names, held_out=tables.held_out[kept],
    )  # fmt: skip


def trial(tables: Tables, weights: ObjectiveWeights, seed: int) -> tuple[CompositionBackbone, Row]:
    """Return an encoder, the losses of the objectives on held-out chemical systems, and the minutes of processor."""
    settings, part = PretrainSettings(), halved(tables)
    backbone = CompositionBackbone.scratch(seed, property_names=part.names, **settings.encoder.model_dump())
    module = PretrainModule.seeded(backbone.module, seed)
    once = settings.fit.model_copy(update={"epochs": 1, "max_minutes": None, "processes": 1, "ema": 0.99})
    began = time.process_time()
    groups = [ParamGroup("all", dict(named_parameters(module)))]
    objective = PretrainObjective(module, part, weights, settings.views)
    result = fit(objective, module, groups, once, Execution(seed=seed))
    backbone.module.eval()
    losses = {name: result.history[-1][f"validation_{name}"] for name in ("properties", "masked", "contrast")}
    return backbone, {"steps": result.steps, "cpu_minutes": (time.process_time() - began) / 60, "validation": losses}


def judged(backbone: CompositionBackbone, tables: Tables) -> dict[str, list[float]]:
    """Return by property the error of each draw, as a part of that of the median."""
    held = np.flatnonzero(tables.held_out)
    plain = [name.replace("asinh ", "") for name in tables.names]
    found = {}
    for name in JUDGED:
        rows = held[np.isfinite(tables.targets[held, plain.index(name)])]
        formulas = [formula_of(tables, int(row)) for row in rows]
        embedding, properties = (x.astype(float) for x in backbone.embed_with_properties(formulas))
        blocks = (properties, np.concatenate([embedding, properties], 1))
        y = tables.targets[rows, plain.index(name)].astype(float)
        systems = np.array([formula.chemical_system for formula in formulas])
        found[name] = [round(error(blocks, y, systems, draw), 4) for draw in range(DRAWS)]
    return found


def error(blocks: Sequence[np.ndarray], y: np.ndarray, systems: np.ndarray, draw: int) -> float:
    """Return the mean absolute error from `LABELS` labels, or half of them all, as a part of that of their median."""
    drawn = np.random.default_rng(draw).permutation(np.unique(systems))
    order = np.argsort(np.argsort(drawn)[np.searchsorted(np.unique(systems), systems)], kind="stable")
    n = min(LABELS, len(order) // 2)
    train, test = order[:n], order[n:][:MOST]
    labels = Labels(y[train], np.ones(n))
    predicted = np.mean([Process(x[train], labels, 0)(x[test])[:, MEDIAN] for x in blocks], 0)
    return float(np.abs(predicted - y[test]).mean() / np.abs(np.median(y[train]) - y[test]).mean())


def formula_of(tables: Tables, row: int) -> Formula:
    """Return the formula of a row."""
    present = tables.numbers[row] > 0
    return Formula(tuple(map(int, tables.numbers[row][present])), tuple(map(float, tables.fractions[row][present])))


def main() -> None:
    """Try what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=float, nargs=3, action="append", help="of properties, masked atoms, contrast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=FORMULAS)
    parser.add_argument("--out", type=Path, default=RESULTS / "objective_weights.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("weights", "seed"))
    wanted = [list(one) for one in chosen.weights or TRIALS]
    missing = [one for one in wanted if results.find(weights=one, seed=chosen.seed) is None]
    if missing and not chosen.report:
        prepare()
        files = chosen.data / "corpus.txt.gz", chosen.data / "dft_properties.csv.gz"
        tables = read_tables(*files, exclude="in_matbench_task", validation=0.1)
        for one in missing:
            weights = ObjectiveWeights(properties=one[0], masked=one[1], contrast=one[2])
            backbone, row = trial(tables, weights, chosen.seed)
            errors = judged(backbone, tables)
            row |= {"errors": errors, "mean": float(np.mean(list(errors.values())))}
            results.put({"weights": one, "seed": chosen.seed} | row | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print the table."""
    lines = [
        [" / ".join(f"{one:g}" for one in row["weights"]), number(row["cpu_minutes"], 1),
         *(number(value, 3) for value in row["validation"].values()),
         *(number(float(np.mean(row["errors"][name])), 3) for name in JUDGED), number(row["mean"], 3)]
        for row in rows
    ]  # fmt: skip
    losses = ("loss of properties", "of masked atoms", "of contrast")
    show("objective weights", ("weights", "minutes", *losses, *JUDGED, "mean"), lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)

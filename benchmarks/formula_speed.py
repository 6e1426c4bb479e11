"""Formulas a second: the encoder's features, and whole predictions with intervals of a tuned predictor.

    python benchmarks/formula_speed.py                   # 20,000 formulas of the corpus
    python benchmarks/formula_speed.py --report

The predictor is ``auto`` on a thousand measured gaps. Each figure is the best of some rounds on as many threads as
torch takes by itself; the first prediction, which fits trees on the stored data, is not counted.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, Results, circumstances, number, run, show
from formula_folds import FORMULAS, read

from matgraft.formulas.descriptors import magpie
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula, parse_formula
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.formula_table import FormulaTable
from matgraft.formulas.valence import valence

LABELS = 1000


def corpus(count: int, folder: Path) -> list[str]:
    """Return formulas spread over the corpus."""
    with gzip.open(folder / "corpus.txt.gz", "rt", encoding="utf-8") as file:
        every = file.read().split()
    return [every[i] for i in np.linspace(0, len(every) - 1, count).astype(int)]


def steps(texts: list[str], table: FormulaTable, backbone: CompositionBackbone) -> dict[str, Callable[[], Any]]:
    """Return what is timed, by name."""
    formulas: list[Formula] = [parse_formula(text) for text in texts]
    rows = np.random.default_rng(0).permutation(len(table.formulas))[:LABELS]
    predictor = fit_predictor(table.examples().take(rows), backbone)
    predictor.predict(formulas[:2])
    return {
        "reading": lambda: [parse_formula(text) for text in texts],
        "features of the encoders": lambda: backbone.embed_with_properties(formulas),
        "Magpie-type descriptors": lambda: magpie(formulas),
        "bonding descriptors": lambda: valence(formulas),
        "predictions with intervals": lambda: predictor.predict(formulas),
    }


def best(step: Callable[[], Any], rounds: int) -> float:
    """Return the seconds of the fastest round."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    """Time what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formulas", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=FORMULAS)
    parser.add_argument("--out", type=Path, default=RESULTS / "formula_speed.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("step", "formulas"))
    if not chosen.report:
        timed = steps(corpus(chosen.formulas, chosen.data), read("gaps", chosen.data), load_encoder("composition"))
        for name, step in timed.items():
            rate = chosen.formulas / best(step, chosen.rounds)
            row = {"step": name, "formulas": chosen.formulas, "per_second": round(rate), "rounds": chosen.rounds}
            results.put(row | {"threads": torch.get_num_threads()} | circumstances())
    lines = [[row["step"], number(row["per_second"], 0), str(row["threads"])] for row in results.rows]
    show("formulas a second", ("step", "formulas a second", "threads"), lines, as_markdown=chosen.report)


if __name__ == "__main__":
    run(main)

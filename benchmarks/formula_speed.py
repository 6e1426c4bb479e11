"""Formulas a second: the encoder's features, and whole predictions with intervals of a tuned predictor.

    python benchmarks/formula_speed.py                   # 20,000 formulas of the corpus
    python benchmarks/formula_speed.py --run runs/demo   # one typed formula by the command, with its imports
    python benchmarks/formula_speed.py --report

The predictor is ``auto`` on a thousand measured gaps. Each figure is the best of some rounds on as many threads as
torch takes by itself; the first prediction, which fits trees on the stored data, is not counted. Of ``--run`` it is the
CPU time (user and system) of a new process, beside that of importing PyTorch alone, which is most of it.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, Results, Row, circumstances, number, run, show
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
    formulas: list[Formula] = [parse_formula(text, is_spelled=True) for text in texts]
    rows = np.random.default_rng(0).permutation(len(table.formulas))[:LABELS]
    predictor = fit_predictor(table.examples().take(rows), backbone)
    predictor.predict(formulas[:2])
    return {
        "reading": lambda: [parse_formula(text, is_spelled=True) for text in texts],
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


def cpu_seconds(words: list[str], rounds: int) -> float:
    """Return the least CPU seconds of a process over some rounds."""
    seconds = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def time_typed(folder: Path, rounds: int, results: Results) -> None:
    """Time one typed formula."""
    processes = {
        "one typed formula, by the command": ["-m", "matgraft", "predict", str(folder), "Fe2O3"],
        "of that, the import of PyTorch": ["-c", "import torch"],
    }
    for name, words in processes.items():
        taken = cpu_seconds(words, rounds)
        row = {"step": name, "formulas": 1, "per_second": round(1 / taken, 3), "cpu_seconds": round(taken, 2)}
        results.put(row | {"rounds": rounds, "threads": torch.get_num_threads()} | circumstances())


def _line(row: Row) -> list[str]:
    seconds = number(row["cpu_seconds"], 1) if "cpu_seconds" in row else ""
    return [row["step"], number(row["per_second"], 0 if row["formulas"] > 1 else 2), str(row["threads"]), seconds]


def main() -> None:
    """Time what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formulas", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=FORMULAS)
    parser.add_argument("--out", type=Path, default=RESULTS / "formula_speed.json")
    parser.add_argument("--run", type=Path, help="a run on a table: time one typed formula alone")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("step", "formulas"))
    if chosen.run is not None:
        time_typed(chosen.run, chosen.rounds, results)
    elif not chosen.report:
        timed = steps(corpus(chosen.formulas, chosen.data), read("gaps", chosen.data), load_encoder("composition"))
        for name, step in timed.items():
            rate = chosen.formulas / best(step, chosen.rounds)
            row = {"step": name, "formulas": chosen.formulas, "per_second": round(rate), "rounds": chosen.rounds}
            results.put(row | {"threads": torch.get_num_threads()} | circumstances())
    lines = [_line(row) for row in results.rows]
    heads = ("step", "formulas a second", "threads", "CPU seconds of the process")
    show("formulas a second", heads, lines, as_markdown=chosen.report)


if __name__ == "__main__":
    run(main)

"""`matgraft suggest` replayed on tables whose values are known, beside random choice.

    python benchmarks/suggest.py                  # about 20 minutes on one core
    python benchmarks/suggest.py --strategy auto  # some hours
    python benchmarks/suggest.py --report

Of each draw a part of the formulas judges and is never measured. Of the others 20 are drawn; then batches of 10 are
measured until 100 are known, chosen by `suggest` with its default share for information, or at random. The highest
value is sought. Rows of one formula are one, with their mean.

The predictor is fitted anew before each batch: by strategy `feature` (Gaussian processes on the frozen encoder), with
three inner folds where a user has five. It is the code that `suggest` runs on a user's folder; the cheapest of its
strategies stands for `auto`, which takes the same processes and trees beside them.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from common import RESULTS, Results, Row, circumstances, prepare, run, show
from formula_folds import FORMULAS

from matgraft.core.statistics import mean_difference
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners import forest
from matgraft.formulas.learners.inputs import Array, Examples, Inputs, Rows
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.report.suggested import Goal
from matgraft.formulas.suggest.propose import SHARE, propose
from matgraft.formulas.table.reading import read_table

TABLES = {"gaps": ("matbench_expt_gap.csv", "eV"), "steels": ("matbench_steels.csv", "MPa")}
FIRST, BATCH, AT = 20, 10, (20, 50, 100)
JUDGING, POOL = 300, 1000
"""Most formulas that judge, and most that may be measured."""
OF_BASELINE = 10
"""Trees of strategy feature: they are the baseline that a fit is compared with, and predict nothing here."""
POLICIES = ("suggest", "random", "suggest without information", "explore")
SHARES = {"suggest": SHARE, "suggest without information": 0.0, "explore": 1.0}


@dataclass(frozen=True, eq=False)
class Known:
    """Formulas of a table, one each, with features and values."""

    formulas: tuple[Formula, ...]
    values: Array
    inputs: Inputs

    def examples(self, rows: Rows) -> Examples:
        return Examples([self.formulas[i] for i in rows], self.values[rows])


@cache
def known(name: str) -> Known:
    """Return a table."""
    table = read_table(FORMULAS / TABLES[name][0], "target")
    rows: dict[str, list[int]] = {}
    for i, key in enumerate(table.keys):
        rows.setdefault(key, []).append(i)
    formulas = tuple(table.formulas[own[0]] for own in rows.values())
    values = np.array([table.values[own].mean() for own in rows.values()])
    return Known(formulas, values, Inputs.of(formulas, load_encoder("composition")))


def replay(name: str, policy: str, draw: int, strategy: str) -> Row:
    """Return what was found and how well the rest is predicted, by the number of measurements."""
    began, data = time.monotonic(), known(name)
    rng = np.random.default_rng(draw)
    order = rng.permutation(len(data.values))
    judging = order[: min(JUDGING, len(order) // 5)]
    pool = order[len(judging) : len(judging) + POOL]
    measured, steps = pool[:FIRST], []
    by_chance = pool[FIRST:]
    for n in range(FIRST, AT[-1] + 1, BATCH):
        predictor = fitted(data, measured, strategy, draw) if policy != "random" or n in AT else None
        if n in AT and predictor:
            steps.append({"n": n, **scored(data, predictor, measured, pool, judging)})
        left = np.setdiff1d(pool, measured, assume_unique=True)
        if policy == "random":
            chosen = by_chance[n - FIRST : n - FIRST + BATCH]
        elif predictor and n < AT[-1]:
            goal = Goal(kind="explore" if policy == "explore" else "maximise")
            share = SHARES[policy]
            picks = propose(predictor, data.inputs.take(left), goal, BATCH, share=share, seed=draw).picks
            chosen = left[[pick.index for pick in picks]]
        measured = np.concatenate([measured, chosen])
    return {"pool": len(pool), "judging": len(judging), "highest": float(data.values[pool].max()), "steps": steps,
            "minutes": round((time.monotonic() - began) / 60, 2)}  # fmt: skip


def fitted(data: Known, rows: Rows, strategy: str, seed: int) -> Predictor:
    """Return a predictor of these rows."""
    settings = PredictorSettings(strategy=strategy, inner_folds=3, seed=seed)
    return fit_predictor(data.examples(rows), load_encoder("composition"), settings)


def scored(data: Known, predictor: Predictor, measured: Rows, pool: Rows, judging: Rows) -> Row:
    """Return the best value, the part of the ten highest of the pool that is measured, and the error on the others."""
    ten = pool[np.argsort(-data.values[pool])[:10]]
    predicted = predictor.predict_inputs(data.inputs.take(judging)).value
    return {
        "best": float(data.values[measured].max()),
        "top_ten": int(np.isin(ten, measured).sum()),
        "mae": float(np.abs(predicted - data.values[judging]).mean()),
    }


def main() -> None:
    """Replay what is missing, draw by draw, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--strategy", default="feature")
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--policy", choices=POLICIES, action="append", help="by default suggest and random")
    parser.add_argument("--out", type=Path, default=RESULTS / "suggest.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("table", "policy", "draw", "strategy", "weights_sha256"))
    if not chosen.report:
        prepare()
        weights = load_encoder("composition").card.weights_sha256[:12]
        policies = chosen.policy or POLICIES[:2]
        if chosen.strategy == "feature":
            forest.COUNT = OF_BASELINE
        for draw, name, policy in product(range(chosen.draws), chosen.table or TABLES, policies):
            key = {"table": name, "policy": policy, "draw": draw, "strategy": chosen.strategy,
                   "weights_sha256": weights}  # fmt: skip
            if results.find(**key) is None:
                results.put(key | replay(name, policy, draw, chosen.strategy) | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print each policy beside random choice on the same draws."""
    for name, (_, unit) in TABLES.items():
        for strategy, policy in product(dict.fromkeys(row["strategy"] for row in rows), POLICIES[:1] + POLICIES[2:]):
            own, chance = (
                {row["draw"]: row for row in rows
                 if (row["table"], row["strategy"], row["policy"]) == (name, strategy, one)}
                for one in (policy, "random")
            )  # fmt: skip
            draws = sorted(own.keys() & chance.keys())
            ours, theirs = ([each[draw] for draw in draws] for each in (own, chance))
            lines = [line for at in range(len(AT)) for line in compared(ours, theirs, at, unit)] if draws else []
            pool = f"; {own[draws[0]]['pool']} formulas to choose from, {len(draws)} draws" if draws else ""
            show(
                f"{name}: {policy} beside random choice, strategy {strategy}{pool}",
                ("", "measured", policy, "random", "difference", "95 % interval", "says"),
                lines,
                as_markdown=as_markdown,
            )


def compared(ours: list[Row], theirs: list[Row], at: int, unit: str) -> list[list[str]]:
    """Return a line a figure: means over the draws, and their paired difference."""
    words = {"best": (f"highest value, {unit}", 1), "top_ten": ("found of the ten highest", 1),
             "mae": (f"error on the formulas left out, {unit}", -1)}  # fmt: skip
    lines = []
    for key, (title, better) in words.items():
        a, b = (np.array([row["steps"][at][key] for row in rows], float) for rows in (ours, theirs))
        found = mean_difference(a, b, np.ones(len(a)), np.arange(len(a)))
        ends, says = "", ""
        if found.interval and at:
            ends = f"{found.interval[0]:+.3g} to {found.interval[1]:+.3g}"
            clear = found.interval[0] > 0 or found.interval[1] < 0
            says = ("better" if found.value * better > 0 else "worse") if clear else "undecided"
        difference = f"{found.value:+.3g}" if at else "the same rows"
        lines.append([title, str(AT[at]), f"{a.mean():.4g}", f"{b.mean():.4g}", difference, ends, says])
    return lines


if __name__ == "__main__":
    run(main)

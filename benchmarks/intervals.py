"""Do 95 % intervals err in 5 % of cases? Two models that are equally good, over groups of frames.

    python benchmarks/intervals.py                   # about a minute on one core
    python benchmarks/intervals.py --report

Counted is how often one of the two is called better, by `matgraft.statistics` and, beside it, by the bootstrap over
groups that was there before (expanded percentile interval, Hesterberg 2015). The ways to plant them:

* favour: each group favours one model or the other (log-normal, 0.3);
* anew: hard and easy groups (log-normal, 1), both models err anew;
* tails: the same, errors by Student's t of 3 degrees of freedom.

Groups have 6 frames each (equal), numbers of frames spread log-normally (1: unequal), or one is as large as all others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import RESULTS, Results, circumstances, number, run, show
from numpy.typing import NDArray
from scipy import stats

from matgraft.statistics import estimate

Array = NDArray[np.float64]
GROUPS = (5, 8, 20, 60)
RESAMPLES = 1000


def equal(groups: int, rng: np.random.Generator) -> Array:
    return np.full(groups, 6)


def unequal(groups: int, rng: np.random.Generator) -> Array:
    return np.maximum(1, np.round(6 * np.exp(rng.normal(size=groups)))).astype(int)


def giant(groups: int, rng: np.random.Generator) -> Array:
    return np.array([6 * (groups - 1), *[6] * (groups - 1)])


def favour(frames: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    factor, base = np.exp(rng.normal(0, 0.3, len(frames))), rng.chisquare(6 * frames)
    return base * factor, base / factor


def anew(frames: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    scale = np.exp(rng.normal(0, 1, len(frames)))
    return scale * rng.chisquare(3 * frames), scale * rng.chisquare(3 * frames)


def tails(frames: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    scale = np.exp(rng.normal(0, 1, len(frames)))
    ours, theirs = ([np.square(rng.standard_t(3, 3 * n)).sum() for n in frames] for _ in range(2))
    return scale * np.array(ours), scale * np.array(theirs)


def log_ratio(sums: Array) -> Array:
    return np.asarray(np.log(sums[..., 0] / sums[..., 1]) / 2)


def jackknife(ours: Array, theirs: Array, rng: np.random.Generator) -> bool:
    found = estimate(log_ratio, np.stack([ours, theirs], 1), ours / ours.sum() + theirs / theirs.sum()).interval
    assert found is not None
    return found[0] > 0 or found[1] < 0


def bootstrap(ours: Array, theirs: Array, rng: np.random.Generator) -> bool:
    n = len(ours)
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    times = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    low, high = np.quantile(log_ratio(times @ np.stack([ours, theirs], 1)), [tail, 1 - tail])
    return bool(low > 0 or high < 0)


CASES = (favour, anew, tails)
SIZES = (equal, unequal, giant)
METHODS: tuple[Callable[[Array, Array, np.random.Generator], bool], ...] = (jackknife, bootstrap)


def main() -> None:
    """Count what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=RESULTS / "intervals.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("case", "sizes", "groups", "draws"))
    cells = [(case, sized, groups) for case in CASES for sized in SIZES for groups in GROUPS]
    for case, sized, groups in [] if chosen.report else cells:
        key = {"case": case.__name__, "sizes": sized.__name__, "groups": groups, "draws": chosen.draws}
        if results.find(**key) is None:
            rng = np.random.default_rng(groups)
            drawn = [case(sized(groups, rng), rng) for _ in range(chosen.draws)]
            decided = {m.__name__: sum(m(*pair, rng) for pair in drawn) / chosen.draws for m in METHODS}
            results.put(key | decided | circumstances())
    lines = []
    for case in CASES:
        for sized in SIZES:
            own = [row for row in results.rows if (row["case"], row["sizes"]) == (case.__name__, sized.__name__)]
            figures = [f"{number(row['jackknife'], 3)} ({number(row['bootstrap'], 3)})" for row in own]
            lines.append([f"{case.__name__}, {sized.__name__}", *figures])
    show("decided though equal", ("", *(f"{n} groups" for n in GROUPS)), lines, as_markdown=chosen.report)


if __name__ == "__main__":
    run(main)

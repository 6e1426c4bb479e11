"""Do 95 % intervals err in 5 % of cases? Two models that are equally good, over groups of frames.

    python benchmarks/intervals.py                   # half a minute on one core
    python benchmarks/intervals.py --report

Counted is how often `matgraft.statistics` calls one of the two better. The ways to plant them:

* favour: each group favours one model or the other (log-normal, 0.3);
* anew: hard and easy groups (log-normal, 1), both models err anew;
* tails: the same, errors by Student's t of 3 degrees of freedom.

Groups have 6 frames each (equal), numbers of frames spread log-normally (1: unequal), or one is as large as all others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import RESULTS, Results, circumstances, number, run, show
from numpy.typing import NDArray

from matgraft.statistics import estimate

Array = NDArray[np.float64]
GROUPS = (5, 8, 20, 60)


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


def decides(ours: Array, theirs: Array) -> bool:
    found = estimate(log_ratio, np.stack([ours, theirs], 1), ours / ours.sum() + theirs / theirs.sum()).interval
    assert found is not None
    return found[0] > 0 or found[1] < 0


CASES = (favour, anew, tails)
SIZES = (equal, unequal, giant)


def main() -> None:
    """Count what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS / "intervals.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("case", "sizes", "groups", "draws"))
    cells = [(case, sized, groups) for case in CASES for sized in SIZES for groups in GROUPS]
    for case, sized, groups in [] if chosen.report else cells:
        key = {"case": case.__name__, "sizes": sized.__name__, "groups": groups, "draws": chosen.draws}
        if results.find(**key) is None:
            rng = np.random.default_rng(groups)
            decided = sum(decides(*case(sized(groups, rng), rng)) for _ in range(chosen.draws))
            results.put(key | {"decided": decided / chosen.draws} | circumstances())
    lines = []
    for case in CASES:
        for sized in SIZES:
            own = [row for row in results.rows if (row["case"], row["sizes"]) == (case.__name__, sized.__name__)]
            lines.append([f"{case.__name__}, {sized.__name__}", *(number(row["decided"], 3) for row in own)])
    show("decided though equal", ("", *(f"{n} groups" for n in GROUPS)), lines, as_markdown=chosen.report)


if __name__ == "__main__":
    run(main)

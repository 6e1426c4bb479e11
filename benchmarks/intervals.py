"""Do 95 % intervals err in 5 % of cases? Two models that are equally good, over groups of frames.

    python benchmarks/intervals.py                   # two minutes on one core
    python benchmarks/intervals.py --report

Counted is how often `matgraft.core.statistics` calls one of the two better, and how often it finds the first one better
once its errors are halved. The ways to plant them:

* favour: each group favours one model or the other (log-normal, 0.3);
* anew: hard and easy groups (log-normal, 1), both models err anew;
* tails: the same, errors by Student's t of 3 degrees of freedom;
* outliers: 3 % of frames are 30 times as wrong, of each model its own;
* rare: the first model errs alike everywhere; a group is one of the second model's bad ones with a chance of one in
  five, and these carry 84 % of its squared error in the mean.

Groups have 6 frames each (equal), numbers of frames spread log-normally (1: unequal), or one is as large as all others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import RESULTS, Results, circumstances, number, run, show
from numpy.typing import NDArray

from matgraft.core.statistics import estimate

Array = NDArray[np.float64]
Case = Callable[[Array, np.random.Generator], tuple[Array, Array]]
Sized = Callable[[int, np.random.Generator], Array]
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


def outliers(frames: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    group = np.repeat(np.arange(len(frames)), frames)
    errors = rng.normal(size=(2, len(group))) * np.where(rng.random((2, len(group))) < 0.03, 30, 1)
    ours, theirs = (np.bincount(group, each**2, len(frames)) for each in errors)
    return ours, theirs


def rare(frames: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    bad = rng.random(len(frames)) < 0.2
    return rng.chisquare(frames), rng.chisquare(frames) * np.where(bad, 4.2, 0.2)


def log_ratio(sums: Array) -> Array:
    """Terms (..., 2) from sums (..., 3): frames, and the squared errors of both models."""
    return np.asarray(np.log(sums[..., 1:] / sums[..., :1]) / 2 * [1, -1])


def better(frames: Array, ours: Array, theirs: Array) -> int:
    """Return 1 if the first model is called better, -1 if the second one is, else 0."""
    totals = np.stack([frames, ours, theirs], 1)
    found = estimate(log_ratio, totals, totals[:, 1:]).interval
    assert found is not None
    return int(found[1] < 0) - int(found[0] > 0)


def count(case: Case, sized: Sized, groups: int, draws: int) -> dict[str, float]:
    """Return the parts of the draws that are decided, and found where the first model has half the error."""
    rng, decided, found = np.random.default_rng(groups), 0, 0
    for _ in range(draws):
        frames = sized(groups, rng)
        ours, theirs = case(frames, rng)
        decided += better(frames, ours, theirs) != 0
        found += better(frames, ours / 4, theirs) == 1
    return {"decided": decided / draws, "found": found / draws}


CASES = (favour, anew, tails, outliers, rare)
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
            results.put(key | count(case, sized, groups, chosen.draws) | circumstances())
    for title, counted in (("decided though equal", "decided"), ("found with half the error", "found")):
        lines = []
        for case in CASES:
            for sized in SIZES:
                own = [row for row in results.rows if (row["case"], row["sizes"]) == (case.__name__, sized.__name__)]
                lines.append([f"{case.__name__}, {sized.__name__}", *(number(row[counted], 3) for row in own)])
        show(title, ("", *(f"{n} groups" for n in GROUPS)), lines, as_markdown=chosen.report)


if __name__ == "__main__":
    run(main)

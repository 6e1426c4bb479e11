"""Looks that need no network, on 10,000 frames: CPU seconds of each.

    python benchmarks/first_looks.py
    python benchmarks/first_looks.py --frames 1000       # to try it
    python benchmarks/first_looks.py --report

The frames are those of four sets that people have, each displaced at random by 0.05 Å as often as it takes: cells of 8
atoms, the published Si frames of some 60, molecules in a box, crystals of 93 compositions. Sets that are not there are
left out. Reading the frames is another figure (`reading_speed.py`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import DATA, HERE, RESULTS, Results, Row, circumstances, prepare, run, show

from matgraft import read
from matgraft.potentials.audit.audit import FIRST
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample

FRAMES = 10_000
MOVED_A = 0.05
REAL = DATA.parent / "real" / "frames"
SETS = {
    "SiGe, 8 atoms": HERE.parent / "examples" / "data" / "sige" / "frames.extxyz",
    "Si, 1 to 64 atoms": DATA / "Si_train.extxyz",
    "acetylacetone": REAL / "acac_300K_train.extxyz",
    "hot and compressed": REAL / "hot_and_compressed.extxyz",
}


def displaced(dataset: Dataset, n: int) -> Dataset:
    """Return n frames, again and again those of a dataset, their atoms displaced at random."""
    rng = np.random.default_rng(0)

    def moved(k: int) -> Sample:
        sample = dataset[k % len(dataset)]
        atoms = sample.content.copy()
        atoms.positions += rng.normal(0, MOVED_A, atoms.positions.shape)
        return replace(sample, content=atoms, index=k)

    return replace(dataset, samples=Dataset([moved(k) for k in range(n)]).samples)


def timed(dataset: Dataset) -> dict[str, float]:
    """Return the CPU seconds of each look; what several looks share counts for the first."""
    evidence = Evidence(dataset)
    seconds = {}
    for look in FIRST:
        began = time.process_time()
        list(look(evidence))
        seconds[look.__name__] = round(time.process_time() - began, 2)
    return seconds


def main() -> None:
    """Time the looks on each set, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--out", type=Path, default=RESULTS / "first_looks.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("set", "frames"))
    if not chosen.report:
        prepare()
        for name, file in SETS.items():
            if file.is_file():
                here = circumstances()
                dataset = displaced(read(file), chosen.frames)
                atoms = sum(sample.n_atoms for sample in dataset)
                row = {"set": name, "frames": chosen.frames, "atoms": atoms, "seconds": timed(dataset)}
                results.put(row | here)
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print the seconds of the looks that take one second or more, and of all."""
    names = [look.__name__ for look in FIRST if any(row["seconds"].get(look.__name__, 0) >= 1 for row in rows)]
    header = ("set", "frames", "atoms", *names, "all looks, s", "load")
    lines = [
        [row["set"], f"{row['frames']:,}", f"{row['atoms']:,}",
         *(f"{row['seconds'].get(name, 0):.1f}" for name in names),
         f"{sum(row['seconds'].values()):.1f}", f"{row['machine']['load']:.0f}"]
        for row in rows
    ]  # fmt: skip
    show("Looks without a network", header, lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)

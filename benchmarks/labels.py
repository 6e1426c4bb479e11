"""A thousand tblite labels: throughput beside a bare ASE loop on the same cores, and the overhead a label.

    python benchmarks/labels.py                       # 200 labels, three rounds
    python benchmarks/labels.py --count 1000          # the whole
    python benchmarks/labels.py --report

Frames are small molecules and two-atom crystals, distorted. The bare loop holds one calculator in one process, and with
two workers half of the frames in each of two; `label` has workers of its own, checks each label, and commits it to the
store. Overhead is the difference of both over the number of labels, times the workers: the beginning of processes is in
it, and shown apart. Rounds alternate, each in a fresh process, and the shortest of each counts.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from common import RESULTS, Results, Row, apart, circumstances, number, prepare, run, show

METHOD = "GFN1-xTB"
MOLECULES = ("H2O", "CH4", "NH3", "CO2", "CH3OH", "C2H6", "C2H4", "H2CO")
KEYS = ("method", "workers", "count")


def frames(count: int, seed: int = 0) -> list[Atoms]:
    """Return distorted molecules, every fifth frame a crystal of silicon."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        atoms = bulk("Si", "diamond", a=5.43) if i % 5 == 4 else molecule(MOLECULES[i % len(MOLECULES)])
        atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)
        found.append(atoms)
    return found


def processor_s() -> float:
    """Return the processor seconds of this process and of those that it has seen end."""
    own, ended = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def bare(count: int, workers: int) -> tuple[float, float, float]:
    """Return the sum of all energies (eV), and the seconds and processor seconds of plain ASE loops, one a worker."""
    parts = [frames(count)[i::workers] for i in range(workers)]
    began, used = time.perf_counter(), processor_s()
    if workers == 1:
        energies = [_loop(parts[0])]
    else:
        with get_context("fork").Pool(workers) as pool:
            energies = pool.map(_loop, parts)
            pool.close()
            pool.join()
    return sum(energies), time.perf_counter() - began, processor_s() - used


def _loop(atoms: list[Atoms]) -> float:
    from tblite.ase import TBLite

    calculator, total = TBLite(method=METHOD, verbosity=0), 0.0
    for one in atoms:
        one.calc = calculator
        total += one.get_potential_energy() + 0 * float(one.get_forces().sum())
        if one.pbc.all():
            one.get_stress()
    return total


def labelled(count: int, workers: int) -> tuple[float, ...]:
    """Return the sum of all energies (eV); the seconds of a first label alone, of all labels, and from the store.

    The last one are the processor seconds of all labels.
    """
    from matgraft import label
    from matgraft.potentials.active.labelling.engine import Engine
    from matgraft.potentials.active.labelling.store import LabelStore

    engine = Engine(calculator="tblite", parameters={"method": METHOD}, workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        times, used = [], []
        for given, store in ((frames(1, seed=1), "one"), (frames(count), "all"), (frames(count), "all")):
            began, before = time.perf_counter(), processor_s()
            found = label(given, engine, store=Path(folder, store), quiet=True)
            times.append(time.perf_counter() - began)
            used.append(processor_s() - before)
            assert found.exit_code == 0, found.failures
        with LabelStore(Path(folder, "all")) as kept:
            total = sum(float(kept.label(key).arrays["energy"]) for key in kept.all_keys())
    return total, *times, used[1]


def measure(count: int, workers: int, rounds: int) -> Row:
    """Return what one number of labels and workers comes to."""
    loops, labels = [], []
    for _ in range(rounds):
        loops.append(apart(bare, count, workers))
        labels.append(apart(labelled, count, workers))
    assert abs(loops[0][0] - labels[0][0]) < 1e-4 * count, "both compute the same"
    loop, loop_used = (min(row[i] for row in loops) for i in (1, 2))
    start, whole, again, used = (min(row[i] for row in labels) for i in (1, 2, 3, 4))
    return {
        "method": METHOD,
        "workers": workers,
        "count": count,
        "rounds": rounds,
        "bare_s": loop,
        "label_s": whole,
        "first_label_s": start,
        "from_store_s": again,
        "labels_per_s": count / whole,
        "bare_per_s": count / loop,
        "overhead_ms": 1000 * workers * (whole - loop) / count,
        "overhead_without_start_ms": 1000 * workers * (whole - start - loop) / count,
        # Parsl's workers end unseen by this process.
        "overhead_processor_ms": 1000 * (used - loop_used) / count if workers == 1 else None,
        "tblite": version("tblite"),
    }


def report(results: Results, *, as_markdown: bool) -> None:
    """Print what is there."""
    head = (
        "workers",
        "labels",
        "bare loop, 1/s",
        "label, 1/s",
        "first label, s",
        "overhead, ms",
        "without start, ms",
        "processor, ms",
        "load",
    )
    lines = [
        [
            str(row["workers"]),
            str(row["count"]),
            number(row["bare_per_s"], 0),
            number(row["labels_per_s"], 0),
            number(row["first_label_s"], 1),
            number(row["overhead_ms"], 1),
            number(row["overhead_without_start_ms"], 1),
            number(row["overhead_processor_ms"], 1),
            number(row["machine"]["load"], 1),
        ]
        for row in results.rows
    ]
    show(f"Labels by tblite ({METHOD})", head, lines, as_markdown=as_markdown)


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "labels.json")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    results = Results(options.out, KEYS)
    if not options.report:
        os.environ["OMP_NUM_THREADS"] = "1"
        prepare()
        for workers in options.workers:
            results.put(measure(options.count, workers, options.rounds) | circumstances())
    report(results, as_markdown=options.report)


if __name__ == "__main__":
    run(main)

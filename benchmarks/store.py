"""More frames than fit into memory: what a store of them takes in memory and time, from packing to training.

    python benchmarks/store.py
    python benchmarks/store.py --frames 1000 10000     # without the 100,000
    python benchmarks/store.py --report                # the markdown tables of what is there

Frames are copies of a two-atom silicon cell, strained and rattled, in trajectories of a hundred, with the labels of a
harmonic crystal. Each number of frames has a process of its own, which goes through the steps of a run (packing, split,
audit and coverage beside predictions, graphs, a plan of batches, a few training steps of CHGNet) and reads its peak of
memory after each. The predictions are made up: those of CHGNet take minutes and no memory that grows otherwise. Times
are the process's own (CPU), which hold on a busy machine too.

Then training steps on eight-atom cells from a store and from memory, which take turns: the median of the ratio.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ase.build import bulk
from common import RESULTS, Results, Row, apart, circumstances, number, prepare, run, show

from matgraft import coverage, load, split
from matgraft.core.processes import keep_memory
from matgraft.core.provenance import Provenance
from matgraft.core.quantities import Array
from matgraft.core.training.batching import Budget, plan_batches
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store import open_store
from matgraft.potentials.data.store_writing import write_store
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective

FRAMES = (1000, 10_000, 100_000)
STEPS, BATCH, TRAJECTORY = 10, 4, 100
STAGES = ("pack", "split", "audit", "graphs", "plan", "steps")
"""In this order: the peak of memory after each stands above that of those before."""
HEADER = ("frames", "MiB on disk", *(f"{stage} s" for stage in STAGES), "MiB at first", "MiB at most", "B a frame more")


def main() -> None:
    """Measure what was asked for and print the tables."""
    options = parse()
    results = Results(options.out, ("what", "frames"))
    if not options.report:
        prepare()
        for count in options.frames:
            found = apart(walk_through, count, count <= options.audit_up_to)
            results.put({"what": "run", "frames": count} | found | circumstances())
        compared = apart(compare_steps, options.rounds)
        results.put({"what": "step", "frames": BATCH, "rounds": options.rounds} | compared | circumstances())
    show("One process", HEADER, table(select(results, "run")), as_markdown=options.report)
    steps = [[number(row[key], 3) for key in ("stored_s", "memory_s", "ratio")] for row in select(results, "step")]
    show("One training step", ("store s", "memory s", "store / memory"), steps, as_markdown=options.report)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", nargs="+", type=int, default=list(FRAMES))
    parser.add_argument("--audit-up-to", type=int, default=10_000, help="frames; of more the audit is left out")
    parser.add_argument("--rounds", type=int, default=7, help="of training steps from a store and from memory")
    parser.add_argument("--out", type=Path, default=RESULTS / "store.json")
    parser.add_argument("--report", action="store_true", help="print the results as markdown; measure nothing")
    return parser.parse_args(arguments)


def copies(count: int, *, cubic: bool = False) -> Iterator[Sample]:
    """Make frames one by one: a strained and rattled cell, with the energy and the forces of springs to its sites."""
    rng = np.random.default_rng(0)
    crystal = bulk("Si", "diamond", a=5.43, cubic=cubic)
    for i in range(count):
        atoms = crystal.copy()
        strain = 0.02 * rng.standard_normal((3, 3))
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        moves = 0.1 * rng.standard_normal((len(atoms), 3))
        atoms.positions += moves - moves.mean(axis=0)
        labels = {
            "energy": np.array(-5.4 * len(atoms) + 2.5 * np.sum((moves - moves.mean(axis=0)) ** 2)),
            "forces": -5.0 * (moves - moves.mean(axis=0)),
            "stress": 0.6 * (strain + strain.T),
        }
        tags = {"file": "copies.extxyz", "frame": str(i), "trajectory": f"run {i // TRAJECTORY}", "config_type": "MD"}
        yield Sample(atoms, labels, tags, file="copies.extxyz", index=i)


# -------------------------------------------------------------- a whole run


def walk_through(count: int, audited: bool) -> Row:
    """Go through the steps of a run over so many frames; return the seconds and the peak of memory of each."""
    backbone = _foundation()
    encode_all(backbone, list(copies(BATCH)))  # whatever is loaded once has been loaded
    first = peak()
    seconds, peaks = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "copies.h5"
        steps = _steps(file, count, backbone, audited)
        for stage in STAGES if audited else [stage for stage in STAGES if stage != "audit"]:
            began = time.process_time()
            next(steps)
            seconds[stage], peaks[stage] = round(time.process_time() - began, 2), peak()
        disk = file.stat().st_size / 2**20
    return {
        "seconds": seconds,
        "peak_MiB": peaks,
        "first_MiB": first,
        "disk_MiB": round(disk, 1),
    }


def _steps(file: Path, count: int, backbone: Potential, audited: bool) -> Iterator[None]:
    yield _ignore(write_store(copies(count), file, Provenance))
    frames = open_store(file)
    parts = split(frames)
    train, validation = frames[parts.train], frames[parts.validation]
    yield
    if audited:
        yield _ignore(run_looks(frames, [_softened(sample) for sample in frames]), coverage(frames))
    graphs, held_out = (encode_all(backbone, part.samples) for part in (train, validation))
    yield
    batches = plan_batches(graphs, Budget(samples=BATCH, edges=10**6), seed=0)
    yield
    objective = FrameObjective(backbone, train, validation, LossSettings(), graphs, held_out)
    for batch in batches[:STEPS]:
        _step(objective, batch)
    yield


def _ignore(*_: object) -> None:
    """Take what a step returns and what nobody asks for further."""


def _softened(sample: Sample) -> Mapping[str, Array]:
    """Return predictions as a soft foundation would make them."""
    reference = -5.4 * sample.n_atoms
    soft = {name: 0.8 * label for name, label in sample.labels.items()}
    return soft | {"energy": reference + 0.8 * (sample.labels["energy"] - reference)}


# ------------------------------------------------------------- store, memory


def compare_steps(rounds: int) -> Row:
    """Time one training step on a batch picked at random, from a store and from memory by turns."""
    backbone = _foundation()
    objectives, times = {}, {"stored": [], "memory": []}
    with tempfile.TemporaryDirectory() as folder:
        write_store(copies(64, cubic=True), Path(folder) / "cells.h5", Provenance)
        stored = open_store(Path(folder) / "cells.h5")
        for name, frames in (("stored", stored), ("memory", Dataset(tuple(stored)))):
            graphs = encode_all(backbone, frames.samples)
            objectives[name] = FrameObjective(backbone, frames, frames, LossSettings(), graphs, graphs)
        batches = plan_batches(objectives["memory"].training, Budget(samples=BATCH), seed=0)
        for batch in batches[: rounds + 1]:
            for name, objective in objectives.items():
                began = time.process_time()
                _step(objective, batch)
                times[name].append(time.process_time() - began)
    stored_s, memory_s = (times[name][1:] for name in ("stored", "memory"))  # the first round warms up
    ratio = median(a / b for a, b in zip(stored_s, memory_s, strict=True))
    return {"stored_s": median(stored_s), "memory_s": median(memory_s), "ratio": ratio, "n_atoms": 8}


def _step(objective: FrameObjective, batch: list[int]) -> None:
    objective.losses(batch, torch.device("cpu")).mean().backward()
    objective.backbone.module.zero_grad(set_to_none=True)


def _foundation() -> Potential:
    torch.set_num_threads(1)
    keep_memory()
    backbone = load("chgnet")
    assert isinstance(backbone, Potential)
    return backbone


def peak() -> float:
    """Return the most memory in MiB that this process has had, as Linux counts it (VmHWM)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return round(int(status["VmHWM"].split()[0]) / 1024, 1)


# -------------------------------------------------------------------- tables


def select(results: Results, what: str) -> list[Row]:
    """Return the rows of one kind, the fewest frames first."""
    return sorted((row for row in results.rows if row["what"] == what), key=lambda row: row["frames"])


def table(rows: list[Row]) -> list[list[str]]:
    """Return the lines of the table of runs, the fewest frames first."""
    return [
        [
            f"{row['frames']:,}",
            number(row["disk_MiB"], 1),
            *(number(row["seconds"].get(stage), 1) for stage in STAGES),
            number(row["first_MiB"], 0),
            number(row["peak_MiB"][STAGES[-1]], 0),
            number(_growth(before, row), 0),
        ]
        for before, row in zip([None, *rows[:-1]], rows, strict=True)
    ]


def _growth(before: Row | None, row: Row) -> float | None:
    """Return the bytes of memory at most that each further frame took."""
    if before is None:
        return None
    more = row["peak_MiB"][STAGES[-1]] - before["peak_MiB"][STAGES[-1]]
    return more * 2**20 / (row["frames"] - before["frames"])


if __name__ == "__main__":
    run(main)

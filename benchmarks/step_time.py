"""One training step and one prediction: the vendor's forward against ours, time as a ratio in one run, and peak memory.

    python benchmarks/step_time.py --rounds 7          # chgnet
    python benchmarks/step_time.py --foundation matgl:../shared/models/TensorNet-MatPES-PBE-v2025.1-PES
    python benchmarks/step_time.py --report            # the markdown table of what is there

The foundation is written in its vendor's format and opened by the vendor's own code: both sides have the same weights.
A batch is two 63-atom Si frames, or two 54-atom Mo frames; a gradient is energy, forces and stress, the loss and its
derivative by every weight, and a step is that with the update of the weights: by each vendor's Adam, by our SOAP, whose
updates are averaged over as many as it looks at its bases once. One thread. Each side is measured with the memory
allocator as it comes and with `keep_memory`, which matgraft switches on for its fits.

Every case lives in a process of its own, all at once, and they take turns: round by round, each one does one pass while
the others wait. So a machine that slows down slows all alike, and what is reported, the median over the rounds of the
ratio within a round, holds where seconds do not.
"""

from __future__ import annotations

import argparse
import copy
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from _vendor_steps import VENDORS, Steps
from common import (
    DATA,
    ELEMENTS,
    RESULTS,
    Results,
    Row,
    circumstances,
    frames_of_size,
    number,
    prepare,
    run,
    show,
)

from matgraft import load, read
from matgraft.core.processes import keep_memory
from matgraft.core.quantities import Array
from matgraft.core.training.optimizer import make_optimizer
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import Full
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.tuning.defaults import fit_defaults
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective

CPU = torch.device("cpu")
STILL = 1e-30
"""A rate that moves nothing."""
N_ATOMS = {"Si": 63, "Mo": 54}
TURNS = ("prediction", "gradient", "update")
"""In this order: peaks of memory rise."""
TASKS = ("prediction", "gradient", "step")
"""What is reported; a step is a gradient and an update."""
UPDATES = 10
"""Over which one is averaged: SOAP looks at its bases in every tenth."""
HEADER = ("foundation", "", "vendor s", "ours s", "ours / vendor", "vendor MiB", "ours MiB")
PAIRS = {
    "as it comes": ("vendor", "ours"),
    "memory kept": ("vendor-kept", "ours-kept"),
    "as each trains": ("vendor", "ours-kept"),
}
"""What is compared -> case of the vendor, case of ours."""


class Case(NamedTuple):
    """Whose code, and whether freed memory is kept."""

    side: str
    kept: bool

    @property
    def name(self) -> str:
        """Name in the results."""
        return self.side + ("-kept" if self.kept else "")


CASES = tuple(Case(side, kept) for kept in (False, True) for side in ("vendor", "ours"))


def main() -> None:
    """Measure what was asked for and print the table."""
    options = parse()
    results = Results(options.out, ("foundation", "element", "frames"))
    if not options.report:
        prepare()
        for element in options.elements:
            dataset = frames_of_size(read(options.data / f"{element}_train.extxyz"), N_ATOMS[element], options.frames)
            facts = circumstances()
            found = measure(options.foundation, dataset, options.rounds)
            key = {"foundation": load(options.foundation).card.name, "element": element, "frames": options.frames}
            results.put(key | {"n_atoms": N_ATOMS[element]} | found | facts)
    show("One thread", HEADER, table(results.rows), as_markdown=options.report)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--elements", nargs="+", choices=ELEMENTS, default=list(ELEMENTS))
    parser.add_argument("--foundation", default="chgnet:0.3.0")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=2, help="in a batch")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS / "step_time.json")
    parser.add_argument("--report", action="store_true", help="print the results as markdown; measure nothing")
    return parser.parse_args(arguments)


# --------------------------------------------------------------------- sides


class Ours:
    """matgraft's adapter and objective, as its fit uses them, on one device."""

    def __init__(self, foundation: str | Potential, dataset: Dataset, device: torch.device = CPU) -> None:
        backbone = load(foundation) if isinstance(foundation, str) else copy.deepcopy(foundation)
        assert isinstance(backbone, Potential)
        backbone.module.to(device)
        self.dataset, self.backbone, self.device = dataset, backbone, device
        self.encoded = encode_all(backbone, dataset.samples)
        tuned = copy.deepcopy(backbone)
        settings = fit_defaults(Full(), len(dataset), FitSettings(rate=STILL))
        self.optimizer = make_optimizer(Full().prepare(tuned), settings)
        self.model = tuned.module
        self.objective = FrameObjective(tuned, dataset, dataset, LossSettings(), self.encoded, self.encoded)

    def predictions(self) -> list[dict[str, Array]]:
        """Predict as one batch: quantity -> array, for each frame."""
        return predict_samples(self.backbone, self.dataset.samples, encoded=self.encoded)

    def prediction(self) -> Array:
        """Predict as one batch; return the forces."""
        return np.concatenate([each["forces"] for each in self.predictions()])

    def step(self) -> None:
        """Do what the fit does with a batch, up to the gradient."""
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        losses = self.objective.losses(range(len(self.dataset)), self.device)
        losses.mean().backward()

    def update(self) -> None:
        """Let the fit's default optimizer take its step with the last gradient."""
        self.optimizer.step()


def vendor(foundation: str, dataset: Dataset) -> Steps:
    """Return the vendor's own model of a foundation, read from the file that it writes."""
    backbone = load(foundation)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / backbone.native_file
        backbone.save(file)
        return VENDORS[backbone.card.backbone](file, dataset)


SIDES: dict[str, Callable[[str, Dataset], Steps]] = {"vendor": vendor, "ours": Ours}

# ----------------------------------------------------------------- measuring

_side: Steps
_resident: float


def settle(case: Case, foundation: str, dataset: Dataset) -> None:
    """Make this process one case: model, batch, allocator, one thread."""
    global _side, _resident
    torch.set_num_threads(1)
    if case.kept:
        keep_memory()
    _side = SIDES[case.side](foundation, dataset)
    _resident = peak_MiB()


def take_turn(task: str) -> float:
    """Do a task once and return its seconds."""
    work = {"prediction": _side.prediction, "gradient": _side.step, "update": _side.update}[task]
    times = UPDATES if task == "update" else 1
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


def forces() -> Array:
    """Return the predicted forces of the batch."""
    return _side.prediction()


def rise_MiB() -> float:  # noqa: N802
    """Return by how much this process's peak of memory stands above that before its first pass."""
    return peak_MiB() - _resident


def peak_MiB() -> float:  # noqa: N802
    """Return the largest resident memory of this process so far."""
    scale = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def measure(foundation: str, dataset: Dataset, rounds: int) -> Row:
    """Let the cases take turns over a batch.

    Returns
    -------
    dict
        Task -> seconds (medians) and peak memory of each case, and the median ratios of ours to the vendor's; the
        largest difference between the two sides' forces.
    """
    with ExitStack() as stack:
        context = get_context("spawn")
        pools = {
            case: stack.enter_context(
                ProcessPoolExecutor(1, context, initializer=settle, initargs=(case, foundation, dataset))
            )
            for case in CASES
        }
        found = [pools[Case(side, False)].submit(forces).result() for side in ("vendor", "ours")]
        out: Row = {"rounds": rounds, "largest_force_difference_eV_per_A": float(np.abs(found[0] - found[1]).max())}
        seconds, peaks = {}, {}
        for task in TURNS:
            seconds[task] = take_turns(pools, task, rounds)
            peaks[task] = {case.name: round(pool.submit(rise_MiB).result()) for case, pool in pools.items()}
    whole = {
        case: [sum(both) for both in zip(gradients, seconds["update"][case], strict=True)]
        for case, gradients in seconds["gradient"].items()
    }
    for task, each in (*seconds.items(), ("step", whole)):
        out[task] = summary(each) | {"peak_MiB": peaks["update" if task == "step" else task]}
    return out


def take_turns(pools: dict[Case, ProcessPoolExecutor], task: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each case in each round; a first round warms up and does not count."""
    turns = [
        {case.name: pool.submit(take_turn, task).result() for case, pool in pools.items()} for _ in range(rounds + 1)
    ]
    return {case.name: [turn[case.name] for turn in turns[1:]] for case in pools}


def summary(seconds: dict[str, list[float]]) -> Row:
    """Return medians of the seconds, and medians over the rounds of the ratios within a round."""

    def ratio(one: str, other: str) -> float:
        return round(median(a / b for a, b in zip(seconds[one], seconds[other], strict=True)), 4)

    return {
        "seconds": {name: round(median(values), 4) for name, values in seconds.items()},
        "ours_by_vendor": {pair: ratio(ours, vendor) for pair, (vendor, ours) in PAIRS.items()},
        "kept_by_not": {side: ratio(f"{side}-kept", side) for side in SIDES},
    }


def table(rows: list[Row]) -> list[list[str]]:
    """Return a line for each element, task and pair of cases."""
    return [
        [
            row["foundation"],
            f"{row['frames']} × {row['n_atoms']} {row['element']}, {task}, {pair}",
            *line(row[task], pair),
        ]
        for row in rows
        for task in TASKS
        for pair in PAIRS
    ]


def _batch(row: Row) -> str:
    return f"{row['frames']} × {row['n_atoms']} {row['element']}"


def line(found: Row, pair: str) -> list[str]:
    """Return the seconds of a pair of cases, their ratio, and their peaks of memory."""
    seconds, peaks = ([found[kind][name] for name in PAIRS[pair]] for kind in ("seconds", "peak_MiB"))
    return [*(number(value) for value in seconds), number(found["ours_by_vendor"][pair]), *map(str, peaks)]


if __name__ == "__main__":
    run(main)

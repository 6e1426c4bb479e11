"""What a GPU computes, against the CPU and against each vendor's own code on the same GPU; at most ten minutes.

    python benchmarks/gpu.py                    # on a machine with a GPU: results/gpu.json
    python benchmarks/gpu.py --device cpu       # the same steps without one, to try the script: nothing is written
    python benchmarks/gpu.py --only mace        # one family

Every installed family takes one foundation and one batch of rattled diamond cells, labelled by the foundation itself on
the CPU and made noisy. Checked: energies, forces and stresses of the device equal those of the CPU, and so does the
gradient of a training step, within float32; weights, gradients and products of matrices are in the foundation's own
precision, neither TF32 nor bf16; the memory that a prediction and a step were expected to take is right within a fifth.
Timed: a prediction and a training step of the vendor's code and of ours, each with the device at rest before and after.
Last, `matgraft tune`, `evaluate`, `predict` and `export` run as commands with ``--device``, and what the tuned model
predicts there is held against the CPU.

Exit code 0: all is right; 1: something is not; 77: there is no GPU here, and nothing was measured.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from common import HERE, RESULTS, Results, Row, circumstances, number, run, show
from step_time import Ours, vendor

from matgraft import load
from matgraft.core.errors import MatgraftError
from matgraft.potentials.data.crowds import WrappedAtoms, expected_bytes
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.tuning.memory import OVERHEAD, saved_bytes

MODELS = HERE.parents[1] / "shared" / "models"
NO_GPU = 77
"""Exit code of a test that was skipped, as automake has it."""
DIAMONDS = {"Si": 5.43, "Ge": 5.66, "C": 3.57}
"""Lattice constants, Å: the first that a foundation knows makes the cells."""
ALLOWED = {"energy": 2e-5, "forces": 5e-4, "stress": 2e-5}
"""Between float32 sums in another order: eV/atom, eV/Å, eV/Å³."""
GRADIENT = 2e-3
"""Norm of the difference of two gradients by their norm."""
MATMUL = 1e-5
"""Error of a product of float32 matrices by its norm: float32 is off by 1e-6, TF32 by 3e-4, bf16 by 3e-3."""
WITHIN = 0.2
"""Part by which expected memory may be off."""
HEADER = ("foundation", "on", "vendor ms", "ours ms", "ours / vendor", "energy", "forces", "memory / expected", "wrong")


class Checked(NamedTuple):
    """One number that is held against what is allowed."""

    name: str
    value: float
    low: float
    high: float

    @property
    def right(self) -> bool:
        """Whether it lies within; NaN does not."""
        return self.low <= self.value <= self.high

    def row(self) -> Row:
        """Return it as plain values."""
        return self._asdict() | {"right": self.right}


def main(arguments: list[str] | None = None) -> int:
    """Check what was asked for, print the table, and return the exit code."""
    options = parse(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        print(f"no GPU: PyTorch {torch.__version__} finds none here; nothing was measured and nothing is written")
        return NO_GPU
    device = torch.device(options.device)
    began, rows = time.monotonic(), []
    results = Results(options.out, ("foundation", "device"))
    for name in foundations(options.models, options.only):
        left = 60 * options.minutes - (time.monotonic() - began)
        if left < 30:
            print(f"left out, since the time is up: {name}")
            continue
        row = in_full(name, device, options, left)
        rows.append(row)
        if device.type == "cuda":
            results.put(row | circumstances() | {"gpu": torch.cuda.get_device_name(device)})
    show(f"On {device}", HEADER, [line for row in rows for line in lines(row)])
    wrong = [f"{row['foundation']}: {one['name']}" for row in rows for one in row["checks"] if not one["right"]]
    print("\n".join(["wrong:", *wrong]) if wrong else f"{len(rows)} foundations, nothing wrong")
    return 1 if wrong or not rows else 0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the script")
    parser.add_argument("--only", default="", help="foundations whose name begins with this")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of foundations that are files")
    parser.add_argument("--repeats", type=int, default=3, help="of the cell along each vector: 8 atoms to the third")
    parser.add_argument("--frames", type=int, default=4, help="in a batch")
    parser.add_argument("--rounds", type=int, default=5, help="of each timing; the median counts")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    return parser.parse_args(arguments)


def foundations(models: Path, only: str = "") -> Iterator[str]:
    """Yield the foundations at hand, one of each family."""
    named = {
        "chgnet:0.3.0": None,
        f"mace:{models / 'mace' / 'SPICE.model'}@e79523f803633561": models / "mace" / "SPICE.model",
        f"matgl:{models / 'TensorNet-MatPES-PBE-v2025.1-PES'}": models / "TensorNet-MatPES-PBE-v2025.1-PES",
        f"nequix:{models / 'nequix' / 'nequix-oam-1.nqx'}": models / "nequix" / "nequix-oam-1.nqx",
    }
    for name, path in named.items():
        if name.startswith(only) and (path is None or path.exists()):
            try:
                load(name)
            except MatgraftError as error:  # the family is not installed, or not of this version
                print(f"left out: {name}: {error}")
            else:
                yield name


def in_full(name: str, device: torch.device, options: argparse.Namespace, left: float) -> Row:
    """Return the figures and checks of one foundation, its commands from `tune` to `export` among them."""
    backbone = load(name)
    assert isinstance(backbone, Potential)
    dataset = labelled(backbone, options.repeats, options.frames)
    row = measure(backbone, dataset, device, options.rounds)
    row |= beside_vendor(name, dataset, device, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        row["checks"] += [one.row() for one in by_commands(name, dataset, Path(folder), str(device), commands(left))]
    return row


def labelled(backbone: Potential, repeats: int, count: int) -> Dataset:
    """Return rattled diamond cells with the foundation's own labels, made noisy."""
    element = next(symbol for symbol in DIAMONDS if symbol in backbone.card.elements)
    rng, frames = np.random.default_rng(0), []
    for _ in range(count):
        atoms: Atoms = bulk(element, "diamond", a=DIAMONDS[element], cubic=True) * (repeats, repeats, repeats)
        atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
        frames.append(atoms)
    samples = []
    for i, (atoms, own) in enumerate(
        zip(frames, predict_samples(backbone, [Sample(one, {}) for one in frames]), strict=True)
    ):
        labels = {name: own[name] for name in ("energy", "forces", "stress")}
        labels["energy"] = labels["energy"] + 0.01 * len(atoms) * rng.standard_normal()
        labels["forces"] = labels["forces"] + 0.1 * rng.standard_normal(labels["forces"].shape)
        samples.append(Sample(atoms, labels, index=i))
    return Dataset(tuple(samples))


# ------------------------------------------------------------------- checks


def measure(backbone: Potential, dataset: Dataset, device: torch.device, rounds: int) -> Row:
    """Hold predictions, gradient, precision and memory of the device against the CPU; time a prediction and a step."""
    on_cpu = Ours(backbone, dataset, torch.device("cpu"))
    there = Ours(backbone, dataset, device)
    checks = [*equal(on_cpu.predictions(), there.predictions())]
    for side in (on_cpu, there):
        side.step()
    checks.append(Checked("gradient, relative", _apart(gradient(there), gradient(on_cpu)), 0.0, GRADIENT))
    checks += precision(there, backbone, device)
    row: Row = {"foundation": backbone.card.name, "device": str(device), "atoms": dataset[0].n_atoms}
    row |= {"frames": len(dataset), "ours_s": timed(there, device, rounds)}
    if device.type == "cuda":
        checks += [*memory(there, dataset, device)]
    return row | {"checks": [one.row() for one in checks]}


def equal(ours: Sequence[dict[str, np.ndarray]], theirs: Sequence[dict[str, np.ndarray]]) -> Iterator[Checked]:
    """Yield the largest difference of each quantity."""
    for name, allowed in ALLOWED.items():
        pairs = [(one[name], other[name]) for one, other in zip(ours, theirs, strict=True) if name in one]
        atoms = [len(one["forces"]) if name == "energy" else 1 for one in ours]
        most = max((np.abs(a - b).max() / n for (a, b), n in zip(pairs, atoms, strict=False)), default=0.0)
        yield Checked(name, float(most), 0.0, allowed)


def precision(there: Ours, backbone: Potential, device: torch.device) -> list[Checked]:
    """Say whether anything computes in fewer digits than the foundation's weights have."""
    own = getattr(torch, backbone.card.dtype)
    learned = [parameter for parameter in there.model.parameters() if parameter.grad is not None]
    others = sum(one.dtype != own or one.grad.dtype != own for one in learned if one.grad is not None)
    reduced = [
        torch.backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision() != "highest",
        torch.is_autocast_enabled(device.type),
        torch.get_default_dtype() in (torch.float16, torch.bfloat16),
    ]
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(512, 512, generator=generator) for _ in range(2))
    product = (a.to(device) @ b.to(device)).cpu().double()
    error = _apart(product, a.double() @ b.double())
    return [
        Checked("weights and gradients of another precision", float(others), 0.0, 0.0),
        Checked("settings of reduced precision", float(sum(map(bool, reduced))), 0.0, 0.0),
        Checked("error of a product of float32 matrices, relative", error, 0.0, MATMUL),
    ]


def memory(there: Ours, dataset: Dataset, device: torch.device) -> Iterator[Checked]:
    """Yield what a prediction and a step of one frame took on the GPU by what was expected."""
    place, cost = WrappedAtoms.of(dataset[0].content), there.backbone.cost
    if cost is not None:
        one = Ours(there.backbone, dataset[:1], device)
        yield _within("memory of a prediction by expected", peak(one.prediction, device) / expected_bytes(place, cost))
    expected = OVERHEAD * sum(saved_bytes(there.objective, i) for i in range(len(dataset)))
    yield _within("memory of a step by expected", peak(there.step, device) / expected)


def peak(work: Callable[[], object], device: torch.device) -> int:
    """Return by how many bytes torch's memory on the GPU rises meanwhile."""
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _within(name: str, ratio: float) -> Checked:
    return Checked(name, ratio, 1 - WITHIN, 1 + WITHIN)


def gradient(side: Ours) -> torch.Tensor:
    """Return all gradients of the last step as one row of float64 on the CPU."""
    found = [parameter.grad for parameter in side.model.parameters() if parameter.grad is not None]
    return torch.cat([one.detach().cpu().double().ravel() for one in found])


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


# ------------------------------------------------------------------- timing


def beside_vendor(name: str, dataset: Dataset, device: torch.device, rounds: int) -> Row:
    """Return the seconds of the vendor's own code on this device; the reason where it cannot be had."""
    try:
        theirs = vendor(name, dataset)
        theirs.to(device)
    except (ImportError, KeyError) as error:
        return {"vendor_s": None, "no_vendor": f"{type(error).__name__}: {error}"}
    return {"vendor_s": timed(theirs, device, rounds)}


def timed(side: object, device: torch.device, rounds: int) -> dict[str, float]:
    """Return the median seconds of a prediction, and of a step with its update; a first round warms up."""

    def step() -> None:
        side.step()  # type: ignore[attr-defined]
        side.update()  # type: ignore[attr-defined]

    works = {"prediction": side.prediction, "step": step}  # type: ignore[attr-defined]
    return {task: median([seconds(work, device) for _ in range(rounds + 1)][1:]) for task, work in works.items()}


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long it takes, with nothing under way on the device before and after."""
    at_rest = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    at_rest()
    began = time.perf_counter()
    work()
    at_rest()
    return time.perf_counter() - began


# ----------------------------------------------------------------- commands

Command = Callable[..., int]


def commands(left: float) -> Command:
    """Return what runs a command of matgraft, for at most so many seconds, and gives its exit code."""
    end = time.monotonic() + left

    def command(*words: str) -> int:
        typed = [sys.executable, "-m", "matgraft", *words]
        try:
            return subprocess.run(typed, check=False, timeout=max(1.0, end - time.monotonic())).returncode
        except subprocess.TimeoutExpired:
            return -1

    return command


def by_commands(name: str, dataset: Dataset, folder: Path, device: str, command: Command) -> Iterator[Checked]:
    """Tune, evaluate, predict and export by commands with ``--device``; yield exit codes and what the CPU says."""
    frames, out = folder / "frames.extxyz", folder / "run"
    write(frames, [written(sample) for sample in dataset])
    more = ["--device", device, "--quiet"]
    told = ["fit.epochs=2", "fit.rate=1e-4", "strategy.name=full", "split.by=random"]
    predicted = {one: folder / f"{one}.extxyz" for one in dict.fromkeys((device, "cpu"))}
    typed = {
        "tune": ["tune", str(frames), "--from", name, "--out", str(out), *told, *more],
        "evaluate": ["evaluate", str(out), str(frames), *more],
        **{
            f"predict on {one}": ["predict", str(out), str(frames), "--out", str(file), "--device", one, "--quiet"]
            for one, file in predicted.items()
        },
        "export": ["export", str(out), "--to", "native", "--out", str(folder / "exported")],
    }
    for what, words in typed.items():
        code = command(*words)
        yield Checked(f"exit code of {what}", float(code), 0.0, 1.0 if what == "tune" else 0.0)  # 1: the verdict
        if code not in (0, 1):
            return
    there, here = (results_of(predicted[one]) for one in (device, "cpu"))
    for one in equal(there, here):
        yield one._replace(name=f"{one.name} of the tuned model")


def written(sample: Sample) -> Atoms:
    """Return a frame with its labels as extended XYZ has them."""
    atoms = copy.deepcopy(sample.content)
    atoms.info |= {"REF_energy": float(sample.labels["energy"]), "REF_stress": sample.labels["stress"]}
    atoms.arrays["REF_forces"] = sample.labels["forces"]
    return atoms


def results_of(file: Path) -> list[dict[str, np.ndarray]]:
    """Return what `predict` wrote."""
    found = [atoms.calc.results for atoms in read(file, ":")]
    return [{name: np.asarray(one[name]) for name in ("energy", "forces")} for one in found]


# -------------------------------------------------------------------- table


def lines(row: Row) -> list[list[str]]:
    """Return a line for the prediction and one for the step."""
    checks = {one["name"]: one["value"] for one in row["checks"]}
    wrong = str(sum(not one["right"] for one in row["checks"]))
    out = []
    for task in ("prediction", "step"):
        ours, theirs = row["ours_s"][task], (row["vendor_s"] or {}).get(task)
        times = [number(theirs and 1e3 * theirs, 1), number(1e3 * ours, 1), number(theirs and ours / theirs)]
        apart = [f"{checks[name]:.1e}" for name in ("energy", "forces")]
        used = number(checks.get(f"memory of a {task} by expected"))
        out.append([row["foundation"], f"{task}, {row['frames']} × {row['atoms']}", *times, *apart, used, wrong])
    return out


def script() -> None:
    """Leave with the exit code of `main`."""
    if code := main():
        sys.exit(code)


if __name__ == "__main__":
    run(script)

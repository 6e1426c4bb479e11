"""Which frames of a pool are best labelled: settings of the selection beside frames drawn at random, by replay.

    python benchmarks/selection.py
    python benchmarks/selection.py --report

Two pools, seven tenths of each drawn at random to choose from, the rest to score on:

* "embedded": the 100 frames of examples/data/sige (dynamics, strained cells, rattles), labelled by DFT.
* "dynamics": what the first round of benchmarks/active.py samples with CHGNet, 12 walkers, labelled by TensorNet.

The model is CHGNet with a last layer that is linear in the rows that enter it, for each element its own, fitted to the
errors of CHGNet by ridge regression. A fit takes milliseconds, so that many draws of a pool can be replayed. It depends
on nothing but the chosen frames: no order of batches, no step at which it stops.

Each method has 12 frames labelled a round. In the first round nothing is known; from then on the gate is that of a fit
to four fifths of the chosen simulations. "Largest errors" is no method: it chooses by the true errors, and says how
much a perfect uncertainty could gain on a pool.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from active import EMBEDDED, MODELS, structures
from common import RESULTS, Results, Row, circumstances, number, prepare, run, show

from matgraft import load, read
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.quantities import Array
from matgraft.core.statistics import numbered
from matgraft.potentials.active.sampling.settings import SampleSettings
from matgraft.potentials.active.selection.diversity import Surroundings
from matgraft.potentials.active.selection.select import PoolCandidate, choose_candidates
from matgraft.potentials.active.selection.settings import SelectSettings
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.models.uncertainty import Uncertainty
from matgraft.potentials.run.sample import SampleQuestion, sample
from matgraft.potentials.uncertainty.fit import fit_on_rows
from matgraft.potentials.uncertainty.rows import FrameRows

OPEN = {"low": 0.0, "high": 1e9}
SETTINGS: Mapping[str, dict[str, object]] = {
    "at random": {**OPEN, "diversity": "random"},
    "farthest": {},
    "farthest, no window": OPEN,
    "stratified": {"diversity": "stratified"},
}
RANKED = ("largest deviations", "largest errors")
"""Methods that rank frames: by the largest deviation of an atom's force, and by the true error."""
METHODS = (*SETTINGS, *RANKED)
POOLS = ("embedded", "dynamics")
SHARE, PER_ROUND, ROUNDS = 0.7, 12, 3
RIDGE = 1e-3
"""Of the mean square of a column, on the squares of the weights."""
AT_ONCE = 16
"""Frames whose derivatives are taken together."""


@dataclass(frozen=True)
class Linear:
    """What a last layer is fitted to.

    Attributes
    ----------
    rows, numbers, forces
        (m, n, width) of CHGNet, (m, n) atomic numbers, (m, n, 3) eV/Å as CHGNet predicts them.
    sums, slopes
        (m, k) rows summed by element with the counts of atoms behind them, and (m, 3n, k) their derivatives.
    energy, force
        (m,) eV and (m, 3n) eV/Å: label minus CHGNet.
    walkers, kinds
        (m,) simulation, and how it was made.
    """

    rows: Array
    numbers: Array
    forces: Array
    sums: Array
    slopes: Array
    energy: Array
    force: Array
    walkers: list[str]
    kinds: list[str]

    def fit(self, frames: Sequence[int]) -> Array:
        """Return the weights (k,)."""
        some, n = np.asarray(frames), self.numbers.shape[1]
        slopes, energies = self.slopes[some].reshape(-1, self.slopes.shape[2]), self.sums[some] / np.sqrt(n)
        design = np.concatenate([-slopes, energies])
        wanted = np.concatenate([self.force[some].ravel(), self.energy[some] / np.sqrt(n)])
        penalty = np.full(design.shape[1], RIDGE * np.square(self.slopes[..., :-2]).mean() * len(slopes))
        penalty[-2:] = 1e-8  # the energies of the elements are free
        return np.asarray(np.linalg.solve(design.T @ design + np.diag(penalty), design.T @ wanted))

    def errors(self, weights: Array) -> tuple[Array, Array]:
        """Return (m,) errors an atom in eV, and (m, 3n) of forces."""
        return (self.sums @ weights - self.energy) / self.numbers.shape[1], -(self.slopes @ weights) - self.force

    def told(self, weights: Array, frames: Sequence[int]) -> list[FrameRows]:
        """Return frames with their errors."""
        (energies, forces), n = self.errors(weights), self.numbers.shape[1]
        told = self.forces - (self.slopes @ weights).reshape(self.forces.shape)
        return [
            FrameRows(self.rows[i], self.numbers[i], told[i], float(energies[i]), forces[i].reshape(n, 3))
            for i in frames
        ]


def linear(frames: Dataset) -> Linear:
    """Pass frames of one number of atoms through CHGNet."""
    model = load("chgnet")
    model.module.eval()
    graphs = encode_all(model, frames.samples)
    told = predict_samples(model, frames.samples, encoded=graphs)
    parts = [derivatives(model, graphs[k : k + AT_ONCE]) for k in range(0, len(graphs), AT_ONCE)]
    rows, slopes = (np.concatenate(one) for one in zip(*parts, strict=True))
    numbers = np.array([sample.content.numbers for sample in frames])
    of_element = np.stack([numbers == Z for Z in np.unique(numbers)], 2).astype(float)
    counts = of_element.sum(1)
    sums = np.einsum("mnw,mne->mew", rows, of_element).reshape(len(rows), -1)
    by_element = np.einsum("mdnw,mne->mdew", slopes, of_element).reshape(*slopes.shape[:2], -1)
    none = np.zeros((*by_element.shape[:2], counts.shape[1]))
    forces = np.array([one["forces"] for one in told])
    return Linear(
        rows,
        numbers,
        forces,
        np.concatenate([sums, counts], 1),
        np.concatenate([by_element, none], 2),
        np.array([float(s.labels["energy"] - one["energy"]) for s, one in zip(frames, told, strict=True)]),
        np.array([s.labels["forces"] for s in frames]).reshape(len(rows), -1) - forces.reshape(len(rows), -1),
        [str(s.tags["trajectory"]) for s in frames],
        [str(s.tags.get("origin", s.tags["config_type"])) for s in frames],
    )


def frames_of(pool: str, work: Path) -> Dataset:
    """Return the labelled frames of a pool; that of dynamics is made once."""
    if pool == "embedded":
        return read(EMBEDDED)
    file = work / "pool.extxyz"
    if not file.is_file():
        asked = {"md": "nvt", "temperature": "300,900,1500", "ps": 0.6, "atoms": 8}
        question = SampleQuestion(file, structures(work), ExecutorSettings(workers=1))
        sample("chgnet", question, SampleSettings.model_validate(asked), quiet=True)
    frames = read(file, want=())
    told = predict_samples(load(MODELS["TensorNet"]), frames.samples, ("energy", "forces"))
    return Dataset([one.with_labels(**labels) for one, labels in zip(frames, told, strict=True)])


def derivatives(model: Potential, graphs: Sequence[object]) -> tuple[Array, Array]:
    """Return rows (m, n, width), and their derivatives (m, 3n, n, width) by each coordinate of their frame."""
    batch = model.differentiable(model.collate(graphs), ("forces",))  # type: ignore[arg-type]
    rows = model.features(batch)
    m, n = len(graphs), len(rows) // len(graphs)
    other = torch.zeros_like(rows, requires_grad=True)
    (slope,) = torch.autograd.grad((rows * other).sum(), batch["positions"], create_graph=True)
    found = []
    for k in range(3 * n):
        along = torch.zeros(m, 3 * n, dtype=slope.dtype)
        along[:, k] = 1
        (moved,) = torch.autograd.grad((slope * along.view(-1, 3)).sum(), other, retain_graph=True)
        found.append(moved.view(m, n, -1).numpy())
    return rows.detach().view(m, n, -1).numpy(), np.stack(found, 1)


def replay(data: Linear, method: str, seed: int) -> list[Row]:
    """Choose and fit, round by round; return a row a round."""
    order = np.random.default_rng(seed).permutation(len(data.energy)).tolist()
    cut = round(SHARE * len(order))
    pool, test = sorted(order[:cut]), sorted(order[cut:])
    learned, rows = list[int](), list[Row]()
    sure: Uncertainty | None = None
    weights = np.zeros(data.sums.shape[1])
    for step in range(ROUNDS):
        left = [i for i in pool if i not in set(learned)]
        learned += choice(data, method, left, weights, sure, 1000 * step + seed)
        weights, sure = judged(data, learned, 1000 * step + seed)
        energies, forces = data.errors(data.fit(learned))
        rows.append(
            {
                "frames": len(learned),
                "eV/Å": float(np.sqrt(np.square(forces[test]).mean())),
                "meV/atom": 1000 * float(np.sqrt(np.square(energies[test]).mean())),
            }
        )
    return rows


def judged(data: Linear, learned: Sequence[int], seed: int) -> tuple[Array, Uncertainty]:
    """Fit to four fifths of the chosen simulations; return the weights, and how sure they are by the others."""
    names = sorted({data.walkers[i] for i in learned})
    held = set(np.random.default_rng(seed).permutation(names)[: max(1, round(0.2 * len(names)))].tolist())
    train = [i for i in learned if data.walkers[i] not in held]
    rest = [i for i in learned if data.walkers[i] in held]
    weights, groups = data.fit(train), numbered([data.walkers[i] for i in [*train, *rest]])
    told = data.told(weights, train), data.told(weights, rest)
    return weights, fit_on_rows((told[0], groups[: len(train)]), (told[1], groups[len(train) :]), "replay")


def choice(
    data: Linear, method: str, left: Sequence[int], weights: Array, sure: Uncertainty | None, seed: int
) -> list[int]:
    """Return the frames of those left that are chosen."""
    if method in RANKED:
        return [left[k] for k in np.argsort(-RANKS[method](data, left, weights, sure, seed))[:PER_ROUND]]
    settings = SelectSettings.model_validate({"audit": 0, "per_walker": PER_ROUND, "seed": seed, **SETTINGS[method]})
    around = Surroundings.of(data.told(weights, left), sure.known if sure else None, seed)
    described = [PoolCandidate(k, data.walkers[i], stratum=data.kinds[i]) for k, i in enumerate(left)]
    found = choose_candidates(described, around, sure.card.gate.threshold if sure else None, PER_ROUND, settings)
    return [left[one.index] for one in found.chosen]


def largest_errors(data: Linear, left: Sequence[int], weights: Array, sure: Uncertainty | None, seed: int) -> Array:
    """Return the mean square of the errors of each frame."""
    return np.asarray(np.square(data.errors(weights)[1][left]).mean(1))


def largest_deviations(data: Linear, left: Sequence[int], weights: Array, sure: Uncertainty | None, seed: int) -> Array:
    """Return the largest deviation of an atom's force in each frame; before there is any, draw."""
    if sure is None or (rule := sure.card.forces) is None:
        return np.random.default_rng(seed).random(len(left))
    told = data.told(weights, left)
    sizes = [np.linalg.norm(one.forces, axis=1) for one in told]
    return np.array([
        rule.std(sure.known.distances(one.rows, one.numbers), size).max() for one, size in zip(told, sizes, strict=True)
    ])  # fmt: skip


RANKS: Mapping[str, Callable[[Linear, Sequence[int], Array, Uncertainty | None, int], Array]] = {
    "largest deviations": largest_deviations,
    "largest errors": largest_errors,
}


def report(rows: Sequence[Row], as_markdown: bool) -> None:
    """Print for each pool a line a round and method: means over its draws, and the difference from random frames."""
    for pool in POOLS:
        report_pool(pool, [row for row in rows if row["pool"] == pool], as_markdown)


def report_pool(pool: str, rows: Sequence[Row], as_markdown: bool) -> None:
    """Print the table of a pool."""
    lines = []
    for step in range(ROUNDS):
        base = {row["seed"]: row for row in rows if row["round"] == step and row["method"] == "at random"}
        for method in METHODS:
            own = [row for row in rows if (row["round"], row["method"]) == (step, method)]
            if not own:
                continue
            apart = [row["eV/Å"] - base[row["seed"]]["eV/Å"] for row in own if row["seed"] in base]
            error = 1.96 * np.std(apart, ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.nan
            lines.append(
                [
                    *(str(step + 1), method, str(len(own)), f"{np.mean([row['frames'] for row in own]):.0f}"),
                    number(float(np.mean([row["eV/Å"] for row in own])), 3),
                    "" if method == "at random" else f"{np.mean(apart):+.4f} ± {error:.4f}",
                    number(float(np.mean([row["meV/atom"] for row in own])), 1),
                ]
            )
    header = ("round", "frames were", "draws", "labelled", "eV/Å", "from random (95 %)", "meV/atom")
    show(f"The pool {pool}: errors on frames left out, mean over draws", header, lines, as_markdown=as_markdown)


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=30, help="of each pool")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/benchmark-selection"), help="the pool of dynamics, kept"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "selection.json")
    parser.add_argument("--report", action="store_true", help="only print what is there, as markdown")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("pool", "method", "seed", "round"))
    for pool in () if chosen.report else POOLS:
        prepare()
        day = {"date": circumstances()["date"]}
        chosen.work.mkdir(parents=True, exist_ok=True)
        data = linear(frames_of(pool, chosen.work.resolve()))
        for seed in range(chosen.draws):
            for method in METHODS:
                if results.find(pool=pool, method=method, seed=seed, round=ROUNDS - 1) is None:
                    for step, row in enumerate(replay(data, method, seed)):
                        results.put({"pool": pool, "method": method, "seed": seed, "round": step} | row | day)
    report(results.rows, chosen.report)


if __name__ == "__main__":
    run(main)

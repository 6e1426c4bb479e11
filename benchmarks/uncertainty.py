"""Is a tuned model as sure as it may be: coverage, ranking and the gate on simulations that were held out, by method.

    python benchmarks/uncertainty.py
    python benchmarks/uncertainty.py --report

Whole simulations are dealt out to training, validation and test. A short fit of all layers, then every method is fitted
on the rows of the training frames, scaled on the validation frames by one rule, and judged on the test frames.

Forces: one deviation for all atoms; powers of the distance to the nearest training atom, of the predicted force, of
both (`matgraft.potentials.uncertainty`); `MEMBERS` draws of the posterior of a linear last layer, each with its forces
(LLPR). Energies: one deviation an atom; the mean distance; the posterior. Gate: the distance to the nearest training
atom, that to the mean of its element (Mahalanobis), the deviation of forces. Frames outside are made of test frames:
see `OUTSIDE`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from common import DATA, HERE, RESULTS, Results, Row, circumstances, number, prepare, put_right, run, show
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from matgraft import adapt, load, read, split
from matgraft.core.quantities import Array
from matgraft.core.statistics import Units, numbered
from matgraft.core.training.execution import Execution
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.models.uncertainty import Uncertainty, posterior
from matgraft.potentials.uncertainty.calibration import std_scale
from matgraft.potentials.uncertainty.fit import fit_on_rows
from matgraft.potentials.uncertainty.rows import FrameRows, frame_rows

MODELS = {
    "CHGNet": "chgnet",
    "TensorNet": f"matgl:{HERE.parents[1] / 'shared' / 'models' / 'TensorNet-MatPES-PBE-v2025.1-PES'}",
}
MEMBERS = 6
MADE = 6
"""Frames of each kind outside."""
Change = Callable[[Atoms, np.random.Generator], Atoms]
Rows = tuple[list[FrameRows], Units]


# -------------------------------------------------------------------- frames


def silicon() -> Dataset:
    """Every sixth frame of each simulation of the published silicon."""
    frames = put_right(read(DATA / "Si_train.extxyz"), "Si")
    return thinned(frames, 6)


def alloys() -> Dataset:
    """The embedded frames of silicon and germanium."""
    return read(HERE.parent / "examples" / "data" / "sige" / "frames.extxyz")


def molybdenum() -> Dataset:
    """Every sixth frame of each simulation of the published molybdenum."""
    return thinned(read(DATA / "Mo_train.extxyz"), 6)


SETS = {"SiGe": alloys, "Si": silicon, "Mo": molybdenum}


def thinned(frames: Dataset, every: int) -> Dataset:
    """Return every so many of the frames of each simulation, the first of each among them."""
    seen: dict[str, int] = {}
    chosen = []
    for i, name in enumerate(frames.tag("trajectory")):
        chosen += [i] if seen.get(name, 0) % every == 0 else []
        seen[name] = seen.get(name, 0) + 1
    return frames[chosen]


def scaled(factor: float) -> Change:
    """Scale a cell."""

    def change(atoms: Atoms, rng: np.random.Generator) -> Atoms:
        atoms.set_cell(atoms.cell[:] * factor, scale_atoms=True)
        return atoms

    return change


def molten(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Displace every coordinate by 0.5 Å (standard deviation)."""
    atoms.positions += 0.5 * rng.standard_normal(atoms.positions.shape)
    return atoms


def interstitial(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Put another atom of the first element into the widest of 60 random places."""
    places = rng.random((60, 3)) @ atoms.cell[:]
    symbol = atoms.symbols[0]
    widest = [(atoms + Atoms(symbol, [p])).get_distances(len(atoms), range(len(atoms)), mic=True).min() for p in places]
    return atoms + Atoms(symbol, [places[int(np.argmax(widest))]])


def vacancy(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Take out an atom, and its nearest neighbour where there are more than 20."""
    first = int(rng.integers(len(atoms)))
    order = np.argsort(atoms.get_distances(first, range(len(atoms)), mic=True))
    del atoms[sorted(order[: 2 if len(atoms) > 20 else 1].tolist())]
    return atoms


def foreign(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Make one atom tin."""
    atoms.symbols[int(rng.integers(len(atoms)))] = "Sn"
    return atoms


OUTSIDE: Mapping[str, Change] = {
    "cell -5 %": scaled(0.95),
    "cell -10 %": scaled(0.9),
    "cell +5 %": scaled(1.05),
    "cell +10 %": scaled(1.1),
    "molten": molten,
    "interstitial": interstitial,
    "vacancy": vacancy,
    "foreign element": foreign,
}


def outside(frames: Dataset, change: Change) -> Dataset:
    """Return frames made of evenly spread ones of at least eight atoms."""
    rng = np.random.default_rng(0)
    large = [sample for sample in frames if sample.n_atoms >= 8]
    chosen = [large[i] for i in np.unique(np.linspace(0, len(large) - 1, MADE).astype(int))]
    return Dataset([Sample(change(s.content.copy(), rng), {}, file="made", index=i) for i, s in enumerate(chosen)])


# ------------------------------------------------------------------- methods


def posterior_forces(model: Potential, frames: Dataset, factor: Array) -> list[Array]:
    """Return for each frame (n,) the spread of the forces of draws from the posterior of a linear last layer."""
    draws = np.random.default_rng(0).standard_normal((MEMBERS, factor.shape[1])) @ factor.T
    found = []
    model.module.eval()
    for one in encode_all(model, frames.samples):
        batch = model.differentiable(model.collate([one]), ("forces",))
        rows = model.features(batch)
        slopes = [
            torch.autograd.grad(
                (rows @ torch.as_tensor(w, dtype=rows.dtype)).sum(), batch["positions"], retain_graph=True
            )
            for w in draws
        ]
        found.append(np.sqrt(np.square(np.stack([slope[0].numpy() for slope in slopes])).mean((0, 2))))
    return found


def force_methods(
    model: Potential, uncertainty: Uncertainty, frames: Sequence[FrameRows], dataset: Dataset
) -> dict[str, list[Array]]:
    """Return for each method and frame the deviations (n,), up to a scale."""
    rule = uncertainty.card.forces
    assert rule is not None
    alone = {"distance": {"force_power": 0.0, "distance_power": 0.5}, "force": {"distance_power": 0.0}}
    distances = [uncertainty.known.distances(frame.rows, frame.numbers) for frame in frames]
    sizes = [np.linalg.norm(frame.forces, axis=1) for frame in frames]
    both = list(zip(distances, sizes, strict=True))
    return {
        "one for all": [np.ones(len(size)) for size in sizes],
        **{name: [rule.model_copy(update=given).std(*each) for each in both] for name, given in alone.items()},
        "distance and force": [rule.std(*each) for each in both],
        "LLPR draws": posterior_forces(model, dataset, uncertainty.energy_factor),
    }


def energy_methods(uncertainty: Uncertainty, frames: Sequence[FrameRows]) -> dict[str, Array]:
    """Return for each method the deviations an atom (n_frames,), up to a scale."""
    centre, factor, n = uncertainty.energy_centre, uncertainty.energy_factor, uncertainty.card.n_frames
    distances = [uncertainty.known.distances(frame.rows, frame.numbers).mean() for frame in frames]
    return {
        "one for all": np.ones(len(frames)),
        "distance": np.maximum(distances, 1e-3),
        "LLPR": np.array([posterior(frame.rows.mean(0), centre, factor, n) for frame in frames]),
    }


def gate_methods(uncertainty: Uncertainty, frames: Sequence[FrameRows]) -> dict[str, list[float]]:
    """Return for each method the largest figure of the atoms of each frame."""
    known, rule = uncertainty.known, uncertainty.card.forces
    assert rule is not None
    found: dict[str, list[float]] = {"nearest": [], "Mahalanobis": [], "deviation of forces": []}
    for frame in frames:
        distances = known.distances(frame.rows, frame.numbers)
        means = [
            known.rows[known.rows_of == Z].mean(0) if (known.rows_of == Z).any() else np.inf for Z in frame.numbers
        ]
        maps = [known.whitening[known.map_of[np.searchsorted(known.numbers[:-1], Z)]] for Z in frame.numbers]
        apart = [(row - known.centre) @ one - mean for row, one, mean in zip(frame.rows, maps, means, strict=True)]
        found["nearest"].append(float(distances.max()))
        found["Mahalanobis"].append(float(np.sqrt(np.square(apart).mean(1)).max()))
        found["deviation of forces"].append(float(rule.std(distances, np.linalg.norm(frame.forces, axis=1)).max()))
    return found


# ------------------------------------------------------------------ judgement


def judged(ratios: Sequence[Array], expected: Sequence[float], actual: Sequence[float], units: Units) -> Row:
    """Return coverage, simulations and frames weighing alike, and the rank correlation over frames."""
    inside = np.array([[np.mean(ratio <= bound) for bound in (1, 2)] for ratio in ratios])
    groups = [inside[units == unit].mean(0) for unit in np.unique(units)]
    by_group, by_frame = np.mean(groups, 0), inside.mean(0)
    ranked = float(spearmanr(expected, actual)[0]) if np.ptp(expected) > 0 else None
    return {
        "one": by_group[0],
        "two": by_group[1],
        "one, frames": by_frame[0],
        "two, frames": by_frame[1],
        "rank": ranked,
    }


def judge_forces(held: Rows, test: Rows, on_held: Mapping[str, list[Array]], on_test: Mapping[str, list[Array]]) -> Row:
    """Scale each method on the held-out frames, and judge it on the test frames."""

    def ratios(frames: Sequence[FrameRows], stds: Sequence[Array]) -> list[Array]:
        return [(np.abs(f.force_errors) / s[:, None]).ravel() for f, s in zip(frames, stds, strict=True)]

    rows = {}
    actual = [float(np.sqrt(np.square(frame.force_errors).mean())) for frame in test[0]]
    for name, stds in on_held.items():
        own = ratios(held[0], stds)
        scale = std_scale(np.concatenate(own), np.repeat(numbered(held[1].tolist()), [len(one) for one in own]))
        expected = [float(np.sqrt(np.square(one).mean())) for one in on_test[name]]
        rows[name] = judged([one / scale for one in ratios(test[0], on_test[name])], expected, actual, test[1])
    return rows


def judge_energies(held: Rows, test: Rows, on_held: Mapping[str, Array], on_test: Mapping[str, Array]) -> Row:
    """Scale each method on the held-out frames, and judge it on the test frames."""
    rows = {}
    errors, actual = (np.abs([frame.energy_error for frame in frames]) for frames in (held[0], test[0]))
    for name, stds in on_held.items():
        scale = std_scale(errors / stds, numbered(held[1].tolist()))
        ratios = [np.array([one]) for one in actual / on_test[name] / scale]
        rows[name] = judged(ratios, on_test[name].tolist(), actual.tolist(), test[1])
    return rows


def judge_gate(uncertainty: Uncertainty, test: Rows, made: Mapping[str, list[FrameRows]]) -> Row:
    """Return the area under the curve of each kind of frames outside, and how often the gate is wrong and right."""
    inside = gate_methods(uncertainty, test[0])
    found = {kind: gate_methods(uncertainty, frames) for kind, frames in made.items()}
    areas = {
        name: {
            kind: float(roc_auc_score([0] * len(own) + [1] * len(each[name]), np.minimum([*own, *each[name]], 1e9)))
            for kind, each in found.items()
        }
        for name, own in inside.items()
    }
    threshold = uncertainty.card.gate.threshold
    above = {kind: float(np.mean(np.array(each["nearest"]) > threshold)) for kind, each in found.items()}
    test_above = np.array(inside["nearest"]) > threshold
    return {
        "auroc": areas,
        "caught": above,
        "test frames outside": float(np.mean(test_above)),
        "promised": 1 - uncertainty.card.gate.level,
    }


def cost(model: Potential, uncertainty: Uncertainty, sample: Sample, frame: FrameRows) -> Row:
    """Return seconds of a force call and of the figures, the medians of some rounds in turn."""
    calls, figures = [], []
    for _ in range(7):
        began = time.perf_counter()
        predict_samples(model, [sample])
        middle = time.perf_counter()
        uncertainty.estimate(frame.rows, frame.numbers, frame.forces)
        calls.append(middle - began)
        figures.append(time.perf_counter() - middle)
    call, own = float(np.median(calls[1:])), float(np.median(figures[1:]))
    return {"atoms": sample.n_atoms, "force call, s": call, "figures, s": own, "share": own / call}


def case(set_name: str, model_name: str, minutes: float, seed: int) -> Row:
    """Tune a model, and judge every method."""
    frames = SETS[set_name]()
    parts = split(frames, by="trajectory", fractions=(0.4, 0.35, 0.25), seed=seed)
    train, validation, test = (frames[list(own)] for own in (parts.train, parts.validation, parts.test))
    execution = Execution(seed=seed, quiet=True)
    tuned = adapt(
        load(MODELS[model_name]), train, validation, strategy="full", max_minutes=minutes, execution=execution
    )
    model = tuned.backbone
    units = [np.array(parts.groups)[list(own)] for own in (parts.train, parts.validation, parts.test)]
    trained = frame_rows(model, train, errors=False)
    held, tested = (frame_rows(model, own, errors=True) for own in (validation, test))
    of_train, of_held, of_test = np.split(
        numbered(np.concatenate(units).tolist()), np.cumsum([len(u) for u in units])[:2]
    )
    uncertainty = fit_on_rows((trained, of_train), (held, of_held), "")
    made = {kind: outside(test, change) for kind, change in OUTSIDE.items()}
    on_made = {kind: frame_rows(model, own, errors=True) for kind, own in made.items()}
    on_held, on_test = ((rows, of) for rows, of in ((held, of_held), (tested, of_test)))
    of_forces = [force_methods(model, uncertainty, *each) for each in ((held, validation), (tested, test))]
    of_energies = [energy_methods(uncertainty, each) for each in (held, tested)]
    largest = max(range(len(test)), key=lambda i: test[i].n_atoms)
    return {
        "frames": [len(train), len(validation), len(test)],
        "simulations": [len(set(own.tolist())) for own in units],
        "steps": tuned.fit.history[-1]["step"] if tuned.fit.history else 0,
        "forces_rmse_eV_per_A": float(np.sqrt(np.mean(np.concatenate([f.force_errors.ravel() for f in tested]) ** 2))),
        "energy_rmse_meV_per_atom": float(1000 * np.sqrt(np.mean([f.energy_error**2 for f in tested]))),
        "forces": judge_forces(on_held, on_test, *of_forces),
        "energies": judge_energies(on_held, on_test, *of_energies),
        "gate": judge_gate(uncertainty, on_test, on_made),
        "cost": cost(model, uncertainty, test[largest], tested[largest]),
        "card": uncertainty.card.model_dump(mode="json"),
    }


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.5, help="of each fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[f"{s}/{m}" for s in SETS for m in MODELS], help="SiGe/CHGNet ...")
    parser.add_argument("--out", type=Path, default=RESULTS / "uncertainty.json")
    parser.add_argument("--report", action="store_true", help="only print what is there, as markdown")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("set", "model", "seed"))
    if not chosen.report:
        prepare()
        for one in chosen.only:
            key = dict(zip(("set", "model"), one.split("/"), strict=True)) | {"seed": chosen.seed}
            if results.find(**key) is None:
                results.put(key | case(key["set"], key["model"], chosen.minutes, chosen.seed) | circumstances())
    report(results.rows, chosen.report)


def report(rows: Sequence[Row], as_markdown: bool) -> None:
    """Print the tables."""
    for what in ("forces", "energies"):
        lines = [
            [f"{row['set']}, {row['model']}", name, *(number(own[key]) for key in ("one", "two", "rank"))]
            for row in rows
            for name, own in row[what].items()
        ]
        show(
            f"Standard deviations of {what}",
            ("", "method", "within 1", "within 2", "rank"),
            lines,
            as_markdown=as_markdown,
        )
    lines = [
        [f"{row['set']}, {row['model']}", name, *(number(own[kind]) for kind in OUTSIDE)]
        for row in rows
        for name, own in (row["gate"]["auroc"] | {"caught": row["gate"]["caught"]}).items()
    ]
    show(
        "Area under the curve, frames outside against test frames",
        ("", "method", *OUTSIDE),
        lines,
        as_markdown=as_markdown,
    )
    lines = [
        [
            f"{row['set']}, {row['model']}",
            number(row["forces_rmse_eV_per_A"], 3),
            number(row["energy_rmse_meV_per_atom"], 1),
            " / ".join(map(str, row["simulations"])),
            number(row["gate"]["test frames outside"]),
            number(row["gate"]["promised"]),
            number(100 * row["cost"]["share"], 1),
        ]
        for row in rows
    ]
    header = ("", "eV/Å", "meV/atom", "simulations", "test frames outside", "promised", "cost, % of a force call")
    show("Cases", header, lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)

"""Magnetic moments in a fine-tuning: learned, left alone, rehearsed.

    python benchmarks/moments.py
    python benchmarks/moments.py --report

Cells of eight atoms of MnO, FeO, CoO and NiO, strained and rattled, are labelled by CHGNet's r2SCAN release: energies,
forces, stresses and the sizes of moments of another functional. CHGNet 0.3.0 (PBE) is tuned on them by `full`, with
moments in the loss and without, and by `replay`. Errors are those of frames left out; *moved* is the RMSE between the
tuned model and its foundation on the structures of the check `forgetting`, of the target's elements and of others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.build import bulk
from common import RESULTS, Results, Row, circumstances, number, prepare, run, show

from matgraft import adapt, load
from matgraft.core.quantities import POTENTIAL_QUANTITIES
from matgraft.core.training.schedule import FitSettings
from matgraft.potentials.checks.base import CheckEvidence
from matgraft.potentials.checks.forgetting import CRYSTALS, Forgetting, ForgettingTable
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.scoring.frame_errors import Predictions, errors
from matgraft.potentials.scoring.metrics import metrics
from matgraft.potentials.tuning.adapt import refit_references
from matgraft.potentials.tuning.loss import MAGMOM_WEIGHT, LossSettings
from matgraft.potentials.tuning.references import shifted
from matgraft.potentials.tuning.replay import ReplaySettings

LATTICES_A = {"Mn": 4.44, "Fe": 4.33, "Co": 4.26, "Ni": 4.19}
FRAMES = 64
PARTS = {"train": slice(0, 32), "validation": slice(32, 40), "test": slice(40, 64)}
CASES: dict[str, tuple[str, float]] = {
    "full": ("full", MAGMOM_WEIGHT),
    "full, moments left out": ("full", 0.0),
    "replay": ("replay", MAGMOM_WEIGHT),
    "replay, moments left out": ("replay", 0.0),
}
"""Name -> strategy, weight of the moments."""
METRICS = ("energy_rmse_meV_per_atom", "forces_rmse_eV_per_A", "stress_rmse_GPa", "magmom_rmse_muB")


def labelled(teacher: Potential, seed: int = 0) -> Dataset:
    """Return the frames, by turns of each oxide, with the teacher's labels."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(FRAMES):
        metal, lattice = list(LATTICES_A.items())[i % len(LATTICES_A)]
        atoms = bulk(f"{metal}O", "rocksalt", a=lattice, cubic=True)
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.02 * rng.standard_normal((3, 3))), scale_atoms=True)
        atoms.positions += 0.08 * rng.standard_normal(atoms.positions.shape)
        samples.append(Sample(atoms, {}, file="made", index=i))
    found = predict_samples(teacher, samples)
    return Dataset(tuple(one.with_labels(**labels) for one, labels in zip(samples, found, strict=True)))


def scores(frames: Dataset, predictions: Predictions) -> Row:
    """Return the RMSEs of predictions."""
    found = metrics(errors(frames, predictions, POTENTIAL_QUANTITIES))
    return {name: found[name] for name in METRICS}


def moved(foundation: Potential, tuned: Potential, evidence: CheckEvidence) -> Row:
    """Return how far moments moved on structures that were not trained on, µB."""
    table = ForgettingTable.model_validate(Forgetting().run(evidence).details)
    return {f"moved {row.chemistry}": row.errors["magmom_rmse_muB"] for row in table.rows if row.kind == CRYSTALS}


def case(foundation: Potential, frames: Dataset, name: str, epochs: int) -> Row:
    """Tune by one case, and score it."""
    train, validation, test = (frames[part] for part in PARTS.values())
    strategy, weight = CASES[name]
    tuned = adapt(
        foundation, train, validation, strategy=strategy, loss=LossSettings(magmom=weight),
        replay=ReplaySettings(size=48 if strategy == "replay" else None), fit=FitSettings(epochs=epochs),
    )  # fmt: skip
    evidence = CheckEvidence(tuned.backbone, foundation, tuned.references, train)
    found = scores(test, predict_samples(tuned.backbone, test.samples))
    return found | moved(foundation, tuned.backbone, evidence) | {"minutes": tuned.fit.seconds / 60}


def main() -> None:
    """Tune by each case, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=RESULTS / "moments.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("case",))
    if not chosen.report:
        prepare()
        foundation, frames = load("chgnet"), labelled(load("chgnet:r2scan"))
        train, test = frames[PARTS["train"]], frames[PARTS["test"]]
        shift = refit_references(foundation, train, (), predict_samples(foundation, train.samples))
        untuned = shifted(test, predict_samples(foundation, test.samples), shift)
        results.put({"case": "foundation, references shifted"} | scores(test, untuned) | circumstances())
        for name in CASES:
            if results.find(case=name) is None:
                row = case(foundation, frames, name, chosen.epochs)
                results.put({"case": name, "epochs": chosen.epochs} | row | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print the table."""
    keys = (*METRICS, "moved inside", "moved outside", "minutes")
    header = ("", "meV/atom", "eV/Å", "GPa", "moments, µB", "moved inside, µB", "moved outside, µB", "minutes")
    lines = [[row["case"], *(number(row[key], 3) if key in row else "–" for key in keys)] for row in rows]
    show("frames of four oxides left out", header, lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)

"""A run folder that looks like a real one, made by the real writers in a fraction of a second."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase import Atoms

from matgraft.core.files import write_text
from matgraft.core.findings import Action, Finding, Findings
from matgraft.core.model import ModelCard
from matgraft.core.provenance import LevelOfTheory, SourceFile
from matgraft.core.quantities import Array
from matgraft.core.registry import CARD
from matgraft.core.training.schedule import FitSettings
from matgraft.core.verdict import Caution, Damage, Verdict
from matgraft.potentials.audit.coverage import Coverage, Span
from matgraft.potentials.checks.forgetting import Forgetting, ForgettingTable, MovedFrames
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.neighbours import Overlap
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.parts import Split
from matgraft.potentials.recipe import Recipe, StrategySettings
from matgraft.potentials.report.facts import RunFacts, read_facts
from matgraft.potentials.run_files import (
    AUDIT,
    CHECKS,
    COVERAGE,
    FIT,
    HISTORY,
    METRICS,
    MODEL,
    PREDICTIONS,
    PROVENANCE,
    RECIPE,
    REFERENCES,
    SPLIT,
    VERDICT,
)
from matgraft.potentials.scoring.frame_errors import Predictions
from matgraft.potentials.scoring.scores import summarise
from matgraft.potentials.scoring.table import predictions_table, write_predictions
from matgraft.potentials.scoring.verdict import verdict
from matgraft.potentials.sources import Sources
from matgraft.potentials.tuning.facts import FitFacts
from matgraft.potentials.tuning.references import ReferenceShift
from matgraft.potentials.tuning.step_zero import StepZero

TYPES = {"AIMD-NVT": 0.9, "Elastic": 0.25, "Surface": 1.1, "Vacancy": 0.8}  # typical force component, eV/Å
MODELS = ("untuned", "shift", "tuned")


def frames(
    rng: np.random.Generator, types: Mapping[str, float], n_frames: int
) -> tuple[Dataset, dict[str, Predictions]]:
    """Labelled frames, and predictions: the foundation with an offset, too soft and noisy; tuned: nearly right."""
    samples, predicted = [], {model: [] for model in MODELS}
    names = list(types)
    for frame in range(n_frames):
        kind = names[frame % len(names)]
        n_si, n_o = int(rng.integers(20, 64)), int(rng.integers(0, 3)) * 8
        n = n_si + n_o
        forces, stress = types[kind] * rng.standard_t(5, (n, 3)), rng.normal(0, 0.02, 6)
        labels = {"energy": np.array(-5.42 * n_si - 8.1 * n_o + n * (0.12 * types[kind] + rng.normal(0, 0.06)))}
        labels |= {"forces": forces} | ({} if kind == "Surface" else {"stress": as_matrix(stress)})
        atoms = Atoms(f"Si{n_si}O{n_o}" if n_o else f"Si{n_si}", positions=np.zeros((n, 3)))
        tags = {"trajectory": f"{kind}-{frame % 7}", "config_type": kind}
        samples.append(Sample(atoms, labels, tags, file="test.extxyz", index=frame))
        for model in MODELS:
            predicted[model].append(prediction(rng, labels, types[kind], n, model))
    return Dataset(tuple(samples)), predicted


def prediction(
    rng: np.random.Generator, labels: Mapping[str, Array], size: float, n: int, model: str
) -> dict[str, Array]:
    tuned, noise = model == "tuned", 0.25 * size**0.5
    spread, slope, shaky = (0.006, 0.985, 0.4 * noise) if tuned else (0.03, rng.normal(0.82, 0.02), noise)
    offset = 0.08 * n if model == "untuned" else 0.0
    found = {
        "energy": labels["energy"] + offset + n * rng.normal(0, spread),
        "forces": slope * labels["forces"] + rng.normal(0, shaky, (n, 3)),
    }
    if "stress" in labels:
        found["stress"] = slope * labels["stress"] + as_matrix(rng.normal(0, 0.004 * shaky, 6))
    return found


def as_matrix(voigt: Array) -> Array:
    xx, yy, zz, yz, xz, xy = voigt
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def history(rng: np.random.Generator) -> str:
    step = np.arange(1, 481)
    decay = np.exp(-step / 110)
    rate = 1e-3 * np.minimum(step / 30, 0.5 * (1 + np.cos(np.pi * step / 480)))
    table = pd.DataFrame({"step": step, "epoch": step // 27, "seconds": 2.9 * step, "learning_rate": rate})
    table["train_loss"] = (0.012 + 0.2 * decay) * np.exp(rng.normal(0, 0.18, 480))
    evaluated = np.isin(step, [1, *range(27, 481, 27)])
    late = 1 + 0.15 * np.clip((step - 400) / 80, 0, 1)
    for name, floor, start in (
        ("validation_loss", 0.016, 0.22),
        ("validation_energy_rmse_meV_per_atom", 8, 60),
        ("validation_forces_rmse_eV_per_A", 0.14, 0.2),
        ("validation_stress_rmse_GPa", 0.35, 1.6),
    ):
        values = (floor + start * decay) * late * np.exp(rng.normal(0, 0.04, 480))
        table[name] = np.where(evaluated, values, np.nan)
    return table.to_csv(index=False)


AUDITED = (
    Finding(
        code="net-force", title="Net force of a frame", outcome="failed", severity="warning",
        frames=(3, 17, 18, 44, 45, 46, 47, 48), evidence="8 of 214 frames have a net force above 0.05 eV/Å.",
        numbers={"largest_eV_per_A": 0.081}, remedy="Converge the SCF tighter, or leave the frames out.",
        actions=(Action(drop=(3, 17)),),
    ),
    Finding(
        code="stress-shear", title="Order of the shear components", outcome="failed", severity="error",
        evidence="Labels fit the foundation with yz and xz swapped: 0.31 against 1.92 GPa.",
        numbers={"as_given_GPa": 1.92, "swapped_GPa": 0.31}, remedy="State the order.",
        actions=(Action(settings={"shear": "xz,yz,xy"}),),
    ),
    Finding(code="energy-unit", title="Unit of the energies", outcome="passed",
            evidence="eV, total: 95 meV/atom from the foundation; the next unit fits 40 times worse."),
    Finding(code="forces-sign", title="Sign of the forces", outcome="passed", evidence="Correlation +0.96."),
    Finding(code="unconverged", title="Unconverged runs", outcome="not applicable",
            evidence="extxyz does not say whether a run converged."),
)  # fmt: skip


def moved(chemistry: str, kind: str, n_frames: int, energy: float) -> MovedFrames:
    errors = {"energy_rmse_meV_per_atom": energy, "forces_rmse_eV_per_A": energy / 400}
    errors |= {} if kind == "dimer" else {"stress_rmse_GPa": energy / 30}
    own = {"forces": 1.8} | ({} if kind == "dimer" else {"stress": 14.0})
    return MovedFrames(chemistry=chemistry, kind=kind, n_frames=n_frames, errors=errors, of_foundation=own)


FORGOTTEN = Finding(
    code=Forgetting.code, title="Change from the foundation outside the target's chemistry", outcome="failed",
    severity="warning", evidence="the tuned model differs by energy 81 meV/atom; too much in energies",
    details=ForgettingTable(rows=(
        moved("inside", "all but dimers", 41, 69.2), moved("inside", "strained", 41, 69.2),
        moved("inside", "dimer", 7, 77.0), moved("outside", "all but dimers", 42, 81.0),
        moved("outside", "strained", 42, 81.0), moved("your file", "", 12, 4.5),
    )).model_dump(mode="json"),
)  # fmt: skip

THEORY = LevelOfTheory(
    code="VASP", version="5.4.4", functional="PBE", spin=False, cutoff_eV=520.0, kpoints=(4, 4, 4),
    kpoint_offset=(0.0, 0.0, 0.0), potentials=("PAW_PBE Si 05Jan2001",), energy="sigma0",
)  # fmt: skip

FOUNDATION = ModelCard(
    name="CHGNet 0.3.0", backbone="chgnet", vendor_version="0.4.2", licence="BSD-3-Clause",
    citation="Deng et al., Nat. Mach. Intell. 5, 1031 (2023)", elements=("Si", "O"), cutoff_A=6.0,
    quantities=("energy", "forces", "stress"), n_parameters=412525, weights_sha256="ef" * 32,
    theory=LevelOfTheory(functional="PBE"), references_eV={"Si": -5.4},
)  # fmt: skip

COVERED = Coverage(
    n_frames=214, n_atoms=Span(low=20, median=63, high=79), formulas={"Si1": 170, "O1Si2": 44},
    config_types=dict.fromkeys(TYPES, 53),
    families={"bulk": 202, "compressed": 18, "expanded": 18, "sheared": 27, "vacancy": 57, "surface": 12, "no cell": 0,
              "hot": 111, "relaxed": 40},
    volume_A3={"Si1": Span(low=18.9, median=20.4, high=22.3)}, volume_ratio=Span(low=0.92, median=1.0, high=1.09),
    shear_strain=0.062, force_eV_per_A=Span(low=0.0, median=0.61, high=7.9),
    temperature_K=Span(low=300.0, median=900.0, high=1800.0), closest_ratio=0.83,
    missing=[{"use": "collisions and shocks", "reason": "no two atoms come closer than 0.8 covalent distances"}],
)  # fmt: skip

LEAK = Overlap(part="test", against="train", size=40, frames=(220, 221), pairs=3, closer_than_A=0.05)
DIVIDED = Split(
    by="trajectory", reason="info key 'trajectory' names 28 simulations", train=tuple(range(180)),
    validation=tuple(range(180, 214)), test=tuple(range(214, 254)),
    groups=tuple(f"{list(TYPES)[i % 4]}-{i // 9 % 7}" for i in range(254)), leaks=(LEAK,), seed=7,
    warnings=(Caution(code="few-trajectories", damage=Damage.DOUBT, text="validation holds 4 trajectories only"),
              Caution(code="near-duplicates", damage=Damage.WRONG, text=LEAK.describe())),
)  # fmt: skip

SHIFTED = ReferenceShift(
    mode="refit", shift_eV={"Si": -0.0812, "O": 0.0437}, rank=1, n_elements=2, n_frames=180,
    undetermined=("only the sum Si + 2 O is determined",), residual_before_meV=88.1, residual_after_meV=31.4,
)  # fmt: skip

FITTED = FitFacts(
    best_step=405, best_value=0.0164, criterion="validation_loss", stopped="patience of 3 epochs", steps=480, epochs=17,
    seconds=1392.0, processes=1, parameters_trained=412525, parameters_total=412525,
    step_zero=StepZero(max_energy_difference_eV_per_atom=3e-7, max_force_difference_eV_per_A=2e-6, n_frames=4),
    settings=FitSettings(epochs=30, rate=1e-3), loss_weights={"energy": 30.0, "forces": 1.0}, n_frames=180,
)  # fmt: skip

RECIPE_OF_RUN = Recipe(
    train="train.extxyz", test="test.extxyz", seed=7, strategy=StrategySettings(name="full"),
    fit=FitSettings(epochs=30, rate=1e-3),
)  # fmt: skip


def sources(recipe: Recipe) -> Sources:
    units = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
    files = [
        SourceFile(name=f"{part}.extxyz", sha256=hash * 32, n_samples=n, keys={"energy": "energy"}, units=units)
        for part, hash, n in (("train", "ab", 214), ("test", "cd", 40))
    ]
    return Sources(
        files=tuple(files[:1]), test_files=tuple(files[1:]), notes=("stress read as eV/Å³ with ASE's sign",),
        theory=(THEORY,), data_sha256={"train": "12" * 32, "test": "34" * 32}, foundation_sha256="ef" * 32,
        recipe=recipe, versions={"matgraft": "0.1.0", "python": "3.11.9", "torch": "2.13.0"},
        command="matgraft tune RUN/recipe.yaml --out NEW",
    )  # fmt: skip


def write_run(folder: Path, *, seed: int = 0, types: Mapping[str, float] | None = None, n_frames: int = 40) -> Path:
    """Write every file of a run; `types` maps a config type to its typical force component (eV/Å)."""
    rng = np.random.default_rng(seed)
    (folder / MODEL).mkdir(parents=True)
    test, predicted = frames(rng, types or TYPES, n_frames)
    scores = summarise(test, predicted, [sample.tags["trajectory"] for sample in test], part="test")
    write_predictions(predictions_table({"test": (test, predicted)}), folder / PREDICTIONS)
    card = {
        "name": "CHGNet 0.3.0 tuned on train.extxyz",
        "parent": FOUNDATION,
        "recipe": RECIPE_OF_RUN.model_dump(mode="json"),
    }
    CARD.write(folder / MODEL, FOUNDATION.model_copy(update=card))
    write_text(folder / RECIPE, RECIPE_OF_RUN.to_yaml())
    write_text(folder / HISTORY, history(rng))
    PROVENANCE.write(folder, sources(RECIPE_OF_RUN))
    AUDIT.write(folder, Findings(findings=AUDITED))
    COVERAGE.write(folder, COVERED)
    SPLIT.write(folder, DIVIDED)
    REFERENCES.write(folder, SHIFTED)
    FIT.write(folder, FITTED)
    METRICS.write(folder, scores)
    CHECKS.write(folder, Findings(findings=(FORGOTTEN,)))
    VERDICT.write(folder, verdict_of(folder))
    return folder


def verdict_of(folder: Path) -> Verdict:
    """The verdict on the files of a folder, as a run reaches it."""
    findings = CHECKS.read(folder).findings
    cautions, missing = SPLIT.read(folder).warnings, COVERAGE.read(folder).missing
    audited = AUDIT.read(folder).findings
    return verdict(METRICS.read(folder), audit=audited, checks=findings, cautions=cautions, missing=missing)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return the maker of run folders, in a temporary place."""
    return lambda **options: write_run(tmp_path / "run", **options)


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run folder, to be copied, not changed."""
    return write_run(tmp_path_factory.mktemp("pattern") / "run")


@pytest.fixture(scope="session")
def facts(pattern: Path) -> RunFacts:
    """What a complete run folder says."""
    return read_facts(pattern)


@pytest.fixture
def run_folder(pattern: Path, tmp_path: Path) -> Path:
    """A complete run folder of a test's own."""
    return Path(shutil.copytree(pattern, tmp_path / "run"))

"""A run folder that looks like a real one, made with numpy in a fraction of a second."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from matgraft.core.verdict import Caution, Damage, Outcome, Reason, Use, Verdict

KEYS = {"energy": "energy_rmse_meV_per_atom", "forces": "forces_rmse_eV_per_A", "stress": "stress_rmse_GPa"}
TYPES = {"AIMD-NVT": 0.9, "Elastic": 0.25, "Surface": 1.1, "Vacancy": 0.8}  # typical force component, eV/Å
EV_A3_IN_GPA = 160.21766208


def rmse(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    error = np.concatenate([np.ravel(b - a) for a, b in pairs])
    return float(np.sqrt(np.mean(error**2)))


def predictions(rng: np.random.Generator, types: dict[str, float], n_frames: int) -> pd.DataFrame:
    """Untuned: offset, too soft and noisy. Shift: without the offset. Tuned: nearly right."""
    rows = []
    names = list(types)
    for frame in range(n_frames):
        kind = names[frame % len(names)]
        n_si, n_o = int(rng.integers(20, 64)), int(rng.integers(0, 3)) * 8
        n = n_si + n_o
        forces, stress = types[kind] * rng.standard_t(5, 3 * n), rng.normal(0, 0.02, 6)
        energy = -5.42 * n_si - 8.1 * n_o + n * (0.12 * types[kind] + rng.normal(0, 0.06))
        softness, noise = rng.normal(0.82, 0.02), 0.25 * types[kind] ** 0.5
        for model in ("untuned", "shift", "tuned"):
            tuned = model == "tuned"
            spread, slope, shaky = (0.006, 0.985, 0.4 * noise) if tuned else (0.03, softness, noise)
            offset = 0.08 * n if model == "untuned" else 0.0
            rows.append(
                {
                    "part": "test", "model": model, "frame": frame, "file": "test.extxyz", "index": frame,
                    "trajectory": f"{kind}-{frame % 7}", "config_type": kind, "n_atoms": n,
                    "formula": f"Si{n_si}O{n_o}" if n_o else f"Si{n_si}",
                    "energy_label": energy, "energy": energy + offset + n * rng.normal(0, spread),
                    "forces_label": forces, "forces": slope * forces + rng.normal(0, shaky, 3 * n),
                    "stress_label": stress if kind != "Surface" else None,
                    "stress": slope * stress + rng.normal(0, 0.004 * shaky, 6) if kind != "Surface" else None,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def errors(table: pd.DataFrame) -> dict[str, float]:
    stress = table[table["stress"].notna()]
    energy = (table["energy"] - table["energy_label"]) / table["n_atoms"] * 1000
    found = {
        KEYS["energy"]: float(np.sqrt(np.mean(energy**2))),
        "energy_mae_meV_per_atom": float(np.mean(np.abs(energy))),
        KEYS["forces"]: rmse(list(zip(table["forces_label"], table["forces"], strict=True))),
        "n_frames": len(table),
        "n_atoms": int(table["n_atoms"].sum()),
    }
    if len(stress):
        found[KEYS["stress"]] = EV_A3_IN_GPA * rmse(list(zip(stress["stress_label"], stress["stress"], strict=True)))
    return found


def metrics(table: pd.DataFrame) -> dict[str, Any]:
    models = {"test": "tuned", "untuned": "untuned", "shift": "shift"}
    frames = {key: table[table["model"] == model] for key, model in models.items()}
    scores = {key: errors(rows) for key, rows in frames.items()}
    by_type = {key: {kind: errors(part) for kind, part in rows.groupby("config_type")} for key, rows in frames.items()}
    intervals = {
        key: {name: [0.84 * score[name], 1.19 * score[name]] for name in KEYS.values() if name in score}
        for key, score in scores.items()
    }
    return {
        **scores, "part": "test", "n_groups": 28, "n_groups_with": {"energy": 28, "forces": 28, "stress": 21},
        "intervals": intervals,
        "by_config_type": by_type,
        "worst_force_decile": {key: {KEYS["forces"]: 2.2 * score[KEYS["forces"]]} for key, score in scores.items()},
        "gain": {base: gains(scores["test"], scores[base]) for base in ("untuned", "shift")},
    }  # fmt: skip


def gains(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, dict[str, Any]]:
    ratios = {name: ours[name] / theirs[name] for name in KEYS.values() if name in ours}
    return {
        name: {"ratio": ratio, "interval": [0.9 * ratio, 1.12 * ratio], "difference": ours[name] - theirs[name],
               "difference_interval": None, "beyond_chance": 1.12 * ratio < 1}
        for name, ratio in ratios.items()
    }  # fmt: skip


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


FINDINGS = [
    {"code": "net-force", "title": "Net force of a frame", "outcome": "failed", "severity": "warning",
     "frames": [3, 17, 18, 44, 45, 46, 47, 48], "evidence": "8 of 214 frames have a net force above 0.05 eV/Å.",
     "numbers": {"largest_eV_per_A": 0.081}, "remedy": "Converge the SCF tighter, or leave the frames out.",
     "actions": [{"settings": {"audit.drop": [3, 17]}}]},
    {"code": "stress-shear", "title": "Order of the shear components", "outcome": "failed", "severity": "error",
     "frames": [], "evidence": "Labels fit the foundation with yz and xz swapped: 0.31 against 1.92 GPa.",
     "numbers": {"as_given_GPa": 1.92, "swapped_GPa": 0.31}, "remedy": "State the order.",
     "actions": [{"settings": {"shear": "xz,yz,xy"}}]},
    {"code": "energy-unit", "title": "Unit of the energies", "outcome": "passed", "severity": "info",
     "evidence": "eV, total: 95 meV/atom from the foundation; the next unit fits 40 times worse."},
    {"code": "forces-sign", "title": "Sign of the forces", "outcome": "passed", "evidence": "Correlation +0.96."},
    {"code": "unconverged", "title": "Unconverged runs", "outcome": "not applicable",
     "evidence": "extxyz does not say whether a run converged."},
]  # fmt: skip

FORGETTING = {
    "code": "forgetting", "title": "Change from the foundation outside the target's chemistry", "outcome": "failed",
    "severity": "warning", "evidence": "the tuned model differs by energy 81 meV/atom; too much in energies",
    "details": {"rows": [
        {"chemistry": chemistry, "kind": kind, "n_frames": n_frames,
         "errors": {"energy_rmse_meV_per_atom": energy, "forces_rmse_eV_per_A": energy / 400}
         | ({} if kind == "dimer" else {"stress_rmse_GPa": energy / 30}),
         "of_foundation": {"forces": 1.8} | ({} if kind == "dimer" else {"stress": 14.0})}
        for chemistry, kind, n_frames, energy in [
            ("inside", "all but dimers", 41, 69.2), ("inside", "strained", 41, 69.2), ("inside", "dimer", 7, 77.0),
            ("outside", "all but dimers", 42, 81.0), ("outside", "strained", 42, 81.0), ("your file", "", 12, 4.5),
        ]
    ]},
}  # fmt: skip

THEORY = {"code": "VASP", "version": "5.4.4", "functional": "PBE", "spin": False, "cutoff_eV": 520.0,
          "kpoints": [4, 4, 4], "kpoint_offset": [0.0, 0.0, 0.0], "potentials": ["PAW_PBE Si 05Jan2001"],
          "energy": "sigma0", "hubbard_u": {}, "metagga": None}  # fmt: skip


PARENT = {
    "name": "CHGNet 0.3.0", "backbone": "chgnet", "vendor_version": "0.4.2", "licence": "BSD-3-Clause",
    "citation": "Deng et al., Nat. Mach. Intell. 5, 1031 (2023)", "elements": ["Si", "O"], "cutoff_A": 6.0,
    "quantities": ["energy", "forces", "stress"], "dtype": "float32", "n_parameters": 412525,
    "weights_sha256": "ef" * 32, "theory": {"functional": "PBE", "hubbard_u": {}}, "references_eV": {"Si": -5.4},
}  # fmt: skip


def documents(recipe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The small JSON files of a run."""
    return {
        "provenance.json": {
            "files": [
                {"name": "train.extxyz", "sha256": "ab" * 32, "n_samples": 214, "keys": {"energy": "energy"},
                 "units": {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}},
                {"name": "test.extxyz", "sha256": "cd" * 32, "n_samples": 40, "keys": {"energy": "energy"},
                 "units": {"energy": "eV", "forces": "eV/Å"}},
            ],
            "notes": ["stress read as eV/Å³ with ASE's sign"],
            "versions": {"matgraft": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "chgnet": "0.4.2"},
            "theory": [THEORY],
            "data_sha256": {"train": "12" * 32, "test": "34" * 32},
        },
        "audit.json": {"findings": FINDINGS},
        "coverage.json": {
            "n_frames": 214, "n_atoms": {"low": 20, "median": 63, "high": 79},
            "formulas": {"Si1": 170, "O1Si2": 44}, "config_types": dict.fromkeys(TYPES, 53),
            "families": {"bulk": 202, "compressed": 18, "expanded": 18, "sheared": 27, "vacancy": 57, "surface": 12,
                         "no cell": 0, "hot": 111, "relaxed": 40},
            "volume_A3": {"Si1": {"low": 18.9, "median": 20.4, "high": 22.3}},
            "volume_ratio": {"low": 0.92, "median": 1.0, "high": 1.09}, "shear_strain": 0.062,
            "force_eV_per_A": {"low": 0.0, "median": 0.61, "high": 7.9},
            "temperature_K": {"low": 300.0, "median": 900.0, "high": 1800.0}, "closest_ratio": 0.83,
            "missing": [{"use": "collisions", "reason": "no two atoms closer than 0.8 of a bond"},
                        {"use": "the equation of state under pressure",
                         "reason": "no frame is compressed by more than 8 %"}],
        },
        "split.json": {
            "by": "trajectory", "reason": "info key 'trajectory' names 28 simulations",
            "train": list(range(180)), "validation": list(range(180, 214)), "test": list(range(214, 254)),
            "groups": [f"{list(TYPES)[i % 4]}-{i // 9 % 7}" for i in range(254)], "dropped": [],
            "leaks": [{"part": "test", "against": "train", "size": 40, "frames": [220, 221], "pairs": 3,
                       "closer_than_A": 0.05}],
            "warnings": [{"code": "few", "damage": 2,
                          "text": "validation holds 4 trajectories only: its error is uncertain"}], "seed": 7,
        },
        "references.json": {
            "mode": "refit", "shift_eV": {"Si": -0.0812, "O": 0.0437}, "rank": 1, "n_elements": 2, "n_frames": 180,
            "undetermined": ["only the sum Si + 2 O is determined"], "residual_before_meV": 88.1,
            "residual_after_meV": 31.4, "text": "refit: Si -0.0812, O +0.0437 eV/atom (rank 1 of 2)",
        },
        "fit.json": {
            "best_step": 405, "best_value": 0.0164, "criterion": "validation_loss", "stopped": "patience of 3 epochs",
            "steps": 480, "epochs": 17, "seconds": 1392.0, "parameters_trained": 412525, "parameters_total": 412525,
            "step_zero": {"max_energy_difference_eV_per_atom": 3e-7, "max_force_difference_eV_per_A": 2e-6},
        },
        "verdict.json": Verdict(
            outcome=Outcome.BETTER,
            against="the foundation",
            headline="Better than the foundation. RMSE on 40 test frames of 28 trajectories: energy 5.72 instead "
            "of 24.9 meV/atom, forces 0.090 instead of 0.289 eV/Å, stress 0.073 instead of 0.677 GPa.",
            reasons=(
                Reason(about="forces", speaks="for", text="forces: 0.090 eV/Å against 0.289, ratio 0.31"),
                Reason(about="energy", speaks="for", text="energy: 5.7 meV/atom against 24.9"),
                Reason(about="forces", speaks="against", text="the worst tenth of forces is off by 0.20 eV/Å"),
            ),
            cautions=(
                Caution(code="near-duplicates", damage=Damage.WRONG,
                        text="2 of 40 test frames have a near duplicate in train"),
                Caution(code="stress-shear", damage=Damage.NOTE, text="stress-shear was allowed by the user"),
            ),
            not_fit_for=(Use(use="melts and amorphous silica", reason="no such frame"),
                         Use(use="pressures above 12 GPa", reason="no such frame")),
        ).model_dump(mode="json"),
        "checks.json": {"findings": [FORGETTING]},
        "model/card.json": {
            **PARENT, "name": "CHGNet 0.3.0 tuned on train.extxyz", "parent": PARENT, "recipe": recipe,
        },
    }  # fmt: skip


def write_run(folder: Path, *, seed: int = 0, types: dict[str, float] | None = None, n_frames: int = 40) -> Path:
    """Write every file of a run; `types` maps a config type to its typical force component (eV/Å)."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"train": "train.extxyz", "test": "test.extxyz", "foundation": "chgnet", "seed": 7,
              "strategy": {"name": "full"}, "fit": {"epochs": 30, "rate": 1e-3}}  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    table = predictions(rng, types or TYPES, n_frames)
    table.to_parquet(folder / "predictions.parquet")
    (folder / "model").mkdir(exist_ok=True)
    for name, content in {**documents(recipe), "metrics.json": metrics(table)}.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "history.csv").write_text(history(rng))
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return the maker of run folders, in a temporary place."""
    return lambda **options: write_run(tmp_path / "run", **options)


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run folder, to be copied, not changed."""
    return write_run(tmp_path_factory.mktemp("pattern") / "run")


@pytest.fixture
def run_folder(pattern: Path, tmp_path: Path) -> Path:
    """A complete run folder of a test's own."""
    return Path(shutil.copytree(pattern, tmp_path / "run"))

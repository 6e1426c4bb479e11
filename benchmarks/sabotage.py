"""Tuned potentials that are broken on purpose: which check catches what, and does a sound one pass?

    python benchmarks/sabotage.py --runs FOLDER              # tuned models are made there once, then broken
    python benchmarks/sabotage.py --runs FOLDER --only "forces, 20 % too large"
    python benchmarks/sabotage.py --report

Five runs are tuned on published frames (CHGNet and TensorNet on Si and Mo, a small MACE on GeSbTe) and must pass. Each
sabotage breaks one of them: what it predicts, its weights, or what it was trained on. All of them go through ``check``
with the suite that is named, on the smallest crystal among the frames, against the same frames and the same foundation.
A broken model counts as caught if it fails a check that its run passes when it is whole. The allowed ranges are those
of ``matgraft.potentials.checks.gates`` as they ship. One rule follows from the first table of this script, whose sound
runs all failed by the worst of fifteen values: `Gates.of_many`. Everything was made anew since.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, covalent_radii
from ase.io import write
from ase.neighborlist import neighbor_list
from common import DATA, HERE, RESULTS, Results, Row, circumstances, prepare, run, show

from matgraft import load
from matgraft.core.provenance import file_hash
from matgraft.core.quantities import full_to_voigt
from matgraft.core.verdict import Outcome
from matgraft.potentials.checks.checked import Checked
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import structures_in
from matgraft.potentials.models.calculator import PotentialCalculator
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.recipe import make_recipe, saved_recipe
from matgraft.potentials.run import CheckQuestion, check, tune_frames
from matgraft.potentials.run.check import frames_of

MODELS = HERE.parents[1] / "shared" / "models"
REAL = DATA.parent / "real" / "frames"
SHEAR = 'shear={config_type=AIMD-NVT: "xz,yz,xy", config_type=Vacancy: "xz,yz,xy"}'
"""Puts the published Si stresses right: `matgraft audit` offers it (stress-shear)."""

LEAKS = ("shared-trajectories", "near-duplicates", "cut-trajectories", "practically-random")
"""Codes of cautions of a fit that tell of leaked splits."""

TENSORNET = f"matgl:{MODELS / 'TensorNet-MatPES-PBE-v2025.1-PES'}"
CHGNET = "chgnet"


def _mace(name: str) -> str:
    file = MODELS / "mace" / f"{name}.model"
    return f"mace:{file}@{file_hash(file)}"


def _si(strategy: str, minutes: float, foundation: str) -> list[str]:
    return [
        f"train={DATA / 'Si_train.extxyz'}",
        f"test={DATA / 'Si_test.extxyz'}",
        SHEAR,
        f"foundation={foundation}",
        f"strategy.name={strategy}",
        f"fit.max_minutes={minutes}",
        "fit.processes=1",
    ]


RUNS: Mapping[str, Callable[[], list[str]]] = {
    "si-chgnet-full": lambda: _si("full", 20, CHGNET),
    "si-tensornet-full": lambda: _si("full", 20, TENSORNET),
    "si-tensornet-lora": lambda: _si("lora", 12, TENSORNET),
    "mo-tensornet-lora": lambda: [
        f"train={DATA / 'Mo_train.extxyz'}",
        f"test={DATA / 'Mo_test.extxyz'}",
        f"foundation={TENSORNET}",
        "strategy.name=lora",
        "fit.max_minutes=12",
        "fit.processes=1",
    ],
    "gesbte-mace-lora": lambda: [
        f"train={REAL / 'GeSbTe.extxyz'}",
        f"foundation={_mace('GeSbTe')}",
        "strategy.name=lora",
        "fit.max_minutes=6",
        "fit.processes=1",
    ],
}
"""Name -> recipe of a sound run; each is made once, by one process of one thread."""


# ----------------------------------------------------------------- what is predicted

Predicted = dict[str, Any]
Change = Callable[[Atoms, Predicted], None]
"""Changes the results of a calculator on a structure in place: energy eV, forces eV/Å, stress (6,) eV/Å³."""


class Changed(Calculator):
    """A potential whose predictions are changed.

    Parameters
    ----------
    change
        Given the structure and the results of the potential.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, potential: Potential, change: Change) -> None:
        super().__init__()
        self.own, self.change = PotentialCalculator(potential), change

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.own.calculate(self.atoms.copy(), properties, system_changes)
        found = {name: np.array(value) for name, value in self.own.results.items() if name != "magmoms"}
        self.change(self.atoms, found)
        self.results = {**found, "energy": float(found["energy"]), "free_energy": float(found["energy"])}


def scale_forces(factor: float) -> Change:
    """Scale the forces alone: energies no longer belong to them."""

    def change(atoms: Atoms, found: Predicted) -> None:
        found["forces"] *= factor

    return change


def soften(factor: float) -> Change:
    """Scale all differences of energies with their forces and stresses: a consistent, softer potential."""

    def change(atoms: Atoms, found: Predicted) -> None:
        for name in ("energy", "forces", "stress"):
            if name in found:
                found[name] *= factor

    return change


def flip_stress(atoms: Atoms, found: Predicted) -> None:
    """Give the stress the other sign."""
    if "stress" in found:
        found["stress"] *= -1


def scale_stress(factor: float) -> Change:
    """Give the stress another unit."""

    def change(atoms: Atoms, found: Predicted) -> None:
        if "stress" in found:
            found["stress"] *= factor

    return change


def half_precision(atoms: Atoms, found: Predicted) -> None:
    """Round energies per atom and forces to eight bits of mantissa, as bfloat16 does."""
    per_atom = torch.tensor(float(found["energy"]) / len(atoms)).bfloat16().item()
    found["energy"] = np.array(per_atom * len(atoms))
    found["forces"] = torch.tensor(found["forces"]).bfloat16().double().numpy()


def noisy_forces(size: float) -> Change:
    """Add a force to each atom that follows from no energy, and is the same for the same positions."""

    def change(atoms: Atoms, found: Predicted) -> None:
        seed = int(abs(float(np.sum(atoms.positions))) * 1e6) % 2**32
        found["forces"] += np.random.default_rng(seed).normal(0, size, found["forces"].shape)

    return change


def hole(depth: float) -> Change:
    """Attract atoms that come closer than 0.8 of their covalent distance, as a model without such frames may."""

    def energy(ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = np.clip(0.8 - ratio, 0, None)
        return -depth * x**2 / 0.04, 2 * depth * x / 0.04

    return pair_term(energy, lambda i, j, numbers: covalent_radii[numbers[i]] + covalent_radii[numbers[j]], 0.8)


def kink(cutoff: float, size: float) -> Change:
    """Add a pair term that is cut off sharply: energy and force jump where a pair crosses the cutoff."""

    def energy(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return size * (distance / cutoff - 0.9), np.full_like(distance, size / cutoff)

    return pair_term(energy, lambda i, j, numbers: np.ones(len(i)), cutoff)


def pair_term(
    energy: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    unit: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    most: float,
) -> Change:
    """Add a consistent pair energy of distance over `unit`, up to `most` units; `energy` returns it with its slope."""

    def change(atoms: Atoms, found: Predicted) -> None:
        reach = most * 3.2 if most < 2 else most
        i, j, d, vectors = neighbor_list("ijdD", atoms, reach)
        units = unit(i, j, atoms.numbers)
        near = d / units < most
        i, d, vectors, units = i[near], d[near], vectors[near], units[near]
        value, slope = energy(d / units)
        found["energy"] = found["energy"] + value.sum() / 2
        along = (slope / units)[:, None] * vectors / d[:, None]
        np.add.at(found["forces"], i, along)
        if "stress" in found:
            virial = np.einsum("ki,kj->ij", along, vectors) / 2 / atoms.get_volume()
            found["stress"] = found["stress"] + full_to_voigt(virial)

    return change


def other_theory(slope: float) -> Change:
    """Add an energy that follows the volume, as another functional does, with its stress."""

    def change(atoms: Atoms, found: Predicted) -> None:
        if "stress" not in found:
            return
        per_atom = atoms.get_volume() / len(atoms)
        found["energy"] = found["energy"] + slope * per_atom * len(atoms)
        found["stress"] = found["stress"] + full_to_voigt(slope * np.eye(3))

    return change


def swap_axes(atoms: Atoms, found: Predicted) -> None:
    """Exchange x and y of the forces."""
    found["forces"] = found["forces"][:, [1, 0, 2]]


def not_extensive(atoms: Atoms, found: Predicted) -> None:
    """Let the energy per atom follow the number of atoms."""
    found["energy"] = found["energy"] + 0.02 * len(atoms) * np.log(len(atoms))


def wind(atoms: Atoms, found: Predicted) -> None:
    """Push all atoms along x."""
    found["forces"][:, 0] += 0.1


# ------------------------------------------------------------------------ what it is


def noisy_weights(size: float) -> Callable[[Potential], Potential]:
    """Multiply each weight by 1 plus noise."""

    def broken(potential: Potential) -> Potential:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in potential.module.parameters():
                weight *= 1 + size * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        return potential

    return broken


def swapped_elements(first: str, second: str) -> Callable[[Potential], Potential]:
    """Exchange what the model knows of two elements: their rows of every weight that has one an element."""

    def broken(potential: Potential) -> Potential:
        elements = list(potential.card.elements)
        pairs = {len(elements): (elements.index(first), elements.index(second))}
        numbers = atomic_numbers[first] - 1, atomic_numbers[second] - 1
        with torch.no_grad():
            for weight in potential.module.parameters():
                for axis, size in enumerate(weight.shape):
                    rows = pairs.get(size) or (numbers if size in (89, 94, 118) else None)
                    if rows:
                        order = list(range(size))
                        order[rows[0]], order[rows[1]] = rows[1], rows[0]
                        weight.copy_(weight.index_select(axis, torch.tensor(order)))
                        break
        return potential

    return broken


def shifted_references(energy: float) -> Callable[[Potential], Potential]:
    """Give every second element another reference energy; of one element all of it."""

    def broken(potential: Potential) -> Potential:
        with torch.no_grad():
            potential.references[::2] += energy
            potential.references[1::2] -= energy
        return potential

    return broken


# --------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Sabotage:
    """One broken model.

    Attributes
    ----------
    of
        The run that is broken.
    change, broken
        What it predicts is changed, or the model itself.
    recipe
        Or it was trained wrongly: options over the run's recipe.
    """

    of: str
    change: Change | None = None
    broken: Callable[[Potential], Potential] | None = None
    recipe: tuple[str, ...] = ()


SABOTAGES: Mapping[str, Sabotage] = {
    "forces, 20 % too large": Sabotage("si-chgnet-full", scale_forces(1.2)),
    "softened by 20 %": Sabotage("si-chgnet-full", soften(0.8)),
    "stiffened by 30 %": Sabotage("si-tensornet-full", soften(1.3)),
    "stress with the other sign": Sabotage("si-chgnet-full", flip_stress),
    "stress in another unit (1.6)": Sabotage("si-tensornet-full", scale_stress(1.602)),
    "half precision": Sabotage("si-chgnet-full", half_precision),
    "forces with noise of 0.1 eV/Å": Sabotage("si-tensornet-full", noisy_forces(0.1)),
    "attractive at short range": Sabotage("si-chgnet-full", hole(20.0)),
    "sharp cutoff": Sabotage("si-tensornet-full", kink(4.3, 0.2)),
    "energies of another theory": Sabotage("si-chgnet-full", other_theory(0.02)),
    "x and y of the forces exchanged": Sabotage("si-tensornet-full", swap_axes),
    "not extensive": Sabotage("si-chgnet-full", not_extensive),
    "a constant push": Sabotage("si-tensornet-full", wind),
    "noise of 5 % on the weights": Sabotage("si-chgnet-full", broken=noisy_weights(0.05)),
    "noise of 10 % on the weights": Sabotage("si-tensornet-full", broken=noisy_weights(0.1)),
    "two elements exchanged": Sabotage("gesbte-mace-lora", broken=swapped_elements("Ge", "Te")),
    "wrong reference energies": Sabotage("gesbte-mace-lora", broken=shifted_references(0.3)),
    "MACE, softened by 20 %": Sabotage("gesbte-mace-lora", soften(0.8)),
    "MACE, forces 20 % too large": Sabotage("gesbte-mace-lora", scale_forces(1.2)),
    "MACE, noise of 10 % on the weights": Sabotage("gesbte-mace-lora", broken=noisy_weights(0.1)),
    "trained on leaked splits": Sabotage(
        "si-chgnet-full", recipe=("split.by=random", "test=null", "strategy.name=feature", "fit.max_minutes=1")
    ),
    "trained at a rate too large": Sabotage(
        "si-chgnet-full", recipe=("fit.rate=0.05", "fit.max_minutes=1", "strategy.name=full")
    ),
}


def sound_run(name: str, folder: Path, options: Sequence[str] = ()) -> Path:
    """Make a run once."""
    out = folder / name
    if not (out / "verdict.json").is_file():
        tune_frames(
            make_recipe(None, [*RUNS[name.partition("+")[0]](), *options]), out, resume=out.exists(), quiet=True
        )
    return out


def bulk_of(run_folder: Path, folder: Path) -> Path:
    """Write the smallest crystal that the frames of a run hold, and name the file; of GeSbTe rocksalt GeTe.

    The frames of GeSbTe have 81 atoms and more, without symmetry: a check of them takes some ten times as long.
    """
    crystals = [one for one in structures_in(frames_of(run_folder))[0] if one.kind == "bulk"]
    smallest = min((one.atoms for one in crystals), key=len)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{run_folder.name}.extxyz"
    write(file, bulk("GeTe", "rocksalt", a=6.0, cubic=True) if run_folder.name.startswith("gesbte") else smallest)
    return file


def judged(name: str, sabotage: Sabotage, runs: Path, kept: Path, settings: CheckSettings) -> Checked:
    """Break a model and check it."""
    if sabotage.recipe:
        slug = "-".join(name.split())
        wrong = sound_run(f"{sabotage.of}+{slug}", runs, sabotage.recipe)
        return check(wrong, CheckQuestion([bulk_of(wrong, kept)]), settings, quiet=True)
    base = sound_run(sabotage.of, runs)
    potential = load(base)
    assert isinstance(potential, Potential)
    if sabotage.broken is not None:
        potential = sabotage.broken(copy.deepcopy(potential))
    model = potential if sabotage.change is None else Changed(potential, sabotage.change)
    out = kept / "".join(letter if letter.isalnum() else "-" for letter in name)
    crystal, foundation = bulk_of(base, kept), saved_recipe(base).foundation
    question = CheckQuestion([crystal], frames=frames_of(base), against=foundation, out=out)
    return check(model, question, settings, quiet=True)


def row_of(name: str, of: str, checked: Checked, before: Sequence[str] | None) -> Row:
    """Return what the table shows; `before` are the checks that the run fails by itself, None for this run."""
    bad = [one for one in checked.findings if one.outcome == "failed"]
    failed = [f"{one.code} ({one.about})" if one.about else one.code for one in bad]
    broke_off = [one.code for one in checked.findings if one.outcome == "errored"]
    cautions = [one.code for one in checked.verdict.cautions]
    return {
        "model": name,
        "of": of,
        "sound": before is None,
        "suite": checked.settings.suite,
        "not_fit": checked.verdict.outcome == Outcome.NOT_FIT,
        "verdict": checked.verdict.level,
        "failed": failed,
        "failed_by_the_sabotage": [] if before is None else [one for one in (*failed, *broke_off) if one not in before],
        "broke_off": broke_off,
        "cautions": cautions,
        "caught_by_the_fit": [one for one in cautions if one in LEAKS],
        "evidence": {f"{one.code} {one.about}".strip(): one.evidence for one in bad},
        "seconds": round(checked.seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs") / "sabotage", help="tuned models are made here, once")
    parser.add_argument("--suite", choices=("quick", "crystal", "full"), default="quick")
    parser.add_argument("--only", default="", help="models whose name has this in it")
    parser.add_argument("--out", type=Path, default=RESULTS / "sabotage.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    asked = parser.parse_args()
    results = Results(asked.out, keys=("model", "suite"))
    if asked.report:
        report(results)
        return
    prepare()
    settings = CheckSettings(suite=asked.suite)
    for name in RUNS:
        if asked.only in name:
            whole = sound_run(name, asked.runs)
            checked = check(whole, CheckQuestion([bulk_of(whole, asked.runs / "broken")]), settings, quiet=True)
            results.put(row_of(name, name, checked, None) | circumstances())
    for name, sabotage in SABOTAGES.items():
        if asked.only in name:
            checked = judged(name, sabotage, asked.runs, asked.runs / "broken", settings)
            base = results.find(model=sabotage.of, suite=asked.suite) or {"failed": []}
            results.put(row_of(name, sabotage.of, checked, base["failed"]) | circumstances())
    report(results)


def report(results: Results) -> None:
    """Print which check caught what: of a broken model those that its run passes when it is whole."""
    columns = ["model", "of", "verdict", "failed", "s"]
    rows = [
        [
            one["model"],
            "sound" if one["sound"] else one["of"],
            one["verdict"],
            ", ".join(one["failed"] if one["sound"] else one["failed_by_the_sabotage"]) or "–",
            f"{one['seconds']:.0f}",
        ]
        for one in results.rows
    ]
    show("Sabotage", columns, rows)
    broken = [one for one in results.rows if not one["sound"]]
    caught = sum(bool(one["failed_by_the_sabotage"]) or bool(one.get("caught_by_the_fit")) for one in broken)
    print(f"{caught} of {len(broken)} broken models fail a check that their run passes, or a leak is told")


if __name__ == "__main__":
    run(main)

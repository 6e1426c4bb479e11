"""What physical checks cost: the suites, and the same properties by matcalc and by plain ASE, in one run.

    python benchmarks/check_cost.py               # silicon with CHGNet; matcalc is left out where it is not there
    python benchmarks/check_cost.py --suites quick
    python benchmarks/check_cost.py --report

Relaxation, equation of state, elastic constants and phonons are computed three times, from nothing: by ``check``; by
matcalc with the vendor's own calculator, as it comes but for the supercell of the phonons, which is as long as ours; by
plain loops over the vendor's calculator with the same strains, volumes and displacements as ours. Each in a fresh
process, one after another. ``check`` uses all cores; the others use one, as they come.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from common import RESULTS, Results, apart, circumstances, number, prepare, run, show

PROPERTIES = ("relaxation", "equation-of-state", "elastic", "phonons")
LENGTH_A = 10.5
"""Å at least of the phonons' supercell."""


def ours(only: tuple[str, ...], suite: str) -> dict[str, float]:
    """Return the seconds that a check of these codes, or of a suite, takes."""
    from matgraft import check
    from matgraft.potentials.checks.settings import CheckSettings
    from matgraft.potentials.run import CheckQuestion

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "si.cif"
        bulk("Si", a=5.43, cubic=True).write(file)
        settings = CheckSettings.model_validate({"only": only, "suite": suite})
        checked = check("chgnet", CheckQuestion(structures=[file], out=Path(folder) / "out"), settings, quiet=True)
        found = {"seconds": checked.seconds}
        for one in checked.findings:
            found |= {m.name: m.value for m in one.measures if m.value is not None}
            found[f"{one.code} passed"] = float(one.outcome == "passed")
        return found


def vendors_calculator() -> object:
    """Return chgnet's own."""
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu", verbose=False)


def by_matcalc() -> dict[str, float]:
    """Return the seconds of matcalc, and what it finds."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from matcalc import ElasticityCalc, EOSCalc, PhononCalc, RelaxCalc
    from pymatgen.io.ase import AseAtomsAdaptor

    calculator = vendors_calculator()
    structure = AseAtomsAdaptor.get_structure(bulk("Si", a=5.43, cubic=True))
    began = time.monotonic()
    relaxed = RelaxCalc(calculator, fmax=0.01).calc(structure)["final_structure"]
    eos = EOSCalc(calculator, relax_structure=False, fmax=0.01).calc(relaxed)
    elastic = ElasticityCalc(calculator, relax_structure=False, relax_deformed_structures=True, fmax=0.01).calc(relaxed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        PhononCalc(calculator, relax_structure=False, min_length=LENGTH_A, write_phonon=False).calc(relaxed)
    seconds = time.monotonic() - began
    return {
        "seconds": seconds,
        "a_A": float(relaxed.lattice.a),
        "B0_GPa": float(eos["bulk_modulus_bm"]),
        "C44_GPa": float(np.asarray(elastic["elastic_tensor"].voigt)[3, 3]) * 160.2177,
    }


def by_loops() -> dict[str, float]:
    """Return the seconds of plain loops over the vendor's calculator: 9 volumes, 12 strains, one displacement."""
    calculator = vendors_calculator()
    began = time.monotonic()

    def relaxed(atoms: Atoms, cell: bool) -> Atoms:
        atoms = atoms.copy()
        atoms.calc = calculator
        BFGS(FrechetCellFilter(atoms) if cell else atoms, logfile=None).run(fmax=0.01, steps=200)
        return atoms

    crystal = relaxed(bulk("Si", a=5.43, cubic=True), True)
    volumes, energies = [], []
    for factor in np.linspace(0.92, 1.08, 9):
        bent = crystal.copy()
        bent.set_cell(crystal.cell[:] * factor ** (1 / 3), scale_atoms=True)
        bent = relaxed(bent, False)
        volumes.append(bent.get_volume())
        energies.append(bent.get_potential_energy())
    bulk_modulus = EquationOfState(volumes, energies, "birchmurnaghan").fit()[2] * 160.2177
    slopes = []
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        stresses = []
        for strain in (-0.005, 0.005):
            bent = crystal.copy()
            tensor = np.zeros((3, 3))
            tensor[i, j] += strain / 2
            tensor[j, i] += strain / 2
            bent.set_cell(crystal.cell[:] @ (np.eye(3) + tensor), scale_atoms=True)
            stresses.append(relaxed(bent, False).get_stress(voigt=False)[i, j])
        slopes.append((stresses[1] - stresses[0]) / 0.01 * 160.2177)
    supercell = crystal.repeat(2)
    supercell.positions[0, 0] += 0.01
    supercell.calc = calculator
    supercell.get_forces()
    seconds = time.monotonic() - began
    return {"seconds": seconds, "a_A": float(crystal.cell.lengths()[0]), "B0_GPa": bulk_modulus, "C44_GPa": slopes[3]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", nargs="*", default=["quick", "crystal"])
    parser.add_argument("--out", type=Path, default=RESULTS / "check_cost.json")
    parser.add_argument("--report", action="store_true", help="print the results that are there")
    asked = parser.parse_args()
    results = Results(asked.out, keys=("what", "by"))
    if not asked.report:
        prepare()
        cases = {("four properties", "check"): (ours, PROPERTIES, "quick"), ("four properties", "ASE"): (by_loops,)}
        if importlib.util.find_spec("matcalc"):
            cases |= {("four properties", "matcalc"): (by_matcalc,)}
        cases |= {(f"suite {suite}", "check"): (ours, (), suite) for suite in asked.suites}
        for (what, by), (work, *arguments) in cases.items():
            found = {name: float(value) for name, value in apart(work, *arguments).items()}
            results.put({"what": what, "by": by, **found} | circumstances())
    base = {one["what"]: one["seconds"] for one in results.rows if one["by"] == "check"}
    lines = [
        [one["what"], one["by"], number(one["seconds"], 0), number(base[one["what"]] / one["seconds"])]
        for one in results.rows
        if one["what"] in base
    ]
    show("Physical checks of silicon with CHGNet", ["what", "by", "s", "ours / theirs"], lines)


if __name__ == "__main__":
    run(main)

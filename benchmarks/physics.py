"""Physical checks of foundations as they come, and of tuned potentials of silicon against DFT.

    python benchmarks/physics.py --suite crystal                       # foundations: Si, Mo, NaCl, Cu, a water molecule
    python benchmarks/physics.py --suite crystal --runs FOLDER         # and tuned runs of silicon (made by sabotage.py)
    python benchmarks/physics.py --report

Values of DFT (PBE) for silicon: a 5.469 Å, C11 156, C12 65, C44 76, B 95 GPa; the optical phonon at the zone centre
near 15.5 THz. Foundations are compared with these too, so that model, foundation and DFT stand in one row.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from common import HERE, RESULTS, Results, Row, circumstances, number, prepare, run, show

from matgraft.potentials.checks.checked import Checked
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.run import CheckQuestion, check

MODELS = HERE.parents[1] / "shared" / "models"
FOUNDATIONS = {"CHGNet": "chgnet", "TensorNet": f"matgl:{MODELS / 'TensorNet-MatPES-PBE-v2025.1-PES'}"}
STRUCTURES: dict[str, Atoms] = {
    "Si": bulk("Si", a=5.469, cubic=True),
    "Mo": bulk("Mo", cubic=True),
    "NaCl": bulk("NaCl", "rocksalt", a=5.69, cubic=True),
    "Cu": bulk("Cu", cubic=True),
    "H2O": molecule("H2O"),
}
DFT = {"a_A": 5.469, "B0_GPa": 95.0, "C11_GPa": 156.0, "C12_GPa": 65.0, "C44_GPa": 76.0, "optical_THz": 15.5}
SHOWN = {
    "a": "Å",
    "B0": "GPa",
    "C11": "GPa",
    "C12": "GPa",
    "C44": "GPa",
    "highest frequency at the zone's centre": "THz",
}


def row_of(model: str, structure: str, checked: Checked) -> Row:
    """Return the verdict and every measured number."""
    measures = {
        f"{one.code}: {measure.name}{f' ({measure.unit})' if measure.unit else ''}": measure.value
        for one in checked.findings
        for measure in one.measures
    }
    outcomes = {one.code: one.outcome for one in checked.findings if one.outcome != "not applicable"}
    return {
        "model": model,
        "structure": structure,
        "suite": checked.settings.suite,
        "verdict": checked.verdict.level,
        "failed": [code for code, outcome in outcomes.items() if outcome == "failed"],
        "errored": [code for code, outcome in outcomes.items() if outcome == "errored"],
        "passed": [code for code, outcome in outcomes.items() if outcome == "passed"],
        "measures": measures,
        "seconds": round(checked.seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=("quick", "crystal", "full"), default="crystal")
    parser.add_argument("--runs", type=Path, help="folder with tuned runs of silicon, named si-...")
    parser.add_argument("--only", default="", help="structures or runs whose name has this in it")
    parser.add_argument("--out", type=Path, default=RESULTS / "physics.json")
    parser.add_argument("--report", action="store_true", help="print the results that are there")
    asked = parser.parse_args()
    results = Results(asked.out, keys=("model", "structure", "suite"))
    if not asked.report:
        prepare()
        with tempfile.TemporaryDirectory() as folder:
            fill(results, asked, Path(folder))
    report(results)


def fill(results: Results, asked: argparse.Namespace, folder: Path) -> None:
    """Check what is asked for."""
    settings = CheckSettings(suite=asked.suite)
    reference = folder / "reference.yaml"
    lines = "".join(f"    {name}: {value}\n" for name, value in DFT.items())
    reference.write_text(f"source: PBE\nstructures:\n  Si:\n{lines}", encoding="utf-8")
    for name, atoms in STRUCTURES.items():
        file = folder / f"{name}.extxyz"
        write(file, Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))
        for foundation, model in FOUNDATIONS.items():
            if asked.only in f"{foundation} {name}":
                question = CheckQuestion([file], references=reference, out=folder / f"{foundation}-{name}")
                results.put(row_of(foundation, name, check(model, question, settings, quiet=True)) | circumstances())
    for tuned in sorted(asked.runs.glob("si-*")) if asked.runs else ():
        if asked.only in tuned.name and (tuned / "verdict.json").is_file():
            question = CheckQuestion([folder / "Si.extxyz"], references=reference, out=folder / tuned.name)
            checked = check(tuned, question, settings, quiet=True)
            results.put(row_of(tuned.name, "Si", checked) | circumstances())


def report(results: Results) -> None:
    """Print the verdicts, and silicon beside DFT."""
    verdicts = [
        [one["model"], one["structure"], one["verdict"], ", ".join(one["failed"] + one["errored"]) or "–",
         f"{one['seconds']:.0f}"]
        for one in results.rows
    ]  # fmt: skip
    show("Verdicts", ["model", "structure", "verdict", "failed or broke off", "s"], verdicts)
    silicon = [one for one in results.rows if one["structure"] == "Si"]
    lines = []
    for one in silicon:
        found = {key.split(": ")[1]: value for key, value in one["measures"].items()}
        values = [found.get(f"{name} ({unit})") for name, unit in SHOWN.items()]
        lines.append([one["model"], *(number(value, 3 - 2 * (i > 0)) for i, value in enumerate(values))])
    dft = ["DFT", *(number(value, 3 - 2 * (i > 0)) for i, value in enumerate(DFT.values()))]
    show("Silicon", ["", *(f"{name}, {unit}" for name, unit in SHOWN.items())], [*lines, dft])


if __name__ == "__main__":
    run(main)

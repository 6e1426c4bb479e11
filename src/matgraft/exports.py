"""Hand a tuned model to other tools, and prove that what was written says the same.

| target | what is written                                | what opens it                                      |
| ------ | ---------------------------------------------- | -------------------------------------------------- |
| native | the vendor's file and card.json                | the vendor's own loader, e.g. ``CHGNet.from_file``  |
| ase    | the same, and calculator.py (``calculator()``)  | any ASE script, with the vendor's package alone     |

Each export is opened again by the vendor's own code and compared with the model on a distorted structure.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from matgraft.backbones.base import Backbone, Potential
from matgraft.backbones.predict import predict
from matgraft.backbones.registry import load_folder, save_folder
from matgraft.data.dataset import Sample
from matgraft.errors import OptionError, RunError, choose

TOLERANCE = {"energy": 1e-4, "forces": 1e-3, "stress": 1e-4}
"""Energy eV/atom, forces eV/Å, stress eV/Å³: float32 rounding of two orders of summation."""

_CALCULATOR = '''"""ASE calculator of a potential tuned by matgraft. Needs {package}, not matgraft.

    from calculator import calculator
    atoms.calc = calculator()
"""

from pathlib import Path

{imports}


def calculator():
    """Return the calculator: energy in eV, forces in eV/Å, stress in eV/Å³."""
    {body}
'''


def export(run: Path, to: str, out: Path) -> dict[str, float]:
    """Write a run's model for another tool.

    Parameters
    ----------
    run
        A finished run, or a model folder.
    to
        ``"native"`` or ``"ase"``.
    out
        A new or empty folder.

    Returns
    -------
    dict
        Largest differences between the exported file, opened by the vendor's code, and the model.

    Raises
    ------
    RunError
        If the file that was written does not give the model's energies, forces and stresses.
    """
    choose(to, {"native": 0, "ase": 0}, "export target")
    if out.exists() and any(out.iterdir()):
        raise OptionError(f"the folder {out} is not empty", remedy="another -o")
    backbone = load_folder(run)
    assert isinstance(backbone, Potential)
    card = backbone.card
    # Written anew: a vendor's file that lies in the folder may be a pickle, of which nobody knows who put it there.
    save_folder(backbone, out, lambda fresh: card.model_copy(update={"weights_sha256": fresh.weights_sha256}))
    if to == "ase":
        package, imports, body = backbone.calculator_source()
        (out / "calculator.py").write_text(_CALCULATOR.format(package=package, imports=imports, body=body))
    return verify(backbone, out)


def verify(backbone: Potential, folder: Path) -> dict[str, float]:
    """Compare the vendor's calculator on the exported file with the model, on a distorted cell of its elements."""
    atoms = distorted_cell(backbone)
    (ours,) = predict(backbone, [Sample(atoms, {})])
    atoms.calc = backbone.vendor_calculator(folder / backbone.native_file)
    theirs = {
        "energy": np.array(atoms.get_potential_energy()) / len(atoms),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(voigt=False),
    }
    ours["energy"] = ours["energy"] / len(atoms)
    difference = {name: float(np.abs(ours[name] - theirs[name]).max()) for name in TOLERANCE}
    allowed = TOLERANCE | {"energy": TOLERANCE["energy"] + 2e-7 * float(np.abs(ours["energy"]))}
    wrong = [name for name, value in difference.items() if not value <= allowed[name]]
    if wrong:
        figures = ", ".join(f"{name} {difference[name]:.2g}" for name in wrong)
        raise RunError(f"the exported file does not give the model's predictions: {figures}", where=str(folder))
    return difference


def distorted_cell(backbone: Backbone, seed: int = 0) -> Atoms:
    """Return 8 atoms of the model's elements in a strained, rattled diamond cell: nothing in it is zero by symmetry."""
    atoms = bulk("Si", "diamond", a=5.5, cubic=True)
    elements = backbone.card.elements
    atoms.symbols = [elements[i % len(elements)] for i in range(len(atoms))]
    rng = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * rng.standard_normal((3, 3))), scale_atoms=True)
    atoms.positions += 0.08 * rng.standard_normal((8, 3))
    return atoms

"""What an export was checked by, and how far it was off: an exported file against the model it came from.

A check compares energy, forces and stress on a distorted cell, or says why it could not be done. It never raises for
what is not installed; it raises where what was written gives other predictions than the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator

from matgraft.backbones.base import Backbone, Potential
from matgraft.backbones.predict import predict
from matgraft.data.dataset import Sample
from matgraft.errors import RunError
from matgraft.quantities import Array

TOLERANCE = {"energy": 1e-4, "forces": 1e-3, "stress": 1e-4}
"""Energy eV/atom, forces eV/Å, stress eV/Å³: float32 rounding of two orders of summation."""


@dataclass(frozen=True)
class Check:
    """One way in which an export was held against the model.

    Attributes
    ----------
    what
        What was opened or run, by which code.
    difference
        Largest difference by quantity (energy eV/atom, forces eV/Å, stress eV/Å³); None if the check was not done.
    reason
        Why it was not done.
    """

    what: str
    difference: Mapping[str, float] | None = None
    reason: str = ""

    @property
    def text(self) -> str:
        """One line for people."""
        if self.difference is None:
            return f"not verified: {self.what}: {self.reason}"
        return f"verified: {self.what}: " + ", ".join(f"{name} {value:.1e}" for name, value in self.difference.items())


@dataclass(frozen=True)
class Exported:
    """What an export wrote and what was checked of it.

    Attributes
    ----------
    folder, target
        Where, and for which tool.
    checks
        In the order they were made.
    """

    folder: Path
    target: str
    checks: tuple[Check, ...]

    @property
    def verified(self) -> bool:
        """True if every check was made. What differs is an error, so a check that was made has passed."""
        return all(check.difference is not None for check in self.checks)

    @property
    def difference(self) -> dict[str, float]:
        """Largest difference by quantity over the checks that were made."""
        made = [check.difference for check in self.checks if check.difference is not None]
        names = dict.fromkeys(name for one in made for name in one)
        return {name: max(one[name] for one in made if name in one) for name in names}

    @property
    def reason(self) -> str:
        """Why it is not verified; empty if it is."""
        return "; ".join(f"{check.what}: {check.reason}" for check in self.checks if check.difference is None)

    def facts(self) -> dict[str, Any]:
        """Return plain values, as ``--json`` prints them."""
        return {
            "folder": str(self.folder),
            "to": self.target,
            "verified": self.verified,
            "reason": self.reason,
            "difference": self.difference,
            "checks": [asdict(check) for check in self.checks],
        }

    @property
    def text(self) -> str:
        """Lines for people."""
        lines = [f"{self.folder}: on a distorted cell, largest differences in eV/atom, eV/Å, eV/Å³:"]
        return "\n  ".join([*lines, *(check.text for check in self.checks)])


def verify(backbone: Potential, folder: Path) -> dict[str, float]:
    """Return the largest differences between the vendor's calculator on the native file in a folder and the model."""
    return dict(with_calculator(backbone, backbone.vendor_calculator(folder / backbone.native_file), str(folder)))


def with_calculator(backbone: Potential, calculator: Calculator, where: str) -> Mapping[str, float]:
    """Return the largest differences between an ASE calculator and the model, on the distorted cell."""
    atoms = distorted_cell(backbone)
    atoms.calc = calculator
    theirs = {
        "energy": np.array(atoms.get_potential_energy()),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(voigt=False),
    }
    return compare(backbone, atoms, theirs, where)


def compare(backbone: Potential, atoms: Atoms, theirs: Mapping[str, Array], where: str) -> dict[str, float]:
    """Return the largest differences of the quantities in `theirs` (eV, eV/Å, eV/Å³) from the model's.

    Raises
    ------
    RunError
        If one is larger than rounding.
    """
    (ours,) = predict(backbone, [Sample(atoms, {})], tuple(theirs))
    size = {"energy": len(atoms)}
    difference = {
        name: float(np.abs(np.asarray(ours[name]) - value).max()) / size.get(name, 1) for name, value in theirs.items()
    }
    # The vendors keep references in float32.
    allowed = TOLERANCE | {"energy": TOLERANCE["energy"] + 2e-7 * abs(float(ours["energy"])) / len(atoms)}
    wrong = [name for name, value in difference.items() if not value <= allowed[name]]
    if wrong:
        figures = ", ".join(f"{name} {difference[name]:.2g}" for name in wrong)
        raise RunError(f"the exported file does not give the model's predictions: {figures}", where=where)
    return difference


def distorted_cell(backbone: Backbone, seed: int = 0) -> Atoms:
    """Return 8 atoms of the model's elements in a strained, rattled diamond cell: nothing in it is zero by symmetry.

    The first cell vector lies along x and the second in the xy plane, as LAMMPS wants them.
    """
    atoms = bulk("Si", "diamond", a=5.5, cubic=True)
    elements = backbone.card.elements
    atoms.symbols = [elements[i % len(elements)] for i in range(len(atoms))]
    rng = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * rng.standard_normal((3, 3))), scale_atoms=True)
    atoms.positions += 0.08 * rng.standard_normal((8, 3))
    upright, _ = atoms.cell.standard_form()
    atoms.set_cell(upright, scale_atoms=True)
    return atoms

"""What an export was checked by, and how far it was off: an exported file against the model it came from.

A check compares energy, forces and stress on training frames and on crystals of all elements (`Structures`), or says
why it could not be done. It never raises for what is not installed; it raises where what was written gives other
predictions than the model.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers

from matgraft.core.errors import RunError
from matgraft.core.quantities import Array
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports.structures import Structures, distorted
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict

TOLERANCE = {"energy": 1e-4, "forces": 1e-3, "stress": 1e-4}
"""Energy eV/atom, forces eV/Å, stress eV/Å³: float32 rounding of two orders of summation."""
ROUNDING = 2
"""Units in the last place of the energy an atom that are allowed beside `TOLERANCE`: 2.4e-7 of it in float32."""
TOLD = 1e-5
"""eV: from here on it is said that a reference energy is rounded."""
ALLOWED = (
    f"energy {TOLERANCE['energy']:g} eV/atom and {ROUNDING} units in its last place at the precision of the weights, "
    f"forces {TOLERANCE['forces']:g} eV/Å, stress {TOLERANCE['stress']:g} eV/Å³"
)


@dataclass(frozen=True)
class ExportCheck:
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
    on
        The structures that they were made on.
    elements
        Those that were verified.
    notes
        What a user of the exported model has to know.
    """

    folder: Path
    target: str
    checks: tuple[ExportCheck, ...]
    on: str = "distorted crystals"
    elements: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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

    def facts(self) -> dict[str, object]:
        """Return plain values, as ``--json`` prints them."""
        return {
            "folder": str(self.folder),
            "to": self.target,
            "verified": self.verified,
            "reason": self.reason,
            "difference": self.difference,
            "checks": [asdict(check) for check in self.checks],
            "on": self.on,
            "elements": list(self.elements),
            "allowed": ALLOWED,
            "notes": list(self.notes),
        }

    @property
    def text(self) -> str:
        """Lines for people."""
        lines = [f"{self.folder}: on {self.on}.", "Largest differences in eV/atom, eV/Å, eV/Å³:"]
        return "\n  ".join([*lines, *(check.text for check in self.checks), *(f"note: {note}." for note in self.notes)])


def verify(backbone: Potential, folder: Path, structures: Structures | None = None) -> dict[str, float]:
    """Return the largest differences between the vendor's calculator on the native file in a folder and the model.

    Parameters
    ----------
    structures
        What they are compared on. Default: the training frames in that folder, and crystals of the card's elements.
    """
    calculator = backbone.vendor_calculator(folder / backbone.native_file)
    return with_calculator(backbone, calculator, str(folder), structures or Structures.of(backbone, folder))


def with_calculator(
    backbone: Potential, calculator: Calculator, where: str, structures: Structures | None = None
) -> dict[str, float]:
    """Return the largest differences between an ASE calculator and the model."""

    def evaluate(atoms: Atoms) -> dict[str, Array]:
        atoms = atoms.copy()
        atoms.calc = calculator
        with warnings.catch_warnings():  # the vendor's, such as chgnet's that helium has no electronegativity
            warnings.simplefilter("ignore")
            return {
                "energy": np.array(atoms.get_potential_energy()),
                "forces": atoms.get_forces(),
                "stress": atoms.get_stress(voigt=False),
            }

    return compare_all(backbone, evaluate, (structures or Structures.of(backbone)).all, where)


def compare_all(
    backbone: Potential, evaluate: Callable[[Atoms], Mapping[str, Array]], structures: Sequence[Atoms], where: str
) -> dict[str, float]:
    """Return the largest difference of each quantity over some structures; raises as `compare_predictions` does."""
    found = [compare_predictions(backbone, atoms, evaluate(atoms), where) for atoms in structures]
    return {name: max(one[name] for one in found) for name in found[0]}


def compare_predictions(backbone: Potential, atoms: Atoms, theirs: Mapping[str, Array], where: str) -> dict[str, float]:
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
    # The vendors keep references, and sum energies, in the precision of the weights.
    rounding = ROUNDING * resolution(backbone) * abs(float(ours["energy"])) / len(atoms)
    allowed = TOLERANCE | {"energy": TOLERANCE["energy"] + rounding}
    wrong = [name for name, value in difference.items() if not value <= allowed[name]]
    if wrong:
        figures = ", ".join(f"{name} {difference[name]:.2g} (allowed {allowed[name]:.2g})" for name in wrong)
        formula = atoms.get_chemical_formula()
        raise RunError(f"the exported file does not give the model's predictions: {figures} on {formula}", where=where)
    return difference


def resolution(backbone: Potential) -> float:
    """Return the spacing of numbers near 1 in the precision of the weights."""
    return float(np.finfo(backbone.card.dtype).eps)


def loss_of_references(backbone: Potential) -> str:
    """Say what is lost where a vendor's file keeps reference energies in the precision of the weights; or nothing."""
    energies = backbone.references.detach().cpu().double().numpy()
    known = energies[[atomic_numbers[symbol] - 1 for symbol in backbone.card.elements]]
    lost = np.abs(known - known.astype(backbone.card.dtype))
    if not len(lost) or lost.max() < TOLD:
        return ""
    symbol = backbone.card.elements[int(lost.argmax())]
    return (
        f"the vendor's code keeps reference energies and sums in {backbone.card.dtype}, which resolves "
        f"{1000 * resolution(backbone) * np.abs(known).max():.2g} meV at the largest reference energy. The one of "
        f"{symbol} is off by {1000 * lost.max():.2g} meV/atom. matgraft itself reads them in float64"
    )


def distorted_cell(backbone: Potential, seed: int = 0) -> Atoms:
    """Return a distorted diamond cell of 8 atoms, of 8 elements spread over those of the card.

    The first cell vector lies along x and the second in the xy plane, as LAMMPS wants them.
    """
    elements = backbone.card.elements
    spread = [elements[i * len(elements) // 8] for i in range(8)]
    return distorted(spread if len(elements) > 8 else [elements[i % len(elements)] for i in range(8)], seed)

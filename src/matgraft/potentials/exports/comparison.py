"""What an export was checked by, and how far it was off: an exported file against the model it came from.

A check compares energy, forces and stress on training frames and on crystals of all elements (`Structures`), or says
why it could not be done. It never raises for what is not installed; it raises where what was written gives other
predictions than the model.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from matgraft.core.errors import RunError
from matgraft.core.quantities import Array
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports.standalone import TunedCalculator
from matgraft.potentials.exports.structures import Structures, distorted_diamond
from matgraft.potentials.models.potential import RESOLVED_EV, Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.references import FILE as REFERENCES
from matgraft.potentials.models.references import energy_left_out, read_added_references

TOLERANCE: Mapping[str, Mapping[str, float]] = {
    "float32": {"energy": 1e-4, "forces": 1e-3, "stress": 1e-4},
    "float64": {"energy": 1e-8, "forces": 1e-7, "stress": 1e-8},
}
"""Precision of the vendor's code -> energy eV/atom, forces eV/Å, stress eV/Å³: rounding of two orders of summation."""

ROUNDING = 2
"""Units in the last place of the energy an atom, as the vendor's file sums it, that are allowed beside `TOLERANCE`."""

_UNITS = {"energy": ("meV/atom", 1000.0), "forces": ("eV/Å", 1.0), "stress": ("eV/Å³", 1.0)}
"""Quantity -> unit in sentences, and the factor into it."""


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
    allowed
        What the precision of the vendor's code allows, as `difference`.
    """

    what: str
    difference: Mapping[str, float] | None = None
    reason: str = ""
    allowed: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """One line for people."""
        if self.difference is None:
            return f"not verified: {self.what}: {self.reason}"
        return f"verified: {self.what}: {_in_words(self.difference, self.allowed)}"


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
            "notes": list(self.notes),
        }

    @property
    def text(self) -> str:
        """Lines for people."""
        lines = [f"{self.folder}: on {self.on}.", "Largest differences:"]
        return "\n  ".join([*lines, *(check.text for check in self.checks), *(f"note: {note}." for note in self.notes)])


def _in_words(difference: Mapping[str, float], allowed: Mapping[str, float]) -> str:
    """``energy 0.0012 meV/atom (0.1 allowed), ...``."""
    parts = []
    for name, value in difference.items():
        unit, factor = _UNITS[name]
        limit = f" ({allowed[name] * factor:.2g} allowed)" if name in allowed else ""
        parts.append(f"{name} {value * factor:.2g} {unit}{limit}")
    return ", ".join(parts)


def made(what: str, difference: Mapping[str, float], backbone: Potential) -> ExportCheck:
    """Return a check that was made, with what the precision of the vendor's code allows."""
    return ExportCheck(what, difference, allowed=TOLERANCE[backbone.file_dtype])


def verify_export(backbone: Potential, folder: Path, structures: Structures | None = None) -> dict[str, float]:
    """Return the largest differences between the native file in a folder and the model.

    It is opened by the vendor's calculator. What `reference_energies.json` in the folder says is added in float64.

    Parameters
    ----------
    structures
        What they are compared on. Default: the training frames in that folder, and crystals of the card's elements.
    """
    vendor = backbone.vendor_calculator(folder / backbone.native_file)
    calculator = TunedCalculator(vendor, read_added_references(folder), float(backbone.card.cutoff_A or 0))
    return with_calculator(backbone, calculator, str(folder), structures or Structures.of(backbone, folder))


def with_calculator(
    backbone: Potential, calculator: Calculator, where: str, structures: Structures | None = None
) -> dict[str, float]:
    """Return the largest differences between an ASE calculator and the model, on frames in the cells that they have."""

    def evaluate(atoms: Atoms) -> dict[str, Array]:
        atoms = atoms.copy()
        atoms.calc = calculator
        with warnings.catch_warnings():  # the vendor's, such as chgnet's that helium has no electronegativity
            warnings.simplefilter("ignore")
            found = {"energy": np.array(atoms.get_potential_energy()), "forces": atoms.get_forces()}
            return found | ({"stress": atoms.get_stress(voigt=False)} if volume(atoms) else {})

    return compare_all(backbone, evaluate, (structures or Structures.of(backbone)).as_given, where)


def compare_all(
    backbone: Potential, evaluate: Callable[[Atoms], Mapping[str, Array]], structures: Sequence[Atoms], where: str
) -> dict[str, float]:
    """Return the largest difference of each quantity over some structures; raises as `compare_predictions` does."""
    found = [compare_predictions(backbone, atoms, evaluate(atoms), where) for atoms in structures]
    return {
        name: max(one[name] for one in found if name in one) for name in _UNITS if any(name in one for one in found)
    }


def compare_predictions(backbone: Potential, atoms: Atoms, theirs: Mapping[str, Array], where: str) -> dict[str, float]:
    """Return the largest differences of the quantities in `theirs` (eV, eV/Å, eV/Å³) from the model's.

    Raises
    ------
    RunError
        If one is larger than rounding.
    """
    (ours,) = predict_samples(backbone, [Sample(atoms, {})], tuple(theirs))
    size = {"energy": len(atoms)}
    difference = {
        name: float(np.abs(np.asarray(ours[name]) - value).max()) / size.get(name, 1) for name, value in theirs.items()
    }
    # The vendors sum in `file_dtype`, but for what their file leaves out.
    summed = float(ours["energy"]) - energy_left_out(backbone.references_left_out(), atoms)
    allowed = dict(TOLERANCE[backbone.file_dtype])
    allowed["energy"] += ROUNDING * backbone.resolution * abs(summed) / len(atoms)
    wrong = [name for name, value in difference.items() if not value <= allowed[name]]
    if wrong:
        figures = _in_words({name: difference[name] for name in wrong}, allowed)
        formula = atoms.get_chemical_formula()
        raise RunError(f"the exported file does not give the model's predictions: {figures} on {formula}", where=where)
    return difference


def note_on_references(backbone: Potential) -> str:
    """Say which reference energies the vendor's file leaves out, and who adds them; nothing where it has them all."""
    left = {symbol: energy for symbol, energy in backbone.references_left_out().items() if abs(energy) > RESOLVED_EV}
    if not left:
        return ""
    symbol, largest = max(left.items(), key=lambda item: abs(item[1]))
    return (
        f"{backbone.native_file} leaves out the reference energies of {', '.join(left)}, since {backbone.file_dtype} "
        f"resolves {1000 * backbone.resolution * abs(largest):.2g} meV at the {largest:.0f} eV of {symbol}. "
        "Forces and stresses need nothing more. To the energy of the vendor's own calculator add those of "
        f"{REFERENCES}, atom by atom, in float64. calculator.py, model.py and in.lammps do so themselves"
    )


def distorted_cell(backbone: Potential, seed: int = 0) -> Atoms:
    """Return a distorted diamond cell of 8 atoms, of 8 elements spread over those of the card.

    The first cell vector lies along x and the second in the xy plane, as LAMMPS wants them.
    """
    elements = backbone.card.elements
    spread = [elements[i * len(elements) // 8] for i in range(8)]
    return distorted_diamond(spread if len(elements) > 8 else [elements[i % len(elements)] for i in range(8)], seed)

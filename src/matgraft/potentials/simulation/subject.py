"""What is simulated: a potential of matgraft, or any ASE calculator, under one name with one identity.

subject = Subject.of_potential("runs/silicon", load("runs/silicon"))
subject.calculator()              # a new ASE calculator
subject.evaluate(structures)      # energies, forces and stresses of many structures, in batches where it can
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError

from matgraft.core.quantities import ENERGY, FORCES, STRESS, Array, voigt_to_full
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.calculator import PotentialCalculator
from matgraft.potentials.models.fingerprint import fingerprint
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict


@dataclass(frozen=True)
class Subject:
    """A model that structures can be simulated with.

    Attributes
    ----------
    name
        As a user typed it.
    key
        Hash of its weights, or of what it predicts: results are kept under it.
    make
        Returns a new ASE calculator.
    quantities
        Names of the quantities that it predicts.
    elements
        Symbols that it knows; None where that is not known.
    cutoff_A
        Å beyond which two atoms do not act on each other in one step of messages; None where it is not known.
    potential
        The potential; None for a calculator of another package.
    """

    name: str
    key: str
    make: Callable[[], BaseCalculator]
    quantities: frozenset[str]
    elements: frozenset[str] | None = None
    cutoff_A: float | None = None
    potential: Potential | None = None

    @classmethod
    def of_potential(cls, name: str, potential: Potential) -> Subject:
        """Return a potential of matgraft as a subject."""
        card = potential.card
        return cls(
            name=name,
            key=fingerprint(potential),
            make=lambda: PotentialCalculator(potential),
            quantities=frozenset(potential.quantities),
            elements=frozenset(card.elements),
            cutoff_A=card.cutoff_A,
            potential=potential,
        )

    @classmethod
    def of_calculator(cls, name: str, make: Callable[[], BaseCalculator], probes: Sequence[Atoms]) -> Subject:
        """Return an ASE calculator as a subject.

        Parameters
        ----------
        make
            Returns a new calculator.
        probes
            Structures that it predicts: what it says of them, to 1e-6, is its identity.
        """
        quantities = {ENERGY.name, FORCES.name, STRESS.name} & set(make().implemented_properties)
        whole = cls(name=name, key="", make=make, quantities=frozenset(quantities))
        digest = hashlib.sha256(name.encode())
        for found in whole.evaluate(probes):
            for quantity in sorted(found):
                digest.update(quantity.encode() + (np.round(found[quantity], 6) + 0.0).tobytes())
        return replace(whole, key=digest.hexdigest())

    def calculator(self) -> BaseCalculator:
        """Return a new ASE calculator."""
        return self.make()

    def evaluate(self, structures: Sequence[Atoms]) -> list[dict[str, Array]]:
        """Predict structures.

        Returns
        -------
        list of dict
            For each structure energy () eV, forces (n, 3) eV/Å and, where model and cell have one, stress (3, 3) eV/Å³.
        """
        if self.potential is not None:
            samples = [Sample(atoms, {}, file=self.name, index=i) for i, atoms in enumerate(structures)]
            return predict(self.potential, samples)
        calculator = self.make()
        return [one_prediction(atoms, calculator) for atoms in structures]


def one_prediction(atoms: Atoms, calculator: BaseCalculator) -> dict[str, Array]:
    """Return what a calculator predicts of a structure, in canonical units; a quantity that it lacks is absent."""
    held = atoms.copy()
    held.set_constraint()
    held.calc = calculator
    energy = float(held.get_potential_energy())
    found = {ENERGY.name: np.asarray(energy), FORCES.name: held.get_forces()}
    if volume(held):
        with suppress(PropertyNotImplementedError):  # a calculator without stress
            found[STRESS.name] = voigt_to_full(held.get_stress())
    return {name: np.array(value, dtype=float) for name, value in found.items()}

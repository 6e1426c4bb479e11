"""What is simulated: a potential of matgraft, or any ASE calculator, under one name with one identity.

subject = Subject.of_potential("runs/silicon", load("runs/silicon"))
subject.calculator()              # a new ASE calculator
subject.evaluate(structures)      # energies, forces and stresses of many structures, in batches where it can
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from ase.data import covalent_radii

from matgraft.core.quantities import ENERGY, FORCES, STRESS, Array, voigt_to_full
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.calculator import PotentialCalculator
from matgraft.potentials.models.fingerprint import fingerprint
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples


class Once:
    """A maker of calculators that is asked once, since it may load a network."""

    def __init__(self, make: Callable[[], BaseCalculator]) -> None:
        self._make = make
        self._made: BaseCalculator | None = None

    def __call__(self) -> BaseCalculator:
        """Return the calculator, made where there is none."""
        self._made = self._make() if self._made is None else self._made
        return self._made

    def forget(self) -> None:
        """Let the next call make another one."""
        self._made = None


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
            Returns a calculator; it is called once, since it may load a network.
        probes
            What it says of these structures, of denser ones and of their dimers is its identity, to 1e-6; that it
            raises on one of them, too.
        """
        made = Once(make)
        quantities = {ENERGY.name, FORCES.name, STRESS.name} & set(made().implemented_properties)
        whole = cls(name=name, key="", make=made, quantities=frozenset(quantities))
        digest = hashlib.sha256(name.encode())
        for atoms in telling(probes):
            try:
                (found,) = whole.evaluate([atoms])
            except Exception as error:  # whatever a calculator raises: checks that need it say so
                made.forget()
                found = {type(error).__name__: np.zeros(0)}
            for quantity in sorted(found):
                digest.update(quantity.encode() + (np.round(found[quantity], 6) + 0.0).tobytes())
        return replace(whole, key=digest.hexdigest())

    def calculator(self) -> BaseCalculator:
        """Return an ASE calculator: a new one of a potential, the same again of another package."""
        return self.make()

    def forget(self) -> None:
        """Let the next call make a new calculator: one that raised may be in no sound state."""
        if isinstance(self.make, Once):
            self.make.forget()

    def evaluate(self, structures: Sequence[Atoms]) -> list[dict[str, Array]]:
        """Predict structures.

        Returns
        -------
        list of dict
            For each structure energy () eV, forces (n, 3) eV/Å and, where model and cell have one, stress (3, 3) eV/Å³.
        """
        if self.potential is not None:
            samples = [Sample(atoms, {}, file=self.name, index=i) for i, atoms in enumerate(structures)]
            return predict_samples(self.potential, samples)
        calculator = self.make()
        return [one_prediction(atoms, calculator) for atoms in structures]


def telling(structures: Sequence[Atoms]) -> Iterator[Atoms]:
    """Yield what tells two calculators apart: structures, at 0.8 and 0.6 of their lengths too, and close dimers.

    Calculators that differ at short distance alone agree on every crystal at rest.
    """
    rng = np.random.default_rng(0)
    for atoms in structures:
        yield atoms
        for part in (0.8, 0.6):
            dense = atoms.copy()
            dense.set_cell(part * atoms.cell[:])
            dense.positions = part * atoms.positions + 0.05 * rng.standard_normal((len(atoms), 3))
            yield dense
    elements = sorted({int(number) for atoms in structures for number in atoms.numbers})
    for pair in itertools.combinations_with_replacement(elements, 2):
        for part in (0.7, 0.5):
            distance = part * float(covalent_radii[list(pair)].sum())
            yield Atoms(pair, positions=[[0, 0, 0], [0, 0, distance]], cell=[20.0] * 3)


def one_prediction(atoms: Atoms, calculator: BaseCalculator) -> dict[str, Array]:
    """Return what a calculator predicts of a structure, in canonical units; a quantity that it lacks is absent."""
    held = atoms.copy()
    held.set_constraint()
    held.calc = calculator
    energy = float(held.get_potential_energy())
    found = {ENERGY.name: np.asarray(energy)}
    with suppress(PropertyNotImplementedError):  # a calculator without forces
        found[FORCES.name] = held.get_forces()
    if volume(held):
        with suppress(PropertyNotImplementedError):  # a calculator without stress
            found[STRESS.name] = voigt_to_full(held.get_stress())
    return {name: np.array(value, dtype=float) for name, value in found.items()}

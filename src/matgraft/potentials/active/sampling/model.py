"""A model as sampling asks it: energies, forces, and how sure it is where it says so."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY_STD, EXTRAPOLATION, FORCES_STD
from matgraft.potentials.models.calculator import PotentialCalculator
from matgraft.potentials.models.uncertainty import Uncertainty
from matgraft.potentials.simulation.loading import Model, load_subject
from matgraft.potentials.simulation.subject import Subject


class Sureness(Frozen):
    """How sure a model is of a frame; None where it does not say.

    Attributes
    ----------
    extrapolation
        Largest of an atom.
    energy_std
        eV of the cell.
    forces_std
        Largest of a component, eV/Å.
    """

    extrapolation: float | None = None
    energy_std: float | None = None
    forces_std: float | None = None

    @classmethod
    def of(cls, atoms: Atoms) -> Sureness:
        """Read what the calculator said of atoms in its last call."""
        results = getattr(atoms.calc, "results", {})
        told = {name: float(np.max(results[name])) for name in _NAMES if name in results}
        return cls.model_validate({_NAMES[name]: value for name, value in told.items()})


_NAMES = {EXTRAPOLATION.name: "extrapolation", ENERGY_STD.name: "energy_std", FORCES_STD.name: "forces_std"}


def subject_of(model: Model, key: str) -> Subject:
    """Return what is simulated; a name is loaded once in a process, as long as its weights (`key`) are the same."""
    return _loaded(str(model), key) if isinstance(model, str | Path) else load_subject(model, ())


@lru_cache(maxsize=1)
def _loaded(name: str, key: str) -> Subject:
    return load_subject(name, ())


def calculator_of(subject: Subject) -> BaseCalculator:
    """Return a calculator that says how sure the model is, where it was told."""
    potential = subject.potential
    if potential is None:
        return subject.calculator()
    return PotentialCalculator(potential, Uncertainty.find(potential.folder, potential.card))


def has_gate(calculator: BaseCalculator) -> bool:
    """Say whether a calculator says when it extrapolates."""
    return EXTRAPOLATION.name in getattr(calculator, "implemented_properties", ())

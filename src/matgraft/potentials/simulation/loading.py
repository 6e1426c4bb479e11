"""What is simulated, by its name: a run, a foundation, a file of a vendor, a calculator by import path, or the object.

subject = load_subject("runs/silicon", [atoms])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matgraft.core.devices import prediction_device
from matgraft.core.errors import OptionError
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.registry import (
    POTENTIALS,
    load_potential,
    names_are_words,
    names_model,
    refuse_unknown,
)
from matgraft.potentials.simulation.calculators import calculator_maker, is_import_path
from matgraft.potentials.simulation.subject import Subject

Model = str | Path | Potential | BaseCalculator
"""As a user names it, or what the name stands for."""


def refuse_name(model: Model) -> None:
    """Raise an OptionError if nothing stands behind the name of a model, before anything is loaded."""
    if isinstance(model, str | Path) and not is_calculator(str(model)):
        with names_are_words():
            refuse_unknown(model)


def load_subject(model: Model, probes: Sequence[Atoms]) -> Subject:
    """Load what is simulated, by whatever it is named.

    Parameters
    ----------
    probes
        Structures that tell a calculator of another package from its like (`Subject.of_calculator`).

    Raises
    ------
    OptionError
        If it is a correction to a cheap method, which has no energies of its own, or its function makes no calculator.
    """
    if isinstance(model, BaseCalculator):
        return Subject.of_calculator(type(model).__name__, lambda: model, probes)
    if isinstance(model, Potential):
        return Subject.of_potential(model.card.name, model)
    name = str(model)
    if is_calculator(name):
        return Subject.of_calculator(name, calculator_maker(name), probes)
    with names_are_words():
        potential = load_potential(model)
    if potential.card.corrects:
        raise OptionError(
            f"{name} is a correction to {', '.join(potential.card.corrects.values())}: it has no whole energies",
            remedy="give the sum of both as an ASE calculator: module:function",
        )
    potential.module.to(prediction_device())
    return Subject.of_potential(name, potential)


def is_calculator(name: str) -> bool:
    """Say whether a name is an import path, and no model that matgraft knows."""
    return is_import_path(name) and name.partition(":")[0] not in POTENTIALS and not names_model(name)

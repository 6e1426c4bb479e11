"""Dynamics and relaxations that end where the model leaves what it was trained on.

atoms.calc = load("runs/silicon").calculator(uncertainty=True)
dynamics = Langevin(atoms, ...)
watch = stop_outside(dynamics)
dynamics.run(10_000)
watch.frame         # None, or the first structure outside: label it, and tune again
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import Filter
from ase.optimize.optimize import Dynamics

from matgraft.core.errors import OptionError
from matgraft.core.quantities import EXTRAPOLATION, UNCERTAINTIES


@dataclass
class Watch:
    """An observer that ends a simulation at the first structure outside.

    Attributes
    ----------
    most
        Extrapolation up to which the simulation goes on.
    frame
        The structure that ended it, a copy with energy and forces, and with the extrapolation and, where the model has
        them, the standard deviations among its arrays; None where nothing did.
    step
        Its step, from 0.
    atom
        The atom that is farthest outside.
    """

    dynamics: Dynamics
    most: float
    frame: Atoms | None = None
    step: int | None = None
    atom: int | None = None

    def __call__(self) -> None:
        """Look at the structure of this step."""
        atoms = _atoms(self.dynamics)
        extrapolation = np.asarray(atoms.calc.get_property(EXTRAPOLATION.name, atoms))
        if extrapolation.max() <= self.most:
            return
        if self.frame is None:
            self.frame, self.step, self.atom = kept_frame(atoms), self.dynamics.nsteps, int(extrapolation.argmax())
        self.dynamics.max_steps = self.dynamics.nsteps  # ASE takes no further step


def stop_outside(dynamics: Dynamics, *, most: float = 1.0, interval: int = 1) -> Watch:
    """Let a simulation end at the first structure of which an atom is outside.

    Each further ``run`` ends at its first structure outside too, so a loop over short runs does not go on from there.

    Parameters
    ----------
    dynamics
        Dynamics or an optimizer of ASE whose atoms have a calculator with an uncertainty.
    most
        Largest extrapolation that is still taken for inside; 1 is the calibrated threshold.
    interval
        Steps from one look to the next.

    Raises
    ------
    OptionError
        If the calculator gives no extrapolation, or the bound is not positive.
    """
    calculator = _atoms(dynamics).calc
    if not isinstance(calculator, Calculator) or EXTRAPOLATION.name not in calculator.implemented_properties:
        raise OptionError(
            f"the calculator ({type(calculator).__name__}) gives no extrapolation",
            allowed=['load("runs/mine").calculator(uncertainty=True)'],
        )
    if not most > 0:
        raise OptionError(f"most={most:g} would end every simulation", allowed=["a number above 0, by default 1"])
    watch = Watch(dynamics, most)
    dynamics.attach(watch, interval)
    return watch


def _atoms(dynamics: Dynamics) -> Atoms:
    """Return the structure, also where its cell is relaxed with it."""
    relaxed: Atoms | Filter = dynamics.atoms
    return relaxed.atoms if isinstance(relaxed, Filter) else relaxed


def kept_frame(atoms: Atoms) -> Atoms:
    """Return a copy with the energy, the forces and what the model says of them."""
    frame, results = atoms.copy(), atoms.calc.results
    frame.calc = SinglePointCalculator(frame, energy=results["energy"], forces=results["forces"])
    for name in UNCERTAINTIES.keys() & results.keys():
        store = frame.arrays if UNCERTAINTIES[name].per == "atom" else frame.info
        store[name] = results[name]
    return frame

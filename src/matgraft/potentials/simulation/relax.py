"""Relaxation: positions, or cell and positions, of many structures in lock-step, one batch of predictions a step.

    slabs = relax(subject, [slab, molecule])                    # positions
    crystal = relaxed_crystal(subject, atoms)                   # its primitive cell; shared by all checks of a process

The steps are ASE's BFGS, on ASE's FrechetCellFilter where the cell moves. A structure that reaches the limit of steps
or falls apart is no error: it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, FORCES, STRESS, Array, full_to_voigt
from matgraft.potentials.data.cells import volume
from matgraft.potentials.simulation.deform import evaluated
from matgraft.potentials.simulation.geometry import Geometry, primitive_of
from matgraft.potentials.simulation.subject import Subject

FMAX_eV_per_A = 0.002
"""Largest force left on an atom, and on the cell (virial per atom, eV). It leaves some 0.02 GPa: 1e-4 of a length."""
STEPS = 300
"""Most steps; crystals and slabs of one hundred atoms take 30 to 100."""
APART = 3.0
"""Times the volume it began with, or a part of it, at which a cell has fallen apart and the relaxation ends."""


class Relaxed(Frozen):
    """What came of a relaxation.

    Attributes
    ----------
    geometry
        Where it ended.
    energy_eV
        Of all atoms.
    steps
        Steps taken.
    force_eV_per_A
        Largest force left on an atom or, where the cell moves, on the cell.
    stress_GPa
        Largest component left; None where the cell stood still.
    fmax_eV_per_A
        What was aimed at.
    """

    geometry: Geometry
    energy_eV: float
    steps: int
    force_eV_per_A: float
    stress_GPa: float | None
    fmax_eV_per_A: float

    @property
    def converged(self) -> bool:
        """True if forces fell to what was aimed at."""
        return self.force_eV_per_A <= self.fmax_eV_per_A


def relax(
    subject: Subject,
    structures: Sequence[Atoms],
    *,
    cell: bool = False,
    fmax: float = FMAX_eV_per_A,
    steps: int = STEPS,
) -> list[Relaxed]:
    """Relax structures, each by itself.

    Parameters
    ----------
    cell
        Whether the cell moves as well; a model without stress is then given one from its energies.
    fmax
        Largest force left, eV/Å.
    steps
        Most steps.
    """
    descents = [_Descent(atoms, cell, fmax) for atoms in structures]
    moving = descents
    for step in range(steps + 1):
        predict = evaluated if cell else Subject.evaluate
        for one, found in zip(moving, predict(subject, [one.atoms for one in moving]), strict=True):
            one.take(found)
        moving = [one for one in moving if one.goes_on]
        if not moving or step == steps:
            break
        for one in moving:
            one.step()
    return [one.result() for one in descents]


def relaxed_crystal(subject: Subject, atoms: Atoms) -> Relaxed:
    """Relax cell and positions of the primitive cell of a crystal; once in a process for a model and a structure."""
    return _relaxed_once(subject, Geometry.of(primitive_of(atoms)))


@lru_cache(maxsize=16)
def _relaxed_once(subject: Subject, geometry: Geometry) -> Relaxed:
    return relax(subject, [geometry.atoms()], cell=True)[0]


class _Descent:
    """One structure on its way down."""

    def __init__(self, atoms: Atoms, cell: bool, fmax: float) -> None:
        self.atoms, self.cell, self.fmax, self.steps = atoms.copy(), cell, fmax, 0
        self.atoms.set_constraint()
        self.volume = volume(self.atoms)
        degrees: Any = FrechetCellFilter(self.atoms) if cell else self.atoms
        self.degrees, self.optimizer = degrees, BFGS(degrees, logfile=None)
        self.energy, self.force = np.nan, np.inf
        self.stress: float | None = None

    def take(self, found: dict[str, Array]) -> None:
        """Read a prediction of where the structure is."""
        stress = full_to_voigt(found[STRESS.name]) if self.cell else None
        self.energy = float(found[ENERGY.name])
        self.stress = None if stress is None else float(np.abs(stress).max() / units.GPa)
        self.atoms.calc = SinglePointCalculator(
            self.atoms, energy=self.energy, forces=found[FORCES.name], stress=stress
        )
        self.force = float(np.linalg.norm(self.degrees.get_forces(), axis=1).max())

    @property
    def goes_on(self) -> bool:
        """False where it has arrived, or has fallen apart."""
        kept = not self.cell or 1 / APART < volume(self.atoms) / self.volume < APART
        return bool(np.isfinite(self.force)) and self.force > self.fmax and kept

    def step(self) -> None:
        self.optimizer.step()
        self.steps += 1

    def result(self) -> Relaxed:
        return Relaxed(
            geometry=Geometry.of(self.atoms),
            energy_eV=self.energy,
            steps=self.steps,
            force_eV_per_A=self.force,
            stress_GPa=self.stress,
            fmax_eV_per_A=self.fmax,
        )

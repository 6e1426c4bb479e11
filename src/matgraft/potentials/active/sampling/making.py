"""Structures of one kind, made and asked of the model: those that are not plausible are dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matgraft.potentials.active.sampling.makers import MADE, MadeStructure, Material, prototypes
from matgraft.potentials.active.sampling.model import Sureness, calculator_of, subject_of
from matgraft.potentials.active.sampling.plausible import Reason, StartFrames
from matgraft.potentials.active.sampling.sampled import Finished, PoolFrame
from matgraft.potentials.active.sampling.settings import Maker, SampleSettings
from matgraft.potentials.checks.structures import Structure
from matgraft.potentials.simulation.dynamics import first_line
from matgraft.potentials.simulation.geometry import Geometry
from matgraft.potentials.simulation.loading import Model
from matgraft.potentials.simulation.subject import Subject

SAME_ATOMS: frozenset[Maker] = frozenset({"strain", "rattle"})
"""Makers that keep the composition: energies an atom can be compared with that of the structure."""
SAME_DENSITY: frozenset[Maker] = SAME_ATOMS | {"vacancy", "interstitial"}


@dataclass(frozen=True)
class Making:
    """Structures of one kind, of one structure or of none."""

    model: Model
    key: str
    maker: Maker
    structure: Structure | None
    material: Material
    settings: SampleSettings
    seed: int

    @property
    def name(self) -> str:
        """In words."""
        return self.maker if self.structure is None else f"{self.maker} of {self.structure.name}"

    def run(self) -> Finished:
        """Make them, and ask the model."""
        subject = subject_of(self.model, self.key)
        calculator, start = calculator_of(subject), self._start(subject)
        frames: list[PoolFrame] = []
        dropped: dict[Reason, int] = {}
        failed = ""
        try:
            for made in self.made():
                found = self._judged(made, calculator, start)
                if isinstance(found, PoolFrame):
                    frames.append(found)
                else:
                    dropped[found] = dropped.get(found, 0) + 1
        except Exception as error:  # whatever spglib, pymatgen or Qhull raise of a strange crystal: the others are made
            failed = first_line(error)
        return Finished(frames=tuple(frames), dropped=dropped, failed=failed)

    def made(self) -> Iterator[MadeStructure]:
        """Yield the structures, whatever a model says of them."""
        rng = np.random.default_rng(self.seed)
        if self.structure is None:
            yield from prototypes(self.material, self.settings, rng)
        else:
            yield from MADE[self.maker](self.structure, self.material, self.settings, rng)

    def _start(self, subject: Subject) -> StartFrames:
        if self.structure is None or self.maker not in SAME_DENSITY:
            return StartFrames()
        energy = None
        if self.maker in SAME_ATOMS:
            try:
                energy = float(subject.evaluate([self.structure.atoms])[0]["energy"])
            except Exception:  # whatever a calculator raises: energies are then compared with nothing
                energy = None
        return StartFrames.of(self.structure.atoms, energy)

    def _judged(self, made: MadeStructure, calculator: BaseCalculator, start: StartFrames) -> PoolFrame | Reason:
        bounds = self.settings.plausible
        if (why := bounds.why_not_shape(made.atoms, start)) is not None:
            return why
        atoms = Atoms(made.atoms.numbers, made.atoms.positions, cell=made.atoms.cell[:], pbc=made.atoms.pbc)
        atoms.calc = calculator
        try:
            energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        except Exception:  # whatever a calculator raises of a frame that it cannot take
            return "refused"
        if (why := bounds.why_not(atoms, energy, forces, start)) is not None:
            return why
        return PoolFrame(
            geometry=Geometry.of(atoms),
            kind=self.maker,
            origin=made.origin,
            structure=self.structure.name if self.structure else "",
            **Sureness.of(atoms).model_dump(),
        )

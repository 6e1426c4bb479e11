"""PWmat's MOVEMENT: the steps of a relaxation or of molecular dynamics.

A step's head gives three energies, of which the second (``Ep``) is the one without the kinetic energy of the ions. What
stands under ``Force (eV/Angstrom)`` or ``Force (-force, eV/Angstrom)`` is the gradient: from step to step, the energy
rises along it. The column of stress is left out, since nothing in the file says what its sign is. Whether a step
converged is told from its number of SCF iterations and PWmat's own limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.base import FileHead, Format, without_packed
from matgraft.potentials.data.reading.formats.output import Output, Steps, numbers, walk
from matgraft.potentials.data.reading.raw import Conventions, RawFile

_CONVENTIONS = Conventions(
    "PWmat's MOVEMENT",
    units={"forces": "-eV/Å"},  # the gradient
    energies={"energy": "free"},
    fixed=True,
)
_STEP = re.compile(r"^\s*(\d+)\s+atoms,\s*Iteration")
_LIMITS = (100, 40)
"""SCF iterations of the first structure and of later ones, unless the input says otherwise."""


def is_pwmat(head: FileHead) -> bool:
    """Say whether a file is a MOVEMENT, by its first line."""
    return bool(_STEP.match(head.text.lstrip("\n"))) and "Etot,Ep,Ek" in head.text.partition("\n")[0]


def read_pwmat(path: Path, name: str) -> RawFile:
    """Read every whole step.

    Raises
    ------
    DataError
        If there is none.
    """
    run = _Run()
    fault = walk(path, name, run.take)
    run.finish()
    if run.stressed:
        run.steps.notes.append("the column of stress is left out: MOVEMENT does not say what its sign is")
    return run.steps.file(name, _CONVENTIONS, LevelOfTheory(code="PWmat"), fault)


@dataclass
class _Run:
    """What has been read so far, and the step under way: cell (3, 3) Å, fractions, gradient (n, 3) eV/Å."""

    steps: Steps = field(default_factory=Steps)
    n_atoms: int = 0
    energy: float | None = None
    converged: bool | None = None
    cell: Array | None = None
    species: list[int] = field(default_factory=list)
    fractions: Array | None = None
    gradient: Array | None = None
    stressed: bool = False

    def take(self, line: str, output: Output) -> None:
        """Take up a line and the table that it begins."""
        word = line.strip()
        if found := _STEP.match(line):
            self.finish()
            self.n_atoms = int(found.group(1))
            head, _, energies = line.partition("Etot,Ep,Ek")
            self.energy = numbers(energies)[1]
            scf = re.search(r"SCF\s*=\s*(\d+)", energies)
            limit = _LIMITS[numbers(head.partition("=")[2])[0] > 0]
            self.converged = int(scf.group(1)) < limit if scf else None
        elif word.startswith("Lattice vector"):
            rows = [next(output, "") for _ in range(3)]
            self.stressed = self.stressed or "stress" in rows[0]
            self.cell = np.array([numbers(row)[:3] for row in rows])
        elif word.startswith("Position"):
            table = output.table(self.n_atoms, slice(0, 4))
            self.species, self.fractions = table[:, 0].astype(int).tolist(), table[:, 1:]
        elif word.startswith("Force"):
            self.gradient = output.table(self.n_atoms, slice(1, 4))

    def finish(self) -> None:
        """Finish the step under way; one that is cut off is left out."""
        if self.energy is not None and self.cell is not None and self.fractions is not None:
            atoms = Atoms(self.species, scaled_positions=self.fractions, cell=self.cell, pbc=True)
            self.steps.add(atoms, {"energy": self.energy, "forces": self.gradient}, self.converged)
        elif self.n_atoms:
            self.steps.unfinished += 1
        self.energy = self.cell = self.fractions = self.gradient = None


PWMAT = Format(_CONVENTIONS.format, is_pwmat, read_pwmat, without_packed)

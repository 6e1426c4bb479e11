"""Psi4's output: energies and gradients of HF and DFT, single points and optimisations.

Energy and gradient belong to the geometry that is printed before them, which Psi4 may have turned. Only SCF energies
are read: methods beyond print their energies in many ways, so that their runs are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr

from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.reading.formats.base import FileHead, Format, without_packed
from matgraft.potentials.data.reading.formats.output import NUMBER, Output, array, element, numbers, walk
from matgraft.potentials.data.reading.formats.steps import StructureSteps, hand_out
from matgraft.potentials.data.reading.raw import Conventions, RawFile

_CONVENTIONS = Conventions(
    "Psi4's output",
    units={"energy": "Hartree", "forces": "-Hartree/Bohr"},  # what is printed is the gradient
    energies={"energy": "free"},
    fixed=True,
)
_STATE = re.compile(r"Geometry \(in (\w+)\), charge = (-?\d+), multiplicity = (\d+)")
_ATOM = re.compile(rf"^\s+([A-Za-z]\w*(?:\(\w+\))?)\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})(?:\s+{NUMBER})?\s*$")
_GRADIENT = re.compile(rf"^\s+\d+\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*$")
_DISPERSION = re.compile(r"^(.*)-(D2|D3ZERO|D3BJ|D3MBJ|D3|D4|NL)$")
_DISPERSIONS = {"D3BJ": "D3(BJ)", "D3ZERO": "D3(0)", "D3MBJ": "D3M(BJ)"}
_BEYOND = (
    *("total energy", "DF-MP2 Energies", "Total Energy (a.u.)", "SAPT", "CI Root"),
    "MP2 Hybrid          =           TRUE",
)
"""Marks of methods beyond the SCF."""
_SAME = 1e-4  # Å


def is_psi4(head: FileHead) -> bool:
    """Say whether a file is Psi4's output, by its banner."""
    return "Psi4: An Open-Source" in head.text or "PSI4: An Open-Source" in head.text


def read_psi4(path: Path, name: str) -> RawFile:
    """Read every geometry whose SCF energy is printed.

    Raises
    ------
    DataError
        If there is none, or if the method is one beyond the SCF.
    """
    run = _Run()
    fault = walk(path, name, run.handlers())
    broken = fault or ("" if run.ended else "its SCF did not converge" if run.failed else "the end is missing")
    if run.beyond:
        run.steps.frames.clear()
        run.steps.drop()
        broken = "its energies are of a method beyond HF and DFT, which is not read; convert the frames to extended XYZ"
    return run.steps.whole(name, _CONVENTIONS, broken)


@dataclass
class _Run:
    """What has been read so far."""

    steps: StructureSteps = field(default_factory=StructureSteps)
    version: str = ""
    functional: str = "HF"
    basis: str | None = None
    beyond: bool = False
    failed: bool = False
    ended: bool = False

    def handlers(self) -> Callable[[str, Output], None]:
        """Return what takes the lines."""
        return hand_out(
            {
                "Geometry (in": self._geometry,
                " Final Energy:": self._energy,
                "-Total Gradient:": self._gradient,
                "-Total gradient:": self._gradient,
                "KS Reference": self._kohn_sham,
                "HF Reference": self._hartree_fock,
                "Composite Functional:": self._functional,
                "  Basis Set: ": self._basis,
                "Could not converge SCF": self._failure,
                "Failed to converge": self._failure,
                "release": self._version,
                "exiting successfully": self._end,
                **dict.fromkeys(_BEYOND, self._too_far),
            }
        )

    def _geometry(self, line: str, lines: Output) -> None:
        found = _STATE.search(line)
        rows = lines.rows(_ATOM)
        if found is None or not rows:
            return
        if any(row[0].startswith("Gh(") for row in rows):
            raise ValueError("ghost atoms are not read")
        unit = Bohr if found.group(1) == "Bohr" else 1.0
        atoms = Atoms([element(row[0]) for row in rows], positions=array(row[1:] for row in rows) * unit)
        if not self._is_under_way(atoms):
            self.steps.begin(atoms)
            self.steps.tags = {"charge": found.group(2), "spin": found.group(3)}

    def _is_under_way(self, atoms: Atoms) -> bool:
        """Say whether a structure is the one under way, which a gradient prints once more."""
        own = self.steps.atoms
        same = own is not None and len(own) == len(atoms) and bool((own.numbers == atoms.numbers).all())
        return same and own is not None and bool(np.abs(own.positions - atoms.positions).max() < _SAME)

    def _energy(self, line: str, _: Output) -> None:
        step = self.steps
        if "energy" in step.values:
            step.begin(step.atoms.copy() if step.atoms else None)  # computed once more
        if step.atoms is not None:
            step.values["energy"] = numbers(line.split("Energy:", 1)[1])[0]
            step.converged, self.failed = not self.failed, False
            step.theory = self._theory()

    def _theory(self) -> LevelOfTheory:
        found = _DISPERSION.match(self.functional)
        name, dispersion = found.groups() if found else (self.functional, None)
        return LevelOfTheory(
            code="Psi4",
            version=self.version or None,
            functional=name,
            dispersion=_DISPERSIONS.get(dispersion, dispersion) if dispersion else None,
            basis=self.basis,
        )

    def _gradient(self, _: str, lines: Output) -> None:
        rows, step = lines.rows(_GRADIENT), self.steps
        if step.atoms is not None and "energy" in step.values and len(rows) == len(step.atoms):
            step.values["forces"] = array(rows)

    def _kohn_sham(self, _line: str, _: Output) -> None:
        self.functional = "unnamed functional"

    def _hartree_fock(self, _line: str, _: Output) -> None:
        self.functional = "HF"

    def _functional(self, line: str, _: Output) -> None:
        self.functional = line.split(":", 1)[1].replace("<=", "").strip()

    def _basis(self, line: str, _: Output) -> None:
        name = line.split(":", 1)[1].strip()
        if not name.startswith("("):  # an auxiliary one
            self.basis = name

    def _failure(self, _line: str, _: Output) -> None:
        self.failed = True

    def _too_far(self, _line: str, _: Output) -> None:
        self.beyond = True

    def _version(self, line: str, _: Output) -> None:
        found = re.match(r"\s*+P[Ss][Ii]4 (\d[\w.]*+) release", line)
        self.version = found.group(1) if found else self.version

    def _end(self, _line: str, _: Output) -> None:
        self.ended = True


PSI4 = Format(_CONVENTIONS.format, is_psi4, read_psi4, without_packed)

"""SIESTA's output: single points, relaxations, molecular dynamics.

Forces belong to the free energy ``FreeEng``, which each SCF prints beside ``E_KS``; both are
read, the free energy by default. The stress is printed
with ASE's sign (tension is positive) and without the motion of the nuclei. Forces that the output leaves out
(``WriteForces false``) are taken from the file ``.FA`` beside it, which has those of the last step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
from ase import Atoms
from ase.units import Bohr, Rydberg, kB

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import STRESS_UNITS, Array, parse_shear, reorder_shear, voigt_to_full
from matgraft.potentials.data.reading.formats.base import FileHead, Format, without_packed
from matgraft.potentials.data.reading.formats.output import NUMBER, Output, array, numbers, walk
from matgraft.potentials.data.reading.formats.steps import StructureSteps, hand_out
from matgraft.potentials.data.reading.raw import VASP_SHEAR, Conventions, RawFile

_CONVENTIONS = Conventions(
    "SIESTA's output",
    units={"stress": "kBar"},
    fixed=True,
)
_ATOM = re.compile(rf"^\s*({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+(\d+)\b")
_VECTOR = re.compile(rf"^\s*({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*$")
_FORCE = re.compile(rf"^(?:siesta:)?\s*\d+\s+({NUMBER})\s*({NUMBER})\s*({NUMBER})\s*$")
_STRESS = re.compile(rf"^(?:siesta:)?\s*({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*$")
_SPECIES = re.compile(r"^\s*Species number:\s*+(\d++).*?Atomic number:\s*+(-?\d+)")
_ITERATION = re.compile(rf"^\s*(?:scf|siesta):\s+(\d+)\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+{NUMBER}")
_GRID = re.compile(r"siesta: k-grid:\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(\S+)")
_FUNCTIONALS = (
    *(("pbesol", "PBEsol"), ("revpbe", "revPBE"), ("rpbe", "RPBE"), ("perdew, burke", "PBE"), ("blyp", "BLYP")),
    *(("becke-lee", "BLYP"), ("wu-cohen", "WC"), ("am05", "AM05"), ("ceperley", "LDA"), ("perdew-wang 1992", "LDA-PW")),
    *(("dion", "vdW-DF"), ("drsll", "vdW-DF"), ("lmkll", "vdW-DF2"), ("vydrov", "VV10"), ("bh", "optB88-vdW")),
)
"""What stands in the line on exchange and correlation -> its name."""
_ENDS = ("Job completed", ">> End of run")


def is_siesta(head: FileHead) -> bool:
    """Say whether a file is SIESTA's output, by its greeting."""
    return "WELCOME TO SIESTA" in head.text


def read_siesta(path: Path, name: str) -> RawFile:
    """Read every geometry of a SIESTA output whose energy is printed.

    Raises
    ------
    DataError
        If there is none.
    """
    run = _Run(path)
    return run.finish(name, walk(path, name, run.handlers()))


@dataclass
class _Run:
    """What has been read so far; `facts` are inputs by their names in lower case, without ``.``, ``_`` and ``-``."""

    path: Path
    steps: StructureSteps = field(default_factory=StructureSteps)
    version: str = ""
    label: str = ""
    species: dict[int, int] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    functional: str | None = None
    basis: str | None = None
    smearing: str | None = None
    grid: list[tuple[str, ...]] = field(default_factory=list)
    lattice_constant: float = float("nan")
    first: Atoms | None = None  # the structure of the input, for runs that print no coordinates later
    cell: Array = field(default_factory=lambda: np.zeros((3, 3)))
    entropy: float = 0.0  # free energy less E_KS in the last iteration, eV
    iterations: int = 0
    converged: bool | None = None
    decomposed: float | None = None  # free energy of the last decomposition, eV
    at_end: bool = False  # the energies of the last structure are printed once more
    largest: float | None = None  # largest component of a force, as printed
    fractional: bool = False  # the structure under way stands in fractions of a cell that may still come
    unprinted: int = 0
    ended: bool = False

    def handlers(self) -> Callable[[str, Output], None]:
        """Return what takes the lines."""
        return hand_out(
            {
                "outcoor:": self._geometry,
                "outcell: Unit cell vectors (Ang)": self._cell,
                "siesta: Atomic coordinates (Bohr) and species": self._input_geometry,
                "scf:": self._iteration,
                "SCF_NOT_CONV": self._unconverged,
                "SCF cycle converged": self._converged,
                "SCF Convergence by": self._converged,
                "siesta: E_KS(eV) =": self._energy,
                "siesta: FreeEng =": self._free_energy,
                "siesta: Final energy (eV)": self._final_energy,
                "siesta: Atomic forces (eV/Ang)": self._forces,
                "Voigt": self._stress,
                "siesta: Stress tensor (static) (eV/Ang**3)": self._static_stress,
                "Species number:": self._kind,
                "System Label:": self._system,
                "Siesta Version": self._version,
                "Version    ": self._version,
                "siesta: k-grid:": self._mesh,
                "redata: ": self._fact,
                "xc_check: ": self._exchange,
                "stepf: ": self._step_function,
                "LatticeConstant": self._constant,
                "PAO.BasisSize": self._size,
                **dict.fromkeys(_ENDS, self._end),
                "siesta:   ": self._iteration,
            }
        )

    # --- structures ---

    def _geometry(self, line: str, lines: Output) -> None:
        if "Atomic coordinates (" not in line or "Relaxed" in line or "Final" in line:
            return  # the last structure once more
        rows = lines.rows(_ATOM, skip=0)
        positions, kinds = array(row[:3] for row in rows), [self.species[int(row[3])] for row in rows]
        self.fractional = "(fractional)" in line
        if self.fractional:
            cell = self.cell if self.cell.any() else np.eye(3)
            self.steps.begin(Atoms(kinds, scaled_positions=positions, cell=cell, pbc=True))
            return
        unit = Bohr if "(Bohr)" in line else self.lattice_constant if "(scaled)" in line else 1.0
        self.steps.begin(Atoms(kinds, positions=positions * unit, cell=self.cell, pbc=True))

    def _input_geometry(self, _: str, lines: Output) -> None:
        rows = lines.rows(re.compile(rf"siesta:\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+(\d+)\s+\d+"), skip=0)
        kinds = [self.species[int(row[3])] for row in rows]
        self.first = Atoms(kinds, positions=array(row[:3] for row in rows) * Bohr, pbc=True)

    def _cell(self, line: str, lines: Output) -> None:
        """Take a cell: of the structure under way, whose coordinates are printed before it, or of the next one."""
        self.cell = array(lines.rows(_VECTOR, skip=0))
        atoms = self.steps.atoms
        if atoms is not None and not self.steps.values:
            atoms.set_cell(self.cell, scale_atoms=self.fractional)

    # --- what was computed ---

    def _iteration(self, line: str, _: Output) -> None:
        if found := _ITERATION.match(line):
            self.at_end, self.decomposed = False, None
            self.iterations = int(found.group(1))
            self.entropy = float(found.group(4)) - float(found.group(3))

    def _unconverged(self, _line: str, _: Output) -> None:
        self.converged = False

    def _converged(self, _line: str, _: Output) -> None:
        self.converged = True

    def _energy(self, line: str, _: Output) -> None:
        if self.steps.atoms is None and self.first is not None and not self.steps.frames:
            self.first.set_cell(self.cell)
            self.steps.begin(self.first)
        if self.steps.atoms is None or self.steps.values:
            self.steps.begin(None)
            self.unprinted += 1
            return
        energy = numbers(line)[-1]
        self.steps.values.update(e_fr_energy=energy + self.entropy, e_wo_entrp=energy)
        limit = self.facts.get("max number of scf iter")
        told = self.converged if self.converged is not None else not limit or self.iterations < int(limit)
        self.steps.converged, self.converged = told, None

    def _free_energy(self, line: str, _: Output) -> None:
        self.decomposed = numbers(line)[-1]
        if self.at_end:
            self._take_free_energy()

    def _final_energy(self, _line: str, _: Output) -> None:
        self.at_end = True
        self._take_free_energy()

    def _take_free_energy(self) -> None:
        """Take the free energy of the last structure once more, with more digits."""
        if (old := self.steps.values.get("e_fr_energy")) is not None and self.decomposed is not None:
            without = self.steps.values["e_wo_entrp"] + self.decomposed - old
            self.steps.values.update(e_fr_energy=self.decomposed, e_wo_entrp=without)

    def _forces(self, _: str, lines: Output) -> None:
        rows = lines.rows(_FORCE, skip=0)
        if rows and self.steps.values and len(rows) == len(self.steps.atoms or ()):
            self.steps.values["forces"] = array(rows)
        elif not rows:
            following = [next(lines, "") for _ in range(4)]
            self.largest = next((numbers(line)[0] for line in following if line.split()[:1] == ["Max"]), None)

    def _stress(self, line: str, _: Output) -> None:
        """Take the stress of a step; of dynamics it has the motion of the nuclei in it, and the static one follows."""
        found = numbers(line.split("(kbar):", 1)[-1])
        if len(found) == 6 and self.steps.values and "MD run" not in self.facts.get("dynamics option", ""):
            shear = "yz,xz,xy" if "yz,xz,xy" in line else VASP_SHEAR
            full = reorder_shear(voigt_to_full(np.array(found)), parse_shear(shear))
            self.steps.values.setdefault("stress", full)

    def _static_stress(self, _: str, lines: Output) -> None:
        rows = lines.rows(_STRESS, skip=0)
        if self.steps.values and len(rows) == 3:
            self.steps.values["stress"] = array(rows) / STRESS_UNITS["kBar"]

    # --- inputs ---

    def _kind(self, line: str, _: Output) -> None:
        if found := _SPECIES.search(line):
            number = int(found.group(2))
            if number <= 0:
                raise ValueError("species without a nucleus (ghost orbitals) are not read")
            self.species[int(found.group(1))] = number % 200  # 200 and more: a mixture's own number

    def _system(self, line: str, _: Output) -> None:
        self.label = line.split("Label:", 1)[1].strip()

    def _version(self, line: str, _: Output) -> None:
        self.version = (
            line.split(":", 1)[1].split()[0].removeprefix("siesta-").lstrip("v") if ":" in line else self.version
        )

    def _mesh(self, line: str, _: Output) -> None:
        if found := _GRID.match(line):
            self.grid = [*self.grid, found.groups()][-3:]

    def _fact(self, line: str, _: Output) -> None:
        name, sign, value = line.removeprefix("redata: ").partition("=")
        if "Net charge" in name and numbers(value)[0]:
            self.steps.tags["charge"] = f"{numbers(value)[0]:g}"
        if sign:
            self.facts[" ".join(name.replace(".", " ").lower().split())] = value.strip()

    def _exchange(self, line: str, _: Output) -> None:
        text = line.lower()
        self.functional = next((name for words, name in _FUNCTIONALS if words in text), self.functional)

    def _step_function(self, line: str, _: Output) -> None:
        self.smearing = line.split(":", 1)[1].replace("step function", "").strip()

    def _constant(self, line: str, _: Output) -> None:
        unit = line.split()[2:3]
        self.lattice_constant = numbers(line)[0] * (1.0 if unit and unit[0].lower().startswith("ang") else Bohr)

    def _size(self, line: str, _: Output) -> None:
        self.basis = line.split()[1]

    def _end(self, _line: str, _: Output) -> None:
        self.ended = True

    # --- the whole ---

    def theory(self) -> LevelOfTheory:
        """Return the level of theory that the output states."""
        cutoff, temperature = self.facts.get("mesh cutoff"), self.facts.get("electronic temperature")
        spin = self.facts.get("number of spin components")
        return LevelOfTheory(
            code="SIESTA",
            version=self.version or None,
            functional=self.functional,
            basis=self.basis,
            spin=int(spin) > 1 if spin else None,
            density_cutoff_eV=round(numbers(cutoff)[0] * Rydberg, 4) if cutoff else None,
            smearing=self.smearing,
            smearing_width_eV=_width(temperature) if temperature else None,
            **_kpoints(self.grid),
        )

    def finish(self, name: str, fault: str) -> RawFile:
        """Return the frames, or raise if there are none."""
        others = self._forces_beside()
        self.steps.begin(None)
        if self.unprinted:
            self.steps.notes.append(
                f"{self.unprinted} steps whose coordinates are not printed are left out; WriteCoorStep prints them"
            )
        broken = fault or ("" if self.ended else "the end is missing")
        return self.steps.file(name, _CONVENTIONS, self.theory(), broken, others)

    def _forces_beside(self) -> tuple[Path, ...]:
        """Take the forces of the last structure from the file beside, if the output has none and both agree."""
        beside, step = self.path.parent / f"{self.label}.FA", self.steps
        if not step.values or "forces" in step.values or self.largest is None or not beside.is_file():
            return ()
        rows = [numbers(line)[1:] for line in beside.read_text("utf-8", "replace").splitlines()[1:] if line.strip()]
        forces = np.array(rows)
        if forces.shape != (len(step.atoms or ()), 3) or abs(np.abs(forces).max() - self.largest) > 1e-5:
            step.notes.append(f"{beside.name} is of another structure and not read")
            return ()
        step.values["forces"] = forces
        step.notes.append(f"the forces of the last structure are read from {beside.name}")
        return (beside,)


class _Kpoints(TypedDict, total=False):
    kpoints: tuple[int, int, int]
    kpoint_offset: tuple[float, float, float]


def _kpoints(grid: Sequence[Sequence[str]]) -> _Kpoints:
    """Return the divisions and the offset of a diagonal mesh."""
    table = np.array([[float(word) for word in row] for row in grid])
    if table.shape != (3, 4) or np.count_nonzero(table[:, :3] - np.diag(np.diag(table))):
        return {}
    x, y, z = (int(n) for n in np.diag(table))
    a, b, c = (table[:, 3] % 1.0).tolist()
    return {"kpoints": (x, y, z), "kpoint_offset": (a, b, c)}


def _width(text: str) -> float:
    """Return an electronic temperature, in Ry or K, as a width in eV."""
    value = numbers(text)[0] * (kB if text.split()[-1] == "K" else Rydberg)
    return round(value, 6)


SIESTA = Format(_CONVENTIONS.format, is_siesta, read_siesta, without_packed)

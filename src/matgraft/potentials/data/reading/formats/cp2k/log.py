"""CP2K's log: energies, forces and stresses of every evaluation, and the level of theory.

The log has an energy for each evaluation, and forces and stress where their printing was asked for. Positions are in it
only where an evaluation printed them: at the start, and at the end of an optimisation. The energy under ``ENERGY|`` is
the free energy of the electrons; what an optimisation of the cell calls its total energy has P V added, 100 bar unless
the input says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.functionals import named
from matgraft.potentials.data.reading.formats.output import Output, element, numbers, walk

_VECTOR = re.compile(r"^ CELL\| Vector ([abc]) \[angstrom\]:?")
_COORDINATES = re.compile(r"ATOMIC COORDINATES IN (\w+)", re.IGNORECASE)
_STRESS = re.compile(r"^ (?:STRESS\| .*|.*\b)stress(?: tensor)? \[([\w.]+)\]\s*$", re.IGNORECASE)
_FORCES = re.compile(r"^ (?:ATOMIC FORCES in \[a\.u\.\]|FORCES\| Atomic forces \[hartree/bohr\])")
_GOAL = re.compile(r"^  Total Energy  +=|^ OPT\| Total energy \[hartree\]")
_FUNCTIONAL = re.compile(r"^ FUNCTIONAL\| (\S.*?)\s*:\s*$")
_IN_GPA = {
    "gpa": 1.0,
    "kbar": 0.1,
    "bar": 1e-4,
    "mpa": 1e-3,
    "pa": 1e-9,
    "a.u.": units.Hartree / units.Bohr**3 / units.GPa,
}

_SAME_GOAL = 1e-6  # Hartree: cells are printed with three decimals


@dataclass
class ForceEvaluation:
    """What the log says of one evaluation, in its units: Hartree, Hartree/Bohr, GPa (positive under compression).

    Attributes
    ----------
    goal
        What an optimisation of the cell called the energy of the step that ends here: with P V.
    atoms
        Structure, where it was printed for this evaluation.
    cell
        Cell, Å, where it was printed for this evaluation.
    entropy
        -TS; None where nothing says.
    volume
        Volume of the cell, Å³.
    charge
        Of the whole system, in elementary charges.
    """

    energy: float
    entropy: float | None = 0.0
    converged: bool | None = None
    goal: float | None = None
    forces: Array | None = None
    stress: Array | None = None
    atoms: Atoms | None = None
    cell: Array | None = None
    volume: float = 0.0
    charge: float = 0.0


@dataclass
class Cp2kLog:
    """What has been read of a log."""

    path: Path
    evaluations: list[ForceEvaluation] = field(default_factory=list)
    cell: Array | None = None
    pbc: tuple[bool, bool, bool] = (True, True, True)
    done: bool = False
    fault: str = ""
    run_type: str = ""
    ensemble: str = ""
    version: str = ""
    functionals: list[str] = field(default_factory=list)
    exchange: float | None = None
    dispersion: str | None = None
    spin: bool | None = None
    charge: float = 0.0
    cutoff: float | None = None
    mesh: tuple[int, int, int] = (1, 1, 1)
    scheme: str = ""
    smearing: str | None = None
    temperature: float | None = None
    kinds: dict[str, list[str]] = field(default_factory=dict)
    _next: ForceEvaluation = field(default_factory=lambda: ForceEvaluation(float("nan")))

    @property
    def changes_cell(self) -> bool:
        """True if the cell is not that of the start at every step."""
        return self.run_type.upper() == "CELL_OPT" or "NP" in self.ensemble.upper()

    def take(self, line: str, output: Output) -> None:
        """Take up a line."""
        if not line.strip():
            return
        if not (self._results(line, output) or self._structure(line, output) or self._setup(line)):
            self._method(line)

    def _results(self, line: str, output: Output) -> bool:
        if "ENERGY| Total FORCE_EVAL" in line:
            self._next.energy = numbers(line)[-1]
            self._next.charge = self.charge
            self._next.volume = 0.0 if self.cell is None else float(abs(np.linalg.det(self.cell)))
            self.evaluations.append(self._next)
            self._next = ForceEvaluation(float("nan"))
        elif "Electronic entropic energy:" in line:
            self._next.entropy = numbers(line)[-1]
        elif "SCF run converged in" in line or "outer SCF loop converged" in line:
            self._next.converged = True
        elif "Leaving inner SCF loop" in line or "SCF run NOT converged" in line or "outer SCF loop FAILED" in line:
            self._next.converged = False
        elif self.evaluations and _FORCES.match(line):
            self.evaluations[-1].forces = _forces(output)
        elif self.evaluations and (found := _STRESS.match(line)) and found[1].lower() in _IN_GPA:
            self.evaluations[-1].stress = _tensor(output) * _IN_GPA[found[1].lower()]
        elif self.evaluations and _GOAL.match(line) and self.run_type.upper() == "CELL_OPT":
            self.evaluations[-1].goal = numbers(line)[-1]
        elif "PROGRAM ENDED AT" in line:
            self.done = True
        else:
            return False
        return True

    def _structure(self, line: str, output: Output) -> bool:
        if found := _VECTOR.match(line):
            cell = np.zeros((3, 3)) if self._next.cell is None else self._next.cell
            cell["abc".index(found[1])] = numbers(line[found.end() :])[:3]
            self._next.cell = self.cell = cell
        elif found := _COORDINATES.search(line):
            scale = units.Bohr if found[1].lower() == "bohr" else 1.0
            self._next.atoms = _coordinates(output, scale, self.cell, self.pbc)
        else:
            return False
        return True

    def _setup(self, line: str) -> bool:
        words = line.split()
        if "CP2K| version string:" in line:
            self.version, self.done = line.rsplit("version", 1)[1].split()[0], False
        elif "GLOBAL| Run type" in line:
            self.run_type = words[-1]
        elif "MD| Ensemble" in line:
            self.ensemble = words[-1]
        elif "POISSON| Periodicity" in line:
            along = words[-1].lower()
            self.pbc = ("x" in along, "y" in along, "z" in along)
        elif "BRILLOUIN| K-point scheme" in line:
            self.scheme = words[-1]
        elif "BRILLOUIN| K-Point grid" in line:
            self.mesh = (int(words[-3]), int(words[-2]), int(words[-1]))
        elif "Atomic kind:" in line:
            self.kinds[line.split("kind:")[1].split()[0]] = []
        elif self.kinds and ("Orbital Basis Set " in line or "otential information for" in line):
            self.kinds[next(reversed(self.kinds))].append(words[-1])
        else:
            return False
        return True

    def _method(self, line: str) -> None:
        if line.startswith(" DFT| Spin"):
            self.spin = "unrestricted" in line
        elif line.startswith(" DFT| Charge "):
            self.charge = numbers(line)[-1]
        elif (found := _FUNCTIONAL.match(line)) and "ROUTINE" not in line:
            self.functionals += [] if found[1] in self.functionals else [found[1]]
        elif "HFX_INFO| FRACTION" in line or "HFX_INFO| Fraction" in line:
            self.exchange = numbers(line)[-1]
        elif "vdW POTENTIAL|" in line:
            self._van_der_waals(line)
        elif "QS| Density cutoff [a.u.]:" in line:
            self.cutoff = numbers(line)[-1] * units.Hartree
        elif "Smear method:" in line or "Smearing method" in line:
            self.smearing = "Fermi-Dirac" if "FERMI" in line.upper() else line.split()[-1]
        elif "Electronic temperature [K]" in line:
            self.temperature = numbers(line)[-1]

    def _van_der_waals(self, line: str) -> None:
        if "DFT-D" in line:
            self.dispersion = line.split("DFT-")[1][:2]
        elif "Damping" in line and self.dispersion == "D3" and ("BJ" in line or "Becke" in line):
            self.dispersion = "D3(BJ)"
        elif self.dispersion is None and "DRSLL" in line:
            self.dispersion = "vdW-DF"

    def theory(self) -> LevelOfTheory:
        """Return the level of theory as far as it is printed; without a word on k-points it is Γ."""
        gamma = self.mesh == (1, 1, 1)
        name = named(" ".join(self.functionals))
        hybrid = {} if self.exchange is None else {"hybrid": f"hybrid (exact exchange {self.exchange:g})"}
        return LevelOfTheory(
            code="CP2K",
            version=self.version or None,
            **(name | hybrid),
            dispersion=self.dispersion,
            spin=self.spin,
            density_cutoff_eV=self.cutoff,
            kpoints=self.mesh,
            kpoint_offset=(0.0, 0.0, 0.0) if gamma else None,
            kpoint_scheme="Monkhorst-Pack" if "monkhorst" in self.scheme.lower() and not gamma else None,
            smearing=self.smearing or "fixed",
            smearing_width_eV=self.temperature * units.kB if self.smearing and self.temperature else None,
            potentials=tuple(dict.fromkeys(" ".join([element(kind), *sorted(x)]) for kind, x in self.kinds.items())),
        )


def read_log(path: Path, name: str) -> Cp2kLog:
    """Read a log; `Cp2kLog.fault` says what broke it off.

    Raises
    ------
    DataError
        If a line in the middle cannot be read.
    """
    log = Cp2kLog(path)
    log.fault = walk(path, name, log.take)
    if log.fault and log.evaluations and log.evaluations[-1].forces is None and _expects_forces(log):
        log.evaluations.pop()
    _drop_strange_goals(log)
    log.fault = log.fault or ("" if log.done else "the end is missing")
    return log


def _drop_strange_goals(log: Cp2kLog) -> None:
    """Forget goals that are no energy of their evaluation plus one pressure times the volume.

    A line search may end with another evaluation than the one that it takes.
    """
    told = [one for one in log.evaluations if one.goal is not None and one.volume]
    pressure = np.median([((one.goal or 0.0) - one.energy) / one.volume for one in told]) if told else 0.0
    for one in told:
        if abs((one.goal or 0.0) - one.energy - pressure * one.volume) > _SAME_GOAL:
            one.goal = None


def _expects_forces(log: Cp2kLog) -> bool:
    return any(one.forces is not None for one in log.evaluations)


def _forces(output: Output) -> Array:
    """Read a table of forces up to its sum; an atom's kind may hold digits, so the columns count."""
    rows: list[list[float]] = []
    for line in output:
        words = line.split()
        if "SUM" in line.upper():
            return np.array(rows)
        if words[:1] == ["FORCES|"] and len(words) > 4 and words[1].isdecimal():
            rows.append([float(word) for word in words[2:5]])
        elif len(words) == 6 and words[0].isdecimal():
            rows.append([float(word) for word in words[3:]])
    raise EOFError("it ends in the middle of a table")


def _tensor(output: Output) -> Array:
    rows: list[list[float]] = []
    for line in output:
        words = line.removeprefix(" STRESS|").split()
        if len(words) == 4 and words[0] in "xyzXYZ":
            rows.append([float(word) for word in words[1:]])
        if len(rows) == 3:
            return np.array(rows)
    raise EOFError("it ends in the middle of a table")


def _coordinates(output: Output, scale: float, cell: Array | None, pbc: tuple[bool, bool, bool]) -> Atoms:
    rows: list[list[str]] = []
    for line in output:
        words = line.split()
        if len(words) >= 7 and words[0].isdecimal():
            rows.append(words)
        elif rows:
            break
    symbols = [chemical_symbols[int(words[3])] for words in rows]
    positions = [[float(word) * scale for word in words[4:7]] for words in rows]
    return Atoms(symbols, positions, cell=cell, pbc=pbc)

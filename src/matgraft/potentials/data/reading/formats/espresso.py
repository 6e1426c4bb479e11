"""Quantum ESPRESSO's pw.x, what it prints: scf, relax, vc-relax, md and vc-md.

A step is a structure, its energy, its forces and its stress, in this order; the next structure ends it. The line with
``!`` is the free energy F = E - TS if there is a smearing. The stress is printed positive under compression; neither
energy nor stress knows of the pressure that `vc-relax` aims at (its "enthalpy" lines do).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ase import Atoms, units

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.base import FileHead, Format, without_packed
from matgraft.potentials.data.reading.formats.functionals import named
from matgraft.potentials.data.reading.formats.output import Output, Steps, after, element, numbers, walk
from matgraft.potentials.data.reading.raw import Conventions, RawFile

ENERGIES = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
CONVENTIONS = Conventions(
    "Quantum ESPRESSO's pw.x output",
    units={**dict.fromkeys(ENERGIES, "Ry"), "forces": "Ry/Bohr", "stress": "-Ry/Bohr³"},
    fixed=True,
)
SMEARINGS = {
    "gaussian": "Gaussian",
    "fermi-dirac": "Fermi-Dirac",
    "marzari-vanderbilt": "Marzari-Vanderbilt",
    "methfessel-paxton": "Methfessel-Paxton 1",
}
EXTRAPOLATES = ("Gaussian", "Fermi-Dirac")
"""Smearings whose energy at sigma -> 0 lies midway between free energy and energy without entropy."""

_HUBBARD = re.compile(r"^\s*U\((\w++)-\d([spdf])\)\s*=\s*([\d.]+)")
_OLD_HUBBARD = re.compile(r"^\s*([A-Z][a-z]?)\w*\s+([0-3])\s+(\d+\.\d+)\s+\d+\.\d+\s")


def is_pwx(head: FileHead) -> bool:
    """Say whether a file is the output of pw.x."""
    return "Program PWSCF" in head.text


def read_pwx(path: Path, name: str) -> RawFile:
    """Read all finished steps.

    Raises
    ------
    DataError
        If there is none, or a line in the middle cannot be read.
    """
    run = _Run()
    return run.file(name, walk(path, name, run.take))


@dataclass
class _Step:
    """What has been read of an ionic step; energies in Ry. `last` is that of the last electronic step."""

    energy: float | None = None
    last: float | None = None
    smearing: float = 0.0
    converged: bool | None = None
    forces: Array | None = None
    stress: Array | None = None


@dataclass
class _Settings:
    """What a run prints of its level of theory."""

    version: str = ""
    functional: str = ""
    dispersion: str | None = None
    cutoff: float | None = None
    density_cutoff: float | None = None
    spin: bool = False
    soc: bool = False
    kinds: str | None = None
    width: float | None = None
    gamma: bool = False
    hubbard: dict[str, tuple[float, str]] = field(default_factory=dict)
    potentials: dict[str, str] = field(default_factory=dict)

    def take(self, line: str, output: Output) -> None:
        """Take up a line of the settings."""
        if "PseudoPot. #" in line:
            symbol = element(line.split(" for ", 1)[1])
            title = line.split("file", 1)[1].strip(" :") or next(output, "").strip()
            self.potentials[symbol] = titled(symbol, title)
        elif "number of k points=" in line:
            self._kpoints(line, output)
        else:
            self._method(line)

    def _method(self, line: str) -> None:
        if "kinetic-energy cutoff" in line:
            self.cutoff = after(line) * units.Rydberg
        elif "charge density cutoff" in line:
            self.density_cutoff = after(line) * units.Rydberg
        elif line.lstrip().startswith("Exchange-correlation"):
            self.functional = re.sub(r"\(.*", "", line.split("=", 1)[1]).strip()
        elif "Dispersion Correction" in line or "Dispersion         =" in line:
            self.dispersion = "D3 (damping not stated)" if "DFT-D3" in line else self.dispersion or "D2"
        elif "Starting magnetic structure" in line or "total magnetization  " in line:
            self.spin = True
        elif "Noncollinear calculation with" in line or "Non magnetic calculation with spin-orbit" in line:
            self.spin, self.soc = True, "with spin-orbit" in line
        elif found := _HUBBARD.match(line):
            self.hubbard[element(found[1])] = (float(found[3]), found[2])
        elif found := _OLD_HUBBARD.match(line):
            self.hubbard[found[1]] = (float(found[3]), "spdf"[int(found[2])])

    def _kpoints(self, line: str, output: Output) -> None:
        lower = line.lower()
        self.kinds = next((name for word, name in SMEARINGS.items() if word in lower), None)
        self.kinds = "tetrahedron" if "tetrahedron" in lower else self.kinds or "fixed"
        self.width = numbers(line)[-1] * units.Rydberg if "smearing" in lower else None
        next(output, None)
        first = next(output, "")
        self.gamma = int(after(line)) == 1 and "= (" in first and not any(numbers(first.split("= (")[1])[:3])

    def theory(self) -> LevelOfTheory:
        """Return the level of theory as far as it is printed: of the k-mesh only Γ alone is."""
        return LevelOfTheory(
            code="Quantum ESPRESSO",
            version=self.version or None,
            **named(self.functional),
            dispersion=self.dispersion,
            hubbard_u={symbol: u for symbol, (u, _) in self.hubbard.items()},
            hubbard_orbital={symbol: orbital for symbol, (_, orbital) in self.hubbard.items()},
            spin=self.spin,
            soc=self.soc,
            cutoff_eV=self.cutoff,
            density_cutoff_eV=self.density_cutoff,
            kpoints=(1, 1, 1) if self.gamma else None,
            kpoint_offset=(0.0, 0.0, 0.0) if self.gamma else None,
            smearing=self.kinds,
            smearing_width_eV=self.width,
            potentials=tuple(self.potentials.values()),
        )


@dataclass
class _Run:
    """What has been read of a file, which may hold several runs; lengths in Å.

    Attributes
    ----------
    begun
        Number of frames of the runs before the one under way.
    """

    alat: float = 0.0
    n_atoms: int = 0
    labels: list[str] = field(default_factory=list)
    cell: Array | None = None
    positions: Array | None = None
    step: _Step = field(default_factory=_Step)
    steps: Steps = field(default_factory=Steps)
    settings: _Settings = field(default_factory=_Settings)
    begun: int = 0
    done: bool = False

    def take(self, line: str, output: Output) -> None:
        """Take up a line: of a step, of a structure, or of the settings."""
        if not (self._results(line, output) or self._structure(line, output) or self._system(line)):
            self.settings.take(line, output)

    def _results(self, line: str, output: Output) -> bool:
        step = self.step
        if line.startswith("!") and "total energy" in line:
            step.energy = after(line)
        elif line.startswith("     total energy              ="):
            step.last = after(line)
        elif "smearing contrib. (-TS)" in line:
            step.smearing = after(line)
        elif "convergence has been achieved" in line:
            step.converged = True
        elif "convergence NOT achieved" in line:
            step.converged = False
        elif "EXX: now go back" in line:  # the energy before was one of the inner loop
            self.step = _Step()
        elif "Forces acting on atoms" in line:
            step.forces = _forces(output, self.n_atoms)
        elif "total   stress" in line and "Ry/bohr" in line:
            step.stress = output.table(3, slice(0, 3))
        elif "JOB DONE" in line:
            self.done = True
        else:
            return False
        return True

    def _structure(self, line: str, output: Output) -> bool:
        if line.startswith("CELL_PARAMETERS"):
            self._finish_step()
            self.cell = output.table(3) * self._unit(line)
        elif line.startswith("ATOMIC_POSITIONS"):
            self._finish_step()
            rows = [next(output, "").split() for _ in range(self.n_atoms)]
            table = np.array([[float(word) for word in row[1:4]] for row in rows])
            self.positions = table @ self.cell if "crystal" in line else table * self._unit(line)
            self.labels = [row[0] for row in rows]
        elif "crystal axes: (cart. coord. in units of alat)" in line:
            self._finish_step()
            self.cell = output.table(3, sign="=") * self.alat
        elif "site n." in line and "alat" in line:
            self._finish_step()
            rows = [next(output, "").split("tau(") for _ in range(self.n_atoms)]
            self.labels = [row[0].split()[1] for row in rows]
            self.positions = np.array([numbers(row[1].split("=")[1]) for row in rows]) * self.alat
        else:
            return False
        return True

    def _unit(self, line: str) -> float:
        """Return the length, Å, that a block of a structure counts in; a block without a word counts in alat."""
        lower = line.lower()
        if "alat=" in lower.replace(" ", ""):
            self.alat = after(line) * units.Bohr
        return 1.0 if "angstrom" in lower else units.Bohr if "bohr" in lower else self.alat

    def _system(self, line: str) -> bool:
        if "Program PWSCF" in line:
            self._finish_run()
            self.settings = _Settings(version=line.split("v.", 1)[-1].split(" starts")[0].strip())
            self.done = False
        elif "lattice parameter (alat)" in line:
            self.alat = after(line) * units.Bohr
        elif line.lstrip().startswith("celldm(1)=") and numbers(line)[1] > 0:
            self.alat = numbers(line)[1] * units.Bohr  # two digits more
        elif "number of atoms/cell" in line:
            self.n_atoms = int(after(line))
        else:
            return False
        return True

    def _finish_step(self) -> None:
        """Make a frame of the step under way, before another structure takes the place of its own."""
        step, self.step = self.step, _Step()
        energy = step.energy if step.energy is not None or step.converged is not False else step.last
        if energy is None or self.positions is None:
            return
        atoms = Atoms([element(label) for label in self.labels], self.positions, cell=self.cell, pbc=True)
        values = energies(energy, step.smearing, self.settings.kinds)
        self.steps.add(atoms, {**values, "forces": step.forces, "stress": step.stress}, step.converged)

    def _finish_run(self) -> None:
        """Finish a run: its last step, unless it broke off there and has no forces, and the theory of its frames."""
        if self.step.energy is not None and self.step.forces is None and not self.done:
            self.steps.unfinished += 1
            self.step = _Step()
        self._finish_step()
        frames, theory = self.steps.frames, self.settings.theory()
        frames[self.begun :] = [replace(frame, theory=theory) for frame in frames[self.begun :]]
        self.begun, self.positions = len(frames), None

    def file(self, name: str, fault: str) -> RawFile:
        """Return all frames; each states a level of theory of its own where that is not the first one's."""
        self.done = self.done and not fault
        self._finish_run()
        frames = self.steps.frames
        theory = (frames[0].theory if frames else None) or self.settings.theory()
        self.steps.frames = [replace(one, theory=None) if one.theory == theory else one for one in frames]
        return self.steps.file(name, CONVENTIONS, theory, fault or ("" if self.done else "the end is missing"))


def _forces(output: Output, n_atoms: int) -> Array:
    """Return (n_atoms, 3) forces; messages may stand between the heading and the rows."""
    rows: list[list[float]] = []
    for line in output:
        if "force =" in line:
            rows.append(numbers(line.split("=", 1)[1])[:3])
        elif rows:
            break
        if len(rows) == n_atoms:
            return np.array(rows)
    raise EOFError("it ends in the middle of a table")


def energies(free: float, smearing: float, kind: str | None) -> dict[str, float]:
    """Return the energies under the names that they have in a vasprun.xml.

    Parameters
    ----------
    smearing
        -TS, in the unit of the free energy. Zero without a smearing: all three are one then.
    kind
        Of the smearing. The energy at sigma -> 0 lies midway for some only.
    """
    found = {"e_fr_energy": free, "e_wo_entrp": free - smearing}
    return found | ({"e_0_energy": free - smearing / 2} if kind in EXTRAPOLATES or not smearing else {})


def titled(symbol: str, path: str) -> str:
    """Return the file name of a pseudopotential, behind its element where the name does not begin with it."""
    title = path.replace("\\", "/").rsplit("/", 1)[-1]
    return title if title.lower().startswith(symbol.lower()) else f"{symbol} {title}".strip()


ESPRESSO = Format(CONVENTIONS.format, is_pwx, read_pwx, without_packed)

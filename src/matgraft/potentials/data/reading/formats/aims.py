"""FHI-aims' output: single points, relaxations, molecular dynamics.

aims prints three energies for a structure: uncorrected (with the entropy's energy left in), corrected (at sigma -> 0,
"do not rely on this value for anything but (periodic) metals") and the electronic free energy, to which forces belong.
A relaxation prints the next structure, molecular dynamics the one that was just computed.
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
from matgraft.potentials.data.reading.formats.functionals import named
from matgraft.potentials.data.reading.formats.output import Output, Steps, element, numbers, walk
from matgraft.potentials.data.reading.formats.steps import Handlers, hand_out
from matgraft.potentials.data.reading.raw import Conventions, RawFile

CONVENTIONS = Conventions("FHI-aims' output", fixed=True)
_ENERGIES = {
    "Total energy": "e_wo_entrp",
    "Total energy uncorrected": "e_wo_entrp",
    "Total energy, T -> 0": "e_0_energy",
    "Total energy corrected": "e_0_energy",
    "Electronic free energy": "e_fr_energy",
}
_TENSOR = re.compile(r"^\s*\|\s+[xyz]\s+(-?\d\S*)\s+(-?\d\S*)\s+(-?\d\S*)")
_SMEARINGS = {"gaussian": "Gaussian", "fermi": "Fermi-Dirac", "methfessel": "Methfessel-Paxton", "cold": "cold"}
_DISPERSIONS = {
    "vdw_correction_hirshfeld": "TS",
    "many_body_dispersion": "MBD",
    "many_body_dispersion_nl": "MBD-NL",
    "many_body_dispersion_rsscs": "MBD",
}


def is_aims(head: FileHead) -> bool:
    """Say whether a file is an output of FHI-aims."""
    return "Invoking FHI-aims" in head.text or "Begin self-consistency loop: Initialization." in head.text


def read_aims(path: Path, name: str) -> RawFile:
    """Read all finished steps.

    Raises
    ------
    DataError
        If there is none, or a line in the middle cannot be read.
    """
    run = _Run()
    fault = walk(path, name, hand_out(run.handlers()))
    run.end()
    return run.steps.file(name, CONVENTIONS, run.theory(), fault or ("" if run.done else "the end is missing"))


@dataclass
class _Run:
    """What has been read of a run; `atoms` is the structure under way, of molecular dynamics the one before it."""

    n_atoms: int = 0
    cell: Array | None = None
    atoms: Atoms | None = None
    values: dict[str, float | Array] = field(default_factory=dict)
    differences: Array | None = None
    raw: list[list[float]] = field(default_factory=list)
    converged: bool = False
    dynamics: bool = False
    done: bool = False
    steps: Steps = field(default_factory=Steps)
    version: str = ""
    control: dict[str, list[str]] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    smearing: str | None = None
    width: float | None = None
    n_spins: int | None = None
    kind: str = ""
    hubbard: dict[str, tuple[float, str]] = field(default_factory=dict)
    echoes: bool = False

    def handlers(self) -> Handlers:
        """Return what is done with which line; the first mark that stands in it counts."""
        return {
            "| Number of atoms": self._size,
            "| Unit cell:": self._cell,
            "| Atomic structure:": self._input,
            "Begin self-consistency loop": self._begin,
            "Self-consistency cycle converged": self._converge,
            "Total atomic forces": self._forces,
            "Total forces(": self._raw,
            "nalytical stress tensor - Symmetrized": self._stress,
            "umerical stress tensor": self._numerical,
            "Molecular dynamics": self._move,
            "| Total energy": self._energy,
            "| Electronic free energy": self._energy,
            "structure": self._structure,
            "Have a nice day": self._end,
            "| Number of spin channels": self._spins,
            "Occupation type:": self._occupation,
            "FHI-aims version": self._version,
            "         Version ": self._version,
            "Running Born-Oppenheimer": self._move,
            "Parsing control.in": self._echo,
            "Completed first pass": self._echo,
            '" defaults for': self._basis,
            "": self._line,
        }

    # --- steps -------------------------------------------------------------------------------------------------------

    def _begin(self, _line: str, _output: Output) -> None:
        self.values, self.raw, self.converged = {}, [], False

    def _converge(self, _line: str, _output: Output) -> None:
        self.converged = True

    def _energy(self, line: str, _output: Output) -> None:
        label, _, rest = line.partition(":")
        key = _ENERGIES.get(label.strip(" |"))
        if key and "eV" in rest:
            self.values[key] = numbers(rest.split("eV")[0])[-1]

    def _raw(self, line: str, _output: Output) -> None:
        self.raw.append(numbers(line.split(":", 1)[1])[:3])

    def _forces(self, line: str, output: Output) -> None:
        """Read the forces; where constraints were applied to them, those of before."""
        forces, raw = output.table(self.n_atoms, slice(1, 4)), self.raw[-self.n_atoms :]
        if "constraints were applied" not in line or not (forces == 0).all(axis=1).any():
            self.values["forces"] = forces
        elif len(raw) == self.n_atoms:
            self.values["forces"] = np.array(raw)
            self.steps.notes.append("atoms are fixed: forces are those before constraints were applied")
        else:
            self.steps.notes.append("atoms are fixed and their forces were set to zero: forces left out")

    def _stress(self, _line: str, output: Output) -> None:
        self.values["stress"] = np.array(output.rows(_TENSOR), dtype=float)

    def _numerical(self, _line: str, output: Output) -> None:
        """Read a stress by finite differences; the SCF cycle of the structure itself follows."""
        self.differences = np.array(output.rows(_TENSOR), dtype=float)

    def _move(self, line: str, _output: Output) -> None:
        self.dynamics = self.dynamics or "olecular dynamics" in line or "Running" in line

    def _finish(self, atoms: Atoms | None) -> None:
        """Make a frame of the structure whose energy was found, unless that was done."""
        if atoms is not None and "e_fr_energy" in self.values:
            charge = self.control.get("charge", ["0"])
            tags = {"charge": f"{float(charge[0]):g}"} if float(charge[0]) else {}
            self.steps.add(atoms, {"stress": self.differences, **self.values}, self.converged, **tags)
        self.values, self.converged, self.differences = {}, False, None

    def end(self) -> None:
        """Finish the last structure; in a run that broke off, one without all that the others have is unfinished."""
        whole = self.done or (self.converged and self.steps.frames[-1:] and "forces" in self.values)
        if "e_fr_energy" in self.values and (self.dynamics or not whole):
            self.steps.unfinished += 1
        else:
            self._finish(self.atoms)

    # --- structures --------------------------------------------------------------------------------------------------

    def _size(self, line: str, _output: Output) -> None:
        self.n_atoms = int(line.split(":")[1])

    def _cell(self, _line: str, output: Output) -> None:
        self.cell = output.table(3)

    def _input(self, _line: str, output: Output) -> None:
        next(output, None)  # the columns' names
        rows = [next(output, "").split("Species", 1)[-1].split() for _ in range(self.n_atoms)]
        self.atoms = self._atoms([row[0] for row in rows], [row[1:4] for row in rows])

    def _structure(self, line: str, output: Output) -> None:
        """Read a structure: the one that was computed in molecular dynamics, the next one in a relaxation."""
        if "tomic structure" not in line or not any(word in line for word in ("Updated", "Final", "preceding")):
            self._line(line, output)
            return
        if "preceding" in line:
            self.dynamics = True
            self.atoms = self._listed(output)
            self._finish(self.atoms)
        else:
            self._finish(self.atoms)
            self.atoms = self._listed(output)

    def _listed(self, output: Output) -> Atoms:
        cell: list[list[float]] = []
        rows: list[list[str]] = []
        while len(rows) < self.n_atoms:
            line = next(output, None)
            if line is None:
                raise EOFError("it ends in the middle of a structure")
            words = line.split()
            if words[:1] == ["lattice_vector"]:
                cell.append([float(word) for word in words[1:4]])
            elif words[:1] in (["atom"], ["atom_frac"]):
                rows.append(words)
        self.cell = np.array(cell) if len(cell) == 3 else self.cell
        atoms = self._atoms([row[4] for row in rows], [row[1:4] for row in rows])
        if rows[0][0] == "atom_frac":
            atoms.set_scaled_positions(atoms.positions)
        return atoms

    def _atoms(self, labels: list[str], positions: list[list[str]]) -> Atoms:
        symbols = [element(label) for label in labels]
        return Atoms(symbols, np.array(positions, dtype=float), cell=self.cell, pbc=self.cell is not None)

    # --- settings ----------------------------------------------------------------------------------------------------

    def _end(self, _line: str, _output: Output) -> None:
        self.done = True

    def _version(self, line: str, _output: Output) -> None:
        self.version = self.version or line.split()[-1]

    def _spins(self, line: str, _output: Output) -> None:
        self.n_spins = int(line.split(":")[1])

    def _occupation(self, line: str, _output: Output) -> None:
        lower = line.lower()
        self.smearing = next((name for word, name in _SMEARINGS.items() if word in lower), None)
        self.width = numbers(line)[-1] if "width" in lower else None

    def _echo(self, line: str, _output: Output) -> None:
        self.echoes = "Parsing control.in" in line

    def _basis(self, line: str, _output: Output) -> None:
        words = line.split("defaults for")
        self.bases.setdefault(element(words[1]), words[0].split('"')[-2])

    def _line(self, line: str, _output: Output) -> None:
        """Take up a line of control.in, which is repeated at the start."""
        words = line.split("#")[0].split() if self.echoes else []
        if words[:1] == ["species"]:
            self.kind = words[1]
        elif words[:1] == ["plus_u"] and len(words) > 3:
            self.hubbard[element(self.kind)] = (float(words[3]), words[2])
        elif words and words[0].isidentifier():
            self.control.setdefault(words[0], words[1:])

    def theory(self) -> LevelOfTheory:
        """Return the level of theory: control.in as it is repeated, and the basis sets' names."""
        get = self.control.get
        mesh = [int(word) for word in get("k_grid", [])[:3]] if self.cell is not None else []
        shift = [float(word) for word in get("k_offset", ["0", "0", "0"])[:3]]
        if "include_spin_orbit" in self.control:
            self.steps.notes.append("spin-orbit coupling was added after the SCF cycles; energies and forces lack it")
        relativity = "_".join(get("relativistic", [])[:2])
        name = named(" ".join(get("xc", [])[: 1 if get("xc", [""])[0] != "libxc" else None]))
        if "hybrid" in name and (screening := get("xc", [])[1:2]):
            name["hybrid"] = f"{name['hybrid']} (omega={screening[0]} per {get('hse_unit', ['unstated unit'])[0]})"
        return LevelOfTheory(
            code="FHI-aims",
            version=self.version or None,
            **name,
            dispersion=next((said for word, said in _DISPERSIONS.items() if word in self.control), None),
            hubbard_u={symbol: u for symbol, (u, _) in self.hubbard.items()},
            hubbard_orbital={symbol: orbital for symbol, (_, orbital) in self.hubbard.items()},
            spin=None if self.n_spins is None else self.n_spins > 1,
            soc=False,
            kpoints=(mesh[0], mesh[1], mesh[2]) if len(mesh) == 3 else None,
            kpoint_offset=(shift[0], shift[1], shift[2]) if len(mesh) == 3 and len(shift) == 3 else None,
            smearing=self.smearing,
            smearing_width_eV=self.width,
            potentials=tuple(f"{symbol} {basis} {relativity}".strip() for symbol, basis in self.bases.items()),
        )


AIMS = Format(CONVENTIONS.format, is_aims, read_aims, without_packed)

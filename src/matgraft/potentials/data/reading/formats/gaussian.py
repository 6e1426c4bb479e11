"""Gaussian: logs of one link or of several, optimisations, periodic runs.

A geometry is a frame in its input orientation, to which the printed forces belong. Its energy is the last one that is
printed for it: SCF, then MP2, then coupled cluster, then an excited state, an ONIOM or a counterpoise sum. The level of
theory is read from that line. A geometry counts once its forces, another geometry or the normal end follow: the SCF
energy of a coupled-cluster run that broke off is no label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.reading.formats.base import FileHead, Format, without_packed
from matgraft.potentials.data.reading.formats.output import NUMBER, Output, array, element, numbers, walk
from matgraft.potentials.data.reading.formats.steps import StructureSteps, hand_out
from matgraft.potentials.data.reading.raw import Conventions, RawFile

_CONVENTIONS = Conventions(
    "Gaussian's log",
    units={"energy": "Hartree", "forces": "Hartree/Bohr"},
    energies={"energy": "free"},
    fixed=True,
)
_CENTRE = re.compile(rf"^\s*\d+\s+(-?\d+)\s+(?:-?\d+\s+)?({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*$")
_SAME = 1e-3  # Å: the input has fewer digits
_FORCE = re.compile(rf"^\s*(?:\d+\s+)?(-?\d+)\s+({NUMBER})\s*({NUMBER})\s*({NUMBER})\s*$")
_GIVEN = re.compile(rf"^ ([A-Z][a-z]?(?:\(.*\))?)\s+(?:-?\d+\s+)?({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*$")
_STATE = re.compile(r"Charge\s*=\s*(-?\d+)\s+Multiplicity\s*=\s*(\d+)")
_SCF = re.compile(rf"SCF Done:\s+E\(([^)]+)\)\s*=\s*({NUMBER})")
# Energies beyond the SCF: a pattern whose last group is the energy, and the method; a group of the pattern where empty.
_BEYOND = (
    (re.compile(rf"\bE\w*2(?:\(\w+\))?\s*=\s*{NUMBER}\s+EUMP2\s*=\s*({NUMBER})"), "MP2"),
    (re.compile(rf"E2\([\w-]+\)\s*=\s*{NUMBER}\s+E\((?P<method>[\w-]+)\)\s*=\s*({NUMBER})"), ""),
    (re.compile(rf"E3\s*=\s*{NUMBER}\s+EUMP3\s*=\s*({NUMBER})"), "MP3"),
    (re.compile(rf"E4\(DQ\)\s*=\s*{NUMBER}\s+UMP4\(DQ\)\s*=\s*({NUMBER})"), "MP4(DQ)"),
    (re.compile(rf"E4\(SDQ\)\s*=\s*{NUMBER}\s+UMP4\(SDQ\)\s*=\s*({NUMBER})"), "MP4(SDQ)"),
    (re.compile(rf"E4\(SDTQ\)\s*=\s*{NUMBER}\s+UMP4\(SDTQ\)\s*=\s*({NUMBER})"), "MP4(SDTQ)"),
    (re.compile(rf"Wavefunction amplitudes converged\. E\(Corr\)\s*=\s*({NUMBER})"), "CCSD"),
    (re.compile(rf"^\s*(?P<method>QCISD\(T\)|CCSD\(T\)|BD\(T\))\s*=\s*({NUMBER})"), ""),
    (re.compile(rf"Total Energy, E\((?P<method>[^)]+)\)\s*=\s*({NUMBER})"), ""),
    (re.compile(rf"^\s*Energy=\s*({NUMBER})\s+NIter="), "semiempirical"),
)
_MARKS_BEYOND = ("EUMP", "E2(", "UMP4(", "amplitudes converged", "(T)=", "Total Energy, E(", "NIter=")
_PARTS = ("counterpoise", "oniom")
"""Commands whose runs print energies of parts of a structure."""
_NO_FRAMES = "structures of counterpoise and ONIOM runs"
_TURNED = "tables of forces that belong to an input orientation that is not printed (geom=PrintInputOrient prints it)"
_PLAIN = {"PBEPBE": "PBE", "PBE1PBE": "PBE0", "WB97XD": "wB97X-D", "M062X": "M06-2X", "M06L": "M06-L"}
_DISPERSIONS = {"gd2": "D2", "gd3": "D3(0)", "gd3bj": "D3(BJ)", "pfd": "PFD"}
_STANDARD_BASIS = re.compile(r"Standard basis:\s*(\S+)")


def is_gaussian(head: FileHead) -> bool:
    """Say whether a file is a Gaussian log, by its first words or its citation."""
    text = head.text
    return "Entering Gaussian System" in text or ("Gaussian, Inc." in text and "Gaussian(R)" in text)


def read_gaussian(path: Path, name: str) -> RawFile:
    """Read every geometry of a Gaussian log whose energy is finished.

    Raises
    ------
    DataError
        If there is none.
    """
    run = _Run()
    return run.finish(name, walk(path, name, run.handlers()))


@dataclass
class _Run:
    """What has been read so far."""

    steps: StructureSteps = field(default_factory=StructureSteps)
    version: str = ""
    route: str = ""
    basis: str | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    numerical: bool = False  # structures are displaced for a numerical derivative; the forces are of the first
    failed: bool = False
    given: Atoms | None = None  # the structure of the input, until the first orientation is printed
    in_input: bool = False  # whether the structure under way stands in its input orientation
    ended: bool = False

    def handlers(self) -> Callable[[str, Output], None]:
        """Return what takes the lines."""
        return hand_out(
            {
                "Input orientation:": self._geometry,
                "Z-Matrix orientation:": self._geometry,
                "Standard orientation:": self._geometry,
                "Symbolic Z-matrix:": self._input,
                "SCF Done:": self._scf,
                "Forces (Hartrees/Bohr)": self._forces,
                "Multiplicity": self._state,
                "Standard basis:": self._standard_basis,
                "General basis read": self._general_basis,
                "Convergence criterion not met": self._unconverged,
                "Convergence failure": self._failure,
                "1Numr": self._displaced,
                "2Numr": self._displaced,
                "Normal termination": self._end,
                "Error termination": self._error,
                " ---": self._route,
                ", Revision ": self._version,
                **dict.fromkeys(_MARKS_BEYOND, self._beyond),
            }
        )

    def _version(self, line: str, _: Output) -> None:
        found = re.search(r"Gaussian (\d\d), Revision ([\w.]+)", line)
        self.version = f"{found.group(1)} {found.group(2).rstrip(',')}" if found else self.version

    def _route(self, _: str, lines: Output) -> None:
        """Take up the commands of a link, which stand between two rules and may be wrapped."""
        first = next(lines, "")
        if not first.startswith(" #"):
            lines.back(first)
            return
        parts = [first[1:]]
        for line in lines:
            if line.startswith(" ---"):
                break
            parts.append(line[1:])
        self.route, self.basis = re.sub(r"(?i)iop\([^()]*\)", "", "".join(parts)), None
        self.ended = self.numerical = False

    def _state(self, line: str, _: Output) -> None:
        if found := _STATE.search(line):
            self.steps.tags.update(charge=found.group(1), spin=found.group(2))

    def _standard_basis(self, line: str, _: Output) -> None:
        found = _STANDARD_BASIS.search(line)
        self.basis = found.group(1) if found else self.basis

    def _general_basis(self, _line: str, _: Output) -> None:
        self.basis = "general"

    def _input(self, _: str, lines: Output) -> None:
        """Take up the structure of the input, if it stands there by Cartesian coordinates."""
        rows = []
        for line in lines:
            if "Multiplicity" in line:
                self._state(line, lines)
            elif found := _GIVEN.match(line):
                rows.append(found.groups())
            elif line.strip():
                return  # angles, or a lattice vector
            else:
                break
        if rows:
            self.given = Atoms([element(row[0]) for row in rows], positions=array(row[1:] for row in rows))

    def _geometry(self, line: str, lines: Output) -> None:
        as_input = "Standard" not in line
        rows = lines.rows(_CENTRE)
        step = self.steps
        if not as_input and self.in_input and step.atoms is not None and not step.values:
            return  # the same structure, turned
        kinds = np.array([int(row[0]) for row in rows])
        table = array(row[1:] for row in rows)
        step.begin(None)
        self.in_input = as_input
        if 0 in kinds or any(word in self.route.lower() for word in _PARTS):
            self.left_out[_NO_FRAMES] += 1
        elif (kinds > 0).any():
            cell, vectors = np.zeros((3, 3)), table[kinds == -2]
            cell[: len(vectors)] = vectors
            pbc = [k < len(vectors) for k in range(3)]
            atoms = Atoms(kinds[kinds > 0], positions=table[kinds > 0], cell=cell, pbc=pbc)
            if not as_input and self.given is not None and _is_turned(atoms, self.given):
                atoms, self.in_input = self.given, True
            step.begin(atoms)
        self.given = None

    def _scf(self, line: str, _: Output) -> None:
        if found := _SCF.search(line):
            kind = found.group(1)
            self._energy(_method(self.route) if "+" in kind else _functional(kind), numbers(found.group(2))[0])

    def _beyond(self, line: str, _: Output) -> None:
        for pattern, method in _BEYOND:
            if found := pattern.search(line):
                self._energy(method or found.group("method"), numbers(found.groups()[-1])[0])

    def _energy(self, method: str, value: float) -> None:
        """Take an energy; a later one of the same structure, of a method that builds on it, takes its place."""
        step = self.steps
        if step.atoms is not None and "forces" not in step.values:
            step.values["energy"] = value
            step.theory = LevelOfTheory(
                code="Gaussian",
                version=self.version or None,
                functional=self._named(method),
                dispersion=_dispersion(self.route),
                basis=self.basis or _basis(self.route),
            )

    def _named(self, method: str) -> str:
        """Return the method; by the words of the commands where the energy's line only says its kind."""
        if method == "TD-HF/TD-DFT":
            return f"TD-{_method(self.route)}"
        return _method(self.route) if method in ("CCSD", "semiempirical") else method

    def _forces(self, _: str, lines: Output) -> None:
        rows = [row for row in lines.rows(_FORCE) if int(row[0]) > 0]
        step = self.steps
        if step.atoms is None or "energy" not in step.values or len(rows) != len(step.atoms):
            return
        if self.numerical:
            self.left_out["tables of forces by numerical derivatives"] += 1
        elif self.in_input:
            step.values["forces"] = array(row[1:] for row in rows)
        else:
            self.left_out[_TURNED] += 1

    def _displaced(self, _line: str, _: Output) -> None:
        self.numerical = True

    def _unconverged(self, _line: str, _: Output) -> None:
        self.steps.converged = False

    def _failure(self, _line: str, _: Output) -> None:
        self.failed = True
        self.left_out["structures whose SCF did not converge"] += 1
        self.steps.drop()

    def _end(self, _line: str, _: Output) -> None:
        self.steps.begin(None)
        self.ended = True

    def _error(self, _line: str, _: Output) -> None:
        self._unfinished()

    def _unfinished(self) -> None:
        """Forget a structure without forces: its energy may be an intermediate one."""
        if "forces" not in self.steps.values:
            self.steps.drop()

    def finish(self, name: str, fault: str) -> RawFile:
        """Return the frames, or raise if there are none."""
        if not self.ended:
            self._unfinished()
        broken = fault or ("" if self.ended else "an SCF did not converge" if self.failed else "the end is missing")
        if self.left_out[_NO_FRAMES] and not self.steps.frames:
            broken = "runs of counterpoise and ONIOM are not read"
        self.steps.notes += [f"{n} {what} are left out" for what, n in self.left_out.items() if n]
        return self.steps.whole(name, _CONVENTIONS, broken)


def _is_turned(one: Atoms, other: Atoms) -> bool:
    """Say whether two structures are one, turned and moved."""
    if not np.array_equal(one.numbers, other.numbers):
        return False
    return bool(np.abs(one.get_all_distances() - other.get_all_distances()).max() < _SAME)


def _functional(kind: str) -> str:
    """Return the method of an SCF: ``B3LYP`` for ``RB3LYP``, ``UB3LYP`` and ``ROB3LYP``."""
    plain = re.sub(r"^(RO(?=HF|B|PBE|M0|CAM|w)|[RU])", "", kind)
    return _PLAIN.get(plain.upper(), plain)


def _method(route: str) -> str:
    """Return the method of the commands: ``CCSD(T)`` for ``# opt ccsd(t)/cc-pvtz``."""
    before = re.search(r"(?<!\S)([^\s/]++)/\S", route)
    known = re.search(r"\b(CCSD\(T\)|CCSD|QCISD\(T\)|QCISD|CCD|BD\(T\)|BD|AM1|PM3|PM6|PM7)(?!\w)", route, re.IGNORECASE)
    if known:
        return known.group(1).upper()
    return _functional(before.group(1).upper()) if before else "unnamed method"


def _dispersion(route: str) -> str | None:
    found = re.search(r"EmpiricalDispersion\s*+=?\s*+\(?\s*+(\w+)", route, re.IGNORECASE)
    return _DISPERSIONS.get(found.group(1).lower()) if found else None


def _basis(route: str) -> str | None:
    found = re.search(r"(?<!\S)[^\s/]++/([^\s/]+)", route)
    return found.group(1) if found else None


GAUSSIAN = Format(_CONVENTIONS.format, is_gaussian, read_gaussian, without_packed)

"""A run of CP2K as frames: positions, forces and cells from their files, the rest from the log.

A frame of the positions file belongs to the evaluation of the log with its energy, which both print to ten digits. So
runs that print every tenth step, line searches and restarts come out right. Without a log the energy is that of the
comment line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from matgraft.core.errors import DataError
from matgraft.core.limits import require
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.core.unpack import open_unpacked
from matgraft.potentials.data.reading.formats.base import Format
from matgraft.potentials.data.reading.formats.cp2k.files import file_of_run, find_cp2k, is_cp2k, members, stem
from matgraft.potentials.data.reading.formats.cp2k.log import Cp2kLog, ForceEvaluation, read_log
from matgraft.potentials.data.reading.formats.output import Output, Steps, element, numbers
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile

_UNITS = {"forces": "Hartree/Bohr", "stress": "-GPa"}
CONVENTIONS = Conventions(
    "CP2K's log and trajectories",
    units={**dict.fromkeys(("e_fr_energy", "e_wo_entrp", "e_0_energy"), "Hartree"), **_UNITS},
    fixed=True,
)
_COMMENT = re.compile(r"i\s*=\s*(\d+),(?:\s*time\s*=\s*([\d.]+),)?.*\bE\s*=\s*(\S+)")
_SAME = 2e-9  # Hartree: ten digits are printed
_BAR = 1e-4  # GPa


@dataclass(frozen=True)
class _Frame:
    """A frame of an XYZ file of CP2K: step, whether it is of molecular dynamics, energy in Hartree, rows."""

    step: int
    dynamics: bool
    energy: float
    labels: tuple[str, ...]
    rows: Array


def read_run(path: Path, name: str) -> RawFile:
    """Read a run by any of its files.

    Raises
    ------
    DataError
        If there are no positions, no cell, or no finished step.
    """
    run = members(path)
    if not run:
        raise DataError("it does not read like a file of CP2K", where=name)
    by_kind = {kind: [one.path for one in run if one.holds == kind] for kind in {one.holds for one in run}}
    logs = [read_log(log, name if log == path else log.name) for log in by_kind.get("log", ())]
    others = tuple(one.path for one in run if one.path != path)
    if "positions" in by_kind:
        return _Run(name, by_kind, logs).read(others)
    if not logs:
        holds = next(one.holds for one in run if one.path == path)
        remedy = f"put {stem(path)}-pos-1.xyz or the run's log beside it"
        raise DataError(f"it holds {holds} alone, no positions", where=name, remedy=remedy)
    return _from_log(logs[0], name, others)


def _from_log(log: Cp2kLog, name: str, others: tuple[Path, ...]) -> RawFile:
    """Return the steps whose positions the log itself has."""
    steps = Steps()
    for one in log.evaluations:
        if one.atoms is not None:
            _add(steps, one.atoms, one)
    left = len(log.evaluations) - len(steps.frames)
    if not steps.frames and left:
        remedy = "put the run's ...-pos-1.xyz beside it"
        raise DataError("the log holds no positions", where=name, remedy=remedy)
    if left:
        steps.notes.append(f"{left} steps left out: the log has no positions of them, the run's ...-pos-1.xyz would")
    return steps.file(name, CONVENTIONS, log.theory(), log.fault, others)


def _add(
    steps: Steps, atoms: Atoms, one: ForceEvaluation, forces: Array | None = None, stress: Array | None = None
) -> None:
    values = {
        "e_fr_energy": one.energy,
        "e_wo_entrp": None if one.entropy is None else one.energy - one.entropy,
        "e_0_energy": None if one.entropy is None else one.energy - one.entropy / 2,
        "forces": forces if forces is not None else one.forces,
        "stress": stress if stress is not None else one.stress,
    }
    tags = {"charge": f"{one.charge:g}"} if one.charge else {}
    steps.add(atoms, values, one.converged, **tags)


class _Run:
    """A run with a file of positions."""

    def __init__(self, name: str, files: Mapping[str, Sequence[Path]], logs: Sequence[Cp2kLog]) -> None:
        self.name = name
        self.positions, self.fault = _frames(files["positions"][0], name)
        self.logs = [log for log in logs if any(_match(one, x) for x in self.positions for one in log.evaluations)]
        forces = [frame for path in files.get("forces", ()) for frame in _frames(path, path.name)[0]]
        self.forces = {(frame.step, frame.energy): frame for frame in forces}
        self.cells = _table(files.get("cell", ()), 9)
        self.stresses = _table(files.get("stress", ()), 9)
        self.steps = Steps()
        aside = [log.path.name for log in logs if log not in self.logs]
        self.steps.notes += [f"{name} left out: it is the log of another run, with other energies" for name in aside]
        self.evaluations = [one for log in self.logs for one in log.evaluations]
        self.place = 0

    def read(self, others: tuple[Path, ...]) -> RawFile:
        """Return the frames."""
        if not self.cells and not any(log.cell is not None for log in self.logs):
            remedy = "put the log of the run, or its ...-1.cell, beside it; forces come from the log or ...-frc-1.xyz"
            raise DataError("no cell is known: CP2K's file of positions has none", where=self.name, remedy=remedy)
        left = sum(not self._take(frame) for frame in self.positions)
        if left:
            self.steps.notes.append(f"{left} frames left out: the cell changes, and no file says which is theirs")
        if self.stresses and self.positions and self.positions[0].dynamics:
            self.steps.notes.append("the .stress file is not read: in molecular dynamics it has the kinetic part, too")
        broken = self.fault or next((log.fault for log in self.logs if log.fault), "")
        theory = self.logs[-1].theory() if self.logs else LevelOfTheory(code="CP2K")
        return self.steps.file(self.name, CONVENTIONS, theory, broken, others)

    def _take(self, frame: _Frame) -> bool:
        """Add a frame; False where its cell is not known."""
        found = self._evaluation(frame)
        cell = self._cell(frame, found)
        if cell is None:
            return False
        pbc = self.logs[-1].pbc if self.logs else True
        atoms = Atoms([element(label) for label in frame.labels], frame.rows, cell=cell, pbc=pbc)
        forces = self.forces.get((frame.step, frame.energy))
        stress = None if frame.dynamics or frame.step not in self.stresses else self.stresses[frame.step] * _BAR
        one = found or ForceEvaluation(frame.energy, entropy=None)
        values = None if forces is None or forces.rows.shape != frame.rows.shape else forces.rows
        if found is None and not frame.dynamics and len(self.cells) > 1 and self._varies():
            self._add_enthalpy(atoms, values)
        else:
            _add(self.steps, atoms, one, values, one.stress if one.stress is not None else stress)
        return True

    def _add_enthalpy(self, atoms: Atoms, forces: Array | None) -> None:
        self.steps.add(atoms, {"forces": forces}, None)
        self.steps.notes.append(
            "energies left out: an optimisation of the cell writes enthalpies beside positions; the log has energies"
        )

    def _evaluation(self, frame: _Frame) -> ForceEvaluation | None:
        """Return the next evaluation with the energy of a frame, one with forces before one without.

        Line searches come back to a structure; runs that were repeated begin again.
        """
        order = (*range(self.place, len(self.evaluations)), *range(self.place))
        places = [i for i in order if _match(self.evaluations[i], frame)]
        place = next((i for i in places if self.evaluations[i].forces is not None), places[0] if places else None)
        if place is None:
            return None
        self.place, one = place + 1, self.evaluations[place]
        if abs(one.energy - frame.energy) > _SAME:
            self.steps.notes.append("the comment lines of the positions hold enthalpies; energies are the log's")
        return one

    def _varies(self) -> bool:
        table = list(self.cells.values())
        return any(not np.allclose(table[0], cell, atol=1e-8) for cell in table)

    def _cell(self, frame: _Frame, found: ForceEvaluation | None) -> Array | None:
        if frame.step in self.cells:
            return self.cells[frame.step]
        if self.cells:
            return None if self._varies() else next(iter(self.cells.values()))
        log = self.logs[-1]
        if not log.changes_cell:
            return log.cell
        if found is not None and found.cell is not None:
            return found.cell
        return log.evaluations[0].cell if found is log.evaluations[0] else None


def _match(one: ForceEvaluation, frame: _Frame) -> bool:
    """Say whether an evaluation has the energy of a frame, or gave it with P V."""
    given = (one.energy,) if one.goal is None else (one.energy, one.goal)
    return any(abs(energy - frame.energy) <= _SAME for energy in given)


def _frames(path: Path, name: str) -> tuple[list[_Frame], str]:
    """Return the whole frames of an XYZ file, and what broke it off."""
    found: list[_Frame] = []
    try:
        with open_unpacked(path, name) as file:
            for frame in _xyz(Output(file, name), name):
                found.append(frame)
    except UNREADABLE as error:
        return found, str(error)
    return found, ""


def _xyz(output: Output, name: str) -> Iterator[_Frame]:
    for head in output:
        if not head.strip():
            continue
        where = f"{name} line {output.line}"
        comment = _COMMENT.search(next(output, ""))
        if not head.strip().isdecimal() or comment is None:
            raise DataError(
                f"a number of atoms and 'i = ..., E = ...' should stand there, it is {head[:40]!r}", where=where
            )
        require("atoms", int(head), "atoms in a frame", where)
        rows = [words for _ in range(int(head)) if len(words := next(output, "").split()) >= 4]
        if len(rows) < int(head):
            raise EOFError("it ends in the middle of a frame")
        table = np.array([[numbers(word)[0] for word in row[1:4]] for row in rows])
        labels = tuple(row[0] for row in rows)
        yield _Frame(int(comment[1]), comment[2] is not None, numbers(comment[3])[0], labels, table)


def _table(paths: Sequence[Path], n: int) -> dict[int, Array]:
    """Return the tensors of a table, by step: the columns after step and time."""
    found: dict[int, Array] = {}
    for path in paths:
        try:
            with open_unpacked(path) as file:
                for line in Output(file, path.name):
                    row = [] if line.lstrip().startswith("#") else numbers(line)
                    if len(row) >= n + 2:
                        found[int(row[0])] = np.array(row[2 : n + 2]).reshape(3, 3)
        except UNREADABLE:
            continue  # the steps before are whole; those after have no row
    return found


CP2K = Format(CONVENTIONS.format, is_cp2k, read_run, find_cp2k, file_of_run)

"""VASP's OUTCAR, for runs whose vasprun.xml is gone.

The header gives species and parameters as far as it states them; each ionic step gives cell, positions, forces, stress
and the three energies under the names they have in `vasprun.xml`; with LORBIT the magnetic moments, of non-collinear
runs as vectors. With PSTRESS these are energies: the enthalpy stands
in a line of its own, which is not read. A step counts once its final energies are printed.

The file is taken in pieces, cut at the headings of the electronic steps, and only looked into where an ionic step ends.
What a machine-learned force field predicts is marked ``ML`` and passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from ase import Atoms

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.vasp.chains import ChainTables, true_forces
from matgraft.potentials.data.reading.formats.vasp.outcar_header import Header, read_header
from matgraft.potentials.data.reading.formats.vasp.runs import VaspRun, blocks, step_notes
from matgraft.potentials.data.reading.formats.vasp.theory import level_of_theory, temperature_tag
from matgraft.potentials.data.reading.formats.vasp.vasprun import CONVENTIONS, fortran_number
from matgraft.potentials.data.reading.raw import UNREADABLE, VASP_SHEAR, RawFile, RawFrame

OUTCAR_CONVENTIONS = replace(CONVENTIONS, format="VASP's OUTCAR", orders={"stress": VASP_SHEAR})

_ITERATION, _LEARNED, _END = b"- Iteration ", b"ML FREE ENERGIE", b"General timing and accounting"
_COUNTER = re.compile(rb"\s*+(\d++|\*++)\(\s*+(\d+)\)")
_NUMBER = re.compile(rb"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|\*+|NaN")
# A row of the table of forces, where numbers touch each other: their decimals tell where each one ends.
_ROW = re.compile(rb"\A" + rb"\s*+(-?\d*+\.\d{5}|\*{13}|NaN)" * 3 + rb"\s*+(-?\d*+\.\d{6}|\*{14}|NaN)" * 3)
_SUMS = re.compile(rb"\A" + rb"\s*+(-?\d*+\.\d{5}|\*{13}|NaN)" * 3)
_VECTORS = re.compile(rb"\A" + rb"\s*+(-?\d*+\.\d{9}|\*{13}|NaN)" * 3)
_ENERGIES = {
    "e_fr_energy": re.compile(rb"TOTEN\s*=\s*([-+.\d]+|\*+|NaN)\s*eV"),
    "e_wo_entrp": re.compile(rb"without entropy\s*=\s*([-+.\d]+|\*+|NaN)\s"),
    "e_0_energy": re.compile(rb"energy\(sigma->0\)\s*=\s*([-+.\d]+|\*+|NaN)\s"),
}


def read_outcar(path: Path, name: str) -> VaspRun:
    """Read all finished ionic steps of an OUTCAR.

    Raises
    ------
    DataError
        If there is no finished step, or the file is no OUTCAR.
    """
    run = _Run()
    try:
        run.take(path)
        return run.finish(name)
    except (ValueError, LookupError) as error:
        raise DataError(f"it does not read like an OUTCAR: {error!r}", where=name) from error


@dataclass
class _Step:
    """What has been read of an ionic step: rows of position and force, and six stress components in VASP's order."""

    number: int | None = None
    iterations: int = 0
    reached: bool = False
    cell: Array | None = None
    table: Array | None = None
    stress: list[float] | None = None
    energies: dict[str, float] = field(default_factory=dict)
    moments: list[Array] = field(default_factory=list)
    chain: ChainTables = field(default_factory=ChainTables)


@dataclass
class _Run:
    """What has been read of a run so far; `step` is the ionic step under way."""

    header: Header | None = None
    cell: Array | None = None
    predicted: bool = False
    step: _Step = field(default_factory=_Step)
    frames: list[RawFrame] = field(default_factory=list)
    learned: int = 0
    unplaced: int = 0
    chained: int = 0
    broken: str = "the end is missing"

    def take(self, path: Path) -> None:
        """Read header and steps, as far as the file goes."""
        before = ""
        try:
            for kind, piece in _pieces(path):
                if kind == "iteration":
                    self._iteration(piece, after_learned=before == "learned")
                if self.header is None:
                    self.header = read_header(piece.decode("ascii", "replace").splitlines())
                    self.cell = self.header.cell
                elif kind != "learned":
                    self._results(piece)
                self.learned += kind == "learned"
                self.broken = "" if _END in piece else self.broken
                before = kind
        except UNREADABLE as error:
            self.broken = str(error)
        self._close_step()

    def _iteration(self, piece: bytes, after_learned: bool) -> None:
        """Take up the numbers of an ionic and of an electronic step; the first electronic one opens an ionic one."""
        found = _COUNTER.match(piece)
        if found is None:
            return
        ionic, electronic = found.groups()
        if int(electronic) <= max(self.step.iterations, 1) or self.step.energies:
            self._close_step()
            self.learned -= after_learned  # what stood before was the prediction for this very step
        self.step.iterations = int(electronic)
        self.step.number = int(ionic) if ionic.isdigit() else None

    def _results(self, piece: bytes) -> None:
        """Look for what an ionic step printed at its end; what belongs to a chain of images follows the energies."""
        if b"TOTAL-FORCE" not in piece and b"FREE ENERGIE" not in piece:
            return
        for at, mark in _found(piece):
            _TAKEN[mark](self, piece, at)

    def _stress_heading(self, piece: bytes, at: int) -> None:
        self.predicted = b"ML FORCE" in _line(piece, at)

    def _stress(self, piece: bytes, at: int) -> None:
        if not self.predicted:
            words = _NUMBER.findall(_line(piece, at).split(b"kB", 1)[1])
            self.step.stress = [fortran_number(word.decode()) for word in words]

    def _loop_end(self, piece: bytes, at: int) -> None:
        self.step.reached = b"EDIFF is reached" in _line(piece, at)

    def _cell(self, piece: bytes, at: int) -> None:
        self.cell = _table(piece, at, 3, _VECTORS)

    def _forces(self, piece: bytes, at: int) -> None:
        if b"(ML)" not in _line(piece, at):
            self.step.table = _table(piece, at, self._n_atoms(), _ROW, skip=1)
            self.step.cell = self.cell

    def _moments(self, piece: bytes, at: int) -> None:
        """Take the last column of a table: the moment of each ion, along one direction."""
        rows = _lines(piece, at, 3 + self._n_atoms())[3:]
        try:
            moments = np.array([float(row.split()[-1]) for row in rows])
        except (ValueError, IndexError):  # stars, or a table that is cut off: the step has no moments
            return
        self.step.moments += [moments] if len(moments) == self._n_atoms() else []

    def _energies(self, piece: bytes, at: int) -> None:
        text = b"\n".join(_lines(piece, at, 4)) + b"\n"
        found = {key: pattern.search(text) for key, pattern in _ENERGIES.items()}
        if all(found.values()):
            self.step.energies = {key: fortran_number(m.group(1).decode()) for key, m in found.items() if m}

    def _chain(self, piece: bytes, at: int) -> None:
        self.step.chain.chain = _table(piece, at, self._n_atoms(), _ROW, skip=1)[:, 3:]

    def _chain_sum(self, piece: bytes, at: int) -> None:
        self.step.chain.total = _table(piece, at, self._n_atoms(), _SUMS, skip=1)

    def _tools(self, piece: bytes, at: int) -> None:
        self.step.chain.moved_by_rules = True

    def _tools_force(self, piece: bytes, at: int) -> None:
        self.step.chain.largest = float(_line(piece, at).split(b"RMS", 1)[1].split()[0])

    def _n_atoms(self) -> int:
        assert self.header is not None
        return self.header.n_atoms

    def _close_step(self) -> None:
        """Make a frame of the step under way, if it is finished."""
        step, self.step = self.step, _Step()
        if not step.energies or self.header is None:
            return
        positions, forces = (None, None) if step.table is None else (step.table[:, :3], step.table[:, 3:6])
        if positions is None and not self.frames and not self.broken and step.number in (1, None):
            positions, step.cell = self.header.positions, self.header.cell  # a calculation without forces
        if positions is None or step.cell is None:
            self.unplaced += 1
            return
        values: dict[str, object] = {**step.energies, "stress": step.stress}
        if step.moments:
            values["magmoms"] = step.moments[0] if len(step.moments) == 1 else np.stack(step.moments, axis=1)
        if forces is not None:
            step.chain.moved_by_rules |= self.header.moved_by_rules
            true = true_forces(forces, step.chain)
            values |= {"forces": true} if true is not None else {"chain_forces": forces}
            self.chained += true is None
        atoms = Atoms(self.header.symbols(), positions=positions, cell=step.cell, pbc=True)
        self.frames.append(RawFrame(atoms, values, self._tags(step)))

    def _tags(self, step: _Step) -> dict[str, str]:
        """Return whether a step converged: VASP may print that EDIFF is reached where it used up NELM."""
        assert self.header is not None
        converged = step.reached and (self.header.nelm is None or step.iterations < self.header.nelm)
        number = step.number or len(self.frames) + self.unplaced + 1
        return {"converged": "true" if converged else "false"} | temperature_tag(self.header.words, number)

    def finish(self, name: str) -> VaspRun:
        """Return the frames with their level of theory, or raise if there are none."""
        if self.header is None or not self.frames:
            raise DataError(f"the run has no finished ionic step{_why_none(self.learned, self.unplaced)}", where=name)
        header = self.header
        theory = level_of_theory(header.words, header.species, header.mesh, header.version)
        notes = step_notes(len(self.frames), broken=bool(self.broken), learned=self.learned, chained=self.chained)
        if self.unplaced:
            notes += (f"{self.unplaced} steps left out: their positions are not printed (NWRITE)",)
        file = RawFile(tuple(self.frames), OUTCAR_CONVENTIONS, notes, theory)
        return VaspRun(file, whole=not self.broken, chained=self.chained > 0)


_TAKEN: dict[bytes, Callable[[_Run, bytes, int], None]] = {
    b"aborting loop": _Run._loop_end,
    b"FORCE on cell": _Run._stress_heading,
    b"in kB": _Run._stress,
    b"direct lattice vectors": _Run._cell,
    b"TOTAL-FORCE (eV/Angst)": _Run._forces,
    b"FREE ENERGIE": _Run._energies,
    **dict.fromkeys((b"magnetization (x)", b"magnetization (y)", b"magnetization (z)"), _Run._moments),
    b"CHAIN-FORCE": _Run._chain,
    b"CHAIN + TOTAL": _Run._chain_sum,
    b"NEB: ": _Run._tools,
    b"Dimer: ": _Run._tools,
    b"DIMER: ": _Run._tools,
    b"FORCES: max atom, RMS": _Run._tools_force,
}
"""What is looked for where an ionic step ends -> what takes it up."""


def _why_none(learned: int, unplaced: int) -> str:
    if learned:
        return f"; its {learned} steps are of a machine-learned force field"
    return f"; {unplaced} steps are printed without their positions (NWRITE)" if unplaced else ""


# --- pieces of the file ----------------------------------------------------------------------------------------------


class _Piece(NamedTuple):
    """A part of the file, and what it begins with."""

    kind: Literal["start", "iteration", "learned"]
    text: bytes


def _pieces(path: Path) -> Iterator[_Piece]:
    """Cut a file at the headings of electronic steps and of learned energies; a last line that is cut off is left out.

    The rest is given out before an error is raised.
    """
    kind: Literal["start", "iteration", "learned"] = "start"
    rest = b""
    fault: Exception | None = None
    try:
        for block in blocks(path, by_lines=True):
            *cut, (kind, rest) = _cut(kind, rest + block)
            yield from cut
    except UNREADABLE as error:
        fault = error
    yield _Piece(kind, rest[: rest.rfind(b"\n") + 1])
    if fault is not None:
        raise fault


def _cut(kind: Literal["start", "iteration", "learned"], text: bytes) -> list[_Piece]:
    """Cut a text at its headings; the first piece is of the kind given."""
    pieces = []
    for part in text.split(_ITERATION):
        first, *learned = part.split(_LEARNED)
        pieces += [_Piece(kind, first), *(_Piece("learned", one) for one in learned)]
        kind = "iteration"
    return pieces


def _found(piece: bytes) -> list[tuple[int, bytes]]:
    """Return where marks stand, in the order of the piece."""
    found = []
    for mark in _TAKEN:
        at = piece.find(mark)
        while at >= 0:
            found.append((at, mark))
            at = piece.find(mark, at + len(mark))
    return sorted(found)


def _line(piece: bytes, at: int) -> bytes:
    """Return the line that a position is in."""
    return piece[piece.rfind(b"\n", 0, at) + 1 : piece.find(b"\n", at)]


def _lines(piece: bytes, at: int, count: int) -> list[bytes]:
    """Return so many lines after the one that a position is in."""
    start = end = piece.find(b"\n", at) + 1
    for _ in range(count):
        end = piece.find(b"\n", end) + 1
        if not end:
            return piece[start:].splitlines() if start else []
    return piece[start:end].splitlines()


def _table(piece: bytes, at: int, n_rows: int, touching: re.Pattern[bytes], skip: int = 0) -> Array:
    """Return the numbers after the line that a position is in and `skip` further ones, (n_rows, columns of `touching`).

    Raises
    ------
    EOFError
        If the table is cut off or damaged.
    """
    rows = _lines(piece, at, skip + n_rows)[skip:]
    words = b" ".join(rows).split()
    try:
        table = np.array(list(map(float, words))).reshape(n_rows, -1)
    except ValueError:  # stars, or numbers that touch each other
        found = [m.groups() if (m := touching.match(row)) else () for row in rows]
        if not all(found):
            raise EOFError("it ends in the middle of a table") from None
        table = np.array([[fortran_number(word.decode()) for word in row] for row in found])
    if len(rows) < n_rows or table.shape[1] < touching.groups:
        raise EOFError("it ends in the middle of a table")
    return table[:, : touching.groups]

"""ABACUS: a run's log (`running_scf.log`, `running_relax.log`, ...), with the `MD_dump` beside it.

The log has structures, energies, forces and stresses. Structures that a relaxation does not print are taken from the
files `STRU_ION1_D`, ... beside. Of molecular dynamics the log has no positions beyond the first, which stand in
`MD_dump`. Step n of the dump is the SCF number n of the log, counted from the first step that the log names; where both
print forces, these must be the same. The stress is printed positive under compression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.abacus_stru import read_stru
from matgraft.potentials.data.reading.formats.abacus_theory import AbacusInput
from matgraft.potentials.data.reading.formats.base import FileHead, Format, plain_path, without_packed
from matgraft.potentials.data.reading.formats.output import NUMBER, Output, Steps, array, element, numbers, walk
from matgraft.potentials.data.reading.formats.steps import hand_out
from matgraft.potentials.data.reading.raw import Conventions, RawFile

_CONVENTIONS = Conventions(
    "ABACUS's log",
    units={"stress": "-kBar"},
    energies={"energy": "free"},
    fixed=True,
)
_BANNER = "Atomic-orbital Based Ab-initio Computation at UStc"
_ATOM = re.compile(rf"^\s*(?:tau[cd]_)?([A-Za-z]\w*)\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\b")
_FORCE = re.compile(rf"^\s*[A-Za-z]\w*\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*$")
_TRIPLE = re.compile(rf"^\s*({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*$")
_BOHR = 1 / Bohr  # a lattice constant of 1 Å, which the log prints with six digits
_SAME_FORCES = 1e-3  # eV/Å
_SAME_CELL = 1e-3  # Å


def is_abacus(head: FileHead) -> bool:
    """Say whether a file is a log of ABACUS or its `MD_dump`; what goes to the screen is neither."""
    return (_BANNER in head.text and "global_out_dir" in head.text) or _is_dump(head)


def _is_dump(head: FileHead) -> bool:
    return head.text.lstrip().startswith("MDSTEP") and "LATTICE_CONSTANT" in head.text


def read_abacus(path: Path, name: str) -> RawFile:
    """Read every structure of a run of ABACUS whose energy is printed.

    Raises
    ------
    DataError
        If there is none, if only the `MD_dump` is there, or if it is of another run than the log.
    """
    if _is_dump(FileHead(path)):
        log = log_of(path)
        if log == path:
            raise DataError("it has no energies, and no running_md.log lies beside it", where=name)
        return read_abacus(log, name)
    run = _Log(AbacusInput.beside(path))
    fault = walk(path, name, run.handlers())
    dump = next((file for file in _beside(path) if _is_dump(FileHead(file))), None) if run.dynamics else None
    files = () if dump else run.take_structures(path.parent)
    steps = run.with_positions(_steps_of(dump, name), name) if dump else run.alone()
    broken = fault or ("" if run.ended else "the end is missing")
    others = (*run.inputs.files, *files, *((dump,) if dump else ()))
    return steps.file(name, _CONVENTIONS, run.inputs.theory(), broken, others)


def log_of(path: Path) -> Path:
    """Return the log that a `MD_dump` belongs to; the file itself for a log, and where there is none."""
    if not plain_path(path).name.startswith("MD_dump"):
        return path
    return next((file for file in _beside(path) if plain_path(file).name.startswith("running_md")), path)


def _beside(path: Path) -> list[Path]:
    names = ("MD_dump", "running_md")
    return sorted(file for file in path.parent.iterdir() if plain_path(file).name.startswith(names) and file != path)


def _find(own: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Leave out the dumps whose log is there."""
    return [path for path in without_packed(own, others) if log_of(path) == path]


@dataclass
class _Result:
    """What one SCF gave; `atoms` is None where its structure is not in the log, `cell` is the last one printed."""

    atoms: Atoms | None
    cell: Array | None
    converged: bool
    energy: float | None
    forces: Array | None = None
    stress: Array | None = None


@dataclass
class _Log:
    """What has been read of a log; `symbols` and `positions` wait for their SCF, in Å or in fractions of the cell."""

    inputs: AbacusInput
    lattice_constant: float = float("nan")
    cell: Array | None = None
    symbols: list[str] = field(default_factory=list)
    positions: Array | None = None
    direct: bool = False
    running: float | None = None  # E_KohnSham of the last iteration, eV
    results: list[_Result] = field(default_factory=list)
    iterating: bool = True  # an SCF has begun that has no result yet
    counted: bool = False  # iterations are printed
    dynamics: bool = False
    first_step: int | None = None
    ended: bool = False

    def handlers(self) -> Callable[[str, Output], None]:
        """Return what takes the lines."""
        return hand_out(
            {
                "lattice constant (Bohr) =": self._constant,
                "COORDINATES": self._coordinates,
                "Lattice vectors: (Cartesian": self._lattice,
                "ELEC": self._begin,
                "E_KohnSham": self._iteration,
                "final etot is": self._energy,
                "#TOTAL ENERGY#": self._energy,
                "convergence has NOT been achieved": self._unconverged,
                "convergence has not been achieved": self._unconverged,
                "SCF IS NOT CONVERGED": self._unconverged,
                "TOTAL-FORCE (eV/Angstrom)": self._forces,
                "TOTAL-STRESS": self._stress,
                "STEP OF MOLECULAR DYNAMICS": self._step,
                "!FINAL_ETOT_IS": self._final,
                "Total  Time": self._end,
                **self.inputs.handlers(),
            }
        )

    def _constant(self, line: str, _: Output) -> None:
        stated = numbers(line)[-1]
        self.lattice_constant = 1.0 if abs(stated - _BOHR) < 5e-6 else stated * Bohr

    def _coordinates(self, line: str, lines: Output) -> None:
        if not line.split()[0].startswith(("DIRECT", "CARTESIAN")):
            return
        rows = lines.rows(_ATOM, skip=6)
        self.direct = "DIRECT" in line
        self.symbols = [element(row[0]) for row in rows]
        self.positions = array(row[1:] for row in rows) * (1.0 if self.direct else self.lattice_constant)

    def _lattice(self, _: str, lines: Output) -> None:
        self.cell = array(lines.rows(_TRIPLE, skip=1)) * self.lattice_constant

    def _iteration(self, line: str, _: Output) -> None:
        self.running = numbers(line)[-1]

    def _structure(self) -> Atoms | None:
        """Return the structure printed since the last SCF, if one is."""
        if self.positions is None or self.cell is None:
            return None
        positions = self.positions @ self.cell if self.direct else self.positions
        self.positions = None
        return Atoms(self.symbols, positions=positions, cell=self.cell, pbc=True)

    def _begin(self, line: str, _: Output) -> None:
        if "ELECTRONS" not in line:
            self.iterating = self.counted = True

    def _energy(self, line: str, _: Output) -> None:
        self._result(numbers(line)[-1], None)

    def _unconverged(self, _line: str, _: Output) -> None:
        self._result(self.running, False)

    def _result(self, energy: float | None, converged: bool | None) -> None:
        """Take the result of an SCF, or another word on the one that there is."""
        last = self.results[-1] if self.results else None
        again = last is not None and not self.counted and energy == last.energy
        if last is None or (self.iterating if self.counted else not again):
            last = _Result(self._structure(), self.cell, True, None)
            self.results.append(last)
        last.energy = last.energy if energy is None else energy
        last.converged = last.converged if converged is None else converged
        self.iterating, self.running = False, None

    def _settle(self) -> None:
        """Take the energy of the last iteration, where no other line gives it."""
        if self.iterating and self.running is not None:
            self._result(self.running, None)

    def _forces(self, _: str, lines: Output) -> None:
        self._settle()
        rows = lines.rows(_FORCE, skip=6)
        if self.results and len(rows) == len(self.symbols):
            self.results[-1].forces = array(rows)

    def _stress(self, _: str, lines: Output) -> None:
        rows = lines.rows(_TRIPLE, skip=6)
        if self.results and len(rows) == 3:
            self.results[-1].stress = array(rows)

    def _step(self, line: str, _: Output) -> None:
        self.dynamics = True
        if self.first_step is None:
            self.first_step = int(numbers(line)[-1]) - max(len(self.results) - 1, 0)

    def _final(self, line: str, _: Output) -> None:
        """Take the last energy once more: it is the only one where the last SCF did not converge."""
        self._settle()
        if self.results:
            self.results[-1].energy = numbers(line)[-1]

    def _end(self, _line: str, _: Output) -> None:
        self.ended = True

    def take_structures(self, folder: Path) -> tuple[Path, ...]:
        """Fill structures that the log does not print from the files that the run wrote after each step."""
        taken = []
        for index, result in enumerate(self.results):
            step = f"STRU_MD_{index + (self.first_step or 0)}" if self.dynamics else f"STRU_ION{index}_D"
            for path in (folder / step, folder / "STRU" / step) if result.atoms is None else ():
                atoms = read_stru(path)
                if atoms is not None and self._fits(atoms, result):
                    result.atoms = atoms
                    taken.append(path)
        return tuple(taken)

    def _fits(self, atoms: Atoms, result: _Result) -> bool:
        """Say whether a structure can be the one of a result: the same species, and the cell that the log prints."""
        cell = np.zeros((3, 3)) if result.cell is None else result.cell
        return atoms.get_chemical_symbols() == self.symbols and bool(np.abs(atoms.cell[:] - cell).max() < _SAME_CELL)

    def alone(self) -> Steps:
        """Return the structures of the log."""
        steps = Steps(unfinished=sum(result.energy is None for result in self.results))
        for result in self.results:
            if result.atoms is not None and result.energy is not None:
                self._add(steps, result.atoms, result)
        hidden = sum(result.atoms is None and result.energy is not None for result in self.results)
        if hidden:
            where = "MD_dump" if self.dynamics else "STRU_ION1_D and the like (out_stru 1)"
            steps.notes.append(
                f"{hidden} steps are left out: the log does not print their positions, and {where} is not beside it"
            )
        return steps

    def with_positions(self, dump: Iterator[_Dumped], name: str) -> Steps:
        """Return the steps of a `MD_dump` with their energies."""
        steps = Steps()
        for one in dump:
            index = one.step - (self.first_step or 0)
            result = self.results[index] if 0 <= index < len(self.results) else None
            if result is None or result.energy is None:
                steps.unfinished += 1
                continue
            if not _agree(one.forces, result.forces):
                found = f"step {one.step} of MD_dump has other forces than the log"
                raise DataError(found, where=name, remedy="put the files of one run beside each other")
            given = replace(result, atoms=one.atoms)
            given.forces = result.forces if one.forces is None else one.forces
            given.stress = one.stress if result.stress is None else result.stress
            self._add(steps, one.atoms, given)
        return steps

    def _add(self, steps: Steps, atoms: Atoms, result: _Result) -> None:
        values = {"energy": result.energy, "forces": result.forces, "stress": result.stress}
        steps.add(atoms, values, result.converged, **self.inputs.tags())


def _agree(one: Array | None, other: Array | None) -> bool:
    """Say whether two tables of forces can be of one step; a table that is not printed can."""
    if one is None or other is None or one.shape != other.shape:
        return one is None or other is None
    return bool(np.abs(one - other).max() <= _SAME_FORCES)


# --- the dump of molecular dynamics ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dumped:
    """A step of a `MD_dump`: positions and cell in Å, forces in eV/Å, stress in kBar, positive under compression."""

    step: int
    atoms: Atoms
    forces: Array | None
    stress: Array | None


def _steps_of(path: Path, name: str) -> Iterator[_Dumped]:
    """Walk over a dump; a last step that is cut off is left out. Versions from 3.1.4 on write Å, older ones Bohr."""
    blocks: list[list[str]] = []
    walk(path, name, lambda line, _: blocks.append([line]) if "MDSTEP" in line else blocks[-1].append(line))
    for block in blocks:
        head = next((k for k, line in enumerate(block) if line.split()[:1] == ["INDEX"]), None)
        if head is None or "LATTICE_CONSTANT" not in block[1]:
            continue
        in_angstrom = "Angstrom" in block[1]
        constant = numbers(block[1])[-1] * (1.0 if in_angstrom else Bohr)
        rows = [line.split() for line in block[head + 1 :] if line.strip()]
        width = 5 + 3 * ("FORCE" in block[head])
        if not rows or any(len(row) < width for row in rows):
            continue
        table = array(row[2:width] for row in rows)
        cell = array(line.split()[-3:] for line in block[3:6]) * constant
        positions = table[:, :3] * (1.0 if in_angstrom else constant)
        virial = next((k for k, line in enumerate(block) if "VIRIAL" in line), None)
        yield _Dumped(
            int(numbers(block[0])[-1]),
            Atoms([element(row[1]) for row in rows], positions=positions, cell=cell, pbc=True),
            table[:, 3:6] if width > 5 else None,
            array(line.split()[-3:] for line in block[virial + 1 : virial + 4]) if virial else None,
        )


ABACUS = Format(_CONVENTIONS.format, is_abacus, read_abacus, _find, log_of)

"""VASP's OUTCAR, for runs whose vasprun.xml is gone.

The header gives species and parameters as far as it states them; each ionic step gives cell, positions, forces, stress
and the three energies under the names they have in `vasprun.xml`. A step counts once its final energies are printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.formats import open_with_compression

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.base import Format
from matgraft.potentials.data.reading.formats.vasp.runs import find_outcars, is_outcar
from matgraft.potentials.data.reading.formats.vasp.theory import Mesh, Species, level_of_theory, temperature_tag
from matgraft.potentials.data.reading.formats.vasp.vasprun import CONVENTIONS, fortran_number
from matgraft.potentials.data.reading.raw import UNREADABLE, VASP_SHEAR, RawFile, RawFrame

# Tags that the level of theory and the temperature need; ENMAX is left out, since there it is the pseudopotential's.
_TAGS = (
    *("ENCUT", "ENAUG", "ISMEAR", "SIGMA", "ISPIN", "LNONCOLLINEAR", "LSORBIT", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ"),
    *("GGA", "METAGGA", "LHFCALC", "AEXX", "HFSCREEN", "IVDW", "LVDW", "LUSE_VDW", "Zab_VDW", "BPARAM", "LASPH"),
    *("PARAM1", "PARAM2", "IBRION", "NSW", "TEBEG", "TEEND"),
)
_TAG = re.compile(rf"(?<![A-Z_])({'|'.join(_TAGS)})\s*=\s*([^;=]*)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|\*+")
_SYMBOL = re.compile(r"[A-Z][a-z]?")
_CONVENTIONS = replace(CONVENTIONS, format="VASP's OUTCAR", orders={"stress": VASP_SHEAR})
_SHIFT = "Shift w.r.t. Gamma in fractional coordinates"


def read_outcar(path: Path, name: str) -> RawFile:
    """Read all finished ionic steps of an OUTCAR.

    Raises
    ------
    DataError
        If there is no finished step, or the file is no OUTCAR.
    """
    run = _Run()
    try:
        with open_with_compression(str(path), "rb") as file:
            lines = (line.decode("ascii", "replace").rstrip("\n") for line in file)
            run.take(lines)
        return run.finish(name)
    except (ValueError, LookupError) as error:
        raise DataError(f"it does not read like an OUTCAR: {error!r}", where=name) from error


@dataclass
class _Step:
    """What has been read of an ionic step: rows of position and force, and six stress components in VASP's order."""

    table: Array | None = None
    stress: list[float] | None = None
    converged: bool = False


@dataclass
class _Run:
    """What has been read of a run so far; `step` is the ionic step under way."""

    version: str = ""
    words: dict[str, list[str]] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    divisions: tuple[int, int, int] | None = None
    offset: tuple[float, float, float] | None = None
    cell: Array | None = None
    step: _Step = field(default_factory=_Step)
    frames: list[RawFrame] = field(default_factory=list)
    broken: str = "the end is missing"

    def take(self, lines: Iterator[str]) -> None:
        """Read the header up to the first electronic step, then the steps, as far as the file goes."""
        try:
            for line in lines:
                if "Iteration" in line:
                    break
                self._header(line, lines)
            for line in lines:
                self._step(line, lines)
        except UNREADABLE as error:
            self.broken = str(error)

    def _header(self, line: str, lines: Iterator[str]) -> None:
        for tag, rest in _TAG.findall(line):
            self.words[tag.upper()] = rest.split()
        if line.startswith(" vasp."):
            self.version = line.split()[0].removeprefix("vasp.")
        elif "TITEL" in line:
            self.titles.append(" ".join(line.split("=", 1)[1].split()))
        elif "ions per type" in line:
            self.counts = [int(word) for word in line.split("=", 1)[1].split()]
        elif "LDA+U is selected" in line:
            self.words["LDAU"] = ["T"]
        elif "generate k-points for:" in line:
            x, y, z = (int(word) for word in line.split(":", 1)[1].split()[:3])
            self.divisions = (x, y, z)
        elif _SHIFT in line:
            shift = [float(word) % 1.0 for word in next(lines, "").split()]
            self.offset = (shift[0], shift[1], shift[2])
        elif "direct lattice vectors" in line:
            self.cell = _table(lines, 3)[:, :3]

    def _step(self, line: str, lines: Iterator[str]) -> None:
        if "EDIFF is reached" in line:
            self.step.converged = True
        elif line.lstrip().startswith("in kB"):
            self.step.stress = [fortran_number(word) for word in _NUMBER.findall(line.split("kB", 1)[1])]
        elif "direct lattice vectors" in line:
            self.cell = _table(lines, 3)[:, :3]
        elif "TOTAL-FORCE (eV/Angst)" in line and "(ML)" not in line:
            next(lines, "")  # a rule
            self.step.table = _table(lines, sum(self.counts))
        elif "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line and self.step.table is not None:
            self._energies(lines)
        elif "General timing and accounting" in line:
            self.broken = ""

    def _energies(self, lines: Iterator[str]) -> None:
        text = " ".join(next(lines, "") for _ in range(4))
        found = re.search(r"TOTEN\s*=(.*?)eV.*entropy\s*=(.*?)energy\(sigma->0\)\s*=(.*)", text)
        if found:
            free, without, zero = (fortran_number(part.strip()) for part in found.groups())
            self._finish_step({"e_fr_energy": free, "e_wo_entrp": without, "e_0_energy": zero})

    def _finish_step(self, energies: dict[str, float]) -> None:
        table = self.step.table
        assert table is not None
        atoms = Atoms(self._symbols(), positions=table[:, :3], cell=self.cell, pbc=True)
        values = {**energies, "forces": table[:, 3:6], "stress": self.step.stress}
        tags = {"converged": "true" if self.step.converged else "false"}
        tags |= temperature_tag(self.words, len(self.frames) + 1)
        self.frames.append(RawFrame(atoms, values, tags))
        self.step = _Step()

    def _symbols(self) -> list[str]:
        return [kind.element for kind in self._species() for _ in range(kind.count)]

    def _species(self) -> list[Species]:
        if len(self.titles) != len(self.counts) or not self.titles:
            raise ValueError(f"{len(self.titles)} pseudopotentials stand against {len(self.counts)} types of ions")
        return [Species(_element(title), count, title) for title, count in zip(self.titles, self.counts, strict=True)]

    def finish(self, name: str) -> RawFile:
        """Return the frames with their level of theory, or raise if there are none."""
        if not self.frames:
            raise DataError("the run has no finished ionic step", where=name)
        mesh = Mesh(self.divisions, self.offset)
        theory = level_of_theory(self.words, self._species(), mesh, self.version)
        notes = (f"the run broke off; its {len(self.frames)} finished ionic steps are kept",) if self.broken else ()
        return RawFile(tuple(self.frames), _CONVENTIONS, notes, theory)


def _element(title: str) -> str:
    """Return the element of ``"PAW_PBE Fe_pv 06Sep2000"``."""
    found = _SYMBOL.match(title.split()[1]) if len(title.split()) > 1 else None
    if found is None:
        raise ValueError(f"no element in the pseudopotential title {title!r}")
    return found.group()


def _table(lines: Iterator[str], n_rows: int) -> Array:
    """Return (n_rows, 6) numbers, also where wide ones run into each other."""
    rows = [
        [fortran_number(word) for word in _NUMBER.findall(line)][:6]
        for _, line in zip(range(n_rows), lines, strict=False)
    ]
    table = np.array(rows)
    if table.shape != (n_rows, 6):
        raise EOFError("it ends in the middle of a table")
    return table


OUTCAR = Format(_CONVENTIONS.format, is_outcar, read_outcar, find_outcars)

"""ABINIT's main output (.abo, .out): single points, relaxations and molecular dynamics, of one data set or several.

A step of a relaxation ends with "Total energy (etotal)", after its coordinates, forces, cell and stress. A data set
without steps lists its coordinates and forces at its end; its energy is the last one of the SCF cycle. The total energy
is the free energy: with a smearing it holds -kT S.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.base import FileHead, Format, without_packed
from matgraft.potentials.data.reading.formats.functionals import NamedFunctional, named
from matgraft.potentials.data.reading.formats.output import Output, after, numbers, walk
from matgraft.potentials.data.reading.formats.steps import Handlers, StructureSteps, hand_out
from matgraft.potentials.data.reading.raw import Conventions, RawFile

CONVENTIONS = Conventions(
    "ABINIT's output",
    units={"e_fr_energy": "Hartree", "e_wo_entrp": "Hartree", "forces": "Hartree/Bohr", "stress": "Hartree/Bohr³"},
    fixed=True,
)
_VERSION = re.compile(r"^[ \t]*\.?Version[ \t]+(\S+?),?[ \t]+of ABINIT", re.MULTILINE)
_VARIABLE = re.compile(r"^[-P+ ]\s*([a-zA-Z_]\w*)\s+(\S.*)$")
_MAIN_OUTPUT = re.compile(r"^-? ?output file\s+-> (\S+)", re.MULTILINE)
# Numbers of `ixc`; a negative one is a pair of Libxc's numbers.
_IXC = {1: "pw92", 2: "pz", 7: "pw92", 11: "pbe", 14: "revpbe", 15: "rpbe", 41: "pbe0"}
_LIBXC = {1009: "pz", 1012: "pw92", 101130: "pbe", 102130: "revpbe", 116133: "pbesol", 117130: "rpbe", 106131: "blyp"}
_LIBXC |= {263267: "scan", 497498: "r2scan", 493494: "rscan", 202231: "tpss", 406: "pbe0", 428: "hse06", 402: "b3lyp"}
_OCCUPATIONS = {3: "Fermi-Dirac", 4: "cold (4)", 5: "cold (5)", 6: "Methfessel-Paxton", 7: "Gaussian"}
_DISPERSIONS = {5: "D2", 6: "D3", 7: "D3(BJ)", 10: "vdW-DF", 11: "vdW-DF"}


def is_abinit(head: FileHead) -> bool:
    """Say whether a file is an output of ABINIT."""
    return bool(_VERSION.search(head.text))


def read_abinit(path: Path, name: str) -> RawFile:
    """Read all finished steps of all data sets.

    Raises
    ------
    DataError
        If there is none, or a line in the middle cannot be read.
    """
    run = _Run()
    fault = walk(path, name, hand_out(run.handlers()))
    run.end()
    return run.whole(name, CONVENTIONS, fault or ("" if run.done else "the end is missing"))


@dataclass
class _Run(StructureSteps):
    """What has been read of a run; lengths in Å, the rest in atomic units.

    Attributes
    ----------
    variables
        Input variables as they are repeated at the start, by name with the number of a data set.
    dataset
        Its number.
    stepped
        True if the data set under way has printed steps: its end repeats the last one.
    """

    variables: dict[str, list[float]] = field(default_factory=dict)
    dataset: int = 1
    stepped: bool = False
    echoes: bool = False
    last: str = ""
    done: bool = False
    version: str = ""
    cell: Array | None = None
    positions: Array | None = None
    energy: float | None = None
    titles: dict[int, str] = field(default_factory=dict)

    def handlers(self) -> Handlers:
        """Return what is done with which line; the first mark that stands in it counts."""
        return {
            "of ABINIT": self._version,
            "echo values of preprocessed input variables": self._begin_echo,
            "== DATASET": self._dataset,
            "== END DATASET": self._finish_dataset,
            "R(1)=": self._lattice,
            " ETOT ": self._iteration,
            " At SCF step": self._converge,
            "not enough SCF cycles": self._loose,
            "Cartesian coordinates (xcart) [bohr]": self._xcart,
            "Cartesian forces (fcart) [Ha/bohr]": self._fcart,
            "Real space primitive translations (rprimd) [bohr]": self._rprimd,
            "Stress tensor in cartesian coordinates (strten)": self._strten,
            "Total energy (etotal) [Ha]=": self._step,
            "Cartesian components of stress tensor (hartree/bohr^3)": self._sigma,
            "cartesian coordinates (angstrom) at end": self._coordinates,
            "cartesian forces (hartree/bohr) at end": self._forces,
            "-kT*entropy": self._entropy,
            "pspini: atom type": self._title,
            "Calculation completed": self._end_mark,
            "": self._echo,
        }

    # --- input variables ---------------------------------------------------------------------------------------------

    def _version(self, line: str, _output: Output) -> None:
        if (found := _VERSION.match(line)) and not self.version:
            self.version = found[1]

    def _begin_echo(self, _line: str, _output: Output) -> None:
        self.echoes, self.variables = True, {}

    def _echo(self, line: str, _output: Output) -> None:
        if not self.echoes:
            return
        if line.startswith("===="):
            self.echoes = False
        elif found := _VARIABLE.match(line):
            self.last = found[1]
            self.variables[self.last] = numbers(found[2])
        elif self.last in self.variables and line.startswith("      "):
            self.variables[self.last] += numbers(line)

    def _get(self, name: str, default: Sequence[float] = ()) -> list[float]:
        """Return an input variable of the data set under way."""
        return self.variables.get(f"{name}{self.dataset}") or self.variables.get(name) or list(default)

    def _title(self, line: str, _output: Output) -> None:
        kind, title = int(numbers(line.split("type", 1)[1])[0]), line.split("psp file is", 1)[-1].strip()
        self.titles[kind] = title.rsplit("/", 1)[-1]

    # --- steps -------------------------------------------------------------------------------------------------------

    def _dataset(self, line: str, output: Output) -> None:
        self._finish_dataset(line, output)
        self.dataset = int(numbers(line)[0])

    def _lattice(self, line: str, output: Output) -> None:
        rows = [line, next(output, ""), next(output, "")]
        vectors = [numbers(row.split("=", 1)[1].split("G(")[0]) for row in rows]
        self.cell = np.array(vectors) * units.Bohr

    def _iteration(self, line: str, _output: Output) -> None:
        self.energy = numbers(line.split("ETOT", 1)[1])[1]

    def _converge(self, _line: str, _output: Output) -> None:
        self.converged = True

    def _loose(self, _line: str, _output: Output) -> None:
        self.converged = False

    def _natom(self) -> int:
        return len(self._get("typat")) or 1

    def _xcart(self, _line: str, output: Output) -> None:
        self.positions = output.table(self._natom()) * units.Bohr

    def _fcart(self, _line: str, output: Output) -> None:
        self.values["forces"] = output.table(self._natom())

    def _rprimd(self, _line: str, output: Output) -> None:
        self.cell = output.table(3) * units.Bohr

    def _strten(self, _line: str, output: Output) -> None:
        self.values["stress"] = output.table(3)

    def _step(self, line: str, _output: Output) -> None:
        """Finish a step of a relaxation or of molecular dynamics."""
        if "forces" in self.values:
            self.values["e_fr_energy"] = after(line)
            self._frame()
            self.stepped = True

    def _sigma(self, _line: str, output: Output) -> None:
        rows = [numbers(part)[0] for _ in range(3) for part in next(output, "").split("=")[1:]]
        if len(rows) != 6:
            raise EOFError("it ends in the middle of a table")
        xx, yz, yy, xz, zz, xy = rows
        self.values["stress"] = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])

    def _coordinates(self, _line: str, output: Output) -> None:
        if not self.stepped:
            self.positions = output.table(self._natom(), slice(1, 4))

    def _forces(self, _line: str, output: Output) -> None:
        """Read the forces at the end of a data set, which with the last energy of the SCF cycle make its frame."""
        table = output.table(self._natom(), slice(1, 4))
        if not self.stepped and self.energy is not None:
            self.values |= {"forces": table, "e_fr_energy": self.energy}

    def _entropy(self, line: str, _output: Output) -> None:
        found = numbers(re.split(r"[:=]", line)[-1])
        if found and "e_fr_energy" in self.values:
            self.values["e_wo_entrp"] = self.values["e_fr_energy"] - found[0]

    def _finish_dataset(self, _line: str, _output: Output) -> None:
        if "e_fr_energy" in self.values:
            self._frame()
        self.drop()
        self.stepped, self.positions, self.energy = False, None, None

    def _frame(self) -> None:
        types, charges = self._get("typat"), self._get("znucl")
        symbols = [chemical_symbols[round(charges[int(kind) - 1])] for kind in types]
        self.theory = self._theory()
        charge = (self._get("charge") or self._get("cellcharge", [0.0]))[0]
        self.tags = {"charge": f"{charge:g}"} if charge else {}
        self.atoms = Atoms(symbols, self.positions, cell=self.cell, pbc=True)
        self.begin(None)

    def end(self) -> None:
        """Finish the last data set; in a run that broke off, one without forces is unfinished."""
        if "e_fr_energy" in self.values:
            self._frame()
        elif self.energy is not None and not self.done and not self.stepped:
            self.unfinished += 1
        self.drop()

    def _end_mark(self, _line: str, _output: Output) -> None:
        self.done = True

    # --- level of theory ---------------------------------------------------------------------------------------------

    def _theory(self) -> LevelOfTheory:
        mesh, shift = self._mesh()
        occupation, width = int(self._get("occopt", [1])[0]), self._get("tsmear")
        ecut, fine = self._get("ecut"), self._get("pawecutdg")
        u, orbital = self._hubbard()
        spins = self._get("nsppol", [1])[0] > 1 or self._get("nspden", [1])[0] > 1
        return LevelOfTheory(
            code="ABINIT",
            version=self.version or None,
            **self._functional(),
            dispersion=_DISPERSIONS.get(int(self._get("vdw_xc", [0])[0])),
            hubbard_u=u,
            hubbard_orbital=orbital,
            spin=spins,
            soc=self._get("nspinor", [1])[0] > 1,
            cutoff_eV=ecut[0] * units.Hartree if ecut else None,
            density_cutoff_eV=fine[0] * units.Hartree if fine else None,
            kpoints=mesh,
            kpoint_offset=shift,
            smearing=_OCCUPATIONS.get(occupation, "fixed"),
            smearing_width_eV=width[0] * units.Hartree if width and occupation in _OCCUPATIONS else None,
            potentials=tuple(self._titled(kind, title) for kind, title in self.titles.items()),
        )

    def _functional(self) -> NamedFunctional:
        number = int(self._get("ixc", [0])[0])
        name = _IXC.get(number) if number > 0 else _LIBXC.get(-number)
        return named(name or (f"ixc={number}" if number else ""))

    def _titled(self, kind: int, title: str) -> str:
        charges = self._get("znucl")
        symbol = chemical_symbols[round(charges[kind - 1])] if kind <= len(charges) else ""
        return title if title.lower().startswith(symbol.lower()) else f"{symbol} {title}"

    def _mesh(self) -> tuple[tuple[int, int, int] | None, tuple[float, float, float] | None]:
        lattice, shift = np.array(self._get("kptrlatt")), self._get("shiftk", [0.0, 0.0, 0.0])
        if lattice.size != 9 or np.any(lattice.reshape(3, 3) - np.diag(np.diag(lattice.reshape(3, 3)))):
            return None, None
        x, y, z = (abs(int(n)) for n in np.diag(lattice.reshape(3, 3)))
        return (x, y, z), ((shift[0] % 1, shift[1] % 1, shift[2] % 1) if len(shift) == 3 else None)

    def _hubbard(self) -> tuple[dict[str, float], dict[str, str]]:
        if not self._get("usepawu", [0])[0]:
            return {}, {}
        kinds = [chemical_symbols[round(z)] for z in self._get("znucl")]
        rows = list(zip(kinds, self._get("upawu"), self._get("lpawu"), strict=False))
        with_u = [(kind, u, "spdf"[int(orbital)]) for kind, u, orbital in rows if u and orbital >= 0]
        return {kind: u * units.Hartree for kind, u, _ in with_u}, {kind: orbital for kind, _, orbital in with_u}


def _find(own: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Return the main outputs: not their packed copies, nor the logs that repeat them."""
    there = set(own)
    runs = []
    for path in without_packed(own, others):
        found = _MAIN_OUTPUT.search(FileHead(path).text)
        main = path.parent / Path(found[1]).name if found else path
        runs += [path] if main == path or main not in there else []
    return runs


ABINIT = Format(CONVENTIONS.format, is_abinit, read_abinit, _find)

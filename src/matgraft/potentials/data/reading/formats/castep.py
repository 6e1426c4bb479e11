"""CASTEP: what it prints (.castep), and the trajectories (.md, .geom) where that is not there.

A step is a structure, its energy, its forces and its stress, in this order. Forces belong to "Final free energy
(E-TS)", with a dispersion correction to the corrected one. Enthalpies, which an external pressure adds P V to, are
printed by the optimiser alone and are not read. CASTEP appends a second run to the first: each has its own theory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

from ase import Atoms
from ase import units as ase_units
from ase.io.castep.geom_md_ts import iread_castep_md

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array, parse_unit
from matgraft.potentials.data.reading.formats.base import FileHead, Format, plain_path, without_packed
from matgraft.potentials.data.reading.formats.functionals import named
from matgraft.potentials.data.reading.formats.output import Output, Steps, array, element, numbers, walk
from matgraft.potentials.data.reading.formats.steps import Handlers, StructureSteps, hand_out
from matgraft.potentials.data.reading.formats.vasp.theory import monkhorst_offset
from matgraft.potentials.data.reading.raw import Conventions, RawFile

CONVENTIONS = Conventions("CASTEP's .castep, .md and .geom", fixed=True)
_WELCOME = re.compile(r"\| *Welcome to .*CASTEP")
_X = r"\s++([-+]?\d++\.\d++\S*+)"
_FORCE = re.compile(r"^\s*\*\s+([A-Z]\S*)\s+\d+" + 3 * _X)
_TENSOR = re.compile(r"^\s*\*\s+[xyz]" + 3 * _X)
_SITE = re.compile(r"^\s*x\s+([A-Z]\S*)\s+\d+" + 3 * _X)
_CELL = re.compile(r"^" + 3 * _X + 3 * r"\s+[-\d.]+" + r"\s*$")
_POTENTIAL = re.compile(r"^\s+([A-Z][a-z]?\S*)\s+(\S+)\s*$")
_TITLE = re.compile(r"^\s*\*+ (?:(.*) )?Forces \*+\s*$")
_ENERGY = re.compile(
    r"^\s*(?:NB )?(?:dispersion corrected )?(?P<kind>final energy|final free energy|est\. 0K energy)\b"
    r"[^=]*+=\s*+(?P<value>\S++)\s++(?P<unit>\S+)",
    re.IGNORECASE,
)
_KINDS = {"final energy": "e_wo_entrp", "final free energy": "e_fr_energy", "est. 0k energy": "e_0_energy"}
_UNITS = {
    "Eh": ase_units.Hartree,
    "a0": ase_units.Bohr,
    "me": ase_units._me / ase_units._amu,
    "kB": ase_units.kB,
}


def is_castep(head: FileHead) -> bool:
    """Say whether a file is an output or a trajectory of CASTEP."""
    return bool(_WELCOME.search(head.text)) or _is_trajectory(head)


def _is_trajectory(head: FileHead) -> bool:
    return head.text.lstrip().startswith("BEGIN header") and "<-- h" in head.text


def read_castep(path: Path, name: str) -> RawFile:
    """Read all finished steps of an output, or of a trajectory.

    Raises
    ------
    DataError
        If there is none, or a line in the middle cannot be read.
    """
    if _is_trajectory(FileHead(path)):
        return _read_trajectory(path, name)
    run = _Run()
    fault = walk(path, name, hand_out(run.handlers()))
    run.end(bool(fault))
    beside = next((one for one in _of_run(path) if plain_path(one).suffix == ".md"), None)
    if run.stale and beside is not None:
        return _read_trajectory(beside, name, run.theory_now(), (path,))
    return run.whole(name, CONVENTIONS, fault or ("" if run.done else "the end is missing"))


@dataclass
class _Run(StructureSteps):
    """What has been read of a run; `fresh` says whether the structure under way was printed for this step."""

    sites: Array | None = None
    labels: list[str] = field(default_factory=list)
    cell: Array | None = None
    fresh: bool = True
    stale: int = 0
    done: bool = False
    version: str = ""
    said: dict[str, str] = field(default_factory=dict)
    mesh: tuple[int, int, int] | None = None
    shift: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    potentials: dict[str, str] = field(default_factory=dict)

    def handlers(self) -> Handlers:
        """Return what is done with which line; the first mark that stands in it counts."""
        return {
            "Welcome to": self._welcome,
            " Forces *": self._forces,
            "Stress Tensor *": self._stress,
            "Fractional coordinates of atoms": self._positions,
            "Unit Cell": self._lattice,
            "inal energy": self._energy,
            "inal free energy": self._energy,
            "0K energy": self._energy,
            "max. SCF cycles performed": self._loose,
            "SCF loop      Energy": self._begin_scf,
            "Files used for pseudopotentials": self._titles,
            "total energy with cut-off of": self._cutoff,
            "MP grid size for SCF calculation is": self._grid,
            "with an offset of": self._offset,
            "xternal pressure/stress": self._pressure,
            "reating system as": self._treatment,
            "Total time ": self._end_mark,
            " : ": self._setting,
        }

    # --- steps -------------------------------------------------------------------------------------------------------

    def _welcome(self, line: str, _output: Output) -> None:
        if not _WELCOME.search(line):
            return
        self._flush()
        found = re.search(r"version\s+([\w.]+)", line)
        self.version, self.done, self.said = (found[1] if found else ""), False, {}

    def _begin_scf(self, _line: str, _output: Output) -> None:
        """Finish the step before where its successor's structure is not printed, as symmetry or the print level say.

        Without forces between, both are of one step: the finite basis set correction takes several cutoffs.
        """
        if "forces" in self.values or "stress" in self.values:
            self._flush()

    def _flush(self) -> None:
        """Make a frame of the step under way; one of molecular dynamics needs positions of its own."""
        self.theory = self.theory_now()
        charge = (numbers(self.said.get("net charge of system", "0")) or [0.0])[0]
        self.tags = {"charge": f"{charge:g}"} if charge else {}
        if self.sites is None or self.cell is None or not self.values:
            return self.drop()
        if not self.fresh and "dynamics" in self.said.get("type of calculation", ""):
            self.stale += 1
            return self.drop()
        atoms = Atoms([element(one) for one in self.labels], cell=self.cell, scaled_positions=self.sites, pbc=True)
        if "e_wo_entrp" in self.values:
            self.values.setdefault("e_fr_energy", self.values["e_wo_entrp"])
        if "e_fr_energy" not in self.values:
            return self._complete(atoms)
        self.atoms = atoms
        self.begin(None)
        self.fresh = False
        return None

    def _complete(self, atoms: Atoms) -> None:
        """Give the last frame what the optimiser printed of it in the end: forces that it had no need of before."""
        last = self.frames[-1] if self.frames else None
        if last is not None and last.atoms == atoms:
            missing = {key: value for key, value in self.values.items() if last.values.get(key) is None}
            self.frames[-1] = replace(last, values={**last.values, **missing})
        self.drop()

    def _energy(self, line: str, _output: Output) -> None:
        if found := _ENERGY.match(line):
            key = _KINDS[found["kind"].lower()]
            self.values[key] = float(found["value"]) * parse_unit(found["unit"], "energy").factor

    def _loose(self, _line: str, _output: Output) -> None:
        self.converged = False

    def _forces(self, line: str, output: Output) -> None:
        title = _TITLE.match(line)
        if title is None:
            return
        factor, rows = _unit(output, "forces"), _table(output, _FORCE, len(self.labels))
        bound = any(char.isalpha() for row in rows for word in row[1:] for char in word.lower().replace("e", ""))
        if bound and "Unconstrained" not in (title[1] or ""):
            if "forces" not in self.values:
                self.notes.append("atoms are fixed and their forces printed as zero: forces left out")
            return
        self.values["forces"] = array(row[1:] for row in rows) * factor

    def _stress(self, _line: str, output: Output) -> None:
        factor, rows = _unit(output, "stress"), _table(output, _TENSOR, 3)
        self.values["stress"] = array(rows) * factor

    def _positions(self, _line: str, output: Output) -> None:
        self._flush()
        rows = output.rows(_SITE)
        self.labels, self.sites, self.fresh = [row[0] for row in rows], array(row[1:] for row in rows), True

    def _lattice(self, line: str, output: Output) -> None:
        if line.strip() == "Unit Cell":
            self._flush()
            self.cell = array(output.rows(_CELL)[:3])

    def end(self, faulty: bool) -> None:
        """Finish the last step; in a run that broke off, one without the forces that others have is unfinished."""
        lacks = "forces" not in self.values and any("forces" in frame.values for frame in self.frames)
        if self.values and lacks and (faulty or not self.done):
            self.unfinished += 1
            self.drop()
        self._flush()

    def _end_mark(self, _line: str, _output: Output) -> None:
        self.done = True

    # --- settings ----------------------------------------------------------------------------------------------------

    def _setting(self, line: str, _output: Output) -> None:
        name, _, value = line.partition(" : ")
        self.said.setdefault(name.strip(), value.strip())

    def _treatment(self, line: str, _output: Output) -> None:
        if "spin-polarized" in line:
            self.said["spin"] = "no" if "non-spin" in line else "yes"
        elif "non-metallic" in line:
            self.said["occupation"] = "fixed"

    def _cutoff(self, line: str, _output: Output) -> None:
        self.said["plane wave basis set cut-off"] = line.rsplit("of", 1)[1]

    def _titles(self, _line: str, output: Output) -> None:
        for symbol, title in output.rows(_POTENTIAL, skip=2):
            self.potentials[symbol] = title if title.startswith(element(symbol)) else f"{element(symbol)} {title}"

    def _grid(self, line: str, _output: Output) -> None:
        x, y, z = (int(word) for word in line.split()[-3:])
        self.mesh = (x, y, z)

    def _offset(self, line: str, _output: Output) -> None:
        self.shift = numbers(line)[-3:]

    def _pressure(self, _line: str, output: Output) -> None:
        rows = [numbers(next(output, "")) for _ in range(3)]
        if any(x for row in rows for x in row):
            self.notes.append("an external pressure is set; energies are without P V")

    def theory_now(self) -> LevelOfTheory:
        """Return the level of theory as far as the run before this line states it."""
        get = self.said.get
        scheme = get("smearing scheme") or get("occupation")
        width = get("smearing width")
        dispersion = next((value for name, value in self.said.items() if name.startswith("SEDC with")), None)
        offset = None
        if self.mesh:
            offset = monkhorst_offset(self.mesh, [n * x for n, x in zip(self.mesh, self.shift, strict=True)])
        cutoff = get("plane wave basis set cut-off")
        return LevelOfTheory(
            code="CASTEP",
            version=self.version or None,
            **named(get("using functional", "").removeprefix("hybrid ")),
            dispersion=_DISPERSIONS.get((dispersion or "").split(" ")[0], dispersion),
            spin={"yes": True, "no": False}.get(get("spin", "")),
            cutoff_eV=numbers(cutoff)[0] if cutoff else None,
            kpoints=self.mesh,
            kpoint_offset=offset,
            kpoint_scheme="Monkhorst-Pack" if self.mesh else None,
            smearing=scheme,
            smearing_width_eV=numbers(width)[0] if width else None,
            potentials=tuple(self.potentials.values()),
        )


_DISPERSIONS = {"G06": "D2", "D3": "D3", "D3(BJ)": "D3(BJ)", "D4": "D4", "TS": "TS", "MBD@rsSCS": "MBD"}


def _table(output: Output, pattern: re.Pattern[str], n_rows: int) -> list[tuple[str, ...]]:
    rows = output.rows(pattern)
    if len(rows) != n_rows:
        raise EOFError("it ends in the middle of a table")
    return rows


def _unit(output: Output, of: str) -> float:
    """Return the factor of the unit that the heading of a table names, in parentheses."""
    for line in output:
        if found := re.search(r"components \(([^()]+)\)", line):
            return parse_unit(found[1], of).factor
        if _FORCE.match(line) or _TENSOR.match(line):
            output.back(line)
            break
    return parse_unit("eV/Å" if of == "forces" else "GPa", of).factor


# --- trajectories ----------------------------------------------------------------------------------------------------


def _read_trajectory(
    path: Path, name: str, theory: LevelOfTheory | None = None, others: tuple[Path, ...] = ()
) -> RawFile:
    """Read a .md or .geom by ASE, which takes the kinetic part off the stress; a last block that is cut is left out."""
    lines: list[str] = []
    broken = walk(path, name, lambda line, _: lines.append(f"{line}\n"))
    text = "".join(lines)
    head, _, body = text.partition("END header")
    blocks = [block for block in re.split(r"\n\s*\n", body) if "<--" in block]
    while blocks and not _is_whole(blocks[-1]):
        broken = "its last block is cut off"
        blocks.pop()
    steps = Steps()
    whole = StringIO(f"{head}END header\n\n" + "".join(block.strip("\n") + "\n\n" for block in blocks))
    for atoms in iread_castep_md(whole, units=_UNITS):
        results = atoms.calc.results
        values = {"e_fr_energy": results["free_energy"], **{key: results.get(key) for key in ("forces", "stress")}}
        steps.add(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True), values, None)
    return steps.file(name, CONVENTIONS, theory or LevelOfTheory(code="CASTEP"), broken, others)


def _is_whole(block: str) -> bool:
    counts = {tag: len(re.findall(rf"<-- {tag}\s*$", block, re.MULTILINE)) for tag in "EhRF"}
    return counts["E"] == 1 and counts["h"] == 3 and counts["R"] == counts["F"] > 0


def _of_run(path: Path) -> list[Path]:
    """Return the files beside a file that have its name but for the ending."""
    stem = plain_path(path).with_suffix("").name
    return without_packed(
        sorted(one for one in path.parent.glob(f"{stem}.*") if plain_path(one).with_suffix("").name == stem)
    )


def castep_file(path: Path) -> Path:
    """Return the .castep beside a trajectory, which states more; else the file itself."""
    if plain_path(path).suffix.lower() not in (".md", ".geom"):
        return path
    return next((one for one in _of_run(path) if plain_path(one).suffix.lower() == ".castep"), path)


def _find(own: Sequence[Path], _others: Sequence[Path]) -> list[Path]:
    """Return one file for each run: the .castep, else the trajectory."""
    return list(dict.fromkeys(castep_file(path) for path in without_packed(own)))


CASTEP = Format(CONVENTIONS.format, is_castep, read_castep, _find, castep_file)

"""ORCA: its printed output, and the `.engrad` file that it writes beside.

A geometry is a frame once its ``FINAL SINGLE POINT ENERGY`` is printed, which has dispersion and correlation in it. The
forces are minus the Cartesian gradient. Energies that follow without new coordinates (molecular dynamics prints
none) are left out, since no one can say which structure they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr

from matgraft.core.errors import DataError
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.reading.formats.base import FileHead, Format, plain_path, without_packed
from matgraft.potentials.data.reading.formats.output import NUMBER, Output, array, numbers, walk
from matgraft.potentials.data.reading.formats.steps import StructureSteps, hand_out
from matgraft.potentials.data.reading.raw import Conventions, RawFile, RawFrame

_CONVENTIONS = Conventions(
    "ORCA's output",
    units={"energy": "Hartree", "forces": "-Hartree/Bohr"},  # what is printed is the gradient
    energies={"energy": "free"},
    fixed=True,
)
_ATOM = re.compile(rf"^\s*([A-Z][a-z]?)(:?)\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*$")
_GRADIENT = re.compile(rf"^\s*\d+\s*(?:[A-Z][a-z]?)?\s*:\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*$")
_ENERGY = re.compile(rf"FINAL SINGLE POINT ENERGY\s+(?:\(([^)]*)\)\s*)?({NUMBER})")
_UNCONVERGED = re.compile(r"not (fully )?converged", re.IGNORECASE)
_INPUT = re.compile(r"^\|\s*\d+>\s?(.*)")
_METHODS = (
    *(
        "HF-3c",
        "B97-3c",
        "PBEh-3c",
        "B3LYP-3c",
        "r2SCAN-3c",
        "wB97X-3c",
        "DLPNO-CCSD(T1)",
        "DLPNO-CCSD(T)",
        "DLPNO-CCSD",
    ),
    *("CCSD(T)-F12", "CCSD(T)", "CCSD", "QCISD(T)", "QCISD", "DLPNO-MP2", "SCS-MP2", "RI-SCS-MP2", "RI-MP2", "MP2"),
    *(
        "wB97M-D4REV",
        "wB97X-D4REV",
        "wB97M-D3BJ",
        "wB97X-D3BJ",
        "wB97M-V",
        "wB97X-V",
        "wB97M-D4",
        "wB97X-D4",
        "wB97X-D3",
    ),
    *("wB97X-D", "wB97X", "wB97", "wB97M-2", "B2PLYP", "DSD-BLYP", "DSD-PBEP86", "PWPB95", "revDSD-PBEP86-D4/2021"),
    *("CAM-B3LYP", "B3LYP/G", "B3LYP", "B3PW91", "BHandHLYP", "BHLYP", "PBE0", "revPBE0", "TPSSh", "TPSS0", "PW6B95"),
    *("M062X", "M06-2X", "M06L", "M06-L", "M06", "MN15", "MN15-L", "LC-BLYP", "LC-PBE", "HSE06", "X3LYP", "O3LYP"),
    *(
        "r2SCAN0",
        "r2SCAN",
        "SCANfunc",
        "revPBE",
        "RPBE",
        "PBE",
        "PW91",
        "BP86",
        "BP",
        "BLYP",
        "OLYP",
        "TPSS",
        "revTPSS",
    ),
    *(
        "B97M-V",
        "B97M-D3BJ",
        "B97M-D4",
        "B97-D3",
        "B97-D",
        "LDA",
        "LSD",
        "VWN5",
        "VWN",
        "HFLD",
        "GFN2-xTB",
        "XTB2",
        "XTB1",
    ),
    *("XTB", "AM1", "PM3", "MNDO", "CASSCF", "UHF", "RHF", "ROHF", "HF"),
)
_KNOWN = {name.upper(): name for name in _METHODS}
_PLAIN = {"UHF": "HF", "RHF": "HF", "ROHF": "HF", "LSD": "LDA", "BP": "BP86", "M062X": "M06-2X", "M06L": "M06-L"}
_BASIS = re.compile(
    r"^((ma-|x2c-|dkh-|zora-|sarc\d*-?|d)*def2-\S+|(aug-|jul-|jun-|may-|sa-)*cc-p\w*V\S+|[346]-\d[^\sG]*+G\S*|sto-3g|pc\w*-\d"
    r"|aug-pc\w*-\d|epr-ii+|dz|tz\w*p+|sv\S*|lanl\S*|ano-\S+|minis|midi|minix|dyall\S*)$",
    re.IGNORECASE,
)
_DISPERSIONS = {
    "D2": "D2",
    "D3": "D3(BJ)",
    "D3BJ": "D3(BJ)",
    "D3ZERO": "D3(0)",
    "D3TZ": "D3(TZ)",
    "D4": "D4",
    "NL": "NL",
}


def is_orca(head: FileHead) -> bool:
    """Say whether a file is ORCA's output, by its banner."""
    return "* O   R   C   A *" in head.text


def read_orca(path: Path, name: str) -> RawFile:
    """Read every geometry of an ORCA output whose energy is printed.

    Raises
    ------
    DataError
        If there is none.
    """
    run = _Run()
    return run.finish(name, walk(path, name, run.handlers()))


@dataclass
class _Run:
    """What has been read so far; `inputs` are the words behind the exclamation marks, of each job."""

    steps: StructureSteps = field(default_factory=StructureSteps)
    version: str = ""
    inputs: list[list[str]] = field(default_factory=lambda: [[]])
    job: int = 0
    closed: bool = False  # another energy followed, of a structure that was not printed
    failed: bool = False
    ended: bool = False
    left_out: dict[str, int] = field(default_factory=dict)

    def handlers(self) -> Callable[[str, Output], None]:
        """Return what takes the lines."""
        return hand_out(
            {
                "CARTESIAN COORDINATES (ANGSTROEM)": self._geometry,
                "FINAL SINGLE POINT ENERGY": self._energy,
                "CARTESIAN GRADIENT": self._gradient,
                "The final MP2 gradient": self._gradient,
                "NOT CONVERGED AFTER": self._unconverged,
                "NOT FULLY CONVERGED": self._unconverged,
                "iterations have NOT converged": self._unconverged,
                "Program Version": self._version,
                "> ": self._input,
                "JOB NUMBER": self._next_job,
                "Total Charge  ": self._charge,
                "Multiplicity  ": self._spin,
                "ORCA TERMINATED NORMALLY": self._end,
            }
        )

    def _version(self, line: str, _: Output) -> None:
        self.version = line.split("Version", 1)[1].split()[0]

    def _input(self, line: str, _: Output) -> None:
        found = _INPUT.match(line)
        text = found.group(1).split("#")[0].strip() if found else ""
        if text.lower().startswith("$new_job"):
            self.inputs.append([])
        elif text.startswith("!"):
            self.inputs[-1] += text.replace("!", " ").split()

    def _next_job(self, line: str, _: Output) -> None:
        self.steps.begin(None)
        found = re.search(r"JOB NUMBER\s+(\d+)", line)
        self.job = int(found.group(1)) - 1 if found else self.job + 1

    def _geometry(self, _: str, lines: Output) -> None:
        rows = lines.rows(_ATOM)
        self.steps.begin(None)
        self.closed = self.failed = self.ended = False
        if any(ghost for _, ghost, *_ in rows) or next(lines, "").strip():  # another kind of row goes on
            self._leave_out("geometries with ghost atoms, dummy atoms or charges")
        elif rows:
            atoms = Atoms([row[0] for row in rows], positions=array(row[2:] for row in rows))
            self.steps.theory = _theory(self.inputs[min(self.job, len(self.inputs) - 1)], self.version)
            self.steps.begin(atoms)

    def _energy(self, line: str, _: Output) -> None:
        found = _ENERGY.search(line)
        if found is None or self.steps.atoms is None:
            return
        if re.search(r"MM|QM|ONIOM", found.group(1) or ""):
            self._leave_out("structures of runs in layers (QM/MM, ONIOM)")
            self.steps.drop()
            return
        if "energy" in self.steps.values:
            self.closed = True
            self._leave_out("energies without coordinates of their own")
            return
        self.steps.values["energy"] = numbers(found.group(2))[0]
        self.steps.converged = not (self.failed or _UNCONVERGED.search(line))

    def _gradient(self, _: str, lines: Output) -> None:
        rows = lines.rows(_GRADIENT)
        step = self.steps
        if step.atoms is not None and not self.closed and len(rows) == len(step.atoms):
            step.values.setdefault("forces", array(rows))

    def _charge(self, line: str, _: Output) -> None:
        self.steps.tags["charge"] = str(int(numbers(line)[-1]))

    def _spin(self, line: str, _: Output) -> None:
        self.steps.tags["spin"] = str(int(numbers(line)[-1]))

    def _unconverged(self, _line: str, _: Output) -> None:
        self.failed = True
        self.steps.converged = False

    def _end(self, _line: str, _: Output) -> None:
        self.ended = True

    def _leave_out(self, what: str) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + 1

    def finish(self, name: str, fault: str) -> RawFile:
        """Return the frames, or raise if there are none."""
        self.steps.notes += [f"{count} {what} are left out" for what, count in self.left_out.items()]
        broken = fault or ("" if self.ended else "its SCF did not converge" if self.failed else "the end is missing")
        return self.steps.whole(name, _CONVENTIONS, broken)


def _theory(words: list[str], version: str) -> LevelOfTheory:
    """Return what the words of the input say of the method."""
    upper = [word.upper() for word in words]
    methods = [_KNOWN[word.removeprefix("RI-")] for word in upper if word.removeprefix("RI-") in _KNOWN]
    named = [method for method in methods if _PLAIN.get(method) != "HF"] or methods
    method = named[0] if named else None
    return LevelOfTheory(
        code="ORCA",
        version=version or None,
        functional=_PLAIN.get(method, method) if method else None,
        dispersion=next((_DISPERSIONS[word] for word in upper if word in _DISPERSIONS), None),
        basis=next((word for word in words if _BASIS.match(word) and "/" not in word), None),  # /C: auxiliary
    )


ORCA = Format(_CONVENTIONS.format, is_orca, read_orca, without_packed)


# --- the small file beside ------------------------------------------------------------------------------------

_ENGRAD = replace(_CONVENTIONS, format="ORCA's engrad")


def is_engrad(head: FileHead) -> bool:
    """Say whether a file is an `.engrad`, by its comments."""
    return head.start.startswith(b"#") and "# The current gradient in Eh/bohr" in head.text


def read_engrad(path: Path, name: str) -> RawFile:
    """Read the one geometry of an `.engrad` file, whose positions are in Bohr.

    Raises
    ------
    DataError
        If it is cut off.
    """
    words: list[float] = []
    fault = walk(path, name, lambda line, _: words.extend([] if line.lstrip().startswith("#") else numbers(line)))
    n = int(words[0]) if words else 0
    if fault or len(words) != 2 + 7 * n or not n:
        raise DataError(f"the file is cut off: {len(words)} numbers instead of {2 + 7 * n}", where=name)
    gradient = np.array(words[2 : 2 + 3 * n]).reshape(n, 3)
    table = np.array(words[2 + 3 * n :]).reshape(n, 4)
    atoms = Atoms(table[:, 0].astype(int), positions=table[:, 1:] * Bohr)
    return RawFile((RawFrame(atoms, {"energy": words[1], "forces": gradient}),), _ENGRAD)


def _find_engrad(own: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Leave out the files of runs whose output is there, too."""
    runs = {(path.parent, plain_path(path).stem) for path in others}
    return [path for path in without_packed(own) if (path.parent, plain_path(path).stem) not in runs]


ENGRAD = Format(_ENGRAD.format, is_engrad, read_engrad, _find_engrad)

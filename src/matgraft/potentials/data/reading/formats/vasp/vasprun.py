"""VASP's `vasprun.xml`.

Every ionic step is a frame. Its energy is the free energy (``e_fr_energy``), to which the forces belong; the others
stand beside it under VASP's names, for ``keys={"energy": "e_0_energy"}``. With PSTRESS, what VASP writes at the end of
an ionic step is an enthalpy: P V is taken off. A run that broke off gives the steps it finished, with a note. A step
that used up NELM electronic steps is tagged ``converged=false``.

The file is read as a stream, one ionic step in memory at a time. Of a step, blocks that hold no label (eigenvalues,
densities of states) and all electronic steps but the last are cut out before the XML is parsed. A DOCTYPE, which VASP
never writes and which could expand without end, is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from ase import Atoms
from ase.symbols import symbols2numbers

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.core.texts import refuse_doctype
from matgraft.potentials.data.reading.formats.vasp.parameters import flag, stated_number
from matgraft.potentials.data.reading.formats.vasp.runs import VaspRun, blocks, step_notes
from matgraft.potentials.data.reading.formats.vasp.theory import (
    Mesh,
    Species,
    level_of_theory,
    monkhorst_offset,
    temperature_tag,
)
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile, RawFrame

CONVENTIONS = Conventions(
    "VASP's vasprun.xml",
    units={"stress": "-kBar"},  # positive where the cell wants to expand, against ASE's sign
    energies={"e_fr_energy": "free", "e_0_energy": "sigma0", "e_wo_entrp": "internal"},
    fixed=True,
)

_BEGIN, _END = b"<calculation>", b"</calculation>"
_CYCLE = b"<scstep>"
_NO_LABELS = re.compile(rb"<(eigenvalues|dos|projected|dielectricfunction|dynmat|born_charges)\b")
_KBAR_A3 = 1 / 1602.17733  # eV, with the charge of the electron as VASP has it
_RESPONSE = ("response functions", "linear response parameters")  # repeat NELM and others for their own purposes
# VASP cuts element names to two letters of its own: Zr may lose its first one, Xe its second.
_ODD_SYMBOLS = {"r": "Zr", "X": "Xe"}


def read_vasprun(path: Path, name: str) -> VaspRun:
    """Read all finished ionic steps of a vasprun.xml.

    Raises
    ------
    DataError
        If there is no finished step, or the file is no VASP output.
    """
    refuse_doctype(path, name, "VASP")
    run = _Run()
    try:
        broken = _take_all(run, path, name)
        return run.finish(name, broken)
    except (ValueError, LookupError) as error:  # LookupError: an unknown encoding too
        raise DataError(f"it does not read like a vasprun.xml: {error!r}", where=name) from error


def _take_all(run: _Run, path: Path, name: str) -> str:
    """Take up every section that is whole; return how the file breaks off, empty if it does not."""
    try:
        for section, cycles in _sections(path, name):
            run.take(section, cycles)
    except (ElementTree.ParseError, *UNREADABLE) as error:
        return str(error)
    return ""


@dataclass
class _Run:
    """What has been read of a run so far."""

    version: str = ""
    incar: dict[str, list[str]] = field(default_factory=dict)
    parameters: dict[str, list[str]] = field(default_factory=dict)
    mesh: Mesh = field(default_factory=Mesh)
    species: list[Species] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)
    frames: list[RawFrame] = field(default_factory=list)
    unfinished: int = 0
    learned: int = 0
    relieved: int = 0

    def take(self, section: ElementTree.Element, cycles: int) -> None:
        """Take up one child of the root; of an ionic step, with the number of its electronic steps."""
        if section.tag == "generator":
            self.version = " ".join(_words(section).get("version", []))
        elif section.tag == "incar":
            self.incar = _words(section)
        elif section.tag == "parameters":
            self.parameters = _words(section, without=_RESPONSE)
        elif section.tag == "kpoints":
            self.mesh = _mesh(section)
        elif section.tag == "atominfo":
            self._atominfo(section)
        elif section.tag == "calculation":
            self._calculation(section, cycles)

    def _atominfo(self, section: ElementTree.Element) -> None:
        rows = {array.get("name"): _rows(array) for array in section.iter("array")}
        self.symbols = [_symbol(row[0]) for row in rows["atoms"]]
        self.species = [Species(_symbol(row[1]), int(row[0]), " ".join(row[4].split())) for row in rows["atomtypes"]]

    def _calculation(self, section: ElementTree.Element, cycles: int) -> None:
        used = self._used
        atoms, forces = self._atoms(section.find("structure")), _varray(section, "forces")
        if not cycles and flag(used, "ML_LMLFF"):
            self.learned += 1
            return
        energies = {} if atoms is None else self._energies(section, atoms, stated_number(used, "PSTRESS") or 0.0)
        if atoms is None or forces is None or "e_fr_energy" not in energies:
            self.unfinished += 1
            return
        key = "chain_forces" if self._is_image() else "forces"
        limit = int(stated_number(used, "NELM") or 0)
        tags = {"converged": "true" if cycles < limit else "false"} if cycles and limit else {}
        tags |= temperature_tag(used, len(self.frames) + self.unfinished + self.learned + 1)
        self.frames.append(RawFrame(atoms, {**energies, key: forces, "stress": _varray(section, "stress")}, tags))

    def _is_image(self) -> bool:
        """Say whether the run is an image of a chain, or a dimer: what is written as forces may not be those of DFT."""
        return any(stated_number(self.incar, tag) for tag in ("IMAGES", "ICHAIN"))

    def _energies(self, section: ElementTree.Element, atoms: Atoms, pressure: float) -> dict[str, float]:
        """Return the energies of an ionic step, eV, without P V.

        Some versions write a wrong ``e_0_energy`` here and leave dispersion out of the electronic steps, so the
        differences to the free energy come from the last electronic step (as in ASE's reader).
        """
        cycle = section.find("scstep")
        stated, last = _energy_block(section), {} if cycle is None else _energy_block(cycle)
        if "e_fr_energy" not in stated:
            return {}
        free = stated["e_fr_energy"]
        if pressure and free != last.get("e_fr_energy"):  # where they are the same, nothing was added
            free -= pressure * float(atoms.cell.volume) * _KBAR_A3
            self.relieved += 1
        own = last if "e_fr_energy" in last else stated
        others = {key: free + own[key] - own["e_fr_energy"] for key in ("e_0_energy", "e_wo_entrp") if key in own}
        return {"e_fr_energy": free} | others

    def _atoms(self, structure: ElementTree.Element | None) -> Atoms | None:
        basis = None if structure is None else _varray(structure, "basis")
        positions = None if structure is None else _varray(structure, "positions")
        if basis is None or positions is None:
            return None
        numbers = self._numbers = self._numbers or symbols2numbers(self.symbols)  # of all steps
        return Atoms(numbers, positions=positions @ basis, cell=basis, pbc=True)

    @cached_property
    def _used(self) -> dict[str, list[str]]:
        """The parameters, and the INCAR where they are silent or shorter (LDAUU is cut in some versions).

        Both stand before the first ionic step.
        """
        used = dict(self.incar)
        for key, words in self.parameters.items():
            if words not in ([], ["--"]) and len(words) >= (len(used.get(key, [])) if key.startswith("LDAU") else 0):
                used[key] = words
        return used

    def finish(self, name: str, broken: str) -> VaspRun:
        """Return the frames with their level of theory, or raise if there are none."""
        if not self.frames:
            reason = f"; its {self.learned} steps are of a machine-learned force field" if self.learned else ""
            reason += f"; it breaks off: {broken}" if broken else ""
            raise DataError(f"the run has no finished ionic step{reason}", where=name)
        theory = level_of_theory(self._used, self.species, self.mesh, self.version)
        file = RawFile(tuple(self.frames), CONVENTIONS, self._notes(broken), theory)
        return VaspRun(file, whole=not broken, chained=self._is_image())

    def _notes(self, broken: str) -> tuple[str, ...]:
        n = len(self.frames)
        chained = n if self._is_image() else 0
        notes = step_notes(n, broken=bool(broken), unfinished=self.unfinished, learned=self.learned, chained=chained)
        if self.relieved:
            pressure = stated_number(self._used, "PSTRESS")
            notes += (
                f"P V is taken off in {self.relieved} steps: with PSTRESS={pressure:g} kBar these are enthalpies",
            )
        return notes


# --- parts of the file -----------------------------------------------------------------------------------------------


def _sections(path: Path, name: str) -> Iterator[tuple[ElementTree.Element, int]]:
    """Return the children of the root one by one; ionic steps with the number of their electronic steps.

    Raises
    ------
    DataError
        If the file declares a DOCTYPE.
    ElementTree.ParseError
        Where a part is not XML, or the end is missing; what was whole before has been given out.
    """
    rest, head = b"", True
    fault: Exception | None = None
    try:
        for block in blocks(path):
            *steps, rest = (rest + block).split(_END)
            for step in steps:
                before, begins, inside = step.partition(_BEGIN)
                if begins:
                    yield from ((child, 0) for child in _children(before, head, name))
                yield _calculation(inside, name)
                head = False
    except UNREADABLE as error:
        fault = error
    if _BEGIN in rest:  # an ionic step that is not whole
        before = rest.partition(_BEGIN)[0]
        yield from ((child, 0) for child in _children(before, head, name))
        raise fault or ElementTree.ParseError("an ionic step is cut off")
    yield from ((child, 0) for child in _children(rest, head, name, last=True))
    if fault is not None:
        raise fault


def _children(text: bytes, head: bool, name: str, last: bool = False) -> list[ElementTree.Element]:
    """Return the children of the root that stand before, between or after the ionic steps."""
    if not text.strip():
        return []
    _refuse_doctype(text, name)
    whole = (b"" if head else b"<modeling>") + text + (b"" if last else b"</modeling>")
    return list(ElementTree.fromstring(whole))


def _calculation(inside: bytes, name: str) -> tuple[ElementTree.Element, int]:
    """Return an ionic step with its last electronic step alone, and how many there were."""
    if _BEGIN in inside:
        raise ElementTree.ParseError("an ionic step begins within another")
    _refuse_doctype(inside, name)
    cycles, last = inside.count(_CYCLE), max(inside.rfind(_CYCLE), 0)
    return ElementTree.fromstring(_BEGIN + _without_labels(inside[last:]) + _END), cycles


def _without_labels(text: bytes) -> bytes:
    """Return a text without the blocks that hold no label; those that are not closed stay, for the parser to tell."""
    kept, at, unclosed = [], 0, set[bytes]()
    for begun in _NO_LABELS.finditer(text):
        end = b"</" + begun[1] + b">"
        if begun.start() < at or end in unclosed:
            continue
        if (ends := text.find(end, begun.end())) < 0:
            unclosed.add(end)
            continue
        kept.append(text[at : begun.start()])
        at = ends + len(end)
    return b"".join((*kept, text[at:]))


def _refuse_doctype(text: bytes, name: str) -> None:
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise DataError("it declares a DOCTYPE, which VASP never writes", where=name)


def _words(section: ElementTree.Element, without: Collection[str] = ()) -> dict[str, list[str]]:
    """Return every named value below a section, as words, but of blocks of some names. Names may be padded."""
    found: dict[str, list[str]] = {}
    for element in section:
        if element.tag == "separator" and element.get("name") not in without:
            found |= _words(element, without)
        elif element.tag in ("i", "v") and element.get("name"):
            found[str(element.get("name")).strip()] = (element.text or "").split()
    return found


def _mesh(section: ElementTree.Element) -> Mesh:
    generation = section.find("generation")
    words = {} if generation is None else _words(generation)
    if generation is None or "divisions" not in words:
        return Mesh()  # an explicit list of points
    x, y, z = (int(word) for word in words["divisions"])
    shift = [float(word) for word in words.get("usershift", ["0", "0", "0"])]
    kind = str(generation.get("param", "")).strip().lower()
    if kind.startswith("m"):
        return Mesh((x, y, z), monkhorst_offset((x, y, z), shift), "Monkhorst-Pack")
    offset = (shift[0] % 1.0, shift[1] % 1.0, shift[2] % 1.0)
    if kind.startswith("g"):
        return Mesh((x, y, z), offset, "Gamma")
    return Mesh((x, y, z))


def _rows(array: ElementTree.Element) -> list[list[str]]:
    return [[cell.text or "" for cell in row.iter("c")] for row in array.iter("rc")]


def _symbol(text: str) -> str:
    return _ODD_SYMBOLS.get(text.strip(), text.strip())


def _energy_block(element: ElementTree.Element) -> dict[str, float]:
    return {str(i.get("name")): fortran_number(i.text or "") for i in element.findall("energy/i")}


def _varray(element: ElementTree.Element, name: str) -> Array | None:
    array = next((varray for varray in element.iter("varray") if varray.get("name") == name), None)
    if array is None:
        return None
    texts = [v.text or "" for v in array.findall("v")]
    if (table := _at_once(texts)) is not None:
        return table
    rows = [text.split() for text in texts]
    try:
        return np.array([[*map(float, row)] for row in rows])
    except ValueError:
        return np.array([[fortran_number(word) for word in row] for row in rows])


def _at_once(texts: Sequence[str]) -> Array | None:
    """Return the numbers of rows, several times faster than word by word; None where they are not plain or not even.

    Each row ends with infinity, so that one that is too long and one that is too short are not taken for two whole
    ones.
    """
    width = len(texts[0].split()) if texts else 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # so numpy says that it did not come to the end
        try:
            numbers = np.fromstring(" inf ".join([*texts, ""]), sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    if not width or numbers.size != len(texts) * (width + 1):
        return None
    table = numbers.reshape(len(texts), width + 1)
    return np.ascontiguousarray(table[:, :-1]) if np.isinf(table[:, -1]).all() else None


def fortran_number(word: str) -> float:
    """Read a number as Fortran prints it; one too long for its field (``*******``) is NaN."""
    return float("nan") if "*" in word else float(word)

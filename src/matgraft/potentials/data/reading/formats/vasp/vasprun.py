"""VASP's `vasprun.xml`.

Every ionic step is a frame. Its energy is the free energy (``e_fr_energy``), to which the forces belong; the others
stand beside it under VASP's names, for ``keys={"energy": "e_0_energy"}``. A run that broke off gives the steps it
finished, with a note. A step that used up NELM electronic steps is tagged ``converged=false``.

The XML is read as a stream, one ionic step in memory at a time; a DOCTYPE, which VASP never writes and which could
expand without end, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np
from ase import Atoms
from ase.io.formats import open_with_compression

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.base import Format, unpacked
from matgraft.potentials.data.reading.formats.vasp.runs import is_vasprun
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

_CHUNK = 1 << 20  # bytes read at a time
# VASP cuts element names to two letters of its own: Zr may lose its first one, Xe its second.
_ODD_SYMBOLS = {"r": "Zr", "X": "Xe"}


def read_vasprun(path: Path, name: str) -> RawFile:
    """Read all finished ionic steps of a vasprun.xml.

    Raises
    ------
    DataError
        If there is no finished step, or the file is no VASP output.
    """
    run = _Run()
    try:
        broken = _take_all(run, path, name)
        return run.finish(name, broken)
    except (ValueError, LookupError) as error:  # LookupError: an unknown encoding too
        raise DataError(f"it does not read like a vasprun.xml: {error!r}", where=name) from error


def _take_all(run: _Run, path: Path, name: str) -> str:
    """Take up every section that is whole; return how the file breaks off, empty if it does not."""
    try:
        for section in _sections(path, name):
            run.take(section)
            section.clear()
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
    frames: list[RawFrame] = field(default_factory=list)
    unfinished: int = 0
    learned: int = 0

    def take(self, section: ElementTree.Element) -> None:
        """Take up one child of the root."""
        if section.tag == "generator":
            self.version = " ".join(_words(section).get("version", []))
        elif section.tag == "incar":
            self.incar = _words(section)
        elif section.tag == "parameters":
            self.parameters = _words(section)
        elif section.tag == "kpoints":
            self.mesh = _mesh(section)
        elif section.tag == "atominfo":
            self._atominfo(section)
        elif section.tag == "calculation":
            self._calculation(section)

    def _atominfo(self, section: ElementTree.Element) -> None:
        rows = {array.get("name"): _rows(array) for array in section.iter("array")}
        self.symbols = [_symbol(row[0]) for row in rows["atoms"]]
        self.species = [Species(_symbol(row[1]), int(row[0]), " ".join(row[4].split())) for row in rows["atomtypes"]]

    def _calculation(self, section: ElementTree.Element) -> None:
        energies, cycles = _energies(section), section.findall("scstep")
        forces, atoms = _varray(section, "forces"), self._atoms(section.find("structure"))
        if not cycles and "T" in "".join(self.incar.get("ML_LMLFF", [])).upper():
            self.learned += 1
        elif atoms is None or forces is None or "e_fr_energy" not in energies:
            self.unfinished += 1
        else:
            values = {**energies, "forces": forces, "stress": _varray(section, "stress")}
            limit = int((self._used().get("NELM") or ["0"])[0])
            tags = {"converged": "true" if len(cycles) < limit else "false"} if cycles and limit else {}
            tags |= temperature_tag(self._used(), len(self.frames) + self.unfinished + self.learned + 1)
            self.frames.append(RawFrame(atoms, values, tags))

    def _atoms(self, structure: ElementTree.Element | None) -> Atoms | None:
        basis = None if structure is None else _varray(structure, "basis")
        positions = None if structure is None else _varray(structure, "positions")
        if basis is None or positions is None:
            return None
        return Atoms(self.symbols, positions=positions @ basis, cell=basis, pbc=True)

    def _used(self) -> dict[str, list[str]]:
        """Return the parameters, and the INCAR where they are silent or shorter (LDAUU is cut in some versions)."""
        used = dict(self.incar)
        for key, words in self.parameters.items():
            if words not in ([], ["--"]) and len(words) >= (len(used.get(key, [])) if key.startswith("LDAU") else 0):
                used[key] = words
        return used

    def finish(self, name: str, broken: str) -> RawFile:
        """Return the frames with their level of theory, or raise if there are none."""
        if not self.frames:
            reason = f"; it breaks off: {broken}" if broken else ""
            raise DataError(f"the run has no finished ionic step{reason}", where=name)
        theory = level_of_theory(self._used(), self.species, self.mesh, self.version)
        return RawFile(tuple(self.frames), CONVENTIONS, self._notes(broken), theory)

    def _notes(self, broken: str) -> tuple[str, ...]:
        notes = [f"the run broke off; its {len(self.frames)} finished ionic steps are kept"] if broken else []
        notes += [f"{self.unfinished} unfinished ionic steps left out"] if self.unfinished else []
        notes += [f"{self.learned} steps of a machine-learned force field left out"] if self.learned else []
        return tuple(notes)


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree, keeps the finished children of the root at hand, refuses a DOCTYPE."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.ready: list[ElementTree.Element] = []
        self._name, self._depth = name, 0

    def start(self, tag: str, attributes: dict[Any, Any], /) -> ElementTree.Element:
        self._depth += 1
        return super().start(tag, attributes)

    def end(self, tag: str, /) -> ElementTree.Element:
        self._depth -= 1
        element = super().end(tag)
        if self._depth == 1:
            self.ready.append(element)
        return element

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise DataError("it declares a DOCTYPE, which VASP never writes", where=self._name)


def _sections(path: Path, name: str) -> Iterator[ElementTree.Element]:
    builder = _Builder(name)
    parser = ElementTree.XMLParser(target=builder)
    with cast(BufferedIOBase, open_with_compression(str(path), "rb")) as file:
        while chunk := file.read1(_CHUNK):  # what a cut-off archive still gives, before it raises
            try:
                parser.feed(chunk)
            finally:  # what was whole before the fault is still good
                ready, builder.ready = builder.ready, []
                yield from ready
    parser.close()


def _words(section: ElementTree.Element) -> dict[str, list[str]]:
    """Return every named value below a section, as words. Names may be padded: ``"GGA    "``."""
    named = (element for element in section.iter() if element.tag in ("i", "v") and element.get("name"))
    return {str(element.get("name")).strip(): (element.text or "").split() for element in named}


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


def _energies(section: ElementTree.Element) -> dict[str, float]:
    """Return the energies of an ionic step, eV.

    Some versions write a wrong ``e_0_energy`` here and leave dispersion out of the electronic steps, so the differences
    to the free energy come from the last electronic step (as in ASE's reader).
    """
    stated = _energy_block(section)
    cycles = section.findall("scstep")
    last = _energy_block(cycles[-1]) if cycles else {}
    if "e_fr_energy" in stated and "e_fr_energy" in last:
        for key in ("e_0_energy", "e_wo_entrp"):
            if key in last:
                stated[key] = stated["e_fr_energy"] + last[key] - last["e_fr_energy"]
    return {key: stated[key] for key in ("e_fr_energy", "e_0_energy", "e_wo_entrp") if key in stated}


def _energy_block(element: ElementTree.Element) -> dict[str, float]:
    return {str(i.get("name")): fortran_number(i.text or "") for i in element.findall("energy/i")}


def _varray(element: ElementTree.Element, name: str) -> Array | None:
    array = next((varray for varray in element.iter("varray") if varray.get("name") == name), None)
    if array is None:
        return None
    return np.array([[fortran_number(word) for word in (v.text or "").split()] for v in array.findall("v")])


def fortran_number(word: str) -> float:
    """Read a number as Fortran prints it; one too long for its field (``*******``) is NaN."""
    return float("nan") if "*" in word else float(word)


VASPRUN = Format(CONVENTIONS.format, is_vasprun, read_vasprun, unpacked)

"""Quantum ESPRESSO's data-file-schema.xml, which pw.x of version 6.2 and later writes beside its text.

All in Hartree atomic units, the stress positive under compression as in the text. Each ionic step is a ``step``; the
``output`` at the end repeats the last one, but for a single point, which has no steps, and a cell relaxation, which
ends with an SCF cycle of its own. In a folder the text output of the same run is read instead, which states more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from ase import Atoms, units

from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.core.texts import refuse_doctype
from matgraft.core.unpack import open_unpacked
from matgraft.potentials.data.reading.formats.base import FileHead, Format, plain_path, without_packed
from matgraft.potentials.data.reading.formats.espresso import ENERGIES, energies, is_pwx, titled
from matgraft.potentials.data.reading.formats.functionals import named
from matgraft.potentials.data.reading.formats.output import Steps, element
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile

_Element = ElementTree.Element
CONVENTIONS = Conventions(
    "Quantum ESPRESSO's data-file-schema.xml",
    units={**dict.fromkeys(ENERGIES, "Hartree"), "forces": "Hartree/Bohr", "stress": "-Hartree/Bohr³"},
    fixed=True,
)
SMEARINGS = {
    **dict.fromkeys(("gaussian", "gauss"), "Gaussian"),
    **dict.fromkeys(("mv", "m-v", "cold", "marzari-vanderbilt"), "Marzari-Vanderbilt"),
    **dict.fromkeys(("mp", "m-p", "methfessel-paxton"), "Methfessel-Paxton 1"),
    **dict.fromkeys(("fd", "f-d", "fermi-dirac"), "Fermi-Dirac"),
}
DISPERSIONS = {"grimme-d2": "D2", "dft-d": "D2", "ts-vdw": "TS", "xdm": "XDM", "mbd_vdw": "MBD"}
_SAME = 1e-9  # Hartree


def is_schema(head: FileHead) -> bool:
    """Say whether a file is a data-file-schema.xml, under any name."""
    start = head.start.lstrip()
    return start.startswith(b"<") and b"<qes:espresso" in start


def read_schema(path: Path, name: str) -> RawFile:
    """Read all finished steps.

    Raises
    ------
    DataError
        If there is none, or the file declares a DOCTYPE.
    """
    refuse_doctype(path, name, "Quantum ESPRESSO")
    run, fault = _Run(), ""
    try:
        with open_unpacked(path, name) as file:
            for _, section in ElementTree.iterparse(file):
                run.take(section)
    except (ElementTree.ParseError, *UNREADABLE) as error:
        fault = str(error)
    return run.steps.file(name, CONVENTIONS, run.theory(), fault)


@dataclass
class _Run:
    """What has been read of a run: frames, and the sections that state its theory."""

    steps: Steps = field(default_factory=Steps)
    sections: dict[str, _Element] = field(default_factory=dict)
    version: str = ""
    last: float | None = None

    def take(self, section: _Element) -> None:
        """Take up an element that is whole."""
        if section.tag == "step":
            self._frame(section, "scf_conv/convergence_achieved")
        elif section.tag == "output":
            self.sections["output"] = section
            energy = section.findtext("total_energy/etot")
            if energy and (self.last is None or abs(float(energy) - self.last) > _SAME):
                self._frame(section, "convergence_info/scf_conv/convergence_achieved")
        elif section.tag == "ks_energies":
            section.clear()  # bands of many k-points are most of the file
        elif section.tag == "creator":
            self.version = section.get("VERSION", "")
        elif section.tag == "input":
            self.sections["input"] = section

    def _frame(self, section: _Element, converged: str) -> None:
        structure, energy = section.find("atomic_structure"), section.findtext("total_energy/etot")
        if structure is None or not energy:
            self.steps.unfinished += 1
            return
        atoms, said = _atoms(structure), section.findtext(converged)
        self.last = float(energy)
        entropy = float(section.findtext("total_energy/demet") or 0)
        values: dict[str, float | Array | None] = dict(energies(self.last, entropy, self._smearing()))
        values["forces"] = _numbers(section.findtext("forces"), (len(atoms), 3))
        values["stress"] = _numbers(section.findtext("stress"), (3, 3))
        self.steps.add(atoms, values, None if said is None else said.strip().lower() == "true")

    def _text(self, *paths: str) -> str:
        """Return the first text that stands at one of the paths, in the output or else in the input."""
        found = (
            self.sections[part].findtext(path)
            for part in ("output", "input")
            if part in self.sections
            for path in paths
        )
        return next((text.strip() for text in found if text and text.strip()), "")

    def _smearing(self) -> str | None:
        kind = self._text("band_structure/occupations_kind", "bands/occupations")
        word = self._text("band_structure/smearing", "bands/smearing").lower()
        if kind.startswith("tetrahedra"):
            return "tetrahedron"
        return SMEARINGS.get(word, word) if word and kind in ("smearing", "") else kind or None

    def _width(self) -> float | None:
        for part, path in (("output", "band_structure/smearing"), ("input", "bands/smearing")):
            found = self.sections[part].find(path) if part in self.sections else None
            if found is not None and found.get("degauss"):
                return float(found.get("degauss", "0")) * units.Hartree
        return None

    def theory(self) -> LevelOfTheory:
        """Return the level of theory; k-mesh, smearing and the rest stand in the output or in the input."""
        mesh, shift = self._mesh()
        ecut, dense = self._text("basis_set/ecutwfc", "basis/ecutwfc"), self._text("basis_set/ecutrho", "basis/ecutrho")
        spin = [self._text(f"magnetization/{word}", f"spin/{word}").lower() == "true" for word in ("lsda", "noncolin")]
        u, orbital = self._hubbard()
        return LevelOfTheory(
            code="Quantum ESPRESSO",
            version=self.version or None,
            **named(self._text("dft/functional")),
            dispersion=self._dispersion(),
            hubbard_u=u,
            hubbard_orbital=orbital,
            spin=any(spin),
            soc=self._text("magnetization/spinorbit", "spin/spinorbit").lower() == "true",
            cutoff_eV=float(ecut) * units.Hartree if ecut else None,
            density_cutoff_eV=float(dense) * units.Hartree if dense else None,
            kpoints=mesh,
            kpoint_offset=shift,
            smearing=self._smearing(),
            smearing_width_eV=self._width(),
            potentials=self._potentials(),
        )

    def _all(self, tag: str) -> list[_Element]:
        """Return the elements of a tag, of the output or, where that has none, of the input."""
        parts = [self.sections[part] for part in ("output", "input") if part in self.sections]
        return next((found for part in parts if (found := list(part.iter(tag)))), [])

    def _mesh(self) -> tuple[tuple[int, int, int] | None, tuple[float, float, float] | None]:
        found = self._all("monkhorst_pack")
        if not found:
            return None, None
        x, y, z = (int(found[0].get(f"nk{i}", "1")) for i in (1, 2, 3))
        a, b, c = (float(found[0].get(f"k{i}", "0")) / 2 for i in (1, 2, 3))
        return (x, y, z), (a, b, c)

    def _potentials(self) -> tuple[str, ...]:
        species = [(one.get("name", ""), one.findtext("pseudo_file")) for one in self._all("species")]
        return tuple(dict.fromkeys(titled(element(label), file.strip()) for label, file in species if file))

    def _hubbard(self) -> tuple[dict[str, float], dict[str, str]]:
        found = [one for one in self._all("Hubbard_U") if float(one.text or 0)]
        table = {element(one.get("specie", "")): float(one.text or 0) * units.Hartree for one in found}
        orbitals = {element(one.get("specie", "")): one.get("label", "")[-1:] for one in found}
        return table, {symbol: orbital for symbol, orbital in orbitals.items() if orbital in "spdf"}

    def _dispersion(self) -> str | None:
        word = self._text("dft/vdW/vdw_corr").lower()
        if word in ("grimme-d3", "dft-d3"):
            version = self._text("dft/vdW/dftd3_version") or "3"
            return {"3": "D3", "4": "D3(BJ)"}.get(version, f"D3 (version {version})")
        return DISPERSIONS.get(word, word) or None if word != "none" else None


def _numbers(text: str | None, shape: tuple[int, ...]) -> Array | None:
    return None if text is None else np.array(text.split(), dtype=float).reshape(shape)


def _atoms(structure: _Element) -> Atoms:
    """Return a structure, given in Bohr."""
    sites = structure.findall("atomic_positions/atom")
    positions = np.array([(site.text or "").split() for site in sites], dtype=float)
    cell = np.array([(structure.findtext(f"cell/a{i}") or "").split() for i in (1, 2, 3)], dtype=float)
    symbols = [element(site.get("name", "")) for site in sites]
    return Atoms(symbols, positions * units.Bohr, cell=cell * units.Bohr, pbc=True)


def find_schemas(own: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Return one file for each run whose text output lies neither beside it nor in a folder above it."""
    told = {path.parent for path in others if is_pwx(FileHead(path))}
    runs = {_run_name(path): path for path in reversed(without_packed(own)) if told.isdisjoint(path.parents)}
    return sorted(runs.values())


def _run_name(path: Path) -> Path:
    """Return ``out/si`` for out/si.xml and for its copy out/si.save/data-file-schema.xml."""
    folder = path.parent
    return folder.with_suffix("") if folder.suffix == ".save" else plain_path(path).with_suffix("")


ESPRESSO_XML = Format(CONVENTIONS.format, is_schema, read_schema, find_schemas)

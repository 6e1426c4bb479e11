"""The level of theory of a run of ABACUS: from its log, and from the INPUT and KPT files of its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from ase.units import Rydberg, kB

from matgraft.core.provenance import KPointScheme, LevelOfTheory
from matgraft.potentials.data.reading.formats.functionals import named
from matgraft.potentials.data.reading.formats.output import Output, element, numbers
from matgraft.potentials.data.reading.formats.steps import Handlers
from matgraft.potentials.data.reading.formats.vasp.theory import monkhorst_offset

_SMEARINGS = {
    **dict.fromkeys(("gauss", "gaussian"), "Gaussian"),
    **dict.fromkeys(("fd", "fermi-dirac"), "Fermi-Dirac"),
    **dict.fromkeys(("mp", "methfessel-paxton"), "Methfessel-Paxton 1"),
    "mp2": "Methfessel-Paxton 2",
    **dict.fromkeys(("mv", "cold", "marzari-vanderbilt"), "Marzari-Vanderbilt"),
    "fixed": "fixed",
}
_DISPERSIONS = {"d2": "D2", "d3_0": "D3(0)", "d3_bj": "D3(BJ)"}


class _Kpoints(TypedDict, total=False):
    kpoints: tuple[int, int, int]
    kpoint_offset: tuple[float, float, float]
    kpoint_scheme: KPointScheme


@dataclass
class AbacusInput:
    """What a run was asked for.

    Attributes
    ----------
    words
        Parameter of INPUT in lower case -> its words.
    mesh
        What KPT says.
    files
        INPUT and KPT, where they lie beside.
    """

    words: Mapping[str, list[str]] = field(default_factory=dict)
    mesh: _Kpoints = field(default_factory=_Kpoints)
    files: tuple[Path, ...] = ()
    version: str = ""
    functional: str = ""
    cutoff: float | None = None
    spins: int | None = None
    orbitals: bool = False
    potentials: list[str] = field(default_factory=list)
    species: list[str] = field(default_factory=list)

    @classmethod
    def beside(cls, log: Path) -> AbacusInput:
        """Read INPUT and KPT of a log's folder, or of the one above."""
        found: dict[str, Path] = {}
        for folder in (log.parent, log.parent.parent):
            for name in ("INPUT", "KPT"):
                if (folder / name).is_file():
                    found.setdefault(name, folder / name)
        texts = {name: path.read_text("utf-8", "replace") for name, path in found.items()}
        words = (re.split(r"[#!]|//", line)[0].split() for line in texts.get("INPUT", "").splitlines())
        given = {row[0].lower(): row[1:] for row in words if len(row) > 1}
        return cls(given, _mesh(texts.get("KPT", "")), tuple(found.values()))

    def handlers(self) -> Handlers:
        """Return what takes the lines of the log."""
        return {
            "ABACUS v": self._version,
            "Version:": self._version,
            "exchange-correlation functional =": self._functional,
            "energy cutoff for wavefunc": self._cutoff,
            "nspin =": self._spin,
            "orbital file:": self._orbital,
            "Read in pseudopotential file is": self._potential,
            "atom label for species": self._label,
        }

    def _version(self, line: str, _: Output) -> None:
        found = re.search(r"\bv(\d[\w.-]*)", line)
        self.version = found.group(1) if found else self.version

    def _functional(self, line: str, _: Output) -> None:
        self.functional = line.split("=", 1)[1].strip()

    def _cutoff(self, line: str, _: Output) -> None:
        self.cutoff = round(numbers(line)[-1] * Rydberg, 4)

    def _spin(self, line: str, _: Output) -> None:
        self.spins = int(numbers(line)[-1])

    def _orbital(self, _line: str, _: Output) -> None:
        self.orbitals = True

    def _potential(self, line: str, _: Output) -> None:
        self.potentials.append(line.split()[-1].rsplit("/", 1)[-1])

    def _label(self, line: str, _: Output) -> None:
        self.species.append(line.split("=", 1)[1].strip())

    def tags(self) -> dict[str, str]:
        """Return the charge, where electrons were added or taken away."""
        extra = float(self._word("nelec_delta") or 0.0)
        return {"charge": f"{-extra:g}"} if extra else {}

    def theory(self) -> LevelOfTheory:
        """Return the level of theory."""
        stated = self._word("dft_functional").lower()
        name = self.functional if stated in ("", "default") else stated
        u, orbitals = self._hubbard()
        return LevelOfTheory(
            code="ABACUS",
            version=self.version or None,
            **named(name),
            dispersion=_DISPERSIONS.get(self._word("vdw_method").lower()),
            basis="LCAO" if self.orbitals else None,
            hubbard_u=u,
            hubbard_orbital=orbitals,
            spin=None if self.spins is None else self.spins > 1,
            soc=self._word("lspinorb").lower() in ("1", "true", "t") if "lspinorb" in self.words else None,
            cutoff_eV=self.cutoff,
            smearing=_SMEARINGS.get(self._word("smearing_method").lower()),
            smearing_width_eV=self._width(),
            potentials=tuple(self.potentials),
            **self.mesh,
        )

    def _word(self, name: str) -> str:
        return self.words.get(name, [""])[0]

    def _width(self) -> float | None:
        if temperature := self._word("smearing_sigma_temp"):
            return round(float(temperature) * kB, 6) if float(temperature) > 0 else None
        sigma = self._word("smearing_sigma")
        return round(float(sigma) * Rydberg, 6) if sigma else None

    def _hubbard(self) -> tuple[dict[str, float], dict[str, str]]:
        """Return U and the orbital that it acts on by element; species of one element that differ are numbered."""
        if self._word("dft_plus_u").lower() in ("", "0", "false", "f"):
            return {}, {}
        given = zip(self.species, self.words.get("orbital_corr", []), self.words.get("hubbard_u", []), strict=False)
        kinds: dict[str, set[tuple[float, str]]] = {}
        for label, shell, value in given:
            if int(shell) >= 0:
                kinds.setdefault(element(label), set()).add((float(value), "spdf"[int(shell)]))
        values: dict[str, float] = {}
        orbitals: dict[str, str] = {}
        for symbol, pairs in kinds.items():
            for n, (u, orbital) in enumerate(sorted(pairs, reverse=True), start=1):
                values[symbol if len(pairs) == 1 else f"{symbol} {n}"] = u
                orbitals.setdefault(symbol, orbital)
        return values, orbitals


def _mesh(text: str) -> _Kpoints:
    """Read a KPT file: a comment, 0, the scheme, then divisions and shifts."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if len(rows) < 4 or rows[1][:1] != ["0"] or len(rows[3]) < 3:
        return {}
    x, y, z = (int(word) for word in rows[3][:3])
    shift = [float(word) for word in rows[3][3:6]] if len(rows[3]) >= 6 else [0.0, 0.0, 0.0]
    if rows[2][0].lower().startswith("g"):
        return {"kpoints": (x, y, z), "kpoint_offset": (shift[0], shift[1], shift[2]), "kpoint_scheme": "Gamma"}
    offset = monkhorst_offset((x, y, z), shift)
    return {"kpoints": (x, y, z), "kpoint_offset": offset, "kpoint_scheme": "Monkhorst-Pack"}

"""Where data come from: files and their hashes, how their numbers were read, and the level of theory behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from matgraft.core.frozen import Frozen

KPointScheme = Literal["Gamma", "Monkhorst-Pack"]
EnergyKind = Literal["free", "sigma0", "internal"]
"""The electrons' free energy, to which forces belong; the energy at sigma -> 0; the energy without the entropy."""

UNCORRECTED, CORRECTED = "none", "corrected"
"""Energies as DFT gave them; energies that were corrected by a scheme that nothing names."""

ENERGY_NAMES: dict[EnergyKind, str] = {
    "free": "free energy",
    "sigma0": "energy at sigma -> 0",
    "internal": "energy without entropy",
}


class LevelOfTheory(Frozen):
    """What a DFT code was asked for. None and empty mean: not stated.

    A functional that is stated without a hybrid, a dispersion correction or U is the plain functional.

    Energies of two levels of theory must not be mixed without a reference shift each; `matgraft.potentials.data.levels`
    tells them apart. The mesh offset belongs here: Γ-centred against shifted 4x4x4 meshes of Si differ by 94 meV/atom
    and 1 GPa.

    Units: energies in eV, k-points as divisions of the reciprocal cell, offset from Γ in units of a division.
    """

    code: str | None = None
    version: str | None = None
    functional: str | None = None
    metagga: str | None = None
    hybrid: str | None = None
    dispersion: str | None = None
    basis: str | None = None
    """Basis set of localised functions: ``"def2-SVP"``. Codes of plane waves have a cutoff instead."""
    hubbard_u: dict[str, float] = Field(default_factory=dict)
    """U in eV by element, and J as ``"Fe (J)"`` where it is not taken off U. Species of one element that differ are
    numbered, the largest U first: ``"Fe 1"``, ``"Fe 2"``, ``"Fe 1 (J)"``."""
    hubbard_orbital: dict[str, str] = Field(default_factory=dict)
    """Element -> the orbital that U acts on: s, p, d or f."""
    hubbard_form: str | None = None
    """``"rotationally invariant"`` for Liechtenstein's form and Dudarev's, which is the same with J = 0; or another."""
    spin: bool | None = None
    soc: bool | None = None
    aspherical: bool | None = None
    """Whether the non-spherical density inside the PAW spheres enters exchange and correlation (VASP: LASPH)."""
    cutoff_eV: float | None = None
    density_cutoff_eV: float | None = None
    kpoints: tuple[int, int, int] | None = None
    kpoint_offset: tuple[float, float, float] | None = None
    kpoint_scheme: KPointScheme | None = None
    smearing: str | None = None
    smearing_width_eV: float | None = None
    potentials: tuple[str, ...] = ()
    energy: EnergyKind | None = None
    """Which energy the label is."""
    correction: str | None = None
    """Scheme by which energies were corrected after DFT, ``"MP2020"``; `UNCORRECTED`; `CORRECTED` by an unnamed one."""
    licence: str | None = None
    source: str | None = None

    def key(self) -> tuple[object, ...]:
        """Return everything that is stated, as something to look up by."""
        return tuple(tuple(sorted(value.items())) if isinstance(value, dict) else value for _, value in self)

    @property
    def correction_words(self) -> str:
        """``"corrected by MP2020"``, ``"as DFT gave them"``; empty where nothing is stated."""
        words = {None: "", UNCORRECTED: "as DFT gave them", CORRECTED: CORRECTED}
        return words.get(self.correction, f"corrected by {self.correction}")

    def describe(self) -> str:
        """One line for screens and reports."""
        parts = [
            self.hybrid or self.metagga or self.functional,
            "+U" if self.hubbard_u else None,
            self.basis,
            self.code,
        ]
        parts += [f"{self.cutoff_eV:g} eV cutoff" if self.cutoff_eV else None]
        parts += [ENERGY_NAMES[self.energy] if self.energy else None]
        parts += [self.correction_words if self.correction not in (None, UNCORRECTED) else None]
        return ", ".join(part for part in parts if part) or "not stated"


class SourceFile(Frozen):
    """A file that was read."""

    name: str
    sha256: str
    n_samples: int
    format: str = ""
    """Name of its format."""
    energies: tuple[EnergyKind, ...] = ()
    """Which energies the labels are; empty where nothing says."""
    keys: dict[str, str] = Field(default_factory=dict)
    """Quantity -> name of the key it was found under."""
    units: dict[str, str] = Field(default_factory=dict)
    """Quantity -> unit that its numbers were taken for; ``"length"`` of positions and cell where something says it."""
    fixed: tuple[str, ...] = ()
    """Quantities whose unit, sign and order the format leaves no choice of."""
    not_computed: dict[str, int] = Field(default_factory=dict)
    """Quantity -> number of frames in which it is NaN, or zeros that stand for what was not computed."""


class Provenance(Frozen):
    """Files behind a dataset, and notes of what reading decided."""

    files: tuple[SourceFile, ...] = ()
    notes: tuple[str, ...] = ()
    isolated_atoms: dict[str, float] = Field(default_factory=dict)
    """Element -> energy (eV) of an isolated atom of it, where the files have one."""
    corrects: dict[str, str] = Field(default_factory=dict)
    """Quantity -> key of the cheap label that was subtracted from it; empty where labels are as they were read."""

    @classmethod
    def merge(cls, parts: Iterable[Provenance]) -> Provenance:
        """Join, keeping order and leaving out repetitions."""
        parts = list(parts)
        files = dict.fromkeys(file.name + file.sha256 for part in parts for file in part.files)
        by_key = {file.name + file.sha256: file for part in parts for file in part.files}
        notes = dict.fromkeys(note for part in parts for note in part.notes)
        atoms = {symbol: energy for part in reversed(parts) for symbol, energy in part.isolated_atoms.items()}
        corrects = {name: key for part in reversed(parts) for name, key in part.corrects.items()}
        known = tuple(by_key[key] for key in files)
        return cls(files=known, notes=tuple(notes), isolated_atoms=atoms, corrects=corrects)


def file_hash(path: Path, *others: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text; of several files, or a folder's, that of their hashes."""
    files = [path for path in (path, *others) if path.is_file()]
    digests = [_digest(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def few_names(names: Sequence[str]) -> str:
    """Return up to three names, or two and how many more there are."""
    shown = names if len(names) <= 3 else [*names[:2], f"and {len(names) - 2} more"]
    return ", ".join(shown)

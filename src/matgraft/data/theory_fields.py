"""What a frame states of its level of theory, field by field, and when two statements of one field agree.

    settings(theory, ["Fe"])    # {"code": Same("vasp"), "cutoff": Close(520.0), "smearing": None, ...}
    density(theory, atoms)      # {"k-mesh density of Fe": Density((8, 8, 8), ...)}

None means that the field applies to the frame, but its file does not state it. A field that does not apply is left out:
a frame without iron has no U of Fe. A field is what shifts energies by some meV/atom; PREC, LREAL and EDIFF do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pymatgen.core import Element

from matgraft.data.looks.geometry import SLAB_A, vacuum
from matgraft.data.provenance import LevelOfTheory
from matgraft.data.vasp_theory import monkhorst_offset

if TYPE_CHECKING:
    from ase import Atoms

CLOSE = 1e-3
"""Relative difference of two numbers that are one setting: 60 Ry are 816.34 eV to one file, 816.3 eV to another."""

DENSITY = 0.15
"""Relative difference of two k-mesh densities that are one: rules for meshes differ by as much in skewed cells."""

SHARP_eV = 0.05
"""Width up to which a smearing shifts no energy: D w^2 / 4 = 0.6 meV/atom, with D = 1 state / (eV atom) at the Fermi
level (M. Methfessel and A. T. Paxton, Phys. Rev. B 40, 3616 (1989))."""

SHARP_AT_SIGMA0_eV = 0.2
"""The same for energies at sigma -> 0, which have the term in w^2 taken out."""

_PER_DIVISION = 1e-3  # offsets are compared to so many divisions
_WITHOUT_WIDTH = ("tetrahedron", "fixed")


class Value(Protocol):
    """The value of one field."""

    def agrees(self, other: Any) -> bool:
        """Say whether both can be one setting; symmetric."""
        ...


Statement = dict[str, Value | None]


@dataclass(frozen=True)
class Same:
    """A value that must be the same."""

    value: str | bool

    def agrees(self, other: Same) -> bool:
        """Say whether both are equal."""
        return self.value == other.value

    def __str__(self) -> str:
        return self.value if isinstance(self.value, str) else ("no", "yes")[self.value]


@dataclass(frozen=True)
class Close:
    """A number with the digits that a file gives it."""

    value: float
    unit: str = "eV"

    def agrees(self, other: Close) -> bool:
        """Say whether both are one number, rounded differently."""
        return math.isclose(self.value, other.value, rel_tol=CLOSE, abs_tol=CLOSE)

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}".strip()


@dataclass(frozen=True)
class Title:
    """The title of a pseudopotential, in full or in part: ``PAW_PBE Fe_pv 02Aug2007`` or ``Fe_pv``."""

    words: frozenset[str]
    text: str

    def agrees(self, other: Title) -> bool:
        """Say whether one says all that the other does."""
        return self.words <= other.words or other.words <= self.words

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Smearing:
    """Kind and width (eV) of a smearing; None where not stated. A sharp one shifts no energy, whatever its kind."""

    kind: str | None
    width: float | None
    sharp: bool

    def agrees(self, other: Smearing) -> bool:
        """Say whether both shift energies alike."""
        kinds = self.kind is None or other.kind is None or self.kind == other.kind
        widths = self.width is None or other.width is None or Close(self.width).agrees(Close(other.width))
        return (self.sharp and other.sharp) or (kinds and widths)

    def __str__(self) -> str:
        return " ".join([self.kind or "of unstated kind", f"{self.width:g} eV" if self.width else ""]).strip()


@dataclass(frozen=True)
class Offset:
    """The rules that place a k-mesh as this one is placed: scheme and shift.

    The same points have several names: a Monkhorst-Pack mesh of odd divisions is centred on Γ, one of even divisions is
    a Γ mesh shifted by half a division. Two meshes agree if one rule places both.
    """

    rules: frozenset[tuple[str, tuple[float, ...]]]

    def agrees(self, other: Offset) -> bool:
        """Say whether one rule places both."""
        return not self.rules.isdisjoint(other.rules)

    def __str__(self) -> str:
        name, shift = min(self.rules)
        moved = f" shifted by ({', '.join(f'{x:g}' for x in shift)})" if any(shift) else ""
        return f"{name}{moved}"


@dataclass(frozen=True)
class Density:
    """Divisions of a k-mesh, and the cell that they divide, along its directions without vacuum.

    Attributes
    ----------
    lengths
        Lengths of the lattice vectors, Å.
    heights
        Distances between lattice planes, Å: the lengths that VASP's KSPACING goes by.
    """

    divisions: tuple[int, ...]
    lengths: tuple[float, ...]
    heights: tuple[float, ...]

    def agrees(self, other: Density) -> bool:
        """Say whether one density gives both meshes, by one of the two lengths."""
        return _alike(self._axes(self.lengths), other._axes(other.lengths)) or _alike(
            self._axes(self.heights), other._axes(other.heights)
        )

    def _axes(self, lengths: Sequence[float]) -> list[tuple[float, float]]:
        """Return density (divisions times length, Å) and length of each direction, sorted by density."""
        return sorted((n * length, length) for n, length in zip(self.divisions, lengths, strict=True))

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.divisions))} for {' x '.join(f'{x:.1f}' for x in self.lengths)} Å"


def _alike(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> bool:
    """Compare axis by axis; where one frame has fewer (a slab), each of its axes must find a partner."""
    if len(one) == len(other):
        return all(_same_density(a, b) for a, b in zip(one, other, strict=True))
    fewer, more = sorted((one, other), key=len)
    return all(any(_same_density(a, b) for b in more) for a in fewer)


def _same_density(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Say whether rounding to whole divisions, up, down or to the nearest, explains the difference of two densities.

    Divisions are whole, so that a density is met to within one length of the cell. In one cell no rule gives both.
    """
    gap = abs(one[0] - other[0])
    return gap < (1 - 1e-6) * max(one[1], other[1]) or gap < DENSITY * max(one[0], other[0])


# --- from a level of theory ------------------------------------------------------------------------------------------


def settings(theory: LevelOfTheory, symbols: Iterable[str]) -> Statement:
    """Return what a level of theory states, for a frame of these elements."""
    found = _general(theory)
    for symbol in symbols:
        found |= _inputs(theory, symbol)
    return found | {"offset of the k-mesh": offset(theory)}


def density(theory: LevelOfTheory, atoms: Atoms) -> Statement:
    """Return the k-mesh density in the cell of a frame (Å), under a name that holds its elements.

    Frames of other elements may need another density, so that it is compared among frames of the same ones.
    """
    name = f"k-mesh density of {'-'.join(sorted(set(atoms.symbols)))}"
    if theory.kpoints is None:
        return {name: None}
    filled = vacuum(atoms) <= SLAB_A
    if not filled.any():
        return {}
    heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell[:]), axis=0)
    lengths = (tuple(_percent(x) for x in row[filled]) for row in (atoms.cell.lengths(), heights))
    return {name: Density(tuple(np.array(theory.kpoints)[filled].tolist()), *lengths)}


def _general(theory: LevelOfTheory) -> Statement:
    """Return what does not depend on the structure."""
    found: Statement = {
        "code": _word(theory.code),
        **_functional(theory),
        "spin polarisation": _flag(theory.spin),
        "spin-orbit coupling": _flag(theory.soc),
        "non-spherical terms": _flag(theory.aspherical),
        "cutoff": _close(theory.cutoff_eV),
        "smearing": _smearing(theory),
        "energy taken": _word(theory.energy),
    }
    if (theory.code or "").upper() != "VASP":  # VASP's follows the elements of the cell and hardly matters
        found["density cutoff"] = _close(theory.density_cutoff_eV)
    return found


def _functional(theory: LevelOfTheory) -> Statement:
    """Return exchange and correlation. A functional without a word on hybrid and dispersion is the plain one."""
    names = ("functional", "hybrid", "hybrid parameters", "dispersion")
    if not (theory.functional or theory.metagga or theory.hybrid):
        return {**dict.fromkeys(names), "dispersion": _word(theory.dispersion)}
    hybrid, _, parameters = (theory.hybrid or "none").partition(" (")
    return {
        "functional": _word(theory.metagga or theory.functional),  # a meta-GGA takes the place of the GGA
        "hybrid": _word(hybrid),
        "dispersion": _word(theory.dispersion or "none"),
        **({"hybrid parameters": _word(parameters.rstrip(")"))} if theory.hybrid else {}),
    }


def _inputs(theory: LevelOfTheory, symbol: str) -> Statement:
    """Return what an element was given. An element without a word on U has none."""
    u, j = theory.hubbard_u.get(symbol, 0.0), theory.hubbard_u.get(f"{symbol} (J)", 0.0)
    title = _title(theory.potentials, symbol)
    found: Statement = {
        f"potential of {symbol}": Title(frozenset(title.lower().split()), title) if title else None,
        f"U of {symbol}": Close(u),
        f"J of {symbol}": Close(j),
    }
    if u or j:
        found[f"orbital of U of {symbol}"] = _word(theory.hubbard_orbital.get(symbol))
        found["form of U"] = _word(theory.hubbard_form)
    return found


def _title(potentials: Sequence[str], symbol: str) -> str:
    """Find the potential of an element: ``PAW_PBE Si 05Jan2001``, ``Si.pbe-n-kjpaw_psl.UPF``, ``si_pbe.uspp.F.UPF``."""
    return next((title for title in potentials if _element(title) == symbol), "")


def _element(title: str) -> str:
    """Return the first word of a title that is a chemical symbol."""
    letters = "".join(x if x.isalpha() else " " for x in title).split()
    return next((word.capitalize() for word in letters if Element.is_valid_symbol(word.capitalize())), "")


def _smearing(theory: LevelOfTheory) -> Smearing | None:
    kind, width = theory.smearing, theory.smearing_width_eV
    if kind is None and width is None:
        return None
    if kind is not None and kind.lower().startswith(_WITHOUT_WIDTH):
        return Smearing(kind.lower(), None, sharp=True)
    limit = SHARP_AT_SIGMA0_eV if theory.energy == "sigma0" else SHARP_eV
    return Smearing(kind and kind.lower(), width, sharp=width is not None and width <= limit * (1 + CLOSE))


def offset(theory: LevelOfTheory) -> Offset | None:
    """Return the rules that place the k-mesh of a level of theory, None where it states too little."""
    divisions, scheme, stated = theory.kpoints, theory.kpoint_scheme, theory.kpoint_offset
    if stated is None and scheme is not None:  # unshifted
        if divisions is None or scheme == "Gamma":
            stated = (0.0, 0.0, 0.0)
        else:
            stated = monkhorst_offset(divisions, (0.0, 0.0, 0.0))
        if divisions is None:
            return Offset(frozenset({(scheme, _canonical(stated))}))
    if stated is None:
        return None
    rules = {("Gamma", _canonical(stated))}
    if divisions is not None:
        halves = monkhorst_offset(divisions, (0.0, 0.0, 0.0))
        rules.add(("Monkhorst-Pack", _canonical(tuple(x - half for x, half in zip(stated, halves, strict=True)))))
    return Offset(frozenset(rules))


def _canonical(shift: Sequence[float]) -> tuple[float, ...]:
    """Round a shift (in divisions) within one division; of k and -k, which have one energy, take the first."""
    ways = [tuple(round(sign * x / _PER_DIVISION) * _PER_DIVISION % 1.0 for x in shift) for sign in (1, -1)]
    return min(tuple(round(x, 3) % 1.0 for x in way) for way in ways)


def _percent(length: float) -> float:
    """Round to a percent, so that the cells of a simulation are few."""
    return float(np.exp(round(float(np.log(length)) / 0.01) * 0.01))


def _word(text: str | None) -> Same | None:
    return Same(" ".join(text.lower().split())) if text else None


def _flag(value: bool | None) -> Same | None:
    return None if value is None else Same(value)


def _close(value: float | None) -> Close | None:
    return None if value is None else Close(value)

"""What a frame states of its level of theory, field by field, and when two statements of one field agree.

    stated_fields(theory, ["Fe"])    # {"code": Same("vasp"), "cutoff": Close(520.0), "smearing": None, ...}
    mesh(theory, atoms)         # {"offset of the k-mesh": Offset(...), "k-mesh density of Fe": Density((8, 8, 8), ...)}

None means that the field applies to the frame, but its file does not state it. A field that does not apply is left out:
a frame without iron has no U of Fe. A field is what shifts energies by some meV/atom; PREC, LREAL and EDIFF do not.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from matgraft.core.provenance import CORRECTED, UNCORRECTED, LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.potentials.data.cells import box
from matgraft.potentials.data.geometry import SLAB_A, vacuum
from matgraft.potentials.data.reading.formats.vasp.theory import monkhorst_offset

if TYPE_CHECKING:
    from ase import Atoms

CLOSE = 1e-3
"""Relative difference of two numbers that are one setting: 60 Ry are 816.34 eV to one file, 816.3 eV to another."""

DENSITY = 0.15
"""Relative difference of two k-mesh densities that are one: rules for meshes differ by as much in skewed cells."""

SHARP_eV = 0.05
"""Width up to which a smearing shifts no free energy: D w^2 / 4 = 0.6 meV/atom for a Gaussian, with D = 1 state /
(eV atom) at the Fermi level (M. Methfessel and A. T. Paxton, Phys. Rev. B 40, 3616 (1989))."""

SHARP_FERMI_eV = SHARP_eV * math.sqrt(6 / 4) / math.pi
"""The same for a Fermi-Dirac smearing, whose free energy falls by D (pi w)^2 / 6 (Sommerfeld expansion)."""

SHARP_AT_SIGMA0_eV = 0.2
"""The same for energies at sigma -> 0, which have the term in w^2 taken out."""

_WITHOUT_WIDTH = ("tetrahedron", "fixed")

_CODES = {
    **dict.fromkeys(("qe", "pwscf", "pwx", "quantumespresso", "quantumespressopwx", "espresso"), "quantum espresso"),
    **dict.fromkeys(("aims", "fhiaims"), "fhi-aims"),
}
"""Names of codes, in letters and digits alone -> one name."""

_DISPERSIONS = {
    prefix + alias: name
    for name, aliases in {
        "d2": ("d2",),
        "d3": ("d3", "d30", "d3zero", "d3zerodamping"),
        "d3(bj)": ("d3bj", "d3bjdamping", "d3beckejohnson"),
        "d4": ("d4",),
        "ts": ("ts", "tkatchenkoscheffler"),
    }.items()
    for alias in aliases
    for prefix in ("", "dft")
}
"""The same for dispersion corrections. D3 without a damping is the older one, damped to zero (D3(0))."""


_CORRECTIONS = {
    **dict.fromkeys(("none", "no", "raw", "uncorrected"), UNCORRECTED),
    **dict.fromkeys(("mp2020", "mp2020compatibility", "materialsproject2020compatibility"), "mp2020"),
    **dict.fromkeys(("mp", "mplegacy", "mpcompatibility", "materialsprojectcompatibility"), "mp legacy"),
}
"""The same for schemes of energy corrections."""


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
class Correction:
    """How energies were corrected after DFT: by a scheme, by one that nothing names, or not."""

    scheme: str

    def agrees(self, other: Correction) -> bool:
        """Say whether both can be one scheme; what is corrected is never uncorrected."""
        both = {self.scheme, other.scheme}
        return len(both) == 1 or (CORRECTED in both and UNCORRECTED not in both)

    def __str__(self) -> str:
        return self.scheme


@dataclass(frozen=True)
class Kinds:
    """What the atoms of one element were given: one value, or several where the element has several species."""

    values: tuple[Value, ...]

    def agrees(self, other: Kinds) -> bool:
        """Say whether each value of one can be a value of the other."""
        pairs = ((self, other), (other, self))
        return all(any(a.agrees(b) for b in second.values) for first, second in pairs for a in first.values)

    def __str__(self) -> str:
        return " and ".join(map(str, self.values))


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
    """The rules that place a k-mesh as this one is placed: scheme and shift; None along a direction of vacuum.

    The same points have several names: a Monkhorst-Pack mesh of odd divisions is centred on Γ, one of even divisions is
    a Γ mesh shifted by half a division. Two meshes agree if one rule places both. Bands are flat across vacuum, so that
    a shift along it counts for nothing.
    """

    rules: frozenset[tuple[str, tuple[float | None, ...]]]

    def agrees(self, other: Offset) -> bool:
        """Say whether one rule places both."""
        pairs = itertools.product(self.rules, other.rules)
        return any(name == called and _one_shift(own, shift) for (name, own), (called, shift) in pairs)

    def __str__(self) -> str:
        name, shift = min(self.rules)
        said = ", ".join("any" if x is None else f"{x:g}" for x in shift)
        return f"{name} shifted by ({said})" if any(shift) else name


def _one_shift(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    """Say whether two shifts are one where both count; k and -k have one energy."""
    pairs = [(x, y) for x, y in zip(one, other, strict=True) if x is not None and y is not None]
    return all(x == y for x, y in pairs) or all(x == round(-y % 1.0, 3) for x, y in pairs)


@dataclass(frozen=True)
class Density:
    """Divisions of a k-mesh, and the cell that they divide, along its directions without vacuum.

    Attributes
    ----------
    lengths
        Lengths of the lattice vectors, Å.
    heights
        Distances between lattice planes, Å: the lengths that VASP's KSPACING goes by.
    spacing
        Cube root of the volume per atom, Å; None for a frame with vacuum. Rules that count k-points times atoms go by
        lengths in this unit, and so does one mesh for a crystal under pressure.
    """

    divisions: tuple[int, ...]
    lengths: tuple[float, ...]
    heights: tuple[float, ...]
    spacing: float | None = None

    def agrees(self, other: Density) -> bool:
        """Say whether one density gives both meshes, by one of the three lengths."""
        return bool(_same_densities(self, other.axes[None])[0])

    @cached_property
    def axes(self) -> Array:
        """Density (divisions times length) and length, (3 kinds of length, 3 axes, 2), sorted by density.

        NaN fills up the axes of vacuum, which come last, and the lengths by spacing of a frame without one.
        """
        found = np.full((3, 3, 2), np.nan)
        lengths = np.array([self.lengths, self.heights, np.array(self.lengths) / (self.spacing or np.nan)])
        for kind, own in zip(found, lengths, strict=True):
            rows = np.column_stack([np.array(self.divisions) * own, own])
            kind[: len(rows)] = rows[np.argsort(rows[:, 0])]
        return found

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.divisions))} for {' x '.join(f'{x:.1f}' for x in self.lengths)} Å"


def _same_densities(one: Density, others: Array) -> NDArray[np.bool_]:
    """Compare a density with the axes of others, (m, 3, 3, 2), axis by axis.

    Rounding to whole divisions, up, down or to the nearest, meets a density to within one length of the cell. In one
    cell no rule gives two meshes. Where one frame has fewer axes (a slab), each of them must find a partner.
    """
    n, m = len(one.divisions), 3 - np.isnan(others[:, 0, :, 0]).sum(axis=1)
    if (m == n).all():
        return np.any(_same(one.axes, others)[..., :n].all(axis=2), axis=1)
    same = _same(one.axes[:, :, None], others[:, :, None])  # (m, kind of length, axis, other's axis)
    along = np.all(np.diagonal(same, axis1=2, axis2=3)[..., :n], axis=2)
    fewer = np.all(np.any(same[:, :, :n], axis=3), axis=2)
    more = np.all(np.any(same, axis=2) | (np.arange(3) >= m[:, None, None]), axis=2)
    return np.any(np.where(m[:, None] == n, along, np.where(m[:, None] > n, fewer, more)), axis=1)


def _same(one: Array, other: Array) -> NDArray[np.bool_]:
    """Compare densities and lengths, (..., 2)."""
    gap, longest = np.abs(one - other)[..., 0], np.maximum(one, other)
    return np.asarray((gap < (1 - 1e-6) * longest[..., 1]) | (gap < DENSITY * longest[..., 0]))


def classes(values: Sequence[Value]) -> list[int]:
    """Return a number for each value of one field, such that no two of one number contradict each other.

    Each takes the first number that it can. There is one number if and only if no two values contradict each other.
    """
    axes = np.array([value.axes for value in values if isinstance(value, Density)])
    found = np.zeros(len(values), dtype=int)
    for i, value in enumerate(values):
        if isinstance(value, Density):
            agree = _same_densities(value, axes[:i])
        else:
            agree = np.array([value.agrees(other) for other in values[:i]], dtype=bool)
        barred = set(found[:i][~agree].tolist())
        found[i] = next(number for number in itertools.count() if number not in barred)
    return [int(number) for number in found]


# --- from a level of theory ------------------------------------------------------------------------------------------


def stated_fields(theory: LevelOfTheory, symbols: Iterable[str]) -> Statement:
    """Return what a level of theory states, for a frame of these elements."""
    found = _general(theory)
    for symbol in symbols:
        found |= _inputs(theory, symbol)
    return found


def agree(one: LevelOfTheory, other: LevelOfTheory) -> bool:
    """Say whether two levels of theory contradict each other in no field that one frame may have; symmetric.

    Divisions of the k-mesh, which depend on the cell, are left out.
    """
    theories = (one, other)
    symbols = symbols_of(one) | symbols_of(other)
    own, others = (stated_fields(theory, symbols) for theory in theories)
    own["offset of the k-mesh"], others["offset of the k-mesh"] = map(offset, theories)
    pairs = ((value, others.get(name)) for name, value in own.items())
    return all(a is None or b is None or a.agrees(b) for a, b in pairs)


def symbols_of(theory: LevelOfTheory) -> set[str]:
    """Return the elements that a level of theory says something of."""
    named = {name.partition(" ")[0] for name in (*theory.hubbard_u, *theory.hubbard_orbital)}
    return named | {_element(title) for title in theory.potentials}


def one_functional(one: LevelOfTheory, other: LevelOfTheory) -> bool:
    """Say whether functional, hybrid and dispersion of two levels of theory can be one, whatever the code.

    What one of them does not state contradicts nothing.
    """
    own, others = _functional(one), _functional(other)
    pairs = ((value, others.get(name)) for name, value in own.items())
    return all(a is None or b is None or a.agrees(b) for a, b in pairs)


def functional(theory: LevelOfTheory) -> str:
    """Return functional and dispersion in words: ``"PBE"``, ``"R2SCAN"``, ``"HSE06-D3(BJ)"``."""
    name = theory.hybrid or theory.metagga or theory.functional
    return "-".join(filter(None, (name, theory.dispersion))) or "no functional that it states"


def correction_of(theory: LevelOfTheory) -> Correction | None:
    """Return how the energies of a level of theory were corrected; None where that is not stated."""
    word = _word(theory.correction, _CORRECTIONS)
    return Correction(str(word)) if word else None


def mesh(theory: LevelOfTheory, atoms: Atoms) -> Statement:
    """Return offset and density of the k-mesh in the cell of a frame, along its directions without vacuum.

    Frames of other elements may need another density. The name holds the elements, so that it is compared among frames
    of the same ones.
    """
    filled = vacuum(atoms) <= SLAB_A
    if not filled.any():
        return {}
    name = f"k-mesh density of {'-'.join(sorted(set(atoms.symbols)))}"
    return {"offset of the k-mesh": offset(theory, filled.tolist()), name: _density(theory, atoms, filled)}


def _density(theory: LevelOfTheory, atoms: Atoms, filled: NDArray[np.bool_]) -> Density | None:
    if theory.kpoints is None:
        return None
    heights = 1 / np.linalg.norm(np.linalg.inv(box(atoms, 0.0).vectors), axis=0)
    lengths, heights = (tuple(row[filled].tolist()) for row in (atoms.cell.lengths(), heights))
    spacing = float((atoms.get_volume() / len(atoms)) ** (1 / 3)) if filled.all() else None
    return Density(tuple(np.array(theory.kpoints)[filled].tolist()), lengths, heights, spacing)


def _general(theory: LevelOfTheory) -> Statement:
    """Return what does not depend on the structure."""
    found: Statement = {
        "code": _word(theory.code, _CODES),
        **_functional(theory),
        "spin polarisation": _flag(theory.spin),
        "spin-orbit coupling": _flag(theory.soc),
        "non-spherical terms": _flag(theory.aspherical),
        "cutoff": _close(theory.cutoff_eV),
        "smearing": _smearing(theory),
        "energy taken": _word(theory.energy),
        "energy corrections": correction_of(theory),
    }
    if (theory.code or "").upper() != "VASP":  # VASP's follows the elements of the cell and hardly matters
        found["density cutoff"] = _close(theory.density_cutoff_eV)
    if theory.basis:  # plane waves have none
        found["basis set"] = _word(theory.basis.lower().replace("(d,p)", "**").replace("(d)", "*"))
    return found


def _functional(theory: LevelOfTheory) -> Statement:
    """Return exchange and correlation. A functional without a word on hybrid and dispersion is the plain one."""
    names = ("functional", "hybrid", "hybrid parameters", "dispersion")
    if not _names_functional(theory):
        return {**dict.fromkeys(names), "dispersion": _word(theory.dispersion, _DISPERSIONS)}
    hybrid, _, parameters = (theory.hybrid or "none").partition(" (")
    return {
        "functional": _word(theory.metagga or theory.functional),  # a meta-GGA takes the place of the GGA
        "hybrid": _word(hybrid),
        "dispersion": _word(theory.dispersion or "none", _DISPERSIONS),
        **({"hybrid parameters": _word(parameters.rstrip(")"))} if theory.hybrid else {}),
    }


def _names_functional(theory: LevelOfTheory) -> bool:
    return bool(theory.functional or theory.metagga or theory.hybrid)


def _inputs(theory: LevelOfTheory, symbol: str) -> Statement:
    """Return what an element was given. Beside a functional, an element without a word on U has none."""
    kinds = [symbol, *sorted(name for name in theory.hubbard_u if re.fullmatch(rf"{re.escape(symbol)} \d+", name))]
    kinds = kinds[1:] or kinds
    u, j = ([theory.hubbard_u.get(f"{kind}{of}", 0.0) for kind in kinds] for of in ("", " (J)"))
    orbitals = [_word(theory.hubbard_orbital.get(kind)) for kind in kinds]
    stated = bool(theory.hubbard_u) or _names_functional(theory)
    found: Statement = {
        f"potential of {symbol}": _each(_titles(theory.potentials, symbol)),
        f"U of {symbol}": _each(map(Close, u)) if stated else None,
        f"J of {symbol}": _each(map(Close, j)) if stated else None,
    }
    if any(u) or any(j):
        found[f"orbital of U of {symbol}"] = _each(filter(None, orbitals))
        found["form of U"] = _word(theory.hubbard_form)
    return found


def _each(values: Iterable[Value]) -> Kinds | None:
    distinct = tuple(dict.fromkeys(values))
    return Kinds(distinct) if distinct else None


def _titles(potentials: Sequence[str], symbol: str) -> list[Title]:
    """Find the potentials of an element: ``PAW_PBE Si 05Jan2001``, ``Si.pbe-n-kjpaw_psl.UPF``, ``si_pbe.uspp.UPF``."""
    return [Title(frozenset(title.lower().split()), title) for title in potentials if _element(title) == symbol]


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
    limit = SHARP_FERMI_eV if (kind or "").lower().startswith("fermi") else SHARP_eV
    limit = SHARP_AT_SIGMA0_eV if theory.energy == "sigma0" else limit
    return Smearing(kind and kind.lower(), width, sharp=width is not None and width <= limit * (1 + CLOSE))


def offset(theory: LevelOfTheory, filled: Sequence[bool] = (True, True, True)) -> Offset | None:
    """Return the rules that place the k-mesh of a level of theory, None where it states too little."""
    divisions, scheme, stated = theory.kpoints, theory.kpoint_scheme, theory.kpoint_offset
    if stated is None and scheme is not None:  # unshifted
        if divisions is None or scheme == "Gamma":
            stated = (0.0, 0.0, 0.0)
        else:
            stated = monkhorst_offset(divisions, (0.0, 0.0, 0.0))
        if divisions is None:
            return Offset(frozenset({(scheme, _canonical(stated, filled))}))
    if stated is None:
        return None
    rules = {("Gamma", _canonical(stated, filled))}
    if divisions is not None:
        halves = monkhorst_offset(divisions, (0.0, 0.0, 0.0))
        shift = [x - half for x, half in zip(stated, halves, strict=True)]
        rules.add(("Monkhorst-Pack", _canonical(shift, filled)))
    return Offset(frozenset(rules))


def _canonical(shift: Sequence[float], filled: Sequence[bool]) -> tuple[float | None, ...]:
    """Round a shift (in divisions) within one division; None along vacuum."""
    return tuple(round(x % 1.0, 3) % 1.0 if full else None for x, full in zip(shift, filled, strict=True))


def _word(text: str | None, aliases: Mapping[str, str] = MappingProxyType({})) -> Same | None:
    """Return a word, whatever its case; aliases are looked up by letters and digits alone."""
    if not text:
        return None
    return Same(aliases.get(re.sub(r"[\W_]", "", text.lower()), " ".join(text.lower().split())))


def _flag(value: bool | None) -> Same | None:
    return None if value is None else Same(value)


def _close(value: float | None) -> Close | None:
    return None if value is None else Close(value)

"""Names, shapes, units and signs of what a model predicts. The only place that converts.

| quantity | shape        | canonical unit | sign                                   | in reports |
| -------- | ------------ | -------------- | -------------------------------------- | ---------- |
| energy   | ()           | eV, total      |                                        | meV/atom   |
| forces   | (n_atoms, 3) | eV/Å           | minus the gradient of the energy       | eV/Å       |
| stress   | (3, 3)       | eV/Å³          | ASE's: 1/V dE/dstrain, tension positive | GPa        |
| magmom   | (n_atoms,)   | µB             | up positive; models predict the size   | µB         |

Beside its predictions a model may say how sure it is of them (`UNCERTAINTIES`): energy_std () eV, of the whole frame;
forces_std (n_atoms,) eV/Å, of each component of an atom's force; energy_interval () eV and forces_interval (n_atoms,)
eV/Å, half the width of the interval that holds 95.45 % of the true values; extrapolation (n_atoms,), above 1 where an
atom's surroundings are unlike those that the model was trained on.

A unit is written as text, such as ``"eV/atom"`` or ``"-kBar"``. A leading minus says that the source counts the other
way round, as VASP does with its stress. A virial is a stress times minus the volume: ``"eV"`` (with ``of="virial"``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from ase import units
from numpy.typing import NDArray

from matgraft.core.errors import OptionError, nearest

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a label or a prediction is.

    Attributes
    ----------
    name
        Key under which labels and predictions are stored.
    per
        ``"sample"`` (one value a frame or formula) or ``"atom"`` (one row an atom).
    shape
        Shape of one value: of one sample, or of one atom.
    unit
        Canonical unit.
    report_unit, report_scale
        Unit of errors in reports, and the factor from the canonical unit (beside `per_atom_in_reports`).
    per_atom_in_reports
        True if errors are given per atom of the frame.
    unsigned
        True if models predict the size alone: it is compared with the size of the label.
    rounding
        Error, in the unit of reports, up to which single precision accounts for it: forces that are zero by symmetry
        come out of a model as some 1e-6 eV/Å.
    """

    name: str
    per: Literal["sample", "atom"]
    shape: tuple[int, ...]
    unit: str
    report_unit: str
    report_scale: float = 1.0
    per_atom_in_reports: bool = False
    unsigned: bool = False
    rounding: float = 0.0

    @property
    def report_suffix(self) -> str:
        """Suffix of a metric's key: ``forces_rmse_eV_per_A``."""
        return self.report_unit.replace("/", "_per_").replace("Å", "A").replace("µ", "mu")

    def compared(self, label: Array) -> Array:
        """Return what a prediction is held against: the label, or its size."""
        return np.abs(label) if self.unsigned else label


ENERGY = Quantity("energy", "sample", (), "eV", "meV/atom", 1000.0, per_atom_in_reports=True, rounding=1e-2)
FORCES = Quantity("forces", "atom", (3,), "eV/Å", "eV/Å", rounding=1e-4)
STRESS = Quantity("stress", "sample", (3, 3), "eV/Å³", "GPa", 1.0 / units.GPa, rounding=1e-3)
MAGMOM = Quantity("magmom", "atom", (), "µB", "µB", unsigned=True, rounding=1e-3)
POTENTIAL_QUANTITIES: dict[str, Quantity] = {q.name: q for q in (ENERGY, FORCES, STRESS, MAGMOM)}

ENERGY_STD = Quantity("energy_std", "sample", (), "eV", "meV/atom", 1000.0, per_atom_in_reports=True)
FORCES_STD = Quantity("forces_std", "atom", (), "eV/Å", "eV/Å")
ENERGY_INTERVAL = Quantity("energy_interval", "sample", (), "eV", "meV/atom", 1000.0, per_atom_in_reports=True)
FORCES_INTERVAL = Quantity("forces_interval", "atom", (), "eV/Å", "eV/Å")
EXTRAPOLATION = Quantity("extrapolation", "atom", (), "", "")
UNCERTAINTIES: dict[str, Quantity] = {
    q.name: q for q in (ENERGY_STD, ENERGY_INTERVAL, FORCES_STD, FORCES_INTERVAL, EXTRAPOLATION)
}
"""What a model says of its own predictions. Nothing of the kind is a label."""
PREDICTED = POTENTIAL_QUANTITIES | UNCERTAINTIES


def rounding_of(metric: str) -> float:
    """Return the `Quantity.rounding` of a metric such as ``forces_rmse_eV_per_A``; 0 where it is of none."""
    quantity = POTENTIAL_QUANTITIES.get(metric.partition("_")[0])
    return quantity.rounding if quantity else 0.0


# Factors into the canonical unit. CODATA values as ASE ships them.
ENERGY_UNITS = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": units.Hartree,
    "Ry": units.Rydberg,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
FORCE_UNITS = {
    "eV/Å": 1.0,
    "meV/Å": 1e-3,
    "Hartree/Bohr": units.Hartree / units.Bohr,
    "Ry/Bohr": units.Rydberg / units.Bohr,
    "kcal/mol/Å": units.kcal / units.mol,
    "kJ/mol/Å": units.kJ / units.mol,
}
STRESS_UNITS = {
    "eV/Å³": 1.0,
    "GPa": units.GPa,
    "kBar": units.GPa / 10.0,
    "Ry/Bohr³": units.Rydberg / units.Bohr**3,
    "Hartree/Bohr³": units.Hartree / units.Bohr**3,
}
MAGMOM_UNITS = {"µB": 1.0}
LENGTH_UNITS = {"Å": 1.0, "nm": 10.0, "Bohr": units.Bohr}
STRESS_PER_AREA = {
    "eV/Å²": 1.0,
    "N/m": units.J / units.m**2,
    "J/m²": units.J / units.m**2,
}
"""Of slabs: eV/Å² per unit. Times the area over the volume of the cell it is a stress."""
_TABLES = {
    "energy": ENERGY_UNITS,
    "forces": FORCE_UNITS,
    "stress": STRESS_UNITS,
    "virial": ENERGY_UNITS,
    "length": LENGTH_UNITS,
    "magmom": MAGMOM_UNITS,
}
_DIMENSIONS = {
    "energy": (1, 0, 0),
    "forces": (1, -1, 0),
    "stress": (1, -3, 0),
    "virial": (1, 0, 0),
    "length": (0, 1, 0),
    "stress per area": (1, -2, 0),
}
"""Powers of energy, length and amount."""
_ATOMIC = {
    "energy": "Hartree",
    "forces": "Hartree/Bohr",
    "stress": "Hartree/Bohr³",
    "virial": "Hartree",
    "length": "Bohr",
}
# Name in lower case -> factor into eV and Å, and its powers of energy, length and amount.
_PARTS: dict[str, tuple[float, tuple[int, int, int]]] = {
    **dict.fromkeys(("ev", "electronvolt"), (1.0, (1, 0, 0))),
    "mev": (1e-3, (1, 0, 0)),
    **dict.fromkeys(("hartree", "hartrees", "ha", "eh", "e_h", "au"), (units.Hartree, (1, 0, 0))),
    **dict.fromkeys(("mhartree", "mha", "meh"), (1e-3 * units.Hartree, (1, 0, 0))),
    **dict.fromkeys(("ry", "ryd", "rydberg", "rydbergs"), (units.Rydberg, (1, 0, 0))),
    "mry": (1e-3 * units.Rydberg, (1, 0, 0)),
    **{name: (units.kJ * scale, (1, 0, 1)) for name, scale in (("kj", 1.0), ("j", 1e-3))},
    **{name: (units.kcal * scale, (1, 0, 1)) for name, scale in (("kcal", 1.0), ("cal", 1e-3))},
    "mol": (units.mol, (0, 0, 1)),
    "a": (1.0, (0, 1, 0)),
    "bohr": (units.Bohr, (0, 1, 0)),
    **{name: (scale, (0, 1, 0)) for name, scale in (("nm", 10.0), ("pm", 0.01), ("m", 1e10))},
    **{f"{prefix}pa": (units.Pascal * scale, (1, -3, 0)) for prefix, scale in (("", 1.0), ("m", 1e6), ("g", 1e9))},
    **dict.fromkeys(("kbar", "kb"), (1e3 * units.bar, (1, -3, 0))),
    "bar": (units.bar, (1, -3, 0)),
    "mbar": (1e6 * units.bar, (1, -3, 0)),
    "atm": (101325 * units.Pascal, (1, -3, 0)),
}
DEFAULT_UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³", "virial": "eV", "length": "Å", "magmom": "µB"}

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
"""ASE's order of the six independent components of a stress."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A parsed unit: multiply by `factor`, and by the number of atoms if `per_atom`.

    A stress that is `per_area` comes out in eV/Å², and is to be divided by the height of its cell.
    """

    text: str
    factor: float
    per_atom: bool = False
    per_area: bool = False

    def to_canonical(self, value: Array | float, n_atoms: int) -> Array:
        """Return `value` in the canonical unit of its quantity."""
        return np.asarray(value, dtype=float) * self.factor * (n_atoms if self.per_atom else 1)

    def from_canonical(self, value: Array | float, n_atoms: int) -> Array:
        """Return a canonical `value` in this unit; the inverse of `to_canonical`."""
        return np.asarray(value, dtype=float) / self.factor / (n_atoms if self.per_atom else 1)


@cache
def parse_unit(text: str, of: str) -> Unit:
    """Read a unit such as ``"eV"``, ``"eV/atom"``, ``"-kBar"``, ``"eV/A^3"``, ``"kJ mol^-1 nm^-1"``, ``"au"``.

    Parameters
    ----------
    text
        One of the quantity's units, or a product of others that has its dimension. ``A`` stands for Å and ``^3`` for
        ³; ``au`` is the atomic unit of the quantity. Case plays no role: no label is in MeV or mPa.
    of
        ``"energy"``, ``"forces"``, ``"stress"``, ``"virial"``, ``"length"`` or ``"magmom"``.

    Raises
    ------
    OptionError
        If the unit is not one of the quantity's.
    """
    table = _TABLES[of]
    sign, body = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    body = _product(body)
    per_atom = of in ("energy", "virial") and body.endswith(("/atom", "/atoms", "*atom^-1"))
    body = re.sub(r"(/atoms?|\*atom\^-1)$", "", body) if per_atom else body
    exact = {_product(name): factor for name, factor in table.items()}
    factor = exact.get(_product(_ATOMIC.get(of, "")) if body == "au" else body) or _factor(body, of)
    if factor is None and of == "stress":
        of_slabs = {_product(name): value for name, value in STRESS_PER_AREA.items()}
        per_area = of_slabs.get(body) or _factor(body, "stress per area")
        if per_area is not None:
            return Unit(text, sign * per_area, per_area=True)
    if factor is None:
        known = [*table, *(STRESS_PER_AREA if of == "stress" else ())]
        raise OptionError(f"{text!r} is not a unit of {of}", allowed=known, remedy=nearest(text.strip("- "), known))
    return Unit(text, sign * factor, per_atom)


def find_unit(text: str, of: str) -> Unit | None:
    """Return the unit that `parse_unit` reads; None where the text is no such unit."""
    try:
        return parse_unit(text, of)
    except OptionError:
        return None


def _product(unit: str) -> str:
    """Write a unit in one way, in lower case: ``eV Å⁻³`` as ``ev*a^-3``, ``kcal/(mol Å)`` as ``kcal/mol/a``."""
    text = unit.strip().translate(str.maketrans("⁻¹²³Åå−·μ", "-123AA-*µ")).lower()
    for pattern, plain in _SPELLINGS:
        text = re.sub(pattern, plain, text)
    text = re.sub(r"/\(([^()]*)\)", lambda inner: "/" + inner[1].replace("*", "/"), text)
    return re.sub(r"(?<=[a-z])(-?\d)", r"^\1", text)


_SPELLINGS = (
    (r"\bmu_?b\b|bohr[ _]magnetons?|[µu]_?b(ohr)?\b", "µb"),
    (r"a\.u\.?|atomic([ _-]units?)?\b", "au"),
    (r"\*\*", "^"),
    (r"[ _]per[ _]", "/"),
    (r"å|angstr(o|oe|ö)ms?\b|ang\b\.?|aa\b", "a"),
    (r"\ba_?0|(?<=/)au\b", "bohr"),
    (r"\s*([*/^()])\s*", r"\1"),
    (r"\s+", "*"),
)


def _factor(product: str, of: str) -> float | None:
    """Return the factor of a product of units into the canonical unit; None if it has another dimension."""
    factor, powers, times = 1.0, [0, 0, 0], 1
    for part in re.split(r"([*/])", product):
        if part in ("*", "/"):
            times = 1 if part == "*" else -1
            continue
        found = re.fullmatch(r"([a-z_]+)(?:\^(-?\d))?", part)
        if found is None or found[1] not in _PARTS:
            return None
        power = times * int(found[2] or 1)
        factor *= _PARTS[found[1]][0] ** power
        powers = [own + power * each for own, each in zip(powers, _PARTS[found[1]][1], strict=True)]
    return factor if tuple(powers) == _DIMENSIONS.get(of) else None


def voigt_to_full(voigt: Array) -> Array:
    """Turn ASE's (..., 6) order (xx, yy, zz, yz, xz, xy) into symmetric (..., 3, 3)."""
    return np.asarray(voigt, dtype=float)[..., [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def full_to_voigt(full: Array) -> Array:
    """Turn (..., 3, 3) into ASE's (..., 6) order, averaging the two triangles."""
    full = np.asarray(full, dtype=float)
    full = (full + np.swapaxes(full, -1, -2)) / 2
    return np.stack([full[..., i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))], axis=-1)


def parse_shear(order: str) -> tuple[str, str, str]:
    """Read what really stands in the places yz, xz, xy, e.g. ``"xy,yz,xz"`` for VASP's order.

    Raises
    ------
    OptionError
        If it is not an order of yz, xz and xy (``zx`` and so on are understood).
    """
    found = tuple("".join(sorted(part.strip())) for part in order.split(","))
    if sorted(found) != ["xy", "xz", "yz"]:
        raise OptionError(
            f"shear order {order!r} does not name yz, xz and xy once each",
            allowed=["yz,xz,xy (ASE)", "xy,yz,xz (VASP: xy, yz, zx)"],
        )
    return found[0], found[1], found[2]


def compose_shears(first: str, second: str) -> str:
    """Return the one order that does what two orders do, the second applied to what the first has corrected."""
    then = dict(zip(VOIGT[3:], parse_shear(second), strict=True))
    return ",".join(then[component] for component in parse_shear(first))


def reorder_shear(stress: Array, order: tuple[str, str, str]) -> Array:
    """Put right a (3, 3) stress whose places yz, xz, xy hold the components named in `order`."""
    voigt = full_to_voigt(stress)
    right = voigt.copy()
    for place, component in enumerate(order):
        right[..., VOIGT.index(component)] = voigt[..., 3 + place]
    return voigt_to_full(right)

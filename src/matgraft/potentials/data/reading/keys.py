"""Under which names labels stand in files, and which of them was meant.

Names are compared without regard to case. Where several candidates stand in one frame their values must agree;
`matgraft.potentials.data.reading.labels` checks that. A key that ends in ``_per_atom`` holds a value per atom.

>>> present("energy", {"REF_energy": -1.0, "T": 300}, None)
['REF_energy']
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from matgraft.core.errors import OptionError, choose, nearest
from matgraft.core.provenance import EnergyKind
from matgraft.core.quantities import (
    DEFAULT_UNITS,
    ENERGY_UNITS,
    FORCE_UNITS,
    POTENTIAL_QUANTITIES,
    Unit,
    find_unit,
    parse_shear,
    parse_unit,
)
from matgraft.potentials.data.reading.raw import VASP_SHEAR

_SOURCES = ("", "ref_", "dft_", "qm_", "vasp_", "pbe_", "target_", "true_", "y_")
_STEMS = {
    "energy": ("energy", "free_energy", "total_energy", "potential_energy", "energy_per_atom"),
    "forces": ("forces", "force"),
    "stress": ("stress", "virial", "virials", "virial_stress"),
    "magmom": ("magmoms", "magmom", "magnetic_moments", "magnetic_moment", "magnetization"),
}
# Names that follow no pattern: VASP's, CHGNet's and MPtrj's, and what scripts are seen to write.
_OTHERS = {
    "energy": (
        *("e0", "toten", "etot", "e_fr_energy", "energy_dft", "energy_ref", "e_per_atom", "ef_per_atom"),
        *("uncorrected_total_energy", "corrected_total_energy"),
    ),
    "forces": ("forces_dft", "forces_ref"),
    "stress": ("stress_dft", "stress_ref", "virial_dft", "virial_ref"),
    "magmom": ("magmoms_dft", "magmoms_ref", "final_magmom", "converged_magmoms"),
}
CANDIDATES: dict[str, tuple[str, ...]] = {
    quantity: tuple(prefix + stem for stem in stems for prefix in _SOURCES) + _OTHERS[quantity]
    for quantity, stems in _STEMS.items()
}
"""Quantity -> key names in lower case, the preferred first."""

_RANKS = {quantity: {name: rank for rank, name in enumerate(names)} for quantity, names in CANDIDATES.items()}

ENERGY_KINDS: dict[str, EnergyKind] = {
    "e_fr_energy": "free",
    **{f"{source}free_energy": "free" for source in _SOURCES},
    "e_0_energy": "sigma0",
    "e_wo_entrp": "internal",
}
"""Keys that say which energy they hold, in any file."""

KEY_UNITS = {"y_stress": "-eV/Å³"}
KEY_ORDERS = {"y_stress": VASP_SHEAR}
"""Keys in lower case that fix unit and order in any file: SevenNet keeps its stress as VASP prints it, in eV/Å³."""

_KNOWN = frozenset(name for names in CANDIDATES.values() for name in names) | {"e_0_energy", "e_wo_entrp"}
WANT = ("energy", "forces")
"""Labels that must be there where nothing else is said."""
_PLACES = ("energy", "forces", "stress", "virial", "length", "magmom")
_LABEL_WORDS = frozenset(
    (
        *("energy", "energies", "force", "forces", "stress", "stresses", "virial", "virials"),
        *("gradient", "gradients", "magmom", "magmoms", "dipole", "charges", "hessian"),
    )
)
_OF_LABELS = frozenset(
    ("weight", "weights", "unit", "units", "sigma", "std", "var", "error", "rmse", "mae", "max", "mean", "norm", "mask")
)
"""Words of keys that say something of labels."""
_GRADIENT = re.compile(r"grad(ient)?s?\b|d_?e_?d_?[rx]\b", re.IGNORECASE)


class Reading(TypedDict, total=False):
    """Options of how files are read, the same for all that reads them.

    Attributes
    ----------
    keys
        Quantity -> name of its key, in place of the known names: ``{"energy": "my_energy"}``. For VASP,
        ``{"energy": "e_0_energy"}`` takes the energy at sigma -> 0 instead of the free energy.
    units
        ``"energy"``, ``"forces"``, ``"stress"``, ``"virial"`` or ``"length"`` (of positions and cell) -> unit of the
        file's numbers, as `matgraft.core.quantities.parse_unit` reads it. Otherwise: what the frame states
        (``energy-unit=hartree``), what the format says (VASP's stress: ``"-kBar"``), what the key says
        (``energy_per_atom``: ``"eV/atom"``), eV, eV/Å, eV/Å³ and Å. ``"virial"`` makes a virial of whatever stands
        under the key; ``"stress"`` makes a stress of what is called a virial.
    shear
        What really stands in the places yz, xz, xy of the stress as read, such as ``"xz,yz,xy"``.
    elements
        Symbols of the atom types of a file that has numbers for them (DeePMD, MTP, LAMMPS), the lowest type first.
    want
        Labels that must be there, in at least one frame: energy and forces by default. Others are read where they are
        found.
    delta
        Quantity -> key of the same label by a cheap method, which goes to `Sample.cheap`.
    delta_units
        Unit of each of these, where it is another than that of the label.
    theory
        YAML file with the level of theory. Otherwise the one beside each file is taken, if there is one. For VASP it
        fills what the run does not say.
    """

    keys: Mapping[str, str] | None
    units: Mapping[str, str] | None
    shear: str | None
    elements: Sequence[str] | None
    want: Collection[str]
    delta: Mapping[str, str] | None
    delta_units: Mapping[str, str] | None
    theory: str | Path | None


@dataclass(frozen=True)
class Choices:
    """What the user said about keys, units, shear and elements; checked for sense, not yet for use.

    Attributes
    ----------
    keys
        Quantity -> key to read it from.
    units
        ``"energy"``, ``"forces"``, ``"stress"``, ``"virial"`` or ``"length"`` -> unit to take the numbers for.
    shear
        What really stands in the places yz, xz, xy of the assembled stress, or None.
    elements
        Symbols of the types of atoms.
    want
        Quantities that must be there.
    cheap, cheap_units
        Quantity -> key of the label by a cheap method, and unit of it.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    shear: tuple[str, str, str] | None = None
    elements: tuple[str, ...] = ()
    want: tuple[str, ...] = ()
    cheap: Mapping[str, str] = field(default_factory=dict)
    cheap_units: Mapping[str, Unit] = field(default_factory=dict)

    @classmethod
    def parse(cls, how: Reading) -> Choices:
        """Check the options of `read`; raises `OptionError` for what cannot be meant."""
        keys, units, shear = how.get("keys") or {}, how.get("units") or {}, how.get("shear")
        want = how.get("want", WANT)
        want = (want,) if isinstance(want, str) else want
        elements = tuple(how.get("elements") or ())
        if wrong := [symbol for symbol in elements if symbol not in atomic_numbers or symbol == "X"]:
            raise OptionError(
                f"elements: {wrong[0]!r} is not an element",
                remedy=nearest(wrong[0].capitalize(), chemical_symbols[1:]),
                allowed=["symbols such as Cu,S"],
            )
        cheap, cheap_units = how.get("delta") or {}, how.get("delta_units") or {}
        for name in (*keys, *want, *cheap):
            choose(name, POTENTIAL_QUANTITIES, "quantity")
        if same := [name for name in cheap if cheap[name] == keys.get(name)]:
            raise OptionError(
                f"keys.{same[0]} and delta.{same[0]} are one key, {cheap[same[0]]!r}: the difference would be zero",
                allowed=["the key of the expensive label, and that of the cheap one"],
            )
        for name in (*units, *cheap_units):
            choose(name, dict.fromkeys(_PLACES), "quantity of a unit")
        if {"stress", "virial"} <= set(units):
            raise OptionError(
                "units.stress and units.virial are both given",
                remedy="leave one out: they are one label",
                options=[{"units.virial": None}, {"units.stress": None}],
            )
        parsed, of_cheap = (
            {name: parse_unit(text, name) for name, text in said.items()} for said in (units, cheap_units)
        )
        order = parse_shear(shear) if shear else None
        return cls(dict(keys), parsed, order, elements, tuple(want), dict(cheap), of_cheap)


def present(quantity: str, values: Mapping[str, Any], override: str | None) -> list[str]:
    """Return the keys of a frame that hold the quantity, the preferred first.

    Parameters
    ----------
    override
        The user's key, which replaces the candidates: as written, or in another case.
    """
    if override is not None and values.get(override) is not None:
        return [override]
    ranks = _RANKS[quantity] if override is None else {override.lower(): 0}
    found = [key for key, value in values.items() if value is not None and bare(key).lower() in ranks]
    return sorted(found, key=lambda key: ranks[bare(key).lower()])


def bare(key: str) -> str:
    """Return a key without the remark that tells two of the same name apart: ``"energy (info)"``."""
    return key.removesuffix(" (info)")


def is_label(key: str) -> bool:
    """Say whether a key is a known name of a label, of any quantity."""
    return bare(key).lower() in _KNOWN


def is_moment_of_cell(key: str, value: Any, n_atoms: int) -> bool:
    """Say whether a value is the magnetic moment of the whole cell: it is no label of atoms."""
    return bare(key).lower() in CANDIDATES["magmom"] and np.size(value) == 1 and n_atoms > 1


def is_left_out(key: str) -> bool:
    """Say whether a key is named like a label, and yet nothing reads it."""
    words = set(re.split(r"[-_. ]+", bare(key).lower()))
    return not is_label(key) and bool(words & _LABEL_WORDS) and not words & _OF_LABELS


def is_gradient(key: str) -> bool:
    """Say whether a key is named like the gradient of the energy: forces of the other sign."""
    return bool(_GRADIENT.search(bare(key)))


def place_of(quantity: str, key: str) -> str:
    """Return under which word the unit of a key stands: ``"virial"`` where it is named so, else the quantity."""
    name = bare(key).lower()
    return "virial" if quantity == "stress" and "virial" in name and "stress" not in name else quantity


def unit_of_key(
    quantity: str, key: str, choices: Choices, format_units: Mapping[str, str], stated: Mapping[str, str]
) -> tuple[Unit, bool, str]:
    """Return the unit that a key's numbers are in, whether they are a virial, and the stated unit that was overruled.

    The user's unit comes first, then what the frame states, then a unit in the name (``energy_hartree``), then what the
    format says, then what else the name says.

    Parameters
    ----------
    format_units
        Key in lower case -> unit that the format gives it.
    stated
        `matgraft.potentials.data.reading.raw.RawFrame.units`.

    Raises
    ------
    OptionError
        If the unit that comes first is none of the quantity's.
    """
    name, place = bare(key).lower(), place_of(quantity, key)
    virial = place == "virial"
    written = stated.get(name) or stated.get(place) or _unit_in(name, place)
    said = written or format_units.get(name) or KEY_UNITS.get(name)
    own = [name for name in (quantity, "virial") if name in choices.units and quantity in ("stress", name)]
    if own:
        unit = choices.units[own[0]]
        return unit, own[0] == "virial", said if said and not _means(said, place, unit) else ""
    per_atom = "/atom" if name.endswith("per_atom") and place in ("energy", "virial") else ""
    if said and not written:
        return parse_unit(said, quantity), False, ""
    unit = parse_unit(said or DEFAULT_UNITS[place], place)
    return (unit if unit.per_atom else parse_unit(unit.text + per_atom, place)), virial, ""


@cache
def _unit_in(name: str, place: str) -> str:
    """Return the unit that a key ends with (``energy_hartree``, ``forces_ev_per_ang``); empty where it has none."""
    words = re.findall(r"[^\W_]+", name)
    last = max((at for at, word in enumerate(words) if word in _LABEL_WORDS), default=0)
    unit = "/".join(word for word in words[last + 1 :] if word != "per")
    found = find_unit(unit, place)
    return found.text if found else ""


def forces_beside(energy_unit: str) -> str:
    """Return the unit in which forces usually stand beside energies of a unit; empty where there is none."""
    found = find_unit(energy_unit, "energy")
    beside = (name for name in FORCE_UNITS if found and ENERGY_UNITS[name.rpartition("/")[0]] == found.factor)
    return next(beside, "")


def _means(text: str, place: str, unit: Unit) -> bool:
    found = find_unit(text, place)
    return found is not None and (found.per_atom, round(found.factor / unit.factor, 9)) == (unit.per_atom, 1.0)


def fitting(value: Any, n_atoms: int) -> frozenset[str]:
    """Return the quantities whose shape a value has."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError, OverflowError):  # a whole number of 400 digits
        return frozenset()
    shapes = {
        "energy": array.size == 1,
        "forces": array.shape == (n_atoms, 3),
        "stress": array.shape in _STRESS_SHAPES,
        "magmom": array.shape in ((n_atoms,), (n_atoms, 3)),
    }
    return frozenset(name for name, fits in shapes.items() if fits)


_STRESS_SHAPES = ((6,), (9,), (3, 3))


_ALIKE = 0.4
"""Ratio of `difflib` above which a key is offered for a name."""
_MOST_COMPARED = 1000
"""Keys of a frame that are compared with the names: the first ones."""


def suggest_key(quantity: str, existing: Iterable[str]) -> list[dict[str, str]]:
    """Return the option that reads the quantity from the existing key most like its names; none where none is."""
    labels = [key for key in existing if not set(re.split(r"[-_. ]+", key.lower())) & _OF_LABELS][:_MOST_COMPARED]
    best, most = "", _ALIKE
    compared = difflib.SequenceMatcher()
    for name in CANDIDATES[quantity]:
        compared.set_seq2(name)  # what difflib works out of the second text serves all keys
        for key in labels:
            compared.set_seq1(key.lower())
            ratios = (
                compared.real_quick_ratio,
                compared.quick_ratio,
                compared.ratio,
            )  # each an upper bound of the next
            if all(ratio() > most for ratio in ratios):
                best, most = key, compared.ratio()
    return [{f"keys.{quantity}": bare(best)}] if best else []


def unmatched(quantity: str, key: str, existing: Mapping[str, Collection[str]], section: str = "keys") -> OptionError:
    """Return the error for a user's key that no frame has; `existing` are keys with the quantities that they fit."""
    fitting = [name for name, fits in existing.items() if quantity in fits]
    near = difflib.get_close_matches(key, fitting, n=1, cutoff=0.4)
    options = [{f"{section}.{quantity}": bare(near[0])}] if near else []
    options = options or (suggest_key(quantity, fitting) if section == "keys" else [])
    found = f"{section}.{quantity}={key} matches no key of the data"
    return OptionError(found, allowed=sorted(existing), options=options)

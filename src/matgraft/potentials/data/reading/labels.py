"""From a frame's raw values to labels in canonical units and shapes.

| quantity | accepted                                             | becomes                     |
| -------- | ---------------------------------------------------- | --------------------------- |
| energy   | one number, of the cell or per atom                  | () eV, of the cell           |
| forces   | (n_atoms, 3)                                         | (n_atoms, 3) eV/Å            |
| stress   | 6 (ASE's Voigt order), 9 or (3, 3); stress or virial | (3, 3) eV/Å³, ASE's sign     |
| magmom   | (n_atoms,), or vectors (n_atoms, 3)                  | (n_atoms,) µB, lengths of vectors |

Of a slab see `slabs`: there only some components may be labels.

A virial W gives the stress -W/V. The six components are put into a matrix first, the user's `shear` corrects that
matrix. NaN and infinity pass: `absent` takes out what is NaN throughout, the audit reports the rest. A label that is
absent stays absent. Of several keys those that hold nothing but NaN or zeros give way to the others.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError, OptionError
from matgraft.core.quantities import (
    DEFAULT_UNITS,
    POTENTIAL_QUANTITIES,
    Array,
    Unit,
    find_unit,
    parse_shear,
    reorder_shear,
    voigt_to_full,
)
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.reading.keys import (
    ENERGY_KINDS,
    KEY_ORDERS,
    Choices,
    bare,
    forces_beside,
    is_moment_of_cell,
    place_of,
    present,
    unit_of_key,
)
from matgraft.potentials.data.reading.raw import RawFile, RawFrame
from matgraft.potentials.data.reading.slabs import (
    VACUUM_A,
    components_given,
    from_plane,
    in_plane,
    plane_of,
    with_third_vector,
)

# Two candidates agree within what printing with few digits loses: eV/atom, eV/Å, eV/Å³ (0.2 MPa), µB.
_TOLERANCES = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-6, "magmom": 1e-3}
# A stress whose triangles differ by more than this part of its largest component was not put together rightly.
_ASYMMETRY = 0.01


@dataclass(frozen=True)
class Label:
    """A label with the key and the unit that it was read from.

    Attributes
    ----------
    value
        In canonical units.
    key, unit
        As they were read.
    virial
        True if the numbers are a virial's.
    overruled
        Unit that the file or its format gives and the user does not go by; empty where there is none.
    passed_over
        Key of another energy, which has another value; empty where there is none.
    components
        Which of its components are labels (`Sample.components`); None for all.
    """

    value: Array
    key: str
    unit: str
    virial: bool = False
    overruled: str = ""
    passed_over: str = ""
    components: NDArray[np.bool_] | None = None


def find_labels(frame: RawFrame, file: RawFile, choices: Choices, where: str) -> dict[str, Label]:
    """Return the labels that a frame has, by quantity.

    Raises
    ------
    DataError
        If the frame is empty, or a value has a wrong shape, is no number, or stands under two keys with different ones.
    """
    if not len(frame.atoms):
        raise DataError("the frame has no atoms", where=where)
    found = {}
    for quantity in POTENTIAL_QUANTITIES:
        if quantity == "stress" and not volume(frame.atoms):
            continue  # without a volume there is no stress, whatever the file says
        cheap = choices.cheap.get(quantity, "").lower()
        keys = present(quantity, frame.values, choices.keys.get(quantity))
        if quantity not in choices.keys:
            keys = [key for key in keys if not is_moment_of_cell(key, frame.values[key], len(frame.atoms))]
        keys = [key for key in keys if bare(key).lower() != cheap]
        labels = [_label(quantity, key, frame, file, choices, f"{where}, key {key!r}") for key in keys]
        if labels:
            if len(labels) > 1:
                labels = [label for label in labels if np.nan_to_num(label.value).any()] or labels
            if quantity == "energy" and present("forces", frame.values, choices.keys.get("forces")):
                labels = _free_energy_first(labels, len(frame.atoms))
            _must_agree(quantity, labels, frame, where)
            found[quantity] = labels[0]
    return found


def find_cheap(frame: RawFrame, file: RawFile, choices: Choices, where: str) -> dict[str, Array]:
    """Return the labels of a cheap method that a frame has, by quantity, in canonical units; finite ones alone.

    Components of a slab's stress that were not computed are NaN.
    """
    own = replace(choices, units={**choices.units, **choices.cheap_units})
    found: dict[str, Array] = {}
    for quantity, key in choices.cheap.items():
        if quantity == "stress" and not volume(frame.atoms):
            continue
        for name in present(quantity, frame.values, key)[:1]:
            label = _label(quantity, name, frame, file, own, f"{where}, key {name!r}")
            known = np.ones(np.shape(label.value), dtype=bool) if label.components is None else label.components
            if np.isfinite(label.value)[known].all():
                found[quantity] = np.where(known, label.value, np.nan)
    return found


def _label(quantity: str, key: str, frame: RawFrame, file: RawFile, choices: Choices, where: str) -> Label:
    raw = _numbers(frame.values[key], where)
    if raw.ndim == 0 and np.isnan(raw):  # one word for all components
        raw = np.full(_shape(quantity, len(frame.atoms)), np.nan)
    unit, virial, overruled = _unit(quantity, key, frame, file, choices, where)
    if quantity == "stress":
        name = bare(key).lower()
        raw = _matrix(from_plane(raw, frame.atoms), file.conventions.orders.get(name) or KEY_ORDERS.get(name), where)
        raw = raw if choices.shear is None else reorder_shear(raw, choices.shear)
    else:
        if quantity == "magmom" and raw.shape == (len(frame.atoms), 3):
            raw = np.linalg.norm(raw, axis=1)
        raw = _shaped(raw, _shape(quantity, len(frame.atoms)), quantity, where)
    value = unit.to_canonical(raw, len(frame.atoms))
    if virial:
        return Label(-value / volume(frame.atoms), key, f"{unit.text} (virial)", True, overruled)
    if unit.per_area:
        return _per_area(Label(value, key, unit.text, False, overruled), frame, where)
    known = components_given(value, frame.atoms) if quantity == "stress" else None
    return Label(value, key, unit.text, False, overruled, components=known)


def _per_area(label: Label, frame: RawFrame, where: str) -> Label:
    """Turn a stress in eV/Å² into one per volume of the cell, of which the components in the plane are labels."""
    area, known = plane_of(frame.atoms)[0], in_plane(frame.atoms)
    if known is None:
        raise DataError(
            f"{label.unit} is a stress per area, and the frame is not a slab whose normal is x, y or z",
            where=where,
            allowed=["frames that repeat in two directions, with vacuum along the third axis"],
            options=[{"units.stress": DEFAULT_UNITS["stress"]}],
        )
    return replace(label, value=label.value * area / volume(frame.atoms), components=known)


def with_volume(frame: RawFrame, file: RawFile, choices: Choices, where: str) -> RawFrame:
    """Return a slab that lacks its third vector with one, where its stress is a virial or per area."""
    if volume(frame.atoms):
        return frame
    keys = present("stress", frame.values, choices.keys.get("stress"))
    if not keys or not plane_of(frame.atoms)[0]:
        return frame
    units = [_unit("stress", key, frame, file, choices, f"{where}, key {key!r}") for key in keys]
    if not all(virial or unit.per_area for unit, virial, _ in units):
        return frame
    note = (
        f"slabs without a third vector that have a virial or a stress per area are given one, with {VACUUM_A:g} Å of "
        "vacuum: their stress is per volume of that cell"
    )
    return replace(frame, atoms=with_third_vector(frame.atoms), notes=(*frame.notes, note))


def _unit(
    quantity: str, key: str, frame: RawFrame, file: RawFile, choices: Choices, where: str
) -> tuple[Unit, bool, str]:
    try:
        return unit_of_key(quantity, key, choices, file.conventions.units, frame.units)
    except OptionError as error:
        place = place_of(quantity, key)
        raise DataError(
            f"the file states a unit for it: {error.found}",
            where=where,
            allowed=error.allowed,
            remedy="say the unit, which then comes before the file's",
            options=[{f"units.{place}": unit} | _as_well(quantity, frame, choices) for unit in _likely(place, frame)],
        ) from error


def _as_well(quantity: str, frame: RawFrame, choices: Choices) -> dict[str, str]:
    """Return the units to be said for the other labels of which the frame states the same word, and it is no unit."""
    word = frame.units.get(quantity)
    same = [other for other in POTENTIAL_QUANTITIES if word and frame.units.get(other) == word and other != quantity]
    others = [other for other in same if find_unit(str(word), other) is None]
    there = [other for other in others if present(other, frame.values, choices.keys.get(other))]
    return {f"units.{other}": DEFAULT_UNITS[other] for other in there if other not in choices.units}


def _likely(quantity: str, frame: RawFrame) -> list[str]:
    """Return the units that a label may have been meant in."""
    beside = forces_beside(frame.units.get("energy", "")) if quantity == "forces" else ""
    return list(dict.fromkeys(filter(None, (beside, DEFAULT_UNITS[quantity]))))


def _free_energy_first(labels: list[Label], n_atoms: int) -> list[Label]:
    """Leave out an energy beside the free energy of the same source: forces belong to the free energy."""
    names = [bare(label.key).lower() for label in labels]
    kept = []
    for name, label in zip(names, labels, strict=True):
        if _beside_free(name, names):
            continue
        siblings = [
            f"{name.removesuffix('free_energy')}{stem}" for stem in _BESIDE_FREE if name.endswith("free_energy")
        ]
        others = [other for other, own in zip(labels, names, strict=True) if own in siblings]
        differing = [other.key for other in others if not _agree("energy", label, other, n_atoms)]
        kept.append(replace(label, passed_over=differing[0]) if differing else label)
    return kept


_BESIDE_FREE = ("energy", "total_energy", "potential_energy")


def _beside_free(name: str, names: Collection[str]) -> bool:
    """Say whether an energy of a source stands beside the same source's free energy."""
    return any(name.endswith(stem) and f"{name.removesuffix(stem)}free_energy" in names for stem in _BESIDE_FREE)


_NOTHING = ("", "none", "null", "na", "n/a")
"""What stands in place of a number that there is none, in lower case."""


def _numbers(value: Any, where: str) -> Array:
    if np.size(value) == 0 or (isinstance(value, str) and value.strip().lower() in _NOTHING):
        return np.array(np.nan)
    try:
        return np.asarray(_fortran(value) if isinstance(value, str) else value, dtype=float)
    except (TypeError, ValueError) as error:
        remedy = "write the number alone; its unit is said apart, in the file as energy-unit=eV, or as units.energy=eV"
        raise DataError(
            f"{_short(value)} is not a number or a regular array of numbers",
            where=where,
            remedy=remedy if isinstance(value, str) and _WITH_UNIT.fullmatch(value.strip()) else "",
        ) from error


_DOUBLE = re.compile(r"([-+]?(?:\d{1,30}\.?\d{0,30}|\.\d{1,30}))[dD]([-+]?\d{1,4})")
_WITH_UNIT = re.compile(r"[-+]?[\d.]{1,30}(?:[eE][-+]?\d{1,4})?\s*[A-Za-z].{0,30}")


def _fortran(text: str) -> Any:
    """Return the numbers of a text in Fortran's double precision, such as ``-0.12D+02``; other texts as they are."""
    words = [_DOUBLE.fullmatch(word) for word in text.split()]
    if not words or not all(words):
        return text
    numbers = [float(f"{word[1]}e{word[2]}") for word in words if word]
    return numbers if len(numbers) > 1 else numbers[0]


def _shape(quantity: str, n_atoms: int) -> tuple[int, ...]:
    known = POTENTIAL_QUANTITIES[quantity]
    return (n_atoms, *known.shape) if known.per == "atom" else known.shape


def _shaped(value: Array, shape: tuple[int, ...], quantity: str, where: str) -> Array:
    if value.shape == shape or (value.size == 1 == np.prod(shape, dtype=int)):
        return value.reshape(shape)
    comma = not shape and value.shape == (2,) and (value == value.round()).all()
    raise DataError(
        f"{quantity} has the shape {value.shape}",
        where=where,
        allowed=[f"{shape} for this frame"],
        remedy="write a decimal point: a comma parts two numbers" if comma else "",
    )


def _matrix(value: Array, order: str | None, where: str) -> Array:
    value = value[0] if value.shape == (1, 6) else value
    if value.shape == (6,):
        full = voigt_to_full(value)
        return reorder_shear(full, parse_shear(order)) if order else full
    if value.shape not in ((9,), (3, 3)):
        raise DataError(f"stress has the shape {value.shape}", where=where, allowed=["(6,)", "(9,)", "(3, 3)"])
    full = value.reshape(3, 3)
    if np.abs(full - full.T).max() > _ASYMMETRY * np.abs(full).max():
        raise DataError(f"the stress is not symmetric: {full.tolist()}", where=where)
    return (full + full.T) / 2


def _must_agree(quantity: str, labels: list[Label], frame: RawFrame, where: str) -> None:
    if not all(_agree(quantity, labels[0], other, len(frame.atoms)) for other in labels[1:]):
        raise _ambiguous(quantity, labels, frame, where)


def _agree(quantity: str, first: Label, other: Label, n_atoms: int) -> bool:
    tolerance = _TOLERANCES[quantity] * (n_atoms if quantity == "energy" else 1)
    return bool(np.allclose(first.value, other.value, rtol=1e-6, atol=tolerance, equal_nan=True))


def _ambiguous(quantity: str, labels: list[Label], frame: RawFrame, where: str) -> DataError:
    said = ", ".join(f"{label.key!r} ({label.unit}) {_short(frame.values[label.key])}" for label in labels)
    likely = sorted(labels, key=lambda label: _place_among(label.key, quantity, frame.values))
    options = [{f"keys.{quantity}": label.key} for label in likely]
    remedy = "say which"
    free = [label.key for label in labels if ENERGY_KINDS.get(label.key.lower()) == "free"]
    remedy += f"; forces belong to the free energy, {free[0]!r}" if free and quantity == "energy" else ""
    found = f"{quantity} stands under {len(labels)} keys with different values: {said}"
    return DataError(found, where=where, remedy=remedy, options=options)


def _place_among(key: str, quantity: str, values: Collection[str]) -> int:
    """Rank a key among others of its quantity: first one with a prefix that other labels have too, then without.

    ASE writes what its own calculator said under the bare names; ``dft_energy`` beside ``dft_forces`` was named.
    """
    prefix, stem, end = bare(key).lower().rpartition(quantity)
    partners = {f"{prefix}{other}" for other in ("energy", "force", "forces", "stress", "virial", "virials")}
    paired = stem and not end and partners & {bare(other).lower() for other in values} - {bare(key).lower()}
    return (0 if prefix else 1) if paired else 2


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."

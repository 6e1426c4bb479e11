"""What a file does not say and its user knows: the elements of numbered types, and units. One error asks for all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ase import Atoms
from ase.data import atomic_numbers

from matgraft.core.errors import DataError
from matgraft.core.quantities import POTENTIAL_QUANTITIES
from matgraft.potentials.data.reading.keys import Choices, bare, present
from matgraft.potentials.data.reading.raw import Conventions, RawFrame


class UnsaidError(DataError):
    """Something is missing that only the user knows."""


_LABEL = re.compile(r"([A-Z][a-z]?)(?=[^a-zA-Z]|$)")


def element_of(label: str) -> str:
    """Return the element that the name of a type begins with (``Fe1``, ``O_2``); empty where it is none."""
    match = _LABEL.match(label)
    return match[1] if match and match[1] in atomic_numbers else ""


def with_elements(frame: RawFrame, conventions: Conventions, choices: Choices, where: str) -> RawFrame:
    """Return the frame with the elements of its atoms.

    Raises
    ------
    UnsaidError
        If something is missing that only the user knows: elements, units, or labels that the format never holds.
    DataError
        If `elements` names no element for a type.
    """
    units = _units_to_ask(frame, conventions, choices)
    elements = bool(frame.types) and not choices.elements
    if units or elements:
        raise _asked(frame, conventions, choices, where, units)
    return replace(frame, atoms=_named(frame, conventions, choices.elements, where), types=()) if frame.types else frame


def _units_to_ask(frame: RawFrame, conventions: Conventions, choices: Choices) -> list[str]:
    """Return the quantities that the frame has in a unit which neither the file nor the user states."""
    unknown = conventions.systems[0] if conventions.systems else {}
    return [
        quantity
        for quantity in unknown
        if quantity not in choices.units
        and quantity not in frame.units
        and any(
            bare(key).lower() not in frame.units for key in present(quantity, frame.values, choices.keys.get(quantity))
        )
    ]


def _asked(
    frame: RawFrame, conventions: Conventions, choices: Choices, where: str, units: Sequence[str]
) -> UnsaidError:
    """Return the one error that asks for everything; options are complete, so there are none where elements lack."""
    lacking = [quantity for quantity in choices.want if quantity in conventions.lacks]
    there = [q for q in POTENTIAL_QUANTITIES if present(q, frame.values, choices.keys.get(q))]
    want: dict[str, object] = {"want": there} if lacking and there else {}
    systems = conventions.systems if units else ({},)
    typed: list[dict[str, object]] = [{f"units.{name}": system[name] for name in units} | want for system in systems]
    types = [] if choices.elements else sorted(set(frame.types))
    said = [f"the element of {_numbered(types)}"] if types else []
    said += [f"the unit of {' and '.join(units)}"] if units else []
    found = f"{conventions.format} does not say {' nor '.join(said)}"
    found += f"; it never holds {' and '.join(lacking)}" if lacking else ""
    found += " and here no other label" if lacking and not there else ""
    if not types:
        return UnsaidError(found, where=where, remedy="say it", options=typed)
    example = ",".join(("Cu", "S", "O", "H", "C", "N")[: len(types)])
    remedy = f"name the elements, the lowest type ({conventions.first_type}) first, in the form elements={example}"
    others = [" ".join(f"{key}={_text(value)}" for key, value in one.items()) for one in typed if one]
    remedy += f"; with it goes {' or '.join(others)}" if others else ""
    remedy += f"; a file that has {' and '.join(lacking)}, such as extended XYZ, needs none of this" if lacking else ""
    return UnsaidError(found, where=where, remedy=remedy)


def _numbered(types: Sequence[int]) -> str:
    shown = ", ".join(map(str, types[:6])) + (" and more" if len(types) > 6 else "")
    return f"type {shown}" if len(types) == 1 else f"types {shown}"


def _text(value: object) -> str:
    return f"[{','.join(value)}]" if isinstance(value, list) else str(value)


def _named(frame: RawFrame, conventions: Conventions, elements: Sequence[str], where: str) -> Atoms:
    """Return the atoms with the elements of their types."""
    places = [number - conventions.first_type for number in frame.types]
    if wrong := [place for place in places if not 0 <= place < len(elements)]:
        raise DataError(
            f"type {wrong[0] + conventions.first_type} has no element: elements={','.join(elements)} names "
            f"{len(elements)}, of the types from {conventions.first_type}",
            where=where,
            remedy="name an element for every type, also for one that this file does not use",
        )
    atoms = frame.atoms.copy()
    atoms.numbers = [atomic_numbers[elements[place]] for place in places]
    return atoms

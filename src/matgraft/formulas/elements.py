"""What is known of an element before any training: a table of measured and tabulated properties, standardised.

Source: pymatgen's `Element` (MIT licence), kept in elements.json. The encoder's weights were learned with these
numbers, and formulas need no pymatgen.

The table enters the composition encoder beside its learned element embedding, so that an element that is rare in the
pretraining data starts near its neighbours in the periodic table instead of at random.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from matgraft.core.frozen import Frozen

N_ELEMENTS = 118
ATTRIBUTES = ("X", "atomic_mass", "atomic_radius", "mendeleev_no", "melting_point", "molar_volume", "row", "group")
BLOCKS = ("s", "p", "d", "f")


FILE = Path(__file__).with_name("elements.json")


class ElementFacts(Frozen):
    """What is read of an element, as pymatgen's `Element` has it; None where nobody knows.

    Attributes
    ----------
    outer
        Electrons in the outermost shell of each kind s, p, d, f.
    f_element
        Whether it is a lanthanoid or an actinoid.
    """

    symbol: str
    X: float | None
    atomic_mass: float | None
    atomic_radius: float | None
    mendeleev_no: float | None
    melting_point: float | None
    molar_volume: float | None
    row: int
    group: int
    block: str
    outer: tuple[int, ...] | None
    f_element: bool
    oxidation_states: tuple[float, ...]
    common_oxidation_states: tuple[float, ...]
    icsd_oxidation_states: tuple[float, ...]


@cache
def element_facts() -> tuple[ElementFacts, ...]:
    """Return what is known of the elements 1 to 118, from the file beside this one: `python docs/make_elements.py`."""
    return tuple(TypeAdapter(list[ElementFacts]).validate_json(FILE.read_bytes()))


@cache
def element_table() -> NDArray[np.float32]:
    """Return (119, width): row Z holds element Z, row 0 is zero; columns have mean 0 and standard deviation 1.

    A value that nobody has measured is taken from the nearest element of the same group that has one, else from the
    nearest by atomic number.
    """
    rows = np.full((N_ELEMENTS + 1, len(ATTRIBUTES) + 2 * len(BLOCKS)), np.nan)
    for Z, element in enumerate(element_facts(), 1):
        rows[Z, : len(ATTRIBUTES)] = [_known(getattr(element, name)) for name in ATTRIBUTES]
        outer = element.outer or [np.nan] * len(BLOCKS)
        rows[Z, len(ATTRIBUTES) :] = [*(float(element.block == block) for block in BLOCKS), *outer]
    groups = rows[:, ATTRIBUTES.index("group")]
    for column in range(rows.shape[1]):
        rows[1:, column] = _filled(rows[:, column], groups)[1:]
    body = rows[1:]
    rows[1:] = (body - body.mean(0)) / np.maximum(body.std(0), 1e-6)
    rows[0] = 0.0
    return rows.astype(np.float32)


def _known(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _filled(values: NDArray[np.float64], groups: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.flatnonzero(np.isfinite(values))
    filled = values.copy()
    for Z in np.flatnonzero(~np.isfinite(values)):
        kin = known[groups[known] == groups[Z]]
        candidates = kin if len(kin) else known
        filled[Z] = values[candidates[np.argmin(np.abs(candidates - Z))]]
    return filled

"""What is known of an element before any training: a table of measured and tabulated properties, standardised.

The table enters the composition encoder beside its learned element embedding, so that an element that is rare in the
pretraining data starts near its neighbours in the periodic table instead of at random.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

N_ELEMENTS = 118
ATTRIBUTES = ("X", "atomic_mass", "atomic_radius", "mendeleev_no", "melting_point", "molar_volume", "row", "group")
BLOCKS = ("s", "p", "d", "f")


@cache
def element_table() -> NDArray[np.float32]:
    """Return (119, width): row Z holds element Z, row 0 is zero; columns have mean 0 and standard deviation 1.

    Source: pymatgen's `Element`. A value that nobody has measured is taken from the nearest element of the same group
    that has one, else from the nearest by atomic number.
    """
    from pymatgen.core import Element

    rows = np.full((N_ELEMENTS + 1, len(ATTRIBUTES) + 2 * len(BLOCKS)), np.nan)
    for Z in range(1, N_ELEMENTS + 1):
        element = Element.from_Z(Z)
        rows[Z, : len(ATTRIBUTES)] = [atomic_value(element, name) for name in ATTRIBUTES]
        rows[Z, len(ATTRIBUTES) :] = [*(float(element.block == block) for block in BLOCKS), *_valence(element)]
    groups = rows[:, ATTRIBUTES.index("group")]
    for column in range(rows.shape[1]):
        rows[1:, column] = _filled(rows[:, column], groups)[1:]
    body = rows[1:]
    rows[1:] = (body - body.mean(0)) / np.maximum(body.std(0), 1e-6)
    rows[0] = 0.0
    return rows.astype(np.float32)


def atomic_value(element: object, name: str) -> float:
    """Return an attribute of pymatgen's `Element` as a number, NaN where there is none."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of each value that is missing
        try:
            return float(getattr(element, name))
        except (TypeError, ValueError, AttributeError, KeyError):
            return float("nan")


def _valence(element: object) -> list[float]:
    """Electrons in the outermost shell of each kind."""
    outer: dict[str, tuple[int, int]] = {}
    try:
        shells = element.full_electronic_structure  # type: ignore[attr-defined]
    except KeyError:  # the heaviest elements: unknown
        return [float("nan")] * len(BLOCKS)
    for shell, kind, electrons in shells:
        if shell >= outer.get(kind, (0, 0))[0]:
            outer[kind] = (shell, electrons)
    return [float(outer.get(block, (0, 0))[1]) for block in BLOCKS]


def _filled(values: NDArray[np.float64], groups: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.flatnonzero(np.isfinite(values))
    filled = values.copy()
    for Z in np.flatnonzero(~np.isfinite(values)):
        kin = known[groups[known] == groups[Z]]
        candidates = kin if len(kin) else known
        filled[Z] = values[candidates[np.argmin(np.abs(candidates - Z))]]
    return filled

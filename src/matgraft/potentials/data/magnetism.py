"""The magnetic order of a frame, from the moments of its atoms along one axis.

| order | moments                                              |
| ----- | ---------------------------------------------------- |
| NM    | none that counts                                     |
| FM    | all in one direction                                 |
| AFM   | in both directions, and together next to nothing     |
| FiM   | in both directions, and one of them prevails         |

>>> magnetic_order([4.2, -4.2, 0.03, 0.03])
'AFM'
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ORDER_TAG = "magnetic_order"
"""Tag of the order of the moments that were computed, where they are a label."""
INITIAL_ORDER_TAG = "initial_magnetic_order"
"""The same of the moments that a calculation began with, where the file has them."""

LEAST_MUB, LEAST_PART = 0.1, 0.1
"""A moment counts from so many µB on, and from this part of the largest: oxygen beside iron is only polarised."""
ASKEW = 0.05
"""Part of vectors across their common axis, by that along it, up to which they have one."""
BALANCED = 0.1
"""Sum of the moments by the sum of their sizes up to which they cancel."""


def magnetic_order(moments: ArrayLike) -> str:
    """Return NM, FM, AFM or FiM.

    Parameters
    ----------
    moments
        (n_atoms,) µB with their signs.
    """
    values = np.asarray(moments, dtype=float)
    known = values[counting(values)]
    if not len(known):
        return "NM"
    if (known > 0).all() or (known < 0).all():
        return "FM"
    return "AFM" if abs(known.sum()) <= BALANCED * np.abs(known).sum() else "FiM"


def counting(moments: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say of each atom whether its moment counts, (n_atoms,)."""
    sizes = np.abs(moments)
    return np.asarray(sizes >= max(LEAST_MUB, LEAST_PART * sizes.max(initial=0.0)))


def along_one_axis(moments: ArrayLike) -> NDArray[np.float64] | None:
    """Return (n_atoms,) moments with their signs; None where vectors (n_atoms, 3) have no common axis."""
    values = np.asarray(moments, dtype=float)
    if values.ndim != 2:
        return values
    if not np.isfinite(values).all():
        return None
    _, lengths, axes = np.linalg.svd(values, full_matrices=False)
    return values @ axes[0] if lengths[1:].max(initial=0.0) <= ASKEW * lengths[0] else None

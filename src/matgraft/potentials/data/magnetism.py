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
from numpy.typing import ArrayLike

ORDER_TAG = "magnetic_order"
"""Tag of the order of the moments that were computed, where they are a label."""
INITIAL_ORDER_TAG = "initial_magnetic_order"
"""The same of the moments that a calculation began with, where the file has them."""

LEAST_MUB, LEAST_PART = 0.1, 0.1
"""A moment counts from so many µB on, and from this part of the largest: oxygen beside iron is only polarised."""
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
    sizes = np.abs(values)
    counting = values[sizes >= max(LEAST_MUB, LEAST_PART * sizes.max(initial=0.0))]
    if not len(counting):
        return "NM"
    if (counting > 0).all() or (counting < 0).all():
        return "FM"
    return "AFM" if abs(counting.sum()) <= BALANCED * np.abs(counting).sum() else "FiM"

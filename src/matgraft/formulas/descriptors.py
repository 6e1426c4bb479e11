"""Descriptors of formulas that need no training: what a predictor falls back on, and its baseline.

Magpie-type statistics (Ward et al. 2016): the mean over atoms of each elemental property, its average deviation, least,
largest and range, over the elements of `matgraft.formulas.elements`; norms of the fractions; the fractions themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matgraft.formulas.elements import N_ELEMENTS, element_table
from matgraft.formulas.formula import Formula, padded

NORMS = (0, 2, 3, 5)
CHUNK = 4096


def element_fractions(formulas: Sequence[Formula]) -> NDArray[np.float64]:
    """Return (n, 118) atomic fractions; column Z - 1 holds element Z."""
    numbers, fractions = padded(formulas)
    out = np.zeros((len(formulas), N_ELEMENTS + 1))
    np.put_along_axis(out, numbers, fractions, axis=1)  # padding goes to column 0
    return out[:, 1:]


def magpie(formulas: Sequence[Formula]) -> NDArray[np.float64]:
    """Return (n, 5 n_elemental_properties + 4) statistics."""
    parts = [_statistics(*padded(formulas[i : i + CHUNK])) for i in range(0, len(formulas), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def _statistics(numbers: NDArray[np.int64], fractions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return statistics of elements (n, L) and fractions (n, L), 0 being padding."""
    present = (numbers > 0)[..., None]
    values = element_table()[numbers].astype(float)
    weights = fractions[..., None]
    mean = (weights * values).sum(1)
    deviation = (weights * np.abs(values - mean[:, None])).sum(1)
    least = np.where(present, values, np.inf).min(1)
    largest = np.where(present, values, -np.inf).max(1)
    norms = [(numbers > 0).sum(1) if p == 0 else (fractions**p).sum(1) ** (1 / p) for p in NORMS]
    return np.concatenate([mean, deviation, least, largest, largest - least, np.stack(norms, 1)], 1)

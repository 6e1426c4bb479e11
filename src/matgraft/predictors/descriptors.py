"""Descriptors of formulas that need no training: what a predictor falls back on, and its baseline.

Magpie-type statistics (Ward et al. 2016): the mean over atoms of each elemental property, its average deviation, least,
largest and range, over the elements of `matgraft.backbones.elements`; norms of the fractions; the fractions themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matgraft.backbones.elements import N_ELEMENTS, element_table
from matgraft.data.formula import Formula

NORMS = (0, 2, 3, 5)


def element_fractions(formulas: Sequence[Formula]) -> NDArray[np.float64]:
    """Return (n, 118) atomic fractions; column Z - 1 holds element Z."""
    out = np.zeros((len(formulas), N_ELEMENTS))
    for row, formula in zip(out, formulas, strict=True):
        row[np.array(formula.numbers) - 1] = formula.fractions
    return out


def magpie(formulas: Sequence[Formula]) -> NDArray[np.float64]:
    """Return (n, 5 n_elemental_properties + 4) statistics."""
    return np.stack([_statistics(formula) for formula in formulas])


def _statistics(formula: Formula) -> NDArray[np.float64]:
    values = element_table()[list(formula.numbers)].astype(float)
    fractions = np.array(formula.fractions)
    mean = fractions @ values
    deviation = fractions @ np.abs(values - mean)
    least, largest = values.min(0), values.max(0)
    norms = [len(fractions) if p == 0 else (fractions**p).sum() ** (1 / p) for p in NORMS]
    return np.concatenate([mean, deviation, least, largest, largest - least, norms])

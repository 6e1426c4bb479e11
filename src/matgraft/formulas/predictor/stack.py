"""Weights of the members, from their out-of-fold predictions, and the gate between pretrained and plain ones.

Of many rows members are added one at a time, with replacement, while the mixture gets better (Caruana et al. 2004).
Of few rows such a choice is mostly luck: there all members of a kind count alike (at 25 measured gaps 0.575 eV against
0.652, at 128 0.425 against 0.436).

The gate asks by how many standard errors of the paired differences the mixture with the encoder beats the one without,
taken over units of rows that are independent of each other (`matgraft.core.statistics`).
Where the formulas are of the kind that the pretraining saw, it passes unless they speak clearly against it; elsewhere
(dilute alloys, glasses) it must be better beyond doubt, since a pretraining that does not fit costs up to a fifth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from matgraft.core.frozen import Frozen
from matgraft.core.statistics import Estimate, Units, mean_difference
from matgraft.formulas.formula import Formula

Array = NDArray[np.float64]
Losses = Callable[[Array], Array]
ROUNDS = 20
FEW = 150
"""Independent units of rows below which members of a kind count alike."""
TRUST, DOUBT = -2.0, 3.0
"""Standard errors that the encoder must be better by, on familiar and on unfamiliar formulas.

With 2 on the unfamiliar it came in on one official fold of the steels and cost 1.1 % over all (79.7 against 78.8 MPa).
"""
WORTH = 0.01
"""Part of the loss that networks must save the mixture on the first inner fold to be fitted on the others."""
LARGEST_UNIT = 40
"""Atoms of a formula written in whole numbers: 99 % of the pretraining's have fewer; a steel has thousands."""


class Gate(Frozen):
    """What decided whether the encoder is in the mixture.

    Attributes
    ----------
    gain
        Loss of the mixture without the encoder less that of the mixture with it.
    error
        Its standard error; None with too few units.
    needed
        Standard errors that the gain must exceed: `TRUST` or `DOUBT`.
    passed
        True if the mixture with the encoder is taken.
    """

    gain: float
    error: float | None
    needed: float
    passed: bool

    @classmethod
    def of(cls, found: Estimate, familiar: bool) -> Self:
        """Decide by a gain; without a standard error the encoder is taken on familiar formulas."""
        needed = TRUST if familiar else DOUBT
        error = found.error if np.isfinite(found.error) else None
        return cls(gain=found.value, error=error, needed=needed, passed=found.value > needed * found.error)


def is_familiar(formulas: Sequence[Formula]) -> bool:
    """Say whether most formulas are of the kind that the pretraining saw: compounds of few atoms in whole numbers."""
    return sum((formula.unit_atoms or np.inf) <= LARGEST_UNIT for formula in formulas) > len(formulas) / 2


def member_weights(
    predictions: Sequence[Array],
    losses: Losses,
    plain: Sequence[bool],
    familiar: bool,
    units: Units | None = None,
    weights: Array | None = None,
) -> tuple[Array, Gate | None]:
    """Return (n_members,) weights that sum to 1, and what the gate saw; None where there is no gate.

    Parameters
    ----------
    predictions
        Out-of-fold predictions of each member, averaged as they are.
    losses
        (n,) losses of a prediction, times the weights of the rows.
    plain
        True for members without pretraining. Where none is, or all are, there is no gate.
    familiar
        Whether the formulas are of the kind that the pretraining saw.
    units
        (n,) unit of each row; by default each row is one.
    weights
        (n,) how much each row counts, which the losses hold already; by default alike.
    """
    units = np.arange(len(predictions[0])) if units is None else units
    counted = np.ones(len(units)) if weights is None else weights
    few = len(np.unique(units)) < FEW
    every = range(len(predictions))
    plain_ones = [i for i in every if plain[i]]
    with_encoder = [i for i in every if not plain[i]] if few else list(every)
    if not plain_ones or len(plain_ones) == len(plain):
        return _weights(predictions, losses, list(every), few), None
    mixture, fallback = (_weights(predictions, losses, members, few) for members in (with_encoder, plain_ones))
    without, using = losses(_mixture(predictions, fallback)), losses(_mixture(predictions, mixture))
    gain = mean_difference(without, using, counted, units)
    gate = Gate.of(gain, familiar)
    return mixture if gate.passed else fallback, gate


def is_worth_fitting(slow: Sequence[Array], others: Sequence[Array], losses: Losses) -> bool:
    """Say whether slow members save the mixture `WORTH` of its loss, by what all predict of one inner fold."""
    return _least([*others, *slow], losses) < _least(others, losses) * (1 - WORTH)


def _least(predictions: Sequence[Array], losses: Losses) -> float:
    weights = _selected(predictions, losses)
    return float(losses(_mixture(predictions, weights / weights.sum())).mean())


def _weights(predictions: Sequence[Array], losses: Losses, members: list[int], few: bool) -> Array:
    weights = np.zeros(len(predictions))
    weights[members] = 1.0 if few else _selected([predictions[i] for i in members], losses)
    return weights / weights.sum()


def _selected(predictions: Sequence[Array], losses: Losses) -> Array:
    counts, total, best = np.zeros(len(predictions)), np.zeros_like(predictions[0]), np.inf
    for chosen in range(1, ROUNDS + 1):
        trials = [losses((total + prediction) / chosen).mean() for prediction in predictions]
        winner = int(np.argmin(trials))
        if trials[winner] >= best:
            break
        best, total = trials[winner], total + predictions[winner]
        counts[winner] += 1
    return counts


def _mixture(predictions: Sequence[Array], weights: Array) -> Array:
    return np.sum([weight * prediction for weight, prediction in zip(weights, predictions, strict=True)], axis=0)

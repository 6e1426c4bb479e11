"""Weights of the members, from their out-of-fold predictions, and the gate between pretrained and plain ones.

Of many rows members are added one at a time, with replacement, while the mixture gets better (Caruana et al. 2004),
on `BAGS` samples of units, and the weights are averaged: on one sample a member enters by luck.
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
ROUNDS, BAGS = 20, 10
FEW = 150
"""Independent units of rows below which members of a kind count alike."""
TRUST, DOUBT = -2.0, 3.0
"""Standard errors that the encoder must be better by, on familiar formulas of few units and on unfamiliar ones. On
familiar formulas of many units it must be better: there a guess is worth less than what is seen.

With 2 on the unfamiliar it came in on one official fold of the steels and cost 1.1 % over all (79.7 against 78.8 MPa).
"""
WORTH = 0.01
"""Part of the loss that networks must save the mixture on the first inner fold to be fitted on the others."""
HOPELESS, BEYOND = 0.1, 2.0
"""Part of the best member's loss, and standard errors, that a member may be behind on the first inner fold."""
LARGEST_UNIT = 40
"""Atoms of a formula written in whole numbers: 99 % of the pretraining's have fewer; a steel has thousands."""


class EncoderGate(Frozen):
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
    interval
        95 % interval of the gain; None with too few units.
    without
        Loss of the mixture without the encoder; None in folders of earlier versions.
    """

    gain: float
    error: float | None
    needed: float
    passed: bool
    interval: tuple[float, float] | None = None
    without: float | None = None

    @classmethod
    def of(cls, found: Estimate, familiar: bool, few: bool, without: float) -> Self:
        """Decide by a gain; without a standard error the encoder is taken on familiar formulas."""
        needed = (TRUST if few else 0.0) if familiar else DOUBT
        error = found.error if np.isfinite(found.error) else None
        passed = found.value > (needed * found.error if needed else 0.0)
        return cls(
            gain=found.value, error=error, needed=needed, passed=passed, interval=found.interval, without=without
        )


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
) -> tuple[Array, EncoderGate | None]:
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
        return _weights(predictions, losses, list(every), few, units), None
    mixture, fallback = (_weights(predictions, losses, members, few, units) for members in (with_encoder, plain_ones))
    without, using = losses(_mixture(predictions, fallback)), losses(_mixture(predictions, mixture))
    gain = mean_difference(without, using, counted, units)
    gate = EncoderGate.of(gain, familiar, few, float(without.sum() / counted.sum()))
    return mixture if gate.passed else fallback, gate


def can_win(
    predictions: Sequence[Array], losses: Losses, plain: Sequence[bool], units: Units, weights: Array
) -> list[bool]:
    """Say of each member, by what all predict of one inner fold, whether it may still enter the mixture.

    Out is a member without a share of the mixture there whose loss is `HOPELESS` above that of the best member, beyond
    `BEYOND` standard errors of the paired differences. The best with the encoder and the best without it always stay,
    so that they can be compared.
    """
    each = [losses(one) for one in predictions]
    means = [float(one.sum() / weights.sum()) for one in each]
    best, shares = int(np.argmin(means)), _selected(predictions, losses)
    stays = [
        bool(share) or not _is_hopeless(mean_difference(one, each[best], weights, units), means[best])
        for one, share in zip(each, shares, strict=True)
    ]
    for kind in set(plain):
        stays[min((i for i, one in enumerate(plain) if one is kind), key=lambda i: means[i])] = True
    return stays


def _is_hopeless(behind: Estimate, best: float) -> bool:
    return behind.value > max(BEYOND * behind.error, HOPELESS * best)


def is_worth_fitting(slow: Sequence[Array], others: Sequence[Array], losses: Losses) -> bool:
    """Say whether slow members save the mixture `WORTH` of its loss, by what all predict of one inner fold."""
    return _least([*others, *slow], losses) < _least(others, losses) * (1 - WORTH)


def _least(predictions: Sequence[Array], losses: Losses) -> float:
    weights = _selected(predictions, losses)
    return float(losses(_mixture(predictions, weights / weights.sum())).mean())


def _weights(predictions: Sequence[Array], losses: Losses, members: list[int], few: bool, units: Units) -> Array:
    weights = np.zeros(len(predictions))
    weights[members] = 1.0 if few else _bagged([predictions[i] for i in members], losses, units)
    return weights / weights.sum()


def _bagged(predictions: Sequence[Array], losses: Losses, units: Units) -> Array:
    """Return the shares of members, averaged over selections on samples of units, drawn with replacement."""
    rng, n_units, shares = np.random.default_rng(0), int(units.max()) + 1, np.zeros(len(predictions))
    for _ in range(BAGS):
        drawn = rng.multinomial(n_units, np.full(n_units, 1 / n_units))[units].astype(float)
        found = _selected(predictions, _counted(losses, drawn))
        shares += found / found.sum()
    return shares


def _counted(losses: Losses, drawn: Array) -> Losses:
    return lambda one: drawn * losses(one)


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

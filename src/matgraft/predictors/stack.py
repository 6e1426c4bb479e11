"""Weights of the members, from their out-of-fold predictions, and back to the plain model when in doubt.

Members are added one at a time, with replacement, as long as the mixture gets better (Caruana et al. 2004). Where the
mixture beats the best member that needs no pretraining by less than one standard error of the paired differences, that
member is taken alone: with few labels a lucky mixture is likelier than a better one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ROUNDS = 20


def member_weights(predictions: Sequence[Array], losses: Callable[[Array], Array], plain: Sequence[bool]) -> Array:
    """Return (n_members,) weights that sum to 1.

    Parameters
    ----------
    predictions
        Out-of-fold predictions of each member, averaged as they are.
    losses
        (n,) losses of a prediction.
    plain
        True for members without pretraining; at least one.
    """
    single = [losses(prediction) for prediction in predictions]
    fallback = min((i for i, is_plain in enumerate(plain) if is_plain), key=lambda i: single[i].mean())
    counts = _selected(predictions, losses)
    weights = counts / counts.sum()
    mixed = losses(_mixture(predictions, weights))
    gain = single[fallback] - mixed
    if gain.mean() <= gain.std(ddof=1) / np.sqrt(len(gain)):
        weights = np.zeros(len(predictions))
        weights[fallback] = 1.0
    return weights


def _selected(predictions: Sequence[Array], losses: Callable[[Array], Array]) -> Array:
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

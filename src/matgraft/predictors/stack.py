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
Losses = Callable[[Array], Array]
ROUNDS = 20
DOUBT = 1.0
"""Standard errors that the mixture must be better by."""


def member_weights(predictions: Sequence[Array], losses: Losses, plain: Sequence[bool]) -> Array:
    """Return (n_members,) weights that sum to 1.

    Parameters
    ----------
    predictions
        Out-of-fold predictions of each member, averaged as they are.
    losses
        (n,) losses of a prediction.
    plain
        True for members without pretraining. Where none is, or all are, the mixture stands.
    """
    counts = _selected(predictions, losses)
    weights = counts / counts.sum()
    if all(plain) or not any(plain):
        return weights
    only = [i for i, is_plain in enumerate(plain) if is_plain]
    fallback = np.zeros(len(predictions))
    fallback[only] = _selected([predictions[i] for i in only], losses)
    fallback /= fallback.sum()
    gain = losses(_mixture(predictions, fallback)) - losses(_mixture(predictions, weights))
    doubtful = gain.mean() <= DOUBT * gain.std(ddof=1) / np.sqrt(len(gain))
    return fallback if doubtful else weights


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

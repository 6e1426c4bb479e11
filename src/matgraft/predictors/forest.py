"""Extremely randomised trees as predictive distributions (Geurts et al. 2006; Meinshausen 2006).

A tree sends a formula to a leaf; the training labels of its leaves, each leaf counting equally, are the formula's
distribution. It comes as quantiles at `LEVELS`, so that it can be averaged with others and read at any level.

Where many labels are exactly zero (metals among band gaps) the distribution is a mixture: zero with the probability of
a classifier, else the distribution of trees that saw the other labels alone. Its median minimises the absolute error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

Array = NDArray[np.float64]
LEVELS = np.arange(1, 100) / 100
ZERO_INFLATED = 0.15
"""Part of exact zeros from which on a mixture is fitted."""
CHUNK = 512


@dataclass(frozen=True)
class Trees:
    """Settings of the trees, the same for every table."""

    count: int = 300
    features: float = 0.33
    leaf: int = 1
    seed: int = 0


def quantiles(train: Array, y: Array, test: Array, trees: Trees) -> Array:
    """Return (n_test, 99) quantiles of the labels.

    Parameters
    ----------
    train, test
        (n, width) features.
    y
        (n_train,) labels.
    """
    zero = y == 0
    if not (zero.mean() >= ZERO_INFLATED and (y >= 0).all() and (~zero).sum() >= 10):
        return _forest_quantiles(train, y, test, np.broadcast_to(LEVELS, (len(test), len(LEVELS))), trees)
    none = probabilities(train, zero.astype(int), test, trees)[:, 1]
    levels = (LEVELS[None, :] - none[:, None]) / np.maximum(1 - none[:, None], 1e-9)
    positive = _forest_quantiles(train[~zero], y[~zero], test, np.clip(levels, 0, 1), trees)
    return np.where(levels > 0, positive, 0.0)


def probabilities(train: Array, y: NDArray[np.int_], test: Array, trees: Trees) -> Array:
    """Return (n_test, n_classes) class probabilities."""
    forest = ExtraTreesClassifier(
        trees.count, max_features=trees.features, min_samples_leaf=max(trees.leaf, 2), random_state=trees.seed
    )
    return np.asarray(forest.fit(train, y).predict_proba(test))


def _forest_quantiles(train: Array, y: Array, test: Array, levels: Array, trees: Trees) -> Array:
    forest = ExtraTreesRegressor(
        trees.count, max_features=trees.features, min_samples_leaf=trees.leaf, random_state=trees.seed
    ).fit(train, y)
    leaves = forest.apply(train)
    offsets = np.concatenate([[0], np.cumsum(leaves.max(0) + 1)])
    members = _one_hot(leaves + offsets[:-1], int(offsets[-1]))
    share = members.multiply(1 / np.maximum(1, members.sum(0))).tocsr()  # each leaf counts equally
    order = np.argsort(y, kind="stable")
    parts = []
    for start in range(0, len(test), CHUNK):
        found = _one_hot(forest.apply(test[start : start + CHUNK]) + offsets[:-1], int(offsets[-1]))
        weights = np.asarray((found @ share.T).todense())[:, order] / trees.count
        parts.append(_weighted_quantiles(y[order], weights, levels[start : start + CHUNK]))
    return np.concatenate(parts)


def _one_hot(leaves: NDArray[np.int_], width: int) -> csr_matrix:
    n, count = leaves.shape
    return csr_matrix((np.ones(n * count), leaves.ravel(), np.arange(n + 1) * count), shape=(n, width))


def _weighted_quantiles(ascending: Array, weights: Array, levels: Array) -> Array:
    """Return quantiles of values with weights (n, n_values), interpolated between the midpoints of their weights."""
    out = np.empty_like(levels, dtype=float)
    for i, weight in enumerate(weights):
        used = weight > 0
        middle = np.cumsum(weight[used]) - weight[used] / 2
        out[i] = np.interp(levels[i], middle, ascending[used])
    return out

"""Extremely randomised trees as predictive distributions (Geurts et al. 2006; Meinshausen 2006).

Grown until a leaf holds one formula, a tree answers with one training label; the answers of all trees are the
formula's distribution. It comes as quantiles at `LEVELS`, so that it can be averaged with others and read at any
level. Where rows differ in weight an answer counts by the mean weight of the rows in its leaf: a leaf of one row
would else speak as loud as any other, whatever that row's weight.

Where many labels are exactly zero (metals among band gaps) the distribution is a mixture: zero with the probability of
a classifier, else the distribution of trees that saw the other labels alone. Its median minimises the absolute error.

Boosted trees of least absolute error (Friedman 2001) give a median, no distribution: they move that of the forest.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from matgraft.formulas.learners.inputs import Array, Labels

if TYPE_CHECKING:  # it takes a second, which a prediction without trees does not wait for
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, HistGradientBoostingRegressor

COUNT = 300
"""Randomised trees of a forest."""
BOOSTED = 200
"""Boosted trees of values."""
LEVELS = np.arange(1, 100) / 100
MEDIAN = 49
"""Its column."""
ZERO_INFLATED = 0.15
"""Part of exact zeros from which on a mixture is fitted."""
FEWEST_POSITIVE = 5
FEWEST_FOR_BOOSTING = 300
"""Rows from which on boosted trees join the classifier (measured gaps: 0.269 eV without, 0.266 with)."""
BESIDE_BOOSTED = 100
"""Randomised trees beside boosted ones (metal or not, official gap folds: log loss 0.162, with 300 trees 0.161)."""


@dataclass(frozen=True)
class Trees:
    """Settings of the trees, the same for every table."""

    count: int = field(default_factory=lambda: COUNT)
    features: float = 0.33
    seed: int = 0
    threads: int = 1

    def regressor(self) -> ExtraTreesRegressor:
        """Return trees for values."""
        from sklearn.ensemble import ExtraTreesRegressor

        return ExtraTreesRegressor(self.count, max_features=self.features, random_state=self.seed, n_jobs=self.threads)

    def boosted(self) -> HistGradientBoostingRegressor:
        """Return boosted trees of least absolute error."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(
            loss="absolute_error", max_iter=BOOSTED, learning_rate=0.06, min_samples_leaf=5, max_bins=63,
            max_features=self.features, early_stopping=False, random_state=self.seed,
        )  # fmt: skip

    def classifier(self, count: int) -> ExtraTreesClassifier:
        """Return so many trees for classes."""
        from sklearn.ensemble import ExtraTreesClassifier

        return ExtraTreesClassifier(
            count, max_features=self.features, min_samples_leaf=2, random_state=self.seed, n_jobs=self.threads
        )


class Classifier:
    """Probabilities of extremely randomised trees, averaged with those of boosted ones where rows are many."""

    def __init__(self, x: Array, y: Array, weights: Array, trees: Trees, n_classes: int) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        self.n_classes, self.weighted = n_classes, _differ(weights)
        many = len(x) >= FEWEST_FOR_BOOSTING
        self.models: list[Any] = [trees.classifier(BESIDE_BOOSTED if many else trees.count)]
        if many:
            boosted = HistGradientBoostingClassifier(
                max_iter=150, learning_rate=0.06, l2_regularization=1.0, early_stopping=False, random_state=trees.seed
            )
            self.models.append(boosted)
        for model in self.models:
            model.fit(
                x, y, weights if self.weighted else None
            )  # boosted trees bin features ten times as long by weights

    def __call__(self, x: Any) -> Array:
        """Return (n, n_classes)."""
        from sklearn.ensemble import ExtraTreesClassifier

        out = np.zeros((len(x), self.n_classes))
        for model in self.models:
            by_leaf = self.weighted and isinstance(model, ExtraTreesClassifier)
            said = self._by_leaf(model, x) if by_leaf else model.predict_proba(x)
            out[:, model.classes_] += said / len(self.models)
        return out

    @staticmethod
    def _by_leaf(model: ExtraTreesClassifier, x: Any) -> Array:
        """Return the mean of the trees' probabilities, each counting by the mean weight in its leaf."""
        total, counted = np.zeros((len(x), len(model.classes_))), np.zeros((len(x), 1))
        for tree in model.estimators_:
            weight = leaf_weights(tree, x)[:, None]
            total += weight * tree.predict_proba(x, check_input=False)
            counted += weight
        return total / counted


class Forest:
    """Fitted trees.

    Parameters
    ----------
    x
        (n, width) features.
    """

    def __init__(self, x: Array, labels: Labels, trees: Trees) -> None:
        self.threads, self.weighted = trees.threads, _differ(labels.weights)
        self.zero: Classifier | None = None
        self.values: Any = None
        self.median: HistGradientBoostingRegressor | None = None
        if labels.n_classes:
            self.classes = Classifier(x, labels.y.astype(int), labels.weights, trees, labels.n_classes)
            self.n_classes = labels.n_classes
            return
        self.n_classes = 0
        body = np.ones(len(x), bool)
        if is_zero_inflated(labels.y):
            body = labels.y != 0
            self.zero = Classifier(x, (~body).astype(int), labels.weights, trees, 2)
        self.values = trees.regressor().fit(x[body], labels.y[body], labels.weights[body])

    def __call__(self, x: Array) -> Array:
        """Return (n, 99) quantiles, or (n, n_classes) probabilities."""
        x32 = np.ascontiguousarray(x, np.float32)  # what the trees read; converted once, not once a tree
        if self.n_classes:
            return self.classes(x32)
        at = self._quantiles(x32)
        if self.zero is None:
            return at(np.broadcast_to(LEVELS, (len(x), len(LEVELS))))
        return with_zeros(self.zero(x32)[:, 1], at)

    def moved(self, x: Array, labels: Labels, trees: Trees) -> Forest:
        """Return a forest with the median of boosted trees of least absolute error, fitted on what it learned from."""
        out, body = copy(self), np.ones(len(x), bool) if self.zero is None else labels.y != 0
        weights = labels.weights[body] if self.weighted else None
        out.median = trees.boosted().fit(x[body], labels.y[body], weights)
        return out

    def _quantiles(self, x: Any) -> Callable[[Array], Array]:
        """Return what gives the quantiles (n, k) of the distribution, zeros apart, at levels (n, k)."""
        answers, median = self._answers(x), self._median(x)
        if median is None:
            return answers
        change = median[:, None] - answers(np.full((len(x), 1), LEVELS[MEDIAN]))
        return lambda levels: answers(levels) + change

    def _median(self, x: Any) -> Array | None:
        """Return (n,) what boosted trees say; None where there are none."""
        return None if self.median is None else self.median.predict(x)

    def _answers(self, x: Any) -> Callable[[Array], Array]:
        """Return what gives the quantiles (n, k) of the trees' answers at levels (n, k)."""
        answers = self._of_trees(lambda tree: tree.predict(x, check_input=False))
        return quantiles_at(answers, self._of_trees(lambda tree: leaf_weights(tree, x)) if self.weighted else None)

    def _of_trees(self, ask: Callable[[Any], Array]) -> Array:
        """Return (n, m) what each tree says."""
        with ThreadPoolExecutor(self.threads) as pool:
            return np.stack(list(pool.map(ask, self.values.estimators_)), 1)


def quantiles_at(answers: Array, weights: Array | None) -> Callable[[Array], Array]:
    """Return what gives the quantiles (n, k) at levels (n, k) of samples (n, m) that have weights (n, m), or none."""
    if weights is None:
        ascending = np.sort(answers, axis=1)
        return lambda levels: _at(ascending, levels)
    order = np.argsort(answers, axis=1)
    ascending, weights = np.take_along_axis(answers, order, 1), np.take_along_axis(weights, order, 1)
    return lambda levels: _at_weighted(ascending, weights, levels)


def leaf_weights(tree: Any, x: Any) -> Array:
    """Return (n,) the mean weight of the training rows in the leaf that each row of x, float32, falls into."""
    leaves, nodes = tree.apply(x, check_input=False), tree.tree_
    return nodes.weighted_n_node_samples[leaves] / nodes.n_node_samples[leaves]


def _differ(weights: Array) -> bool:
    return bool((weights != weights[0]).any())


def with_zeros(none: Array, positive: Callable[[Array], Array]) -> Array:
    """Return (n, 99) quantiles of a mixture.

    Parameters
    ----------
    none
        (n,) probabilities of zero.
    positive
        (n, 99) levels of the other part -> its quantiles.
    """
    levels = (LEVELS - none[:, None]) / np.maximum(1 - none[:, None], 1e-9)
    return np.where(levels > 0, np.maximum(positive(np.clip(levels, 0, 1)), 0.0), 0.0)


def is_zero_inflated(y: Array) -> bool:
    """Say whether zeros are so many that they need a classifier of their own."""
    return bool((y == 0).mean() >= ZERO_INFLATED and (y >= 0).all() and (y > 0).sum() >= FEWEST_POSITIVE)


def _at(ascending: Array, levels: Array) -> Array:
    """Return (n, k) quantiles of samples (n, m) at levels (n, k), interpolated between the samples' midpoints."""
    m = ascending.shape[1]
    position = np.clip(levels * m - 0.5, 0, m - 1)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, m - 1)
    part = position - below
    return np.take_along_axis(ascending, below, 1) * (1 - part) + np.take_along_axis(ascending, above, 1) * part


def _at_weighted(ascending: Array, weights: Array, levels: Array) -> Array:
    """Return what `_at` does of samples (n, m) that have weights (n, m): each stands at the middle of its own share."""
    shares = weights / weights.sum(1, keepdims=True)
    middles = shares.cumsum(1) - shares / 2
    return np.stack([np.interp(*row) for row in zip(levels, middles, ascending, strict=True)])

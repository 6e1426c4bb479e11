"""Importance weights: how much more often a row of the source would stand in the target.

A logistic regression tells the domains apart; its odds are the ratio of their densities (Bickel, Brückner and Scheffer,
JMLR 10, 2009). Each row is judged by a fit that saw neither it nor another row of its group, and the regression's prior
is the one under which these judgements are likeliest. Ratios are clipped, since
a few rows would carry the fit otherwise, and `effective_size` says how many rows are left to carry it (Kish 1965).

    classifier = fit_domain_classifier(source, target, groups)  # features (n, width), (m, width); n + m groups
    weights = classifier.weights(clip=10)                       # (n,), 1 on average
    effective_size(weights), classifier.auc
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FOLDS = 3
PRIORS = (0.001, 0.01, 0.1, 1.0)
"""Inverse strengths of the regression's prior that are tried (`C`)."""
SURE = 1e-6


@dataclass(frozen=True, eq=False)
class DomainClassifier:
    """How well two domains can be told apart.

    Attributes
    ----------
    source, target
        (n,), (m,) probability of being from the target where both are equally frequent, out of fold.
    """

    source: Array
    target: Array

    @property
    def auc(self) -> float:
        """0.5: the domains are the same to the classifier; 1: it never errs."""
        from sklearn.metrics import roc_auc_score  # takes a second, which a prediction does not wait for

        truth = np.repeat([0, 1], [len(self.source), len(self.target)])
        return float(roc_auc_score(truth, np.concatenate([self.source, self.target])))

    def weights(self, clip: float) -> Array:
        """Return (n,) weights of the source's rows, 1 on average and none above `clip`."""
        likely = np.clip(self.source, SURE, 1 - SURE)
        odds = likely / (1 - likely)
        cut = np.minimum(odds, _largest(odds, clip))
        return np.asarray(cut / cut.mean())


def fit_domain_classifier(
    source: Array, target: Array, groups: Sequence[str] | None = None, seed: int = 0
) -> DomainClassifier:
    """Tell two domains apart by their features (n, width) and (m, width).

    Parameters
    ----------
    groups
        (n + m,) names of what a fold never tears apart, such as the formula; by default every row is its own.
    """
    from sklearn.metrics import log_loss
    from sklearn.model_selection import GroupKFold

    x, truth = np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)])
    names = np.arange(len(x)) if groups is None else np.asarray(groups)
    balanced = len(x) / np.bincount(truth)[truth]  # both domains count alike, however many rows they have
    folds = list(GroupKFold(FOLDS, shuffle=True, random_state=seed).split(x, groups=names))
    tried = [_out_of_fold(x, truth, folds, prior) for prior in PRIORS]
    likely = min(tried, key=lambda one: log_loss(truth, one, sample_weight=balanced))
    return DomainClassifier(likely[: len(source)], likely[len(source) :])


def _out_of_fold(x: Array, truth: NDArray[np.int_], folds: list[tuple[Any, Any]], prior: float) -> Array:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    likely = np.zeros(len(x))
    for rest, held in folds:
        regression = LogisticRegression(C=prior, class_weight="balanced", max_iter=1000)
        model = make_pipeline(StandardScaler(), regression).fit(x[rest], truth[rest])
        likely[held] = model.predict_proba(x[held])[:, 1]
    return likely


def _largest(odds: Array, clip: float) -> float:
    """Return where odds (n,) are cut, so that none is above `clip` times the average of what is left by the cut.

    With the k largest cut at t the average is (sum of the others + k t) / n, so t = clip sum / (n - clip k); k is the
    smallest number for which nothing else is above t.
    """
    ascending = np.sort(odds)
    n = len(odds)
    if ascending[-1] <= clip * odds.mean():
        return float(ascending[-1])
    k = np.arange(1, int(np.ceil(n / clip)))  # n - clip k > 0
    cuts = clip * np.cumsum(ascending)[n - k - 1] / (n - clip * k)
    return float(cuts[np.argmax(cuts >= ascending[n - k - 1])])


def effective_size(weights: Array) -> float:
    """Return the number of equally weighted rows that know as much as these."""
    return float(weights.sum() ** 2 / (weights**2).sum())

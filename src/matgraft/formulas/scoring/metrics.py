"""Errors of property predictions, each with what a user asks for: how wrong, and do the error bars hold.

Rows count by their weights, as they do where members are weighed: one name has one number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matgraft.formulas.predictor.prediction import Prediction

Array = NDArray[np.float64]

SCORES = {
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "coverage": "truths inside their interval",
    "width": "mean width of the intervals",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC-AUC of the probabilities",
    "accuracy": "accuracy",
    "log_loss": "log loss",
}
"""Scores in words."""
SHARES = ("coverage", "accuracy", "balanced_accuracy")
"""Scores that are parts of the rows, 0 to 1."""


def scores_of(y: Array, prediction: Prediction, weights: Array | None = None) -> dict[str, float]:
    """Return the scores of values, or of classes where there are probabilities; none where no row counts.

    Parameters
    ----------
    y
        (n,) truths: values, or indices of classes.
    weights
        (n,) how much each row counts; by default alike.
    """
    counted = np.ones(len(y)) if weights is None else weights
    rows = np.flatnonzero(counted)
    if not len(rows):
        return {}
    scores = regression_scores if prediction.probabilities is None else classification_scores
    return scores(y[rows], prediction.take(rows), counted[rows])


def regression_scores(y: Array, prediction: Prediction, weights: Array) -> dict[str, float]:
    """Return mae, rmse (units of the target), coverage of the intervals and their mean width."""
    error = prediction.value - y
    inside = (y >= prediction.lower) & (y <= prediction.upper)

    def mean(rows: Array) -> float:
        return float(np.average(rows, weights=weights))

    return {
        "mae": mean(np.abs(error)),
        "rmse": mean(error**2) ** 0.5,
        "coverage": mean(inside.astype(float)),
        "width": mean(prediction.upper - prediction.lower),
    }


def classification_scores(y: Array, prediction: Prediction, weights: Array) -> dict[str, float]:
    """Return balanced_accuracy, roc_auc (of probabilities; one against the rest for many classes), accuracy, log_loss.

    The balanced accuracy is the mean over the classes that occur of the part of each that was found. ROC-AUC is absent
    where a class does not occur.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    assert prediction.probabilities is not None
    truth, probabilities = y.astype(int), prediction.probabilities
    right = (prediction.value.astype(int) == truth).astype(float)
    labels = list(range(probabilities.shape[1]))
    found = [np.average(right[truth == label], weights=weights[truth == label]) for label in np.unique(truth)]
    scores = {
        "balanced_accuracy": float(np.mean(found)),
        "accuracy": float(np.average(right, weights=weights)),
        "log_loss": float(log_loss(truth, probabilities, labels=labels, sample_weight=weights)),
    }
    if len(found) == len(labels):
        likely = probabilities[:, 1] if len(labels) == 2 else probabilities
        scores["roc_auc"] = float(roc_auc_score(truth, likely, multi_class="ovr", sample_weight=weights))
    return scores

"""Errors of property predictions, each with what a user asks for: how wrong, and do the error bars hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score

from matgraft.predictors.predictor import Prediction

Array = NDArray[np.float64]


def scores_of(y: Array, prediction: Prediction) -> dict[str, float]:
    """Return the scores of values, or of classes where there are probabilities."""
    return (
        regression_scores(y, prediction) if prediction.probabilities is None else classification_scores(y, prediction)
    )


def regression_scores(y: Array, prediction: Prediction) -> dict[str, float]:
    """Return mae, rmse (units of the target), coverage of the intervals and their mean width."""
    error = prediction.value - y
    inside = (y >= prediction.lower) & (y <= prediction.upper)
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "coverage": float(inside.mean()),
        "width": float((prediction.upper - prediction.lower).mean()),
    }


def classification_scores(y: Array, prediction: Prediction) -> dict[str, float]:
    """Return balanced_accuracy, roc_auc (of probabilities; one against the rest for many classes), accuracy, log_loss.

    ROC-AUC is absent where the truths are of one class, or lack a class of several.
    """
    assert prediction.probabilities is not None
    truth, probabilities = y.astype(int), prediction.probabilities
    labels = list(range(probabilities.shape[1]))
    scores = {
        "balanced_accuracy": float(balanced_accuracy_score(truth, prediction.value.astype(int))),
        "accuracy": float(accuracy_score(truth, prediction.value.astype(int))),
        "log_loss": float(log_loss(truth, probabilities, labels=labels)),
    }
    if len(set(truth)) == len(labels):
        likely = probabilities[:, 1] if len(labels) == 2 else probabilities
        scores["roc_auc"] = float(roc_auc_score(truth, likely, multi_class="ovr"))
    return scores

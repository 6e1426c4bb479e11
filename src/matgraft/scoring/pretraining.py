"""What the encoder's pretraining knew of a table's formulas, and the scores with and without that.

A formula whose computed properties were labels of the pretraining is not new to the encoder, though the table's own
value was never seen: on formulas without any label the encoder may bring less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from matgraft.backbones.base import ModelCard
from matgraft.backbones.seen_labels import seen_labels
from matgraft.data.formula import Formula
from matgraft.predictors.predictor import Prediction
from matgraft.scoring.properties import Array, scores_of

MOST = 3
"""Properties that the sentence names."""


def pretraining_facts(
    card: ModelCard, formulas: Sequence[Formula], y: Array, prediction: Prediction, weights: Array
) -> dict[str, Any] | None:
    """Return what the pretraining knew of (n,) rows; None where it is not known.

    Returns
    -------
    dict
        ``n`` and ``with_label`` (rows, and those whose formula had any label), ``by_property`` (rows by the label that
        their formula had), ``scores`` of the rows ``with_label`` and ``without_label``.
    """
    seen = seen_labels(card)
    if seen is None:
        return None
    had = seen.of(formulas)
    counts = {name: int(n) for name, n in zip(seen.properties, had.sum(0), strict=True) if n}
    parts = {"with_label": np.flatnonzero(had.any(1)), "without_label": np.flatnonzero(~had.any(1))}
    return {
        "n": len(y),
        "with_label": len(parts["with_label"]),
        "by_property": dict(sorted(counts.items(), key=lambda one: -one[1])),
        "scores": {name: scores_of(y[rows], prediction.take(rows), weights[rows]) for name, rows in parts.items()},
    }


def pretraining_sentence(facts: Mapping[str, Any] | None) -> str:
    """Say it for a screen."""
    if facts is None:
        return (
            "it is not known which formulas had labels in the pretraining of this encoder, which is not the shipped one"
        )
    if not facts["with_label"]:
        return "no formula had a computed label in the encoder's pretraining"
    named = ", ".join(f"{name} {n}" for name, n in list(facts["by_property"].items())[:MOST])
    scores = facts["scores"]
    name = "mae" if "mae" in scores["with_label"] else "balanced_accuracy"
    figures = [f"{scores[part][name]:.4g} {said}" for part, said in
               (("with_label", "with a label"), ("without_label", "without any")) if name in scores[part]]  # fmt: skip
    return (
        f"{facts['with_label']} of {facts['n']} rows have a formula with computed labels in the encoder's pretraining "
        f"({named}): {name} {', '.join(figures)}"
    )

"""What the encoder's pretraining knew of a table's formulas, and the scores with and without that.

A formula whose computed properties were labels of the pretraining is not new to the encoder, though the table's own
value was never seen: on formulas without any label the encoder may bring less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from matgraft.formulas.formula import Formula
from matgraft.formulas.predictor.predictor import HeldLosses, Prediction
from matgraft.formulas.scoring.metrics import Array, scores_of
from matgraft.formulas.seen_labels import SeenLabels

MOST = 3
"""Properties that the sentence names."""
PARTS = {"with_label": "with a label", "without_label": "without any"}
"""Parts of a table -> how they are called."""


def pretraining_facts(
    seen: SeenLabels | None,
    formulas: Sequence[Formula],
    y: Array,
    prediction: Prediction,
    weights: Array,
    losses: HeldLosses | None = None,
) -> dict[str, Any] | None:
    """Return what the pretraining knew of (n,) rows; None where it is not known.

    Parameters
    ----------
    losses
        Of the rows, by the predictor and by its baseline, where the two are compared.

    Returns
    -------
    dict
        ``n`` and ``with_label`` (rows, and those whose formula had any label), ``weighted`` (whether rows count
        differently), ``by_property`` (rows by the label that
        their formula had), ``scores`` of the rows ``with_label`` and ``without_label``, ``compared`` (what the
        predictor is worth against its baseline on each of the two that has rows, `HeldLosses.compared`; empty without
        losses).
    """
    if seen is None:
        return None
    had = seen.of(formulas)
    counts = {name: int(n) for name, n in zip(seen.properties, had.sum(0), strict=True) if n}
    parts = dict(zip(PARTS, (np.flatnonzero(had.any(1)), np.flatnonzero(~had.any(1))), strict=True))
    return {
        "n": len(y),
        "weighted": bool((weights != weights[0]).any()),
        "with_label": len(parts["with_label"]),
        "by_property": dict(sorted(counts.items(), key=lambda one: -one[1])),
        "scores": {name: scores_of(y[rows], prediction.take(rows), weights[rows]) for name, rows in parts.items()},
        "compared": {name: losses.compared(rows) for name, rows in parts.items() if losses and len(rows)},
    }


def pretraining_sentence(facts: Mapping[str, Any] | None) -> str:
    """Say it for a screen."""
    if facts is None:
        return (
            "it is not known which formulas had labels in the pretraining of this encoder: its folder has no labels.npz"
        )
    if not facts["with_label"]:
        return "no formula had a computed label in the encoder's pretraining"
    named = ", ".join(f"{name} {n}" for name, n in list(facts["by_property"].items())[:MOST])
    figures = "; ".join(_figures(facts, part, said) for part, said in PARTS.items() if facts["scores"][part])
    return (
        f"{facts['with_label']} of {facts['n']} rows have a formula with computed labels in the encoder's pretraining "
        f"({named}): {figures}"
    )


def _figures(facts: Mapping[str, Any], part: str, said: str) -> str:
    """Return ``mae 0.09 with a label`` or ``weighted mae ...``, and what the baseline has there."""
    scores, compared = facts["scores"][part], facts["compared"].get(part)
    name = "mae" if "mae" in scores else "balanced_accuracy"
    against = f" ({compared['name']} {compared['score']:.4g})" if compared and name == "mae" else ""
    weighted = "weighted " if facts["weighted"] else ""
    return f"{weighted}{name} {scores[name]:.4g} {said}{against}"

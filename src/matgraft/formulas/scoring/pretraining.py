"""What the encoder's pretraining knew of a table's formulas, and the scores with and without that.

A formula whose computed properties were labels of the pretraining is not new to the encoder, though the table's own
value was never seen: on formulas without any label the encoder may bring less.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from matgraft.core.frozen import Frozen
from matgraft.formulas.learners.inputs import Examples
from matgraft.formulas.predictor.facts import BaselineComparison, HeldLosses
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.scoring.metrics import SCORES, scores_of
from matgraft.formulas.seen_labels import SeenLabels

MOST = 3
"""Properties that the sentence names."""
Part = Literal["with_label", "without_label"]
PARTS: dict[Part, str] = {"with_label": "with a label", "without_label": "without any"}
"""Parts of a table -> how they are called."""


class PretrainingFacts(Frozen):
    """What the pretraining knew of a table's rows.

    Attributes
    ----------
    n, with_label
        Rows, and those whose formula had any label.
    weighted
        Whether rows count differently.
    by_property
        Rows by the label that their formula had, the most frequent first.
    scores
        Of the rows with and without a label.
    compared
        What the predictor is worth against its baseline on each part that has rows; empty where the two are not
        compared.
    """

    n: int
    weighted: bool
    with_label: int
    by_property: dict[str, int]
    scores: dict[Part, dict[str, float]]
    compared: dict[Part, BaselineComparison]


def pretraining_facts(
    seen: SeenLabels | None, examples: Examples, prediction: Prediction, losses: HeldLosses | None = None
) -> PretrainingFacts | None:
    """Return what the pretraining knew of the predicted rows; None where it is not known.

    Parameters
    ----------
    losses
        Of the rows, by the predictor and by its baseline, where the two are compared.
    """
    if seen is None:
        return None
    had = seen.of(examples.formulas)
    counts = {name: int(n) for name, n in zip(seen.properties, had.sum(0), strict=True) if n}
    weights = np.ones(len(examples)) if examples.weights is None else examples.weights
    rows: dict[Part, NDArray[np.int_]] = {
        "with_label": np.flatnonzero(had.any(1)), "without_label": np.flatnonzero(~had.any(1))
    }  # fmt: skip
    return PretrainingFacts(
        n=len(examples),
        weighted=bool((weights != weights[0]).any()),
        with_label=len(rows["with_label"]),
        by_property=dict(sorted(counts.items(), key=lambda one: -one[1])),
        scores={part: scores_of(examples.y[some], prediction.take(some), weights[some]) for part, some in rows.items()},
        compared={part: losses.compared(some) for part, some in rows.items() if losses and len(some)},
    )


def pretraining_sentence(facts: PretrainingFacts | None) -> str:
    """Say it for a screen."""
    if facts is None:
        return (
            "It is not known which formulas had labels in the pretraining of this encoder: its folder has no labels.npz"
        )
    if not facts.with_label:
        return "No formula had a computed label in the encoder's pretraining"
    named = ", ".join(f"{name} {n}" for name, n in list(facts.by_property.items())[:MOST])
    figures = "; ".join(_figures(facts, part) for part in PARTS if facts.scores[part])
    return (
        f"{facts.with_label} of {facts.n} rows have a formula with computed labels in the encoder's pretraining "
        f"({named}): {figures}"
    )


def _figures(facts: PretrainingFacts, part: Part) -> str:
    """Return ``mean absolute error 0.09 with a label`` or ``weighted ...``, and what the baseline has there."""
    scores, compared = facts.scores[part], facts.compared.get(part)
    name = "mae" if "mae" in scores else "balanced_accuracy"
    against = f" ({compared.name} {compared.score:.4g})" if compared and name == "mae" else ""
    weighted = "weighted " if facts.weighted else ""
    return f"{weighted}{SCORES[name]} {scores[name]:.4g} {PARTS[part]}{against}"

"""Do two domains overlap at all? Where they do not, nothing here can carry labels over, nor say whether it did.

Three looks at the encoder's frozen features: a classifier that tells the domains apart, cross-validated; the part of
the target within the source's own distances (`matgraft.formulas.learners.novelty`); and how many rows of the source are
left to speak for the target, the effective size of their importance weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from matgraft.core.frozen import Frozen
from matgraft.formulas.domain.density import effective_size
from matgraft.formulas.domain.member import TargetDomain
from matgraft.formulas.learners.inputs import Array, Inputs
from matgraft.formulas.learners.novelty import Neighbourhood

TOLD_APART = 0.98
"""AUC from which on the domains are called disjoint: computed and measured gaps have 0.73, oxides and others 0.998."""
WITHIN = 0.5
"""Part of the target that must lie in the source's range."""
FEWEST, LEAST_PART = 50, 0.1
"""Rows that must be left to speak for the target, or, of a small source, the part of it."""


class OverlapFacts(Frozen):
    """What is kept of a `DomainOverlap`.

    Attributes
    ----------
    n_source, n_target
        Rows of the domains.
    lacks
        What speaks against an overlap, each with its figure; empty where nothing does.
    """

    auc: float
    within: float
    effective: float
    n_source: int
    lacks: tuple[str, ...]
    n_target: int


@dataclass(frozen=True, eq=False)
class DomainOverlap:
    """What was seen.

    Attributes
    ----------
    auc
        Of the domain classifier; 0.5: the same, 1: disjoint.
    within
        Part of the target's rows within the source's range.
    effective
        Rows of the source that its importance weights leave.
    weights
        (n,) these weights, 1 on average.
    """

    auc: float
    within: float
    effective: float
    weights: Array

    @classmethod
    def of(cls, source: Inputs, target: TargetDomain, seed: int) -> Self:
        """Look at two domains."""
        classifier = target.classifier(source, seed)
        weights = classifier.weights(target.settings.clip)
        distance = Neighbourhood.of(source.blocks).distance(target.inputs.blocks)
        return cls(classifier.auc, float((distance <= 1).mean()), effective_size(weights), weights)

    @property
    def is_scarce(self) -> bool:
        """True if importance weights leave too few rows to learn from."""
        return self.effective < min(FEWEST, LEAST_PART * len(self.weights))

    @property
    def lacks(self) -> list[str]:
        """What speaks against an overlap, each with its figure; empty where nothing does."""
        said = {
            f"a classifier separates them (AUC {self.auc:.3f})": self.auc > TOLD_APART,
            f"{self.within:.0%} of the target lie in the source's range": self.within < WITHIN,
            f"{self.effective:.0f} of {len(self.weights)} rows are left by their weights": self.is_scarce,
        }
        return [text for text, is_so in said.items() if is_so]

    def facts(self, n_target: int) -> OverlapFacts:
        """Return the figures."""
        return OverlapFacts(
            auc=self.auc,
            within=self.within,
            effective=self.effective,
            n_source=len(self.weights),
            lacks=tuple(self.lacks),
            n_target=n_target,
        )

"""Scores of a cross-validation."""

from __future__ import annotations

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from matgraft.core.findings import Finding
from matgraft.core.frozen import Frozen
from matgraft.formulas.predictor.facts import WeighedMember
from matgraft.formulas.scoring.pretraining import PretrainingFacts


class FoldScores(Frozen):
    """One fold.

    Attributes
    ----------
    n_train, n_test
        Rows of its parts.
    scores
        By name; as data they stand beside the other facts.
    members
        What was fitted on the training part.
    """

    fold: str
    n_train: int
    n_test: int
    scores: dict[str, float]
    members: tuple[WeighedMember, ...]

    @property
    def pretrained(self) -> float | None:
        """Part of the mixture that reads the encoder; None where no member does."""
        weights = [member.weight for member in self.members if member.pretrained]
        return sum(weights) if weights else None

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        content: dict[str, object] = handler(self)
        scores = content.pop("scores")
        assert isinstance(scores, dict)
        return content | scores


class CrossValidation(Frozen):
    """Scores on held-out folds.

    Attributes
    ----------
    mean, std
        Over the folds that have a score; the spread is None of one fold.
    n_folds
        How many these are, by score.
    weighted
        Whether rows count differently.
    classes
        Their names in order; empty for numbers.
    n, n_unlike
        Rows scored, and those unlike their training set.
    n_in_training
        Rows whose formula is in their training set as well: of folds that the table brings.
    without_value, without_weight
        Rows left out.
    pretraining
        What the encoder's pretraining knew of the formulas; None where it is not known.
    findings
        Of the audit of the table, where it was looked at first.
    """

    folds: tuple[FoldScores, ...]
    mean: dict[str, float]
    std: dict[str, float | None]
    n_folds: dict[str, int]
    weighted: bool
    classes: tuple[str, ...]
    n: int
    n_unlike: int
    n_in_training: int
    without_value: int
    without_weight: int
    pretraining: PretrainingFacts | None
    findings: tuple[Finding, ...] = Field((), exclude_if=lambda findings: not findings)

"""What a predictor chose, as data, and what it is compared with: descriptors and trees without the encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from matgraft.core.frozen import Frozen
from matgraft.core.statistics import Units, mean_difference
from matgraft.formulas.learners.inputs import Array, Rows
from matgraft.formulas.learners.transform import Scale
from matgraft.formulas.predictor.stack import Gate

BASELINE = "descriptors and trees"
"""What a predictor is held against."""


class FittedMember(Frozen):
    """What a member gave.

    Attributes
    ----------
    score
        Mean loss out of fold; of a network that was dropped, on the first inner fold.
    pretrained
        True if it reads the encoder.
    """

    name: str
    score: float
    pretrained: bool


class WeighedMember(FittedMember):
    """What a member gave that predicted every inner fold, and its part of the mixture."""

    weight: float


class BaselineComparison(Frozen):
    """A predictor against its baseline on the same rows.

    Attributes
    ----------
    name
        Of the baseline.
    score
        Mean loss of the baseline.
    difference
        Mean loss of the predictor less that of the baseline.
    interval
        95 % interval of the difference; None with too few units to decide.
    n_units
        Sets of rows that share no formula and no group.
    """

    name: str
    score: float
    difference: float
    interval: tuple[float, float] | None
    n_units: int


class PredictorFacts(Frozen):
    """What was chosen on out-of-fold predictions.

    Attributes
    ----------
    criterion
        The loss: ``"mean absolute error"`` (in units of the values) or ``"log loss"``, with ``"weighted"`` before it
        where rows count differently.
    members
        Those that predicted every inner fold.
    dropped
        Networks that were not worth more than the first inner fold.
    gate
        What decided whether the encoder is in the mixture; None where nothing had to be decided.
    score
        Mean loss of the mixture.
    baseline
        What the mixture is held against.
    scale
        On which the values were learned.
    familiar
        True if most formulas are of the kind that the pretraining saw.
    """

    criterion: str
    members: tuple[WeighedMember, ...]
    dropped: tuple[FittedMember, ...]
    gate: Gate | None
    score: float
    baseline: BaselineComparison
    scale: Scale
    familiar: bool

    @property
    def tried(self) -> bool:
        """True if a member with the encoder was fitted."""
        return any(member.pretrained for member in (*self.members, *self.dropped))

    @property
    def share(self) -> float:
        """Part of the mixture that reads the encoder."""
        return sum(member.weight for member in self.members if member.pretrained)


@dataclass(frozen=True, eq=False)
class HeldLosses:
    """Out-of-fold losses of a predictor and of its baseline, the mixture of descriptors and trees without the encoder.

    Attributes
    ----------
    ours, baseline
        (n,) absolute errors, or log losses of classes, times the weight of the row.
    weights
        (n,) how much each row counts.
    units
        (n,) unit of each row.
    """

    ours: Array
    baseline: Array
    weights: Array
    units: Units

    def compared(self, rows: Rows | None = None) -> BaselineComparison:
        """Compare both on some rows, by default on all."""
        rows = np.arange(len(self.ours)) if rows is None else rows
        ours, baseline, weights = self.ours[rows], self.baseline[rows], self.weights[rows]
        found = mean_difference(ours, baseline, weights, self.units[rows])
        score = float(baseline.sum() / weights.sum())
        return BaselineComparison(
            name=BASELINE, score=score, difference=found.value, interval=found.interval, n_units=found.n_units
        )

"""What a predictor chose, as data, and what it is compared with: descriptors and trees without the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import computed_field

from matgraft.core.frozen import Frozen
from matgraft.core.statistics import Units, mean_difference
from matgraft.formulas.learners.inputs import Array, Rows
from matgraft.formulas.learners.transform import Scale
from matgraft.formulas.predictor.stack import EncoderGate

BASELINE = "descriptors and trees"
"""What a predictor is held against."""


class FittedMember(Frozen):
    """What a member gave.

    Attributes
    ----------
    score
        Mean loss out of fold; of a member that was dropped, on the first inner fold.
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


class PretrainingGain(Frozen):
    """By how much the pretrained encoder lowers the error, taken or not.

    Attributes
    ----------
    per_cent
        Of the loss of descriptors and trees without it; negative where it makes the loss larger.
    interval
        Its 95 % interval over sets of rows that share no formula and no group; None with too few of them.
    helps
        ``yes`` or ``no`` beyond doubt, else ``undecided``.
    """

    per_cent: float
    interval: tuple[float, float] | None
    helps: Literal["yes", "no", "undecided"]

    @classmethod
    def of(cls, gain: float, interval: tuple[float, float] | None, without: float) -> Self | None:
        """Return a gain in units of the loss as a part of the loss without the encoder; None where that is 0."""
        if without <= 0:
            return None
        low, high = (100 * end / without for end in interval or (-np.inf, np.inf))
        helps: Literal["yes", "no", "undecided"] = "yes" if low > 0 else "no" if high < 0 else "undecided"
        return cls(per_cent=100 * gain / without, interval=(low, high) if interval else None, helps=helps)


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
        Members that were not worth more than the first inner fold.
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
    gate: EncoderGate | None
    score: float
    baseline: BaselineComparison
    scale: Scale
    familiar: bool

    @computed_field  # type: ignore[prop-decorator]
    @property
    def pretraining_gain(self) -> PretrainingGain | None:
        """What the pretraining is worth: as the gate saw it, else by the baseline; None where nothing tells."""
        if self.gate is not None and self.gate.without is not None:
            return PretrainingGain.of(self.gate.gain, self.gate.interval, self.gate.without)
        if self.gate is not None or not self.tried:
            return None
        found = self.baseline.interval
        return PretrainingGain.of(-self.baseline.difference, found and (-found[1], -found[0]), self.baseline.score)

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

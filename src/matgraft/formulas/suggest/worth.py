"""What each candidate is worth for what is wanted.

    worth = Worth.of_values(goal, sides, transform, measured)
    worth(left)                      # (m,) expected improvement, where a part of each uncertainty is left

A candidate's value is taken as normal on the scale that the predictor learned (`Calibration.one_sigma`): its mean is
the predicted value, its standard deviation how far the calibrated interval of 68 % goes toward the goal. Expected
improvement (Mockus 1975; Jones, Schonlau and Welch 1998) is then a closed form; toward a value it is the difference of
three such forms. Where others of a batch are to be measured before, it is the mean over what these may give (Snoek,
Larochelle and Adams, NeurIPS 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from matgraft.formulas.learners.inputs import Array
from matgraft.formulas.learners.transform import Transform
from matgraft.formulas.report.suggested import Goal

LEAST = 1e-3
"""Of the median standard deviation: what is measured nearer to a wanted value than that counts as so near. Else nothing
could improve on a row that has the value exactly, and every candidate would be worth nothing."""


@dataclass(frozen=True, eq=False)
class Worth:
    """What candidates are worth for a goal.

    Attributes
    ----------
    place
        (m,) predicted values on the learned scale, the sign turned for `minimise`, less the wanted value for
        `target-value`; of classes the probability of the wanted one.
    below, above
        (m,) standard deviations toward smaller and larger `place`.
    best
        How good the best is that was measured, as `good` counts; None of classes.
    near
        True where a place near 0 is wanted, and else a large one.
    """

    place: Array
    below: Array
    above: Array
    best: float | None = None
    near: bool = False

    @classmethod
    def of_values(cls, goal: Goal, sides: tuple[Array, Array, Array], transform: Transform, measured: Array) -> Worth:
        """Return the worth of values.

        Parameters
        ----------
        sides
            (m,) values, and how far they may lie below and above, as of `Calibration.one_sigma`.
        measured
            (n,) values of the training rows, on the learned scale.
        """
        value, below, above = sides
        if goal.kind == "minimise":
            return cls(-value, above, below, float((-measured).max()))
        if goal.value is None:
            return cls(value, below, above, float(measured.max()))
        wanted = float(transform.forward(np.array(goal.value)))
        least = LEAST * float(np.median(below + above)) / 2
        distance = max(float(np.abs(measured - wanted).min()), least)
        return cls(value - wanted, below, above, -distance, near=True)

    def good(self, place: Array) -> Array:
        """Return how good places are; larger is better."""
        return -np.abs(place) if self.near else place

    def __call__(self, left: Array, shift: Array | None = None, best: Array | None = None) -> Array:
        """Return (m,) expected improvements, where the part `left` (m,) of each standard deviation is left.

        Of classes the probability of the wanted one, times this part: what the batch tells already is worth less.

        Parameters
        ----------
        shift
            (m, s) what s outcomes of the measurements before add to each place; by default nothing was measured before.
        best
            (s,) how good the best is by then; by default that of what was measured.
        """
        if self.best is None:
            return self.place * left
        place = self.place[:, None] + (0.0 if shift is None else shift)
        best = np.array([self.best]) if best is None else best
        if not self.near:
            return np.asarray(expected_excess(place, (self.above * left)[:, None], best).mean(1))
        deviation = np.where(place > 0, self.below[:, None], self.above[:, None]) * left[:, None]
        low, middle, high = (expected_excess(place, deviation, at) for at in (best, np.zeros(1), -best))
        return np.asarray(np.maximum(low - 2 * middle + high, 0).mean(1))


def expected_excess(mean: Array, deviation: Array, threshold: Array) -> Array:
    """Return the mean of ``max(y - threshold, 0)`` of normal variables; the three are arrays that broadcast."""
    above = mean - threshold
    with np.errstate(divide="ignore", invalid="ignore"):
        z = above / deviation
        found = deviation * (z * norm.cdf(z) + norm.pdf(z))
    return np.where(deviation > 0, np.maximum(found, 0), np.maximum(above, 0))


def entropy(probabilities: Array) -> Array:
    """Return (m,) entropies in bits of probabilities (m, n_classes)."""
    return np.asarray(-(probabilities * np.log2(np.maximum(probabilities, 1e-12))).sum(1))

"""A batch of candidates, chosen one after the other: each pick is thought of as measured before the next one.

The values of the candidates are taken as jointly normal: standard deviations are those of the calibrated predictor,
correlations a Matérn 5/2 function of the distance in the encoder's features, its length the distance at which a
training formula stops resembling the training set (`learners.novelty`). So a measurement shrinks the variances of its
neighbours and shifts their means with its outcome. Not knowing the outcome, `OUTCOMES` are drawn for each pick, and the
next pick is the one of the largest mean improvement over them: a twin of a pick improves little on it, whatever comes
out, and the batch spreads over chemistry by itself.

Information of a candidate is the part of the summed variance of all candidates that its measurement takes away (Cohn,
Ghahramani and Jordan, JAIR 4, 129 (1996)): one without kin tells little, one in the middle of many unknowns a lot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import norm

from matgraft.formulas.learners.inputs import Array, Rows
from matgraft.formulas.suggest.worth import Worth

MOST_HEARD = 500
"""Candidates, drawn at random, whose variance stands for that of all where there are more."""
OUTCOMES = 32
"""Of the measurements of a batch, drawn together."""
KNOWN = 1e-9
"""Part of a variance below which nothing is left to learn."""
ROUNDING = 1e-9
"""Of a number of picks that is meant to be whole: 100 times 0.57 is 56.99999999999999."""


@dataclass(frozen=True)
class Pick:
    """A candidate of a batch.

    Attributes
    ----------
    index
        Among the candidates.
    chosen_for
        What it was the best in.
    improvement
        Expected, beyond the best of what was measured and of the picks before; of classes the probability of the wanted
        one, discounted by what the picks before tell of it; None without a goal.
    information
        Part of the candidates' variance that its measurement takes away, behind the picks before it.
    """

    index: int
    chosen_for: Literal["improvement", "information"]
    improvement: float | None
    information: float


class Joint:
    """Variances of candidates, and what measuring one does to the others.

    Parameters
    ----------
    points
        (m, width) features, in units of the length.
    deviation
        (m,) standard deviations.
    """

    def __init__(self, points: Array, deviation: Array, seed: int = 0) -> None:
        self.points, self.prior, self.rng = points, np.asarray(deviation, dtype=float), np.random.default_rng(seed)
        self.variance, self.shift = self.prior**2, np.zeros((len(points), OUTCOMES))
        """(m,) what is left, and (m, outcomes) what the measurements so far have done to the means."""
        self.heard = np.sort(self.rng.permutation(len(points))[:MOST_HEARD])
        self.told: list[Array] = []
        """Of each measurement, (m,) covariances with it over its standard deviation."""
        self.shared = self._covariance(self.heard)
        """(m, heard) covariances."""
        self.whole = max(float(self.variance.sum()), np.finfo(float).tiny)

    def _covariance(self, columns: Rows) -> Array:
        alike = matern(cdist(self.points, self.points[columns]))
        return np.asarray(alike * self.prior[:, None] * self.prior[columns])

    @property
    def left(self) -> Array:
        """(m,) part of each standard deviation that is left."""
        ratio = np.divide(np.sqrt(self.variance), self.prior, out=np.zeros_like(self.prior), where=self.prior > 0)
        return np.minimum(ratio, 1.0)

    def information(self) -> Array:
        """Return (m,) parts of the first variance of all candidates that measuring each takes away now."""
        open_ = self.variance > KNOWN * self.prior**2
        own = np.zeros(self.shared.shape, bool)
        own[self.heard, np.arange(len(self.heard))] = True
        others = np.where(own, 0.0, self.shared**2).sum(1)
        counted = len(self.heard) - own.sum(1)  # each candidate is heard by itself once, and by a sample of the others
        others *= np.divide(len(self.points) - 1, counted, out=np.zeros(len(others)), where=counted > 0)
        taken = np.divide(others, self.variance, out=np.zeros_like(others), where=open_)
        return np.asarray((taken + np.where(open_, self.variance, 0.0)) / self.whole)

    def measure(self, i: int) -> Array:
        """Draw outcomes (s,) of candidate i, beside its prediction; shrink the variances, and shift the means."""
        if self.variance[i] <= KNOWN * self.prior[i] ** 2:
            return self.shift[i].copy()
        covariance = self._covariance(np.array([i]))[:, 0]
        for one in self.told:
            covariance = covariance - one * one[i]
        told = covariance / np.sqrt(self.variance[i])
        drawn = self.rng.permutation(norm.ppf((np.arange(OUTCOMES) + 0.5) / OUTCOMES))  # stratified: no draw is lucky
        self.told.append(told)
        self.shift = self.shift + told[:, None] * drawn
        self.shared = self.shared - told[:, None] * told[self.heard]
        self.variance = np.maximum(self.variance - told**2, 0.0)
        return self.shift[i].copy()


def matern(distance: Array) -> Array:
    """Return the Matérn 5/2 correlation at distances in units of its length."""
    scaled = np.sqrt(5) * distance
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))


def choose_batch(joint: Joint, worth: Worth | None, n: int, share: float) -> list[Pick]:
    """Choose n candidates, of which a share, spread evenly over the batch, is chosen for what it teaches.

    Parameters
    ----------
    worth
        None where information alone is wanted.
    """
    free = np.ones(len(joint.points), bool)
    best = None if worth is None or worth.best is None else np.full(OUTCOMES, worth.best)
    picks: list[Pick] = []
    for k in range(min(n, len(free))):
        information = joint.information()
        gains = None if worth is None else worth(joint.left, joint.shift, best)
        teaches = gains is None or int((k + 1) * share + ROUNDING) > int(k * share + ROUNDING)
        if teaches or gains is None or worth is None:
            index = _largest(information, joint.prior, free)
        else:
            index = _largest(gains, worth.good(worth.place), free)
        found = None if gains is None else float(gains[index])
        picks.append(Pick(index, "information" if teaches else "improvement", found, float(information[index])))
        free[index] = False
        outcomes = joint.measure(index)
        if worth is not None and best is not None:
            best = np.maximum(best, worth.good(worth.place[index] + outcomes))
    return picks


def _largest(score: Array, then: Array, free: Array) -> int:
    """Return the free candidate of the largest score; among equals the one with the largest of another."""
    order = np.lexsort((then, score))[::-1]
    return int(order[free[order]][0])

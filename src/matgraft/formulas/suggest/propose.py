"""From a predictor and candidates to the batch that is worth measuring; knows no table and no run folder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from matgraft.formulas.learners.inputs import Array, Inputs
from matgraft.formulas.predictor.prediction import Mixtures, Prediction
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.report.suggested import Goal
from matgraft.formulas.suggest.batch import Joint, Pick, choose_batch
from matgraft.formulas.suggest.worth import Worth

SHARE = 0.2
"""Part of a batch that is chosen for what it teaches, where a goal is named."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A batch, and what the predictor says of all candidates.

    Attributes
    ----------
    picks
        The first is to be measured first.
    prediction
        Of the m candidates.
    worth
        What each is worth for the goal; with ``explore`` nothing reads it.
    deviation
        (m,) standard deviations on the learned scale; of classes the root of the summed variances of their indicators.
    """

    picks: list[Pick]
    prediction: Prediction
    worth: Worth
    deviation: Array


def propose(
    predictor: Predictor,
    candidates: Inputs,
    goal: Goal,
    n: int,
    *,
    share: float = SHARE,
    wanted: int = 0,
    seed: int = 0,
) -> Proposal:
    """Choose n of m candidates.

    Parameters
    ----------
    share
        Part of the batch that is chosen for what it teaches; 1 for ``explore``.
    wanted
        Index of the wanted class.
    seed
        Of what is drawn: outcomes of measurements, and candidates that stand for all.
    """
    said = predictor.mixtures(candidates)
    prediction = predictor.read(said, candidates)
    deviation, worth = _worth(predictor, said, goal, wanted)
    joint = Joint(points_of(predictor, candidates), deviation, seed)
    explore = goal.kind == "explore"
    picks = choose_batch(joint, None if explore else worth, n, 1.0 if explore else share)
    return Proposal(picks, prediction, worth, deviation)


def points_of(predictor: Predictor, inputs: Inputs) -> Array:
    """Return (m, width) features and covariates of formulas.

    Features are in units of `Neighbourhood`, covariates in standard deviations of the training rows.
    """
    known = predictor.inputs.blocks["covariates"]
    width = known.std(0)
    beside = inputs.blocks["covariates"] / np.where(width > 0, width, 1.0)
    return np.concatenate([inputs.blocks["embedding"] / predictor.neighbourhood.unit, beside], 1)


def _worth(predictor: Predictor, said: Mixtures, goal: Goal, wanted: int) -> tuple[Array, Worth]:
    """Return (m,) standard deviations, and what the candidates are worth."""
    calibration = predictor.calibration
    if predictor.labels.n_classes:
        likely = said.centre
        deviation = np.sqrt(np.maximum(1 - (likely**2).sum(1), 0))
        return deviation, Worth(likely[:, wanted], deviation, deviation)
    sides = calibration.one_sigma(said)
    return (sides[1] + sides[2]) / 2, Worth.of_values(goal, sides, calibration.transform, predictor.labels.y)

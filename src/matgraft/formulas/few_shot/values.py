"""Values from 5 to 50 labels: closed forms on the frozen encoder, judged and scaled by leaving each formula out.

    few = fit_few_values(formulas, values, load("composition"))
    few.predictor.predict(queries)        # value, interval, std, distance
    few.expectation                       # errors of left-out formulas, beside those of the others' mean

Two Gaussian processes (`matgraft.formulas.learners.closed_form`), on the predicted properties and on these beside the
embedding, count alike: of so few rows a choice between them would be luck. The interval is the central part of their
mixture that holds the stated part of the left-out truths; of up to 18 formulas a 90 % interval must hold them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.processes import cores, map_in_processes
from matgraft.core.statistics import Units, mean_difference, numbered, shared_weights
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.inputs import Array, Inputs, Labels, Rows
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.learners.novelty import Neighbourhood
from matgraft.formulas.learners.transform import choose_transform
from matgraft.formulas.predictor.calibration import IntervalRule, pooled
from matgraft.formulas.predictor.members import STRATEGIES, Tools
from matgraft.formulas.predictor.out_of_fold import ONE_SIGMA, HeldIntervals, OutOfFoldCalibration
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.settings import PredictorSettings

FEWEST, MOST = 5, 50
MEMBERS = STRATEGIES["feature"]


@dataclass(frozen=True)
class ValueExpectation:
    """Errors of left-out formulas.

    Attributes
    ----------
    mae, mean_mae
        Mean absolute error, and that of the mean of the others.
    gain, gain_interval
        The second minus the first, with its 95 % interval over formulas.
    coverage
        Part of the truths inside their interval.
    """

    mae: float
    mean_mae: float
    gain: float
    gain_interval: tuple[float, float]
    coverage: float


@dataclass(frozen=True, eq=False)
class FewShotValues:
    """A predictor of few values, what is to be expected of it, and what it predicts of left-out formulas."""

    predictor: Predictor
    expectation: ValueExpectation
    left_out: Prediction


def fit_few_values(
    formulas: Sequence[Formula],
    values: Array,
    backbone: CompositionBackbone,
    *,
    level: float = 0.9,
    seed: int = 0,
    progress: str = "",
) -> FewShotValues:
    """Make a predictor of few values.

    Parameters
    ----------
    values
        (n,) numbers, in the units that predictions shall have.
    level
        Part of the truths that an interval shall hold.
    progress
        Title of a progress bar on standard error; none if empty.

    Raises
    ------
    DataError
        If there are fewer than `FEWEST` or more than `MOST` rows, fewer than `FEWEST` formulas, or no two values.
    """
    values = np.asarray(values, dtype=float)
    names = np.array([formula.key for formula in formulas])
    _check(names, values)
    transform = choose_transform(values)
    inputs, labels = Inputs.of(formulas, backbone), Labels(transform.forward(values), np.ones(len(values)))
    tools = Tools(backbone, NetworkSettings())
    folds = [np.flatnonzero(names == name) for name in dict.fromkeys(names)]
    quantiles, distance = _left_out(inputs, labels, folds, tools, seed, progress)
    weights = np.full(len(MEMBERS), 1 / len(MEMBERS))
    spread = pooled(quantiles, list(weights))
    units = numbered(names.tolist())
    counted = shared_weights(labels.weights, units)
    rule, deviation = (IntervalRule.of(spread, labels.y, part, counted, units) for part in (level, ONE_SIGMA))
    calibration = OutOfFoldCalibration(weights, rule, np.ones(len(MEMBERS)), np.ones(0), transform, deviation=deviation)
    settings = PredictorSettings(strategy="feature", level=level, seed=seed)
    held = calibration.read(calibration.mix(quantiles), spread, distance)
    known = HeldIntervals(held.lower, held.upper, held.std)
    predictor = Predictor(tools, inputs, labels, MEMBERS, settings, calibration, {}, known)
    return FewShotValues(predictor, _expectation(values, held, folds, units), held)


def _left_out(
    inputs: Inputs, labels: Labels, folds: Sequence[Rows], tools: Tools, seed: int, progress: str
) -> tuple[list[Array], Array]:
    """Return each member's quantiles (n, 99) of rows that its fit did not see, and their distances to the others."""

    def leave_out(held: Rows) -> tuple[list[Array], Array]:
        rest = np.setdiff1d(np.arange(len(inputs)), held)
        known, asked = (inputs.take(rest), labels.take(rest)), inputs.take(held)
        answers = [member.fit(known, known, tools, seed)(asked) for member in MEMBERS]
        return answers, Neighbourhood.of(known[0].blocks).distance(asked.blocks)

    answers = map_in_processes(leave_out, folds, cores(), progress)
    back = np.argsort(np.concatenate(folds))
    quantiles = [np.concatenate([each[i] for each, _ in answers])[back] for i in range(len(MEMBERS))]
    return quantiles, np.concatenate([distance for _, distance in answers])[back]


def _expectation(values: Array, held: Prediction, folds: Sequence[Rows], units: Units) -> ValueExpectation:
    means = np.zeros(len(values))
    for rows in folds:
        means[rows] = np.delete(values, rows).mean()
    error, of_mean = np.abs(held.value - values), np.abs(means - values)
    gain = mean_difference(of_mean, error, np.ones(len(values)), units)
    assert gain.interval is not None  # of `FEWEST` formulas and more
    inside = (values >= held.lower) & (values <= held.upper)
    return ValueExpectation(float(error.mean()), float(of_mean.mean()), gain.value, gain.interval, float(inside.mean()))


def _check(names: NDArray[np.str_], values: Array) -> None:
    if len(names) != len(values):
        raise DataError(f"{len(names)} formulas, but {len(values)} values")
    if len(values) > MOST:
        raise DataError(
            f"{len(values)} values, where few-shot takes at most {MOST}",
            remedy="`matgraft tune` learns from so many",
        )
    if (distinct := len(set(names))) < FEWEST:
        raise DataError(f"values of {distinct} formulas", remedy=f"at least {FEWEST} are needed")
    if not np.isfinite(values).all():
        raise DataError(f"the value of row {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite")
    if len(set(values)) < 2:
        raise DataError(f"every value is {values[0]:g}: there is nothing to learn")

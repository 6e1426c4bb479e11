"""From formulas and values to a predictor: members, their weights, calibrated intervals, and a flag for far formulas.

    predictor = fit_predictor(Examples(formulas, y), load("composition"))
    prediction = predictor.predict(formulas)      # value, lower, upper, std, distance, unlike

Everything is decided inside the data given: members predict inner folds (a formula is never on both sides), the stack
weighs them on those predictions, and intervals and probabilities are calibrated there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from matgraft.core.errors import DataError
from matgraft.core.statistics import Units, numbered, shared_weights
from matgraft.formulas.domain.adaptation import choose_method
from matgraft.formulas.domain.member import TargetDomain
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.folds import inner_folds
from matgraft.formulas.learners.forest import MEDIAN
from matgraft.formulas.learners.inputs import Array, Examples, Inputs, Labels, Rows
from matgraft.formulas.learners.novelty import Neighbourhood
from matgraft.formulas.learners.transform import Transform, choose_transform
from matgraft.formulas.predictor.calibration import IntervalRule, apply_temperature, fit_temperature, pooled
from matgraft.formulas.predictor.facts import FittedMember, HeldLosses, PredictorFacts, WeighedMember
from matgraft.formulas.predictor.inner import InnerFolds, InnerPredictions, predict_inner_folds
from matgraft.formulas.predictor.members import TOWARD_TARGET, Tools, members_of
from matgraft.formulas.predictor.out_of_fold import ONE_SIGMA, HeldIntervals, OutOfFoldCalibration
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.settings import PredictorSettings, refuse_idle
from matgraft.formulas.predictor.stack import EncoderGate, is_familiar, member_weights
from matgraft.formulas.table.formula_table import joined_groups

SMALLEST = 10


def fit_predictor(
    examples: Examples,
    backbone: CompositionBackbone,
    settings: PredictorSettings | None = None,
    *,
    inputs: Inputs | None = None,
    folds: InnerFolds | None = None,
    target: Inputs | None = None,
    progress: str = "",
) -> Predictor:
    """Make a predictor.

    Parameters
    ----------
    inputs
        The examples as members see them, where they were encoded before.
    folds
        Inner folds that were drawn before; by default they are drawn here.
    target
        Formulas without labels that it shall serve: of strategy ``domain``, which needs them.
    progress
        Title of a progress bar on standard error; none if empty.

    Raises
    ------
    DataError
        If there are fewer than ten rows, fewer than two groups, a value that is not finite, or a class of one
        formula or group.
    OptionError
        If nothing reads an option with the strategy, or strategy and target do not go together.
    """
    settings = settings or PredictorSettings()
    refuse_idle(settings, target is not None)
    counted = examples.rows_that_count()
    n, examples = len(examples), examples.take(counted)
    labels, transform = labels_of(examples, settings)
    inputs = Inputs.of(examples.formulas, backbone, examples.covariates) if inputs is None else inputs.take(counted)
    part, members = (inputs, labels), members_of(settings.strategy, len(examples), labels.n_classes)
    tools = Tools(backbone, settings.network, prompt=settings.prompt)
    keys = [formula.key for formula in examples.formulas]
    apart = joined_groups(keys, keys if examples.groups is None else examples.groups)
    units = numbered(apart)
    if folds is None:
        classes = labels.y if labels.n_classes else None
        folds = InnerFolds(inner_folds(apart, settings.inner_folds, settings.seed, classes))
    else:
        folds = replace(folds, rows=[np.flatnonzero(np.isin(counted, fold)) for fold in folds.rows])

    def losses(predicted: Array, rows: Rows) -> Array:
        return labels.weights[rows] * _losses(predicted, labels.take(rows), transform)

    adapted = None
    if target is not None:
        domain = TargetDomain(target, settings.domain)
        tools = replace(tools, target=domain)
        adapted = choose_method(part, domain, losses, backbone, settings.network, settings.seed, progress, units)
        members = (TOWARD_TARGET[adapted.facts.method],)
    inner = predict_inner_folds(members, part, folds, losses, tools, settings.seed, progress, units)
    familiar = is_familiar(examples.formulas)
    counting = adapted.overlap.weights if adapted and not adapted.overlap.lacks else None
    calibration, gate = _calibrate(inner, labels, transform, settings, familiar, units, counting)
    predictor = Predictor(tools, inputs, labels, inner.members, settings, calibration, inner.networks)
    mixed = calibration.mix(inner.predictions)
    spread = mixed if labels.n_classes else pooled(inner.predictions, list(calibration.weights))
    held = calibration.read(mixed, spread, _held_distance(inputs, folds.rows))
    predictor.out_of_fold = held if len(counted) == n else held.among(counted, n)
    predictor.held_intervals = None if labels.n_classes else HeldIntervals(held.lower, held.upper, held.std)
    predictor.held_losses, predictor.adapted = _held_losses(inner, mixed, labels, calibration, units), adapted
    predictor.facts = _facts(inner, labels, calibration, gate, predictor.held_losses, familiar)
    return predictor


def labels_of(examples: Examples, settings: PredictorSettings) -> tuple[Labels, Transform]:
    """Return values as they are learned, and on which scale that is; errors as of `fit_predictor`."""
    examples.rows_that_count()
    y, weights = np.asarray(examples.y, dtype=float), np.ones(len(examples))
    if examples.weights is not None:
        weights = np.asarray(examples.weights, dtype=float)
    _check(y, examples.n_classes)
    try:
        transform = Transform() if examples.n_classes else choose_transform(y, settings.scale, weights)
    except ValueError as error:
        raise DataError(str(error), options=[{"scale": "none"}, {"scale": "asinh"}]) from None
    return Labels(transform.forward(y), weights / weights.mean(), examples.n_classes), transform


def _check(y: Array, n_classes: int) -> None:
    if len(y) < SMALLEST:
        raise DataError(f"{len(y)} rows with a value", remedy=f"at least {SMALLEST} are needed")
    if not np.isfinite(y).all():
        raise DataError(f"the value of row {int(np.flatnonzero(~np.isfinite(y))[0])} is not finite")
    if n_classes and not np.isin(y, np.arange(n_classes)).all():
        found = f"{y[~np.isin(y, np.arange(n_classes))][0]:g} is not an index of {n_classes} classes"
        raise DataError(found, allowed=[f"0 to {n_classes - 1}"])
    if n_classes == 1:
        raise DataError("every row is of one class: there is nothing to learn")
    if n_classes and (missing := set(range(n_classes)) - set(y.astype(int))):
        raise DataError(f"no row of class {min(missing)} counts", remedy="leave the class out, or add rows")


def _calibrate(
    inner: InnerPredictions,
    labels: Labels,
    transform: Transform,
    settings: PredictorSettings,
    familiar: bool,
    units: Units,
    counting: Array | None,
) -> tuple[OutOfFoldCalibration, EncoderGate | None]:
    members, out_of_fold = inner.members, inner.predictions

    def losses(mixed: Array) -> Array:
        return labels.weights * _losses(mixed, labels, transform)

    n = inner.n_weighed
    # Of a target domain importance weights say how much each row counts; else a unit of many rows counts as one.
    counted = shared_weights(labels.weights, units) if counting is None else labels.weights * counting
    weights, temperatures, priors = np.zeros(len(members)), np.ones(len(members)), np.ones(0)
    predictions = list(out_of_fold)
    if labels.n_classes:
        y = labels.y.astype(int)
        temperatures = np.array([fit_temperature(one, y, counted) for one in out_of_fold])
        predictions = [apply_temperature(one, t) for one, t in zip(out_of_fold, temperatures, strict=True)]
        # Members learn from rows, and so their probabilities hold the classes' shares of the rows, not of the units.
        priors = np.bincount(y, labels.weights, minlength=labels.n_classes) / labels.weights.sum()
    plain = [not member.pretrained for member in members[:n]]
    weights[:n], gate = member_weights(_judged(predictions[:n], labels), losses, plain, familiar, units, labels.weights)
    interval = deviation = None
    if not labels.n_classes:
        spread = pooled(predictions, list(weights))
        interval, deviation = (
            IntervalRule.of(spread, labels.y, level, counted, units) for level in (settings.level, ONE_SIGMA)
        )
    return OutOfFoldCalibration(weights, interval, temperatures, priors, transform, settings.ordinal, deviation), gate


def _losses(mixed: Array, labels: Labels, transform: Transform) -> Array:
    """Return (n,) what the members are judged by: log loss, or absolute error in the target's units.

    `mixed` are probabilities (n, n_classes), quantiles (n, 99), or their medians alone (n, 1).
    """
    if labels.n_classes:
        return -np.log(np.clip(mixed[np.arange(len(mixed)), labels.y.astype(int)], 1e-3, 1))
    median = mixed[:, MEDIAN if mixed.shape[1] > 1 else 0]
    return np.abs(transform.back(median) - transform.back(labels.y))


def _judged(predictions: Sequence[Array], labels: Labels) -> list[Array]:
    """Return what losses read of predictions: of quantiles the medians alone, which average as quantiles do."""
    return list(predictions) if labels.n_classes else [one[:, [MEDIAN]] for one in predictions]


def _held_distance(inputs: Inputs, folds: Sequence[Rows]) -> Array:
    """Return (n,) distances of each row to the rows of the other folds."""
    everyone, out = np.arange(len(inputs)), np.zeros(len(inputs))
    for held in folds:
        rest = inputs.take(np.setdiff1d(everyone, held))
        out[held] = Neighbourhood.of(rest.blocks).distance(inputs.take(held).blocks)
    return out


def _held_losses(
    inner: InnerPredictions, mixed: Array, labels: Labels, calibration: OutOfFoldCalibration, units: Units
) -> HeldLosses:
    def losses(one: Array) -> Array:
        return labels.weights * _losses(one, labels, calibration.transform)

    out_of_fold = _tempered(inner, labels, calibration)
    plain = [one for member, one in zip(inner.members, out_of_fold, strict=True) if not member.pretrained]
    baseline = np.zeros_like(mixed)
    judged = _judged(plain, labels)
    shares, _ = member_weights(judged, losses, [True] * len(plain), False, units, labels.weights)
    for weight, one in zip(shares, plain, strict=True):
        baseline += weight * one
    return HeldLosses(losses(mixed), losses(baseline), labels.weights, units)


def _facts(
    inner: InnerPredictions,
    labels: Labels,
    calibration: OutOfFoldCalibration,
    gate: EncoderGate | None,
    held: HeldLosses,
    familiar: bool,
) -> PredictorFacts:
    rows = zip(inner.members, _tempered(inner, labels, calibration), calibration.weights, strict=True)
    weighted = "weighted " if (labels.weights != labels.weights[0]).any() else ""
    return PredictorFacts(
        criterion=weighted + ("log loss" if labels.n_classes else "mean absolute error"),
        members=tuple(
            WeighedMember(
                name=member.name,
                score=float((labels.weights * _losses(one, labels, calibration.transform)).mean()),
                weight=float(weight),
                pretrained=member.pretrained,
            )
            for member, one, weight in rows
        ),
        dropped=tuple(
            FittedMember(name=member.name, score=score, pretrained=member.pretrained) for member, score in inner.dropped
        ),
        gate=gate,
        score=float(held.ours.mean()),
        baseline=held.compared(),
        scale=calibration.transform.scale,
        familiar=familiar,
    )


def _tempered(inner: InnerPredictions, labels: Labels, calibration: OutOfFoldCalibration) -> list[Array]:
    """Return each member's predictions as the mixture reads them."""
    if not labels.n_classes:
        return list(inner.predictions)
    pairs = zip(inner.predictions, calibration.temperatures, strict=True)
    return [apply_temperature(one, t) for one, t in pairs]

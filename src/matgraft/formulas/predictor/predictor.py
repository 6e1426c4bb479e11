"""From formulas and values to a predictor: members, their weights, calibrated intervals, and a flag for strangers.

    predictor = fit_predictor(formulas, y, backbone=load("composition"))
    prediction = predictor.predict(formulas)      # value, lower, upper, std, distance, unlike

Everything is decided inside the data given: members predict inner folds (a formula is never on both sides), the stack
weighs them on those predictions, and intervals and probabilities are calibrated there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from matgraft.core.errors import DataError, OptionError
from matgraft.core.processes import cores
from matgraft.core.reads import Read, changed_keys, refuse_unread
from matgraft.core.statistics import Units, mean_difference, numbered, sharing
from matgraft.formulas.domain.adaptation import ChosenMethod, adapt
from matgraft.formulas.domain.member import DomainSettings, TargetDomain
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.folds import inner_folds
from matgraft.formulas.learners.forest import MEDIAN
from matgraft.formulas.learners.inputs import Array, Inputs, Labels, Rows
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.learners.novelty import Neighbourhood
from matgraft.formulas.learners.transform import Scale, Transform, choose_transform
from matgraft.formulas.predictor.calibration import IntervalRule, apply_temperature, pooled, temperature
from matgraft.formulas.predictor.inner import InnerPredictions, predict_inner_folds
from matgraft.formulas.predictor.members import (
    FEWEST_FOR_NETWORK,
    TOWARD_TARGET,
    Member,
    Model,
    Tools,
    Tuned,
    members_of,
    strategies_with,
)
from matgraft.formulas.predictor.stack import Gate, is_familiar, member_weights
from matgraft.formulas.prompts.member import PromptSettings
from matgraft.formulas.table.reading import joined_groups

SMALLEST = 10
ONE_SIGMA = 0.6827
"""Part of a normal distribution within one standard deviation."""


class PredictorSettings(BaseModel):
    """How a predictor is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str = "auto"
    """auto, full, partial, feature, prompt, descriptors or domain (`members.STRATEGIES`)."""
    level: float = Field(0.9, gt=0.5, lt=0.98)
    """Part of the truths that an interval shall hold."""
    scale: Scale = "auto"
    """On which a target is learned (`matgraft.formulas.learners.transform`)."""
    inner_folds: int = Field(5, ge=2)
    network: NetworkSettings = NetworkSettings()
    prompt: PromptSettings = PromptSettings()
    domain: DomainSettings = DomainSettings()
    ordinal: bool = False
    """Classes have an order: the class taken is the middle one of the distribution, which is best for ranks."""
    seed: int = Field(0, ge=0, lt=2**31)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predictions of n formulas.

    Attributes
    ----------
    value
        (n,) median, or index of the class.
    lower, upper
        (n,) bounds of the interval; for classes the value itself.
    std
        (n,) half the interval that holds 68 % of the truths; for classes one minus the probability of the value.
    probabilities
        (n, n_classes), or None.
    distance
        (n,) to the training set; above 1 a formula is farther from it than 95 % of its own are from their neighbours.
    """

    value: Array
    lower: Array
    upper: Array
    std: Array
    distance: Array
    probabilities: Array | None = None

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """(n,) True for formulas unlike the training set."""
        return self.distance > 1

    def take(self, rows: Rows) -> Prediction:
        """Return some rows."""
        parts: dict[str, Any] = {name: None if whole is None else whole[rows] for name, whole in vars(self).items()}
        return Prediction(**parts)

    def among(self, rows: Rows, n: int) -> Prediction:
        """Return n rows, these at their places and NaN at the others."""

        def spread(whole: Array) -> Array:
            out = np.full((n, *whole.shape[1:]), np.nan)
            out[rows] = whole
            return out

        parts: dict[str, Any] = {name: None if whole is None else spread(whole) for name, whole in vars(self).items()}
        return Prediction(**parts)


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

    def compared(self, rows: Rows) -> dict[str, Any]:
        """Return the baseline's mean loss on some rows, and the difference to it with a 95 % interval over units.

        The interval is None with too few units to decide.
        """
        ours, baseline, weights = self.ours[rows], self.baseline[rows], self.weights[rows]
        found = mean_difference(ours, baseline, weights, self.units[rows])
        return {
            "name": "descriptors and trees",
            "score": float(baseline.sum() / weights.sum()),
            "difference": found.value,
            "interval": found.interval and list(found.interval),
            "n_units": found.n_units,
        }


@dataclass(frozen=True, eq=False)
class Calibration:
    """What out-of-fold predictions decided.

    Attributes
    ----------
    weights
        (n_members,) of the mixture.
    interval
        Rule of the intervals; None for classes.
    temperatures
        (n_members,) of each member's probabilities; 1 for values.
    priors
        (n_classes,) frequencies: the class taken is the one whose probability exceeds its frequency most, which is
        best for the balanced accuracy.
    transform
        Of the values.
    ordinal
        Take the middle class instead.
    deviation
        Rule of the standard deviation: the interval that holds `ONE_SIGMA` of the truths; None for classes.
    """

    weights: Array
    interval: IntervalRule | None
    temperatures: Array
    priors: Array
    transform: Transform
    ordinal: bool = False
    deviation: IntervalRule | None = None

    def mix(self, predictions: Sequence[Array | None]) -> Array:
        """Return the mixture of the members' predictions, those of weight 0 being None."""
        out: Array | float = 0.0
        for one, weight, t in zip(predictions, self.weights, self.temperatures, strict=True):
            if one is not None:
                out = out + weight * (one if self.interval else apply_temperature(one, t))
        return np.asarray(out)

    def read(self, mixed: Array, spread: Array, distance: Array) -> Prediction:
        """Turn mixtures into predictions: values from `mixed`, intervals from `spread` (`pooled`)."""
        if self.interval is None or self.deviation is None:
            probabilities = mixed
            if self.ordinal:
                value = (probabilities.cumsum(1) >= 0.5).argmax(1).astype(float)
            else:
                value = (probabilities / self.priors).argmax(1).astype(float)
            unsure = 1 - probabilities[np.arange(len(mixed)), value.astype(int)]
            return Prediction(value, value, value, unsure, distance, probabilities)
        least = 0.0 if self.transform.positive else -np.inf
        bounds = self.transform.back_bounds(*self.interval(spread))
        value, low, high = (np.maximum(one, least) for one in (self.transform.back(mixed[:, MEDIAN]), *bounds))
        # Values are averaged quantile by quantile, intervals are not (`pooled`): the value may lie beyond a narrow one.
        low, high = np.minimum(low, value), np.maximum(high, value)
        left, right = (self.transform.back(bound) for bound in self.deviation(spread))
        return Prediction(value, low, high, np.maximum(right - left, 0) / 2, distance)


@dataclass(eq=False)
class Predictor:
    """Members with their weights on their training data.

    Attributes
    ----------
    networks
        By member's name, the fits of the inner folds.
    facts
        What was chosen, and what each member gave out of fold.
    out_of_fold
        Predictions of the training rows by fits that did not see them; NaN for rows of weight 0.
    held_losses
        What these predictions are judged by, of the rows that count.
    adapted
        How the target was reached, where there is one; a predictor that was read from files has its facts alone.
    """

    tools: Tools
    inputs: Inputs
    labels: Labels
    members: tuple[Member, ...]
    settings: PredictorSettings
    calibration: Calibration
    networks: dict[str, list[Tuned]]
    facts: dict[str, Any]
    out_of_fold: Prediction | None = None
    held_losses: HeldLosses | None = None
    adapted: ChosenMethod | None = None
    _models: list[list[Model]] | None = None
    _neighbourhood: Neighbourhood | None = None
    _lock: Any = field(default_factory=RLock, repr=False)

    def predict(self, formulas: Sequence[Formula], covariates: Array | None = None) -> Prediction:
        """Predict formulas.

        Trees and closed forms are fitted on the stored training data at the first call, seconds for thousands of rows.
        """
        test = Inputs.of(formulas, self.tools.backbone, covariates)
        given, known = (part.blocks["covariates"].shape[1] for part in (test, self.inputs))
        if given != known:
            raise DataError(f"{given} covariates, but the training data had {known}")
        if not len(test):
            raise DataError("there is no formula to predict")
        answers = [[model(test) for model in models] for models in self.models]
        mixed = self.calibration.mix([np.mean(models, 0) if models else None for models in answers])
        spread = mixed
        if self.calibration.interval:
            shares = [(one, w / len(models)) for models, w in zip(answers, self.calibration.weights, strict=True)
                      for one in models]  # fmt: skip
            spread = pooled(*map(list, zip(*shares, strict=True)))
        return self.calibration.read(mixed, spread, self.neighbourhood.distance(test.blocks))

    @property
    def models(self) -> list[list[Model]]:
        """The fits of every member, none for those that do not count; built whole by one thread, once."""
        with self._lock:
            if self._models is None:
                pairs = zip(self.members, self.calibration.weights, strict=True)
                self._models = [self._fits_of(member) if weight else [] for member, weight in pairs]
            return self._models

    @property
    def neighbourhood(self) -> Neighbourhood:
        """Where the training set lies."""
        with self._lock:
            if self._neighbourhood is None:
                self._neighbourhood = Neighbourhood.of(self.inputs.blocks)
            return self._neighbourhood

    def _fits_of(self, member: Member) -> list[Model]:
        if not member.refits:
            return list(self.networks[member.name])
        everything, tools = (self.inputs, self.labels), replace(self.tools, threads=cores())
        return [member.fit(everything, everything, tools, self.settings.seed)]

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied or pickled: everything but the lock."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take over a state, with a lock of its own."""
        vars(self).update(state, _lock=RLock())


def fit_predictor(
    formulas: Sequence[Formula],
    y: Array,
    *,
    backbone: CompositionBackbone,
    n_classes: int = 0,
    covariates: Array | None = None,
    weights: Array | None = None,
    groups: Sequence[str] | None = None,
    settings: PredictorSettings | None = None,
    progress: str = "",
    folds: Sequence[Rows] | None = None,
    ready: Mapping[str, Sequence[Tuned]] | None = None,
    target: Sequence[Formula] | None = None,
    target_covariates: Array | None = None,
) -> Predictor:
    """Make a predictor.

    Parameters
    ----------
    y
        (n,) values, or class indices where `n_classes` is not 0.
    covariates
        (n, k) further numbers, such as a temperature.
    weights
        (n,) how much each row counts. A row of weight 0 is as good as absent: it sets no scale, interval or class.
    groups
        What must stay on one side of an inner fold beside the formula, which always does.
    progress
        Title of a progress bar on standard error; none if empty.
    folds, ready
        Rows of the inner folds, and fits on the rest of each by member's name: made before, with other targets
        (`matgraft.formulas.predictor.together`).
    target, target_covariates
        Formulas without labels that it shall serve, with their covariates: of strategy ``domain``, which needs them.

    Raises
    ------
    DataError
        If there are fewer than ten rows, fewer than two groups, a value that is not finite, or a class of one
        formula or group.
    OptionError
        If an option would do nothing with the strategy, or strategy and target do not go together.
    """
    settings = settings or PredictorSettings()
    refuse_idle(settings, target is not None)
    rows = _rows_that_count(formulas, y, weights)
    n, formulas = len(y), [formulas[i] for i in rows]
    y, covariates, weights = (_taken(whole, rows, n) for whole in (y, covariates, weights))
    if groups is not None and len(groups) != n:
        raise DataError(f"{n} values, but {len(groups)} groups")
    groups = groups if groups is None else [groups[i] for i in rows]
    folds = folds if folds is None else [np.flatnonzero(np.isin(rows, fold)) for fold in folds]
    labels, transform = labels_of(formulas, y, n_classes, weights, settings)
    inputs = Inputs.of(formulas, backbone, covariates)
    wanted = members_of(settings.strategy, len(formulas))
    tools = Tools(backbone, settings.network, prompt=settings.prompt)
    keys = [formula.key for formula in formulas]
    apart = joined_groups(keys, keys if groups is None else groups)
    units = numbered(apart)
    if folds is None:
        folds = inner_folds(apart, settings.inner_folds, settings.seed, labels.y if n_classes else None)

    def losses(predicted: Array, rows: Rows) -> Array:
        return labels.weights[rows] * _losses(predicted, labels.take(rows), transform)

    adapted = None
    if target is not None:
        domain = TargetDomain(Inputs.of(target, backbone, target_covariates), settings.domain)
        tools = replace(tools, target=domain)
        adapted = adapt((inputs, labels), domain, losses, backbone, settings.network, settings.seed, progress, units)
        wanted = (TOWARD_TARGET[adapted.method],)
    inner = predict_inner_folds(wanted, inputs, labels, folds, losses, tools, settings.seed, progress, ready or {})
    familiar = is_familiar(formulas)
    counting = adapted.overlap.weights if adapted and not adapted.overlap.lacks else None
    calibration, gate = _calibrate(inner, labels, transform, settings, familiar, units, counting)
    predictor = Predictor(tools, inputs, labels, inner.members, settings, calibration, inner.networks, {})
    predictor.adapted = adapted
    mixed = calibration.mix(inner.predictions)
    spread = mixed if n_classes else pooled(inner.predictions, list(calibration.weights))
    distance = _held_distance(inputs, folds)
    held = calibration.read(mixed, spread, distance)
    predictor.out_of_fold = held if len(rows) == n else held.among(rows, n)
    predictor.facts, predictor.held_losses = _facts(inner, mixed, labels, calibration, units)
    predictor.facts["familiar"] = familiar
    predictor.facts["gate"] = gate and gate.facts()
    predictor.facts |= {"domain": adapted.facts} if adapted else {}
    return predictor


def labels_of(
    formulas: Sequence[Formula], y: Array, n_classes: int, weights: Array | None, settings: PredictorSettings
) -> tuple[Labels, Transform]:
    """Return values as they are learned, and on which scale that is; errors as of `fit_predictor`."""
    y = np.asarray(y, dtype=float)
    counted = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    _rows_that_count(formulas, y, counted)
    _check(y, n_classes)
    try:
        transform = Transform() if n_classes else choose_transform(y, settings.scale, counted)
    except ValueError as error:
        raise DataError(str(error), options=[{"scale": "none"}, {"scale": "asinh"}]) from None
    return Labels(transform.forward(y), counted / counted.mean(), n_classes), transform


def refuse_idle(
    settings: PredictorSettings,
    with_target: bool = False,
    *,
    given: Sequence[str] = (),
    rows: Sequence[int] = (),
    n_classes: Sequence[int] = (),
    verb: str = "tune",
) -> None:
    """Raise an `OptionError` for settings that nothing reads, or a target that the strategy has no use for.

    Parameters
    ----------
    with_target
        Whether there is a table of a target domain.
    given
        Keys that the user named, beside those that are not at their default.
    rows, n_classes
        Of the tables, where they are known.
    verb
        For the error.
    """
    is_domain = settings.strategy == "domain"
    keys = [*given, *changed_keys(settings, PredictorSettings())]
    refuse_unread(verb, READS[verb], keys, _Asked(settings, tuple(rows), tuple(n_classes)), READS)
    if with_target and not is_domain:
        raise OptionError(f"a target would do nothing with strategy {settings.strategy!r}", allowed=["domain"])
    if is_domain and not with_target:
        raise OptionError(
            "strategy 'domain' needs a table of the target", remedy="`matgraft tune` takes one, by --adapt-to"
        )
    settings.domain.refuse_idle()


@dataclass(frozen=True)
class _Asked:
    """What is asked of a predictor; rows and classes of its tables where they are known."""

    settings: PredictorSettings
    rows: tuple[int, ...] = ()
    n_classes: tuple[int, ...] = ()

    @property
    def strategy(self) -> str:
        return self.settings.strategy

    @property
    def tunes(self) -> bool:
        """True if a table has the rows that the strategy fine-tunes from, or none is known."""
        if not self.rows:
            return True
        return any(member.kind == "network" for n in self.rows for member in members_of(self.strategy, n))

    def has(self, *, classes: bool) -> bool:
        """Say whether a target is of classes, or of values; True where none is known."""
        return not self.n_classes or any(bool(n) == classes for n in self.n_classes)


def _reads(without: str = "") -> tuple[Read, ...]:
    """Return what is read of `PredictorSettings`, where one strategy cannot be asked for."""

    def by(key: str, *strategies: str) -> Read:
        able = tuple(name for name in strategies if name != without)
        return Read(key, f"strategy {', '.join(able)}", lambda asked: asked.strategy in able, able)

    reads = (
        *(Read(f"{name}*") for name in PredictorSettings.model_fields),
        by("network.*", *strategies_with("network")),
        Read(
            "network.*",
            f"tables that strategy auto fine-tunes on, of {FEWEST_FOR_NETWORK} rows",
            lambda asked: asked.tunes,
        ),
        by("network.stages", "partial"),
        by("prompt.*", "prompt"),
        by("domain.*", "domain"),
        Read("level", "targets of values", lambda asked: asked.has(classes=False)),
        Read("scale", "targets of values", lambda asked: asked.has(classes=False)),
        Read("ordinal", "targets of classes", lambda asked: asked.has(classes=True)),
    )
    return tuple(read for read in reads if not (without and read.key.startswith(without)))


READS = {"tune": _reads(), "crossval": _reads(without="domain")}
"""What each verb reads of `PredictorSettings`."""


def _rows_that_count(formulas: Sequence[Formula], y: Array, weights: Array | None) -> Rows:
    """Return the rows of a weight above 0; errors for weights that are none, and for other numbers of rows."""
    if len(formulas) != len(y):
        raise DataError(f"{len(formulas)} formulas, but {len(y)} values")
    if weights is None:
        return np.arange(len(y))
    counted = np.asarray(weights, dtype=float)
    if counted.shape != (len(y),):
        raise DataError(f"{len(y)} values, but weights of shape {counted.shape}")
    if not (np.isfinite(counted).all() and (counted >= 0).all() and counted.any()):
        raise DataError("a weight is negative or not finite, or all are 0")
    return np.flatnonzero(counted)


def _taken(whole: Array | None, rows: Rows, n: int) -> Any:
    """Return these rows of an array of n; None of None."""
    if whole is None:
        return None
    if len(whole) != n:
        raise DataError(f"{n} values, but {len(whole)} rows of covariates")
    return np.asarray(whole, dtype=float)[rows]


def _check(y: Array, n_classes: int) -> None:
    if len(y) < SMALLEST:
        raise DataError(f"{len(y)} rows with a value", remedy=f"at least {SMALLEST} are needed")
    if not np.isfinite(y).all():
        raise DataError(f"the value of row {int(np.flatnonzero(~np.isfinite(y))[0])} is not finite")
    if n_classes and not np.isin(y, np.arange(n_classes)).all():
        found = f"{y[~np.isin(y, np.arange(n_classes))][0]:g} is no index of {n_classes} classes"
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
) -> tuple[Calibration, Gate | None]:
    members, out_of_fold = inner.members, inner.predictions

    def losses(mixed: Array) -> Array:
        return labels.weights * _losses(mixed, labels, transform)

    n = inner.n_weighed
    # Of a target domain importance weights say how much each row counts; else a unit of many rows counts as one.
    counted = sharing(labels.weights, units) if counting is None else labels.weights * counting
    weights, temperatures, priors = np.zeros(len(members)), np.ones(len(members)), np.ones(0)
    predictions = list(out_of_fold)
    if labels.n_classes:
        y = labels.y.astype(int)
        temperatures = np.array([temperature(one, y, counted) for one in out_of_fold])
        predictions = [apply_temperature(one, t) for one, t in zip(out_of_fold, temperatures, strict=True)]
        # Members learn from rows, and so their probabilities hold the classes' shares of the rows, not of the units.
        priors = np.bincount(y, labels.weights, minlength=labels.n_classes) / labels.weights.sum()
    plain = [not member.pretrained for member in members[:n]]
    weights[:n], gate = member_weights(predictions[:n], losses, plain, familiar, units, labels.weights)
    interval = deviation = None
    if not labels.n_classes:
        spread = pooled(predictions, list(weights))
        interval, deviation = (
            IntervalRule.of(spread, labels.y, level, counted, units) for level in (settings.level, ONE_SIGMA)
        )
    return Calibration(weights, interval, temperatures, priors, transform, settings.ordinal, deviation), gate


def _losses(mixed: Array, labels: Labels, transform: Transform) -> Array:
    """Return (n,) what the members are judged by: log loss, or absolute error in the target's units."""
    if labels.n_classes:
        return -np.log(np.clip(mixed[np.arange(len(mixed)), labels.y.astype(int)], 1e-3, 1))
    return np.abs(transform.back(mixed[:, MEDIAN]) - transform.back(labels.y))


def _held_distance(inputs: Inputs, folds: Sequence[Rows]) -> Array:
    """Return (n,) distances of each row to the rows of the other folds."""
    everyone, out = np.arange(len(inputs)), np.zeros(len(inputs))
    for held in folds:
        rest = inputs.take(np.setdiff1d(everyone, held))
        out[held] = Neighbourhood.of(rest.blocks).distance(inputs.take(held).blocks)
    return out


def _facts(
    inner: InnerPredictions, mixed: Array, labels: Labels, calibration: Calibration, units: Units
) -> tuple[dict[str, Any], HeldLosses]:
    members, out_of_fold = inner.members, list(inner.predictions)

    def losses(one: Array) -> Array:
        return labels.weights * _losses(one, labels, calibration.transform)

    tempered = zip(out_of_fold, calibration.temperatures, strict=True)
    if labels.n_classes:
        out_of_fold = [apply_temperature(one, t) for one, t in tempered]
    rows = zip(members, out_of_fold, calibration.weights, strict=True)
    plain = [one for member, one in zip(members, out_of_fold, strict=True) if not member.pretrained]
    baseline = np.zeros_like(mixed)
    shares, _ = member_weights(plain, losses, [True] * len(plain), False, units, labels.weights)
    for weight, one in zip(shares, plain, strict=True):
        baseline += weight * one
    weighted = "weighted " if (labels.weights != labels.weights[0]).any() else ""
    held = HeldLosses(losses(mixed), losses(baseline), labels.weights, units)
    facts = {
        "criterion": weighted + ("log loss" if labels.n_classes else "mean absolute error"),
        "members": [
            {"name": member.name, "score": float(losses(one).mean()), "weight": float(weight),
             "pretrained": member.pretrained}
            for member, one, weight in rows
        ],
        "dropped": [
            {"name": member.name, "score": score, "pretrained": member.pretrained} for member, score in inner.dropped
        ],
        "score": float(held.ours.mean()),
        "baseline": held.compared(np.arange(len(mixed))),
        "n": len(mixed),
        "scale": calibration.transform.scale,
    }  # fmt: skip
    return facts, held

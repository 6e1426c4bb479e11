"""From formulas and values to a predictor: members, their weights, calibrated intervals, and a flag for far formulas.

    predictor = fit_predictor(Examples(formulas, y), load("composition"))
    prediction = predictor.predict(formulas)      # value, lower, upper, std, distance, unlike

Everything is decided inside the data given: members predict inner folds (a formula is never on both sides), the stack
weighs them on those predictions, and intervals and probabilities are calibrated there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from matgraft.core.errors import DataError, OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.processes import cores
from matgraft.core.reads import Read, changed_keys, refuse_unread, unread
from matgraft.core.statistics import Units, numbered, sharing
from matgraft.formulas.domain.adaptation import ChosenMethod, choose_method
from matgraft.formulas.domain.member import DomainSettings, TargetDomain
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.folds import inner_folds
from matgraft.formulas.learners.forest import MEDIAN
from matgraft.formulas.learners.inputs import Array, Examples, Inputs, Labels, Rows
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.learners.novelty import Neighbourhood
from matgraft.formulas.learners.transform import Scale, Transform, choose_transform
from matgraft.formulas.predictor.calibration import IntervalRule, apply_temperature, fit_temperature, pooled
from matgraft.formulas.predictor.facts import FittedMember, HeldLosses, PredictorFacts, WeighedMember
from matgraft.formulas.predictor.inner import InnerFolds, InnerPredictions, predict_inner_folds
from matgraft.formulas.predictor.members import (
    DESCRIPTORS,
    FEWEST_FOR_NETWORK,
    TOWARD_TARGET,
    Member,
    Model,
    Shared,
    Tools,
    Tuned,
    members_of,
    strategies_with,
)
from matgraft.formulas.predictor.stack import EncoderGate, is_familiar, member_weights
from matgraft.formulas.prompts.member import PromptSettings
from matgraft.formulas.table.formula_table import joined_groups

SMALLEST = 10
ONE_SIGMA = 0.6827
"""Part of a normal distribution within one standard deviation."""


class PredictorSettings(Frozen):
    """How a predictor is made."""

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
    in_training
        (n,) True for formulas that the training set has; None of out-of-fold predictions.
    """

    value: Array
    lower: Array
    upper: Array
    std: Array
    distance: Array
    probabilities: Array | None = None
    in_training: NDArray[np.bool_] | None = None

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """(n,) True for formulas unlike the training set."""
        return self.distance > 1

    def take(self, rows: Rows) -> Prediction:
        """Return some rows."""
        return self._each(lambda whole: np.asarray(whole[rows]))

    def among(self, rows: Rows, n: int) -> Prediction:
        """Return n rows, these at their places and NaN at the others."""

        def spread(whole: NDArray[Any]) -> NDArray[Any]:
            out = np.full((n, *whole.shape[1:]), np.nan)
            out[rows] = whole
            return out

        return self._each(spread)

    @classmethod
    def joined(cls, parts: Sequence[Prediction]) -> Prediction:
        """Return predictions of one target, one after the other."""
        likely = [part.probabilities for part in parts if part.probabilities is not None]
        known = [part.in_training for part in parts if part.in_training is not None]
        return cls(
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.lower for part in parts]),
            np.concatenate([part.upper for part in parts]),
            np.concatenate([part.std for part in parts]),
            np.concatenate([part.distance for part in parts]),
            np.concatenate(likely) if likely else None,
            np.concatenate(known) if known else None,
        )

    def _each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Prediction:
        value, lower, upper, std = map(change, (self.value, self.lower, self.upper, self.std))
        likely = None if self.probabilities is None else change(self.probabilities)
        known = None if self.in_training is None else change(self.in_training)
        return Prediction(value, lower, upper, std, change(self.distance), likely, known)


@dataclass(frozen=True, eq=False)
class Mixtures:
    """What the members of a predictor say together of n formulas.

    Attributes
    ----------
    centre
        (n, 99) quantiles whose median is the value, or (n, n_classes) probabilities.
    spread
        (n, 99) quantiles that intervals are read from (`pooled`); of classes the same as `centre`.
    """

    centre: Array
    spread: Array


@dataclass(frozen=True, eq=False)
class OutOfFoldCalibration:
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

    def one_sigma(self, said: Mixtures) -> tuple[Array, Array, Array]:
        """Return (n,) values, and how far the interval that holds `ONE_SIGMA` of the truths goes below and above.

        On the scale that was learned; of values alone.
        """
        assert self.deviation is not None
        value, (low, high) = said.centre[:, MEDIAN], self.deviation(said.spread)
        return value, np.maximum(value - low, 0), np.maximum(high - value, 0)

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


@dataclass(frozen=True, eq=False)
class HeldIntervals:
    """Intervals of the training rows by fits that did not see them.

    Fits that saw a row know its value: trees return it, with an interval of width 0. A second measurement would differ
    from it, and what is stated of intervals was found out of fold. So a formula of the training set has the interval
    that it had there, widened to its value.

    Attributes
    ----------
    lower, upper, std
        (n,) as of `Prediction`.
    """

    lower: Array
    upper: Array
    std: Array

    def widen(self, prediction: Prediction, asked: Inputs, training: Inputs) -> Prediction:
        """Return a prediction of values whose intervals are no narrower, where a training row is the same input."""
        rows: dict[tuple[Formula, bytes], list[int]] = {}
        for k, known in enumerate(identities(training.formulas, training.blocks["covariates"])):
            rows.setdefault(known, []).append(k)
        lower, upper, std = (whole.copy() for whole in (prediction.lower, prediction.upper, prediction.std))
        for i, one in enumerate(identities(asked.formulas, asked.blocks["covariates"])):
            if same := rows.get(one):
                lower[i] = min(lower[i], self.lower[same].min())
                upper[i] = max(upper[i], self.upper[same].max())
                std[i] = max(std[i], self.std[same].max())
        return replace(prediction, lower=lower, upper=upper, std=std)


def identities(formulas: Sequence[Formula], covariates: Array) -> list[tuple[Formula, bytes]]:
    """Return (n,) what two rows share of which members see the same; `covariates` are (n, k)."""
    beside = (covariates + 0.0).astype(float)  # -0.0 is 0.0
    return [(formula, row.tobytes()) for formula, row in zip(formulas, beside, strict=True)]


@dataclass(eq=False)
class Predictor:
    """Members with their weights on their training data.

    Attributes
    ----------
    networks
        By member's name, the fits of the inner folds.
    held_intervals
        Of the training rows, out of fold; None for classes, and of a folder of an earlier version.
    out_of_fold
        Predictions of the training rows by fits that did not see them; NaN for rows of weight 0.
    facts
        What was chosen on these predictions, and what each member gave there.
    held_losses
        What these predictions are judged by, of the rows that count.
    adapted
        How the target was reached, where there is one.
    stored
        By member's name, fits that were kept as arrays; the other members are fitted again.

    The four before the last are of a fit; a predictor that was read from files has none of them.
    """

    tools: Tools
    inputs: Inputs
    labels: Labels
    members: tuple[Member, ...]
    settings: PredictorSettings
    calibration: OutOfFoldCalibration
    networks: dict[str, list[Tuned]]
    held_intervals: HeldIntervals | None = None
    out_of_fold: Prediction | None = None
    facts: PredictorFacts | None = None
    held_losses: HeldLosses | None = None
    adapted: ChosenMethod | None = None
    stored: Mapping[str, Model] = field(default_factory=dict)
    _models: list[list[Model]] | None = None
    _neighbourhood: Neighbourhood | None = None
    _lock: Any = field(default_factory=RLock, repr=False)

    def predict(self, formulas: Sequence[Formula], covariates: Array | None = None) -> Prediction:
        """Predict formulas.

        Trees and closed forms are fitted on the stored training data at the first call, seconds for thousands of rows.
        """
        return self.predict_inputs(Inputs.of(formulas, self.tools.backbone, covariates))

    def predict_inputs(self, test: Inputs) -> Prediction:
        """Predict formulas whose features are there already; see `predict`."""
        return self.read(self.mixtures(test), test)

    def mixtures(self, test: Inputs) -> Mixtures:
        """Return what the members say together of formulas, on the scale that was learned."""
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
        return Mixtures(mixed, spread)

    def read(self, said: Mixtures, test: Inputs) -> Prediction:
        """Turn what the members say of formulas into predictions in the target's own units."""
        prediction = self.calibration.read(said.centre, said.spread, self.neighbourhood.distance(test.blocks))
        known = set(self.inputs.formulas)
        prediction = replace(prediction, in_training=np.array([formula in known for formula in test.formulas]))
        return self.held_intervals.widen(prediction, test, self.inputs) if self.held_intervals else prediction

    def baseline(self, test: Inputs) -> Array:
        """Return what trees on descriptors, fitted on the same rows, say: (n,) values, or (n, n_classes)."""
        everything, tools = (self.inputs, self.labels), replace(self.tools, threads=cores())
        said = DESCRIPTORS.fit(everything, everything, tools, self.settings.seed)(test)
        return np.asarray(said if self.labels.n_classes else self.calibration.transform.back(said[:, MEDIAN]))

    @property
    def tuned(self) -> list[Tuned]:
        """The networks of the member that counts most, one an inner fold; none where no encoder was tuned."""
        pairs = zip(self.members, self.calibration.weights, strict=True)
        able = [(float(weight), member.name) for member, weight in pairs if self.networks.get(member.name)]
        return self.networks[max(able)[1]] if able else []

    @property
    def models(self) -> list[list[Model]]:
        """The fits of every member, none for those that do not count; built whole by one thread, once."""
        with self._lock:
            if self._models is None:
                pairs, shared = zip(self.members, self.calibration.weights, strict=True), Shared()
                self._models = [self._fits_of(member, shared) if weight else [] for member, weight in pairs]
            return self._models

    @property
    def neighbourhood(self) -> Neighbourhood:
        """Where the training set lies."""
        with self._lock:
            if self._neighbourhood is None:
                self._neighbourhood = Neighbourhood.of(self.inputs.blocks)
            return self._neighbourhood

    def refitted(self) -> Predictor:
        """Return a predictor that fits its members again, as those of scikit-learn."""
        return replace(self, stored={}, _models=None)

    def _fits_of(self, member: Member, shared: Shared) -> list[Model]:
        if not member.refits:
            return list(self.networks[member.name])
        if member.name in self.stored:
            return [self.stored[member.name]]
        everything, tools = (self.inputs, self.labels), replace(self.tools, threads=cores())
        return [member.fit(everything, everything, tools, self.settings.seed, shared)]

    def __getstate__(self) -> dict[str, object]:
        """Return what is copied or pickled: everything but the lock."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        """Take over a state, with a lock of its own."""
        vars(self).update(state, _lock=RLock())


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
        raise OptionError(f"a target is not read with strategy {settings.strategy!r}", allowed=["domain"])
    if is_domain and not with_target:
        raise OptionError(
            "strategy 'domain' needs a table of the target", remedy="`matgraft tune` takes one, by --adapt-to"
        )
    settings.domain.refuse_idle()


def what_is_read(
    settings: PredictorSettings, given: Sequence[str], rows: Sequence[int], n_classes: int
) -> tuple[PredictorSettings, set[str]]:
    """Return settings without those that nothing reads in their strategy, and which of the given keys these are.

    Parameters
    ----------
    given
        Keys that the user named, beside those that are not at their default.
    rows, n_classes
        Of the tables.
    """
    asked, default = _Asked(settings, tuple(rows), (n_classes,)), PredictorSettings()
    changed = list(changed_keys(settings, default))
    idle = set(unread(READS["crossval"], [*given, *changed], asked))
    content = settings.model_dump()
    for key in idle.intersection(changed):
        section, _, name = key.rpartition(".")
        place, usual = (content[section], getattr(default, section)) if section else (content, default)
        place[name] = getattr(usual, name)
    return PredictorSettings.model_validate(content), idle.intersection(given)


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
        Read("network.loss", "targets of values", lambda asked: asked.has(classes=False)),
        by("prompt.*", "prompt"),
        by("domain.*", "domain"),
        Read("level", "targets of values", lambda asked: asked.has(classes=False)),
        Read("scale", "targets of values", lambda asked: asked.has(classes=False)),
        Read("ordinal", "targets of classes", lambda asked: asked.has(classes=True)),
    )
    return tuple(read for read in reads if not (without and read.key.startswith(without)))


READS = {"tune": _reads(), "crossval": _reads(without="domain")}
"""What each verb reads of `PredictorSettings`."""


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
) -> tuple[OutOfFoldCalibration, EncoderGate | None]:
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

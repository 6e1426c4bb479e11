"""Which way to carry labels over to a domain that has none, judged without a label of the target.

Every method is fitted on parts of the source, by chemical system, and judged twice on the rows left out:

* **reverse validation** (Zhong et al., ECML 2010; Ganin et al. 2016, section 5.1.2): the fit labels the target, a
  closed form on the frozen encoder learns these labels, and must predict the source. A method that spoils the
  target's labels cannot be led back.
* **importance-weighted validation** (Sugiyama, Krauledat and Müller, JMLR 8, 2007): the source's own error, each row
  counting by how often it would stand in the target.

Differences to source-only are paired row by row. Their intervals are over sets of rows that share no chemical system,
and no group where the table has groups (`matgraft.core.statistics`). A method is better if one of the two says so
beyond doubt and neither speaks against it, and does harm if one of the two says so beyond doubt. With fewer than five
sets nothing is beyond doubt. Neither sees a shift of the labels given the formula: that takes labels of the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from matgraft.core.errors import DataError
from matgraft.core.frozen import Frozen
from matgraft.core.processes import cores, map_in_processes
from matgraft.core.statistics import Units, joined_units, mean_difference
from matgraft.formulas.domain.alignment import MaximumMeanDiscrepancy
from matgraft.formulas.domain.member import METHODS, SOURCE, WEIGHTS, TargetDomain, fit_toward
from matgraft.formulas.domain.overlap import DomainOverlap, OverlapFacts
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.folds import inner_folds
from matgraft.formulas.learners.forest import LEVELS, MEDIAN
from matgraft.formulas.learners.inputs import Array, Inputs, Labels, OnBlocks, Part, RowLosses, Rows
from matgraft.formulas.learners.network import NetworkSettings

SMALLEST = 10
"""Different formulas that a target must have."""
PROXIES = ("reverse", "weighted")
FROZEN = ("embedding", "properties", "covariates")
"""Features that the closed form of the reverse validation reads."""


class Proxy(Frozen):
    """What one proxy says of a method.

    Attributes
    ----------
    score
        Weighted mean loss.
    difference
        To that of source-only.
    error
        Standard error of the difference; None with too few units to decide.
    interval
        Its 95 % interval; None with too few units to decide.
    """

    score: float
    difference: float
    error: float | None
    interval: tuple[float, float] | None


class ComparedMethod(Frozen):
    """What the proxies say of a method.

    Attributes
    ----------
    reverse, weighted
        Reverse and importance-weighted validation.
    distance
        Squared maximum mean discrepancy of the tuned features in both domains.
    outcome
        What follows; empty of source-only, which the others are held against.
    """

    method: str
    reverse: Proxy
    weighted: Proxy
    distance: float
    outcome: Literal["", "better", "harm", "in doubt"]


class MethodChoice(Frozen):
    """Which method was chosen, and on what.

    Attributes
    ----------
    method
        One of `METHODS`: how all of the source shall be carried over.
    asked
        What the settings said.
    distance
        Squared maximum mean discrepancy of the frozen features in both domains.
    compared
        A row a method, source-only first; none where nothing was compared.
    skipped
        Method -> why it was left out.
    n
        Rows of the source on which methods were compared.
    """

    method: str
    asked: str
    overlap: OverlapFacts
    distance: float
    compared: tuple[ComparedMethod, ...]
    skipped: dict[str, str]
    n: int

    @property
    def rivals(self) -> list[ComparedMethod]:
        """The methods that were held against source-only."""
        return [row for row in self.compared if row.outcome]


@dataclass(frozen=True, eq=False)
class ChosenMethod:
    """What was chosen, why, and what the methods said of the target.

    Attributes
    ----------
    facts
        The choice as data.
    rows
        Rows of the target that the methods labelled.
    labelled
        Method -> (n_rows,) what it said of them, as the members learn it.
    """

    target: TargetDomain
    overlap: DomainOverlap
    facts: MethodChoice
    rows: Rows
    labelled: dict[str, Array]


def choose_method(
    source: Part,
    target: TargetDomain,
    losses: RowLosses,
    backbone: CompositionBackbone,
    network: NetworkSettings,
    seed: int,
    progress: str = "",
    units: Units | None = None,
) -> ChosenMethod:
    """Choose a method.

    Parameters
    ----------
    losses
        Of the source, in units of the target's values, times the rows' weights.
    units
        (n,) unit of each row of the source, such as its paper; rows of one chemical system are always one unit.

    Raises
    ------
    DataError
        If the target has fewer than ten formulas, or weights are asked for that leave no rows to learn from.
    """
    if (distinct := len({formula.key for formula in target.inputs.formulas})) < SMALLEST:
        raise DataError(f"the target has {distinct} different formulas", remedy=f"at least {SMALLEST} are needed")
    overlap, asked = DomainOverlap.of(source[0], target, seed), target.settings.method
    scarce = f"their weights leave {overlap.effective:.0f} of {len(source[0])} rows"
    skipped = {WEIGHTS: scarce} if overlap.is_scarce else {}
    if asked in skipped:
        raise DataError(f"the domains do not overlap: {scarce}", options=[{"domain.method": "auto"}])
    methods = [name for name in (METHODS if asked == "auto" else dict.fromkeys((SOURCE, asked))) if name not in skipped]
    systems = [formula.chemical_system for formula in source[0].formulas]
    joined = joined_units(systems, systems if units is None else units.tolist())
    trial = _Trial.of(source, target, overlap, losses, backbone, network, seed, joined)
    compared = trial.compare(methods, progress) if len(methods) > 1 else []
    method = best_method(compared, overlap) if asked == "auto" else str(asked)
    facts = MethodChoice(
        method=method,
        asked=asked,
        overlap=overlap.facts(len(target.inputs)),
        distance=_distance(trial.source[0].blocks["embedding"], trial.target.blocks["embedding"]),
        compared=tuple(compared),
        skipped=skipped,
        n=len(trial.rows),
    )
    return ChosenMethod(target, overlap, facts, trial.target_rows, trial.labelled)


def best_method(compared: Sequence[ComparedMethod], overlap: DomainOverlap) -> str:
    """Return the method of least weighted error among those that are better; source-only where there is none.

    Where the domains do not overlap no proxy can be believed, and source-only is kept.
    """
    better = [row for row in compared if row.outcome == "better"]
    if overlap.lacks or not better:
        return SOURCE
    return min(better, key=lambda row: row.weighted.score).method


def outcome_of(*proxies: Proxy) -> Literal["better", "harm", "in doubt"]:
    """Decide by the differences to source-only and their intervals."""
    spans = [one.interval for one in proxies if one.interval is not None]
    if any(low > 0 for low, _ in spans):
        return "harm"
    better = any(high < 0 for _, high in spans) and all(one.difference <= 0 for one in proxies)
    return "better" if better else "in doubt"


def paired(ours: Array, theirs: Array, importance: Array, counted: Array, units: Units) -> Proxy:
    """Return the weighted mean of our losses, its difference to theirs, and that difference's error over units.

    Parameters
    ----------
    ours, theirs
        (n,) losses, times `counted`.
    importance
        (n,) how often each row would stand in the target.
    counted
        (n,) weights of the rows; rows of weight 0 are no observations.
    """
    weights = importance * counted
    found = mean_difference(importance * ours, importance * theirs, weights, units)
    return Proxy(
        score=float((importance * ours).sum() / weights.sum()),
        difference=found.value,
        error=found.error if found.interval else None,
        interval=found.interval,
    )


def reverse_predictions(target: Inputs, labelled: Labels, held: Inputs, seed: int) -> Array:
    """Return what the target's labels, believed, say of the source: (n, 99) quantiles or (n, n_classes)."""
    from matgraft.formulas.learners.closed_form import ClosedForm

    first = labelled.y[0]
    if (labelled.y == first).all():
        return _constant(first, len(held), labelled.n_classes)
    return OnBlocks(ClosedForm(target.matrix(FROZEN), labelled, seed), FROZEN)(held)


@dataclass(eq=False)
class _Trial:
    """Rows and folds on which methods are compared; equal for all of them."""

    source: Part
    domain: TargetDomain
    target: Inputs
    backbone: CompositionBackbone
    network: NetworkSettings
    losses: RowLosses
    seed: int
    rows: Rows
    target_rows: Rows
    folds: list[Rows]
    units: Units
    ratio: Array
    labelled: dict[str, Array]

    @classmethod
    def of(
        cls,
        source: Part,
        target: TargetDomain,
        overlap: DomainOverlap,
        losses: RowLosses,
        backbone: CompositionBackbone,
        network: NetworkSettings,
        seed: int,
        units: Units,
    ) -> _Trial:
        rng, most = np.random.default_rng(seed), target.settings.rows
        rows, target_rows = (np.sort(rng.permutation(len(part))[:most]) for part in (source[0], target.inputs))
        systems = [source[0].formulas[i].chemical_system for i in rows]
        parts = source[0].take(rows), source[1].take(rows)
        folds = inner_folds(systems, target.settings.folds, seed)
        return cls(
            parts, target, target.inputs.take(target_rows), backbone, network, losses, seed, rows, target_rows, folds,
            units[rows], overlap.weights[rows], {},
        )  # fmt: skip

    def compare(self, methods: Sequence[str], progress: str) -> list[ComparedMethod]:
        """Return a row a method, source-only first."""
        jobs = [(method, k) for method in methods for k in range(len(self.folds))]
        title = progress and f"{progress}: comparing {len(methods)} methods"
        answers = dict(zip(jobs, map_in_processes(self._work, jobs, cores(), title), strict=True))
        losses: dict[str, dict[str, Array]] = {}
        for method in methods:
            each = [answers[method, k] for k in range(len(self.folds))]
            losses[method] = {name: np.zeros(len(self.rows)) for name in PROXIES}
            for fold, answer in zip(self.folds, each, strict=True):
                losses[method]["weighted"][fold] = self.losses(answer.forward, self.rows[fold])
                losses[method]["reverse"][fold] = self.losses(answer.reverse, self.rows[fold])
            self.labelled[method] = _joined([answer.labelled for answer in each], self.source[1].n_classes)
        return [self._row(m, losses, [answers[m, k].distance for k in range(len(self.folds))]) for m in methods]

    def _work(self, job: tuple[str, int]) -> _Answer:
        method, k = job
        rest = np.setdiff1d(np.arange(len(self.rows)), self.folds[k])
        train, held = ((self.source[0].take(some), self.source[1].take(some)) for some in (rest, self.folds[k]))
        network = fit_toward(method, self.domain, train, held, self.backbone, self.network, self.seed + k)
        labelled = _labels_of(network(self.target), self.source[1].n_classes)
        return _Answer(
            forward=network(held[0]),
            reverse=reverse_predictions(self.target, labelled, held[0], self.seed),
            labelled=labelled.y,
            distance=_distance(network.features(held[0]), network.features(self.target)),
        )

    def _row(self, method: str, losses: Mapping[str, Mapping[str, Array]], left: Sequence[float]) -> ComparedMethod:
        importance, counted = {"reverse": np.ones(len(self.rows)), "weighted": self.ratio}, self.source[1].weights
        reverse, weighted = (
            paired(losses[method][name], losses[SOURCE][name], importance[name], counted, self.units)
            for name in PROXIES
        )
        return ComparedMethod(
            method=method,
            reverse=reverse,
            weighted=weighted,
            distance=float(np.mean(left)),
            outcome="" if method == SOURCE else outcome_of(reverse, weighted),
        )


@dataclass(frozen=True, eq=False)
class _Answer:
    """Of one method on one fold: of the source's held rows forward and reverse, of the target its labels.

    `distance` is that of the features of both.
    """

    forward: Array
    reverse: Array
    labelled: Array
    distance: float


def _distance(source: Array, target: Array) -> float:
    return float(MaximumMeanDiscrepancy.distance(torch.from_numpy(source), torch.from_numpy(target)))


def _labels_of(predicted: Array, n_classes: int) -> Labels:
    y = predicted.argmax(1).astype(float) if n_classes else predicted[:, MEDIAN]
    return Labels(y, np.ones(len(y)), n_classes)


def _joined(each: Sequence[Array], n_classes: int) -> Array:
    """Return the mean of what the folds' fits said, or the class that most of them named."""
    if not n_classes:
        return np.asarray(np.mean(each, 0))
    votes = np.stack([np.eye(n_classes)[one.astype(int)] for one in each]).sum(0)
    return votes.argmax(1).astype(float)


def _constant(value: float, n: int, n_classes: int) -> Array:
    if n_classes:
        return np.tile(np.eye(n_classes)[int(value)], (n, 1))
    return np.full((n, len(LEVELS)), value)

"""Predictions of the training rows by fits that did not see them: what everything else is decided on.

The rows are torn into inner folds, groups never; each member predicts a fold by a fit on the others. Fine-tuned
networks take most of the minutes, and on many tables trees on the encoder's properties are as good: the first fold
decides whether networks beside others go on. (Trees dropped there as well, below half a per cent, cost 1 % on gaps.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from matgraft.core.processes import cores, map_in_processes
from matgraft.formulas.learners.forest import LEVELS
from matgraft.formulas.learners.inputs import Array, Inputs, Labels, RowLosses, Rows
from matgraft.formulas.predictor.members import DESCRIPTORS, Member, Tools, Tuned
from matgraft.formulas.predictor.stack import is_worth_fitting


@dataclass(frozen=True, eq=False)
class InnerPredictions:
    """What the inner folds gave.

    Attributes
    ----------
    members
        Those that predicted every fold.
    n_weighed
        So many of them, the first ones, may enter the mixture; a baseline behind them is only compared with.
    predictions
        Of each member, (n, 99) quantiles or (n, n_classes) probabilities.
    networks
        By member's name, one a fold.
    dropped
        Networks that were not worth more than the first fold, with their mean loss there.
    """

    members: tuple[Member, ...]
    n_weighed: int
    predictions: list[Array]
    networks: dict[str, list[Tuned]]
    dropped: list[tuple[Member, float]]


@dataclass(frozen=True, eq=False)
class _Fitted:
    predicted: Array
    arrays: dict[str, Any]


def predict_inner_folds(
    members: Sequence[Member],
    inputs: Inputs,
    labels: Labels,
    folds: Sequence[Rows],
    losses: RowLosses,
    tools: Tools,
    seed: int,
    progress: str,
    ready: Mapping[str, Sequence[Tuned]],
) -> InnerPredictions:
    """Fit every member on the rest of each fold; `ready` are fits made before, by member's name, one a fold.

    Where no member does without the encoder, trees on descriptors are fitted as well, to compare with.
    """
    everyone = np.arange(len(inputs))

    def work(job: tuple[Member, int]) -> _Fitted:
        member, k = job
        rest = np.setdiff1d(everyone, folds[k])
        train, test = ((inputs.take(rows), labels.take(rows)) for rows in (rest, folds[k]))
        if member.name in ready:
            return _Fitted(ready[member.name][k](test[0]), {})
        model = member.fit(train, test, tools, seed + k)
        return _Fitted(model(test[0]), {} if member.refits else model.arrays())

    def run(some: Sequence[Member], numbers: Sequence[int], title: str) -> dict[tuple[Member, int], _Fitted]:
        jobs = [(member, k) for member in some for k in numbers]
        return dict(zip(jobs, map_in_processes(work, jobs, cores(), progress and title), strict=True))

    # The slow ones first, so that no process ends with a network while the other idles.
    weighed = sorted(members, key=lambda member: member.refits)
    baseline = [] if any(not one.pretrained for one in members) else [DESCRIPTORS]
    networks = [member for member in weighed if not member.refits]
    fitted: dict[tuple[Member, int], _Fitted] = {}
    dropped: list[tuple[Member, float]] = []
    if 0 < len(networks) < len(weighed):
        fitted |= run(weighed, [0], f"{progress}, first of {len(folds)} folds")
        slow, others = ([fitted[one, 0].predicted for one in weighed if one.refits is which] for which in (False, True))
        if not is_worth_fitting(slow, others, lambda predicted: losses(predicted, folds[0])):
            dropped = [(one, float(losses(fitted[one, 0].predicted, folds[0]).mean())) for one in networks]
            weighed = [one for one in weighed if one.refits]
    left = [k for k in range(len(folds)) if (weighed[0], k) not in fitted]
    fitted |= run(weighed, left, progress) | run(baseline, range(len(folds)), progress)
    return _gathered(weighed, baseline, fitted, folds, labels.n_classes, tools, dropped, ready)


def _gathered(
    weighed: list[Member],
    baseline: list[Member],
    fitted: dict[tuple[Member, int], _Fitted],
    folds: Sequence[Rows],
    n_classes: int,
    tools: Tools,
    dropped: list[tuple[Member, float]],
    ready: Mapping[str, Sequence[Tuned]],
) -> InnerPredictions:
    members = (*weighed, *baseline)
    predictions = []
    networks: dict[str, list[Tuned]] = {name: list(fits) for name, fits in ready.items()}
    for member in members:
        out = np.zeros((sum(map(len, folds)), n_classes or len(LEVELS)))
        for k, rows in enumerate(folds):
            out[rows] = fitted[member, k].predicted
        predictions.append(out)
        if not member.refits and member.name not in ready:
            each = [fitted[member, k].arrays for k in range(len(folds))]
            networks[member.name] = [member.restore(arrays, tools.backbone, n_classes, "") for arrays in each]
    return InnerPredictions(members, len(weighed), predictions, networks, dropped)

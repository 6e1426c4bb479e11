"""Predictions of the training rows by fits that did not see them: what everything else is decided on.

The rows are torn into inner folds, groups never; each member predicts a fold by a fit on the others. Fine-tuned
networks take most of the minutes, and on many tables trees on the encoder's properties are as good: the first fold
decides whether networks beside others go on. (Trees dropped there as well, below half a per cent, cost 1 % on gaps.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matgraft.core.processes import cores, map_in_processes
from matgraft.formulas.learners.forest import LEVELS
from matgraft.formulas.learners.inputs import Array, Part, RowLosses, Rows
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
class InnerFolds:
    """Rows that are held out together, and fits that were made before.

    Attributes
    ----------
    rows
        Rows of each fold.
    ready
        By member's name, fits on the rest of each fold, made with other targets (`predictor.together`).
    """

    rows: Sequence[Rows]
    ready: Mapping[str, Sequence[Tuned]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Fitted:
    predicted: Array
    arrays: dict[str, NDArray[Any]]


def predict_inner_folds(
    members: Sequence[Member],
    part: Part,
    folds: InnerFolds,
    losses: RowLosses,
    tools: Tools,
    seed: int,
    progress: str,
) -> InnerPredictions:
    """Fit every member on the rest of each fold.

    Where no member does without the encoder, trees on descriptors are fitted as well, to compare with.
    """
    inputs, labels = part
    everyone, ready = np.arange(len(inputs)), folds.ready

    def work(job: tuple[Member, int]) -> _Fitted:
        member, k = job
        rest = np.setdiff1d(everyone, folds.rows[k])
        train, test = ((inputs.take(rows), labels.take(rows)) for rows in (rest, folds.rows[k]))
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
    first, n = folds.rows[0], len(folds.rows)
    if 0 < len(networks) < len(weighed):
        fitted |= run(weighed, [0], f"{progress}, first of {n} folds")
        slow, others = ([fitted[one, 0].predicted for one in weighed if one.refits is which] for which in (False, True))
        if not is_worth_fitting(slow, others, lambda predicted: losses(predicted, first)):
            counted = labels.weights[first].sum()
            dropped = [(one, float(losses(fitted[one, 0].predicted, first).sum() / counted)) for one in networks]
            weighed = [one for one in weighed if one.refits]
    left = [k for k in range(n) if (weighed[0], k) not in fitted]
    fitted |= run(weighed, left, progress) | run(baseline, range(n), progress)
    predictions, kept = _gathered([*weighed, *baseline], fitted, folds, labels.n_classes, tools)
    return InnerPredictions((*weighed, *baseline), len(weighed), predictions, kept, dropped)


def _gathered(
    members: Sequence[Member],
    fitted: Mapping[tuple[Member, int], _Fitted],
    folds: InnerFolds,
    n_classes: int,
    tools: Tools,
) -> tuple[list[Array], dict[str, list[Tuned]]]:
    """Return each member's predictions of all rows, and the networks by name, one a fold."""
    predictions = []
    networks: dict[str, list[Tuned]] = {name: list(fits) for name, fits in folds.ready.items()}
    for member in members:
        out = np.zeros((sum(map(len, folds.rows)), n_classes or len(LEVELS)))
        for k, rows in enumerate(folds.rows):
            out[rows] = fitted[member, k].predicted
        predictions.append(out)
        if not member.refits and member.name not in folds.ready:
            each = [fitted[member, k].arrays for k in range(len(folds.rows))]
            networks[member.name] = [member.restore(arrays, tools.backbone, n_classes, "") for arrays in each]
    return predictions, networks

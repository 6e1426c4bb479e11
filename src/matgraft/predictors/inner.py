"""Predictions of the training rows by fits that did not see them: what everything else is decided on.

The rows are torn into inner folds, groups never; each member predicts a fold by a fit on the others. Fine-tuned
networks take most of the minutes, and on many tables trees on the encoder's properties are as good: the first fold
decides whether networks beside others go on. (Trees dropped there as well, below half a per cent, cost 1 % on gaps.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from matgraft.backbones.processes import cores, map_in_processes
from matgraft.errors import DataError
from matgraft.predictors.forest import LEVELS
from matgraft.predictors.inputs import Array, Inputs, Labels, Rows
from matgraft.predictors.members import DESCRIPTORS, Member, Tools, Tuned
from matgraft.predictors.stack import is_worth_fitting

ATTEMPTS = 100
"""Draws of folds before there are said to be none that will do."""
RowLosses = Callable[[Array, Rows], Array]
"""(k, 99) or (k, n_classes) predictions of k rows, and the rows -> (k,) losses."""


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


def inner_folds(groups: Sequence[str], n_folds: int, seed: int, classes: Array | None = None) -> list[Rows]:
    """Return the rows of each fold; rows of one group stay together, and no fold holds all rows of a class.

    Parameters
    ----------
    classes
        (n,) indices of classes; None for values.

    Raises
    ------
    DataError
        If there is one group only, or a class that no drawn folds tear apart.
    """
    distinct = len(set(groups))
    if distinct < 2:
        raise DataError(
            "every row is of one group, or hangs together with the others by formulas that groups share: nothing can "
            "be held out",
            remedy="other groups",
        )
    if classes is not None:
        refuse_lone_classes(groups, classes)
    for attempt in range(ATTEMPTS):
        drawn = GroupKFold(min(n_folds, distinct), shuffle=True, random_state=seed + 1000 * attempt)
        folds = [test for _, test in drawn.split(np.zeros(len(groups)), groups=list(groups))]
        if classes is None:
            return folds
        folds = _spread(folds, groups, classes)
        if keep_classes(folds, classes):
            return folds
    raise DataError(
        f"{ATTEMPTS} draws of {len(folds)} folds each hold all rows of a class in one fold",
        remedy="more folds, or more rows of the rare classes",
    )


def keep_classes(folds: Sequence[Rows], classes: Array) -> bool:
    """Say whether the rest of every fold has every class (n,)."""
    counts = Counter(classes.tolist())
    return all(n < counts[one] for fold in folds for one, n in Counter(classes[fold].tolist()).items())


def refuse_lone_classes(groups: Sequence[str], classes: Array, where: str = "") -> None:
    """Raise a `DataError` for a class whose rows are all of one group: held out, nothing teaches it."""
    if lone := [one for one, home in _homes(groups, classes).items() if len(home) < 2]:
        raise DataError(
            f"every row of class {int(min(lone))} is of one formula or group: it cannot be held out and learned",
            where=where,
            remedy="leave the class out, or add rows of other formulas and groups",
        )


def _spread(folds: Sequence[Rows], groups: Sequence[str], classes: Array) -> list[Rows]:
    """Move a group of each class that one fold holds alone, the smallest, to the fold with the fewest groups.

    Of thirty classes of two groups each, draws alone would hardly ever tear apart all.
    """
    rows_of = Counter(groups)
    fold_of = {groups[i]: k for k, rows in enumerate(folds) for i in rows}
    for home in _homes(groups, classes).values():
        holding = {fold_of[group] for group in home}
        if len(holding) == 1:
            sizes = Counter(fold_of.values())
            others = [k for k in range(len(folds)) if k not in holding]
            moved = min(home, key=lambda group: (rows_of[group], group))
            fold_of[moved] = min(others, key=lambda k: (sizes[k], k))
    places = np.array([fold_of[group] for group in groups])
    return [np.flatnonzero(places == k) for k in range(len(folds))]


def _homes(groups: Sequence[str], classes: Array) -> dict[float, set[str]]:
    """Return the groups of each class."""
    homes: dict[float, set[str]] = {}
    for group, one in zip(groups, classes.tolist(), strict=True):
        homes.setdefault(one, set()).add(group)
    return homes


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

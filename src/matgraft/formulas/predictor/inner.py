"""Predictions of the training rows by fits that did not see them: what everything else is decided on.

The rows are torn into inner folds, groups never; each member predicts a fold by a fit on the others. The first fold
ends those that cannot win (`stack.can_win`). Fine-tuned networks take most of the minutes, and on many tables trees on
the encoder's properties are as good: they go on only if they are worth it there. (All members dropped there that bring
less than half a per cent cost 1 % on gaps.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matgraft.core.processes import cores, map_in_processes
from matgraft.core.statistics import Units
from matgraft.core.training.team import load_before_fork
from matgraft.formulas.learners.forest import LEVELS
from matgraft.formulas.learners.inputs import Array, Part, RowLosses, Rows
from matgraft.formulas.predictor.members import DESCRIPTORS, Member, Shared, Tools, Tuned
from matgraft.formulas.predictor.stack import FEW, can_win, is_worth_fitting

Job = tuple[tuple[Member, ...], int]
"""Members that one process fits on the rest of a fold, and the fold."""


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
        Members that were not worth more than the first fold, with their mean loss there.
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
    units: Units,
) -> InnerPredictions:
    """Fit every member on the rest of each fold; `units` (n,) say which rows are independent of each other.

    Where no member does without the encoder, trees on descriptors are fitted as well, to compare with.
    """
    fits = _Fits(part, folds, tools, seed, progress, losses)
    every, rest = range(len(folds.rows)), range(1, len(folds.rows))
    baseline = [] if any(not one.pretrained for one in members) else [DESCRIPTORS]
    networks = [member for member in members if not member.refits]
    others = [member for member in members if member.refits]
    dropped: list[Member] = []
    if networks:
        load_before_fork()
    if others and len(members) > 1:
        # 1. The first fold ends those that cannot win.
        fits.run(_jobs(others, [0]), f", first of {len(every)} folds")
        if len(np.unique(units)) >= FEW:
            others, dropped = fits.race(others, units)
        if not fits.encoder_is_worth_it(others):
            networks = []  # where its features bring nothing to the mixture, tuning it cannot win
        # 2. The other folds beside the trial of the networks, which take longest and so come first.
        fits.run([*_jobs(networks, [0]), *_jobs(others, rest)])
        if networks and not is_worth_fitting(fits.of_first(networks), fits.of_first(others), fits.lost_in_first):
            networks, dropped = [], [*dropped, *networks]
        fits.run(_jobs(networks, rest))
    else:
        fits.run(_jobs([*networks, *others], every))
    fits.run(_jobs(baseline, every))
    weighed = [*networks, *others]
    predictions, kept = _gathered([*weighed, *baseline], fits.done, folds, part[1].n_classes, tools)
    scores = [(member, fits.mean_of_first(member)) for member in dropped]
    return InnerPredictions((*weighed, *baseline), len(weighed), predictions, kept, scores)


@dataclass(eq=False)
class _Fits:
    """Fits of members on the rest of each fold, as they are made.

    Attributes
    ----------
    done
        By member and fold, what was predicted of the fold.
    """

    part: Part
    folds: InnerFolds
    tools: Tools
    seed: int
    progress: str
    losses: RowLosses
    done: dict[tuple[Member, int], _Fitted] = field(default_factory=dict)

    def run(self, jobs: Sequence[Job], title: str = "") -> None:
        """Make some fits, over processes."""
        found = map_in_processes(self._fit, jobs, cores(), self.progress and self.progress + title)
        for (together, k), each in zip(jobs, found, strict=True):
            self.done.update({(member, k): one for member, one in zip(together, each, strict=True)})

    def _fit(self, job: Job) -> list[_Fitted]:
        (together, k), (inputs, labels) = job, self.part
        rest = np.setdiff1d(np.arange(len(inputs)), self.folds.rows[k])
        train, test = ((inputs.take(rows), labels.take(rows)) for rows in (rest, self.folds.rows[k]))
        shared, out = Shared(), []
        for member in together:
            if ready := self.folds.ready.get(member.name):
                out.append(_Fitted(ready[k](test[0]), {}))
                continue
            model = member.fit(train, test, self.tools, self.seed + k, shared)
            out.append(_Fitted(model(test[0]), {} if member.refits else model.arrays()))
        return out

    def of_first(self, members: Sequence[Member]) -> list[Array]:
        """Return what members predict of the first fold."""
        return [self.done[member, 0].predicted for member in members]

    def lost_in_first(self, predicted: Array) -> Array:
        """Return the losses of predictions of the first fold."""
        return self.losses(predicted, self.folds.rows[0])

    def mean_of_first(self, member: Member) -> float:
        """Return the mean loss of a member on the first fold."""
        weights = self.part[1].weights[self.folds.rows[0]]
        return float(self.lost_in_first(self.done[member, 0].predicted).sum() / weights.sum())

    def encoder_is_worth_it(self, members: Sequence[Member]) -> bool:
        """Say whether members with the encoder save anything on the first fold; True where only one kind is there."""
        kinds = [[one for one in members if one.pretrained is which] for which in (True, False)]
        using, without = (self.of_first(some) for some in kinds)
        return not using or not without or is_worth_fitting(using, without, self.lost_in_first)

    def race(self, members: Sequence[Member], units: Units) -> tuple[list[Member], list[Member]]:
        """Return the members that may still win by the first fold, and the others."""
        first, plain = self.folds.rows[0], [not member.pretrained for member in members]
        weights = self.part[1].weights[first]
        stays = can_win(self.of_first(members), self.lost_in_first, plain, units[first], weights)
        return [one for one, can in zip(members, stays, strict=True) if can], [
            one for one, can in zip(members, stays, strict=True) if not can
        ]


def _jobs(members: Sequence[Member], numbers: Sequence[int]) -> list[Job]:
    """Return what processes do, in parts: members that share trees of the same features are fitted by one."""
    sharing: dict[object, list[Member]] = {}
    for member in members:
        sharing.setdefault(member.blocks if member.kind in ("trees", "boosted") else member, []).append(member)
    return [(tuple(together), k) for together in sharing.values() for k in numbers]


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

"""Energies after a shift of the references that is fitted without the frames it is scored on.

    after, facts = shift_held_out(dataset, predictions, find_groups(dataset).labels)

A shift that is fitted on the frames it is scored on flatters: with few trajectories it takes off errors that a new one
would have. So the groups are dealt into at most `FOLDS` folds, and the shift of each frame is fitted on the other folds
(Stone, Journal of the Royal Statistical Society B 36, 111 (1974)). Where these do not determine it, since an element
occurs in no other trajectory, it is fitted on all frames but the frame's own half of its trajectory. Where this does
not determine it either, the frame has no energy after the shift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, Array
from matgraft.core.statistics import numbered
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.tuning.references import determined_by, fit_references

FOLDS = 10
"""Most folds: more of them hardly change the shifts, and each is one pass over the frames."""

Positions = NDArray[np.intp]


class HeldOut(Frozen):
    """On which frames the shift of each scored frame was fitted.

    Attributes
    ----------
    n_others
        Frames whose shift was fitted on other trajectories.
    n_halves
        Frames whose shift was fitted on all frames but their own half of their trajectory.
    alone
        Frames, by their position, that have no energy after the shift: the others do not determine it.
    """

    n_others: int
    n_halves: int
    alone: tuple[int, ...] = ()


def shift_held_out(
    dataset: Dataset, predictions: Sequence[Mapping[str, Array]], groups: Sequence[str]
) -> tuple[list[dict[str, Array]], HeldOut]:
    """Return the energies (eV) after a shift that was fitted on other frames, and on which.

    Parameters
    ----------
    predictions
        Of one model, aligned with `dataset`.
    groups
        Trajectory of each frame.

    Returns
    -------
    list of dict
        For each frame its energy alone, or nothing where there is none, or no shift of it is determined.
    HeldOut
    """
    labelled = np.asarray(dataset.samples.carried()[ENERGY.name], dtype=bool)
    counted = labelled & np.array([sample.weight_of(ENERGY.name) > 0 for sample in dataset])
    fractions = _fractions(dataset)
    shifts: dict[int, float] = {}

    def fit(scored: NDArray[np.bool_], left_out: NDArray[np.bool_]) -> None:
        """Shift the scored frames by what the counted ones give that are not left out."""
        known = np.flatnonzero(counted & ~left_out).tolist()
        asked = np.flatnonzero(scored)
        if not len(known) or not len(asked):
            return
        asked = asked[determined_by(fractions[known], fractions[asked])]
        shift = fit_references(dataset[known], [predictions[i] for i in known])
        shifts.update({int(i): shift.of(dataset[int(i)]) for i in asked})

    folds = _folds(numbered(groups))
    for fold in range(int(folds.max()) + 1):
        fit(labelled & (folds == fold), folds == fold)
    n_others = len(shifts)
    rest = labelled & ~np.isin(np.arange(len(dataset)), list(shifts))
    halves = _halves(numbered(groups), rest)
    for half in range(2):
        fit(rest & (halves == half), rest & (halves == half))
    after: list[dict[str, Array]] = [
        {ENERGY.name: predictions[i][ENERGY.name] + shifts[i]} if i in shifts else {} for i in range(len(dataset))
    ]
    alone = tuple(int(i) for i in np.flatnonzero(labelled) if int(i) not in shifts)
    return after, HeldOut(n_others=n_others, n_halves=len(shifts) - n_others, alone=alone)


def _fractions(dataset: Dataset) -> Array:
    """Return (n_frames, n_elements) atomic fractions."""
    numbers = [np.asarray(own) for own in dataset.samples.numbers()]
    known = np.unique(np.concatenate(numbers))
    return np.array([(own[:, None] == known).mean(axis=0) for own in numbers])


def _folds(units: Positions) -> Positions:
    """Deal groups into folds, the largest first, each into the fold with the fewest frames."""
    sizes = np.bincount(units)
    fold_of, filled = np.empty(len(sizes), dtype=np.intp), np.zeros(min(FOLDS, len(sizes)))
    for unit in np.argsort(-sizes, kind="stable"):
        fold_of[unit] = np.argmin(filled)
        filled[fold_of[unit]] += sizes[unit]
    return fold_of[units]


def _halves(units: Positions, chosen: NDArray[np.bool_]) -> Positions:
    """Return the half, 0 or 1, of each chosen frame within its group, in the order of the file."""
    halves = np.zeros(len(units), dtype=np.intp)
    own = np.flatnonzero(chosen)
    sizes = np.bincount(units[own], minlength=int(units.max()) + 1)
    own = own[np.argsort(units[own], kind="stable")]
    place = np.arange(len(own)) - (np.cumsum(sizes) - sizes)[units[own]]
    halves[own] = place >= sizes[units[own]] // 2
    return halves

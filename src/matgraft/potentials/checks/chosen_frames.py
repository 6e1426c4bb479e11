"""Some labelled frames out of many: spread over trajectories, those that a fit has not seen first, drawn by a seed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from matgraft.core.quantities import ENERGY, FORCES
from matgraft.potentials.checks.physical import SEEN_TAG
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.groups import find_groups

MOST_FRAMES, MOST_ATOMS = 100, 3000
"""A sample ends where one is reached: 3000 atoms take CHGNet some 25 s on one core."""
ENOUGH_UNSEEN = 20
"""Unseen frames that are enough to leave the others aside."""
COMPARED = 2000
"""Frames of which trajectories are looked for: a sample of more."""
SEED = 0


@lru_cache(maxsize=4)  # one dataset is asked for its sample by each model, and by judging
def chosen_frames(frames: Dataset) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return positions of the chosen frames, ascending, and the trajectory of each.

    Frames without forces and energy are left out. The trajectories give one frame each in turn.
    """
    rng = np.random.default_rng(SEED)
    usable = np.flatnonzero(_labelled(frames))
    unseen = np.array([tag in ("", "unseen") for tag in frames.tag(SEEN_TAG)], dtype=bool)
    if unseen[usable].sum() >= ENOUGH_UNSEEN:
        usable = usable[unseen[usable]]
    usable = np.sort(rng.permutation(usable)[:COMPARED])
    groups = find_groups(frames[usable]).labels if len(usable) else ()
    sizes = [len(numbers) for numbers in frames[usable].samples.numbers()]
    chosen: list[int] = []
    atoms = 0
    for k in _in_turns(groups, rng):
        if len(chosen) == MOST_FRAMES or (chosen and atoms + sizes[k] > MOST_ATOMS):
            break
        chosen.append(k)
        atoms += sizes[k]
    chosen.sort()
    return tuple(int(usable[k]) for k in chosen), tuple(groups[k] for k in chosen)


def _labelled(frames: Dataset) -> np.ndarray:
    carried = frames.samples.carried()
    none = np.zeros(len(frames), dtype=bool)
    return np.asarray(carried.get(FORCES.name, none)) | np.asarray(carried.get(ENERGY.name, none))


def _in_turns(groups: tuple[str, ...], rng: np.random.Generator) -> list[int]:
    """Return all positions so that the groups take turns; the order within a group and of the groups is drawn."""
    turn: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for k in rng.permutation(len(groups)).tolist():
        turn[groups[k]] = turn.get(groups[k], -1) + 1
        ranked.append((turn[groups[k]], len(ranked), k))
    return [k for _, _, k in sorted(ranked)]

"""Which files are simulations of their own, by what is in them.

A name says little: `part_000.extxyz` may be a piece of a shuffled set, `relax2` the second half of a relaxation. So
frames of files with the same atoms are compared.

- A file **goes on** from another if its first frame is much nearer to the other's last frame than to the other's other
  frames, and that last frame is much nearer to it than to the frames after it. The two are one simulation.
- So it does if it is the next by name, no two frames of the two files are as near to each other as these two, and they
  are as near as consecutive frames of one file: short files do not show how far a simulation goes.
- Two files are **pieces of one set** if their frames are as near to each other as to those of their own file: the
  energy distance (Székely and Rizzo, InterStat 5, 2004) is no larger than when frames are dealt to the two files at
  random. Such a file says nothing about its frames.

The output of a simulation code is one run, so only the first question is asked of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from matgraft.core.quantities import Array
from matgraft.potentials.data.distance import Configuration, Gallery, prepare, separation
from matgraft.potentials.data.neighbours import evenly
from matgraft.potentials.data.sample import Sample

SHOWN = 12
"""Frames of a file that are compared, the first and the last among them."""
WINDOW = 20
"""Files of the same atoms that a file is compared with: those next to it by name. The work grows with their product."""
FAR = 2.0
"""Separations are cut off here: beyond it frames are not comparable, or as good as that."""
GOES_ON = 0.6
"""Share of the usual separation below which a file goes on from another; snapshots of two simulations reach 0.8."""
STEP = 1.3
"""Times the step between frames of a file below which the step to the next file is as usual."""
SAME = 0.02
"""Separation of frames that are one: 0.02 Å, or a strain of 0.001."""
CHANCE = 0.02
"""Two files are simulations of their own if fewer random deals than this are as unequal."""
DEALS = 199


@dataclass(frozen=True)
class Place:
    """A file, or a folder of files of one frame each.

    Attributes
    ----------
    name
        Its path.
    members
        Positions of its frames, in order.
    is_run
        True for the output of a simulation code.
    is_trusted
        True where its name and size let it be a simulation. Any other is only asked whether it goes on from one.
    """

    name: str
    members: tuple[int, ...]
    is_run: bool
    is_trusted: bool


def simulations(samples: Sequence[Sample], places: Sequence[Place]) -> dict[str, str]:
    """Return the simulation of each place that is, or belongs to, one: name of the place -> name of the simulation."""
    of_atoms: dict[bytes | str, list[_Shown]] = defaultdict(list)
    for place in sorted(places, key=lambda place: natural(place.name)):
        shown = _show(samples, place)
        first = shown.frames[0]
        of_atoms[first.key if first else place.name].append(shown)
    found: dict[str, str] = {}
    for own in of_atoms.values():
        found |= _of_the_same_atoms(own)
    return found


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts ``run_2`` before ``run_10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class _Shown:
    """What is compared of a place: some of its frames, and the larger of the steps at its two ends."""

    place: Place
    frames: list[Configuration | None]
    step: float


def _show(samples: Sequence[Sample], place: Place) -> _Shown:
    ends = [prepare(samples[i].content) for i in (*place.members[:2], *place.members[-2:])]
    steps = [separation(ends[0], ends[1]), separation(ends[-2], ends[-1])] if len(place.members) > 1 else [0.0]
    return _Shown(place, [prepare(samples[i].content) for i in evenly(place.members, SHOWN)], max(steps))


def _of_the_same_atoms(own: Sequence[_Shown]) -> dict[str, str]:
    """Compare places of the same atoms, in the order of their names."""
    places = [shown.place for shown in own]
    links: list[tuple[int, int]] = []
    pieces: set[int] = set()
    for i, first in enumerate(own):
        for j in range(i + 1, min(i + 1 + WINDOW, len(own))):
            if not (places[i].is_trusted or places[j].is_trusted):
                continue
            apart = _separations([*first.frames, *own[j].frames])
            n = len(first.frames)
            between = apart[:n, n:]
            follows = j == i + 1 and _is_next(between, max(first.step, own[j].step))
            if follows or _goes_on(between) or _goes_on(apart[n:, :n]):
                links.append((i, j))
            elif not (places[i].is_run or places[j].is_run) and are_pieces(apart, n):
                pieces |= {i, j}
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    _, member = connected_components(coo_array((np.ones(len(ends)), ends.T), shape=(len(places),) * 2), directed=False)
    doubted = {int(member[i]) for i in pieces}
    trusted = {int(member[i]) for i, place in enumerate(places) if place.is_trusted} - doubted
    names = {int(k): places[i].name for i, k in reversed(list(enumerate(member)))}
    return {place.name: names[int(k)] for place, k in zip(places, member, strict=True) if int(k) in trusted}


def _separations(shown: Sequence[Configuration | None]) -> Array:
    """(n, n) separations, at most `FAR`; frames that cannot be compared are that far from all others."""
    apart = np.full((len(shown), len(shown)), FAR)
    np.fill_diagonal(apart, 0.0)
    for key in {one.key for one in shown if one}:
        own = [(k, one) for k, one in enumerate(shown) if one and one.key == key]
        gallery = Gallery()
        for _, one in own:
            gallery.add(one)
        places = [k for k, _ in own]
        for k, one in own:
            apart[k, places] = np.minimum(gallery.separations(one), FAR)
    return apart


def _goes_on(between: Array) -> bool:
    """Say whether the second of two runs goes on from the first; (n_first, n_second) separations."""
    step = between[-1, 0]
    usual = min(np.median(between[:, 0]), np.median(between[-1]))
    return bool(step < SAME or step < GOES_ON * usual)


def _is_next(between: Array, step: float) -> bool:
    """Say whether the second of two consecutive files begins one step after the first."""
    others = np.delete(between.ravel(), (len(between) - 1) * between.shape[1])
    return bool(between[-1, 0] < min(STEP * step, 1.0, others.min(initial=np.inf)))


def are_pieces(apart: Array, n: int) -> bool:
    """Say whether two files look like pieces of one set.

    Parameters
    ----------
    apart
        (n_frames, n_frames) separations of the frames of both.
    n
        Number of frames of the first.
    """
    between = apart[:n, n:]
    if between.min() >= 1:
        return False
    within = [block[np.triu_indices(len(block), 1)] for block in (apart[:n, :n], apart[n:, n:])]
    if between.min() > np.concatenate(within).max(initial=0.0):
        return False
    rng = np.random.default_rng(0)
    ours = np.r_[np.full(n, 1 / n), np.full(len(apart) - n, -1 / (len(apart) - n))]
    deals = np.vstack([ours, rng.permuted(np.tile(ours, (DEALS, 1)), axis=1)])
    # With weights 1/n and -1/m, twice the mean between minus the means within is -w D w.
    energy = -((deals @ apart) * deals).sum(axis=1)
    return bool(np.mean(energy >= energy[0] - 1e-12) >= CHANCE)

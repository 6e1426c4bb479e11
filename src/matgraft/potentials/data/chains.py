"""Frames of one simulation found by their structure, wherever they stand in a file.

Five steps, each on what the last one left:

1. Frames of the same atoms about the same places are one group (`matgraft.potentials.data.distance`): a frame is held
against the
   frame before it and against one frame of each arrangement found so far. Molecules with the same bonds are one group.
2. Such a group may hold several simulations. They are told apart where each was sampled densely (`_tell_apart`).
3. Near-duplicates are joined: other cells of one crystal, the same atoms in another order.
4. In a melt the atoms have moved too far for the first step. Frames of the same atoms whose neighbours are distributed
   alike (`ALIKE_A`) are joined, unless they share their sites: those are other arrangements of an alloy.
5. A few frames may be left of a simulation: the start of a relaxation, a cell torn apart. Groups of fewer than `FEWEST`
   frames join the nearest larger group of the same atoms, if most frames of these atoms are in such groups (`STRAY`).

Each step joins where it is in doubt: a group too large costs some balance, one too small leaks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from matgraft.core.quantities import Array
from matgraft.potentials.data.correlation import FEWEST, label_trajectories
from matgraft.potentials.data.distance import JUMP_A, Configuration, Gallery, bond_signature, prepare, separation
from matgraft.potentials.data.lazy import Samples
from matgraft.potentials.data.neighbours import (
    COMPARED,
    NEAR_A,
    Fingerprint,
    close_pairs,
    coordination_fingerprint,
    evenly,
    nearest_positions,
)
from matgraft.potentials.data.sample import Sample

Labels = NDArray[np.int64]
"""(n_frames,) number of each frame's group."""

COVER = 0.75
"""A frame farther than this from each arrangement held is held itself. Frames are joined up to a separation of 1,
so the regions of two arrangements overlap, and a trajectory that leads from one to the other is not cut."""
HELD = 300
"""Arrangements of the same atoms that frames are compared with. A frame of a further one is compared with the frame
before it."""
TOLD_APART = 2000
"""Frames of a group among which several simulations are looked for; the work grows as the square."""
ALIKE_A = 0.04
"""Distance of fingerprints, in Å per neighbour, below which two frames of the same atoms are the same melt.

The next frame of its own trajectory lies within 0.021 for every frame of the Si and Mo melts of Zuo et al. (2020)."""
SITE_A = 0.6
"""Frames whose atoms, of whatever element, lie closer on average share their sites. Frames of a melt do not."""
STRAY = 0.25
"""Frames in small groups are left over from simulations if they are at most this share of the frames of their atoms. In
a set of independent frames they are most."""
SHOWN = 200
"""Frames of the larger groups that those left over are compared with, evenly spread."""
TRIED = 5
"""Pairs of a frame in step 4 whose sites are compared; the work grows as the cube of the atoms."""


Prints = Mapping[int, Fingerprint]
Link = tuple[int, int]


@dataclass
class _Class:
    """Frames of the same atoms: the arrangements that others are held against, and the frame before."""

    members: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    gallery: Gallery = field(default_factory=Gallery)
    last: Configuration | None = None
    late: int = 0

    def enter(self, i: int, one: Configuration, known: bool) -> list[Link]:
        """Take a frame in and link it; hold it where it is far from what is held, unless its place is `known`."""
        apart = self.gallery.separations(one)
        links = [(self.held[k], i) for k in np.flatnonzero(apart < 1)]
        links += [(self.members[-1], i)] if separation(self.last, one) < 1 else []
        if not known and apart.min(initial=np.inf) > COVER:
            self._hold(i, one)
        self.members.append(i)
        self.last = one
        return links

    def _hold(self, i: int, one: Configuration) -> None:
        if len(self.held) == HELD:
            self.late += 1
            return
        self.gallery.add(one)
        self.held.append(i)

    def again(self, samples: Samples) -> list[Link]:
        """Hold the frames against the arrangements that were found after them."""
        early = [i for i in self.members if i < self.held[-1]] if len(self.held) > 1 else []
        prepared = zip(early, (prepare(sample.content) for sample in samples.take(early)), strict=True)
        found = ((i, self.gallery.separations(one) < 1) for i, one in prepared if one)
        return [(self.held[k], i) for i, near in found for k in np.flatnonzero(near)]


@dataclass(frozen=True)
class Chains:
    """Groups found by structure.

    Attributes
    ----------
    label
        (n_frames,) number of each frame's group, by first member.
    uncompared
        Frames that a limit on the work kept from being compared with all others of the same atoms.
    untold
        Frames in groups of the first step that are too large to look for several simulations in.
    """

    label: Labels
    uncompared: int = 0
    untold: int = 0


def find_chains(frames: Sequence[Sample]) -> Chains:
    """Find the frames that belong together by their structure.

    The work grows in proportion to the frames; the limits are `HELD`, `TOLD_APART` and `COMPARED`.
    """
    samples = Samples.of(frames)
    classes, label = _by_places(samples)
    whole = label
    sizes = np.bincount(label)
    for own in classes:
        label = _tell_apart(samples, own, label)
    chosen = evenly(range(len(samples)), COMPARED)
    prints = {
        i: coordination_fingerprint(sample.content) for i, sample in zip(chosen, samples.take(chosen), strict=True)
    }
    label = _join_duplicates(prints, label, whole)
    for own in classes:
        label = _join_melts(samples, prints, own, label, whole)
    own_sizes = np.bincount(label)[label]
    label = _linked(label, [link for own in classes for link in _strays(samples, own, own_sizes)])
    return Chains(_linked(label, []), sum(own.late for own in classes), int(sizes[sizes > TOLD_APART].sum()))


def same_places(samples: Samples) -> Labels:
    """Return groups of frames of the same atoms about the same places, or of one molecule: the first step alone."""
    return _by_places(samples)[1]


def merge_groups(label: Labels, pairs: NDArray[np.int64]) -> Labels:
    """Merge the groups that a pair of members links: (n,), (n_pairs, 2) -> (n,), numbered by first member."""
    n = int(label.max(initial=-1)) + 1
    links = coo_array((np.ones(len(pairs)), label[pairs].T), shape=(n, n))
    merged = connected_components(links, directed=False)[1][label]
    _, first, inverse = np.unique(merged, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _linked(label: Labels, links: Sequence[Link]) -> Labels:
    return merge_groups(label, np.array(links, dtype=np.int64).reshape(-1, 2))


def _by_places(samples: Samples) -> tuple[list[_Class], Labels]:
    """Step 1, once through the file and once more through what was found late."""
    classes: dict[bytes, _Class] = defaultdict(_Class)
    bonds: dict[bytes, int] = {}
    links: list[Link] = []
    for i, sample in enumerate(samples):
        one = prepare(sample.content)
        if one is not None:
            first = bonds.setdefault(bond_signature(one), i) if one.is_molecule else i
            links += [(first, i)] * (first != i) + classes[one.key].enter(i, one, known=first != i)
    links += [link for own in classes.values() for link in own.again(samples)]
    return list(classes.values()), _linked(np.arange(len(samples)), links)


def _tell_apart(samples: Samples, own: _Class, label: Labels) -> Labels:
    """Step 2: give the simulations within each group of a class labels of their own."""
    members, sizes = np.array(own.members), np.bincount(label)
    groups, counts = np.unique(label[members], return_counts=True)
    # A group that reaches beyond its class is held together by molecules with atoms in another order.
    for group in groups[(counts == sizes[groups]) & (counts >= 2 * FEWEST) & (counts <= TOLD_APART)]:
        inside = members[label[members] == group]
        moves = moves_from_first(samples.take(inside))
        if moves is not None and (found := label_trajectories(moves)).any():
            label = label.copy()
            label[inside] = np.where(found == 0, group, label.max() + found)
    return label


def moves_from_first(samples: Sequence[Sample]) -> Array | None:
    """Return (n_frames, n_atoms, 3) Å, the moves from the first frame; None where one is not about the same places."""
    gallery, moves = Gallery(), []
    for sample in samples:
        one = prepare(sample.content)
        if one is None:
            return None
        if not len(gallery):
            gallery.add(one)
        moves.append(gallery.moves(one)[0].astype(np.float32))
        if not np.linalg.norm(moves[-1], axis=1).mean() < JUMP_A:
            return None
    return np.array(moves)


def _join_duplicates(prints: Prints, label: Labels, whole: Labels) -> Labels:
    """Step 3; what step 2 told apart stays apart, although two cold simulations of one crystal are near-duplicates."""
    chosen, own = np.array(list(prints)), list(prints.values())
    for positions in close_pairs(own, own, NEAR_A):
        pairs = chosen[positions]
        told = (whole[pairs[:, 0]] == whole[pairs[:, 1]]) & (label[pairs[:, 0]] != label[pairs[:, 1]])
        label = merge_groups(label, pairs[~told])
    return label


def _join_melts(samples: Samples, prints: Prints, own: _Class, label: Labels, whole: Labels) -> Labels:
    """Step 4, for the frames of one class; what step 2 told apart stays apart."""
    chosen = np.array([i for i in own.members if i in prints])
    if len(np.unique(label[chosen])) < 2:
        return label
    fingerprints = [prints[int(i)] for i in chosen]
    for positions in close_pairs(fingerprints, fingerprints, ALIKE_A):
        pairs = chosen[positions]
        new = (label[pairs[:, 0]] != label[pairs[:, 1]]) & (whole[pairs[:, 0]] != whole[pairs[:, 1]])
        pairs = pairs[new]
        links = [pair for pair in _some_of_each(pairs) if _may_be_one(*(samples[int(i)] for i in pair))]
        label = _linked(label, links)
    return label


def _strays(samples: Samples, own: _Class, sizes: NDArray[np.int64]) -> list[Link]:
    """Step 5, for the frames of one class: link each frame left over with the nearest frame of a larger group."""
    left_over = [i for i in own.members if sizes[i] < FEWEST]
    if not 0 < len(left_over) <= STRAY * len(own.members):
        return []
    others = evenly([i for i in own.members if sizes[i] >= FEWEST], SHOWN)
    first, second = (
        [coordination_fingerprint(sample.content) for sample in samples.take(some)] for some in (left_over, others)
    )
    return [(i, others[k]) for i, k in zip(left_over, nearest_positions(first, second), strict=True)]


def _some_of_each(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep the first `TRIED` pairs of each frame; (n_pairs, 2), sorted by the first frame."""
    first = np.searchsorted(pairs[:, 0], pairs[:, 0])
    return pairs[np.arange(len(pairs)) - first < TRIED]


def _may_be_one(first: Sample, second: Sample) -> bool:
    """Say whether two frames alike may be of one simulation: not if they put other elements on the same sites."""
    one, other = prepare(first.content), prepare(second.content)
    if one is None or other is None or one.is_molecule:
        return False
    apart = one.places[:, None] - other.places
    apart -= np.where(one.pbc, np.round(apart), 0.0)
    distance = np.linalg.norm(apart @ one.cell, axis=2)
    nearest = distance.argmin(axis=1)
    return bool(distance.min(axis=1).mean() > SITE_A or (one.numbers == other.numbers[nearest]).all())

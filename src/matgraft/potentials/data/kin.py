"""Neighbours in time across the parts: frames of one simulation that are correlated, though they are no duplicates.

Two consecutive snapshots need not be alike enough to be near-duplicates, yet one in training gives the other away in
the test. They are found by their correlated displacements (`matgraft.potentials.data.correlation`), whatever groups the
parts were made from. Where a simulation was sampled so rarely that its own snapshots are not correlated, or moves one
way as a relaxation does, this cannot be told, and the frames are counted as unclear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from matgraft.core.quantities import Array
from matgraft.potentials.data.chains import moves_from_first, same_places
from matgraft.potentials.data.correlation import correlations
from matgraft.potentials.data.lazy import Samples
from matgraft.potentials.data.neighbours import COMPARED, Overlap, evenly, near_duplicates
from matgraft.potentials.data.sample import Sample

Part = Mapping[str, Sequence[int]]


def overlaps(frames: Sequence[Sample], parts: Part) -> tuple[Overlap, ...]:
    """Count near-duplicates and neighbours in time across parts, of large parts among `COMPARED` frames evenly spread.

    Parameters
    ----------
    frames
        In any order.
    parts
        Name -> positions in `samples`, the part that is learned from first.

    Returns
    -------
    tuple of Overlap
        One for each pair of parts, the later against the earlier.
    """
    samples = Samples.of(frames)
    found = near_duplicates(samples, parts)
    chosen = {name: evenly(positions, COMPARED) for name, positions in parts.items()}
    whole = {name: len(chosen[name]) == len(positions) for name, positions in parts.items()}
    every = sorted({i for own in chosen.values() for i in own})
    part_of = {i: name for name, own in chosen.items() for i in own}
    names = np.array([part_of[i] for i in every])
    label = same_places(samples.take(every))
    kin: dict[tuple[str, str], set[int]] = {(one.part, one.against): set() for one in found}
    unclear: dict[tuple[str, str], set[int]] = {(one.part, one.against): set() for one in found}
    for group in _shared(label, names):
        if samples[every[group[0]]].n_atoms == 1:  # it has its cell alone: a near-duplicate or none
            continue
        correlation, limit = _known(samples.take([every[k] for k in group]))
        for part, against in kin:
            rows, columns = (np.flatnonzero(names[group] == name) for name in (part, against))
            if not len(rows) or not len(columns):
                continue
            positions = np.array(every)[group[rows]]
            near = correlation[np.ix_(rows, columns)].max(axis=1) > limit
            kin[part, against] |= set(positions[near].tolist())
            if not (whole[against] and _shows_steps(correlation, limit)):
                unclear[part, against] |= set(positions[~near].tolist())
    return tuple(
        one.model_copy(
            update={
                "neighbours": tuple(sorted(kin[one.part, one.against])),
                "unclear": tuple(sorted(unclear[one.part, one.against] - {*one.frames})),
            }
        )
        for one in found
    )


def _shared(label: NDArray[np.int64], names: NDArray[np.str_]) -> list[NDArray[np.int64]]:
    """Return the members of each group that is in several parts."""
    members = np.split(np.argsort(label, kind="stable"), np.cumsum(np.bincount(label))[:-1]) if len(label) else []
    return [own for own in members if len(set(names[own].tolist())) > 1]


def _known(samples: Samples) -> tuple[Array, float]:
    """Correlations and their limit; none beyond chance where the frames are not about the same places."""
    moves = moves_from_first(samples) if len(samples) <= COMPARED else None
    if moves is None:
        return np.zeros((len(samples), len(samples)), dtype=np.float32), 1.0
    return correlations(moves)


def _shows_steps(correlation: Array, limit: float) -> bool:
    """Say whether most frames have a neighbour in time at all; if not, its absence says nothing."""
    others = correlation - 2.0 * np.eye(len(correlation), dtype=np.float32)
    return bool(np.median(others.max(axis=1)) > limit)

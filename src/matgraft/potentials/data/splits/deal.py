"""Whole groups dealt out to parts, large groups first, every stratum to every part."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def deal(labels: Sequence[str], strata: Sequence[str], fractions: Sequence[float], seed: int = 0) -> NDArray[np.int64]:
    """Deal whole groups out to parts.

    Large groups first (by powers of two, within one at random), each to the part where it lowers
    ``sum_p (n_p - T_p)^2 / T_p`` most, T_p being the frames asked for: over all frames, and over those of the group's
    stratum. When as few groups are left as parts are empty, those parts are served first; so it is for a stratum that
    has groups enough. After Sechidis et al., ECML PKDD 2011 (iterative stratification), for groups instead of samples.

    Parameters
    ----------
    labels, strata
        Group and stratum of each frame; the most frequent stratum of a group counts.
    fractions
        Share of the frames for each part; a part of 0 gets nothing.
    seed
        Orders groups of like size.

    Returns
    -------
    (n_frames,) int
        Number of each frame's part. It depends on the groups only, not on the order of the frames.
    """
    names, member, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    stratum = _stratum_of_groups(names, labels, strata)
    wanted = np.flatnonzero(np.asarray(fractions) > 0)
    share = np.asarray(fractions, dtype=float)[wanted]
    everything = _Tally(sizes.sum() * share, len(names))
    within = {name: stratum == name for name in set(stratum)}
    tallies = {name: _Tally(sizes[mask].sum() * share, int(mask.sum())) for name, mask in within.items()}
    order = np.random.default_rng(seed).permutation(len(names))
    part = np.empty(len(names), dtype=np.int64)
    for group in order[np.argsort(-np.floor(np.log2(sizes[order])), kind="stable")]:
        own = tallies[stratum[group]]
        must, wish = everything.to_serve(), own.to_serve()
        allowed = next(mask for mask in (must & wish, must, wish, ~must) if mask.any())
        cost = everything.cost(sizes[group]) + own.cost(sizes[group])
        chosen = int(np.argmin(np.where(allowed, cost, np.inf)))
        for tally in (own, everything):
            tally.give(chosen, sizes[group])
        part[group] = wanted[chosen]
    return part[member]


class _Tally:
    """Frames given to each part so far, against the frames asked for."""

    def __init__(self, target: NDArray[np.float64], groups: int) -> None:
        self.target, self.left = target, groups
        self.given = np.zeros(len(target))
        self.enough = groups >= len(target)

    def cost(self, size: int) -> NDArray[np.float64]:
        """Change of sum_p (n_p - T_p)^2 / T_p if a group of this size went to each of the parts."""
        return np.asarray(size * (2 * (self.given - self.target) + size) / self.target)

    def to_serve(self) -> NDArray[np.bool_]:
        """Mark the empty parts, once there are no more groups left than they need."""
        empty = self.given == 0
        return np.asarray(empty & (self.enough and self.left <= empty.sum()))

    def give(self, part: int, size: int) -> None:
        """Record a group."""
        self.given[part] += size
        self.left -= 1


def _stratum_of_groups(names: NDArray[np.str_], labels: Sequence[str], strata: Sequence[str]) -> NDArray[np.str_]:
    counts: dict[str, Counter[str]] = {str(name): Counter() for name in names}
    for label, stratum in zip(labels, strata, strict=True):
        counts[label][stratum] += 1
    return np.array([min(count, key=lambda name: (-count[name], name)) for count in counts.values()])

"""Two constants in one set: energies of two subsets that differ by a constant per atom of each element.

Two sets of reference energies, or two levels of theory, give two parallel lines of labels on predictions. Clusterwise
linear regression finds them (Späth, Computing 22, 367, 1979): a fit of both lines and the choice of the nearer line for
each frame take turns. The lines count as two if the room between them is nearly empty. One cloud of points leaves it
full wherever it is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from matgraft.core.findings import Severity
from matgraft.core.quantities import Array
from matgraft.potentials.audit.robust import least_absolute
from matgraft.potentials.audit.scale import BLOCKS, SOFT, stretches

LEAST, SURE = 0.25, 0.4
"""eV/atom between the lines: below the first foundations differ as much; from the second on it can be beyond doubt."""

WITHIN, ALONE = 0.8, 2.0
"""eV/atom from which on a step is beyond doubt that is inside one trajectory, whose structures hardly change, and one
between any two: foundations leave up to 0.5 between the trajectories of a set."""

NEAR, NEARLY_ALL = 0.25, 0.9
"""So many frames of each line must lie so near to it, as a part of the distance between the lines."""

SHARP = 0.1
"""The same where few trajectories bear witness."""

_FRAMES = 5  # of the smaller line; fewer are outliers
_ROUNDS = 10


@dataclass(frozen=True)
class Step:
    """Frames, a minority, whose energies stand on a line of their own.

    Attributes
    ----------
    inside
        (n,) whether a frame is one of them.
    size
        eV/atom, the median distance between the lines.
    n_blocks
        Trajectories, or stretches of one between which it changes lines, on each line, the fewer of the two, where both
        lines have frames of one composition and of like predicted energies.
    sharp
        True if the lines are narrow: nearly all frames lie within `SHARP` of the distance between them.
    torn
        True if one trajectory has frames of like predicted energies on both lines.
    """

    inside: NDArray[np.bool_]
    size: float
    n_blocks: int
    sharp: bool = False
    torn: bool = False

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        many = self.n_blocks >= BLOCKS and self.size >= SURE
        few = self.sharp and self.size >= (WITHIN if self.torn else ALONE)
        return "error" if many or few else "warning"


def find_step(predicted: Array, labels: Array, fractions: Array, blocks: NDArray[np.int64]) -> Step | None:
    """Look for a second line.

    Parameters
    ----------
    predicted, labels
        (n,) eV/atom.
    fractions
        (n, n_elements) part of the atoms that each element makes up.
    blocks
        (n,) trajectory of each frame, in their order.
    """
    if len(labels) < 2 * (_FRAMES + fractions.shape[1]):
        return None
    kinds = np.unique(fractions.round(3), axis=0, return_inverse=True)[1].ravel()
    soft = labels - SOFT * predicted
    starts = _upper(soft, kinds), _upper(soft - fractions @ least_absolute(fractions, soft), 0 * kinds)
    base = np.column_stack([predicted, fractions])
    for start, apart in product(starts, (np.ones((len(labels), 1)), fractions)):
        inside, gaps, rest = _two_lines(base, labels, apart, start)
        size = float(np.median(np.abs(gaps)))
        if size < LEAST or min(inside.sum(), (~inside).sum()) < _FRAMES:
            continue
        if _nearly_all(np.abs(rest) <= NEAR * np.abs(gaps), inside):
            inside = inside if inside.sum() <= len(inside) / 2 else ~inside
            n_blocks = _alike(predicted, kinds, inside, stretches(inside, blocks))
            if n_blocks:  # else reference energies that are not additive would do as well
                torn = any(_overlaps(predicted[own], inside[own]) for own in _one_by_one(blocks, kinds))
                sharp = _nearly_all(np.abs(rest) <= SHARP * np.abs(gaps), inside)
                return Step(inside, size, n_blocks, sharp, torn)
    return None


def _nearly_all(near: NDArray[np.bool_], inside: NDArray[np.bool_]) -> bool:
    return bool(min(near[inside].mean(), near[~inside].mean()) >= NEARLY_ALL)


def _one_by_one(blocks: NDArray[np.int64], kinds: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """Yield which frames are of a trajectory and a composition, (n,)."""
    for block, kind in np.unique(np.column_stack([blocks, kinds]), axis=0):
        yield (blocks == block) & (kinds == kind)


def _overlaps(predicted: Array, inside: NDArray[np.bool_]) -> bool:
    """Say whether frames of each line, not just a few, have energies between those of the other line."""
    sides = predicted[inside], predicted[~inside]
    if not min(map(len, sides)):
        return False
    return all(
        np.count_nonzero((own >= other.min()) & (own <= other.max())) >= _FRAMES for own, other in (sides, sides[::-1])
    )


def _upper(values: Array, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which values lie above the middle of their kind's range, the extreme twentieths left out."""
    found = np.zeros(len(values), dtype=bool)
    for kind in np.unique(kinds):
        inside = kinds == kind
        found[inside] = values[inside] > np.quantile(values[inside], [0.05, 0.95]).mean()
    return found


def _two_lines(
    base: Array, labels: Array, apart: Array, upper: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], Array, Array]:
    """Return which frames are on the second line, the distance between the lines at each frame, and the residuals.

    `apart` are the columns that the lines may differ by: a constant, or one for each element.
    """
    for _ in range(_ROUNDS):
        found = least_absolute(np.column_stack([base, upper[:, None] * apart]), labels)
        gaps = apart @ found[base.shape[1] :]
        rest = labels - base @ found[: base.shape[1]]
        nearer = np.abs(rest - gaps) < np.abs(rest)
        if (nearer == upper).all() or nearer.all() or not nearer.any():
            break
        upper = nearer
    return nearer, gaps, rest - nearer * gaps


def _alike(predicted: Array, kinds: NDArray[np.int64], inside: NDArray[np.bool_], blocks: NDArray[np.int64]) -> int:
    """Count blocks on each line among frames of one composition and of energies that the larger line has too."""
    compared = np.zeros(len(kinds), dtype=bool)
    for kind in np.unique(kinds[inside]):
        others = (kinds == kind) & ~inside
        if others.any():
            low, high = predicted[others].min(), predicted[others].max()
            compared |= (kinds == kind) & (predicted >= low) & (predicted <= high)
    return min(len(np.unique(blocks[compared & side])) for side in (inside, ~inside))

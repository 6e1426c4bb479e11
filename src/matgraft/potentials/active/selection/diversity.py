"""How far the atoms of a pool are from all atoms that are known or chosen, updated as frames are chosen.

    surroundings = Surroundings.of(frames, known)
    surroundings.distances()        # (n_frames,) of the farthest atom of each
    surroundings.choose(3)          # the atoms of frame 3 are known from now on

The next frame is the one whose distance is the largest: farthest-point sampling (Gonzalez, Theoretical Computer Science
38, 293 (1985)) of surroundings of atoms instead of frames, so that one new atom in a large cell counts. Rows are
whitened as for the extrapolation, and atoms are compared with those of their element alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matgraft.core.quantities import Array
from matgraft.potentials.models.uncertainty import Known, nearest_rows
from matgraft.potentials.uncertainty.known import fit_known
from matgraft.potentials.uncertainty.rows import FrameRows

_CHUNK = 1000
"""Rows whose distances to the rows of a frame are in memory at once."""


@dataclass
class Surroundings:
    """The atoms of a pool.

    Attributes
    ----------
    rows
        (n_atoms, width) whitened.
    numbers
        (n_atoms,) atomic numbers.
    starts
        (n_frames,) position of the first atom of each frame.
    to_known
        (n_atoms,) distance to the nearest known atom of the element; infinite where none is known.
    to_any
        The same to the nearest known or chosen one.
    """

    rows: NDArray[Any]
    numbers: NDArray[Any]
    starts: NDArray[Any]
    to_known: Array
    to_any: Array

    @classmethod
    def of(cls, frames: Sequence[FrameRows], known: Known | None, seed: int = 0) -> Surroundings:
        """Whiten the rows of frames and hold them against what is known.

        Parameters
        ----------
        frames
            At least one.
        known
            Rows of the training atoms; None where there are none: the pool itself then gives the whitening.
        seed
            Of the choice of rows, where the pool has more than a whitening is taken from.
        """
        numbers = np.concatenate([frame.numbers for frame in frames])
        rows = np.concatenate([frame.rows for frame in frames])
        own = known or fit_known(frames, np.arange(len(frames)), seed).known
        far = np.full(len(rows), np.inf) if known is None else known.distances(rows, numbers)
        starts = np.cumsum([0, *(len(frame.numbers) for frame in frames[:-1])])
        return cls(_whitened(own, rows, numbers), numbers, starts, far, far.copy())

    def distances(self) -> Array:
        """Return (n_frames,) the distance of each frame's farthest atom from all that is known or chosen."""
        return np.asarray(np.maximum.reduceat(self.to_any, self.starts))

    def extrapolations(self, threshold: float) -> tuple[Array, NDArray[np.bool_]]:
        """Return of each frame the extrapolation of its farthest atom, and whether it has an element that is not known.

        Atoms of such elements are left out of the first; of a frame that has no other it is 0.
        """
        is_new = ~np.isfinite(self.to_known)
        found = np.maximum.reduceat(np.where(is_new, 0.0, self.to_known), self.starts) / threshold
        return found, np.logical_or.reduceat(is_new, self.starts)

    def typical(self) -> Array:
        """Return (n_frames,) how far the mean row of each frame is from that of the pool."""
        counts = np.diff([*self.starts, len(self.rows)])
        means = np.add.reduceat(self.rows, self.starts) / counts[:, None]
        return np.asarray(np.linalg.norm(means - means.mean(0), axis=1))

    def choose(self, frame: int) -> None:
        """Count the atoms of a frame as known."""
        end = self.starts[frame + 1] if frame + 1 < len(self.starts) else len(self.rows)
        chosen = slice(self.starts[frame], end)
        for number in np.unique(self.numbers[chosen]):
            new = self.rows[chosen][self.numbers[chosen] == number].astype(float)
            mine = np.flatnonzero(self.numbers == number)
            for part in np.array_split(mine, max(1, -(-len(mine) // _CHUNK))):
                self.to_any[part] = np.minimum(self.to_any[part], nearest_rows(self.rows[part].astype(float), new))


def _whitened(known: Known, rows: Array, numbers: NDArray[Any]) -> NDArray[Any]:
    """Return the rows by the map of each element; by that which all elements share where it is not known."""
    found = np.empty(rows.shape, dtype=np.float32)
    which = dict(zip(known.numbers.tolist(), known.map_of.tolist(), strict=True))
    for number in np.unique(numbers):
        mine = numbers == number
        found[mine] = (rows[mine] - known.centre) @ known.whitening[which.get(int(number), 0)]
    return found

"""Three independent vectors for a structure that may repeat in fewer directions; numpy alone, nothing of matgraft.

This text is copied into every calculator.py that is exported (`matgraft.potentials.exports.standalone`), so that it
builds graphs in the very boxes that the model was trained in. `matgraft.potentials.data.cells` is what matgraft calls.
"""

from __future__ import annotations

import math

import numpy as np

FLAT = 1e-6
"""Cell vectors whose volume is less than this part of the product of their lengths lie in a plane."""
SHORTEST_A = 0.1
"""A shorter cell vector counts as none: no structure repeats in less, and its images would be without number."""
NO_VECTOR_A = 1e-6
"""A periodic vector up to this is a rounded zero, as writers of sheets and wires leave it."""
MARGIN_A = 1.0
"""Å of vacuum beyond the cutoff."""


def long_enough(cell: np.ndarray) -> np.ndarray:
    """Return (n,) which of some cell vectors (n, 3) count as vectors."""
    return np.asarray(np.linalg.norm(cell, axis=1) >= SHORTEST_A)


def short_period(cell: np.ndarray, pbc: np.ndarray) -> float | None:
    """Return the length (Å) of a periodic vector that is not zero, and that no structure repeats in."""
    lengths = np.linalg.norm(cell[np.asarray(pbc, dtype=bool)], axis=1)
    short = lengths[(lengths > NO_VECTOR_A) & (lengths < SHORTEST_A)]
    return float(short.min()) if short.size else None


def dependent(vectors: np.ndarray) -> bool:
    """Say whether some of the vectors (n, 3) lie in the plane or line of the others."""
    lengths = np.linalg.norm(vectors, axis=1)
    return len(vectors) > 0 and bool(np.prod(np.linalg.svd(vectors / lengths[:, None])[1]) < FLAT)


def spanned_volume(cell: np.ndarray) -> float:
    """Return the volume (Å³) that the three vectors of a cell (3, 3) span; 0 if they span none."""
    lengths = [math.hypot(*vector) for vector in cell.tolist()]  # of three numbers quicker than numpy's norm
    if not all(SHORTEST_A <= length < math.inf for length in lengths):  # nor is NaN
        return 0.0
    size = abs(float(np.linalg.det(cell)))
    return size if size > FLAT * math.prod(lengths) else 0.0


def box_vectors(
    cell: np.ndarray, pbc: np.ndarray, positions: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return three independent vectors (3, 3) Å in rows, and (3,) which of them the structure repeats along.

    Along what does not repeat they are normal to the rest, and longer than the structure by more than the cutoff:
    images along them are no neighbours, whether they are looked for or not.

    Parameters
    ----------
    cell, positions
        (3, 3) Å, rows; (n, 3) Å.
    pbc
        (3,) which directions repeat. Where there is no vector, none does.
    cutoff
        Å, of the neighbours.

    Raises
    ------
    ValueError
        If the cell is not finite, or the periodic cell vectors are not independent.
    """
    if np.all(pbc) and spanned_volume(cell):  # nearly every frame: what follows takes ten times as long
        return np.array(cell, dtype=float), np.ones(3, dtype=bool)
    if not np.isfinite(cell).all():
        raise ValueError("the cell is not finite")
    vectors = np.array(cell, dtype=float)
    periodic = np.asarray(pbc, dtype=bool) & long_enough(vectors)
    repeating = vectors[periodic]
    if dependent(repeating):
        raise ValueError(f"the periodic cell vectors {repeating.round(3).tolist()} are not independent")
    normals = np.linalg.svd(repeating.reshape(-1, 3), full_matrices=True)[2][len(repeating) :]
    extent = np.ptp(positions @ normals.T, axis=0)
    vectors[~periodic] = normals * (extent + 2 * cutoff + MARGIN_A)[:, None]
    return vectors, periodic


def near_origin(positions: np.ndarray, vectors: np.ndarray, periodic: np.ndarray) -> np.ndarray:
    """Return positions (n, 3) in Å less than one period from the origin, and about their middle across the periods.

    Far from the origin float32 positions lose digits. Atoms that are near it stay where they are.
    """
    fractional = np.linalg.solve(vectors.T, positions.T).T
    away = np.where(periodic, np.trunc(fractional), fractional.mean(axis=0, keepdims=True))
    return np.asarray(positions - away @ vectors)

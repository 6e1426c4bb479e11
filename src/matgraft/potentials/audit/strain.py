"""Strain of one cell against another, free of rotations and of the choice of lattice vectors.

    matched = match(reference, cell, within=0.15)    # the metric of a cell in vectors that belong to the reference's
    principal_strains(metric(reference), matched)    # (3,) numbers

A lattice has many bases, and a reduced one jumps as the lattice is strained: the shortest vectors become others. So the
vectors as given are compared first. Where they do not belong together, those integer combinations of them are taken
that leave the least strain.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from matgraft.core.quantities import Array

# Vectors of a reduced lattice that a basis nearly as short can consist of: index triples from -1 to 1.
_SHORT = np.array([index for index in itertools.product((-1, 0, 1), repeat=3) if any(index)])
_BASES = np.abs(np.abs(np.einsum("ia,jka->ijk", _SHORT, np.cross(_SHORT[:, None], _SHORT[None]))) - 1) < 0.5

_SYMMETRIC = 1e-3  # relative difference of products of lattice vectors that are equal by symmetry


def metric(cell: Array) -> Array:
    """Return the products (3, 3) Å² of the lattice vectors: a cell without its orientation."""
    return np.asarray(cell @ cell.T)


def principal_strains(reference: Array, strained: Array) -> Array:
    """Return the principal strains (3,) of a cell, ascending: eigenvalues of U - 1 in the polar decomposition F = R U.

    Parameters
    ----------
    reference, strained
        Metrics (3, 3) Å² of the two cells, in lattice vectors that belong together.
    """
    inverse = np.linalg.inv(np.linalg.cholesky(reference))
    return np.asarray(np.sqrt(np.linalg.eigvalsh(inverse @ strained @ inverse.T)) - 1)


def shear_strain(reference: Array, strained: Array) -> float:
    """Return the largest principal strain at constant volume, in size: e for a shear that strains xy by e."""
    strains = principal_strains(reference, strained)
    return float(np.abs(strains - strains.mean()).max())


def match(reference: Array, cell: Array, within: float) -> Array | None:
    """Return the metric (3, 3) Å² of a cell in vectors that belong to those of another.

    Parameters
    ----------
    reference, cell
        Lattice vectors (3, 3) Å, as rows.
    within
        Largest principal strain of two cells that belong together.

    Returns
    -------
    (3, 3) array or None
        None if no choice of vectors comes as near.
    """
    if _near(metric(reference), metric(cell), within):
        return metric(cell)
    (reduced, operation), (other, _) = minkowski_reduce(reference), minkowski_reduce(cell)
    best = _least_strained(metric(reduced), metric(other), within)
    if best is None or not _near(metric(reduced), best, within):
        return None
    inverse = np.linalg.inv(operation)
    return np.asarray(inverse @ best @ inverse.T)


def _near(reference: Array, strained: Array, within: float) -> bool:
    return bool(np.abs(principal_strains(reference, strained)).max() < within)


def _least_strained(reference: Array, reduced: Array, within: float) -> Array | None:
    """Return the metric of the basis of a reduced lattice that is the least strained against a reduced reference."""
    products = _SHORT @ reduced @ _SHORT.T
    lengths = np.sqrt(np.diag(products))
    fitting = [np.flatnonzero(np.abs(lengths / length - 1) <= within) for length in np.sqrt(np.diag(reference))]
    choices = np.stack(np.meshgrid(*fitting, indexing="ij"), axis=-1).reshape(-1, 3)
    choices = choices[_BASES[tuple(choices.T)]]
    if not len(choices):
        return None
    metrics = products[choices[:, :, None], choices[:, None, :]]
    inverse = np.linalg.inv(np.linalg.cholesky(reference))
    change = inverse @ metrics @ inverse.T - np.eye(3)
    return np.asarray(metrics[np.argmin((change**2).sum(axis=(1, 2)))])


def symmetry(cell: Array) -> int:
    """Return how many rotations and reflections leave a lattice as it is: 48 for a cubic one, 2 for a triclinic one."""
    reduced = metric(minkowski_reduce(cell)[0])
    products = _SHORT @ reduced @ _SHORT.T
    limit = _SYMMETRIC * reduced.max()

    def like(i: int, k: int) -> NDArray[np.bool_]:
        return np.asarray(np.abs(products - reduced[i, k]) < limit)

    first, second, third = (np.diag(like(i, i)) for i in range(3))
    pairs = (like(0, 1) & first[:, None] & second) * ((like(0, 2) & third).astype(int) @ like(1, 2).astype(int).T)
    return int(pairs.sum())

"""Which frames of one crystal or molecule are neighbours in time.

Take the mean over all frames of the same atoms in the same places from each. What is left are the displacements of a
vibration. Those of two snapshots that are close in time point the same way: their correlation is high. Those of
snapshots far apart in time, or of two simulations, are independent: their correlation scatters about zero, to either
side. So the most negative correlation shows how far chance goes, and a correlation well beyond that is no chance.

This is careful where it cannot tell. A relaxation moves one way, so its first frames are opposed to its last ones:
chance seems to go up to one, and nothing is called a neighbour in time. So it is for few atoms, and for frames taken so
rarely that no two are correlated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from matgraft.core.quantities import Array

BEYOND_CHANCE = 1.2
"""A correlation is no chance beyond this times the most negative one."""
LEAST_CORRELATION = 0.3
"""A correlation below it is never called one: few frames may happen to show no negative one."""
CLEAR = 2.0
"""Trajectories are told apart if no step within one reaches half the squared distance to another."""
FEWEST = 5
"""A trajectory of fewer frames is not told apart: so few do not show how densely it was sampled."""


def correlations(moves: Array) -> tuple[Array, float]:
    """Correlate the displacements of frames.

    Parameters
    ----------
    moves
        (n_frames, n_atoms, 3) Å, of each frame from one and the same.

    Returns
    -------
    correlation
        (n_frames, n_frames), 1 on the diagonal; 0 where a frame does not move at all.
    limit
        What chance does not exceed; 1 or more where no correlation means anything.
    """
    flat = moves.reshape(len(moves), -1)
    flat = (flat - flat.mean(axis=0)).astype(np.float32)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-6)
    correlation = flat @ flat.T
    limit = max(LEAST_CORRELATION, -BEYOND_CHANCE * float(correlation.min(initial=0.0)))
    np.fill_diagonal(correlation, 1.0)
    return correlation, limit


def label_trajectories(moves: Array) -> NDArray[np.int64]:
    """Tell several trajectories of the same atoms in the same places apart, whatever the order of their frames.

    They are told apart only where each was sampled densely, so that every frame has a neighbour in time, and where no
    frame of one is correlated with a frame of another. In any other case all frames are one group.

    Parameters
    ----------
    moves
        (n_frames, n_atoms, 3) Å, of each frame from one and the same.

    Returns
    -------
    (n_frames,) int
        Number of each frame's trajectory; all zero where they cannot be told apart.
    """
    whole = np.zeros(len(moves), dtype=np.int64)
    if len(moves) < 2 * FEWEST:
        return whole
    correlation, limit = correlations(moves)
    tree = minimum_spanning_tree(np.maximum(1.0 - correlation, 1e-6)).tocoo()  # a zero would be no edge
    cut = tree.data >= 1.0 - limit
    if not cut.any() or cut.all() or tree.data[cut].min() < CLEAR * tree.data[~cut].max():
        return whole
    tree.data[cut] = 0.0
    tree.eliminate_zeros()
    _, label = connected_components(tree, directed=False)
    return label.astype(np.int64) if np.bincount(label).min() >= FEWEST else whole

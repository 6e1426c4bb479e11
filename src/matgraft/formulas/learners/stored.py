"""Fitted trees and Gaussian processes as plain arrays: predictions without fitting again, and without scikit-learn.

A fit of hundreds of trees takes seconds, and the import of scikit-learn one more. A prediction of one formula from
these arrays takes milliseconds. Every step is that of scikit-learn, in the same order: the
numbers are equal to the bit, but for the deviation of a process, which agrees to rounding. Classifiers are not stored:
classes, and values of which many are zero, are fitted again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from matgraft.formulas.learners.forest import Forest, quantiles_at
from matgraft.formulas.learners.inputs import Array

if TYPE_CHECKING:  # it takes a second, which a prediction from arrays does not wait for
    from matgraft.formulas.learners.closed_form import ClosedForm

Arrays = Mapping[str, NDArray[Any]]
LEAF = -1
SMALLEST = 1e-60
"""Of what is divided by."""
CELLS = 1_000_000
"""Rows times trees that are followed at a time."""
BLOCK = 64
"""Rows of a triangle that are solved at a time: the rest is a product of matrices."""
MANY = 64
"""Rows from which on SciPy's cdist is worth its import (0.1 s): it takes a seventh of the time."""


@dataclass(frozen=True, eq=False)
class FlatTrees:
    """Binary trees, one behind the other; the left child of a node is the next node.

    Attributes
    ----------
    roots
        (m,) first node of each tree.
    feature
        (k,) column that a node reads; `LEAF` for a leaf.
    number
        (k,) largest value of the column that goes left; the answer of a leaf.
    right
        (k,) right child; of a leaf the node itself.
    weight
        (k,) mean weight of the training rows in a leaf; (0,) where all rows count alike.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int16]
    number: Array
    right: NDArray[np.int32]
    weight: Array

    @classmethod
    def joined(cls, trees: Sequence[FlatTrees]) -> FlatTrees:
        """Return several as one."""
        starts = np.cumsum([0, *(len(tree.feature) for tree in trees)])[:-1]
        return cls(
            np.concatenate([tree.roots + start for tree, start in zip(trees, starts, strict=True)]),
            np.concatenate([tree.feature for tree in trees]),
            np.concatenate([tree.number for tree in trees]),
            np.concatenate([tree.right + start for tree, start in zip(trees, starts, strict=True)]).astype(np.int32),
            np.concatenate([tree.weight for tree in trees]),
        )

    @classmethod
    def of_random(cls, tree: Any, weighted: bool) -> FlatTrees:
        """Return a fitted tree of scikit-learn's forests."""
        weight = tree.weighted_n_node_samples / tree.n_node_samples if weighted else np.zeros(0)
        return cls._of(
            tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.value[:, 0, 0], weight
        )

    @classmethod
    def of_boosted(cls, nodes: Any) -> FlatTrees:
        """Return a fitted tree of scikit-learn's boosted trees, from its table of nodes."""
        left = np.where(nodes["is_leaf"], LEAF, nodes["left"].astype(int))
        right = nodes["right"].astype(int)
        return cls._of(left, right, nodes["feature_idx"], nodes["num_threshold"], nodes["value"], np.zeros(0))

    @classmethod
    def _of(cls, left: Any, right: Any, feature: Any, threshold: Any, value: Any, weight: Array) -> FlatTrees:
        leaf, own = left < 0, np.arange(len(left))
        if (left[~leaf] != own[~leaf] + 1).any():
            raise ValueError("the left child of a node is not the next node")
        return cls(
            np.zeros(1, np.int64),
            np.where(leaf, LEAF, feature).astype(np.int16),
            np.where(leaf, value, threshold).astype(np.float64),
            np.where(leaf, own, right).astype(np.int32),
            weight,
        )

    def leaves(self, x: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (n, m) the leaf of each tree that each row of x (n, width) falls into."""
        step = max(CELLS // len(self.roots), 1)
        return np.concatenate([self._leaves(x[i : i + step]) for i in range(0, len(x), step)])

    def _leaves(self, x: NDArray[np.floating]) -> NDArray[np.int64]:
        nodes = np.tile(self.roots, len(x))
        rows = np.repeat(np.arange(len(x)), len(self.roots))
        going = np.flatnonzero(self.feature[nodes] != LEAF)
        while len(going):
            at = nodes[going]
            left = x[rows[going], self.feature[at]] <= self.number[at]
            nodes[going] = np.where(left, at + 1, self.right[at])
            going = going[self.feature[nodes[going]] != LEAF]
        return nodes.reshape(len(x), -1)

    def fault(self, width: int) -> str:
        """Say what is wrong with arrays that were read; empty if nothing is. Every path must end in a leaf."""
        n, own = len(self.feature), np.arange(len(self.feature))
        inner = self.feature != LEAF
        if not (len(self.number) == len(self.right) == n) or len(self.weight) not in (0, n) or not len(self.roots):
            return "the arrays of the trees have other lengths"
        if not n or self.roots.min() < 0 or self.roots.max() >= n:
            return "the root of a tree is not a node"
        kinds = [one.dtype.kind for one in (self.roots, self.feature, self.right, self.number, self.weight)]
        if kinds != ["i", "i", "i", "f", "f"]:
            return "an array of the trees is of another type"
        if self.feature.min() < LEAF or self.feature.max() >= width:
            return "a tree reads a column that is not there"
        if (self.right[inner] <= own[inner] + 1).any() or self.right.max() >= n or inner[-1]:
            return "a child of a node is not a later node"
        return ""


class StoredForest(Forest):
    """What a `Forest` of values says, from arrays.

    Parameters
    ----------
    trees
        Whose answers are the distribution.
    boosted
        What moves it, with its constant; none where no boosted trees are a member.
    """

    def __init__(self, trees: FlatTrees, boosted: tuple[float, FlatTrees] | None = None) -> None:
        self.n_classes, self.zero, self.trees, self.boosted = 0, None, trees, boosted

    def _answers(self, x: Any) -> Any:
        leaves = self.trees.leaves(x)
        return quantiles_at(self.trees.number[leaves], self.trees.weight[leaves] if len(self.trees.weight) else None)

    def _median(self, x: Any) -> Array | None:
        if self.boosted is None:
            return None
        constant, trees = self.boosted
        out = np.zeros(len(x)) + constant
        for answer in trees.number[trees.leaves(x.astype(np.float64))].T:
            out += answer  # one after the other, as scikit-learn adds them
        return out


@dataclass(frozen=True, eq=False)
class StoredProcess:
    """What a Gaussian process with a Matérn 5/2 kernel says (`closed_form.Process`).

    Attributes
    ----------
    means, scales
        (width,) of the features.
    points
        (n, width) training rows, standardised and divided by the length scale.
    alpha
        (n,) the inverse of the covariance times the values.
    factor
        (n (n + 1) / 2,) lower triangle of the Cholesky factor of the covariance, row by row.
    normal
        (99,) quantiles of the normal distribution.
    constants
        (5,) length scale, constant of the kernel, noise, centre and width of the values.
    """

    means: Array
    scales: Array
    points: Array
    alpha: Array
    factor: Array
    normal: Array
    constants: Array

    @classmethod
    def of(cls, form: ClosedForm) -> StoredProcess:
        """Return the process of a fitted closed form of values."""
        from matgraft.formulas.learners.closed_form import NORMAL, Process

        body = form.body
        assert isinstance(body, Process)
        process, kernel = body.process, body.process.kernel_
        length = kernel.k1.k2.length_scale
        factor = process.L_[np.tril_indices(len(process.L_))]
        constants = [length, kernel.k1.k1.constant_value, kernel.k2.noise_level, body.centre, body.width]
        points = process.X_train_ / length
        return cls(body.scaler.mean_, body.scaler.scale_, points, process.alpha_, factor, NORMAL, np.array(constants))

    def __call__(self, x: Array) -> Array:
        """Return (n, 99) quantiles of normal distributions."""
        length, constant, noise, centre, width = self.constants.tolist()
        near = self._kernel(((x - self.means) / self.scales) / length, constant)
        mean = near @ self.alpha
        left = solved_lower(self.factor, near.T)
        variance = np.full(len(x), constant + noise) - np.einsum("ij,ji->i", left.T, left)
        deviation = np.sqrt(np.maximum(variance, 0.0))
        return np.asarray(centre + width * (mean[:, None] + deviation[:, None] * self.normal[None, :]))

    def _kernel(self, scaled: Array, constant: float) -> Array:
        """Return the covariance (n, m) of rows with the training rows."""
        apart = np.sqrt(_squares(scaled, self.points)) * np.sqrt(5)
        return np.asarray(constant * ((1.0 + apart + apart**2 / 3.0) * np.exp(-apart)))

    def fault(self, width: int) -> str:
        """Say what is wrong with arrays that were read; empty if nothing is."""
        n = self.alpha.size
        wanted = {
            "means": (width,), "scales": (width,), "points": (n, width), "factor": (n * (n + 1) // 2,),
            "alpha": (n,), "normal": (99,), "constants": (5,),
        }  # fmt: skip
        wrong = [name for name, shape in wanted.items() if getattr(self, name).shape != shape]
        wrong += [name for name in wanted if getattr(self, name).dtype != np.float64]
        if wrong:
            return f"{wrong[0]} of the process has another shape or type"
        if (self.scales < SMALLEST).any() or not self.constants[0] > SMALLEST:
            return "a scale of the process is not above 0"
        return "" if (self._diagonal() > SMALLEST).all() else "the factor of the process has no inverse"

    def _diagonal(self) -> Array:
        return self.factor[np.cumsum(np.arange(1, len(self.alpha) + 1)) - 1]


def solved_lower(factor: Array, right: Array) -> Array:
    """Return x (n, m) of L x = right (n, m), by blocks of rows; SciPy's import would cost more than this.

    Parameters
    ----------
    factor
        (n (n + 1) / 2,) the lower triangle L, row by row.
    """
    x = np.array(right, dtype=np.float64)
    for start in range(0, len(x), BLOCK):
        stop = min(start + BLOCK, len(x))
        rows = np.zeros((stop - start, stop))
        for i in range(start, stop):
            rows[i - start, : i + 1] = factor[i * (i + 1) // 2 : (i + 1) * (i + 2) // 2]
        x[start:stop] = np.linalg.solve(rows[:, start:], x[start:stop] - rows[:, :start] @ x[:start])
    return x


def _squares(rows: Array, points: Array) -> Array:
    """Return the squared distances (n, m) of rows (n, width) to points (m, width), the same numbers in both ways."""
    if len(rows) >= MANY:
        from scipy.spatial.distance import cdist

        return np.asarray(cdist(rows, points, "sqeuclidean"))
    squares = np.zeros((len(rows), len(points)))
    for column, known in zip(rows.T, points.T, strict=True):  # in the order in which SciPy's cdist adds
        squares += (column[:, None] - known[None, :]) ** 2
    return squares

"""Classes from a few examples: how far a query is from the prototype of each class.

A prototype is the mean of a class's examples (Snell, Swersky and Zemel 2017, arXiv:1703.05175). Squared distances of a
query q from a prototype p:

    euclidean     |q - p|²
    cosine        |q/|q| - p/|p||²
    mahalanobis   (q - p)ᵀ (I + t r S)⁻¹ (q - p)

S is the covariance of the examples about their own prototypes, scaled to a mean eigenvalue of 1. Ledoit and Wolf (2004)
mix it with the round one as r : 1, and t (`trust`) is how much of that is believed. Theirs is the mixture nearest to
the true covariance, which is not the one that names most queries: of base classes 6 % of it names more. With one
example a class there is no S, and the distance is the Euclidean one.

The mean of K examples lies off its class's true centre by 1/K of the class's spread. That part is taken off before
classes are compared: otherwise the class with the most examples would win the doubtful queries. The spread is that of
examples left out, in the distance that the others give. Without an example of residual r, its class of K has a mean
that is K/(K-1) r away from it, and the sum Σ of r rᵀ over the examples loses K/(K-1) r rᵀ. With A = I + t r S = I + s Σ
the identity of Sherman and Morrison (1950) gives the squared length, taken (K-1)/K times, as

    K/(K-1) l / (1 - s K/(K-1) l),    l = rᵀ A⁻¹ r,

where s is that of all examples. An example counts by (K-1)/K, so that a round distance has the usual pooled variance; a
class of one example says nothing.

Lengths and the denominator are written as sums of squares (`Lengths`). A difference of large numbers would lose its
digits where the examples scatter along one line, and could fall below 0.

Everything is written in torch, and can be differentiated with r taken as given: episodes train through it, predictions
read it.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor
from torch.nn.functional import normalize

DISTANCES = ("mahalanobis", "euclidean", "cosine")
"""The first is the default: of base classes, from 5 examples on, it names 2 to 5 % more queries than the second."""


class Prototypes:
    """The classes of a support set.

    Parameters
    ----------
    points
        (n, d) examples.
    labels
        (n,) indices of their classes; every class has at least one.
    n_classes
        Number of classes.
    distance
        One of `DISTANCES`.
    trust
        t of the Mahalanobis distance.

    Attributes
    ----------
    centres
        (n_classes, d) prototypes.
    counts
        (n_classes,) examples of each.
    width
        Mean squared Euclidean distance of an example from its class's true centre; 1 where every class has one example.
    spread
        The same in the prototypes' own distance, by examples left out; None where every class has one example.
    """

    def __init__(
        self,
        points: Tensor,
        labels: Tensor,
        n_classes: int,
        distance: str = "mahalanobis",
        trust: Tensor | float = 1.0,
    ) -> None:
        self.distance, self.labels = distance, labels
        self.counts = torch.bincount(labels, minlength=n_classes)
        sums = points.new_zeros(n_classes, points.shape[1]).index_add(0, labels, points)
        self.centres = sums / self.counts[:, None]
        self.residuals = points - self.centres[labels]
        self.freedom = len(points) - n_classes
        total = (self.residuals**2).sum()
        self.width: Tensor | float = (total / self.freedom).clamp_min(1e-12) if self.freedom else 1.0
        self.stretch: Tensor | None = None
        if distance == "mahalanobis" and (ratio := _ledoit_wolf(self.residuals)):
            self.stretch = trust * ratio * points.shape[1] / total
        self.contrasts = _contrasts(labels, n_classes).to(points)
        self.lengths = Lengths(self.contrasts.T @ self.residuals, self.stretch)
        self.spread = self._spread(points) if self.freedom else None

    def distances(self, queries: Tensor) -> Tensor:
        """Return (m, n_classes) squared distances of queries (m, d)."""
        if self.distance == "cosine":
            queries, centres = normalize(queries, dim=-1), normalize(self.centres, dim=-1)
            return self.lengths(queries[:, None] - centres[None])
        return self.lengths(queries[:, None] - self.centres[None])

    def scores(self, queries: Tensor) -> Tensor:
        """Return (m, n_classes): minus the distances, without what the prototypes' own error adds to them."""
        distances = self.distances(queries)
        if self.spread is None or self.distance == "cosine":  # a unit vector hides how short the mean was
            return -distances
        return self.spread / self.counts - distances

    def logits(self, queries: Tensor, temperature: Tensor | float, slope: Tensor | float) -> Tensor:
        """Return (m, n_classes) logarithms of probabilities, each up to a constant of its query.

        They are scores in units of `width`, times ``temperature · K ** slope``, K being the mean number of examples:
        classes of steels, which lie close together, get probabilities as sharp as classes of anything.
        """
        shots = self.counts.double().mean()
        return self.scores(queries) / self.width * temperature * shots**slope

    def farness(self, queries: Tensor) -> Tensor:
        """Return (m,): squared distance from the likeliest prototype, as a multiple of what the class's own would have.

        That is spread (1 + 1/K); where no class has two examples the spread is unknown and counts as 1.
        """
        nearest = self.scores(queries).argmax(1, keepdim=True)
        expected = (1.0 if self.spread is None else self.spread.clamp_min(1e-12)) * (1 + 1 / self.counts)
        return (self.distances(queries) / expected).gather(1, nearest).squeeze(1)

    def _spread(self, points: Tensor) -> Tensor:
        if self.distance == "cosine":
            centres = normalize(self.centres, dim=-1)[self.labels]
            return ((normalize(points, dim=-1) - centres) ** 2).sum() / self.freedom
        own = self.lengths(self.residuals)
        # An example shortens its own residual; one that is alone in its class has none, and adds nothing.
        K = self.counts.to(own)[self.labels]
        several = K > 1
        left = self.lengths.of_rows(self.contrasts[several]) * (K / (K - 1))[several]  # 1 - s K/(K-1) l
        return (own[several] / left).sum() / self.freedom


class Lengths:
    """Squared lengths, shorter along the directions of scatter: dᵀ (I + s RᵀR)⁻¹ d.

    With w = (I + s R Rᵀ)⁻¹ R d that is |d - s Rᵀ w|² + s |w|², by Woodbury's identity: two squares.

    Parameters
    ----------
    scatter
        (k, d) scattered rows R, fewer than dimensions.
    stretch
        s; None: nothing is shorter.
    """

    def __init__(self, scatter: Tensor, stretch: Tensor | None) -> None:
        self.scatter, self.stretch = scatter, stretch
        if stretch is not None:
            self.root = torch.linalg.cholesky(stretch * (scatter @ scatter.T) + torch.eye(len(scatter)).to(scatter))

    def __call__(self, difference: Tensor) -> Tensor:
        """Return (...) of differences (..., d)."""
        if self.stretch is None:
            return (difference**2).sum(-1)
        along = difference @ self.scatter.T
        solved = torch.cholesky_solve(along.flatten(0, -2).T, self.root).T.reshape(along.shape)
        rest = difference - self.stretch * (solved @ self.scatter)
        return (rest**2).sum(-1) + self.stretch * (solved**2).sum(-1)

    def of_rows(self, rows: Tensor) -> Tensor:
        """Return (n,) of rows c (n, k): cᵀ (I + s R Rᵀ)⁻¹ c, which is |c|² less s times the length of Rᵀ c."""
        if self.stretch is None:
            return (rows**2).sum(-1)
        return (torch.linalg.solve_triangular(self.root, rows.T, upper=False) ** 2).sum(0)


def _contrasts(labels: Tensor, n_classes: int) -> Tensor:
    """Return (n, n - n_classes) orthonormal columns C; each column sums to 0 over each class.

    Residuals R about the prototypes lie in their span: R = C Cᵀ R, and Cᵀ R has a row for each degree of freedom.
    """
    classes = torch.nn.functional.one_hot(labels, n_classes).double()
    return torch.linalg.qr(classes, mode="complete")[0][:, n_classes:]


def _ledoit_wolf(residuals: Tensor) -> float:
    """Return r: the part of the examples' covariance by that of the round one; 0 where there is no scatter."""
    if not residuals.any():
        return 0.0
    round_part = float(ledoit_wolf_shrinkage(np.asarray(residuals.detach().cpu()), assume_centered=True))
    return (1 - round_part) / max(round_part, 1e-6)

"""Closed forms on frozen features: seconds, with a variance.

Values: a Gaussian process (Rasmussen and Williams 2006). Its kernel is a Matérn 5/2 of the standardised features plus a
constant and noise; length scale and noise are those of the largest marginal likelihood on at most `FITTED` rows, drawn
with the seed. Classes: a logistic regression. Values of which many are exactly zero: both, as a mixture.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.special import ndtri
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from matgraft.formulas.learners.forest import LEVELS, is_zero_inflated, with_zeros
from matgraft.formulas.learners.inputs import Array, Labels

NORMAL = ndtri(LEVELS)
"""Quantiles of the normal distribution."""
FITTED = 300
MOST = 3000
"""Rows that enter the process, the cube of which it costs; of more, this many are drawn."""


class ClosedForm:
    """What fits the labels: a process, a regression, or the mixture of both.

    Parameters
    ----------
    x
        (n, width) features.
    """

    def __init__(self, x: Array, labels: Labels, seed: int) -> None:
        self.zero: Logistic | None = None
        body = np.ones(len(x), bool)
        if labels.n_classes:
            self.body: Logistic | Process = Logistic(x, labels)
            return
        if is_zero_inflated(labels.y):
            body = labels.y != 0
            self.zero = Logistic(x, Labels((~body).astype(float), labels.weights, 2))
        self.body = Process(x[body], labels.take(np.flatnonzero(body)), seed)

    def __call__(self, x: Array) -> Array:
        """Return (n, 99) quantiles, or (n, n_classes) probabilities."""
        if self.zero is None:
            return self.body(x)
        quantiles = self.body(x)
        return with_zeros(self.zero(x)[:, 1], lambda levels: _between(quantiles, levels))


class Process:
    """A fitted Gaussian process, its variance that of the function and the noise."""

    def __init__(self, x: Array, labels: Labels, seed: int) -> None:
        counted = np.flatnonzero(labels.weights)
        x, labels = x[counted], labels.take(counted)
        rows = np.random.default_rng(seed).permutation(len(x))[:MOST]
        self.scaler = StandardScaler().fit(x)
        z, y, weights = self.scaler.transform(x[rows]), labels.y[rows], labels.weights[rows]
        self.centre = float(np.average(y, weights=weights))
        self.width = max(float(np.sqrt(np.average((y - self.centre) ** 2, weights=weights))), 1e-12)
        scaled = (y - self.centre) / self.width
        function = ConstantKernel(1.0) * Matern(np.sqrt(x.shape[1]), (1e-1, 1e4), nu=2.5)
        kernel = function + WeightedNoise(0.1, (1e-4, 10), weights[:FITTED])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a scale at its bound: constant or linear data
            fitted = GaussianProcessRegressor(kernel).fit(z[:FITTED], scaled[:FITTED]).kernel_
        noise = WeightedNoise(fitted.k2.noise_level, weights=weights)
        self.process = GaussianProcessRegressor(fitted.k1 + noise, optimizer=None).fit(z, scaled)

    def __call__(self, x: Array) -> Array:
        """Return (n, 99) quantiles of normal distributions."""
        mean, deviation = self.process.predict(self.scaler.transform(x), return_std=True)
        return np.asarray(self.centre + self.width * (mean[:, None] + deviation[:, None] * NORMAL[None, :]))


class WeightedNoise(WhiteKernel):  # type: ignore[misc]
    """Noise whose variance is divided by the weight of each training row; that of a new measurement has weight 1.

    Parameters
    ----------
    noise_level
        Variance of a row of weight 1.
    weights
        (n,) of the training rows, > 0.
    """

    def __init__(
        self,
        noise_level: float = 1.0,
        noise_level_bounds: tuple[float, float] = (1e-5, 1e5),
        weights: Array | None = None,
    ) -> None:
        super().__init__(noise_level, noise_level_bounds)
        self.weights = weights

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:
        """Return the covariance of the training rows, or none between them and others (`Y`)."""
        found = super().__call__(X, Y, eval_gradient)
        if Y is not None or self.weights is None:
            return found
        shares = np.diag(1 / self.weights)
        return (found[0] * shares, found[1] * shares[..., None]) if eval_gradient else found * shares


class Logistic:
    """A fitted logistic regression on standardised features."""

    def __init__(self, x: Array, labels: Labels) -> None:
        self.scaler, self.n_classes = StandardScaler().fit(x), labels.n_classes
        model = LogisticRegression(C=0.1, max_iter=2000)
        self.model = model.fit(self.scaler.transform(x), labels.y.astype(int), labels.weights)

    def __call__(self, x: Array) -> Array:
        """Return (n, n_classes) probabilities."""
        out = np.zeros((len(x), self.n_classes))
        out[:, self.model.classes_] = self.model.predict_proba(self.scaler.transform(x))
        return out


def _between(quantiles: Array, levels: Array) -> Array:
    """Return quantiles (n, k) at levels (n, k) from those at `LEVELS` (n, 99)."""
    rows = zip(levels, quantiles, strict=True)
    return np.stack([np.interp(level, LEVELS, row) for level, row in rows])

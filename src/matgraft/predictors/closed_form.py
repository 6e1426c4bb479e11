"""Closed forms on frozen features: seconds, with a variance.

Values: a Gaussian process (Rasmussen and Williams 2006). Its kernel is a Matérn 5/2 of the standardised features plus a
constant and noise; length scale and noise are those of the largest marginal likelihood on at most `FITTED` rows, drawn
with the seed. Classes: a logistic regression. Values of which many are exactly zero: both, as a mixture.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from matgraft.predictors.forest import LEVELS, is_zero_inflated, with_zeros
from matgraft.predictors.inputs import Array, Labels

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
        rows = np.random.default_rng(seed).permutation(len(x))[:MOST]
        self.scaler = StandardScaler().fit(x)
        z, y = self.scaler.transform(x[rows]), labels.y[rows]
        self.centre, self.width = float(y.mean()), max(float(y.std()), 1e-12)
        scaled = (y - self.centre) / self.width
        noise = 1 / np.maximum(labels.weights[rows], 1e-3) - 1  # a row that counts half has twice the variance
        kernel = ConstantKernel(1.0) * Matern(np.sqrt(x.shape[1]), (1e-1, 1e4), nu=2.5) + WhiteKernel(0.1, (1e-4, 10))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a scale at its bound: constant or linear data
            fitted = GaussianProcessRegressor(kernel).fit(z[:FITTED], scaled[:FITTED]).kernel_
        self.level = float(fitted.k2.noise_level)
        alpha = np.maximum(noise * self.level, 0) + 1e-10
        self.process = GaussianProcessRegressor(fitted, optimizer=None, alpha=alpha).fit(z, scaled)

    def __call__(self, x: Array) -> Array:
        """Return (n, 99) quantiles of normal distributions."""
        mean, deviation = self.process.predict(self.scaler.transform(x), return_std=True)
        return np.asarray(self.centre + self.width * (mean[:, None] + deviation[:, None] * norm.ppf(LEVELS)[None, :]))


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

"""A Gaussian process on frozen features: closed form, seconds, with a variance (Rasmussen and Williams 2006).

Its kernel is a Matérn 5/2 of the standardised features plus a constant and noise; length scale and noise are those of
the largest marginal likelihood on at most `FITTED` rows, drawn with the seed.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from matgraft.predictors.forest import LEVELS

Array = NDArray[np.float64]
FITTED = 400


def quantiles(train: Array, y: Array, test: Array, seed: int = 0) -> Array:
    """Return (n_test, 99) quantiles of normal distributions."""
    scaler = StandardScaler().fit(train)
    x, x_test = scaler.transform(train), scaler.transform(test)
    centre, width = y.mean(), max(float(y.std()), 1e-12)
    kernel = ConstantKernel(1.0) * Matern(np.sqrt(x.shape[1]), (1e-1, 1e4), nu=2.5) + WhiteKernel(0.1, (1e-4, 10))
    chosen = np.random.default_rng(seed).permutation(len(y))[:FITTED]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a scale at its bound: constant or linear data
        fitted = GaussianProcessRegressor(kernel).fit(x[chosen], (y[chosen] - centre) / width).kernel_
    process = GaussianProcessRegressor(fitted, optimizer=None).fit(x, (y - centre) / width)
    mean, deviation = process.predict(x_test, return_std=True)
    return np.asarray(centre + width * (mean[:, None] + deviation[:, None] * norm.ppf(LEVELS)[None, :]))


def probabilities(train: Array, y: NDArray[np.int_], test: Array) -> Array:
    """Return (n_test, n_classes) of a logistic regression on the standardised features; classes weigh alike."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))
    return np.asarray(model.fit(train, y).predict_proba(test))

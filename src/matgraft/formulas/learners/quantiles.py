"""Distributions as quantiles: at which levels networks give them, and the loss that teaches them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = np.array([0.01, *(np.arange(1, 20) / 20), 0.99])
"""Levels of the 21 quantiles that a network gives."""
MIDDLE = len(LEVELS) // 2


def pinball(quantiles: Tensor, y: Tensor) -> Tensor:
    """Return the pinball loss (B,) of quantiles (B, 21) for values (B,) (Koenker and Bassett 1978).

    Twice the mean over the levels: the scale of an absolute error.
    """
    error = y[:, None] - quantiles
    levels = torch.from_numpy(LEVELS).to(quantiles)
    return torch.maximum(levels * error, (levels - 1) * error).mean(1) * 2

"""Features that look alike in two domains, so that labels of the one (source) serve the other (target), which has none.

    alignment = make_alignment("coral", width=256)
    alignment.start(source, target)                        # features (n, width), (m, width) before the fit
    loss = loss_on_labels + alignment(source, target, progress)

| method   | what is added to the loss                                                  | source              |
| -------- | -------------------------------------------------------------------------- | ------------------- |
| reversal | log loss of a domain classifier, its gradient turned round before features | Ganin et al. 2016   |
| coral    | squared difference of the features' means and covariances                  | Sun and Saenko 2016 |
| mmd      | squared maximum mean discrepancy under five Gaussian kernels               | Long et al. 2015    |

The strength is ramped over the fit, `2 / (1 + exp(-10 progress)) - 1`: at first the features serve a head that knows
nothing. The two distances are divided by their value at the start, so that a strength means the same for both. 0.1
brings computed and measured gaps as near as 1 does, at a quarter of the harm (CORAL, +0.023 against +0.092 eV).

Sources: Ganin et al., JMLR 17(59), 2016, arXiv:1505.07818; Sun and Saenko, ECCV workshops 2016, arXiv:1607.01719, with
the means as in Gulrajani and Lopez-Paz, ICLR 2021, arXiv:2007.01434; Long et al., ICML 2015, arXiv:1502.02791.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from matgraft.core.errors import choose

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Widths of the kernels, times the mean squared distance of the points."""
HIDDEN = 128
STEEPNESS = 10.0


def ramp(progress: float, steepness: float = STEEPNESS) -> float:
    """Return the part of the strength that acts at `progress` (0 to 1) of a fit (Ganin et al. 2016, section 5.2).

    A steepness of 0 is no ramp: all of it acts from the first step on.
    """
    return 2 / (1 + math.exp(-steepness * progress)) - 1 if steepness else 1.0


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Return x as it is; its gradient arrives times ``-strength``."""
    return _Reverse.apply(x, strength)


class Alignment(nn.Module, ABC):
    """What is added to the loss on the labels.

    Parameters
    ----------
    width
        Of the features.
    strength
        At the end of the ramp; by default the method's own.
    steepness
        Of the ramp (`ramp`).
    """

    usual: ClassVar[float]

    def __init__(self, width: int, strength: float | None = None, steepness: float = STEEPNESS) -> None:
        super().__init__()
        self.width, self.strength = width, self.usual if strength is None else strength
        self.steepness = steepness

    def start(self, source: Tensor, target: Tensor) -> None:
        """Look at the features (n, width) and (m, width) before the fit."""

    @abstractmethod
    def forward(self, source: Tensor, target: Tensor, progress: float) -> Tensor:
        """Return the penalty () of a batch of each domain, (n, width) and (m, width)."""


class Reversal(Alignment):
    """A classifier learns to tell the domains apart, and the features learn that it cannot."""

    usual = 1.0

    def __init__(self, width: int, strength: float | None = None, steepness: float = STEEPNESS) -> None:
        super().__init__(width, strength, steepness)
        self.classifier = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))

    def forward(self, source: Tensor, target: Tensor, progress: float) -> Tensor:
        """Return the classifier's log loss; the classifier learns at full strength all along."""
        reversed_ones = reverse_gradient(torch.cat([source, target]), self.strength * ramp(progress, self.steepness))
        logits = self.classifier(reversed_ones).squeeze(1)
        truth = torch.cat([torch.zeros(len(source)), torch.ones(len(target))]).to(logits)
        return functional.binary_cross_entropy_with_logits(logits, truth)


class Distance(Alignment):
    """A distance of the two sets of features, in units of what it was before the fit."""

    usual = 0.1
    unit: Tensor

    def __init__(self, width: int, strength: float | None = None, steepness: float = STEEPNESS) -> None:
        super().__init__(width, strength, steepness)
        self.register_buffer("unit", torch.ones(()))

    @staticmethod
    @abstractmethod
    def distance(source: Tensor, target: Tensor) -> Tensor:
        """Return the squared distance () of two sets of features."""

    def start(self, source: Tensor, target: Tensor) -> None:
        """Set the unit: the distance at the start, or what chance alone makes of one domain where that is more."""
        with torch.no_grad():
            chance = [abs(self.distance(*_halves(one))) for one in (source, target)]
            self.unit.copy_(torch.stack([self.distance(source, target), *chance]).max())

    def forward(self, source: Tensor, target: Tensor, progress: float) -> Tensor:
        """Return the part of the distance that is left, times the strength."""
        return self.strength * ramp(progress, self.steepness) * self.distance(source, target) / self.unit


class Coral(Distance):
    """Means and covariances."""

    @staticmethod
    def distance(source: Tensor, target: Tensor) -> Tensor:
        """Return the squared difference, averaged over the entries of the means and of the covariances.

        It is the product of the differences that two halves of the rows show, which chance does not lift above 0: the
        square of one difference of 64 rows in 256 columns would be mostly noise, and the fit would shrink the features.
        """
        halves = list(zip(_halves(source), _halves(target), strict=True))
        means = [one.mean(0) - other.mean(0) for one, other in halves]
        covariances = [_covariance(one) - _covariance(other) for one, other in halves]
        return (means[0] * means[1]).mean() + (covariances[0] * covariances[1]).mean()


class MaximumMeanDiscrepancy(Distance):
    """All moments that the kernels see."""

    @staticmethod
    def distance(source: Tensor, target: Tensor) -> Tensor:
        """Return the unbiased estimate (Gretton et al., JMLR 13, 2012, equation 3), the mean over the kernels."""
        n, m = len(source), len(target)
        points = torch.cat([source, target])
        points = points - points.mean(0)  # norms of points far from 0 would round the distances away
        norms = points.square().sum(1)
        squared = (norms[:, None] + norms[None, :] - 2 * points @ points.T).clamp_min(0)
        width = squared.detach().sum() / ((n + m) * (n + m - 1))
        kernel = torch.stack([torch.exp(-squared / (width * factor)) for factor in BANDWIDTHS]).mean(0)
        within_source = (kernel[:n, :n].sum() - n) / (n * (n - 1))  # a point's kernel with itself is 1
        within_target = (kernel[n:, n:].sum() - m) / (m * (m - 1))
        return within_source + within_target - 2 * kernel[:n, n:].mean()


ALIGNMENTS: dict[str, type[Alignment]] = {"reversal": Reversal, "coral": Coral, "mmd": MaximumMeanDiscrepancy}


def make_alignment(name: str, width: int, strength: float | None = None, steepness: float = STEEPNESS) -> Alignment:
    """Return an alignment by its name.

    Raises
    ------
    OptionError
        If there is no such method.
    """
    return choose(name, ALIGNMENTS, "alignment")(width, strength, steepness)


def _halves(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return every other row, and the others: a table comes sorted, and its first half is another chemistry."""
    return rows[::2], rows[1::2]


def _covariance(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(0)
    return centred.T @ centred / (len(rows) - 1)

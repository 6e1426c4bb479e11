"""Representations of rotations, as e3nn counts them: channels by degree, couplings, and harmonics of directions.

    parse_channels("128x0e + 64x1o")    # {0: 128, 1: 64}: channels by degree
    coupling(1, 1, 2)                   # (3, 3, 5): two vectors to their traceless symmetric product
    Harmonics(3)(vectors)               # (E, 16): Y_0 to Y_3, each of norm sqrt(2 l + 1)

Weights learned with e3nn mean what they mean in its basis, with its signs. The basis is here by its definition, so that
neither e3nn nor JAX has to be installed.

Sources: Geiger and Smidt, arXiv:2207.09453 (conventions of e3nn); Varshalovich, Moskalev and Khersonskii, Quantum
Theory of Angular Momentum (1988), 8.2.1, formula 3 (Clebsch-Gordan coefficients).
"""

from __future__ import annotations

import math
import re
from functools import cache

import torch
from torch import Tensor

_PART = re.compile(r"(?:(\d{1,5})x)?(\d{1,2})([eo])")


def parse_channels(text: str) -> dict[int, int]:
    """Return degree -> channels of ``128x0e + 64x1o``; a ValueError says what is not supported.

    Of each degree there is the parity of spherical harmonics alone: from scalars and directions nothing else is made.
    """
    channels: dict[int, int] = {}
    for part in text.split("+"):
        found = _PART.fullmatch(part.strip())
        if not found:
            raise ValueError(f"{part.strip()[:40]!r} is not a kind of features such as 64x1o")
        degree = int(found[2])
        if found[3] != "eo"[degree % 2]:
            raise ValueError(f"{part.strip()} has another parity than spherical harmonics")
        if degree in channels or degree < max(channels, default=0):
            raise ValueError("degrees that do not rise from kind to kind")
        channels[degree] = int(found[1] or 1)
    return channels


@cache
def _coupling(l1: int, l2: int, l3: int) -> Tensor:
    """As `coupling`, in complex numbers first: real harmonics are combinations of complex ones."""
    complex_ = torch.zeros(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, dtype=torch.complex128)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            complex_[l1 + m1, l2 + m2, l3 + m1 + m2] = _clebsch_gordan(l1, m1, l2, m2, l3, m1 + m2)
    turned = torch.einsum("ia,jb,kc,ijk->abc", _to_complex(l1), _to_complex(l2), _to_complex(l3).conj(), complex_)
    return turned.real / turned.real.norm()


def coupling(l1: int, l2: int, l3: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the invariant of three degrees (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) of norm 1, with e3nn's basis and sign."""
    return _coupling(l1, l2, l3).to(dtype)


def _clebsch_gordan(l1: int, m1: int, l2: int, m2: int, l3: int, m3: int) -> float:
    f = math.factorial
    squared = (2 * l3 + 1) * f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(l2 + l3 - l1) / f(l1 + l2 + l3 + 1)
    squared *= f(l3 + m3) * f(l3 - m3) * f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2)
    total = 0.0
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        below = f(k) * f(l1 + l2 - l3 - k) * f(l1 - m1 - k) * f(l2 + m2 - k) * f(l3 - l2 + m1 + k)
        total += (-1) ** k / (below * f(l3 - l1 - m2 + k))
    return math.sqrt(squared) * total


def _to_complex(degree: int) -> Tensor:
    """(2 l + 1, 2 l + 1), complex by real: e3nn's real basis, whose phase makes all couplings real."""
    change = torch.zeros(2 * degree + 1, 2 * degree + 1, dtype=torch.complex128)
    change[degree, degree] = 1
    for m in range(1, degree + 1):
        sign = (-1) ** m
        change[degree - m, degree + m], change[degree - m, degree - m] = 0.5**0.5, -1j * 0.5**0.5
        change[degree + m, degree + m], change[degree + m, degree - m] = sign * 0.5**0.5, 1j * sign * 0.5**0.5
    return (-1j) ** degree * change


class Harmonics:
    """Spherical harmonics of directions, each degree from the one before: Y_l ~ (Y_{l-1} x Y_1)_l.

    Parameters
    ----------
    highest
        Degree.
    """

    def __init__(self, highest: int) -> None:
        self.highest = highest
        self._steps: list[Tensor] = []
        last = probe = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64) * math.sqrt(3)
        for degree in range(2, highest + 1):
            step = coupling(degree - 1, 1, degree).flatten(0, 1)
            following = _outer(last, probe) @ step
            scale = math.sqrt(2 * degree + 1) / float(following.norm())  # the same for every direction
            self._steps.append(scale * step)
            last = scale * following

    def __call__(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Return (E, (highest + 1)^2) of vectors (E, 3) and their lengths (E,); Y_0 is 1."""
        found = [torch.ones_like(lengths)[:, None]]
        if self.highest:
            found.append(vectors * (math.sqrt(3) / lengths)[:, None])
        for step in self._steps:
            found.append(_outer(found[-1], found[1]) @ step.to(vectors))
        return torch.cat(found, dim=1)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return (left[:, :, None] * right[:, None]).flatten(1)

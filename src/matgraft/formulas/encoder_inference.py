"""What an encoder makes of formulas where nothing is learned: the same sums in a leaner order.

    tokens = Tokens.of(formulas)
    features_of(encoder, tokens)        # (n, features), to float32 what `CompositionEncoder.features` gives

- An element with its fraction is a token, and a table has few different ones: each is embedded, and enters the first
  layer's projection, once.
- Formulas of equal length pass together: there is no padding, and attention needs no mask.
- Behind the last layer the elements are averaged. The last map is linear, so it comes after the average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from matgraft.formulas.encoder_network import GATHER, CompositionEncoder, Layer
from matgraft.formulas.formula import Formula, padded

CHUNK = 256
"""Formulas that pass together: what a layer holds of them stays in the cache."""


@dataclass(frozen=True, eq=False)
class SameLength:
    """Formulas of one length L.

    Attributes
    ----------
    rows
        (k,) which they are.
    places
        (k, L + 1) of their tokens among the different ones; the gathering token comes first.
    weights
        (k, L) fractions.
    """

    rows: Tensor
    places: Tensor
    weights: Tensor

    def chunks(self) -> Iterator[SameLength]:
        """Yield parts of at most `CHUNK` formulas."""
        each = (one.split(CHUNK) for one in (self.rows, self.places, self.weights))
        return map(SameLength, *each)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Formulas by their different tokens.

    Attributes
    ----------
    n
        Number of formulas.
    numbers, fractions
        (m,) of the different tokens; the gathering one comes first.
    lengths
        The formulas by length.
    """

    n: int
    numbers: Tensor
    fractions: Tensor
    lengths: tuple[SameLength, ...]

    @classmethod
    def of(cls, formulas: Sequence[Formula]) -> Self:
        """Find the different tokens of formulas."""
        numbers, exact = padded(formulas)
        fractions = exact.astype(np.float32)
        present = numbers > 0
        # A pair of a number and the bits of a fraction, as one integer.
        pairs = (numbers[present] << 32) | fractions.view(np.uint32)[present].astype(np.int64)
        different, where = np.unique(pairs, return_inverse=True)
        places = np.zeros_like(numbers)
        places[present] = where + 1
        lengths = present.sum(1)
        return cls(
            len(formulas),
            torch.from_numpy(np.concatenate([[GATHER], different >> 32])),
            torch.from_numpy(np.concatenate([[0.0], _bits(different)]).astype(np.float32)),
            tuple(_same_length(length, lengths, places, fractions) for length in np.unique(lengths)),
        )


def _bits(pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    return (pairs & 0xFFFFFFFF).astype(np.uint32).view(np.float32)


def _same_length(
    length: int, lengths: NDArray[Any], places: NDArray[np.int64], fractions: NDArray[np.float32]
) -> SameLength:
    rows = np.flatnonzero(lengths == length)
    gathering = np.zeros((len(rows), 1), np.int64)
    each = rows, np.concatenate([gathering, places[rows, :length]], 1), fractions[rows, :length]
    return SameLength(*map(torch.from_numpy, each))


@torch.no_grad()
def features_of(encoder: CompositionEncoder, tokens: Tokens) -> Tensor:
    """Return the features (n, width) of formulas, on the encoder's device."""
    device = encoder.elements.table.device
    embedded = encoder.elements(tokens.numbers.to(device))
    embedded[1:] += encoder.amounts(tokens.fractions[1:].to(device))
    first: Any = encoder.layers[0]
    projected = first.project(first.norm_attention(embedded))
    out = embedded.new_empty(tokens.n, encoder.width_of_features)
    for same in tokens.lengths:
        for part in same.chunks():
            places = part.places.to(device)
            weights = part.weights.to(embedded)
            out[part.rows.to(device)] = _features(encoder, embedded[places], projected[places], weights)
    return out


def _features(encoder: CompositionEncoder, x: Tensor, projected: Tensor, weights: Tensor) -> Tensor:
    """Return (k, features) of tokens (k, L + 1, width), their projections (k, L + 1, 3 width) and fractions (k, L)."""
    layers = [layer for layer in encoder.layers if isinstance(layer, Layer)]
    x, hidden = _attended(layers[0], x, projected)
    for before, layer in pairwise(layers):
        x = x + before.feed[2](hidden)
        x, hidden = _attended(layer, x, layer.project(layer.norm_attention(x)))
    last = layers[-1]
    widen = last.feed[2]
    assert isinstance(widen, torch.nn.Linear)
    shares = torch.stack([torch.ones_like(weights[:, 0]), weights.sum(1)], 1).unsqueeze(-1)
    pooled = _pooled(x, weights) + functional.linear(_pooled(hidden, weights), widen.weight) + shares * widen.bias
    return encoder.pool(pooled.flatten(1))


def _attended(layer: Layer, x: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens behind the attention of a layer, and what is inside its feed-forward part, (k, L + 1, 3 width)."""
    k, length, width = x.shape
    query, key, value = projected.view(k, length, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
    attended = functional.scaled_dot_product_attention(query, key, value)
    x = x + layer.out(attended.transpose(1, 2).reshape(k, length, width))
    return x, layer.feed[1](layer.feed[0](layer.norm_forward(x)))


def _pooled(x: Tensor, weights: Tensor) -> Tensor:
    """Return (k, 2, width): the gathering token, and the mean of the elements."""
    mean = torch.bmm(weights.unsqueeze(1), x[:, 1:])
    return torch.cat([x[:, :1], mean], 1)

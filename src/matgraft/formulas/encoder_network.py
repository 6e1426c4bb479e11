"""The composition encoder: a transformer over the set of elements of a formula and their amounts.

A formula is a set of tokens, one an element, and one token that gathers the whole. A token is the sum of

    a learned embedding of the element + its tabulated properties + an embedding of its atomic fraction

There is no position: the order of writing cannot matter. Fractions are embedded from 1e-6 to 1 on a linear and on a
logarithmic scale, so that Li0.5 and a steel's 0.01 % of boron are both resolved.

    (B, L) elements, (B, L) fractions -> tokens (B, L + 1, width) -> layers -> pooled (B, 2 width) -> features (B, n)
    features -> head -> properties (B, n_properties), standardised

The pooled value is the gathering token beside the mean of the element tokens weighted by their fractions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from matgraft.formulas.elements import N_ELEMENTS

GATHER, MASK = N_ELEMENTS + 1, N_ELEMENTS + 2
"""Numbers of the two tokens that are no elements; 0 is padding."""
TABLE_WIDTH = 16
FREQUENCIES = 8


class CompositionEncoder(nn.Module):
    """Elements and fractions in, features and standardised properties out.

    Parameters
    ----------
    width, layers, heads
        Of the transformer.
    features
        Width of what enters the head.
    property_names
        Pretraining properties, in the order of the head's outputs.
    dropout
        Part of each layer's output that is dropped while training.

    Attributes
    ----------
    arguments
        What it was built with, as ``config.json`` beside its weights holds it.
    """

    def __init__(
        self,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        features: int = 256,
        property_names: Sequence[str] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.property_names = tuple(property_names)
        self.width_of_features = features
        self.arguments = {
            "dropout": dropout, "features": features, "heads": heads, "layers": layers,
            "property_names": list(property_names), "width": width,
        }  # fmt: skip
        self.elements = ElementEmbedding(width)
        self.amounts = AmountEmbedding(width)
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.pool = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, features), nn.GELU(), nn.LayerNorm(features)
        )
        self.head = nn.Sequential(
            nn.Linear(features, features), nn.GELU(), nn.Linear(features, max(1, len(self.property_names)))
        )

    def tokens(self, numbers: Tensor, fractions: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Return (B, L + 1, width): the gathering token, then the elements; `numbers` 0 is padding.

        Prompts (B, layers, P, width) stand behind them as P further tokens, (B, L + 1 + P, width): the first of the
        layers' enters before the first layer, each further one is added to what has become of it before its own layer.
        """
        gather = torch.full_like(numbers[:, :1], GATHER)
        everyone = torch.cat([gather, numbers], 1)
        x = self.elements(everyone)
        x = torch.cat([x[:, :1], x[:, 1:] + self.amounts(fractions)], 1)
        present = (everyone > 0)[:, None, None, :]
        if prompts is None:
            for layer in self.layers:
                x = layer(x, present)
            return x
        n, asked = x.shape[1], torch.zeros_like(prompts[:, 0])
        present = functional.pad(present, (0, prompts.shape[2]), value=True)
        for i, layer in enumerate(self.layers):
            x = layer(torch.cat([x[:, :n], asked + prompts[:, i]], 1), present)
            asked = x[:, n:]
        return x

    def features(self, numbers: Tensor, fractions: Tensor) -> Tensor:
        """Return (B, features)."""
        return self.pooled(self.tokens(numbers, fractions), numbers, fractions)

    def pooled(self, tokens: Tensor, numbers: Tensor, fractions: Tensor) -> Tensor:
        """Return (B, features) of tokens (B, L + 1, width); prompts behind them are left out."""
        weights = (fractions * (numbers > 0)).unsqueeze(-1)
        elements = tokens[:, 1 : numbers.shape[1] + 1]
        return self.pool(torch.cat([tokens[:, 0], (elements * weights).sum(1)], -1))

    def forward(self, numbers: Tensor, fractions: Tensor) -> Tensor:
        """Return the standardised properties (B, n_properties)."""
        return self.head(self.features(numbers, fractions))


class ElementEmbedding(nn.Module):
    """A learned vector an element, and a linear map of its tabulated properties."""

    table: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.learned = nn.Embedding(N_ELEMENTS + 3, width, padding_idx=0)
        self.tabulated = nn.Linear(TABLE_WIDTH, width)
        self.register_buffer("table", torch.zeros(N_ELEMENTS + 3, TABLE_WIDTH))
        nn.init.normal_(self.learned.weight, std=0.3)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (..., width)."""
        return self.learned(numbers) + self.tabulated(self.table[numbers])


class AmountEmbedding(nn.Module):
    """An atomic fraction as sines and cosines of itself and of its logarithm, mixed by two layers."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(4 * FREQUENCIES + 2, width), nn.GELU(), nn.Linear(width, width))
        self.register_buffer("frequencies", torch.pi * 2.0 ** torch.arange(FREQUENCIES).float() / 2)

    def forward(self, fractions: Tensor) -> Tensor:
        """Return (..., width)."""
        logarithm = fractions.clamp_min(1e-6).log10() / 6 + 1  # 1e-6 .. 1 -> 0 .. 1
        both = torch.stack([fractions, logarithm], -1)
        angles = (both.unsqueeze(-1) * self.frequencies).flatten(-2)
        return self.mix(torch.cat([both, angles.sin(), angles.cos()], -1))


class Layer(nn.Module):
    """Attention and a feed-forward part, each behind a norm and beside a shortcut (Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return (B, L, width); `present` (B, 1, 1, L) leaves padding out of the attention."""
        B, L, width = x.shape
        query, key, value = self.project(self.norm_attention(x)).view(B, L, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=present)
        x = x + self.drop(self.out(attended.transpose(1, 2).reshape(B, L, width)))
        return x + self.drop(self.feed(self.norm_forward(x)))

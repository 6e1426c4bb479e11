"""The last stage of MACE as one module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from matgraft.potentials.models.mace.vendor import o3


class Readouts(nn.Module):
    """The last stage as one module: (N, width) -> (N, 1). It shares the vendor's readouts, scale and shift."""

    def __init__(self, module: Any, head: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.readouts, self.scale_shift = module.readouts, module.scale_shift
        self.head = head
        self.widths = (int(hasattr(module, "pair_repulsion_fn")), *widths)

    def forward(self, features: Tensor) -> Tensor:
        """Return scale (pair + sum of the readouts) + shift, in eV."""
        heads = torch.full((len(features),), self.head, device=features.device)
        pair, *layers = features.split(self.widths, dim=1)
        energies = pair.sum(1)
        for readout, layer in zip(self.readouts, layers, strict=True):
            first = getattr(readout, "linear", None) or readout.linear_1
            # A readout of an inner layer takes vectors too and reads none of them.
            padded = F.pad(layer, (0, first.irreps_in.dim - layer.shape[1]))
            energies = energies + readout(padded, heads)[:, self.head]
        energies = self.scale_shift(energies, heads)
        return energies[:, None]


def scalars_of(product: Any) -> int:
    """Return how many scalars lead a layer's features."""
    leading = o3.Irreps(str(product.linear.irreps_out))[0]
    return int(leading.mul) if leading.ir == o3.Irrep("0e") else 0

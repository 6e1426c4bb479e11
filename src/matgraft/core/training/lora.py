"""Low-rank updates of linear layers, learned beside the frozen weights and merged into them.

    W = W0 + (alpha / rank) B A,      B = 0 at the start, so that step 0 is the foundation to the last bit.

A is (rank, columns) and is drawn at random, B is (rows, rank). Each update is a parametrization of its layer's
``weight``: whoever reads ``layer.weight`` gets W, the vendor's forward as well as ours, and no module is replaced.

An equivariant linear layer has one matrix for each pair of equal irreps. Its weight is these matrices flattened, one
after another (`Backbone.matrices`); each gets an update of its own. Channels of one irrep are mixed with each other and
with nothing else, so the tuned layer is as equivariant as the vendor's.

Sources: Hu et al., ICLR 2022, arXiv:2106.09685 (LoRA); Wang et al., ICML 2025 (ELoRA: one update a path).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from matgraft.core.model import Backbone, Stage

_WEIGHT = ".weight"


class LowRank(nn.Module):
    """The update of one weight, as a parametrization.

    Parameters
    ----------
    weight
        Frozen; of any shape whose entries are the matrices' entries in order.
    matrices
        (rows, columns) of each.
    rank
        Bounded by each matrix's own.
    """

    def __init__(
        self, weight: Tensor, matrices: Sequence[tuple[int, int]], rank: int, alpha: float, random: torch.Generator
    ) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.A, self.B = nn.ParameterList(), nn.ParameterList()
        blocks = weight.detach().flatten().split([rows * columns for rows, columns in matrices])
        for (rows, columns), block in zip(matrices, blocks, strict=True):
            own = min(rank, rows, columns)
            # As large as the matrix's own entries: they are of order 1 in e3nn, of order 1/sqrt(columns) in torch.
            size = float(block.square().mean().sqrt()) or 1 / math.sqrt(columns)
            drawn = torch.randn(own, columns, generator=random, dtype=torch.float64)
            self.A.append(nn.Parameter((size * drawn).to(block)))
            self.B.append(nn.Parameter(block.new_zeros(rows, own)))

    def forward(self, weight: Tensor) -> Tensor:
        """Return W of W0."""
        updates = [(B @ A).flatten() for A, B in zip(self.A, self.B, strict=True)]
        return weight + self.scale * torch.cat(updates).view_as(weight)


def linear_weights(backbone: Backbone, stage: Stage) -> dict[str, nn.Parameter]:
    """Return the weights of a stage that can get an update, by their full name in ``backbone.module``."""
    parameters = stage.parameters()
    return {name: parameters[name] for name in matrices_in(backbone, parameters)}


def matrices_in(backbone: Backbone, names: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
    """Return the shapes of the matrices in those parameters that are weights of linear layers."""
    return {name: shapes for name in names if (shapes := _matrices(backbone, name))}


def inject(
    backbone: Backbone, weights: Sequence[str], rank: int, alpha: float, random: torch.Generator
) -> dict[str, nn.Parameter]:
    """Put an update on each weight.

    Parameters
    ----------
    weights
        Full names, from `linear_weights`.

    Returns
    -------
    dict
        Full name -> parameter: the A and B of all updates.
    """
    added: dict[str, nn.Parameter] = {}
    for name in weights:
        path = name.removesuffix(_WEIGHT)
        layer = backbone.module.get_submodule(path)
        update = LowRank(layer.get_parameter("weight"), _matrices(backbone, name), rank, alpha, random)
        parametrize.register_parametrization(layer, "weight", update)
        added |= {f"{path}.parametrizations.weight.0.{own}": one for own, one in update.named_parameters()}
    return added


def merge(module: nn.Module) -> None:
    """Add each update to its weight, in place: names and order of the parameters are the vendor's again."""
    for layer in list(module.modules()):
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        # It comes back as the last one.
        others = [name for name in layer._parameters if name != "weight"]
        for name in others:
            layer.register_parameter(name, layer._parameters.pop(name))


def _matrices(backbone: Backbone, name: str) -> list[tuple[int, int]]:
    """Return the shapes of the matrices in a parameter; none if it is not the weight of a linear layer."""
    if not name.endswith(_WEIGHT):
        return []
    return backbone.matrices(backbone.module.get_submodule(name.removesuffix(_WEIGHT)))

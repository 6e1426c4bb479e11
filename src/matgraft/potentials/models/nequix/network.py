"""Nequix in torch, in a leaner order: an equivariant network of NequIP's kind whose edges carry no channels for long.

    features of an atom: one-hot element -> layers -> scalars -> readout -> energy
    a layer: norm(mix(sum over neighbours of R(r) (mix(h_j) x Y(r/|r|))) + skip(h_i)), then gates

What is the vendor's: every number, to rounding. What is leaner: the product and the sum over neighbours are one product
of matrices an atom (`matgraft.potentials.models.convolution`), and the radial network, which sees lengths alone, is
evaluated once for the two directions of an edge.

Shapes: N atoms, E directed edges, P pairs of them; features (N, width), degree by degree, channel by channel.

Source: Koker et al., arXiv:2508.16067, and the package nequix (MIT).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from matgraft.potentials.models.convolution import Convolution, Neighbours
from matgraft.potentials.models.nequix.algebra import Harmonics, coupling
from matgraft.potentials.models.nequix.configuration import NequixConfiguration
from matgraft.potentials.models.nequix.plan import LayerPlan, Shape, plan_layers

SILU_NORM = 0.59645868
"""Root mean square of SiLU on the 1,000,001 quantiles of a normal distribution that e3nn takes."""
_EPSILON = 1e-12


class NequixEdges(NamedTuple):
    """Directed edges of a batch.

    Attributes
    ----------
    sender, receiver
        (E,) atoms.
    owner
        (E,) the pair that each belongs to, with its own reverse.
    vectors
        (E, 3) Å, one end to the other.
    lengths
        (P,) Å, of pairs.
    """

    sender: Tensor
    receiver: Tensor
    owner: Tensor
    vectors: Tensor
    lengths: Tensor


class DegreeMatrix(nn.Module):
    """(..., rows) -> (..., columns), times a constant: `weight` is (rows, columns), as in the vendor's file."""

    def __init__(self, rows: int, columns: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, columns))
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """Return the product with the weight."""
        return features @ (self.scale * self.weight)


class DegreeMix(nn.ModuleDict):
    """A linear layer of features: one matrix (rows, columns) for each degree that comes in and goes out."""

    def __init__(self, shapes: dict[int, Shape]) -> None:
        super().__init__(
            {str(degree): DegreeMatrix(*shape, 1 / math.sqrt(shape[0])) for degree, shape in shapes.items()}
        )

    def forward(self, parts: dict[int, Tensor]) -> dict[int, Tensor]:
        """Return mixed channels; parts are (N, channels, 2 l + 1). A degree that nothing leads to is absent."""
        known = {degree: part for degree, part in parts.items() if str(degree) in self}
        return {degree: self[str(degree)](part.transpose(1, 2)).transpose(1, 2) for degree, part in known.items()}


class DegreeNorm(nn.Module):
    """Features divided by their root mean square over all degrees of an atom, and one factor a channel.

    Components count by 1/(2 l + 1)^2, as in the vendor's.
    """

    def __init__(self, widths: dict[int, int]) -> None:
        super().__init__()
        self.affine_weight = nn.ParameterDict(
            {str(degree): torch.empty(channels) for degree, channels in widths.items()}
        )

    def forward(self, parts: dict[int, Tensor]) -> dict[int, Tensor]:
        """Return parts (N, channels, 2 l + 1) of the same shapes."""
        squares = [part.square().sum((1, 2)) / (2 * degree + 1) ** 2 for degree, part in parts.items()]
        factor = (torch.stack(squares).sum(0) / len(parts) + _EPSILON).rsqrt()[:, None, None]
        return {degree: part * self.affine_weight[str(degree)][:, None] * factor for degree, part in parts.items()}


class NequixLayer(nn.Module):
    """One convolution, from features of some degrees to those of others; its parameters stand in the file's order."""

    def __init__(self, plan: LayerPlan, made_of: NequixConfiguration) -> None:
        super().__init__()
        self.plan = plan
        self.convolution = Convolution(plan.connections, range(len(plan.made)), (made_of.lmax + 1) ** 2, coupling)
        self.scale = 1 / math.sqrt(made_of.avg_n_neighbors)
        self.radial_mlp = nn.ModuleList(DegreeMatrix(*shape, 1.0) for shape in plan.radial_mlp)
        self.linear_1, self.linear_2, self.skip = (
            DegreeMix(plan.linear_1),
            DegreeMix(plan.linear_2),
            DegreeMix(plan.skip),
        )
        self.layer_norm = DegreeNorm(plan.before_gates) if made_of.layer_norm else None

    def forward(
        self,
        parts: dict[int, Tensor],
        edges: NequixEdges,
        harmonics: Tensor,
        radial: Tensor,
        neighbours: Neighbours | None,
    ) -> dict[int, Tensor]:
        """Return features of the next layer; parts are (N, channels, 2 l + 1), harmonics (E, ...), radial (P, ...)."""
        for matrix in self.radial_mlp[:-1]:
            radial = F.silu(matrix(radial))
        sent = torch.cat([part.flatten(1) for part in self.linear_1(parts).values()], 1)
        rows = neighbours or Neighbours.each(len(edges.sender), sent.device)
        messages = self.convolution.parts(sent, harmonics, self.radial_mlp[-1](radial), edges.sender, rows, edges.owner)
        gathered: dict[int, list[Tensor]] = {}
        for degree, message in zip(self.plan.made, messages, strict=True):
            gathered.setdefault(degree, []).append(message)
        summed = {degree: self.scale * torch.cat(several, 1) for degree, several in gathered.items()}
        if neighbours is None:  # a row for each edge
            n = len(sent)
            summed = {
                degree: part.new_zeros(n, *part.shape[1:]).index_add(0, edges.receiver, part)
                for degree, part in summed.items()
            }
        mixed, skipped = self.linear_2(summed), self.skip(parts)
        mixed |= {degree: mixed[degree] + part for degree, part in skipped.items()}
        return self._gated(self.layer_norm(mixed) if self.layer_norm is not None else mixed)

    def _gated(self, parts: dict[int, Tensor]) -> dict[int, Tensor]:
        scalars = F.silu(parts[0]) / SILU_NORM
        kept, gates = scalars.split([self.plan.leaving[0], self.plan.gates], 1)
        found, begins = {0: kept}, 0
        for degree, channels in self.plan.leaving.items():
            if degree:
                found[degree] = parts[degree] * gates[:, begins : begins + channels]
                begins += channels
        return found


class NequixNetwork(nn.Module):
    """The whole: energies of atoms without their references.

    Parameters
    ----------
    made_of
        As the vendor's file says.
    """

    scale: Tensor
    shift: Tensor
    references: Tensor

    def __init__(self, made_of: NequixConfiguration) -> None:
        super().__init__()
        self.layers = nn.ModuleList(NequixLayer(plan, made_of) for plan in plan_layers(made_of))
        width = made_of.channels[0]
        self.readout = DegreeMatrix(width, 1, 1 / math.sqrt(width))
        self.n_basis, self.cutoff, self.power = made_of.radial_basis_size, made_of.cutoff, made_of.radial_polynomial_p
        self.harmonics, self.n_elements = Harmonics(made_of.lmax), len(made_of.atomic_numbers)
        self.register_buffer(
            "scale", torch.tensor(made_of.scale, dtype=torch.float64)
        )  # of no dimension: keeps float32
        self.register_buffer("shift", torch.tensor(made_of.shift, dtype=torch.float64))
        self.register_buffer("references", torch.zeros(118, dtype=torch.float64))

    def features(self, species: Tensor, edges: NequixEdges) -> Tensor:
        """Return the scalars (N, width) that enter the readout; species (N,) are places in the list of elements."""
        parts = {0: F.one_hot(species, self.n_elements).to(edges.vectors.dtype)[:, :, None]}
        neighbours = Neighbours.of(edges.receiver, len(species))
        harmonics = self.harmonics(edges.vectors, edges.lengths[edges.owner])
        radial = self._radial(edges.lengths)
        for layer in self.layers:
            parts = layer(parts, edges, harmonics, radial, neighbours)
        return parts[0][:, :, 0]

    def _radial(self, lengths: Tensor) -> Tensor:
        """(P, basis): Bessel functions times a polynomial that is smooth at the cutoff."""
        x, p = lengths[:, None] / self.cutoff, self.power
        waves = math.pi * torch.arange(1, self.n_basis + 1, device=x.device, dtype=x.dtype)
        envelope = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
        return 2 / self.cutoff * torch.sin(waves * x) / lengths[:, None] * envelope * (x < 1)

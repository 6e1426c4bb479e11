"""A network that sums energies of atoms: forces and stress are slopes of the sum, in canonical units.

    E = sum_i head(h_i) + sum_i reference(Z_i),   F = -dE/dR,   sigma = (1/V) dE/dstrain

Shapes: B frames, N atoms in a batch. energy (B,) eV; forces (N, 3) eV/Å; stress (B, 3, 3) eV/Å³; of models that have a
readout for it, the size of the magnetic moment magmom (N,) µB.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from matgraft.core.model import Backbone, Batch, Encoded, Stage
from matgraft.core.quantities import ENERGY, FORCES, STRESS
from matgraft.potentials.data.sample import Sample


class AtomicNetwork(Backbone):
    """A backbone whose rows are atoms and whose sum is an energy."""

    quantities = MappingProxyType({quantity.name: quantity for quantity in (ENERGY, FORCES, STRESS)})

    @property
    def other_readouts(self) -> Mapping[str, Stage]:
        """Readouts beside the energy's, by what they predict; they learn where there are labels for them."""
        return {}

    @abstractmethod
    def encode(self, sample: Sample) -> Encoded:
        """Turn a frame into tensors.

        Raises `DataError` where the model cannot take it (element, no neighbours), and, before it looks for any
        neighbour, what `require_sense` raises.
        """

    @property
    @abstractmethod
    def references(self) -> nn.Parameter | Tensor:
        """(n_elements,) eV, float64: energy added for an atom of atomic number Z at index Z - 1; changed in place."""

    def forward(self, batch: Batch, wanted: Collection[str], *, create_graph: bool = False) -> dict[str, Tensor]:
        """Return energy (B,) eV, forces (N, 3) eV/Å, stress (B, 3, 3) eV/Å³ and magmom (N,) µB, those wanted."""
        return self.forward_with_rows(batch, wanted, create_graph=create_graph)[0]

    def forward_with_rows(
        self, batch: Batch, wanted: Collection[str], *, create_graph: bool = False
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return what `forward` returns, and the features (N, width) that they were read from, without gradient."""
        derived = [name for name in (FORCES.name, STRESS.name) if name in wanted]
        batch = self.differentiable(batch, derived)
        with torch.set_grad_enabled(bool(derived) or torch.is_grad_enabled()):
            features, out = self.read(batch, wanted)
            energy = self.sum_sites(features, batch)
        out |= {ENERGY.name: energy} if ENERGY.name in wanted else {}
        if derived:
            by = [batch["positions" if name == FORCES.name else "strain"] for name in derived]
            slopes = torch.autograd.grad(energy, by, torch.ones_like(energy), create_graph=create_graph)
            for name, slope in zip(derived, slopes, strict=True):
                out[name] = -slope if name == FORCES.name else _stress(slope, batch["volume"])
        out = {name: value.detach() for name, value in out.items()} if derived and not create_graph else out
        return out, features.detach()

    def read(self, batch: Batch, wanted: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the features that enter the head, and of what is wanted all that `other_readouts` predict."""
        return self.features(batch), {}

    def sum_sites(self, features: Tensor, batch: Batch) -> Tensor:
        """Return the total energies (B,) eV of frames whose atoms have these features (N, width), in float64.

        References of other codes reach tens of thousands of eV an atom, where float32 resolves 4 meV: they are kept
        in float64 and summed apart.
        """
        sites = self.head(features).squeeze(-1).double() + self.references[batch["numbers"] - 1]
        return sites.new_zeros(len(batch)).index_add(0, batch.owner, sites)

    @staticmethod
    def differentiable(batch: Batch, derived: Collection[str]) -> Batch:
        """Return the batch with fresh leaves for positions and strain that record gradients where needed."""
        return batch.having(
            positions=batch["positions"].detach().requires_grad_(FORCES.name in derived),
            strain=batch["strain"].detach().requires_grad_(STRESS.name in derived),
        )


def _stress(slope: Tensor, volume: Tensor) -> Tensor:
    """(1/V) dE/dstrain, symmetric. Without three cell vectors (volume 0) there is no stress: NaN, never zero."""
    has_cell = (volume > 0)[:, None, None]
    stress = (slope + slope.transpose(1, 2)) / 2 / torch.where(has_cell, volume[:, None, None], 1.0)
    return torch.where(has_cell, stress, torch.nan)  # last, so that no gradient passes the NaN

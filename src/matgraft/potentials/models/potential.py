"""What every potential does with the contract: energies, forces and stresses in canonical units.

    E = sum_i head(h_i) + sum_i reference(Z_i),   F = -dE/dR,   sigma = (1/V) dE/dstrain

Shapes: B frames, N atoms in a batch. energy (B,) eV; forces (N, 3) eV/Å; stress (B, 3, 3) eV/Å³; of models that have a
readout for it, the size of the magnetic moment magmom (N,) µB.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Required, TypedDict

import torch
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from torch import Tensor, nn

from matgraft.core.errors import OptionError
from matgraft.core.model import Backbone, Batch, Encoded, ModelCard, Stage
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import ENERGY, FORCES, STRESS
from matgraft.potentials.data.crowds import StructureBytes, evenly_spread_bytes
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.sense import MANY, is_far_too_large, no_room, require_room, require_sense
from matgraft.potentials.models.lammps import LammpsFile
from matgraft.potentials.models.room import free_memory

if TYPE_CHECKING:
    from matgraft.potentials.models.calculator import PotentialCalculator  # which is made for potentials

RESOLVED_EV = 1e-5
"""eV: a vendor's file holds a reference energy if its precision resolves so much of it: up to 84 eV in float32."""


class Vendor(NamedTuple):
    """Whose code and architecture an adapter takes, for the model card; by default the version is that installed."""

    backbone: str
    package: str
    licence: str
    citation: str
    version: str = ""


class Origin(TypedDict, total=False):
    """Where weights come from, for the model card (`ModelCard`)."""

    name: Required[str]
    licence: str
    theory: LevelOfTheory | None
    weights_from: str
    weights_sha256: str


class Potential(Backbone):
    """A backbone whose rows are atoms and whose sum is an energy."""

    quantities = MappingProxyType({quantity.name: quantity for quantity in (ENERGY, FORCES, STRESS)})
    rate: float = 1e-3
    """Largest learning rate of Adam when its own weights are trained on, unless the user says otherwise."""
    pair_bytes: float = 16_000
    """Bytes that a pair of an atom and a neighbour takes at the peak of a prediction with forces."""

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
    def cost(self) -> StructureBytes:
        """What the graph of a structure and its prediction take."""
        return StructureBytes(self.card.cutoff_A or 0.0, self.pair_bytes)

    def require_sense(self, sample: Sample) -> None:
        """Raise a `DataError` for a structure that makes no sense, or takes more memory than the model's device has."""
        if sample.n_atoms >= MANY and is_far_too_large(sample.content, self.cost, had := free_memory(self.device)):
            needed = evenly_spread_bytes(sample.content, self.cost)
            raise no_room(sample.n_atoms, needed, had, sample.where)
        place = require_sense(sample.content, sample.where)
        require_room(place, self.cost, lambda: free_memory(self.device), sample.where)

    @property
    @abstractmethod
    def references(self) -> nn.Parameter | Tensor:
        """(n_elements,) eV, float64: energy added for an atom of atomic number Z at index Z - 1; changed in place."""

    @property
    def file_dtype(self) -> str:
        """Precision in which the vendor's own code sums energies."""
        return self.card.dtype

    @property
    def resolution(self) -> float:
        """Spacing of numbers near 1 in that precision."""
        return float(torch.finfo(getattr(torch, self.file_dtype)).eps)

    @property
    def carried_references(self) -> Tensor:
        """(n_elements,) eV, float64: what the vendor's file holds of `references`, on the CPU.

        What `file_dtype` does not resolve to `RESOLVED_EV` is zero there, and added outside of the network.
        """
        energies = self.references.detach().cpu().double()
        rounded = energies.to(getattr(torch, self.file_dtype)).double()
        return torch.where(energies.abs() * self.resolution > RESOLVED_EV, 0.0, rounded)

    def references_left_out(self) -> dict[str, float]:
        """Return what has to be added to the energies of the vendor's file, symbol -> eV an atom."""
        rest = (self.references.detach().cpu().double() - self.carried_references).tolist()
        return {chemical_symbols[Z]: energy for Z, energy in enumerate(rest, start=1) if energy}

    def last_layers(self) -> list[nn.Module]:
        """Return the layers that every energy but the references passes last, and whose zero is an energy of zero."""
        return [layer for layer in self.head.modules() if isinstance(layer, nn.Linear) and layer.out_features == 1]

    def silence(self) -> None:
        """Make every energy zero, in place, and keep all that leads to the last layer: where a correction begins."""
        with torch.no_grad():
            for layer in self.last_layers():
                for parameter in layer.parameters():
                    parameter.zero_()
            self.references.zero_()

    @property
    def cautions(self) -> tuple[str, ...]:
        """Sentences that a user of the exported file has to know, without the full stop."""
        return ()

    @abstractmethod
    def vendor_calculator(self, path: Path) -> Calculator:
        """Return the vendor's own ASE calculator on a file that `save` wrote: what exports are held against."""

    @abstractmethod
    def calculator_source(self) -> tuple[str, str, str]:
        """Return package, import lines and body of a function that makes the vendor's calculator from `native_file`."""

    def calculator(self, *, uncertainty: bool = False) -> PotentialCalculator:
        """Return an ASE calculator on this model.

        Parameters
        ----------
        uncertainty
            True for a tuned model's energy_std, forces_std and extrapolation beside the ordinary results.

        Raises
        ------
        OptionError
            If an uncertainty is wanted and none was fitted.
        """
        from matgraft.potentials.models.calculator import PotentialCalculator
        from matgraft.potentials.models.uncertainty import Uncertainty

        return PotentialCalculator(self, Uncertainty.of(self.card, self.folder) if uncertainty else None)

    def lammps_file(self) -> LammpsFile:
        """Return the vendor's file for LAMMPS.

        Raises
        ------
        OptionError
            If it has none for this model.
        """
        raise OptionError(f"{self.card.name}: its vendor has no file for LAMMPS", allowed=["--to native", "--to ase"])

    def torch_sim_source(self) -> tuple[str, str, str]:
        """Return package, import lines and body of a function of ``device`` that makes torch-sim's model.

        Raises
        ------
        OptionError
            If torch-sim has no model for this vendor.
        """
        raise OptionError(f"{self.card.name}: torch-sim has no model for it", allowed=["--to native", "--to ase"])

    def describe(
        self, vendor: Vendor, elements: Iterable[str], cutoff_A: float, dtype: torch.dtype, origin: Origin
    ) -> ModelCard:
        """Return the card of a model whose module is there."""
        card = {
            **vendor._asdict(),
            "vendor_version": vendor.version or version(vendor.package),
            "elements": tuple(elements),
            "quantities": tuple(self.quantities),
            "cutoff_A": float(cutoff_A),
            "dtype": str(dtype).removeprefix("torch."),
            "n_parameters": sum(parameter.numel() for parameter in self.module.parameters()),
            **{name: value for name, value in origin.items() if value is not None},
        }
        del card["package"], card["version"]
        return ModelCard.model_validate(card)

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

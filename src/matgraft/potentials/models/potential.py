"""A foundation potential: a network of atoms with its references, its vendor's files and an ASE calculator.

What it predicts, and in which units: `matgraft.potentials.models.network`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, Required, TypedDict

import torch
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from torch import Tensor, nn

from matgraft.core.errors import OptionError
from matgraft.core.model import ModelCard
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.crowds import StructureBytes, evenly_spread_bytes
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.sense import MANY, is_far_too_large, no_room, require_room, require_sense
from matgraft.potentials.models.calculator import PotentialCalculator
from matgraft.potentials.models.lammps import LammpsFile
from matgraft.potentials.models.network import AtomicNetwork
from matgraft.potentials.models.room import free_memory
from matgraft.potentials.models.uncertainty import Uncertainty

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


class Potential(AtomicNetwork):
    """A network of atoms that is tuned, saved as its vendor has it, exported and asked by ASE."""

    rate: float = 1e-3
    """Largest learning rate of Adam when its own weights are trained on, unless the user says otherwise."""
    pair_bytes: float = 16_000
    """Bytes that a pair of an atom and a neighbour takes at the peak of a prediction with forces."""

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
            True for a tuned model's energy_std, energy_interval, forces_std, forces_interval and extrapolation beside
            the ordinary results.

        Raises
        ------
        OptionError
            If an uncertainty is wanted and none was fitted.
        """
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

"""Nequix behind the contract: published .nqx files and what is tuned from them, without JAX and without its package.

    load("nequix:nequix-omat-1.nqx")     a file of the vendor's
    load("nequix:nequix-oam-1")          a foundation of the vendor's cache; `matgraft fetch` brings it there

An energy of an atom is scale * readout + shift + a reference: E_i = scale (w . h_i) + shift + E0(Z_i). Scale and shift
are part of the head. The vendor's file holds the references in float32; what that does not resolve stands beside it.

Source: Koker et al., arXiv:2508.16067, and the package nequix (MIT).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from torch import Tensor, nn

from matgraft.core.errors import DataError, ExtraError
from matgraft.core.model import Batch, Encoded, Stage
from matgraft.core.provenance import UNCORRECTED, LevelOfTheory, file_hash
from matgraft.potentials.data.cells import box, volume
from matgraft.potentials.data.crowds import StructureBytes
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.bonds import bond_vectors, find_bonds, join, pair_up
from matgraft.potentials.models.nequix.configuration import NequixConfiguration
from matgraft.potentials.models.nequix.file import read_nqx, write_nqx
from matgraft.potentials.models.nequix.network import DegreeMatrix, NequixEdges, NequixNetwork
from matgraft.potentials.models.nequix.plan import plan_layers
from matgraft.potentials.models.potential import Origin, Potential, Vendor
from matgraft.potentials.models.published import NEQUIX, nequix_file
from matgraft.potentials.models.references import write_references

_PBE = LevelOfTheory(code="VASP", functional="PBE", spin=True, soc=False, correction=UNCORRECTED)
"""With U for some oxides, which is not listed. MgO comes out at -5.98 eV/atom (OMat: -5.93), as DFT gives it."""
_VENDOR = Vendor("nequix", "nequix", "MIT", "Koker et al., arXiv:2508.16067", version="0.4.5")
"""Its package is not needed; the numbers are those of this version."""
_RAISED_BY = {"centre": "numbers", "neighbour": "numbers", "pair": "centre", "owner": "pair"}


class NequixReadout(nn.Module):
    """The readout an atom with its scale and shift: (N, width) -> (N, 1) eV."""

    def __init__(self, network: NequixNetwork) -> None:
        super().__init__()
        self.readout = network.readout
        self.register_buffer("scale", network.scale, persistent=False)
        self.register_buffer("shift", network.shift, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the atoms' energies without references, eV."""
        return self.readout(features) * self.scale + self.shift


class NequixPotential(Potential):
    """A Nequix and everything tuned from it.

    Parameters
    ----------
    module
        The network, its references in float64; it is used as it is, and changed by training.
    configuration
        Of its file.
    origin
        Where the weights come from, see `Origin`.
    """

    native_file = "nequix.nqx"
    rate = 1e-4
    """Measured: 48 steps of SOAP at 3e-4 take OMat-1 from 0.079 to 0.073 eV/Å on validation frames of Si; at 1e-3 it
    unlearns within 18."""

    module: NequixNetwork

    def __init__(self, module: NequixNetwork, configuration: NequixConfiguration, **origin: Unpack[Origin]) -> None:
        self.module, self.configuration = module, configuration
        self._species = np.full(len(chemical_symbols), -1)
        self._species[list(configuration.atomic_numbers)] = np.arange(len(configuration.atomic_numbers))
        elements = (chemical_symbols[Z] for Z in configuration.atomic_numbers)
        self.card = self.describe(_VENDOR, elements, configuration.cutoff, torch.float32, origin)

    # ----------------------------------------------------------------- files

    @classmethod
    def shipped(cls, release: str) -> NequixPotential:
        """Load a foundation by the vendor's name for it, from the vendor's cache. Nothing is fetched."""
        path, (address, sha256) = nequix_file(release), NEQUIX[release]
        if not path.is_file():
            raise DataError(
                f"the weights of nequix:{release} are not on this machine, and nothing is fetched unasked",
                where=str(path),
                remedy=f"they come from {address}; without a network the command says how a file is brought by hand",
                commands=[("matgraft", "fetch", f"nequix:{release}")],
            )
        if (digest := file_hash(path)) != sha256:
            raise DataError(
                f"it is not the published nequix:{release}: its SHA-256 is {digest}, and that one's is {sha256}",
                where=str(path),
                remedy="move it elsewhere and name it by its path, nequix:FILE; then fetch the published one",
                commands=[("matgraft", "fetch", f"nequix:{release}")],
            )
        return cls.from_file(path, source=address)

    @classmethod
    def from_file(cls, path: Path, *, source: str = "") -> NequixPotential:
        """Load a .nqx file; errors as of `read_nqx`."""
        configuration, module = read_nqx(path)
        digest = file_hash(path)
        known = next((f"nequix:{name}" for name, (_, sha256) in NEQUIX.items() if sha256 == digest), "")
        return cls(
            module,
            configuration,
            name=known or path.name,
            theory=_PBE if known else None,
            weights_from=source or path.name,
            weights_sha256=digest,
        )

    def save(self, path: Path) -> None:
        """Write the vendor's file, and beside it the reference energies that it leaves out.

        Its first line has all references in float64, under a name of ours; the vendor's loaders read what the weights'
        precision carries.
        """
        numbers = torch.tensor(self.configuration.atomic_numbers)
        carried = self.carried_references[numbers - 1]
        own = self.references.detach().cpu()[numbers - 1].tolist()
        changed = {
            "atom_energies": dict(zip(map(str, numbers.tolist()), carried.tolist(), strict=True)),
            "shift": float(self.module.shift),
            "references_eV": dict(zip(map(str, numbers.tolist()), own, strict=True)),
        }
        write_nqx(self.module, self.configuration.model_copy(update=changed), carried, path)
        write_references(self.references_left_out(), path.parent)

    def vendor_calculator(self, path: Path) -> Calculator:
        """Return the vendor's own calculator, where its package is installed."""
        try:
            from nequix.calculator import NequixCalculator
        except ModuleNotFoundError as error:
            raise ExtraError(error.name or "nequix", "") from error

        return NequixCalculator(model_path=str(path), backend="jax", use_kernel=False)

    def calculator_source(self) -> tuple[str, str, str]:
        """Return the lines of a script that needs the package nequix alone."""
        body = (
            f"return NequixCalculator(model_path=str(Path(__file__).with_name({self.native_file!r})), use_kernel=False)"
        )
        return "nequix", "from nequix.calculator import NequixCalculator", body

    # ----------------------------------------------------------------- parts

    @property
    def head(self) -> nn.Module:
        """Readout, scale and shift: (N, width) -> (N, 1) eV."""
        return NequixReadout(self.module)

    def last_layers(self) -> list[nn.Module]:
        """Return the readout."""
        return [self.module.readout]

    def silence(self) -> None:
        """Add the constant an atom, which no layer of the readout holds."""
        super().silence()
        self.module.shift.zero_()

    @property
    def references(self) -> Tensor:
        """(118,) eV an atom, by atomic number, float64."""
        return self.module.references

    def stages(self) -> list[Stage]:
        """Return interaction-1 to the last, readout; the first one holds the table of elements."""
        layers = [Stage(f"interaction-{i + 1}", {f"layers.{i}": one}) for i, one in enumerate(self.module.layers)]
        return [*layers, Stage("readout", {"readout": self.module.readout})]

    def matrices(self, layer: nn.Module) -> list[tuple[int, int]]:
        """Add the network's own."""
        if isinstance(layer, DegreeMatrix):
            rows, columns = layer.weight.shape
            return [(rows, columns)]
        return super().matrices(layer)

    @property
    def cost(self) -> StructureBytes:
        """Ten bytes a number that travels along an edge: measured on OMat-1, 64 and 512 atoms of silicon, 8 to 10."""
        connections = [one for plan in plan_layers(self.configuration) for one in plan.connections]
        numbers = sum(one.channels * (2 * one.degrees[0] + 1) for one in connections)
        return StructureBytes(self.configuration.cutoff, 10 * numbers)

    # ---------------------------------------------------------------- graphs

    def encode(self, sample: Sample) -> Encoded:
        """List the bonds within the cutoff, and which of them are each other's reverse."""
        atoms: Atoms = sample.content
        self._refuse(sample)
        cutoff = self.configuration.cutoff
        around = box(atoms, cutoff, sample.where)
        centre, neighbour, images = find_bonds(atoms, cutoff)
        owner, pair = pair_up(centre, neighbour, images)
        reals = {
            "positions": atoms.positions,
            "origin": atoms.positions,
            "bond": atoms.positions[neighbour] + images @ around.vectors - atoms.positions[centre],
            "volume": [volume(atoms)],
        }
        whole = {"numbers": atoms.numbers, "species": self._species[atoms.numbers]}
        whole |= {"centre": centre, "neighbour": neighbour, "owner": owner, "pair": pair}
        tensors = {name: torch.tensor(np.asarray(value), dtype=torch.float32) for name, value in reals.items()}
        tensors |= {name: torch.tensor(np.asarray(value), dtype=torch.int64) for name, value in whole.items()}
        return Encoded(len(atoms), len(centre), tensors)

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Join graphs, raising indices by what stands before."""
        return join(encoded, _RAISED_BY)

    def features(self, batch: Batch) -> Tensor:
        """Return (N, width): the scalars that enter the readout."""
        vectors = bond_vectors(batch)
        lengths = vectors[batch["pair"]].norm(dim=1)
        edges = NequixEdges(batch["neighbour"], batch["centre"], batch["owner"], vectors, lengths)
        return self.module.features(batch["species"], edges)

    def _refuse(self, sample: Sample) -> None:
        self.require_sense(sample)
        unknown = sorted({chemical_symbols[Z] for Z in sample.content.numbers if self._species[Z] < 0})
        if unknown:
            raise DataError(
                f"{self.card.name} does not know {', '.join(unknown)}", where=sample.where, allowed=self.card.elements
            )

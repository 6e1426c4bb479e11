"""Models for tests of placement: a toy in milliseconds, and one of every architecture that a backbone has."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.calculators.calculator import Calculator
from ase.neighborlist import neighbor_list
from torch import Tensor, nn

from matgraft.core.model import Batch, Encoded, ModelCard, Stage
from matgraft.foundations import load
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.nequix.configuration import NequixConfiguration
from matgraft.potentials.models.nequix.network import NequixNetwork
from matgraft.potentials.models.nequix.potential import NequixPotential
from matgraft.potentials.models.potential import Potential


class Toy(Potential):
    """A pair potential over two dense layers: the contract and nothing else, in a few milliseconds."""

    native_file = "toy.pt"

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            body = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5))
            self.module: Any = nn.ModuleDict({"body": body, "mlp": nn.Linear(5, 1)})
        self.module.register_buffer("energies", torch.zeros(94, dtype=torch.float64))
        self.card = ModelCard(
            name="toy", backbone="toy", vendor_version="", licence="MIT", elements=("Si", "Ge"), cutoff_A=4.0
        )

    def encode(self, sample: Sample) -> Encoded:
        atoms = sample.content
        centre, neighbour, images = neighbor_list("ijS", atoms, 4.0)
        arrays = {"positions": atoms.positions, "shift": images @ atoms.cell[:], "volume": [volume(atoms)]}
        tensors = {name: torch.tensor(np.asarray(array), dtype=torch.float32) for name, array in arrays.items()}
        whole = {"numbers": atoms.numbers, "centre": centre, "neighbour": neighbour}
        tensors |= {name: torch.tensor(array, dtype=torch.long) for name, array in whole.items()}
        return Encoded(len(atoms), len(centre), tensors)

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        counts = torch.tensor([one.n_atoms for one in encoded])
        before = counts.cumsum(0) - counts
        tensors = {name: torch.cat([one.tensors[name] for one in encoded]) for name in encoded[0].tensors}
        for name in ("centre", "neighbour"):
            raised = [one.tensors[name] + first for one, first in zip(encoded, before, strict=True)]
            tensors[name] = torch.cat(raised)
        tensors["strain"] = torch.zeros(len(encoded), 3, 3)
        return Batch(counts, torch.repeat_interleave(torch.arange(len(encoded)), counts), tensors)

    def features(self, batch: Batch) -> Tensor:
        centre = batch["centre"]
        bonds = batch["positions"][batch["neighbour"]] - batch["positions"][centre] + batch["shift"]
        bonds = bonds + torch.bmm(bonds[:, None], batch["strain"][batch.owner[centre]])[:, 0]
        powers = bonds.norm(dim=1, keepdim=True) ** -torch.arange(1, 5, device=bonds.device)
        sums = powers.new_zeros(len(batch.owner), 4).index_add(0, centre, powers)
        return self.module["body"](sums)

    @property
    def head(self) -> nn.Module:
        return self.module["mlp"]

    @property
    def references(self) -> Tensor:
        return self.module.energies

    def stages(self) -> list[Stage]:
        return [Stage("embedding", {"body": self.module["body"]}), Stage("readout", {"mlp": self.module["mlp"]})]

    def save(self, path: Path) -> None:
        torch.save(self.module.state_dict(), path)

    def vendor_calculator(self, path: Path) -> Calculator:
        raise NotImplementedError(path)

    def calculator_source(self) -> tuple[str, str, str]:
        raise NotImplementedError


def small_matgl(kind: str) -> Potential:
    """Return a network of MatGL with random weights."""
    if importlib.util.find_spec("matgl") is None:
        pytest.skip('needs pip install "matgraft[matgl]"')
    from matgraft.potentials.models import matgl as adapter

    sizes: dict[str, dict[str, Any]] = {
        "TensorNet": {"units": 8, "nblocks": 1, "rbf_type": "SphericalBessel", "use_smooth": True},
        "M3GNet": {"units": 8, "nblocks": 1, "dim_node_embedding": 8, "dim_edge_embedding": 8, "use_smooth": True},
        "CHGNet": {
            "num_blocks": 2,
            "dim_atom_embedding": 8,
            "dim_bond_embedding": 8,
            "dim_angle_embedding": 8,
            "atom_conv_hidden_dims": (8,),
            "bond_conv_hidden_dims": (8,),
            "final_hidden_dims": (8,),
        },
    }
    torch.manual_seed(0)
    options = {"is_intensive": False, "element_types": ("Si", "O", "Ge"), "cutoff": 5.0}
    network = adapter._CLASSES[kind](**options, **sizes[kind])
    energies = torch.tensor([-3.0, -1.5, 0.5])
    vendor = adapter.VendorPotential(network, data_std=torch.tensor(2.5), element_refs=energies)
    return adapter.MatGLPotential(vendor, name=f"small {kind}")


def small_mace() -> Potential:
    """Return a MACE with random weights, pair repulsion and two heads."""
    pytest.importorskip("matgraft.potentials.models.mace.potential", reason='needs pip install "matgraft[mace]"')
    from matgraft.potentials.models.mace.potential import MACEPotential
    from matgraft.potentials.models.mace.rebuilding import build_mace

    architecture: dict[str, Any] = {
        "r_max": 4.0,
        "num_bessel": 4,
        "num_polynomial_cutoff": 5,
        "max_ell": 1,
        "interaction_cls": "RealAgnosticDensityResidualInteractionBlock",
        "interaction_cls_first": "RealAgnosticDensityInteractionBlock",
        "num_interactions": 2,
        "num_elements": 2,
        "hidden_irreps": "4x0e+4x1o",
        "edge_irreps": None,
        "MLP_irreps": "4x0e",
        "gate": "silu",
        "readout_cls": "NonLinearReadoutBlock",
        "atomic_energies": [[-5.4, -4.5], [-10.8, -9.0]],
        "atomic_inter_scale": [2.0, 1.5],
        "atomic_inter_shift": [0.3, -0.2],
        "avg_num_neighbors": 4.0,
        "atomic_numbers": [14, 32],
        "correlation": 2,
        "radial_MLP": [8],
        "heads": ["pbe", "r2scan"],
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
        "dtype": "float32",
    }
    torch.manual_seed(0)
    return MACEPotential(build_mace(architecture), head="r2scan", name="small")


def small_nequix() -> Potential:
    """Return a network of scalars and vectors with random weights."""
    made_of = NequixConfiguration.model_validate(
        {
            "atomic_numbers": [14, 32],
            "atom_energies": {"14": -5.4, "32": -4.5},
            "cutoff": 4.0,
            "hidden_irreps": "6x0e+3x1o",
            "lmax": 1,
            "n_layers": 2,
            "radial_basis_size": 4,
            "radial_mlp_size": 6,
            "radial_mlp_layers": 1,
            "radial_polynomial_p": 6.0,
            "index_weights": False,
            "layer_norm": True,
            "scale": 4.0,
            "shift": -0.3,
            "avg_n_neighbors": 12.0,
        }
    )
    network, random = NequixNetwork(made_of), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=random))
        network.references[[13, 31]] = torch.tensor([-5.4, -4.5], dtype=torch.float64)
    return NequixPotential(network, made_of, name="small Nequix")


def chgnet() -> Potential:
    """Return the weights inside chgnet's wheel: its constructor makes no smaller network that its files describe."""
    potential = load("chgnet")
    assert isinstance(potential, Potential)
    return potential


MODELS: dict[str, Callable[[], Potential]] = {
    "toy": Toy,
    "chgnet": chgnet,
    "mace": small_mace,
    "tensornet": lambda: small_matgl("TensorNet"),
    "m3gnet": lambda: small_matgl("M3GNet"),
    "nequix": small_nequix,
}
"""Name -> how it is made. Whatever stands here is tested with every strategy and every export."""
ARCHITECTURES = MODELS | {"matgl-chgnet": lambda: small_matgl("CHGNet")}
"""And further networks of these backbones, which compute and are written."""
SLOW = ("chgnet", "mace", "nequix")
"""Their networks are large, or have many operations."""
ALWAYS = ("full", "lora")
"""Strategies that train these all the same: all tensors of a network, and what it says of its own matrices."""


def with_strategies(names: Iterable[str], strategies: Iterable[str]) -> list[Any]:
    """Return one parameter of pytest a model and strategy; a strategy knows no vendor: small networks show the rest."""
    pairs = itertools.product(names, strategies)
    return [
        pytest.param(*pair, marks=[pytest.mark.slow] if pair[0] in SLOW and pair[1] not in ALWAYS else [])
        for pair in pairs
    ]

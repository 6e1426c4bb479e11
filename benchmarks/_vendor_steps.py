"""One training step and one prediction as each vendor's own trainer makes them: chgnet, mace-torch, MatGL, Nequix.

    vendor = VENDORS["mace"](file, dataset)     # the vendor's own file, opened by the vendor's own code
    vendor.prediction()                         # forces (N, 3) eV/Å
    vendor.step()                               # loss of energies, forces and stresses, and its gradient
    vendor.update()                             # what the optimizer makes of that gradient
    vendor.to(torch.device("cuda"))             # model and batch, as the trainers place them

Graphs and batch are made beforehand, as the trainers' loaders do. Vendors are imported by their own class.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from matgraft.core.quantities import Array, parse_unit
from matgraft.potentials.data.dataset import Dataset


class Steps(Protocol):
    """A model with its batch."""

    model: nn.Module

    def to(self, device: torch.device) -> None:
        """Put model and batch on a device; made on the CPU."""
        ...

    def prediction(self) -> Array:
        """Predict energies, forces and stresses; return the forces (N, 3) eV/Å."""
        ...

    def step(self) -> None:
        """Make a loss of energies, forces and stresses, and its gradient."""
        ...

    def update(self) -> None:
        """Let the optimizer take its step with the last gradient, at a rate that moves nothing."""
        ...


class ByAdam:
    """What all vendors share: Adam over what learns, as each of their trainers has it by default."""

    model: nn.Module
    amsgrad = False

    @cached_property
    def _adam(self) -> torch.optim.Optimizer:
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return torch.optim.Adam(learning, lr=0.0, amsgrad=self.amsgrad)

    def update(self) -> None:
        """Let Adam take its step."""
        self._adam.step()


class ChgnetSteps(ByAdam):
    """chgnet's model and loss, as `chgnet.trainer.Trainer` uses them."""

    def __init__(self, file: Path, dataset: Dataset) -> None:
        from _chgnet_trainer import vendor_data
        from chgnet.data.dataset import collate_graphs
        from chgnet.model import CHGNet
        from chgnet.trainer.trainer import CombinedLoss

        with contextlib.redirect_stdout(None):
            self.model = CHGNet.from_file(str(file))
        for parameter in self.model.composition_model.parameters():  # as its trainer does
            parameter.requires_grad = False
        self.loss = CombinedLoss(target_str="efs")
        data = vendor_data(dataset)
        self.graphs, self.targets = collate_graphs([data[i] for i in range(len(data))])

    def to(self, device: torch.device) -> None:
        """As its trainer does, graph by graph."""
        self.model.to(device)
        self.graphs = [graph.to(str(device)) for graph in self.graphs]
        self.targets = {
            name: [one.to(device) for one in own] if isinstance(own, list) else own.to(device)
            for name, own in self.targets.items()
        }

    def prediction(self) -> Array:
        """Predict by the vendor's own function."""
        found = self.model.predict_graph(self.graphs, task="efs", batch_size=len(self.graphs))
        return np.concatenate([each["f"] for each in (found if isinstance(found, list) else [found])])

    def step(self) -> None:
        """Do what the vendor's trainer does with a batch, without the update."""
        self.model.train()
        for graph in self.graphs:
            graph.atom_frac_coord.requires_grad = True
        loss = self.loss(self.targets, self.model(self.graphs, task="efs"))
        self.model.zero_grad()
        loss["loss"].backward()


class MaceSteps(ByAdam):
    """mace-torch's model and loss, as `mace.tools.train.take_step` uses them under ``mace_run_train``."""

    amsgrad = True

    def __init__(self, file: Path, dataset: Dataset) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mace.data import AtomicData, Configuration
            from mace.modules.loss import WeightedEnergyForcesStressLoss
            from mace.tools import torch_geometric
            from mace.tools.utils import AtomicNumberTable

            # The file was written by matgraft a moment ago: no stranger's pickle.
            self.model = torch.load(file, map_location="cpu", weights_only=False).requires_grad_(True)
        dtype = next(self.model.parameters()).dtype
        table = AtomicNumberTable([int(Z) for Z in self.model.atomic_numbers])
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            data = [
                AtomicData.from_config(
                    Configuration(
                        atomic_numbers=sample.content.numbers,
                        positions=sample.content.positions,
                        properties={name: np.asarray(value) for name, value in sample.labels.items()},
                        property_weights=dict.fromkeys(sample.labels, 1.0),
                        cell=sample.content.cell.array,
                        pbc=tuple(sample.content.pbc),
                        head=self.model.heads[0],
                    ),
                    z_table=table,
                    cutoff=float(self.model.r_max),
                    heads=self.model.heads,
                )
                for sample in dataset
            ]
            self.loss = WeightedEnergyForcesStressLoss(30.0, 1.0, 300.0)
        finally:
            torch.set_default_dtype(before)
        loader = torch_geometric.dataloader.DataLoader(data, batch_size=len(data), shuffle=False)
        self.batch = next(iter(loader))

    def to(self, device: torch.device) -> None:
        """As `mace.tools.train` does."""
        self.model.to(device)
        self.loss.to(device)
        self.batch = self.batch.to(device)

    def prediction(self) -> Array:
        """Predict as the vendor's `eval_configs` does."""
        self.model.eval()
        forces: Array = self.model(self.batch.to_dict(), compute_stress=True)["forces"].detach().cpu().double().numpy()
        return forces

    def step(self) -> None:
        """Do what the vendor's `take_step` does with a batch, without the update."""
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        found = self.model(self.batch.to_dict(), training=True, compute_force=True, compute_stress=True)
        self.loss(pred=found, ref=self.batch).backward()


class MatglSteps(ByAdam):
    """MatGL's potential and loss, as `PotentialLightningModule` uses them under ``mgl train``."""

    def __init__(self, file: Path, dataset: Dataset) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import matgl
            from matgl.ext.ase import Atoms2Graph
            from matgl.utils.training import PotentialLightningModule
            from torch_geometric.data import Batch

            self.model = matgl.load_model(str(file)).requires_grad_(True)
        network: Any = self.model.model
        converter = Atoms2Graph(network.element_types, network.cutoff)
        graphs, lattices, states = zip(*(converter.get_graph(sample.content) for sample in dataset), strict=True)
        self.graphs, self.lattices = Batch.from_data_list(list(graphs)), torch.cat(list(lattices))
        self.states = torch.tensor(np.stack(states), dtype=torch.float32)
        self.trainer = PotentialLightningModule(
            network, energy_weight=30.0, force_weight=1.0, stress_weight=300.0 / GPA**2
        )
        self.trainer.model = self.model  # instead of a new potential around the network, without references and scale
        self.targets = _targets(dataset)

    def to(self, device: torch.device) -> None:
        """As lightning does with module and batch."""
        self.trainer.to(device)
        self.graphs = self.graphs.to(device)
        self.lattices, self.states = self.lattices.to(device), self.states.to(device)
        self.targets = tuple(one.to(device) for one in self.targets)

    def prediction(self) -> Array:
        """Predict by the vendor's own forward."""
        self.model.eval()
        forces: Array = self.model(self.graphs, self.lattices, self.states)[1].detach().cpu().double().numpy()
        return forces

    def step(self) -> None:
        """Do what the vendor's module does with a batch, without the update."""
        self.trainer.train()
        self.trainer.zero_grad(set_to_none=True)
        found, _ = self.trainer.step((self.graphs, self.lattices, self.states, *self.targets))
        found["Total_Loss"].backward()


class NequixSteps(ByAdam):
    """Nequix's torch code and loss, as `nequix.torch_impl.train` uses them, on a file converted by its own function.

    The package brings JAX along, which its converter needs: install nequix without its dependencies, and the jax of
    the CPU.
    """

    def __init__(self, file: Path, dataset: Dataset) -> None:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            from nequix.calculator import from_pretrained
            from nequix.data import atomic_numbers_to_indices, dict_to_pytorch_geometric, preprocess_graph
            from torch_geometric.data import Batch

            self.model, config = from_pretrained(model_path=str(file), backend="torch", use_kernel=False)
        self.model.requires_grad_(True)
        known = atomic_numbers_to_indices(config["atomic_numbers"])
        graphs = []
        for sample in dataset:
            graph = dict_to_pytorch_geometric(preprocess_graph(sample.content, known, config["cutoff"], False))
            graph.energy = torch.tensor([float(sample.labels["energy"])])
            graph.forces = torch.tensor(sample.labels["forces"]).float()
            graph.stress = torch.tensor(sample.labels["stress"]).float()[None]
            graphs.append(graph)
        self.batch = Batch.from_data_list(graphs)

    def to(self, device: torch.device) -> None:
        """As its trainer does."""
        self.model.to(device)
        self.batch = self.batch.to(device)

    def prediction(self) -> Array:
        """Predict by the vendor's own forward."""
        self.model.eval()
        forces: Array = self._found()[1].detach().cpu().double().numpy()
        return forces

    def step(self) -> None:
        """Do what the vendor's trainer does with a batch, without the update."""
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        one, (energies, forces, stresses) = self.batch, self._found()
        total = torch.zeros_like(one.energy).index_add(0, one.batch, energies)
        # Its trainer's own loss and weights, written out: the module that holds it imports a client of wandb.
        loss = 20 * ((total - one.energy) / one.n_node).abs().mean() + 20 * (forces - one.forces).norm(dim=1).mean()
        (loss + 5 * (stresses - one.stress).abs().mean()).backward()

    def _found(self) -> Sequence[torch.Tensor]:
        """Return energies an atom, forces and stresses."""
        one = self.batch
        found: Sequence[torch.Tensor] = self.model(
            one.x, one.positions, one.edge_attr, one.edge_index, one.cell, one.n_node, one.n_edge, one.batch
        )
        return found


GPA = parse_unit("GPa", of="stress").from_canonical(np.array(1.0), 1).item()
"""GPa in an eV/Å³: MatGL trains stresses in GPa."""
VENDORS: dict[str, type[ChgnetSteps] | type[MaceSteps] | type[MatglSteps] | type[NequixSteps]] = {
    "chgnet": ChgnetSteps,
    "mace": MaceSteps,
    "matgl": MatglSteps,
    "nequix": NequixSteps,
}


def _targets(dataset: Dataset) -> Sequence[torch.Tensor]:
    """Return energies (B,) eV, forces (N, 3) eV/Å and stresses (3 B, 3) GPa."""
    energies = torch.tensor([float(sample.labels["energy"]) for sample in dataset])
    # The order of memory is the file's, and torchmetrics takes rows alone.
    forces = torch.tensor(np.concatenate([sample.labels["forces"] for sample in dataset])).float().contiguous()
    stresses = torch.tensor(np.concatenate([GPA * sample.labels["stress"] for sample in dataset])).float().contiguous()
    return energies, forces, stresses

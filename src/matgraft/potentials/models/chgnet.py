"""CHGNet behind the contract: the vendor's weights, graphs and files, evaluated in a leaner order of operations.

The vendor's forward joins centre, bond and neighbour features edge by edge and multiplies the joined rows by one wide
matrix. The product of a joined row is the sum of three products, so each is taken once an atom or a bond and then
gathered. Bond convolutions touch only the bonds below 3 Å that take part in an angle. The numbers are the vendor's to
float32 rounding (`matgraft.testing` holds them against its calculator); a training step of four 63-atom Si frames takes
about a third of the time.

Source: Deng et al., Nature Machine Intelligence 5, 1031 (2023), and the package chgnet (modified BSD licence).
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Unpack

import chgnet
import torch
import torch.nn.functional as F
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from chgnet.graph import CrystalGraph
from chgnet.model import CHGNet
from pymatgen.core import Lattice, Structure
from torch import Tensor, nn

from matgraft.core.errors import DataError, OptionError
from matgraft.core.model import Batch, Encoded, Stage
from matgraft.core.provenance import LevelOfTheory, file_hash
from matgraft.core.quantities import MAGMOM
from matgraft.core.weights import load_tensors, save_tensors
from matgraft.potentials.data.cells import box, volume
from matgraft.potentials.data.crowds import StructureBytes
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Origin, Potential, Vendor
from matgraft.potentials.models.references import write_references

_PRETRAINED = Path(chgnet.__file__).parent / "pretrained"
_MP_PBE = LevelOfTheory(
    code="VASP", functional="PBE", spin=True, soc=False, cutoff_eV=520.0, energy="sigma0", correction="MP2020"
)
SHIPPED: dict[str, tuple[str, LevelOfTheory]] = {
    "0.3.0": ("0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar", _MP_PBE),
    "r2scan": (
        "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
        LevelOfTheory(code="VASP", metagga="R2SCAN", spin=True, soc=False),
    ),
    "0.2.0": ("0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar", _MP_PBE),
}
"""Weights inside the chgnet wheel: version -> file, level of theory (PBE with Materials Project's U for oxides).

MPtrj's label ``energy_per_atom`` is corrected: MgO comes out at -6.31 eV/atom, where PBE alone gives -5.98 and the
scheme takes 0.687 eV off an oxygen atom."""

_UNSEEN = {
    "0.3.0": ("Po", "At", "Rn", "Fr", "Ra"),
    "0.2.0": ("Po", "At", "Rn", "Fr", "Ra"),
    "r2scan": ("Po", "At", "Rn", "Fr", "Ra", "Yb"),
}
"""Elements up to Pu that no training frame had: the vendor's reference energies of them are zero or meaningless."""

_REFERENCES = "composition_model.fc.weight"
"""Name of the vendor's reference energies, (1, 94) eV an atom."""

# How the tensors of several frames are joined: each index is raised by what stands before it in the batch.
_OFFSETS = {
    "bond_centre": "atoms",
    "bond_neighbour": "atoms",
    "edge_centre": "atoms",
    "edge_neighbour": "atoms",
    "angle_centre": "atoms",
    "edge_bond": "bonds",
    "short_bond": "bonds",
    "angle_short_1": "shorts",
    "angle_short_2": "shorts",
}

_VENDOR = Vendor(
    "chgnet",
    "chgnet",
    "BSD-3-Clause (modified)",
    "Deng et al., Nature Machine Intelligence 5, 1031 (2023), doi 10.1038/s42256-023-00716-3",
)


class CHGNetPotential(Potential):
    """CHGNet of any release inside the wheel, and everything tuned from it.

    Parameters
    ----------
    module
        The vendor's model; it is used as it is, and changed by training. A buffer ``references`` is added to it, from
        which `save` writes the vendor's own table.
    references
        (94,) eV, kept in float64. Default: the vendor's own.
    origin
        Where the weights come from, see `Origin`.
    """

    quantities = MappingProxyType({**Potential.quantities, MAGMOM.name: MAGMOM})
    native_file = "chgnet.pth.tar"
    rate = 3e-3
    pair_bytes, angle_bytes = 18_000, 14_000

    def __init__(
        self,
        module: CHGNet,
        *,
        references: Tensor | None = None,
        **origin: Unpack[Origin],
    ) -> None:
        _refuse_other_architectures(module)
        self.module: CHGNet = module
        own = module.get_parameter(_REFERENCES).detach() if references is None else references
        module.register_buffer("references", own.double().flatten().clone(), persistent=False)
        elements = (s for s in chemical_symbols[1:95] if s not in _UNSEEN.get(str(module.version), ()))
        cutoff = float(module.graph_converter.atom_graph_cutoff)
        self.card = self.describe(_VENDOR, elements, cutoff, torch.float32, origin)

    @classmethod
    def shipped(cls, release: str = "0.3.0") -> CHGNetPotential:
        """Load weights that came with the chgnet package."""
        file, theory = SHIPPED[release]
        return cls.from_file(_PRETRAINED / file, name=f"chgnet:{release}", theory=theory, release=release)

    @classmethod
    def from_file(
        cls, path: Path, *, name: str = "", theory: LevelOfTheory | None = None, release: str | None = None
    ) -> CHGNetPotential:
        """Load a file in CHGNet's own format. Only tensors and plain values are read: nothing is unpickled."""
        content = load_tensors(path)
        model, references = content.get("model"), content.get("references")
        if not isinstance(model, dict) or not {"state_dict", "model_args"} <= set(model):
            raise DataError("no CHGNet model in it (keys model.state_dict, model.model_args)", where=str(path))
        arguments = dict(model["model_args"]) | ({"version": release} if release else {})
        state = model["state_dict"]
        if "bond_conv_layers.0.mlp_out.layers.1.bias" in state:
            arguments["mlp_out_bias"] = True  # files of 0.2.0 do not say so
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # the vendor announces its parameters on standard output
                module = CHGNet(**arguments)
            module.load_state_dict(state)
        except Exception as error:  # whatever the constructor makes of arguments that it does not know
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise DataError(f"chgnet {version('chgnet')} cannot build it: {reason}", where=str(path)) from error
        source = f"chgnet {version('chgnet')} wheel" if release else path.name
        return cls(
            module,
            references=references if isinstance(references, Tensor) else state[_REFERENCES],
            name=name or path.name,
            theory=theory,
            weights_from=source,
            weights_sha256=file_hash(path),
        )

    def save(self, path: Path) -> None:
        """Write a file that ``CHGNet.from_file`` and `from_file` open.

        It holds the references in float64. The vendor's loader sees those that float32 carries.
        """
        state = {name: tensor.detach().cpu().clone() for name, tensor in self.module.state_dict().items()}
        state[_REFERENCES] = self.carried_references.view(1, -1)
        model = {"state_dict": state, "model_args": self.module.model_args}
        save_tensors({"model": model, "references": self.references.detach().cpu().clone()}, path)
        write_references(self.references_left_out(), path.parent)

    def vendor_calculator(self, path: Path) -> Calculator:
        """Return chgnet's own calculator, silent."""
        from chgnet.model import CHGNetCalculator

        with contextlib.redirect_stdout(io.StringIO()):
            return CHGNetCalculator.from_file(str(path), use_device="cpu")

    def calculator_source(self) -> tuple[str, str, str]:
        """Return the lines of a script that needs chgnet alone."""
        body = f"return CHGNetCalculator.from_file(str(Path(__file__).with_name({self.native_file!r})))"
        return "chgnet", "from chgnet.model import CHGNetCalculator", body

    @property
    def cautions(self) -> tuple[str, ...]:
        """What chgnet's own calculator gets wrong."""
        return (
            "chgnet's own calculator gives the stress with the wrong sign where the cell is left-handed (its vectors "
            "have a negative determinant), and fails where a slab has no third vector. Give the negatives of the three "
            f"vectors, which span the same lattice, and more than {self.card.cutoff_A:g} Å of vacuum, or take "
            "calculator.py of an export --to ase, which does so itself",
        )

    @property
    def head(self) -> nn.Module:
        """The readout: (N, 64) normalised atom features -> (N, 1) eV."""
        return self.module.mlp

    @property
    def references(self) -> Tensor:
        """(94,) eV an atom, float64: the vendor's AtomRef."""
        return self.module.get_buffer("references")

    def stages(self) -> list[Stage]:
        """Return embedding, interaction-1 to interaction-4, readout."""
        module: Any = self.module
        embedding = ["atom_embedding", "bond_basis_expansion", "bond_embedding", "bond_weights_ag", "bond_weights_bg"]
        embedding += ["angle_basis_expansion", "angle_embedding"]
        stages = [Stage("embedding", {name: getattr(module, name) for name in embedding})]
        for i, _ in enumerate(module.atom_conv_layers):
            layers = {"atom_conv_layers": module.atom_conv_layers, "bond_conv_layers": module.bond_conv_layers}
            layers["angle_layers"] = module.angle_layers[:-1]  # nothing reads what the last one writes
            parts: dict[str, nn.Module] = {f"{name}.{i}": layer[i] for name, layer in layers.items() if i < len(layer)}
            if i == len(module.atom_conv_layers) - 1 and module.readout_norm is not None:
                parts["readout_norm"] = module.readout_norm
            stages.append(Stage(f"interaction-{i + 1}", parts))
        return [*stages, Stage("readout", {"mlp": module.mlp})]

    @property
    def other_readouts(self) -> Mapping[str, Stage]:
        """The layer that reads magnetic moments before the last interaction."""
        return {MAGMOM.name: Stage("magmom-readout", {"site_wise": self.module.site_wise})}

    # ---------------------------------------------------------------- graphs

    def encode(self, sample: Sample) -> Encoded:
        """Build the atom and bond graphs with the vendor's converter."""
        atoms: Atoms = sample.content
        self._refuse(sample)
        structure = _structure(sample, self.module.graph_converter.atom_graph_cutoff)
        self.module.graph_converter.set_isolated_atom_response("ignore")  # `_refuse_isolated` names the frame
        with warnings.catch_warnings():  # pymatgen's, that helium has no electronegativity: nothing here reads it
            warnings.filterwarnings("ignore", message="No Pauling electronegativity")
            graph = self._graph(structure, sample.where)
        centre, neighbour = graph.atom_graph.view(-1, 2).long().T
        _refuse_isolated(sample, centre, self.card.cutoff_A)
        to_bond, first = graph.directed2undirected.long(), graph.undirected2directed.long()
        angles = graph.bond_graph.view(-1, 5).long()
        ends = torch.stack([angles[:, 2], angles[:, 4]])
        short_bond, shorts = torch.unique(to_bond[ends], return_inverse=True)
        lattice = graph.lattice.detach()
        tensors = {
            "numbers": graph.atomic_number.long(),
            "positions": (graph.atom_frac_coord.detach() @ lattice),
            "cell": lattice[None],
            "volume": torch.tensor([volume(atoms)], dtype=lattice.dtype),
            "bond_centre": centre[first],
            "bond_neighbour": neighbour[first],
            "bond_image": graph.neighbor_image[first],
            "edge_centre": centre,
            "edge_neighbour": neighbour,
            "edge_bond": to_bond,
            "short_bond": short_bond,
            "angle_centre": angles[:, 0],
            "angle_short_1": shorts[0],
            "angle_short_2": shorts[1],
            # A directed edge points along its bond's representative, or against it.
            "angle_sign": torch.where(first[to_bond[ends]] == ends, 1.0, -1.0).T,
        }
        return Encoded(len(atoms), len(centre) + len(angles), tensors)

    def _graph(self, structure: Structure, where: str) -> CrystalGraph:
        try:
            return self.module.graph_converter(structure)
        except RuntimeError as error:  # of the graph of angles
            raise DataError(
                f"CHGNet's converter finds no graph of this structure: {error.__cause__ or error}",
                where=where,
                remedy="leave the frame out",
            ) from error

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Join graphs, raising indices by what stands before."""
        columns: dict[str, list[Tensor]] = {name: [] for name in encoded[0].tensors}
        before = {"atoms": 0, "bonds": 0, "shorts": 0}
        bond_owner = []
        for i, one in enumerate(encoded):
            for name, tensor in one.tensors.items():
                columns[name].append(tensor + before[_OFFSETS[name]] if name in _OFFSETS else tensor)
            bonds = len(one.tensors["bond_centre"])
            bond_owner.append(torch.full((bonds,), i))
            before["atoms"] += one.n_atoms
            before["bonds"] += bonds
            before["shorts"] += len(one.tensors["short_bond"])
        tensors = {name: torch.cat(column) for name, column in columns.items()}
        counts = torch.tensor([one.n_atoms for one in encoded])
        tensors["strain"] = torch.zeros(len(encoded), 3, 3)
        tensors["bond_owner"] = torch.cat(bond_owner)
        return Batch(counts, torch.repeat_interleave(torch.arange(len(encoded)), counts), tensors)

    def _refuse(self, sample: Sample) -> None:
        self.require_sense(sample)
        unseen = sorted({int(Z) for Z in sample.content.numbers if not 1 <= Z <= 94})
        if unseen:
            raise DataError(f"atomic numbers {unseen} are unknown to CHGNet (1 to 94)", where=sample.where)

    @property
    def cost(self) -> StructureBytes:
        """Bonds and angles, measured on silicon at 3.6 to 6.5 Å, 216 to 1728 atoms: within 20 %."""
        short = float(self.module.graph_converter.bond_graph_cutoff)
        return StructureBytes(self.card.cutoff_A or 0.0, self.pair_bytes, short, self.angle_bytes)

    # --------------------------------------------------------------- forward

    def features(self, batch: Batch) -> Tensor:
        """Return (N, 64): normalised atom features after the last interaction."""
        return self.read(batch, ())[0]

    def read(self, batch: Batch, wanted: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the features, and where it is wanted the size of the magnetic moments (N,) µB.

        Moments are read from the atom features before the last interaction.
        """
        module: Any = self.module
        radial, short_radial, angular = self._bases(batch)
        atoms = module.atom_embedding(batch["numbers"] - 1)
        bonds = module.bond_embedding(radial)
        weights = module.bond_weights_ag(radial)
        short_weights = module.bond_weights_bg(short_radial)
        angles = module.angle_embedding(angular)
        angle_weights = short_weights[batch["angle_short_1"]] * short_weights[batch["angle_short_2"]]
        angle_layers = [*module.angle_layers[:-1], None]  # nothing reads what the vendor's last one writes
        layers = zip(module.atom_conv_layers[:-1], module.bond_conv_layers, angle_layers, strict=True)
        for atom_layer, bond_layer, angle_layer in layers:
            atoms = _atom_convolution(atom_layer, atoms, bonds, weights, batch)
            if len(angles):
                bonds = _bond_convolution(bond_layer, atoms, bonds, angles, angle_weights, batch)
            if len(angles) and angle_layer is not None:
                angles = angles + _angle_message(angle_layer.twoBody_bond, atoms, bonds, angles, batch)
        last = _atom_convolution(module.atom_conv_layers[-1], atoms, bonds, weights, batch)
        moments = {MAGMOM.name: module.site_wise(atoms).abs().squeeze(-1)} if MAGMOM.name in wanted else {}
        return last if module.readout_norm is None else module.readout_norm(last), moments

    def _bases(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Expand bond lengths and angles: (bonds, 31) within 6 Å, (shorts, 31) within 3 Å, (angles, 31)."""
        deform = torch.eye(3, device=batch.owner.device) + batch["strain"]
        positions = torch.bmm(batch["positions"][:, None], deform[batch.owner])[:, 0]
        cell = torch.bmm(batch["cell"], deform)[batch["bond_owner"]]
        vectors = positions[batch["bond_centre"]] - positions[batch["bond_neighbour"]]
        vectors = vectors - torch.bmm(batch["bond_image"][:, None], cell)[:, 0]
        lengths = vectors.norm(dim=1)
        encoder, short = self.module.bond_basis_expansion, batch["short_bond"]
        directions = vectors[short] / lengths[short, None]
        signs = batch["angle_sign"]
        cosine = (directions[batch["angle_short_1"]] * directions[batch["angle_short_2"]]).sum(1) * signs.prod(1)
        angular = self.module.angle_basis_expansion.fourier_expansion(torch.acos(cosine * (1 - 1e-6)))
        return encoder.rbf_expansion_ag(lengths), encoder.rbf_expansion_bg(lengths[short]), angular


def _atom_convolution(layer: Any, atoms: Tensor, bonds: Tensor, weights: Tensor, batch: Batch) -> Tensor:
    (centre, bond, neighbour), bias = _split(layer.twoBody_atom, 3)
    edges = batch["edge_bond"]
    joined = F.linear(atoms, centre, bias)[batch["edge_centre"]]
    joined = joined + F.linear(bonds, bond)[edges] + F.linear(atoms, neighbour)[batch["edge_neighbour"]]
    messages = _gate(layer.twoBody_atom, joined) * weights[edges]
    return layer.mlp_out(torch.zeros_like(atoms).index_add(0, batch["edge_centre"], messages)) + atoms


def _bond_convolution(
    layer: Any, atoms: Tensor, bonds: Tensor, angles: Tensor, weights: Tensor, batch: Batch
) -> Tensor:
    messages = _angle_message(layer.twoBody_bond, atoms, bonds, angles, batch) * weights
    received = messages.new_zeros(len(batch["short_bond"]), messages.shape[1])
    update = layer.mlp_out(received.index_add(0, batch["angle_short_1"], messages))
    bias = layer.mlp_out.layers[-1].bias
    if bias is not None:  # of 0.2.0, where the vendor updates every bond of a frame that has an angle
        has_angle = batch.owner.new_zeros(len(batch), dtype=torch.bool)
        has_angle[batch["bond_owner"][batch["short_bond"]]] = True
        bonds, update = bonds + bias * has_angle[batch["bond_owner"], None], update - bias
    return bonds.index_add(0, batch["short_bond"], update)


def _angle_message(gated: Any, atoms: Tensor, bonds: Tensor, angles: Tensor, batch: Batch) -> Tensor:
    (first, second, angle, centre), bias = _split(gated, 4)
    short = bonds[batch["short_bond"]]
    joined = F.linear(short, first)[batch["angle_short_1"]] + F.linear(short, second)[batch["angle_short_2"]]
    joined = joined + F.linear(angles, angle) + F.linear(atoms, centre, bias)[batch["angle_centre"]]
    return _gate(gated, joined)


def _split(gated: Any, parts: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """First linear layers of core and gate, stacked, cut into the blocks of the joined inputs."""
    core, gate = (next(_linears(mlp)) for mlp in (gated.mlp_core, gated.mlp_gate))
    weight = torch.cat([core.weight, gate.weight])
    return weight.split(weight.shape[1] // parts, dim=1), torch.cat([core.bias, gate.bias])


def _gate(gated: Any, joined: Tensor) -> Tensor:
    """Finish a gated MLP after its first linear layers: silu(norm(core)) * sigmoid(norm(gate))."""
    hidden = len(list(_linears(gated.mlp_core))) == 2
    core, gate = (F.silu(joined) if hidden else joined).chunk(2, dim=1)
    if hidden:
        core, gate = gated.mlp_core.layers[-1](core), gated.mlp_gate.layers[-1](gate)
    if gated.norm is not None:
        core, gate = gated.bn1(core), gated.bn2(gate)
    return gated.activation(core) * torch.sigmoid(gate)


def _linears(mlp: Any) -> Iterator[nn.Linear]:
    return (layer for layer in mlp.layers if isinstance(layer, nn.Linear))


class _Unwritten(Structure):
    """A structure that is not written: the vendor's converter leaves what it cannot convert in the current folder."""

    def to(self, filename: str | Path = "", fmt: Any = "", **_: Any) -> str:
        """Write nothing."""
        return ""


def _structure(sample: Sample, cutoff: float) -> Structure:
    """Return a pymatgen structure in the box of the frame, near the origin."""
    atoms: Atoms = sample.content
    found = box(atoms, cutoff, sample.where)
    x, y, z = (bool(periodic) for periodic in found.periodic)
    lattice = Lattice(found.vectors, pbc=(x, y, z))
    return _Unwritten(lattice, atoms.numbers, found.near_origin(atoms.positions), coords_are_cartesian=True)


def _refuse_isolated(sample: Sample, centre: Tensor, cutoff: float | None) -> None:
    alone = torch.bincount(centre, minlength=sample.n_atoms) == 0
    if alone.any():
        raise DataError(
            f"atom {int(alone.nonzero()[0, 0])} has no neighbour within {cutoff:g} Å, CHGNet cannot describe it",
            where=sample.where,
            remedy="leave the frame out",
        )


def _refuse_other_architectures(module: CHGNet) -> None:
    arguments = module.model_args
    wanted = {"mlp_first": True, "update_bond": True, "update_angle": True, "non_linearity": "silu"}
    wanted |= {"conv_dropout": 0, "mlp_dropout": 0, "conv_norm": None}
    other = [f"{name}={arguments[name]}" for name, value in wanted.items() if arguments.get(name, value) != value]
    norms = {name: arguments.get(name, "layer") for name in ("gMLP_norm", "readout_norm")}
    other += [f"{name}={norm}" for name, norm in norms.items() if norm not in ("layer", None)]
    if other:
        raise OptionError(
            f"this CHGNet was built with {', '.join(other)}",
            allowed=["the architecture of 0.3.0, r2scan or 0.2.0, any sizes"],
        )

"""TensorNet, M3GNet, SO3Net and MatGL's CHGNet over the vendor's weights, mostly in a leaner order of operations.

Each network is two functions of the vendor's module (of matgl 4.1.2): its `features` on a batch of bonds, and its
`stages`. The numbers are the vendor's to rounding. SO3Net runs the vendor's layers as they are; what the others save:

* TensorNet: a message is a 3x3 matrix a channel that splits into 1 + 3 + 5 components of which the vendor carries three
  full matrices (27 numbers) along every bond. Here the components travel, matrices are made at atoms alone.
* M3GNet: the sum over the other bonds at an atom, sum_k q_ik P_l(cos theta_jik), needs no angles: powers of cos theta =
  u_ij . u_ik are products of outer powers of the two directions, so each atom's bonds are summed once into moments.
* All: the first layer on joined rows (centre, neighbour, bond) is the sum of products taken once an atom or bond.

Shapes: N atoms, E bonds (directed, from centre to neighbour), S of them short enough for angles, C channels. Lengths Å.

Sources: Simeon and De Fabritiis, NeurIPS 2023 (TensorNet); Chen and Ong, Nature Computational Science 2, 718 (2022)
(M3GNet); Schütt et al., Journal of Chemical Physics 158, 144801 (2023) (SO3Net); Deng et al., Nature Machine
Intelligence 5, 1031 (2023) (CHGNet); the package matgl (BSD-3-Clause).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from matgraft.core.model import Batch
from matgraft.core.quantities import Array

Irreps = tuple[Tensor, Tensor, Tensor]
"""Scalar (N, 1, C), vector (N, 3, C) and symmetric traceless (N, 5, C) parts of a 3x3 matrix a channel."""


@dataclass(frozen=True)
class Bonds:
    """Directed bonds of a batch.

    Attributes
    ----------
    species
        (N,) position of each atom's element in the network's list of elements.
    centre, neighbour
        (E,) atoms.
    vectors, lengths
        (E, 3) and (E,) Å, from centre to neighbour.
    """

    species: Tensor
    centre: Tensor
    neighbour: Tensor
    vectors: Tensor
    lengths: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.species)


@dataclass(frozen=True)
class MatGLNetwork:
    """How one of the vendor's architectures is read.

    Attributes
    ----------
    features
        (module, bonds, batch) -> (N, C), what enters ``module.final_layer``.
    stages
        module -> stage name -> paths within the module, input to readout.
    arguments
        The vendor's arguments that the evaluation relies on.
    short_cutoff
        The argument that bounds bonds of an angle, in Å; empty without angles.
    angles
        True if pairs of bonds are listed in the graph.
    """

    features: Callable[[Any, Bonds, Batch], Tensor]
    stages: Callable[[Any], dict[str, list[str]]]
    arguments: dict[str, object]
    short_cutoff: str = ""
    angles: bool = False


def pair_bonds(centre: Array, neighbour: Array, images: Array) -> tuple[Array, Array]:
    """Pair each bond with the bonds that arrive at its centre, its own reverse left out.

    Parameters
    ----------
    centre, neighbour
        (S,) atoms of the short bonds.
    images
        (S, 3) cell of the neighbour.

    Returns
    -------
    tuple
        (P,) arriving bonds, (P,) bonds that they send a message to.
    """
    order = np.argsort(neighbour, kind="stable")
    arriving = np.bincount(neighbour, minlength=int(max(centre.max(initial=-1), neighbour.max(initial=-1))) + 1)
    count = arriving[centre]
    receiver = np.repeat(np.arange(len(centre)), count)
    rank = np.arange(len(receiver)) - np.repeat(np.cumsum(count) - count, count)
    sender = order[(np.cumsum(arriving) - arriving)[centre[receiver]] + rank]
    reverse = (centre[sender] == neighbour[receiver]) & (images[sender] == -images[receiver]).all(1)
    return sender[~reverse], receiver[~reverse]


# ------------------------------------------------------------------ TensorNet


def _orthonormal_matrices() -> Tensor:
    """(9, 3, 3): identity, three antisymmetric and five symmetric traceless matrices, each of norm 1."""
    basis = torch.zeros(9, 3, 3, dtype=torch.float64)
    basis[0] = torch.eye(3) / math.sqrt(3)
    for k, (i, j) in enumerate([(2, 1), (0, 2), (1, 0)]):
        basis[1 + k, i, j], basis[1 + k, j, i] = math.sqrt(0.5), -math.sqrt(0.5)
        basis[4 + k, i, j] = basis[4 + k, j, i] = math.sqrt(0.5)
    basis[7] = torch.diag(torch.tensor([1.0, -1.0, 0.0])) / math.sqrt(2)
    basis[8] = torch.diag(torch.tensor([1.0, 1.0, -2.0])) / math.sqrt(6)
    return basis


_MATRICES = _orthonormal_matrices()


def _tensornet(net: Any, bonds: Bonds, batch: Batch) -> Tensor:
    """Return (N, C): the normalised and mixed norms of each atom's matrices."""
    radial = net.bond_expansion(bonds.lengths)
    envelope = 0.5 * (torch.cos(math.pi * bonds.lengths / net.cutoff) + 1)
    envelope = torch.where(bonds.lengths <= net.cutoff, envelope, 0.0)[:, None]
    X = _embed(net.tensor_embedding, bonds, radial, envelope)
    for layer in net.layers:
        X = _interact(layer, X, bonds, radial, envelope)
    norms = torch.cat([part.square().sum(1) for part in X], dim=1)
    return net.linear(net.out_norm(norms))


def _embed(layer: Any, bonds: Bonds, radial: Tensor, envelope: Tensor) -> Irreps:
    projections = (layer.distance_proj1, layer.distance_proj2, layer.distance_proj3)
    weight = torch.cat([projection.weight for projection in projections])
    bias = torch.cat([projection.bias for projection in projections])
    of_centre, of_neighbour = layer.emb2.weight.chunk(2, dim=1)
    elements = layer.emb.weight  # the pair's factor is a sum over two elements: taken once an element
    pair = F.linear(elements, of_centre, layer.emb2.bias)[bonds.species[bonds.centre]]
    pair = pair + F.linear(elements, of_neighbour)[bonds.species[bonds.neighbour]]
    weights = F.linear(radial, weight, bias).unflatten(1, (3, -1)) * (envelope * pair)[:, None]
    X = _sum_to_centres([part[:, :, None] for part in _geometry(bonds)], weights, bonds)
    scale = layer.init_norm(_squared_norm(X))
    for linear in layer.linears_scalar:
        scale = layer.act(linear(scale))
    scale = scale.view(len(scale), -1, 3)
    mixed = _mix(layer.linears_tensor, X)
    return _three(part * scale[:, None, :, k] for k, part in enumerate(mixed))


def _geometry(bonds: Bonds) -> Irreps:
    """Components (E, 1), (E, 3), (E, 5) of the identity, of the skew matrix of a bond's direction u, and of u uT."""
    direction = bonds.vectors / bonds.lengths[:, None].clamp(min=1e-6)
    outer = (direction[:, :, None] * direction[:, None]).flatten(1)
    symmetric = outer @ _MATRICES[4:].to(outer).flatten(1).T
    return torch.full_like(bonds.lengths, math.sqrt(3))[:, None], math.sqrt(2) * direction, symmetric


def _interact(layer: Any, X: Irreps, bonds: Bonds, radial: Tensor, envelope: Tensor) -> Irreps:
    X = _damp(X)
    Y = _mix(layer.linears_tensor[:3], X)
    weights = _radial_weights(layer, radial) * envelope[:, None]
    message = _matrix(_sum_to_centres([part[bonds.neighbour] for part in Y], weights, bonds))
    local = _matrix(Y)
    product = _product(local, message)
    product = product + (_product(message, local) if layer.equivariance_invariance_group == "O(3)" else product)
    change = _mix(layer.linears_tensor[3:], _damp(_irreps(product)))
    matrix = _matrix(change)
    square = _irreps(_product(matrix, matrix))
    return _three(old + first + second for old, first, second in zip(X, change, square, strict=True))


def _radial_weights(layer: Any, radial: Tensor) -> Tensor:
    """(E, 3, C), where the vendor's last layer has the three of a channel side by side: its rows are reordered."""
    *hidden, last = layer.linears_scalar
    for linear in hidden:
        radial = layer.act(linear(radial))
    weight = last.weight.view(-1, 3, last.in_features).transpose(0, 1).reshape(-1, last.in_features)
    bias = last.bias.view(-1, 3).T.reshape(-1)
    return layer.act(F.linear(radial, weight, bias)).unflatten(1, (3, -1))


def _sum_to_centres(parts: Sequence[Tensor], weights: Tensor, bonds: Bonds) -> Irreps:
    """Weigh parts (E, 1 | 3 | 5, C or 1) by (E, 3, C) and sum them at the centres."""
    empty = [weights.new_zeros(bonds.n_atoms, part.shape[1], weights.shape[2]) for part in parts]
    messages = [part * weights[:, k : k + 1] for k, part in enumerate(parts)]
    return _three(sum_.index_add(0, bonds.centre, rows) for sum_, rows in zip(empty, messages, strict=True))


def _mix(linears: Any, X: Irreps) -> Irreps:
    return _three(linear(part) for linear, part in zip(linears, X, strict=True))


def _damp(X: Irreps) -> Irreps:
    """Divide by 1 + |X|², channel by channel."""
    norm = 1 + _squared_norm(X)[:, None]
    return X[0] / norm, X[1] / norm, X[2] / norm


def _squared_norm(X: Irreps) -> Tensor:
    return X[0].square().sum(1) + X[1].square().sum(1) + X[2].square().sum(1)


def _matrix(X: Irreps) -> Tensor:
    """(N, 3, 3, C) from components."""
    return torch.einsum("nmc,mij->nijc", torch.cat(X, dim=1), _MATRICES.to(X[0]))


def _irreps(matrix: Tensor) -> Irreps:
    return _three(torch.einsum("nijc,mij->nmc", matrix, _MATRICES.to(matrix)).split([1, 3, 5], dim=1))


def _three(parts: Iterable[Tensor]) -> Irreps:
    scalar, vector, tensor = parts
    return scalar, vector, tensor


def _product(first: Tensor, second: Tensor) -> Tensor:
    return (first[:, :, :, None] * second[:, None]).sum(2)


def _tensornet_stages(net: Any) -> dict[str, list[str]]:
    basis = ["bond_expansion"] if net.rbf_type.lower() == "expnorm" else []  # else nothing in it learns
    stages = {"embedding": [*basis, "tensor_embedding"]}
    stages |= {f"interaction-{i + 1}": [f"layers.{i}"] for i in range(len(net.layers))}
    stages[f"interaction-{len(net.layers)}"] += ["out_norm", "linear"]
    return stages | {"readout": ["final_layer"]}


# --------------------------------------------------------------------- M3GNet


def _m3gnet(net: Any, bonds: Bonds, batch: Batch) -> Tensor:
    """Return (N, C): atom features after the last block."""
    radial = net.bond_expansion(bonds.lengths)
    short = batch["short_bond"]
    lengths = bonds.lengths[short]
    envelope = _polynomial(lengths, net.threebody_cutoff)[:, None]
    basis = net.basis_expansion.sbf(lengths) * envelope
    powers = _outer_powers(bonds.vectors[short] / lengths[:, None], net.max_l)
    ends = bonds.centre[short], bonds.neighbour[short]
    atoms = net.embedding.layer_node_embedding(bonds.species)
    edges = net.embedding.layer_edge_embedding(radial)
    for three_body, layer in zip(net.three_body_interactions, net.graph_layers, strict=True):
        sent = basis * three_body.update_network_atom(atoms)[ends[1]]
        around = _sum_over_angles(sent, powers, ends[0], bonds.n_atoms) * envelope
        edges = edges.index_add(0, short, three_body.update_network_bond(around))
        edges, atoms = _m3gnet_convolution(layer.conv, atoms, edges, radial, bonds)
    return atoms


def _m3gnet_convolution(conv: Any, atoms: Tensor, edges: Tensor, radial: Tensor, bonds: Bonds) -> tuple[Tensor, Tensor]:
    edges = edges + _gated(conv.edge_update_func, atoms, edges, bonds) * conv.edge_weight_func(radial)
    messages = _gated(conv.node_update_func, atoms, edges, bonds) * conv.node_weight_func(radial)
    return edges, atoms.index_add(0, bonds.centre, messages)


def _gated(gated: Any, atoms: Tensor, edges: Tensor, bonds: Bonds) -> Tensor:
    """Pass joined rows (centre, neighbour, bond) through a gated MLP, core and gate side by side in the first layer."""
    core, gate = gated.layers[0], gated.gates[0]
    width = atoms.shape[1]
    weight = torch.cat([core.weight, gate.weight])
    of_centre, of_neighbour, of_bond = weight.split([width, width, edges.shape[1]], dim=1)
    joined = F.linear(edges, of_bond, torch.cat([core.bias, gate.bias]))
    joined = joined + F.linear(atoms, of_centre)[bonds.centre] + F.linear(atoms, of_neighbour)[bonds.neighbour]
    core_rows, gate_rows = F.silu(joined).chunk(2, dim=1)
    return gated.layers[2:](core_rows) * gated.gates[2:](gate_rows)


def _outer_powers(directions: Tensor, max_l: int) -> list[Tensor]:
    """(S, 3^p) for p below max_l: u, u uT, ... flattened, so that (u . v)^p is a product of two of them."""
    powers = [torch.ones_like(directions[:, :1])]
    for _ in range(max_l - 1):
        powers.append((powers[-1][:, :, None] * directions[:, None]).flatten(1))
    return powers


def _sum_over_angles(sent: Tensor, powers: list[Tensor], centre: Tensor, n_atoms: int) -> Tensor:
    """Sum over the other bonds k at a bond's centre: sum_k q_k^(nl) Y_l0(theta_jk), columns by l and then n.

    Y_l0 = sqrt((2l + 1) / 4 pi) P_l, P_l a polynomial in u_j . u_k; the bond's own term P_l(1) = 1 is taken off.
    """
    out = []
    for degree, q in enumerate(sent.chunk(len(powers), dim=1)):
        coefficients = np.polynomial.legendre.leg2poly([0.0] * degree + [1.0])
        total = -q
        for coefficient, power in zip(coefficients, powers, strict=False):
            if coefficient:
                rows = q[:, :, None] * power[:, None]
                moments = q.new_zeros(n_atoms, *rows.shape[1:]).index_add(0, centre, rows)
                total = total + float(coefficient) * (moments[centre] * power[:, None]).sum(2)
        out.append(math.sqrt((2 * degree + 1) / (4 * math.pi)) * total)
    return torch.cat(out, dim=1)


def _polynomial(ratio_of: Tensor, cutoff: float, exponent: int = 3) -> Tensor:
    """Smooth step from 1 to 0 at the cutoff (Gasteiger et al., arXiv 2003.03123)."""
    a, b, c = -(exponent + 1) * (exponent + 2) / 2, exponent * (exponent + 2), -exponent * (exponent + 1) / 2
    x = ratio_of / cutoff
    step = 1 + a * x**exponent + b * x ** (exponent + 1) + c * x ** (exponent + 2)
    return torch.where(ratio_of <= cutoff, step, 0.0)


def _m3gnet_stages(net: Any) -> dict[str, list[str]]:
    stages = {"embedding": ["embedding.layer_node_embedding", "embedding.layer_edge_embedding"]}
    stages |= {
        f"interaction-{i + 1}": [f"three_body_interactions.{i}", f"graph_layers.{i}"] for i in range(net.n_blocks)
    }
    return stages | {"readout": ["final_layer"]}


# --------------------------------------------------------------------- CHGNet


def _chgnet(net: Any, bonds: Bonds, batch: Batch) -> Tensor:
    """Return (N, C): atom features after the last block."""
    # The vendor's envelope takes the basis functions' values for a length; weights were trained with that.
    radial = net.bond_expansion(bonds.lengths)
    radial = radial * _polynomial(radial, net.cutoff, net.cutoff_exponent)
    atoms, edges = net.atom_embedding(bonds.species), net.bond_embedding(radial)
    atom_weights, edge_weights = (
        None if linear is None else linear(radial) for linear in (net.atom_bond_weights, net.bond_bond_weights)
    )
    index = torch.stack([bonds.centre, bonds.neighbour])
    angles = _Angles.of(net, bonds, batch) if net.use_bond_graph else None
    for i, layer in enumerate(net.atom_graph_layers):
        atoms, edges, _ = layer(index, atoms, edges, radial, None, None, atom_weights, edge_weights)
        if angles is not None and i < len(net.bond_graph_layers):
            edges = angles.convolve(net.bond_graph_layers, i, atoms, edges)
    return atoms


@dataclass
class _Angles:
    """Pairs of short bonds, and their features on the way through the network."""

    pairs: Tensor
    centre: Tensor
    short: Tensor
    features: Tensor
    radial: Tensor
    weights: Tensor | None

    @classmethod
    def of(cls, net: Any, bonds: Bonds, batch: Batch) -> _Angles:
        """Expand lengths of the short bonds and the angles between them."""
        short, pairs = batch["short_bond"], torch.stack([batch["pair_sender"], batch["pair_receiver"]])
        radial = net.threebody_bond_expansion(bonds.lengths[short])
        radial = radial * _polynomial(radial, net.three_body_cutoff, net.cutoff_exponent)
        direction = bonds.vectors[short] / bonds.lengths[short, None]
        # A sender arrives at the centre: its direction seen from there is the opposite.
        cosine = -(direction[pairs[0]] * direction[pairs[1]]).sum(1)
        theta = torch.acos(cosine.clamp(-1 + 1e-7, 1 - 1e-7))
        shared = net.threebody_bond_weights
        return cls(
            pairs=pairs,
            centre=bonds.neighbour[short[pairs[0]]],
            short=short,
            features=net.angle_embedding(net.angle_expansion(theta)),
            radial=radial,
            weights=None if shared is None else shared(radial),
        )

    def convolve(self, layers: Any, i: int, atoms: Tensor, edges: Tensor) -> Tensor:
        """Update short bonds, then angles; nothing reads the angles that the last layer would write."""
        conv, rows, around = layers[i].conv, edges[self.short], atoms[self.centre]
        update = conv.node_update_(self.pairs, rows, self.features, around, self.radial, self.weights, len(rows))
        rows = rows + update
        if conv.edge_update_func is not None and i < len(layers) - 1:
            self.features = self.features + conv.edge_update_(self.pairs, rows, self.features, around)
        return edges.index_copy(0, self.short, rows)


def _chgnet_stages(net: Any) -> dict[str, list[str]]:
    names = ["bond_expansion", "threebody_bond_expansion", "angle_expansion", "atom_embedding", "bond_embedding"]
    names += ["angle_embedding", "atom_bond_weights", "threebody_bond_weights"]
    if net.atom_graph_layers[0].conv.edge_update_func is not None:
        names.append("bond_bond_weights")  # else nothing reads them
    stages = {"embedding": [name for name in names if isinstance(getattr(net, name), nn.Module)]}
    layers = net.bond_graph_layers if net.use_bond_graph else []
    for i, layer in enumerate(net.atom_graph_layers):
        norms = [] if i < len(net.atom_graph_layers) - 1 else ["bond_norm"]  # nothing reads the last bonds
        parts = [f"atom_graph_layers.{i}.{name}" for name, _ in layer.named_children() if name not in norms]
        if i < len(layers):
            unread = {"edge_update_func"} if i == len(layers) - 1 else set()
            children = layers[i].conv.named_children()
            parts += [f"bond_graph_layers.{i}.conv.{name}" for name, _ in children if name not in unread]
        stages[f"interaction-{i + 1}"] = parts
    return stages | {"readout": ["final_layer"]}


# --------------------------------------------------------------------- SO3Net


def _so3net(net: Any, bonds: Bonds, batch: Batch) -> Tensor:
    """Return (N, C): the scalars of each atom after the last block."""
    harmonics = net.sphharm(bonds.vectors / bonds.lengths[:, None])
    radial = net.radial_basis(bonds.lengths)
    envelope = _polynomial(bonds.lengths, net.cutoff)[:, None]
    scalars = net.embedding(bonds.species)[:, None]
    x = torch.cat([scalars, scalars.new_zeros(bonds.n_atoms, (net.lmax + 1) ** 2 - 1, scalars.shape[2])], dim=1)
    blocks = zip(net.so3convs, net.mixings1, net.mixings2, net.gatings, net.mixings3, strict=True)
    for convolution, first, second, gate, third in blocks:
        sums = convolution(x, radial, harmonics, envelope, bonds.centre, bonds.neighbour)
        x = x + third(gate(second(sums + net.so3product(sums, first(sums)))))
    return x[:, 0]


def _so3net_stages(net: Any) -> dict[str, list[str]]:
    stages = {"embedding": ["embedding", *["radial_basis"] * any(True for _ in net.radial_basis.parameters())]}
    parts = ("so3convs", "mixings1", "mixings2", "gatings", "mixings3")
    stages |= {f"interaction-{i + 1}": [f"{part}.{i}" for part in parts] for i in range(net.nblocks)}
    return stages | {"readout": ["final_layer"]}


NETWORKS: dict[str, MatGLNetwork] = {
    "TensorNet": MatGLNetwork(_tensornet, _tensornet_stages, {"is_intensive": False, "ntargets": 1}),
    "M3GNet": MatGLNetwork(
        _m3gnet,
        _m3gnet_stages,
        {"is_intensive": False, "ntargets": 1, "include_state": False, "use_phi": False, "dropout": None},
        short_cutoff="threebody_cutoff",
    ),
    "SO3Net": MatGLNetwork(
        _so3net,
        _so3net_stages,
        {
            "is_intensive": False,
            "ntargets": 1,
            "target_property": "atomwise",
            "task_type": "regression",
            "include_state": False,
        },
    ),
    "CHGNet": MatGLNetwork(
        _chgnet,
        _chgnet_stages,
        {
            "is_intensive": False,
            "num_targets": 1,
            "pooling_operation": "sum",
            "readout_field": "atom_feat",
            "dim_state_feats": None,
            "conv_dropout": 0.0,
            "final_dropout": 0.0,
        },
        short_cutoff="threebody_cutoff",
        angles=True,
    ),
}
"""Class name in the vendor's files -> how it is read."""

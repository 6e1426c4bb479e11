"""MACE's convolution as one matrix product for each atom.

    message_i = sum_j weights_ij * (features_j x directions_ij)        x: the equivariant product

The vendor makes the product of every edge with all its channels, writes it down and adds up afterwards, and a loss of
forces does so again for each of two derivatives: that is most of its step. Here the coupling coefficients meet the
directions first, which have no channels, and the weights meet the features; then one product of matrices sums over
neighbours and components at once. On two frames of Mo that takes 0.4 of the time of product and sum, derivatives
included.

    with leaner(module.interactions, convolutions, Neighbours.of(receivers, n_atoms)):
        ...                                      # the vendor's blocks call ours in place of their own

The blocks keep a door for fused kernels (``conv_fusion``), and nothing in them is changed for longer than that.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

Coupling = Callable[..., Tensor]
"""e3nn's Wigner 3j symbols (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) of three degrees, in a dtype."""

WASTE = 2.5
"""Places for each edge beyond which the vendor's way is the quicker one: every atom has as many as the one with most
neighbours. At 1.6 ours takes 0.6 of the time."""


@dataclass(frozen=True)
class Neighbours:
    """The edges that end at each atom, side by side.

    Attributes
    ----------
    edges
        (n_atoms, most) the edges by number; any where an atom has fewer.
    there
        (n_atoms, most) whether there is one.
    """

    edges: Tensor
    there: Tensor

    @classmethod
    def each(cls, n_edges: int, device: torch.device) -> Neighbours:
        """Return a row for each edge: messages that are still to be summed at the receivers."""
        return cls(
            torch.arange(n_edges, device=device)[:, None], torch.ones(n_edges, 1, dtype=torch.bool, device=device)
        )

    @classmethod
    def of(cls, receivers: Tensor, n_atoms: int) -> Neighbours | None:
        """Sort edges by the atom (E,) at which they end; None where there is none, or too many places stay empty."""
        order = receivers.argsort(stable=True)
        counts = torch.bincount(receivers, minlength=n_atoms)
        most = int(counts.max()) if n_atoms else 0
        if not 0 < n_atoms * most <= WASTE * len(receivers):
            return None
        ends = receivers[order]
        place = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[ends]
        edges = torch.zeros(n_atoms, most, dtype=torch.long, device=order.device)
        edges[ends, place] = order
        return cls(edges, torch.arange(most, device=order.device) < counts[:, None])


@dataclass(frozen=True)
class Connection:
    """One way from a part of the features, by one direction, to one part of the messages; it has weights of its own.

    Attributes
    ----------
    features
        Where the part lies in the features: ``channels * (2 l1 + 1)`` wide, channel by channel.
    channels
        Their number, here and in the message.
    degrees
        l1 of the features, l2 of the direction, l3 of the message.
    direction
        Where the ``2 l2 + 1`` components of the direction lie.
    factor
        Of the coupling.
    """

    features: slice
    channels: int
    degrees: tuple[int, int, int]
    direction: slice
    factor: float


class _Path(NamedTuple):
    """One way from an input to an output: numbers of its part of the weights and of its output, components of that."""

    weights: int
    out: int
    size: int


class _Input(NamedTuple):
    """A part of the features, as wide as ``channels * size``, and its couplings (directions, size * all outputs)."""

    features: slice
    channels: int
    size: int
    couplings: Tensor
    paths: list[_Path]


class Convolution:
    """A product of features and directions by weights of each edge, summed at the receivers.

    Parameters
    ----------
    connections
        In the order of their weights.
    outputs
        Which part of the messages each connection makes: the numbers from 0, in any order.
    n_directions
        Components of all directions.
    coupling
        Such as `e3nn.o3.wigner_3j`.
    """

    def __init__(
        self, connections: Sequence[Connection], outputs: Sequence[int], n_directions: int, coupling: Coupling
    ) -> None:
        entering: dict[int, list[int]] = defaultdict(list)
        for i, one in enumerate(connections):
            entering[one.features.start].append(i)
        self._widths = [one.channels for one in connections]
        self._inputs = []
        for numbers in entering.values():
            part, wholes = connections[numbers[0]], []
            for one in (connections[i] for i in numbers):
                symbols = one.factor * coupling(*one.degrees, dtype=torch.float64)
                whole = symbols.new_zeros(n_directions, symbols.shape[0], symbols.shape[2])
                whole[one.direction] = symbols.transpose(0, 1)
                wholes.append(whole)
            paths = [_Path(i, outputs[i], 2 * connections[i].degrees[2] + 1) for i in numbers]
            couplings = torch.cat(wholes, 2).flatten(1)
            self._inputs.append(_Input(part.features, part.channels, 2 * part.degrees[0] + 1, couplings, paths))

    @classmethod
    def of(cls, block: Any, coupling: Coupling) -> Convolution | None:
        """Return that of an interaction; None where its product is of another kind, or fused already."""
        product = block.conv_tp
        known = (
            not hasattr(block, "conv_fusion")
            and hasattr(product, "instructions")
            and not product.internal_weights
            and all(one.connection_mode == "uvu" and one.has_weight for one in product.instructions)
            and all(multiplicity == 1 for multiplicity, _ in product.irreps_in2)
            and len({one.i_out for one in product.instructions}) == len(product.instructions) == len(product.irreps_out)
        )
        if not known:
            return None
        slices, directions = product.irreps_in1.slices(), product.irreps_in2.slices()
        connections = [
            Connection(
                slices[one.i_in1],
                product.irreps_in1[one.i_in1].mul,
                (
                    product.irreps_in1[one.i_in1].ir.l,
                    product.irreps_in2[one.i_in2].ir.l,
                    product.irreps_out[one.i_out].ir.l,
                ),
                directions[one.i_in2],
                one.path_weight,
            )
            for one in product.instructions
        ]
        outputs = [one.i_out for one in product.instructions]
        return cls(connections, outputs, product.irreps_in2.dim, coupling)

    def __call__(
        self, features: Tensor, directions: Tensor, weights: Tensor, edges: Tensor, neighbours: Neighbours
    ) -> Tensor:
        """Return messages (n_atoms, width) in e3nn's order; `edges` (2, E) are the atoms where each begins and ends."""
        return torch.cat([one.flatten(1) for one in self.parts(features, directions, weights, edges[0], neighbours)], 1)

    def parts(
        self,
        features: Tensor,
        directions: Tensor,
        weights: Tensor,
        senders: Tensor,
        neighbours: Neighbours,
        owner: Tensor | None = None,
    ) -> list[Tensor]:
        """Return the parts of the messages, each (n_receivers, channels, 2 l3 + 1).

        Parameters
        ----------
        features
            (n_atoms, width) of the atoms at which edges begin.
        directions
            (E, ...) of the edges.
        weights
            (n, all channels) of the edges.
        senders
            (E,) the atoms at which each begins.
        owner
            (E,) which row of the weights is an edge's. Default: its own.
        """
        n_receivers, most = neighbours.edges.shape
        places = neighbours.edges.flatten()
        directions = directions[places] * neighbours.there.view(-1, 1)
        # Split, not sliced: the derivative of a slice fills zeros as wide as all weights.
        weighing = weights[places if owner is None else owner[places]].split(self._widths, dim=1)
        senders = senders[places]
        messages: dict[int, Tensor] = {}
        for part in self._inputs:
            entering = features[:, part.features].reshape(-1, part.channels, part.size).transpose(1, 2)
            sent = entering.contiguous()[senders]  # (n_receivers * most, size, channels)
            sizes = [path.size for path in part.paths]
            coupled = (directions @ part.couplings.to(directions)).view(n_receivers, most * part.size, sum(sizes))
            turned = coupled.split(sizes, dim=2)
            for path, coupling in zip(part.paths, turned, strict=True):
                weighed = (sent * weighing[path.weights][:, None]).view(n_receivers, most * part.size, part.channels)
                messages[path.out] = weighed.transpose(1, 2) @ coupling
        return [messages[i] for i in range(len(messages))]


@contextlib.contextmanager
def leaner(
    blocks: Sequence[Any], convolutions: Sequence[Convolution | None], neighbours: Neighbours | None
) -> Iterator[None]:
    """Let the vendor's interactions call our convolutions meanwhile, where there is one and it pays."""
    if neighbours is None:
        yield
        return
    pairs = zip(blocks, convolutions, strict=True)
    changed = [(block, partial(one, neighbours=neighbours)) for block, one in pairs if one is not None]
    try:
        for block, summed in changed:
            # Beside the module, not in its place: what is saved or listed of the block stays the vendor's.
            block.__dict__["conv_tp"] = summed
            block.__dict__["conv_fusion"] = True
        yield
    finally:
        for block, _ in changed:
            block.__dict__.pop("conv_tp", None)
            block.__dict__.pop("conv_fusion", None)

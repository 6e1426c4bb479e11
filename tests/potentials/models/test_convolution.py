"""MACE's convolution in a leaner order is e3nn's, with both derivatives, and the vendor's blocks stay as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("matgraft.potentials.models.mace.potential", reason='needs pip install "matgraft[mace]"')

import e3nn
from mace.modules.irreps_tools import tp_out_irreps_with_instructions

from matgraft.potentials.models.convolution import Convolution, Neighbours, leaner
from matgraft.potentials.models.mace.vendor import blocks, o3

DOUBLE = torch.float64
FEATURES = ["4x0e", "3x0e+3x1o", "2x0e+2x1o+2x2e", "3x0e+3x0o+3x1o+3x1e", "5x1o+5x3o"]
DIRECTIONS = ["1x0e", "1x0e+1x1o", "1x0e+1x1o+1x2e+1x3o"]

Sum = Callable[[Tensor, Tensor, Tensor], Tensor]


@pytest.fixture(scope="module", autouse=True)
def uncompiled() -> Iterator[None]:
    """Let e3nn run its code as it is: to compile each product takes seconds, and warns."""
    before = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_script_fx=False)
    yield
    e3nn.set_optimization_defaults(**before)


@cache
def product_of(features: str, directions: str) -> Any:
    """The product of an interaction, as mace-torch builds it."""
    sides = o3.Irreps(features), o3.Irreps(directions)
    every = o3.Irreps([(1, (degree, parity)) for degree in range(4) for parity in (1, -1)])
    irreps, instructions = tp_out_irreps_with_instructions(*sides, every)
    return o3.TensorProduct(*sides, irreps, instructions, shared_weights=False, internal_weights=False).double()


def gradients(summed: Sum, inputs: tuple[Tensor, Tensor, Tensor], probe: Tensor) -> list[Tensor]:
    """Messages, their derivatives by each input, and the derivatives of the size of those."""
    inputs = tuple(one.clone().requires_grad_(True) for one in inputs)  # type: ignore[assignment]
    messages = summed(*inputs)
    first = torch.autograd.grad((messages.square() * probe).sum(), inputs, create_graph=True)
    size = torch.stack([one.square().sum() for one in first]).sum()
    return [one.detach() for one in (messages, *first, *torch.autograd.grad(size, inputs))]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(FEATURES), st.sampled_from(DIRECTIONS), st.integers(0, 99))
def test_messages_and_both_derivatives_are_e3nns(features: str, directions: str, seed: int) -> None:
    torch.manual_seed(seed)
    product, n_atoms, n_edges = product_of(features, directions), 7, 40
    edges = torch.randint(0, n_atoms - 1, (2, n_edges))  # the last atom has no neighbour
    edges[1, :5] = edges[1, 0]  # and one has many
    inputs = (
        torch.randn(n_atoms, product.irreps_in1.dim, dtype=DOUBLE),
        torch.randn(n_edges, product.irreps_in2.dim, dtype=DOUBLE),
        torch.randn(n_edges, product.weight_numel, dtype=DOUBLE),
    )
    probe = torch.randn(n_atoms, product.irreps_out.dim, dtype=DOUBLE)
    convolution = Convolution.of(SimpleNamespace(conv_tp=product), o3.wigner_3j)
    neighbours = Neighbours.of(edges[1], n_atoms)
    assert convolution is not None
    assume(neighbours is not None)

    def theirs(features: Tensor, directions: Tensor, weights: Tensor) -> Tensor:
        each = product(features[edges[0]], directions, weights)
        return torch.zeros(n_atoms, each.shape[1], dtype=DOUBLE).index_add(0, edges[1], each)

    def ours(features: Tensor, directions: Tensor, weights: Tensor) -> Tensor:
        return convolution(features, directions, weights, edges, neighbours)

    for mine, expected in zip(gradients(ours, inputs, probe), gradients(theirs, inputs, probe), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-7 * float(expected.abs().max() + 1))


def test_every_edge_has_one_place() -> None:
    receivers = torch.tensor([2, 0, 2, 1, 2, 0])
    found = Neighbours.of(receivers, 3)
    assert found is not None and found.edges.shape == (3, 3)
    there = found.there
    assert sorted(found.edges[there].tolist()) == list(range(6))
    for atom in range(3):
        assert set(receivers[found.edges[atom][there[atom]]].tolist()) == {atom}


@pytest.mark.parametrize(("receivers", "n_atoms"), [([], 3), ([], 0), ([0] * 9, 9)])
def test_where_places_would_stay_empty_the_vendors_way_is_taken(receivers: list[int], n_atoms: int) -> None:
    assert Neighbours.of(torch.tensor(receivers, dtype=torch.long), n_atoms) is None


def interaction() -> Any:
    torch.manual_seed(0)
    sides = {"node_attrs_irreps": "2x0e", "node_feats_irreps": "4x0e+4x1o", "edge_attrs_irreps": "1x0e+1x1o+1x2e"}
    sides |= {"edge_feats_irreps": "8x0e", "target_irreps": "4x0e+4x1o+4x2e", "hidden_irreps": "4x0e+4x1o"}
    irreps = {name: o3.Irreps(text) for name, text in sides.items()}
    return blocks.RealAgnosticResidualInteractionBlock(**irreps, avg_num_neighbors=3.0, radial_MLP=[8])


def test_a_block_calls_ours_meanwhile_and_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    block = interaction()
    edges = torch.tensor([[0, 1, 2, 0], [1, 0, 1, 2]])
    given = {"node_attrs": torch.eye(2)[[0, 1, 1]], "node_feats": torch.randn(3, 16), "edge_index": edges}
    given |= {"edge_attrs": torch.randn(4, 9), "edge_feats": torch.randn(4, 8)}
    expected, names, inside = block(**given)[0], set(block.state_dict()), set(vars(block))
    convolution, neighbours = Convolution.of(block, o3.wigner_3j), Neighbours.of(edges[1], 3)
    called = []
    whole = Convolution.__call__
    monkeypatch.setattr(Convolution, "__call__", lambda *inputs, **named: called.append(1) or whole(*inputs, **named))
    with leaner([block], [convolution], neighbours):
        torch.testing.assert_close(block(**given)[0], expected)
        assert set(block.state_dict()) == names
    assert called == [1] and set(vars(block)) == inside
    with pytest.raises(ZeroDivisionError), leaner([block], [convolution], neighbours):
        raise ZeroDivisionError
    assert set(vars(block)) == inside
    with leaner([block], [convolution], None):
        block(**given)
    assert called == [1]


def test_products_of_another_kind_are_left_to_the_vendor() -> None:
    block = interaction()
    assert Convolution.of(block, o3.wigner_3j) is not None
    fused = SimpleNamespace(conv_tp=block.conv_tp, conv_fusion=True)
    mixing = o3.FullyConnectedTensorProduct("4x0e", "1x0e", "4x0e", shared_weights=False, internal_weights=False)
    own = o3.TensorProduct("4x0e", "1x0e", "4x0e", [(0, 0, 0, "uvu", True)])
    for other in (fused, SimpleNamespace(conv_tp=mixing), SimpleNamespace(conv_tp=own), SimpleNamespace(conv_tp=len)):
        assert Convolution.of(other, o3.wigner_3j) is None

"""SOAP: by hand, under a change of basis, on a valley that Adam finds hard, and what it must leave alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from matgraft.core.training.soap import Soap

RATE = 0.01


def walk(start: Tensor, gradients: list[Tensor], matrices: Sequence[tuple[int, int]] = (), **options: Any) -> Tensor:
    """Return the parameter after a step for each gradient."""
    parameter = nn.Parameter(start.clone())
    optimizer = Soap([{"params": [parameter], "lr": RATE, "matrices": [matrices]}], **options)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def test_weights_decay_apart_from_the_gradient() -> None:
    """As AdamW does it: the gradient's step, and a part of the rate off the weight."""
    start, gradients = drawn(3, 1, 4, 3)[0], drawn(4, 2, 4, 3)
    plain = walk(start, gradients)
    parameter = nn.Parameter(start.clone())
    optimizer = Soap([{"params": [parameter], "lr": RATE, "matrices": [()], "weight_decay": 2.0}])
    for gradient in gradients:  # the first one makes the basis, and no step
        parameter.grad = gradient.clone()
        optimizer.step()
    assert torch.allclose(parameter.detach(), plain - RATE * 2.0 * start, atol=1e-12)


def drawn(seed: int, count: int, *shape: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=random, dtype=torch.float64) for _ in range(count)]


def test_steps_by_hand() -> None:
    """The algorithm of the paper, written down in numpy: the first gradient makes the basis alone."""
    gradients = [gradient.numpy() for gradient in drawn(0, 5, 4, 4)]
    W = np.zeros((4, 4))
    L, R = gradients[0] @ gradients[0].T, gradients[0].T @ gradients[0]
    P, Q = np.linalg.eigh(L)[1], np.linalg.eigh(R)[1]
    average, squares = np.zeros((4, 4)), np.zeros((4, 4))
    for step, G in enumerate(gradients[1:], start=1):
        average = 0.9 * average + 0.1 * G
        squares = 0.99 * squares + 0.01 * (P.T @ G @ Q) ** 2
        turned = (P.T @ average @ Q) / (1 - 0.9**step)
        W -= RATE * P @ (turned / np.sqrt(squares / (1 - 0.99**step))) @ Q.T
        L, R = 0.95 * L + 0.05 * G @ G.T, 0.95 * R + 0.05 * G.T @ G
        if step == 2:
            for side, (product, basis) in enumerate(((L, P), (R, Q))):
                order = np.argsort(-np.diag(basis.T @ product @ basis))
                new = np.linalg.qr(product @ basis[:, order])[0]
                turn = (new.T @ basis) ** 2  # variances of turned quantities
                squares = turn @ squares if side == 0 else squares @ turn.T
                basis[:] = new
    found = walk(torch.zeros(4, 4, dtype=torch.float64), [torch.tensor(G) for G in gradients], every=2, eps=0.0)
    # Steps 2 and 4 refresh; after the last one nothing moves any more.
    np.testing.assert_allclose(found.numpy(), W, atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(2, 6), st.integers(2, 6), st.integers(1, 6))
def test_a_change_of_basis_changes_nothing_but_the_basis(seed: int, rows: int, columns: int, rank: int) -> None:
    """U W V of gradients U G V, for orthogonal U and V, also where gradients leave directions undetermined."""
    left, right = drawn(seed, 6, rows, rank), drawn(seed + 1, 6, rank, columns)
    gradients = [a @ b for a, b in zip(left, right, strict=True)]
    U, V = (torch.linalg.qr(drawn(seed + 2, 1, n, n)[0])[0] for n in (rows, columns))
    start = torch.zeros(rows, columns, dtype=torch.float64)
    turned = walk(start, [U @ gradient @ V for gradient in gradients], every=3)
    torch.testing.assert_close(turned, U @ walk(start, gradients, every=3) @ V, atol=1e-6, rtol=1e-6)


def test_flattened_matrices_learn_as_if_each_were_alone() -> None:
    first, second = drawn(1, 7, 3, 2), drawn(2, 7, 2, 4)
    together = [torch.cat([a.flatten(), b.flatten()]) for a, b in zip(first, second, strict=True)]
    found = walk(torch.zeros(14, dtype=torch.float64), together, [(3, 2), (2, 4)], every=3)
    alone = [walk(torch.zeros_like(own[0]), own, every=3).flatten() for own in (first, second)]
    torch.testing.assert_close(found, torch.cat(alone))


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 3, 4)])
def test_what_is_no_matrix_is_left_to_adam(shape: tuple[int, ...]) -> None:
    gradients = drawn(3, 6, *shape)
    parameter = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    adam = torch.optim.Adam([parameter], lr=RATE, betas=(0.9, 0.99), eps=0.0, foreach=False)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        adam.step()
    torch.testing.assert_close(walk(torch.zeros(shape, dtype=torch.float64), gradients, eps=0.0), parameter.detach())


def test_rows_without_a_gradient_stay_to_the_last_bit() -> None:
    """Those of a table of elements that no frame holds: float32 leaves a little of the others in their direction."""
    gradients = [gradient.float() for gradient in drawn(4, 40, 6, 5)]
    for gradient in gradients:
        gradient[[1, 4]] = 0
    start = torch.ones(6, 5)
    moved = (walk(start, gradients, every=4) - start).abs().amax(dim=1)
    assert moved[[1, 4]].eq(0).all()
    assert moved[[0, 2, 3, 5]].gt(RATE).all()


def test_directions_without_a_gradient_are_not_stirred() -> None:
    """Columns of rank one: what float32 leaves in the others would make whole steps without `eps`."""
    direction = torch.randn(64, generator=torch.Generator().manual_seed(6))
    gradients = [torch.outer(gradient.float(), direction) for gradient in drawn(5, 30, 16)]
    moved = walk(torch.zeros(16, 64), gradients)
    along = torch.outer(moved @ direction / direction.square().sum(), direction)
    assert (moved - along).norm() < 0.05 * along.norm()


@pytest.mark.parametrize("size", [0.0, 1e-25, 1e-12, 1e12])
def test_gradients_of_any_size_give_finite_steps(size: float) -> None:
    """Many channels with the same or no gradient, as behind a gate that is shut."""
    gradients = [size * one.float().repeat(16, 1) for one in drawn(9, 12, 4, 32)]
    moved = walk(torch.zeros(64, 32), gradients, every=3)
    assert torch.isfinite(moved).all()
    assert moved.abs().max() < 1000 * RATE
    assert size < 1e-20 or moved.abs().max() > RATE


def test_a_long_side_keeps_its_own_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matgraft.core.training.soap.LARGEST", 4)
    parameter = nn.Parameter(torch.zeros(5, 3))
    optimizer = Soap([{"params": [parameter], "lr": RATE, "matrices": [[]]}], every=2)
    for gradient in drawn(7, 5, 5, 3):
        parameter.grad = gradient.float()
        optimizer.step()
    (block,) = optimizer.state[parameter]["blocks"]
    assert block["bases"][0] is None and block["bases"][1].shape == (3, 3)
    assert torch.isfinite(parameter).all()


def test_a_parameter_without_a_gradient_waits() -> None:
    parameter = nn.Parameter(torch.ones(3, 3))
    optimizer = Soap([{"params": [parameter], "lr": RATE, "matrices": [[]]}])
    optimizer.step()
    assert not optimizer.state[parameter] and parameter.eq(1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_restored_optimizer_goes_on_as_if_nothing_had_happened(dtype: torch.dtype) -> None:
    gradients = [gradient.to(dtype) for gradient in drawn(8, 9, 4, 3)]
    parameter = nn.Parameter(torch.zeros(4, 3, dtype=dtype))
    optimizer = Soap([{"params": [parameter], "lr": RATE, "matrices": [[]]}], every=2)
    for i, gradient in enumerate(gradients):
        if i == 5:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = Soap([{"params": [parameter], "lr": 1.0, "matrices": [[]]}], every=7)
            optimizer.load_state_dict(state)
        parameter.grad = gradient.clone()
        optimizer.step()
    assert torch.equal(parameter.detach(), walk(torch.zeros(4, 3, dtype=dtype), gradients, every=2))


def test_in_a_narrow_valley_it_is_ahead_of_adam() -> None:
    """|A (W - T) B|², A and B stretched along axes of their own: each optimizer at the best of four rates."""
    random = torch.Generator().manual_seed(0)
    turns = [torch.linalg.qr(torch.randn(12, 12, generator=random))[0] for _ in range(3)]
    stretch = torch.diag(torch.logspace(0, -1, 12))
    A, B = turns[0] @ stretch @ turns[0].T, turns[1] @ stretch @ turns[2]
    target = torch.randn(12, 12, generator=random)

    def descend(optimizer: torch.optim.Optimizer, W: nn.Parameter, rate: float) -> float:
        for step in range(200):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / 200)
            loss = (A @ (W - target) @ B).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    def best(make: Callable[[nn.Parameter], torch.optim.Optimizer]) -> float:
        weights = [nn.Parameter(torch.zeros(12, 12)) for _ in range(4)]
        return min(descend(make(W), W, rate) for W, rate in zip(weights, (0.01, 0.03, 0.1, 0.3), strict=True))

    soap = best(lambda W: Soap([{"params": [W], "lr": RATE, "matrices": [[]]}]))
    assert soap < 0.01 * best(lambda W: torch.optim.Adam([W], betas=(0.9, 0.99)))

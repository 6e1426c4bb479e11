"""Alignment of features: the reversed gradient, distances that vanish for equal domains, features that draw nearer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from matgraft.core.errors import OptionError
from matgraft.formulas.domain.alignment import Coral, MaximumMeanDiscrepancy, make_alignment, ramp, reverse_gradient

DISTANCES = [Coral, MaximumMeanDiscrepancy]


def drawn(n: int, shift: float = 0.0, spread: float = 1.0, seed: int = 0) -> torch.Tensor:
    return shift + spread * torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_arrives_with_the_opposite_sign_and_the_stated_strength() -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    out = reverse_gradient(x, 0.3)
    assert torch.equal(out, x)
    (out * torch.tensor([5.0, 7.0])).sum().backward()
    torch.testing.assert_close(x.grad, -0.3 * torch.tensor([5.0, 7.0]))


def test_reversal_pushes_the_features_against_its_classifier() -> None:
    reversal = make_alignment("reversal", width=6, strength=2.0)
    source, target = drawn(20).requires_grad_(), drawn(20, shift=1.0, seed=1).requires_grad_()
    pushed = torch.autograd.grad(reversal(source, target, progress=0.5), [source, target])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matgraft.formulas.domain.alignment.reverse_gradient", lambda x, strength: x)
        plain = torch.autograd.grad(reversal(source, target, progress=0.5), [source, target])
    for ours, theirs in zip(pushed, plain, strict=True):
        torch.testing.assert_close(ours, -2.0 * ramp(0.5) * theirs)
    assert torch.autograd.grad(reversal(source, target, progress=0.0), source)[0].abs().max() == 0


def test_the_strength_is_ramped_as_published() -> None:
    assert ramp(0.0) == 0
    assert ramp(0.25) == pytest.approx(2 / (1 + math.exp(-2.5)) - 1)
    assert ramp(1.0) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", DISTANCES)
def test_distances_of_equal_domains_are_about_zero(kind: type) -> None:
    same = torch.stack([kind.distance(drawn(64, seed=i), drawn(64, seed=100 + i)) for i in range(40)])
    shifted = torch.stack([kind.distance(drawn(64, seed=i), drawn(64, shift=0.5, seed=100 + i)) for i in range(40)])
    wider = torch.stack([kind.distance(drawn(64, seed=i), drawn(64, spread=1.5, seed=100 + i)) for i in range(40)])
    assert abs(same.mean()) < 3 * same.std() / 40**0.5  # unbiased: no distance where there is none
    assert shifted.mean() > 10 * abs(same.mean())
    assert wider.mean() > 10 * abs(same.mean())


@pytest.mark.parametrize("kind", DISTANCES)
def test_distances_do_not_hang_on_where_the_features_lie(kind: type) -> None:
    source, target = 0.01 * drawn(64).float(), 0.01 * drawn(64, shift=0.5, seed=1).float()
    exact = kind.distance(source.double(), target.double())
    torch.testing.assert_close(kind.distance(source + 64, target + 64).double(), exact, rtol=1e-2, atol=0)


@pytest.mark.parametrize("name", ["coral", "mmd"])
def test_a_distance_is_counted_in_units_of_the_start(name: str) -> None:
    alignment = make_alignment(name, width=6, strength=0.5)
    source, target = drawn(200), drawn(200, shift=0.5, seed=1)
    alignment.start(source, target)
    assert float(alignment(source, target, progress=1.0)) == pytest.approx(0.5 * ramp(1.0), rel=1e-5)
    alignment.start(source, source.clone())  # nothing to align: chance is the unit, and is not blown up
    assert abs(float(alignment(source, drawn(200, seed=2), progress=1.0))) < 3


@pytest.mark.parametrize("name", ["coral", "mmd"])  # reversal needs the loop's decay: tests/predictors/test_aligned.py
def test_features_of_two_domains_draw_nearer(name: str) -> None:
    torch.manual_seed(0)
    source, target = drawn(256), drawn(256, shift=1.2, seed=1)
    features = nn.Linear(6, 8)
    alignment = make_alignment(name, width=8, strength=1.0)

    def distance() -> float:
        with torch.no_grad():
            return float(MaximumMeanDiscrepancy.distance(features(source), features(target)))

    before = distance()
    alignment.start(features(source), features(target))
    adam = torch.optim.Adam([*features.parameters(), *alignment.parameters()], lr=0.01)
    for step in range(100):
        adam.zero_grad()
        rows = torch.randperm(256)[:64]
        loss = (features(source[rows])[:, 0] - source[rows, 0]).square().mean()  # so that the features keep something
        (loss + alignment(features(source[rows]), features(target[rows]), step / 100)).backward()
        adam.step()
    assert distance() < 0.5 * before


def test_an_unknown_alignment_is_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'coral'"):
        make_alignment("corral", width=6)


def test_the_ramp_is_a_setting() -> None:
    assert [ramp(progress, 0.0) for progress in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]
    assert ramp(0.5, 2.0) == pytest.approx(2 / (1 + math.exp(-1)) - 1) and ramp(0.5, 2.0) < ramp(0.5)
    source, target = drawn(200), drawn(200, shift=0.5, seed=1)
    for steepness, expected in ((0.0, 0.5), (2.0, 0.0)):
        alignment = make_alignment("mmd", 6, 0.5, steepness)
        alignment.start(source, target)
        assert float(alignment(source, target, progress=0.0)) == pytest.approx(expected, rel=1e-5)

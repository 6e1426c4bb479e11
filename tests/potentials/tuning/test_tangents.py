"""Cached tangents: derivatives of the features, and unbiased estimates of the errors of forces and stresses."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import Tensor
from torch.autograd import forward_ad

from matgraft.core.errors import OptionError
from matgraft.core.quantities import Array
from matgraft.core.training.execution import Execution
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.tuning import adapt as adapting
from matgraft.potentials.tuning import tangents
from matgraft.potentials.tuning.adapt import adapt
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective
from matgraft.potentials.tuning.tangents import (
    Directions,
    FrameTangents,
    TangentObjective,
    _strain_directions,
    cache_tangents,
    choose_directions,
)

CPU = torch.device("cpu")
WEIGHTS = LossSettings(energy=2.0, forces=3.0, stress=500.0)


def cache(chgnet: Potential, dataset: Dataset, directions: Directions, **options: Any) -> list[FrameTangents]:
    return cache_tangents(chgnet, dataset, encode_all(chgnet, dataset.samples), directions, **options)


def through_the_network(chgnet: Potential, dataset: Dataset) -> FrameObjective:
    encoded = encode_all(chgnet, dataset.samples)
    return FrameObjective(chgnet, dataset, dataset, WEIGHTS, encoded, encoded)


# ------------------------------------------------------------ what is cached

# PyTorch 2.13 scripts its forward-mode formulas on first use, and warns that scripting is deprecated.
forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def by_forward_mode(chgnet: Potential, sample: Sample, name: str, direction: Array) -> Array:
    """Return the derivative of the features along a direction of positions or strain, by torch's forward mode."""
    batch = chgnet.collate([chgnet.encode(sample)])
    vector = torch.as_tensor(direction, dtype=batch[name].dtype).view_as(batch[name])
    with forward_ad.dual_level():
        features = chgnet.features(batch.having(**{name: forward_ad.make_dual(batch[name], vector)}))
        tangent = forward_ad.unpack_dual(features).tangent
    assert isinstance(tangent, Tensor)
    return tangent.detach().numpy()


@forward_mode
def test_tangents_are_the_derivatives_of_the_features(chgnet: Potential, pairs: Dataset, sige: Dataset) -> None:
    """Along the directions that each frame's own generator gives: N(0, 1) for atoms, symmetrised for the strain."""
    data = Dataset((pairs[1], sige[len(sige) // 2]))
    for i, (sample, cached) in enumerate(zip(data, cache(chgnet, data, Directions(2, 2), seed=11), strict=True)):
        rng = np.random.default_rng([11, i])
        moves, drawn = rng.standard_normal((2, sample.n_atoms, 3)), rng.standard_normal((2, 3, 3))
        strains = (drawn + drawn.transpose(0, 2, 1)) / 2
        expected = [by_forward_mode(chgnet, sample, "positions", move) for move in moves]
        expected += [by_forward_mode(chgnet, sample, "strain", strain) for strain in strains]
        np.testing.assert_allclose(cached.tangents, expected, rtol=1e-3, atol=1e-5)
        features = chgnet.features(chgnet.collate([chgnet.encode(sample)])).detach().numpy()
        np.testing.assert_allclose(cached.features, features, atol=1e-6)
        of_forces = [-np.sum(move * sample.labels["forces"]) for move in moves]
        of_stress = [sample.content.get_volume() * np.sum(strain * sample.labels["stress"]) for strain in strains]
        np.testing.assert_allclose(cached.slopes, of_forces + of_stress, rtol=1e-10)
        assert cached.volume == pytest.approx(sample.content.get_volume(), rel=1e-6)
        references = sum(float(chgnet.references[Z - 1]) for Z in sample.content.numbers)
        assert cached.rest == pytest.approx(float(sample.labels["energy"]) - references)
        assert (cached.n_atoms, cached.n_edges) == (sample.n_atoms, 4 * sample.n_atoms)


@pytest.mark.parametrize("place", [(0, 0), (1, 2)])
def test_along_a_strain_the_mean_square_is_the_norm_of_the_stress(place: tuple[int, int]) -> None:
    """With one on the diagonal and one half off it, each component counts as in the sum of nine squares."""
    stress = np.zeros((3, 3))
    stress[place] = stress[place[::-1]] = 1.0
    strains = _strain_directions(np.random.default_rng(0), 20_000)
    slopes = np.einsum("kij,ij->k", strains, stress)
    assert np.mean(slopes**2) == pytest.approx(np.sum(stress**2), rel=0.04)


def assert_same_cache(found: list[FrameTangents], expected: list[FrameTangents]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for name in ("features", "tangents", "slopes", "rest", "volume"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


def test_directions_do_not_depend_on_processes_or_neighbours(chgnet: Potential, pairs: Dataset) -> None:
    alone = cache(chgnet, pairs, Directions(2, 1), seed=3)
    assert_same_cache(cache(chgnet, pairs, Directions(2, 1), seed=3, processes=2), alone)
    assert_same_cache(cache(chgnet, pairs[:2], Directions(2, 1), seed=3), alone[:2])
    other = cache(chgnet, pairs[:2], Directions(2, 1), seed=4)
    assert not np.allclose(other[0].slopes, alone[0].slopes)
    same_frame_twice = cache(chgnet, pairs[[0, 0]], Directions(2, 1), seed=3)
    assert not np.allclose(same_frame_twice[0].slopes, same_frame_twice[1].slopes)


# ------------------------------------------------------- losses from the cache


class Basis:
    """In place of random numbers: an orthogonal basis, of the length that makes the estimates exact."""

    def __init__(self, seed: object) -> None:
        """Whatever the seed."""

    def standard_normal(self, shape: tuple[int, int, int]) -> Array:
        count, rows, _ = shape
        if rows == 3:
            assert count in (0, 6), "a strain has six components"
            return np.sqrt(6) * np.array([_unit(i, j) for i in range(3) for j in range(i, 3)])[:count]
        assert count == 3 * rows, "as many moves as coordinates"
        return np.sqrt(count) * np.eye(count).reshape(shape)


def _unit(i: int, j: int) -> Array:
    strain = np.zeros((3, 3))
    strain[i, j] = strain[j, i] = 1.0 if i == j else np.sqrt(0.5)
    return strain


def without(sample: Sample, *names: str) -> Sample:
    labels = {name: value for name, value in sample.labels.items() if name not in names}
    return Sample(sample.content, labels, sample.tags, sample.weight)


@pytest.fixture(scope="module")
def mixed(pairs: Dataset) -> Dataset:
    """Frames of two atoms: whole but for some of the stress, and without energy, forces, stress, cell, or any label."""
    bare = Atoms("Si2", positions=[[0, 0, 0], [0.1, 0.2, 2.2]])
    molecule = Sample(bare, {"energy": np.array(-8.0), "forces": np.full((2, 3), 0.2)})
    partly = [without(pairs[0], name) for name in ("energy", "forces", "stress")]
    frames = (pairs[1], *partly, molecule, without(pairs[2], *pairs[2].labels))
    weighed = [sample.weighing(0.5 + i) for i, sample in enumerate(frames)]
    in_plane = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)
    weighed[0] = replace(weighed[0], label_weights={"forces": 3.0}, components={"stress": in_plane})
    weighed[1] = replace(weighed[1], label_weights={"forces": 0.2, "stress": 0.0})
    return Dataset(tuple(weighed))


@pytest.fixture(scope="module")
def exact(chgnet: Potential, mixed: Dataset) -> list[FrameTangents]:
    """The cache of `mixed` along a whole basis."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", Basis)
        return cache(chgnet, mixed, Directions(6, 6))


def head_gradient(potential: Potential, loss: Tensor) -> Tensor:
    slopes = torch.autograd.grad(loss, list(potential.head.parameters()), retain_graph=True)
    return torch.cat([g.flatten() for g in slopes])


def moved_head(chgnet: Potential) -> Potential:
    """A copy whose head is no longer the one that was cached with: caches hold for any head."""
    moved = copy.deepcopy(chgnet)
    with torch.no_grad():
        for parameter in moved.head.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    return moved


def test_along_a_whole_basis_losses_and_gradients_are_those_of_the_network(
    chgnet: Potential, mixed: Dataset, exact: list[FrameTangents]
) -> None:
    """Of every frame, absent labels included, at its own weight, and for a head that has moved."""
    model = moved_head(chgnet)
    tangent = TangentObjective(model, mixed, WEIGHTS, exact, exact, Directions(6, 6))
    whole = through_the_network(model, mixed)
    positions = [4, 0, 1, 2, 3, 5]
    found, expected = tangent.losses(positions, CPU), whole.losses(positions, CPU)
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=1e-7)
    assert found[-1].item() == 0.0
    for k in range(5):
        slopes, of_network = head_gradient(model, found[k]), head_gradient(model, expected[k])
        assert float(of_network.norm()) > 0
        assert float((slopes - of_network).norm() / of_network.norm()) < 1e-3


def test_along_a_whole_basis_the_metrics_are_those_of_the_network(
    chgnet: Potential, mixed: Dataset, exact: list[FrameTangents]
) -> None:
    tangent = TangentObjective(chgnet, mixed, WEIGHTS, exact, exact, Directions(6, 6))
    whole = through_the_network(chgnet, mixed)
    parts = [[0, 3, 4], [1], [], [2, 5]]
    found = tangent.validation_metrics(sum(tangent.validation_sums(part, CPU) for part in parts))  # type: ignore[arg-type]
    expected = whole.validation_metrics(sum(whole.validation_sums(part, CPU) for part in parts))  # type: ignore[arg-type]
    assert found == pytest.approx(expected, rel=1e-3)
    assert len(found) == 4


def test_absent_labels_are_masked(mixed: Dataset, exact: list[FrameTangents]) -> None:
    finite = [np.isfinite(one.slopes) for one in exact]
    assert [len(one.slopes) for one in exact] == [12, 12, 12, 12, 6, 12]
    assert [bool(one[:6].all()) for one in finite] == [True, True, False, True, True, False]
    assert [bool(one[6:].all()) for one in finite[:4]] == [True, True, True, False]
    assert [bool(np.isfinite(one.rest)) for one in exact] == [True, False, True, True, True, False]
    assert [one.volume > 0 for one in exact] == [True] * 4 + [False, True]


def test_many_random_directions_come_close_and_energies_are_exact(chgnet: Potential, pairs: Dataset) -> None:
    """Over 80 moves and 80 strains the standard error is at most 16 %: squares of one normal number each."""
    data, directions = pairs[:2], Directions(40, 40)
    cached = cache(chgnet, data, directions, seed=1)
    whole = through_the_network(chgnet, data)
    for name, tolerance in (("energy", 1e-4), ("forces", 0.32), ("stress", 0.32)):
        others = {other: 0.0 for other in ("energy", "forces", "stress") if other != name}
        settings = LossSettings(**{name: 1.0}, **others)
        tangent = TangentObjective(chgnet, data, settings, cached, cached, directions)
        whole.weights = settings.weights(data)
        estimate, truth = (one.losses([0, 1], CPU).sum().item() for one in (tangent, whole))
        assert estimate == pytest.approx(truth, rel=tolerance), name
        assert estimate != pytest.approx(truth, rel=1e-6) or name == "energy"


def test_only_squares_can_be_estimated(chgnet: Potential, mixed: Dataset, exact: list[FrameTangents]) -> None:
    with pytest.raises(OptionError, match=r"loss.kind=huber cannot act on cached tangents\nallowed: mse"):
        TangentObjective(chgnet, mixed, LossSettings(kind="huber"), exact, exact, Directions(6, 6))


def test_a_head_trained_on_tangents_has_better_forces(
    chgnet: Potential, sige: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The true ones, by the whole network, of frames with large forces."""
    largest = sorted(range(len(sige)), key=lambda i: -float(np.abs(sige[i].labels["forces"]).max()))[:4]
    data = sige[largest]
    monkeypatch.setattr(adapting, "plan_directions", lambda *_: Directions(6, 2))
    result = adapt(chgnet, data, data[:1], strategy="feature", epochs=40, batch=4)
    errors = {"forces": [], "energy": []}
    for model in (chgnet, result.backbone):
        predictions = predict_samples(model, data.samples)
        for name, found in errors.items():
            residuals = [p[name] - s.labels[name] for p, s in zip(predictions, data, strict=True)]
            found.append(float(np.sqrt(np.mean(np.square(residuals)))))
    assert errors["forces"][1] < 0.8 * errors["forces"][0]
    assert errors["energy"][1] < 0.01 * errors["energy"][0]
    assert result.trained == sum(parameter.numel() for parameter in chgnet.head.parameters())


# ------------------------------------------------------------ how many of them


@pytest.mark.parametrize(
    ("n_atoms", "width", "quantities", "directions"),
    [
        (192, 64, ("energy", "forces", "stress"), Directions(24, 4)),
        (40_000, 64, ("energy", "forces", "stress"), Directions(8, 1)),
        (10**6, 64, ("forces", "stress"), Directions(2, 1)),
        (100, 2_000_000, ("forces",), Directions(5, 0)),  # the memory binds: 5 x 100 x 2e6 floats are 4 GB
        (192, 64, ("energy", "forces"), Directions(24, 0)),
        (192, 64, ("energy", "stress"), Directions(0, 4)),
        (192, 64, ("energy",), Directions(0, 0)),
        (0, 64, ("energy", "forces", "stress"), Directions(24, 4)),
    ],
)
def test_few_frames_get_many_directions(
    n_atoms: int, width: int, quantities: tuple[str, ...], directions: Directions
) -> None:
    assert choose_directions(n_atoms, width, quantities) == directions


@pytest.mark.parametrize(
    ("minutes", "directions"), [(10.01, Directions(24, 4)), (5.01, Directions(12, 2)), (0.01, Directions(2, 1))]
)
def test_minutes_bound_the_directions(
    chgnet: Potential, pairs: Dataset, monkeypatch: pytest.MonkeyPatch, minutes: float, directions: Directions
) -> None:
    """Two frames, one of them held out, that would take ten minutes in all 28 directions."""
    monkeypatch.setattr(tangents, "timed", lambda work: (3 * 600 / 28 / 2, work()))  # a frame in three directions
    monkeypatch.setattr(tangents, "workers", lambda: 1)
    encoded = encode_all(chgnet, pairs[:1].samples)
    fewer, forecast = tangents.affordable(Directions(24, 4), minutes, chgnet, pairs[:1], encoded[:1], encoded[:1])
    assert fewer == directions
    assert forecast == pytest.approx(10.0 * (fewer.atoms + fewer.strain) / 28)


def test_a_resumed_head_has_the_directions_that_it_began_with(
    chgnet: Potential, pairs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "affordable", lambda *_: (Directions(3, 1), 0.0))
    options: dict[str, Any] = {
        "strategy": "feature",
        "epochs": 2,
        "batch": 2,
        "execution": Execution(tmp_path),
        "max_minutes": 5.0,
    }
    first = adapt(chgnet, pairs[:2], pairs[2:3], **options)
    monkeypatch.setattr(adapting, "affordable", lambda *_: pytest.fail("planned anew"))
    again = adapt(chgnet, pairs[:2], pairs[2:3], **options | {"execution": Execution(tmp_path, resume=True)})
    for one, other in zip(first.backbone.module.parameters(), again.backbone.module.parameters(), strict=True):
        assert torch.equal(one, other)

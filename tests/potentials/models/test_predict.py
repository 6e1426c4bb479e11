"""Predictions do not depend on how the work is cut up."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from ase import Atoms

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.core.training.batching import Budget
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples

TOLERANCE = {"energy": 2e-5, "forces": 3e-4, "stress": 1e-5, "magmom": 1e-4}
"""eV, eV/Å, eV/Å³, µB: float32 sums in another order leave 7e-5 eV/Å on a hot frame, 6e-14 in float64."""
MOLECULE = Sample(Atoms("SiO2", positions=[[0, 0, 0], [0.1, 0, 1.5], [0, 0.2, -1.5]]), {})


@pytest.fixture(scope="module")
def frames(pairs: Dataset, sige: Dataset) -> list[Sample]:
    """Frames of 2, 3 and 8 atoms, a molecule among them."""
    return [pairs[0], MOLECULE, sige[0], pairs[1], sige[len(sige) - 1]]


@pytest.fixture(scope="module")
def one_by_one(chgnet: Potential, frames: list[Sample]) -> list[dict[str, Array]]:
    return [predict_samples(chgnet, [sample])[0] for sample in frames]


def assert_same(found: Sequence[Mapping[str, Array]], expected: Sequence[Mapping[str, Array]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=0, atol=TOLERANCE[name], err_msg=name)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("budget", [Budget(), Budget(samples=2), Budget(atoms=5), Budget(edges=1)])
def test_any_budget_and_any_number_of_processes(
    chgnet: Potential,
    frames: list[Sample],
    one_by_one: list[dict[str, Array]],
    budget: Budget,
    processes: int,
) -> None:
    assert_same(predict_samples(chgnet, frames, budget=budget, processes=processes), one_by_one)


def test_shapes_and_precision(frames: list[Sample], one_by_one: list[dict[str, Array]]) -> None:
    for sample, prediction in zip(frames, one_by_one, strict=True):
        shapes = {"energy": (), "forces": (len(sample.content), 3), "stress": (3, 3), "magmom": (len(sample.content),)}
        for name, value in prediction.items():
            assert (value.shape, value.dtype) == (shapes[name], np.float64)
            assert np.isfinite(value).all()


def test_a_molecule_has_no_stress_and_takes_none_away(one_by_one: list[dict[str, Array]]) -> None:
    assert [set(one) for one in one_by_one].count({"energy", "forces", "magmom"}) == 1
    assert "stress" not in one_by_one[1]


@pytest.mark.parametrize("wanted", [("energy",), ("forces",), ("stress",), ("stress", "energy")])
def test_only_what_is_wanted(
    chgnet: Potential, frames: list[Sample], one_by_one: list[dict[str, Array]], wanted: tuple[str, ...]
) -> None:
    expected = [{name: value for name, value in one.items() if name in wanted} for one in one_by_one]
    assert_same(predict_samples(chgnet, frames, wanted), expected)


def test_encoded_frames_are_taken_as_they_are(
    chgnet: Potential, frames: list[Sample], one_by_one: list[dict[str, Array]]
) -> None:
    encoded = encode_all(chgnet, frames[::-1])
    assert [one.n_atoms for one in encoded] == [sample.n_atoms for sample in frames[::-1]]
    assert_same(predict_samples(chgnet, frames[::-1], encoded=encoded), one_by_one[::-1])


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_its_mode_and_without_gradients(chgnet: Potential, pairs: Dataset, training: bool) -> None:
    model = copy.deepcopy(chgnet)
    model.module.train(training)
    modes: list[bool] = []
    handle = model.head.register_forward_hook(lambda module, *_: modes.append(module.training))
    predict_samples(model, pairs[:2])
    handle.remove()
    assert modes == [False]
    assert model.module.training is training
    assert all(parameter.grad is None for parameter in model.module.parameters())


def test_a_models_own_nan_is_seen(chgnet: Potential, pairs: Dataset) -> None:
    broken = copy.deepcopy(chgnet)
    with torch.no_grad():
        next(broken.head.parameters()).fill_(torch.nan)
    (prediction,) = predict_samples(broken, pairs[:1], ("energy", "forces"))
    assert np.isnan(prediction["energy"])
    assert np.isnan(prediction["forces"]).all()


def test_no_frames_are_an_error(chgnet: Potential) -> None:
    with pytest.raises(DataError, match="the dataset is empty"):
        predict_samples(chgnet, [])


def test_a_stress_that_is_no_number_is_seen(chgnet: Potential, pairs: Dataset) -> None:
    """Left out is only the stress of a frame without a volume."""
    diverged = copy.deepcopy(chgnet)
    with torch.no_grad():
        next(diverged.head.parameters()).fill_(torch.nan)
    crystal, without_volume = predict_samples(diverged, [pairs[0], MOLECULE])
    assert np.isnan(crystal["stress"]).all()
    assert set(without_volume) == {"energy", "forces", "magmom"}

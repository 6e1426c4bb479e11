"""The objective through the whole network: its training loss is the loss, its metrics are those of reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms, units

from matgraft.core.training.batching import Budget
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.tuning import objectives
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.objectives import FrameObjective

CPU = torch.device("cpu")
WEIGHTS = LossSettings(energy=2.0, forces=3.0, stress=5.0)


def objective(chgnet: Potential, train: Dataset, held_out: Dataset, settings: LossSettings = WEIGHTS) -> FrameObjective:
    encoded = (encode_all(chgnet, part.samples) for part in (train, held_out))
    return FrameObjective(chgnet, train, held_out, settings, *encoded)


def square_errors(chgnet: Potential, dataset: Dataset) -> list[Mapping[str, float]]:
    """Mean squared errors of each frame and label, from plain predictions."""
    found = []
    for sample, prediction in zip(dataset, predict_samples(chgnet, dataset.samples), strict=True):
        scale = {"energy": sample.n_atoms, "forces": 1, "stress": 1}
        errors = {name: (prediction[name] - label) / scale[name] for name, label in sample.labels.items()}
        found.append({name: float(np.mean(np.square(error))) for name, error in errors.items()})
    return found


@pytest.fixture(scope="module")
def mixed(pairs: Dataset) -> Dataset:
    """Six frames: one without forces, one without stress, one molecule."""

    def without(sample: Sample, name: str) -> Sample:
        return Sample(sample.content, {key: value for key, value in sample.labels.items() if key != name})

    molecule = Sample(Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.3]]), {"forces": np.full((2, 3), 0.3)})
    return Dataset((pairs[0], without(pairs[1], "forces"), without(pairs[2], "stress"), molecule, *pairs[3:5]))


def test_losses_are_those_of_plain_predictions(chgnet: Potential, mixed: Dataset) -> None:
    weights = {"energy": 2.0, "forces": 3.0, "stress": 5.0}
    weighed = mixed.map(lambda s: s.weighing(1.0 + s.index))
    found = objective(chgnet, weighed, mixed).losses([4, 0, 1, 2, 3], CPU)
    errors = square_errors(chgnet, mixed)
    expected = [weighed[i].weight * sum(weights[n] * e for n, e in errors[i].items()) for i in (4, 0, 1, 2, 3)]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4)
    assert found.requires_grad


def test_the_criterion_is_the_training_loss_on_other_frames(chgnet: Potential, mixed: Dataset) -> None:
    """Each quantity's mean over the frames that have it, times what it weighs in training."""
    weights = {"energy": 2.0, "forces": 3.0, "stress": 5.0}
    train = mixed.map(lambda s: s.weighing(0.5 + s.index))
    held_out = Dataset((*mixed.samples[2:], mixed[1], mixed[3])).map(lambda s: s.weighing(2.0 + s.n_atoms % 3))
    held_out = Dataset((held_out[0].weighing(7.0), *held_out.samples[1:]))
    one = objective(chgnet, train, held_out)
    errors = square_errors(chgnet, held_out)
    expected = 0.0
    for name, weight in weights.items():
        share = sum(s.weight for s in train if name in s.labels) / len(train)
        having = [(s.weight, e[name]) for s, e in zip(held_out, errors, strict=True) if name in s.labels]
        expected += weight * share * sum(w * e for w, e in having) / sum(w for w, _ in having)
    found = one.validation_metrics(one.validation_sums(range(len(held_out)), CPU))
    assert found["validation_loss"] == pytest.approx(expected, rel=1e-4)


def test_frames_without_a_label_do_not_lower_the_criterion(chgnet: Potential, pairs: Dataset) -> None:
    bare = pairs[3:].map(lambda s: Sample(s.content, {}))
    found = []
    for held_out in (pairs[:3], Dataset((*pairs[:3].samples, *bare.samples))):
        one = objective(chgnet, pairs, held_out)
        found.append(one.validation_metrics(one.validation_sums(range(len(held_out)), CPU)))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_the_criterion_of_the_training_frames_is_their_loss(chgnet: Potential, mixed: Dataset) -> None:
    weighed = mixed.map(lambda s: s.weighing(0.5 + s.index))
    in_plane = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)
    part = replace(weighed[1], label_weights={"energy": 0.0, "stress": 4.0}, components={"stress": in_plane})
    weighed = Dataset((weighed[0], part, *weighed.samples[2:]))
    one = objective(chgnet, weighed, weighed)
    found = one.validation_metrics(one.validation_sums(range(6), CPU))["validation_loss"]
    assert found == pytest.approx(one.losses(range(6), CPU).mean().item(), rel=1e-5)


def test_without_any_label_there_is_no_criterion(chgnet: Potential, pairs: Dataset) -> None:
    one = objective(chgnet, pairs, pairs[:1].map(lambda s: Sample(s.content, {})))
    assert np.isnan(one.validation_metrics(one.validation_sums([0], CPU))["validation_loss"])


@pytest.mark.parametrize("edges", [20_000, 1])
def test_validation_is_the_mean_loss_and_the_errors_of_reports(
    chgnet: Potential, mixed: Dataset, monkeypatch: pytest.MonkeyPatch, edges: int
) -> None:
    monkeypatch.setattr(objectives, "VALIDATION_BUDGET", Budget(edges=edges))
    one = objective(chgnet, mixed, mixed)
    sums = one.validation_sums([5, 0, 2], CPU) + one.validation_sums([1, 3, 4], CPU)
    metrics = one.validation_metrics(sums)
    errors = square_errors(chgnet, mixed)
    weights = {"energy": 2.0, "forces": 3.0, "stress": 5.0}
    assert metrics["validation_loss"] == pytest.approx(
        np.mean([sum(weights[n] * e for n, e in frame.items()) for frame in errors]), rel=1e-4
    )
    scales = {"energy_rmse_meV_per_atom": 1000, "forces_rmse_eV_per_A": 1, "stress_rmse_GPa": 1 / units.GPa}
    for key, scale in scales.items():
        squares = [frame[key.split("_")[0]] for frame in errors if key.split("_")[0] in frame]  # same sizes: plain mean
        assert metrics[f"validation_{key}"] == pytest.approx(scale * np.sqrt(np.mean(squares)), rel=1e-4)
    assert set(metrics) == {"validation_loss", *(f"validation_{key}" for key in scales)}


def test_nothing_to_validate_adds_nothing(chgnet: Potential, mixed: Dataset) -> None:
    one = objective(chgnet, mixed, mixed)
    assert not one.validation_sums([], CPU).any()
    assert one.validation_sums([0], CPU).shape == one.validation_sums([], CPU).shape


def test_only_what_is_trained_is_validated(chgnet: Potential, pairs: Dataset) -> None:
    one = objective(chgnet, pairs, pairs, LossSettings(energy=0, stress=0))
    assert set(one.validation_metrics(one.validation_sums([0, 1], CPU))) == {
        "validation_loss",
        "validation_forces_rmse_eV_per_A",
    }


def test_a_metric_without_a_label_is_absent(chgnet: Potential, pairs: Dataset, mixed: Dataset) -> None:
    one = objective(chgnet, pairs, mixed)
    metrics = one.validation_metrics(one.validation_sums([1], CPU))
    assert "validation_forces_rmse_eV_per_A" not in metrics
    assert np.isfinite(metrics["validation_energy_rmse_meV_per_atom"])


def test_validation_leaves_no_graph(chgnet: Potential, pairs: Dataset) -> None:
    assert not objective(chgnet, pairs, pairs).validation_sums([0], CPU).requires_grad

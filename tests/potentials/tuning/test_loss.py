"""The loss: the formula by hand, weights that weigh, and labels that are absent."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from matgraft.core.errors import OptionError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.loss import (
    DEFAULT_WEIGHTS,
    HUBER_DELTA,
    LossSettings,
    Targets,
    frame_losses,
    penalty,
    weigh_groups,
)

ALL = ("energy", "forces", "stress")


def without(sample: Sample, *names: str) -> Sample:
    labels = {name: value for name, value in sample.labels.items() if name not in names}
    return Sample(sample.content, labels, sample.tags, sample.weight)


def losses(
    potential: Potential, samples: list[Sample], weights: dict[str, float], settings: LossSettings | None = None
) -> Tensor:
    batch = potential.collate([potential.encode(sample) for sample in samples])
    predicted = potential.forward(batch, weights, create_graph=True)
    targets = Targets.of(samples, list(weights))
    return frame_losses(predicted, targets, batch.counts, batch.owner, weights, settings or LossSettings())


def gradient(potential: Potential, loss: Tensor) -> Tensor:
    parameters = [p for stage in potential.stages() for p in stage.parameters().values()]
    slopes = torch.autograd.grad(loss.sum(), parameters, materialize_grads=True, retain_graph=True)
    return torch.cat([slope.flatten() for slope in slopes])


# ---------------------------------------------------------------- by hand


def hand(error_energy: float, error_forces: Any, error_stress: Any, n: int, weights: dict[str, float]) -> float:
    """L of one frame, as the docstring writes it."""
    return float(
        weights.get("energy", 0) * (error_energy / n) ** 2
        + weights.get("forces", 0) / (3 * n) * np.sum(np.square(error_forces))
        + weights.get("stress", 0) * np.mean(np.square(error_stress))
    )


WHOLE = {"energy": 2.0, "forces": 3.0, "stress": 5.0}
KINDS = (WHOLE, *({name: weight} for name, weight in WHOLE.items()))


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_the_formula(seed: int, kind: dict[str, float]) -> None:
    """Two frames of one and three atoms, of weights 1 and 0.25."""
    rng = np.random.default_rng(seed)
    samples, expected, predicted = [], [], {"energy": [], "forces": [], "stress": []}
    for n, weight in ((1, 1.0), (3, 0.25)):
        labels = {"energy": rng.normal(size=()), "forces": rng.normal(size=(n, 3)), "stress": rng.normal(size=(3, 3))}
        off = {name: rng.normal(size=value.shape) for name, value in labels.items()}
        samples.append(Sample(Atoms(f"Si{n}"), labels, weight=weight))
        for name, rows in predicted.items():
            value = torch.tensor(labels[name] + off[name])
            rows.append(value if name == "forces" else value[None])
        expected.append(weight * hand(off["energy"], off["forces"], off["stress"], n, kind))
    joined = {name: torch.cat(rows) for name, rows in predicted.items()}
    counts, owner = torch.tensor([1, 3]), torch.tensor([0, 1, 1, 1])
    found = frame_losses(joined, Targets.of(samples, list(kind)), counts, owner, kind, LossSettings())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_a_figure() -> None:
    """Two atoms; off by 0.1 eV, by (0, 0.3, 0.4) eV/Å on one atom, by 0.06 eV/Å³ on one component."""
    sample = Sample(Atoms("Si2"), {"energy": np.array(1.0), "forces": np.zeros((2, 3)), "stress": np.zeros((3, 3))})
    forces, stress = torch.zeros(2, 3), torch.zeros(1, 3, 3)
    forces[0, 1:], stress[0, 1, 1] = torch.tensor([0.3, 0.4]), 0.06
    predicted = {"energy": torch.tensor([1.1]), "forces": forces, "stress": stress}
    weights = {"energy": 30.0, "forces": 1.0, "stress": 300.0}
    (loss,) = frame_losses(
        predicted, Targets.of([sample], ALL), torch.tensor([2]), torch.tensor([0, 0]), weights, LossSettings()
    )
    assert float(loss) == pytest.approx(30 * 0.0025 + 0.25 / 6 + 300 * 0.0036 / 9, rel=1e-5)


def test_the_weight_of_a_label_is_a_factor_on_its_term() -> None:
    labels = {"energy": np.array(0.0), "forces": np.zeros((2, 3)), "stress": np.zeros((3, 3))}
    sample = Sample(Atoms("Si2"), labels, weight=0.5, label_weights={"energy": 3.0, "stress": 0.0})
    predicted = {"energy": torch.ones(1), "forces": torch.ones(2, 3), "stress": torch.ones(1, 3, 3)}
    (loss,) = frame_losses(
        predicted, Targets.of([sample], ALL), torch.tensor([2]), torch.tensor([0, 0]), WHOLE, LossSettings()
    )
    assert float(loss) == pytest.approx(0.5 * (2.0 * 3.0 * 0.25 + 3.0 * 1.0))
    assert [sample.weight_of(name) for name in ALL] == [1.5, 0.5, 0.0]


def test_components_that_are_no_label_add_nothing() -> None:
    """The in-plane stress of a slab: four of nine components, off by 1 eV/Å³ each; a whole one beside it."""
    known = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)
    labels = {"stress": np.full((3, 3), 5.0)}
    slab, bulk = Sample(Atoms("Si"), labels, components={"stress": known}), Sample(Atoms("Si"), labels)
    stress = torch.full((2, 3, 3), 7.0, dtype=torch.float64)
    stress[0, :2, :2] = 6.0
    stress.requires_grad_()
    targets = Targets.of([slab, bulk], ["stress"])
    found = frame_losses(
        {"stress": stress}, targets, torch.ones(2), torch.tensor([0, 1]), {"stress": 5.0}, LossSettings()
    )
    assert found.tolist() == pytest.approx([5.0 * 4 / 9, 5.0 * 4.0])
    (slope,) = torch.autograd.grad(found.sum(), stress)
    assert (slope[0].numpy() != 0).tolist() == known.tolist()
    assert (
        targets.counts("stress").tolist()
        == pytest.approx([4 / 9, 1.0])
        == [s.weight_of("stress") for s in (slab, bulk)]
    )


@given(st.floats(-1, 1), st.sampled_from(ALL))
def test_huber_agrees_with_the_square_below_its_delta(part: float, name: str) -> None:
    error = torch.tensor([part * HUBER_DELTA[name]], dtype=torch.float64)
    huber, square = penalty(error, LossSettings(kind="huber"), name), penalty(error, LossSettings(), name)
    assert float(huber) == pytest.approx(float(square), rel=1e-12)
    assert float(square) == pytest.approx(float(error) ** 2)


@given(st.floats(1.01, 100), st.sampled_from(ALL))
def test_huber_grows_linearly_above_its_delta(part: float, name: str) -> None:
    settings = LossSettings(kind="huber", huber_delta={"forces": 0.5})
    delta = 0.5 if name == "forces" else HUBER_DELTA[name]
    error = torch.tensor([-part * delta], dtype=torch.float64)
    assert float(penalty(error, settings, name)) == pytest.approx(delta**2 * (2 * part - 1))


def test_a_delta_must_be_of_a_quantity_and_above_zero() -> None:
    for delta in ({"force": 0.1}, {"forces": 0.0}, {"energy": -1.0}):
        with pytest.raises(ValidationError):
            LossSettings(huber_delta=delta)  # type: ignore[arg-type]
    assert LossSettings(huber_delta={"energy": 1.0}).huber_delta == {**HUBER_DELTA, "energy": 1.0}
    assert LossSettings().huber_delta == HUBER_DELTA


# ------------------------------------------------------------------- absent


@pytest.mark.parametrize("absent", ALL)
@pytest.mark.parametrize("kind", ["mse", "huber"])
def test_an_absent_label_adds_neither_loss_nor_gradient(
    chgnet: Potential, pairs: Dataset, absent: str, kind: str
) -> None:
    """The same figures and slopes as if that quantity had no weight, in a batch whose other frame has the label."""
    settings = LossSettings(kind=kind)  # type: ignore[arg-type]
    samples = [without(pairs[0], absent), pairs[1]]
    masked = losses(chgnet, samples, DEFAULT_WEIGHTS, settings)
    others = {name: weight for name, weight in DEFAULT_WEIGHTS.items() if name != absent}
    alone = losses(chgnet, [pairs[0]], others, settings)
    whole = losses(chgnet, [pairs[1]], DEFAULT_WEIGHTS, settings)
    torch.testing.assert_close(masked, torch.cat([alone, whole]), rtol=1e-4, atol=1e-6)
    slopes, expected = gradient(chgnet, masked[0]), gradient(chgnet, alone[0])
    assert float(expected.norm()) > 0
    assert float((slopes - expected).norm() / expected.norm()) < 1e-3


def test_zero_is_a_label_and_absent_is_not(chgnet: Potential, pairs: Dataset) -> None:
    zero = pairs[0].with_labels(forces=np.zeros((2, 3)))
    found = losses(chgnet, [zero, without(zero, "forces")], {"energy": 1.0, "forces": 1.0})
    assert float((found[0] - found[1]).detach()) > 1e-4


def test_a_frame_without_any_label(chgnet: Potential, pairs: Dataset) -> None:
    found = losses(chgnet, [without(pairs[0], *ALL), pairs[1]], DEFAULT_WEIGHTS)
    assert found[0].item() == 0.0
    assert float(gradient(chgnet, found[0]).norm()) == 0.0


@pytest.mark.parametrize("kind", ["mse", "huber"])
def test_a_frame_without_a_cell_poisons_nothing(chgnet: Potential, pairs: Dataset, kind: str) -> None:
    """Its stress is predicted as NaN and has no label: loss and gradient are those of its energy and forces."""
    settings = LossSettings(kind=kind)  # type: ignore[arg-type]
    dimer = Atoms("Si2", positions=[[0, 0, 0], [0.1, 0.2, 2.2]])
    molecule = Sample(dimer, {"energy": np.array(-8.0), "forces": np.full((2, 3), 0.1)})
    batch = chgnet.collate([chgnet.encode(molecule), chgnet.encode(pairs[0])])
    stress = chgnet.forward(batch, ALL)["stress"]
    assert torch.isnan(stress[0]).all()
    assert torch.isfinite(stress[1]).all()
    found = losses(chgnet, [molecule, pairs[0]], DEFAULT_WEIGHTS, settings)
    alone = losses(chgnet, [molecule], {name: DEFAULT_WEIGHTS[name] for name in ("energy", "forces")}, settings)
    assert torch.isfinite(found).all()
    assert found[0].item() == pytest.approx(alone[0].item(), rel=1e-4)
    slopes, expected = gradient(chgnet, found[0]), gradient(chgnet, alone[0])
    assert torch.isfinite(gradient(chgnet, found)).all()
    assert float((slopes - expected).norm() / expected.norm()) < 1e-3


# ------------------------------------------------------------------ weights


def labelled(*names: str) -> Dataset:
    shapes = {"energy": (), "forces": (1, 3), "stress": (3, 3)}
    return Dataset((Sample(Atoms("Si"), {name: np.zeros(shapes[name]) for name in names}), Sample(Atoms("Si"), {})))


def test_defaults_follow_the_labels() -> None:
    assert LossSettings().weights(labelled(*ALL)) == DEFAULT_WEIGHTS
    assert LossSettings().weights(labelled("forces")) == {"forces": DEFAULT_WEIGHTS["forces"]}


def test_what_is_asked_for_wins_and_zero_switches_off() -> None:
    assert LossSettings(energy=7.0, stress=0.0).weights(labelled(*ALL)) == {"energy": 7.0, "forces": 1.0}
    assert LossSettings(stress=0.0).weights(labelled("energy")) == {"energy": DEFAULT_WEIGHTS["energy"]}


def test_a_weight_that_weighs_nothing_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"loss.stress=3 would weigh nothing: no frame has stress") as error:
        LossSettings(stress=3.0).weights(labelled("energy", "forces"))
    assert error.value.allowed == ("energy", "forces")
    assert error.value.options == ({"loss.stress": 0},)


@pytest.mark.parametrize("names", [(), ALL])
def test_nothing_left_to_train_on(names: tuple[str, ...]) -> None:
    settings = LossSettings(energy=0, forces=0, stress=0) if names else LossSettings()
    with pytest.raises(OptionError, match="every weight of the loss is zero"):
        settings.weights(labelled(*names))


def test_a_label_that_weighs_nothing_in_any_frame_is_not_trained() -> None:
    labels = {"energy": np.array(0.0), "stress": np.zeros((3, 3))}
    data = Dataset([Sample(Atoms("Si"), labels, label_weights={"stress": 0.0})] * 2)
    assert LossSettings().weights(data) == {"energy": DEFAULT_WEIGHTS["energy"]}
    with pytest.raises(OptionError, match="no frame has stress with a weight above zero"):
        LossSettings(stress=1.0).weights(data)


def test_weights_are_not_negative() -> None:
    for wrong in ({"energy": -1.0}, {"l2": -1.0}, {"groups": {"kind=hot": -1.0}}):
        with pytest.raises(ValidationError):
            LossSettings(**wrong)


def test_group_weights_multiply(pairs: Dataset) -> None:
    weighed = weigh_groups(pairs.map(lambda s: s.weighing(2.0)), {"kind=hot": 3.0, "kind=cold": 0.5})
    assert [sample.weight for sample in weighed] == [1.0] * 4 + [6.0] * 2
    assert [sample.weight for sample in pairs] == [1.0] * 6
    assert weigh_groups(pairs, {}) is pairs


@pytest.mark.parametrize(
    ("entry", "known"), [("kind=hott", "kind=hot"), ("knd=hot", ""), ("kind", "kind=cold"), ("", "")]
)
def test_a_group_that_is_nowhere_is_an_error(pairs: Dataset, entry: str, known: str) -> None:
    with pytest.raises(OptionError) as error:
        weigh_groups(pairs, {entry: 2.0})
    assert repr(entry) in error.value.found
    assert known in error.value.allowed or not known


def test_frame_weights_scale_loss_and_gradient(chgnet: Potential, pairs: Dataset) -> None:
    plain = losses(chgnet, [pairs[0]], DEFAULT_WEIGHTS)
    heavy = losses(chgnet, [pairs[0].weighing(3.0)], DEFAULT_WEIGHTS)
    assert heavy.item() == pytest.approx(3 * plain.item(), rel=1e-6)
    torch.testing.assert_close(gradient(chgnet, heavy), 3 * gradient(chgnet, plain), rtol=1e-4, atol=1e-4)


def test_the_loss_leaves_the_model_alone(chgnet: Potential, pairs: Dataset) -> None:
    before = copy.deepcopy(chgnet.module.state_dict())
    losses(chgnet, [pairs[0]], DEFAULT_WEIGHTS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in chgnet.module.state_dict().items())

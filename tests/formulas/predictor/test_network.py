"""The fine-tuned encoder: where it starts, what learns, and that it can be kept."""

import numpy as np
import pytest
import torch

from matgraft.formulas.learners.inputs import Inputs, Labels
from matgraft.formulas.learners.network import FittedNetwork, NetworkSettings, fit_network

from .conftest import QUICK


@pytest.fixture
def part(small, table):
    formulas, y = table
    return Inputs.of(formulas, small, np.linspace(0, 1, len(y))[:, None]), Labels(y, np.ones(len(y)))


def tune(small, part, strategy="full", settings=QUICK, seed=0):
    held = part[0].take(np.arange(10)), part[1].take(np.arange(10))
    return fit_network(small, part, held, strategy, settings, seed)


def test_it_learns_and_its_quantiles_rise(small, part):
    settings = NetworkSettings(epochs=40, rate=5e-3, batch=16)
    quantiles = tune(small, part, settings=settings)(part[0])
    assert (np.diff(quantiles, axis=1) >= 0).all()
    error = np.abs(quantiles[:, 49] - part[1].y).mean()
    assert error < 0.5 * np.abs(part[1].y - np.median(part[1].y)).mean()


def test_it_starts_at_the_labels_own_quantiles(small, part):
    started = tune(small, part, settings=QUICK.model_copy(update={"rate": 1e-9}))(part[0])
    assert np.abs(started[:, 49] - np.median(part[1].y)).max() < 0.2


def test_equal_seeds_give_equal_weights(small, part):
    one, same, other = (tune(small, part, seed=seed).arrays() for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("strategy", "moved"), [("full", {"elements", "layers", "pool"}), ("partial", {"pool"})])
def test_what_learns_is_what_the_strategy_says(small, part, strategy, moved):
    before = small.module.state_dict()
    after = tune(small, part, strategy).module.encoder.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved <= changed
    assert changed - moved <= {"head", "amounts"} if strategy == "full" else changed - moved <= {"head"}


def test_the_foundation_itself_stays_as_it_was(small, part):
    before = {name: tensor.clone() for name, tensor in small.module.state_dict().items()}
    tune(small, part)
    assert all(torch.equal(before[name], tensor) for name, tensor in small.module.state_dict().items())


def test_zeros_are_exact_where_many_labels_are(small, part):
    inputs, labels = part
    zeros = Labels(np.where(labels.y > 2.5, labels.y, 0.0), labels.weights)
    settings = NetworkSettings(epochs=60, rate=5e-3, batch=16)
    median = tune(small, (inputs, zeros), settings=settings)(inputs)[:, 49]
    assert (median[zeros.y == 0] == 0).mean() > 0.7
    assert (median[zeros.y > 0] > 1).mean() > 0.7
    assert not (tune(small, part)(inputs) == 0).any()  # no zeros among these labels


def test_classes_come_as_probabilities(small, part):
    labels = Labels((part[1].y > 2.5).astype(float), part[1].weights, n_classes=2)
    p = tune(small, (part[0], labels), settings=NetworkSettings(epochs=40, rate=5e-3, batch=16))(part[0])
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    assert (p.argmax(1) == labels.y).mean() > 0.9


def test_arrays_bring_the_network_back(small, part):
    network = tune(small, part)
    again = FittedNetwork.from_arrays(network.arrays(), small, 0)
    np.testing.assert_allclose(again(part[0]), network(part[0]), atol=1e-6)


def test_weights_reach_the_loss(small, part):
    inputs, labels = part
    wrong = labels.y.copy()
    wrong[::2] = 50.0
    settings = NetworkSettings(epochs=30, rate=5e-3, batch=16)
    silent = Labels(wrong, np.where(np.arange(len(wrong)) % 2, 2.0, 0.0))
    loud = Labels(wrong, np.ones(len(wrong)))
    assert np.median(tune(small, (inputs, silent), settings=settings)(inputs)[:, 49]) < 10
    assert np.median(tune(small, (inputs, loud), settings=settings)(inputs)[:, 74]) > 25


@pytest.mark.parametrize(("loss", "start"), [("mse", np.mean), ("huber", np.median)])
def test_one_number_is_learned_by_its_squared_error_or_the_huber_loss(small, part, loss, start):
    inputs, labels = part
    still = tune(small, part, settings=QUICK.model_copy(update={"loss": loss, "rate": 1e-9}))
    assert np.abs(still(inputs)[:, 49] - start(labels.y)).max() < 0.2
    network = tune(small, part, settings=NetworkSettings(epochs=40, rate=5e-3, batch=16, loss=loss))
    said = network(inputs)
    assert said.shape == (80, 99) and (said == said[:, :1]).all()
    assert np.abs(said[:, 49] - labels.y).mean() < 0.5 * np.abs(labels.y - np.median(labels.y)).mean()
    again = FittedNetwork.from_arrays(network.arrays(), small, 0)
    np.testing.assert_allclose(again(inputs), said, atol=1e-6)
    assert again.curves.keys() == network.curves.keys() >= {"epoch", "train_loss", "validation_loss"}


def test_the_losses_of_one_number_are_those_of_the_books(small, part):
    """Of the held rows, in standard deviations of the labels: e^2, and e^2 / 2 up to 1, |e| - 1/2 beyond."""
    labels, held = part[1], (part[0].take(np.arange(10)), part[1].take(np.arange(10)))
    for loss in ("mse", "huber"):
        network = tune(small, part, settings=QUICK.model_copy(update={"loss": loss}))
        e = (network(held[0])[:, 49] - held[1].y) / labels.y.std()
        expected = e**2 if loss == "mse" else np.where(np.abs(e) <= 1, e**2 / 2, np.abs(e) - 0.5)
        assert network.curves["validation_loss"][-1] == pytest.approx(expected.mean(), rel=1e-4)


def test_weight_decay_reaches_the_fit(small, part):
    asked = [QUICK.model_copy(update={"weight_decay": decay, "rate": 1e-2}) for decay in (0.0, 20.0)]
    plain, decayed = (tune(small, part, settings=settings) for settings in asked)
    sizes = [float(sum((w.detach() ** 2).sum() for w in one.module.parameters())) for one in (plain, decayed)]
    assert sizes[1] < 0.9 * sizes[0]

"""Defaults: every None is filled, and what a user sets wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.training.schedule import WARMUP, FitSettings
from matgraft.core.training.strategy import STRATEGIES, make_strategy
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.tuning import defaults
from matgraft.potentials.tuning.defaults import (
    HEAD_WEIGHTS,
    REPLAY_RATE,
    REPLAY_SHARE,
    SOAP_FACTOR,
    SOAP_HOLD,
    SOAP_WARMUP,
    UPDATE_RATE,
    default_batch,
    fit_defaults,
    loss_defaults,
)
from matgraft.potentials.tuning.loss import LossSettings

OPTIONAL = {"max_minutes", "max_atoms", "max_edges", "processes"}
names = st.sampled_from(sorted(STRATEGIES))


@given(names, st.integers(1, 100_000))
def test_every_choice_is_made(name: str, n_frames: int) -> None:
    settings = fit_defaults(make_strategy(name), n_frames, FitSettings())
    assert {field for field, value in settings.model_dump().items() if value is None} <= OPTIONAL
    assert settings.patience == 0.25  # of the epochs that are planned, whoever plans them


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize(
    "given_",
    [
        {"rate": 0.5},
        {"optimizer": "adam"},
        {"optimizer": "soap"},
        {"epochs": 1},
        {"batch": 9},
        {"clip": 0.0},
        {"ema": 0.0},
        {"patience": 2},
        {"patience": 0.5},
        {"processes": 3},
        {"max_edges": 10},
        {"warmup": 0.0},
        {"hold": 0.5},
        {"validate_every": 7},
    ],
)
def test_what_is_set_wins(name: str, given_: dict[str, float | str]) -> None:
    settings = fit_defaults(make_strategy(name), 200, FitSettings(**given_))  # type: ignore[arg-type]
    assert {field: getattr(settings, field) for field in given_} == given_


@pytest.mark.parametrize(
    ("name", "rate"), [("full", 9e-4), ("partial", 9e-4), ("gradual", 9e-4), ("lora", UPDATE_RATE), ("feature", 2e-3)]
)
def test_a_foundations_own_weights_are_trained_at_its_own_rate(name: str, rate: float) -> None:
    """Three times as much by SOAP."""
    assert fit_defaults(make_strategy(name), 60, FitSettings(), rate=3e-4).rate == pytest.approx(rate)


def test_adam_takes_the_rate_that_the_adapter_names() -> None:
    assert fit_defaults(make_strategy("full"), 60, FitSettings(optimizer="adam"), rate=3e-4).rate == 3e-4


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_what_goes_through_the_network_learns_by_soap(name: str) -> None:
    strategy = make_strategy(name)
    settings = fit_defaults(strategy, 60, FitSettings())
    expected = ("adam", WARMUP, 0.0) if strategy.cached else ("soap", SOAP_WARMUP, SOAP_HOLD)
    assert (settings.optimizer, settings.warmup, settings.hold) == expected


def test_replay_takes_a_part_of_the_foundations_rate_up_to_a_bound() -> None:
    slow, fast, fastest = (
        fit_defaults(make_strategy("replay"), 60, FitSettings(optimizer="adam"), rate=rate, rehearsed=9).rate
        for rate in (3e-4, 1.5e-3, 1e-2)
    )
    assert (slow, fast) == pytest.approx((3e-4 * REPLAY_SHARE, 1.5e-3 * REPLAY_SHARE))
    assert fastest == REPLAY_RATE < 1e-2 * REPLAY_SHARE
    by_soap = fit_defaults(make_strategy("replay"), 60, FitSettings(), rate=1e-2, rehearsed=9).rate
    assert by_soap == fastest


def test_replay_frames_count_and_slow_the_rate() -> None:
    alone, beside = (fit_defaults(make_strategy("full"), 20, FitSettings(), rehearsed=n) for n in (0, 20))
    assert alone.rate is not None
    assert beside.rate == min(REPLAY_RATE, REPLAY_SHARE * alone.rate / SOAP_FACTOR)
    assert beside.batch == fit_defaults(make_strategy("full"), 40, FitSettings()).batch > alone.batch


def test_minutes_take_the_place_of_epochs_through_the_network() -> None:
    assert fit_defaults(make_strategy("full"), 200, FitSettings(max_minutes=5)).epochs is None
    both = fit_defaults(make_strategy("full"), 200, FitSettings(max_minutes=5, epochs=3))
    assert (both.epochs, both.max_minutes) == (3, 5)
    assert fit_defaults(make_strategy("feature"), 200, FitSettings(max_minutes=5)).epochs is not None


@given(names, st.integers(1, 100_000))
def test_batches_grow_with_the_data_to_a_bound(name: str, n_frames: int) -> None:
    strategy = make_strategy(name)
    batch = default_batch(strategy, n_frames)
    assert 1 <= batch <= (16 if strategy.cached else 4)
    assert batch <= default_batch(strategy, n_frames + 1)
    assert n_frames < 20 or n_frames / batch >= 20


@pytest.mark.parametrize(
    ("cores", "gpu", "batch"), [(1, False, 2), (2, False, 2), (3, False, 3), (8, False, 4), (1, True, 4)]
)
def test_a_batch_through_the_network_keeps_every_core_at_work(
    cores: int, gpu: bool, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "cores", lambda: cores)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert default_batch(make_strategy("full"), 1000) == batch
    assert default_batch(make_strategy("feature"), 1000) == 16


def test_a_smaller_batch_shows_as_many_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for cores in (2, 8):
        monkeypatch.setattr(defaults, "cores", lambda cores=cores: cores)
        found.append(fit_defaults(make_strategy("full"), 200, FitSettings()))
    assert [one.batch for one in found] == [2, 4]
    assert [one.epochs for one in found] == [defaults.SHOWN // 200] * 2


def test_more_frames_mean_fewer_epochs() -> None:
    full = make_strategy("full")
    epochs = [fit_defaults(full, n, FitSettings()).epochs or 0 for n in (10, 100, 1000, 10_000, 100_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert (epochs[0], epochs[-1]) == (200, 5)


def test_a_head_takes_larger_batches_and_one_process() -> None:
    head = fit_defaults(make_strategy("feature"), 1000, FitSettings())
    network = fit_defaults(make_strategy("full"), 1000, FitSettings())
    assert head.batch == 16 > (network.batch or 16)
    assert (head.processes, network.processes) == (1, None)


def test_a_head_weighs_by_itself_unless_told(pairs: Dataset) -> None:
    head, network, settings = make_strategy("feature"), make_strategy("full"), LossSettings(forces=2.0)
    assert loss_defaults(head, settings, pairs) == LossSettings(forces=2.0, **HEAD_WEIGHTS)
    assert loss_defaults(network, settings, pairs) == settings
    for told in (LossSettings(energy=1.0, stress=0.0), LossSettings(energy=0.0, stress=2.0)):
        assert loss_defaults(head, told, pairs) == told
    unlabelled = pairs.map(lambda s: Sample(s.content, {"forces": s.labels["forces"]}))
    assert loss_defaults(head, settings, unlabelled) == settings

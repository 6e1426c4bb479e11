"""Checkpoints: the state comes back whole, and the best weights are a snapshot."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from matgraft.core.errors import DataError
from matgraft.core.training.checkpoint import FILE, State, content_of, copies, put, restore, save
from matgraft.core.weights import save_tensors


def linear(seed: int) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
    parameters = [nn.Parameter(torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)))]
    return parameters, torch.optim.Adam(parameters, lr=0.1, foreach=False)


def step(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    sum(p.pow(4).sum() for p in parameters).backward()  # type: ignore[union-attr]
    optimizer.step()


STATE = State(step=7, epoch=2, done=1, loss_sum=0.5, loss_count=1, seconds=3.25, total=90, since_best=2, stopped="why")


def test_everything_comes_back_and_the_next_step_is_the_same(tmp_path: Path) -> None:
    parameters, optimizer = linear(0)
    step(parameters, optimizer)
    state = State(**vars(STATE))
    state.average = copies(parameters)
    state.best = {"step": 5, "value": 0.25, "weights": copies(parameters)}
    state.history = [{"step": 5, "validation_loss": math.inf}, {"step": 7, "validation_loss": 0.25}]
    save(state, parameters, optimizer, tmp_path / "new" / "folder")

    others, other_optimizer = linear(1)
    again = restore(others, other_optimizer, tmp_path / "new" / "folder")
    assert torch.equal(others[0], parameters[0])
    assert torch.equal(again.average[0], state.average[0])
    assert torch.equal(again.best.pop("weights")[0], state.best.pop("weights")[0])
    assert {**vars(again), "average": 0} == {**vars(state), "average": 0}
    step(parameters, optimizer)
    step(others, other_optimizer)
    assert torch.equal(others[0], parameters[0])


def test_without_an_optimizer_only_weights_and_state(tmp_path: Path) -> None:
    parameters, optimizer = linear(0)
    step(parameters, optimizer)
    save(State(average=copies(parameters)), parameters, optimizer, tmp_path)
    others, other_optimizer = linear(1)
    restore(others, None, tmp_path)
    assert torch.equal(others[0], parameters[0])
    assert not other_optimizer.state


def test_a_missing_or_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    parameters, optimizer = linear(0)
    with pytest.raises(DataError, match="there is no such file"):
        restore(parameters, optimizer, tmp_path)
    save(State(), parameters, optimizer, tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as error:
        restore(parameters, optimizer, tmp_path)
    assert error.value.where == str(tmp_path / FILE)


def test_a_checkpoint_of_another_model_is_an_error(tmp_path: Path) -> None:
    parameters, optimizer = linear(0)
    save(State(), parameters, optimizer, tmp_path)
    for other in ([*parameters, nn.Parameter(torch.zeros(1))], [nn.Parameter(torch.zeros(3, 2))], []):
        with pytest.raises(DataError, match="of another model or strategy") as error:
            restore(other, None, tmp_path)
        assert error.value.where == str(tmp_path / FILE)


def test_a_checkpoint_holds_tensors_and_plain_values_only(tmp_path: Path) -> None:
    parameters, optimizer = linear(0)
    step(parameters, optimizer)
    save(State(average=copies(parameters)), parameters, optimizer, tmp_path)
    assert set(content_of(tmp_path)) == {"state", "weights", "optimizer"}


def test_a_checkpoint_of_before_tensors_were_laid_flat_goes_on(tmp_path: Path) -> None:
    parameters, optimizer = linear(0)
    step(parameters, optimizer)
    save(State(step=7, average=copies(parameters)), parameters, optimizer, tmp_path)
    save_tensors(content_of(tmp_path), tmp_path / FILE)
    others, other_optimizer = linear(1)
    assert restore(others, other_optimizer, tmp_path).step == 7
    step(parameters, optimizer)
    step(others, other_optimizer)
    assert torch.equal(others[0], parameters[0])


def test_the_best_is_a_snapshot() -> None:
    state = State(average=[torch.tensor([1.0])])
    assert state.keep_if_best(0.5)
    state.average[0].fill_(9.0)
    assert state.best["weights"][0].item() == 1.0
    assert not state.keep_if_best(0.5)  # as good is not better
    assert not state.keep_if_best(0.7)
    assert state.best["value"] == 0.5
    state.step = 4
    assert state.keep_if_best(0.4)
    assert (state.best["step"], state.best["weights"][0].item()) == (4, 9.0)


def test_what_is_sound_goes_before_a_smaller_value() -> None:
    state = State(average=[torch.zeros(1)])
    assert state.keep_if_best(0.9)
    assert state.keep_if_best(0.1)
    assert state.keep_if_best(0.8, sound=True)
    assert not state.keep_if_best(0.05)
    assert not state.keep_if_best(0.85, sound=True)
    assert state.keep_if_best(0.7, sound=True)
    assert (state.best["value"], state.is_sound) == (0.7, True)


def test_validations_count_from_where_the_rate_falls() -> None:
    """Lower ones of before are forgotten, also where a plan grows and the rate no longer falls."""
    state = State()
    counts = []
    for value, falling in [(1, 0), (2, 0), (3, 1), (4, 1), (3, 1), (2.5, 1), (9, 1), (8, 0), (9, 1), (10, 1)]:
        state.count(value, falling=bool(falling))
        counts.append(state.since_best)
    assert counts == [0, 0, 0, 1, 2, 0, 1, 0, 0, 1]


def test_the_pace_is_that_of_late() -> None:
    """Of the steps from 4 or 8 on, whatever the first ones took."""
    state = State(marks=[[0, 5.0], [1, 90.0], [2, 120.0], [4, 130.0], [8, 134.0]], step=10, seconds=136.0)
    assert state.pace() == pytest.approx(1.0)
    assert State(marks=[[0, 5.0], [1, 90.0]], step=1, seconds=90.0).pace() == pytest.approx(85.0)


def test_no_number_is_never_better() -> None:
    state = State(average=[torch.zeros(1)])
    state.keep_if_best(0.5)
    assert not state.keep_if_best(math.nan)
    assert state.best["value"] == 0.5


def test_the_average_moves_faster_at_first() -> None:
    parameters = [nn.Parameter(torch.tensor([1.0]))]
    state = State(average=[torch.tensor([0.0])], step=1)
    state.update_average(parameters, 0.99)
    assert state.average[0].item() == pytest.approx(9 / 11)  # keeps (1 + 1) / (10 + 1)
    state = State(average=[torch.tensor([0.0])], step=10**6)
    state.update_average(parameters, 0.99)
    assert state.average[0].item() == pytest.approx(0.01)
    state.update_average(parameters, 0.0)
    assert state.average[0].item() == 1.0


def test_copies_and_put() -> None:
    parameters, _ = linear(0)
    saved = copies(parameters)
    assert not saved[0].requires_grad
    with torch.no_grad():
        parameters[0].fill_(3.0)
    assert not (saved[0] == 3.0).any()
    put(saved, parameters)
    assert torch.equal(parameters[0], saved[0])
    assert parameters[0].requires_grad


def test_a_checkpoint_of_smaller_steps_is_refused(tmp_path: Path) -> None:
    """Before a batch passed in parts, a step had as many frames as fit into the memory: the counts mean others."""
    parameters, optimizer = linear(0)
    save(State(step=5, total=90, done=2), parameters, optimizer, tmp_path)
    content = content_of(tmp_path)
    for name in ("lowest", "marks", "ending"):
        del content["state"][name]
    save_tensors(content, tmp_path / FILE)
    with pytest.raises(DataError, match=r"older version of matgraft.*steps") as error:
        restore(parameters, optimizer, tmp_path)
    assert error.value.where == str(tmp_path / FILE)

"""The loop, on toy problems: what it minimises, what it keeps, and that being killed changes nothing."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from matgraft.core.errors import RunError
from matgraft.core.processes import can_fork
from matgraft.core.training import loop as fitting
from matgraft.core.training.checkpoint import FILE, content_of
from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.objective import FitResult, Keep
from matgraft.core.training.schedule import WARMUP, FitSettings, rate_factor
from matgraft.core.training.strategy import ParamGroup, make_strategy
from matgraft.core.training.team import fabric_of
from matgraft.potentials.tuning.defaults import fit_defaults

needs_fork = pytest.mark.skipif(not can_fork(), reason="this system does not fork")
SETTINGS = FitSettings(rate=0.02, epochs=4, batch=3, ema=0.5, clip=0, processes=1)


@dataclass(frozen=True)
class Size:
    """A sample as the planner sees it."""

    n_atoms: int
    n_edges: int


class Regression:
    """Fourteen samples of different sizes, a small network, and a hook at every call of `losses`."""

    def __init__(self, module: nn.Module, on_losses: Callable[[int], None] = lambda call: None) -> None:
        random = torch.Generator().manual_seed(3)
        self.module, self.on_losses, self.calls = module, on_losses, 0
        self.x, self.y = torch.randn(14, 3, generator=random), torch.randn(14, generator=random)
        self.training = [Size(1 + i % 4, 10 + 7 * i) for i in range(14)]
        self.validation = self.training[:5]
        self.seen: list[list[int]] = []

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        self.on_losses(self.calls)
        self.calls += 1
        self.seen.append(list(positions))
        return (self.module(self.x[list(positions)]).squeeze(-1) - self.y[list(positions)]).square()

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        with torch.no_grad():
            error = self.module(self.x[list(positions)]).squeeze(-1) - self.y[list(positions)]
        return torch.stack([error.square().sum().double(), torch.tensor(float(len(positions)))])

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        return {"validation_loss": float(sums[0] / sums[1]), "validation_frames": float(sums[1])}


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def groups(module: nn.Module) -> list[ParamGroup]:
    return [ParamGroup("all", dict(module.named_parameters()))]


def run(
    folder: Path,
    *,
    on_losses: Callable[[int], None] = lambda call: None,
    objective: type[Regression] = Regression,
    module: nn.Module | None = None,
    grouped: Callable[[nn.Module], list[ParamGroup]] = groups,
    l2: float = 0.0,
    resume: bool = False,
    **changes: Any,
) -> tuple[nn.Module, FitResult, Regression]:
    """Fit and return module, result and objective."""
    module = module or network()
    problem = objective(module, on_losses)
    settings = SETTINGS.model_copy(update=changes)
    result = fit(problem, module, grouped(module), settings, Execution(folder, seed=5, resume=resume), l2=l2)
    return module, result, problem


def flat(module: nn.Module) -> np.ndarray:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).numpy()


def last_weights(folder: Path) -> np.ndarray:
    return torch.cat([tensor.flatten() for tensor in content_of(folder)["weights"]]).numpy()


# ------------------------------------------------------------------ minimises


def test_one_step_of_adam_by_hand(tmp_path: Path) -> None:
    """Without warm-up, clipping and averaging a step is torch's own."""
    module = network()
    twin = network()
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.02)
    Regression(twin).losses(range(14), torch.device("cpu")).mean().backward()
    optimizer.step()
    run(tmp_path, module=module, epochs=1, batch=14, warmup=0.0, ema=0.0)
    np.testing.assert_allclose(flat(module), flat(twin), rtol=1e-6, atol=1e-8)


def test_the_loss_falls(tmp_path: Path) -> None:
    _, result, _ = run(tmp_path, epochs=100)
    assert result.history[-1]["train_loss"] < 0.3 * result.history[0]["train_loss"]
    assert (result.steps, result.epochs, result.stopped) == (500, 100.0, "the plan was done")


def test_groups_learn_at_their_own_rate(tmp_path: Path) -> None:
    module = network()
    names = dict(module.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in names.items()}
    slow = ParamGroup("slow", {"0.weight": names["0.weight"]}, rate_factor=0.0)
    fast = ParamGroup("fast", {"2.weight": names["2.weight"]})
    fit(Regression(module), module, [slow, fast], SETTINGS, Execution(tmp_path))
    assert {name for name, parameter in names.items() if not torch.equal(parameter, before[name])} == {"2.weight"}


def staged(module: nn.Module) -> list[ParamGroup]:
    """Put the first layer to rest for half of the steps."""
    names = dict(module.named_parameters())
    late = {name: names[name] for name in ("0.weight", "0.bias")}
    return [ParamGroup("late", late, start=0.5), ParamGroup("early", {n: names[n] for n in names.keys() - late})]


def test_a_group_rests_until_its_start(tmp_path: Path) -> None:
    """Untouched by gradient, l2 and clipping till then; its moments begin with it."""
    module = network()
    first = module[0].weight.detach().clone()
    moved, asked = [], []

    class Noted(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            moved.append(not torch.equal(module[0].weight, first))
            asked.append(module[0].weight.requires_grad)
            return super().losses(positions, device)

    settings = SETTINGS.model_copy(update={"clip": 1.0})
    result = fit(Noted(module), module, staged(module), settings, Execution(tmp_path), l2=0.1)
    assert (moved, asked) == ([False] * 11 + [True] * 9, [False] * 10 + [True] * 10)
    moments = content_of(tmp_path)["optimizer"]["state"]
    assert [int(moments[i]["step"]) for i in range(4)] == [10, 10, 20, 20]
    assert result.history[0]["learning_rate"] > 0


def test_patience_waits_for_the_last_group(tmp_path: Path) -> None:
    """The start is at step 50 of 100, its warm-up ends at 55: the validation there is the first that counts."""
    module = network()
    settings = SETTINGS.model_copy(update={"epochs": 20, "patience": 2})
    result = fit(Worse(module), module, staged(module), settings, Execution(tmp_path))
    assert (result.stopped, result.steps) == ("no better validation in 2", 65)


def test_a_stage_that_joins_may_make_it_worse_at_first(tmp_path: Path) -> None:
    """What the later weights must beat to go on is the lowest since the rate falls, not the best of before."""

    class Bumpy(Scripted):
        values = [1.0] * 11 + [9.0 - 0.5 * i for i in range(30)]  # from step 55 on ever better, but long above 1

    module = network()
    settings = SETTINGS.model_copy(update={"epochs": 28, "patience": 2})
    result = fit(Bumpy(module), module, staged(module), settings, Execution(tmp_path))
    assert (result.stopped, result.steps) == ("the plan was done", 140)
    assert result.best_value == 9.0 - 0.5 * 16


def test_l2_adds_its_gradient_to_what_learns(tmp_path: Path) -> None:
    """The gradient of lambda |theta|^2 is 2 lambda theta, once a step whatever the batch."""

    class Nothing(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            return 0.0 * super().losses(positions, device)

    module = network()
    before = flat(module)
    run(tmp_path, module=module, objective=Nothing, l2=0.25, epochs=1, batch=14)
    gradients = torch.cat([parameter.grad.flatten() for parameter in module.parameters() if parameter.grad is not None])
    np.testing.assert_allclose(gradients.numpy(), 0.5 * before, rtol=1e-6)
    assert (np.abs(flat(module)) < np.abs(before)).mean() > 0.9


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    module, free = network(), network()
    run(tmp_path / "a", module=module, clip=0.01)
    run(tmp_path / "b", module=free, clip=0)
    norms = [torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None]).norm() for m in (module, free)]
    assert float(norms[0]) == pytest.approx(0.01, rel=1e-3)
    assert float(norms[1]) > 0.05
    assert np.abs(flat(module) - flat(free)).max() > 1e-4


@pytest.mark.parametrize("decay", [0.0, 0.2, 0.999])
def test_the_average_is_what_is_kept(tmp_path: Path, decay: float) -> None:
    """The average of the weights after each step, faster at first: 1 - min(decay, (1 + step) / (10 + step))."""
    weights = []

    class Descent(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            (weight,) = self.module.parameters()
            weights.append(weight.item())
            return (weight - 1).square().expand(len(positions))

        def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
            return torch.tensor([-len(weights), 1.0])  # the last is the best

    module, _, _ = run(tmp_path, objective=Descent, module=single(), ema=decay, rate=0.1)
    average = weights[0]
    for step, weight in enumerate([*weights[1:], *last_weights(tmp_path)], start=1):
        average += (1 - min(decay, (1 + step) / (10 + step))) * (weight - average)
    np.testing.assert_allclose(flat(module), [average], rtol=1e-5)
    assert (abs(average - last_weights(tmp_path)[0]) > 1e-4) == (decay > 0)


def test_the_seed_orders_the_batches(tmp_path: Path) -> None:
    orders = []
    for seed in (1, 1, 2):
        module = network()
        problem = Regression(module)
        fit(problem, module, groups(module), SETTINGS, Execution(tmp_path, seed=seed))
        orders.append(problem.seen)
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:5] != orders[0][5:10]  # epochs differ too


def test_batches_are_planned_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100,000 frames that takes half a second: not after every step, though the clock is looked at then."""
    planned = []
    plan = fitting.plan_batches

    def counted(items: Any, budget: Any, seed: int) -> list[list[int]]:
        planned.append(seed)
        return plan(items, budget, seed)

    monkeypatch.setattr(fitting, "plan_batches", counted)
    _, result, _ = run(tmp_path, epochs=4, max_minutes=1.0)
    assert result.steps == 20
    assert len(planned) <= 4 + 3  # an epoch each; the first also to measure a step


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=needs_fork)])
@pytest.mark.parametrize("bounds", [{"max_edges": 120}, {"max_atoms": 5}, {"max_edges": 1}])
def test_bounds_change_the_memory_and_not_the_weights(tmp_path: Path, bounds: dict[str, int], processes: int) -> None:
    """A batch beyond them passes in parts, and makes the same step."""
    free, one, _ = run(tmp_path / "free", batch=5)
    bounded, two, problem = run(tmp_path / "bounded", batch=5, processes=processes, **bounds)
    np.testing.assert_allclose(flat(bounded), flat(free), rtol=1e-5, atol=1e-7)
    assert [row["step"] for row in two.history] == [row["step"] for row in one.history] == [3, 6, 9, 12]
    if processes == 1:
        assert len(problem.seen) > two.steps


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 300), st.integers(0, 9000)), min_size=1, max_size=40),
    batch=st.integers(1, 50),
    max_atoms=st.none() | st.integers(1, 600),
    max_edges=st.none() | st.integers(1, 20_000),
    processes=st.integers(1, 5),
)
def test_every_frame_weighs_the_same_in_an_epoch(
    sizes: list[tuple[int, int]], batch: int, max_atoms: int | None, max_edges: int | None, processes: int
) -> None:
    """Whatever the sizes, the bounds, the batch and the processes: the gradient of the frame's own loss says it."""
    weighed = torch.zeros(len(sizes), dtype=torch.float64)
    for rank in range(processes):
        parameter = nn.Parameter(torch.zeros(len(sizes), dtype=torch.float64))

        class Marked:
            training = validation = tuple(Size(*size) for size in sizes)

            def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
                largest = max(self.training[i].n_edges for i in positions)
                own = sum(self.training[i].n_edges for i in positions)
                assert max_edges is None or own <= max_edges or own == largest
                return parameter[list(positions)]  # noqa: B023

        given_ = FitSettings(rate=1.0, batch=batch, max_atoms=max_atoms, max_edges=max_edges, processes=1)
        groups = [ParamGroup("all", {"one": parameter})]
        loop = fitting.FitLoop(Marked(), nn.Module(), groups, given_, Execution(Path(), seed=3), 0.0, False, 0.0)
        loop.fabric = SimpleNamespace(  # type: ignore[assignment]
            world_size=processes, global_rank=rank, device="cpu", barrier=lambda: None,
            all_reduce=lambda tensor, reduce_op: tensor,
        )  # fmt: skip
        loop.optimizer, loop.state = fitting.make_optimizer(groups, given_), loop._start()
        for step in loop._batches(0):
            loop._backward(step)
            assert parameter.grad is not None
            weighed += parameter.grad
    np.testing.assert_allclose(weighed.numpy(), loop._epoch_steps / len(sizes), rtol=1e-9)


@pytest.mark.parametrize("bounds", [{"max_edges": 120}, {"max_atoms": 5}, {"max_edges": 60, "max_atoms": 8}])
def test_batches_keep_to_the_budgets(tmp_path: Path, bounds: dict[str, int]) -> None:
    _, _, problem = run(tmp_path, batch=14, epochs=1, **bounds)
    assert sorted(chain.from_iterable(problem.seen)) == list(range(14))
    for batch in problem.seen:
        sums = {
            "max_edges": sum(problem.training[i].n_edges for i in batch),
            "max_atoms": sum(problem.training[i].n_atoms for i in batch),
        }
        assert len(batch) == 1 or all(sums[name] <= bound for name, bound in bounds.items())
    assert max(map(len, problem.seen)) > 1


# ----------------------------------------------------------- validation, best


class Overshoot(Regression):
    """Training pulls the weights to one; validation is best on the way, at one half."""

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        (weight,) = self.module.parameters()
        return (weight - 1).square().expand(len(positions))

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        (weight,) = self.module.parameters()
        return torch.tensor([(weight.item() - 0.5) ** 2 * len(positions), float(len(positions))])


def single() -> nn.Module:
    module = nn.Module()
    module.weight = nn.Parameter(torch.zeros(1))
    return module


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_the_best_snapshot_is_no_alias_of_the_last_weights(tmp_path: Path, ema: float) -> None:
    """What is returned has the value that was the best, with an average of the weights as without."""
    module, result, _ = run(tmp_path, objective=Overshoot, module=single(), epochs=40, rate=0.05, ema=ema)
    values = [row["validation_loss"] for row in result.history]
    best = int(np.argmin(values))
    assert 0 < best < len(values) - 5  # it did turn up
    assert last_weights(tmp_path)[0] > 0.9
    assert (float(flat(module)[0]) - 0.5) ** 2 == pytest.approx(values[best], rel=1e-6)
    assert (result.best_step, result.best_value) == (result.history[best]["step"], values[best])


def test_patience_stops_the_fit(tmp_path: Path) -> None:
    module, result, _ = run(tmp_path, objective=Overshoot, module=single(), epochs=40, rate=0.05, ema=0.0, patience=3)
    values = [row["validation_loss"] for row in result.history]
    assert int(np.argmin(values)) == len(values) - 4
    assert len(values) < 40
    assert result.stopped == "no better validation in 3"
    assert (float(flat(module)[0]) - 0.5) ** 2 == pytest.approx(min(values), rel=1e-6)


class Scripted(Regression):
    """Validations as a list says, whatever the weights."""

    values: Sequence[float] = ()

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        self.validations = getattr(self, "validations", 0) + 1
        return {"validation_loss": self.values[self.validations - 1]}


class Worse(Scripted):
    """Every validation is worse than the one before."""

    values = range(1, 1000)


def defaults_of(**given_: Any) -> FitSettings:
    """Return the settings of a fit through the network, of 14 frames in batches of 3."""
    return fit_defaults(make_strategy("full"), 1000, FitSettings(batch=3, processes=1, rate=0.02, **given_))


@pytest.mark.parametrize("optimizer", ["adam", "soap"])
@pytest.mark.parametrize(("epochs", "validate_every"), [(40, 1), (100, 1), (100, 2)])
def test_the_default_patience_is_a_quarter_of_the_plan_after_the_decay_begins(
    tmp_path: Path, optimizer: str, epochs: int, validate_every: int
) -> None:
    """SOAP holds its rate until 64 % of the plan: nothing before that ends a fit, however long it gets worse."""
    settings = defaults_of(epochs=epochs, validate_every=validate_every, optimizer=optimizer)
    module = network()
    result = fit(Worse(module), module, groups(module), settings, Execution(tmp_path))
    begins = {"adam": 0.05, "soap": 0.1 + 0.9 * 0.6}[optimizer] * epochs / validate_every
    first = math.ceil(round(begins, 9))  # the first validation that counts
    expected = (first + max(10, epochs // validate_every // 4)) * validate_every
    stopped = "no better" if expected < epochs else "the plan "
    assert (result.epochs, result.stopped[:9]) == (min(expected, epochs), stopped)


def test_what_comes_good_while_the_rate_falls_is_waited_for(tmp_path: Path) -> None:
    class Late(Scripted):
        values = [2.0 + i for i in range(70)] + [1.0 - 0.01 * i for i in range(30)]

    module = network()
    result = fit(Late(module), module, groups(module), defaults_of(epochs=100), Execution(tmp_path))
    assert (result.steps, result.best_value, result.stopped) == (500, pytest.approx(0.71), "the plan was done")


def test_a_given_patience_counts_from_the_decay_as_well(tmp_path: Path) -> None:
    module = network()
    result = fit(Worse(module), module, groups(module), defaults_of(epochs=50, patience=3), Execution(tmp_path))
    assert (result.epochs, result.stopped) == (32 + 3, "no better validation in 3")


def test_patience_follows_a_plan_by_minutes(tmp_path: Path, clock: Clock) -> None:
    """Of 400 steps that a budget allows, 80 epochs, SOAP's decay begins at 256; a quarter is 20 validations."""

    class Timed(Worse):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            clock.now += 1.0
            return super().losses(positions, device)

    module = network()
    settings = defaults_of(max_minutes=(400 + 2) / 0.97 / 60)
    result = fit(Timed(module), module, groups(module), settings, Execution(tmp_path))
    assert (result.epochs, result.stopped) == (52 + 20, "no better validation in 20")


@needs_fork
def test_patience_that_was_broken_off_ends_at_the_same_step(tmp_path: Path) -> None:
    class Flat(Regression):
        def validation_metrics(self, sums: Tensor) -> dict[str, float]:
            return {"validation_loss": 1.0}

    options: dict[str, Any] = {"objective": Flat, "epochs": 40, "patience": 0.25, "hold": 0.5}
    unbroken, whole, _ = run(tmp_path / "unbroken", **options)
    assert (whole.epochs, whole.stopped) == (31.0, "no better validation in 10")  # the rate falls from epoch 21 on
    hook = {"on_losses": kill_at(5 * 26 + 2, tmp_path), "checkpoint_minutes": 1e-6}
    process = multiprocessing.get_context("fork").Process(
        target=run, args=(tmp_path / "broken",), kwargs={**options, **hook}
    )
    process.start()
    process.join()
    resumed, result, _ = run(tmp_path / "broken", resume=True, **options)
    assert (result.steps, result.stopped) == (whole.steps, whole.stopped)
    np.testing.assert_array_equal(flat(resumed), flat(unbroken))


# --------------------------------------------------------- the starting weights


def test_the_starting_weights_are_a_candidate(tmp_path: Path) -> None:
    """Where no step helps they come back, and step 0 is the best."""
    module = network()
    before = flat(module)
    result = fit(Worse(module), module, groups(module), SETTINGS, Execution(tmp_path), keep="sound")
    np.testing.assert_array_equal(flat(module), before)
    assert (result.best_step, result.best_value) == (0, 1.0)
    first = result.history[0]
    assert (first["step"], first["epoch"], first["learning_rate"], first["train_loss"]) == (0, 0.0, 0.0, 0.0)
    assert set(first) == set(result.history[1])
    assert [row["step"] for row in result.history] == [0, 5, 10, 15, 20]


class Trade(Scripted):
    """The loss falls from validation to validation; an error is larger than at the start from the third one on."""

    values = range(9, 0, -1)
    scale, second = 1.0, 2.0005

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        loss = super().validation_metrics(sums)["validation_loss"]
        forces = self.scale * {9: 2.0, 8: self.second}.get(int(loss), 2.1)
        return {"validation_loss": loss, "validation_forces_rmse_eV_per_A": forces, "other": -loss}


class Loss(Trade):
    """No validation is without a loss."""

    second = 2.1


class Crystals(Trade):
    """The forces are zero by symmetry."""

    scale = 1e-6


@pytest.mark.parametrize(
    ("objective", "keep", "best"),
    [
        (Trade, "sound", (5, 8.0)),
        (Trade, "best", (20, 6.0)),
        (Loss, "sound", (20, 5.0)),
        (Crystals, "sound", (20, 5.0)),
    ],
)
def test_weights_that_lose_no_error_against_the_start_go_before_all_others(
    tmp_path: Path, objective: type[Trade], keep: Keep, best: tuple[int, float]
) -> None:
    """Whatever their loss. Rounding is no loss; where all lose, and without a start, the smallest loss is the best."""
    module = network()
    result = fit(objective(module), module, groups(module), SETTINGS, Execution(tmp_path), keep=keep)
    assert (result.best_step, result.best_value) == best


def test_starting_weights_that_are_beaten_change_nothing(tmp_path: Path) -> None:
    found = []
    keeps: tuple[Keep, ...] = ("best", "sound")
    for keep in keeps:
        module = network()
        result = fit(Regression(module), module, groups(module), SETTINGS, Execution(tmp_path), keep=keep)
        found.append((flat(module), [{**row, "seconds": 0} for row in result.history]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1][1:]


def test_decay_shrinks_weights_by_their_part_of_the_rate(tmp_path: Path) -> None:
    """A weight without a gradient shrinks by (1 - rate decay) a step, and one of a group without decay stays."""
    module = network()
    module.beside, module.kept = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    settings = SETTINGS.model_copy(update={"ema": 0.0})
    own = [
        ParamGroup("all", dict(module[0].named_parameters())),
        ParamGroup("decaying", {"beside": module.beside}, weight_decay=2.0, rate_factor=3.0),
        ParamGroup("kept", {"kept": module.kept}),
    ]
    result = fit(Regression(module), module, own, settings, Execution(tmp_path), keep="last")
    rates = [3 * 0.02 * rate_factor(step, result.steps, WARMUP) for step in range(result.steps)]
    assert float(module.beside.detach()[0]) == pytest.approx(math.prod(1 - 2.0 * rate for rate in rates), rel=1e-5)
    assert (module.kept == 1).all()


def test_the_last_weights_are_kept_however_often_they_are_validated(tmp_path: Path) -> None:
    """Validations for a curve choose nothing: the weights are those of a fit that is validated at its end alone."""
    found = []
    for often, every in enumerate((1, SETTINGS.epochs)):
        module = network()
        settings = SETTINGS.model_copy(update={"validate_every": every})
        result = fit(Worse(module), module, groups(module), settings, Execution(tmp_path / str(often)), keep="last")
        found.append((flat(module), result))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert len(found[0][1].history) > len(found[1][1].history) == 1
    assert found[0][1].best_step == found[0][1].steps


@needs_fork
def test_the_starting_weights_are_judged_once(tmp_path: Path) -> None:
    def start(folder: Path, on_losses: Callable[[int], None] = lambda _: None, *, resume: bool = False) -> FitResult:
        module = network()
        problem = Regression(module, on_losses)
        settings = SETTINGS.model_copy(update={"checkpoint_minutes": 1e-6})
        execution = Execution(folder, seed=5, resume=resume)
        return fit(problem, module, groups(module), settings, execution, keep="sound")

    whole = start(tmp_path / "unbroken")
    options = {"on_losses": kill_at(2, tmp_path)}
    process = multiprocessing.get_context("fork").Process(target=start, args=(tmp_path / "broken",), kwargs=options)
    process.start()
    process.join()
    again = start(tmp_path / "broken", resume=True)
    assert [row["step"] for row in again.history] == [row["step"] for row in whole.history] == [0, 5, 10, 15, 20]


def test_history_has_a_row_each_validation(tmp_path: Path) -> None:
    _, result, _ = run(tmp_path, epochs=5, validate_every=2)
    columns = {"step", "epoch", "seconds", "learning_rate", "train_loss", "validation_loss", "validation_frames"}
    assert all(set(row) == columns for row in result.history)
    assert [row["step"] for row in result.history] == [10, 20, 25]
    assert [row["epoch"] for row in result.history] == [2.0, 4.0, 5.0]
    assert result.history[0]["learning_rate"] > result.history[-1]["learning_rate"] > 0
    assert [row["validation_frames"] for row in result.history] == [5.0] * 3
    assert 0 < result.history[0]["seconds"] < result.history[-1]["seconds"]
    assert result.history[-1]["seconds"] == pytest.approx(result.seconds, abs=6e-4)
    assert (result.criterion, result.processes) == ("validation_loss", 1)


def test_the_training_loss_is_that_since_the_last_validation(tmp_path: Path) -> None:
    """The mean over the frames, of batches of three and a last one of two."""
    module, losses = network(), []

    class Noted(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            found = super().losses(positions, device)
            losses.extend(found.tolist())
            return found

    _, result, _ = run(tmp_path, module=module, objective=Noted, epochs=2)
    assert result.history[0]["train_loss"] == pytest.approx(np.mean(losses[:14]), rel=1e-6)
    assert result.history[1]["train_loss"] == pytest.approx(np.mean(losses[14:]), rel=1e-6)


def test_validation_sees_evaluation_mode_and_training_does_not(tmp_path: Path) -> None:
    modes: dict[str, set[bool]] = {"train": set(), "validation": set()}

    class Noted(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            modes["train"].add(self.module.training)
            return super().losses(positions, device)

        def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
            modes["validation"].add(self.module.training)
            return super().validation_sums(positions, device)

    run(tmp_path, objective=Noted)
    assert modes == {"train": {True}, "validation": {False}}


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=needs_fork)])
def test_a_loss_that_is_no_number_names_its_step(tmp_path: Path, processes: int) -> None:
    class Spoilt(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            found = super().losses(positions, device)
            return found * torch.nan if self.calls == 4 else found

    with pytest.raises(RunError, match="not a number at step 3") as error:
        run(tmp_path, objective=Spoilt, processes=processes)
    assert error.value.options[0].keys() == {"fit.rate"}


def test_a_gradient_that_is_no_number_is_caught_too(tmp_path: Path) -> None:
    class Kink(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            (weight,) = self.module.parameters()
            return weight.sqrt().expand(len(positions))  # at zero: the value is 0, the slope infinite

    with pytest.raises(RunError, match="not a number at step 0") as error:
        run(tmp_path, objective=Kink, module=single())
    assert not error.value.options  # no rate has done anything yet


def test_a_validation_that_is_no_number_is_no_best(tmp_path: Path) -> None:
    class Blind(Regression):
        def validation_metrics(self, sums: Tensor) -> dict[str, float]:
            return {"validation_loss": float("nan")}

    with pytest.raises(RunError, match="validation_loss is not a number at step 5"):
        run(tmp_path, objective=Blind)


# ---------------------------------------------------------------------- time


class Slow(Regression):
    """A step takes its size's time."""

    scale = 2e-4

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        time.sleep(self.scale * sum(self.training[i].n_edges for i in positions))
        return super().losses(positions, device)

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        time.sleep(0.05)
        return super().validation_sums(positions, device)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=needs_fork)])
def test_minutes_are_kept(tmp_path: Path, processes: int) -> None:
    began = time.monotonic()
    _, result, _ = run(tmp_path, objective=Slow, epochs=None, max_minutes=2 / 60, processes=processes)
    took = time.monotonic() - began
    assert 0.75 * 2 < took < 1.5 * 2 + 3.0 * (processes > 1)  # on a busy machine, workers take a while to start
    assert 0.75 * 2 < result.seconds < 1.5 * 2
    assert result.stopped == "the plan was done"
    assert result.history[-1]["learning_rate"] < 0.1 * SETTINGS.rate  # type: ignore[operator]


def test_minutes_are_kept_though_the_first_batch_is_quick(tmp_path: Path) -> None:
    class Misleading(Slow):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            time.sleep(0.15 if self.calls > 2 else 0.0)
            return super().losses(positions, device)

    began = time.monotonic()
    run(tmp_path, objective=Misleading, epochs=None, max_minutes=2 / 60)
    assert 0.75 * 2 < time.monotonic() - began < 1.9 * 2  # planned from the quick first batch it took 4.0 s


@dataclass
class Clock:
    """A clock that goes on when it is told to."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(fitting, "time", made)
    return made


def by_clock(clock: Clock, folder: Path, takes: Callable[[int], float], minutes: float, **more: Any) -> FitResult:
    """Fit with passes that take as many seconds as `takes` says of their number, from 0."""

    class Timed(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            clock.now += takes(self.calls)
            return super().losses(positions, device)

    _, result, _ = run(folder, objective=Timed, epochs=None, max_minutes=minutes, **more)
    return result


def test_a_slow_first_pass_is_counted_once(tmp_path: Path, clock: Clock) -> None:
    """Of 12 s, less the reserve, 7.64 s are left after it: 381 steps of 0.02 s."""
    result = by_clock(clock, tmp_path, lambda call: 4.0 if call == 0 else 0.02, 12 / 60)
    assert 370 <= result.steps <= 381
    assert result.seconds == pytest.approx(12 * 0.97, abs=0.1)


@pytest.mark.parametrize("slow", [3, 5, 10])
def test_a_plan_that_shrank_grows_again(tmp_path: Path, clock: Clock, slow: int) -> None:
    """Steps that read their frames for the first time are slow; what follows is not planned by them."""
    result = by_clock(clock, tmp_path, lambda call: 1.0 if call < slow else 0.02, 12 / 60)
    left = 12 * 0.97 - slow * 1.0
    assert result.steps == pytest.approx(slow - 2 + left / 0.02, rel=0.02)
    assert result.seconds == pytest.approx(12 * 0.97, abs=0.1)


def test_steps_that_become_slow_end_in_time(tmp_path: Path, clock: Clock) -> None:
    result = by_clock(clock, tmp_path, lambda call: 0.02 if call < 150 else 0.1, 12 / 60)
    assert 12 * 0.9 < result.seconds < 12 * 1.1


@pytest.mark.parametrize(("step", "validation", "budget"), [(1.0, 5.0, 60.0), (1.0, 20.0, 100.0), (0.02, 0.5, 12.0)])
def test_slow_validations_are_part_of_the_minutes(
    tmp_path: Path, clock: Clock, step: float, validation: float, budget: float
) -> None:
    """Also the last one, which follows the last step."""

    class Timed(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            clock.now += step
            return super().losses(positions, device)

        def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
            clock.now += validation
            return super().validation_sums(positions, device)

    module = network()
    settings = SETTINGS.model_copy(update={"epochs": None, "max_minutes": budget / 60})
    result = fit(Timed(module), module, groups(module), settings, Execution(tmp_path), keep="sound")
    assert result.seconds == clock.now <= budget + step
    assert clock.now > 0.97 * budget - validation - 5 * step


def test_seconds_that_are_gone_before_the_fit_are_part_of_its_minutes(tmp_path: Path, clock: Clock) -> None:
    module = network()

    class Timed(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            clock.now += 0.1
            return super().losses(positions, device)

    settings = SETTINGS.model_copy(update={"epochs": None, "max_minutes": 12 / 60})
    result = fit(Timed(module), module, groups(module), settings, Execution(tmp_path), spent=6.0)
    assert clock.now == pytest.approx(12 * 0.97 - 6.0, abs=0.11)
    assert result.seconds == pytest.approx(12 * 0.97, abs=0.11)
    assert result.history[-1]["learning_rate"] < 0.1 * 0.02


def test_epochs_bound_the_minutes(tmp_path: Path) -> None:
    _, result, _ = run(tmp_path, epochs=2, max_minutes=10.0)
    assert (result.steps, result.epochs) == (10, 2.0)


# ----------------------------------------------------- processes and killing


@needs_fork
def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    alone, one, _ = run(tmp_path / "1")
    together, two, _ = run(tmp_path / "2", processes=2)
    np.testing.assert_allclose(flat(together), flat(alone), rtol=1e-5, atol=1e-7)
    assert [row["validation_frames"] for row in two.history] == [5.0] * 4
    for ours, theirs in zip(two.history, one.history, strict=True):
        for name in ("step", "epoch", "learning_rate", "train_loss", "validation_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5)
    assert (one.processes, two.processes) == (1, 2)


@needs_fork
def test_processes_share_the_work(tmp_path: Path) -> None:
    """Each sample is passed by one process, and edges are spread evenly."""

    class Noted(Regression):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            with (tmp_path / f"{os.getpid()}.txt").open("a") as file:
                file.write(" ".join(map(str, positions)) + "\n")
            return super().losses(positions, device)

    _, _, problem = run(tmp_path / "fit", objective=Noted, processes=2, epochs=1, batch=14)
    shares = [[int(i) for i in file.read_text().split()] for file in tmp_path.glob("*.txt")]
    assert len(shares) == 2
    assert sorted(chain.from_iterable(shares)) == list(range(14))
    loads = [sum(problem.training[i].n_edges for i in share) for share in shares]
    assert abs(loads[0] - loads[1]) < 0.1 * sum(loads)


@needs_fork
def test_more_processes_than_samples(tmp_path: Path) -> None:
    alone, _, _ = run(tmp_path / "1", batch=1, epochs=1)
    together, _, _ = run(tmp_path / "2", batch=1, epochs=1, processes=2)
    np.testing.assert_allclose(flat(together), flat(alone), rtol=1e-5, atol=1e-7)


def kill_at(call: int, folder: Path) -> Callable[[int], None]:
    """Kill one's own process at a call of `losses`, the first time only; note every process that works."""

    def hook(now: int) -> None:
        (folder / f"pid-{os.getpid()}").touch()
        if now == call:
            try:
                (folder / "killed").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def alive(pid: int) -> bool:
    """Say whether a process runs: one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_all_end(folder: Path) -> None:
    pids = [int(file.name.removeprefix("pid-")) for file in folder.glob("pid-*")]
    assert pids
    end = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(alive, pids))


# At the end of an epoch, and in the middle of one.
@pytest.mark.parametrize("optimizer", ["adam", "soap"])
@pytest.mark.parametrize("checkpoint_minutes", [2.0, 1e-6])
@needs_fork
def test_killed_and_resumed_gives_the_unbroken_weights(
    tmp_path: Path, checkpoint_minutes: float, optimizer: str
) -> None:
    unbroken, expected, _ = run(tmp_path / "unbroken", optimizer=optimizer)
    assert optimizer == "adam" or not np.array_equal(flat(unbroken), flat(run(tmp_path / "adam")[0]))
    folder = tmp_path / "broken"
    options = {"on_losses": kill_at(12, tmp_path), "checkpoint_minutes": checkpoint_minutes, "optimizer": optimizer}
    process = multiprocessing.get_context("fork").Process(target=run, args=(folder,), kwargs=options)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    state = content_of(folder)["state"]
    assert (state["step"], state["done"]) == ((10, 0) if checkpoint_minutes > 1 else (12, 2))
    resumed, result, problem = run(folder, resume=True, optimizer=optimizer)
    np.testing.assert_array_equal(flat(resumed), flat(unbroken))
    np.testing.assert_array_equal(last_weights(folder), last_weights(tmp_path / "unbroken"))
    assert problem.calls == 20 - state["step"]
    for ours, theirs in zip(result.history, expected.history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    assert result.history[-1]["seconds"] > state["seconds"] > 0


@needs_fork
def test_a_fit_that_goes_on_keeps_its_batches(tmp_path: Path) -> None:
    """Their defaults follow the cores and the memory, of which another machine may have more."""
    run(tmp_path / "unbroken")
    folder = tmp_path / "broken"
    options = {"on_losses": kill_at(12, tmp_path), "checkpoint_minutes": 1e-6}
    process = multiprocessing.get_context("fork").Process(target=run, args=(folder,), kwargs=options)
    process.start()
    process.join()
    _, result, problem = run(folder, resume=True, batch=7, max_atoms=1)
    assert [len(batch) for batch in problem.seen[:3]] == [3, 3, 2]
    assert result.batches == {"batch": 3, "max_atoms": None, "max_edges": None}
    np.testing.assert_array_equal(last_weights(folder), last_weights(tmp_path / "unbroken"))


@pytest.mark.parametrize("call", [6, 14], ids=["before a group's start", "after it"])
@needs_fork
def test_the_same_where_a_group_starts_later(tmp_path: Path, call: int) -> None:
    unbroken, _, _ = run(tmp_path / "unbroken", grouped=staged)
    folder = tmp_path / "broken"
    options = {"on_losses": kill_at(call, tmp_path), "checkpoint_minutes": 1e-6, "grouped": staged}
    process = multiprocessing.get_context("fork").Process(target=run, args=(folder,), kwargs=options)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    resumed, _, problem = run(folder, grouped=staged, resume=True)
    assert problem.calls == 20 - call
    np.testing.assert_array_equal(flat(resumed), flat(unbroken))


@needs_fork
def test_two_processes_agree_on_who_rests(tmp_path: Path) -> None:
    alone, _, _ = run(tmp_path / "1", grouped=staged)
    together, _, _ = run(tmp_path / "2", grouped=staged, processes=2)
    np.testing.assert_allclose(flat(together), flat(alone), rtol=1e-5, atol=1e-7)


def test_minutes_are_kept_though_later_steps_cost_more(tmp_path: Path) -> None:
    class Dearer(Slow):
        def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
            time.sleep(0.02 if self.module[0].weight.requires_grad else 0.005)
            return super().losses(positions, device)

    began = time.monotonic()
    _, result, _ = run(tmp_path, objective=Dearer, grouped=staged, epochs=None, max_minutes=3 / 60)
    assert 0.75 * 3 < time.monotonic() - began < 1.5 * 3
    assert result.stopped == "the plan was done"


@needs_fork
def test_the_same_with_two_processes_whose_parent_is_killed(tmp_path: Path) -> None:
    unbroken, _, _ = run(tmp_path / "unbroken", processes=2)
    folder = tmp_path / "broken"

    def dawdle(now: int) -> None:
        (tmp_path / f"pid-{os.getpid()}").touch()
        if now == 12:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a worker deep in a library does not hear torch's own signal
            time.sleep(60)

    options = {"processes": 2, "checkpoint_minutes": 1e-6, "on_losses": dawdle}
    parent = multiprocessing.get_context("fork").Process(target=run, args=(folder,), kwargs=options)
    parent.start()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if (folder / FILE).is_file() and content_of(folder)["state"]["step"] == 12:
            break
        time.sleep(0.02)
    os.kill(parent.pid or 0, signal.SIGKILL)
    parent.join()
    assert_all_end(tmp_path)
    resumed, result, _ = run(folder, processes=2, resume=True)
    np.testing.assert_array_equal(flat(resumed), flat(unbroken))
    assert result.steps == 20


@needs_fork
def test_a_killed_worker_is_an_error_without_orphans(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a worker died"):
        run(tmp_path / "fit", processes=2, on_losses=kill_at(7, tmp_path))
    assert len(list(tmp_path.glob("pid-*"))) == 2
    assert_all_end(tmp_path)
    resumed, _, _ = run(tmp_path / "fit", processes=2, resume=True)
    unbroken, _, _ = run(tmp_path / "unbroken", processes=2)
    np.testing.assert_array_equal(flat(resumed), flat(unbroken))


def test_a_finished_fit_is_not_fitted_again(tmp_path: Path) -> None:
    module, result, _ = run(tmp_path)
    again, repeated, problem = run(tmp_path, resume=True)
    assert problem.calls == 0
    np.testing.assert_array_equal(flat(again), flat(module))
    assert repeated.history == result.history


def test_without_a_checkpoint_resuming_begins(tmp_path: Path) -> None:
    module, _, _ = run(tmp_path / "a", resume=True)
    np.testing.assert_array_equal(flat(module), flat(run(tmp_path / "b")[0]))


def test_without_resume_an_old_checkpoint_does_not_matter(tmp_path: Path) -> None:
    first, _, _ = run(tmp_path)
    second, _, problem = run(tmp_path)
    assert problem.calls == 20
    np.testing.assert_array_equal(flat(first), flat(second))


def test_workers_are_not_announced_on_the_screen() -> None:
    fabric_of("cpu", 1)
    assert not logging.getLogger("lightning_fabric.utilities.distributed").isEnabledFor(logging.INFO)

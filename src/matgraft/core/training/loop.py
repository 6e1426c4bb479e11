"""One process of a fit: steps, validations, checkpoints, and what is told meanwhile."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException

from matgraft.core import devices
from matgraft.core.errors import RunError
from matgraft.core.failures import failure_of
from matgraft.core.orphans import die_with_parent
from matgraft.core.processes import cores, forks_on_cpu, keep_memory
from matgraft.core.quantities import rounding_of
from matgraft.core.run_folder import resume_above
from matgraft.core.training import checkpoint
from matgraft.core.training.batching import Budget, Sized, plan_batches, split_batch
from matgraft.core.training.checkpoint import State
from matgraft.core.training.execution import Execution
from matgraft.core.training.objective import CRITERION, ERROR, FitResult, Keep, Objective
from matgraft.core.training.optimizer import make_optimizer
from matgraft.core.training.schedule import WARMUP, FitSettings, decay_start, patience_in, plan_steps, rate_factor
from matgraft.core.training.strategy import ParamGroup
from matgraft.core.training.team import Team, fabric_of, team_on

_log = logging.getLogger(__name__)
ROUNDING = 1e-3
"""Part by which an error may be larger than at the start, or than its `Quantity.rounding` where this is larger."""
BOUNDS = {"batch": "samples", "max_atoms": "atoms", "max_edges": "edges"}
"""Field of `FitSettings` -> field of `Budget`."""
PLAN_EVERY = 20
"""Steps between two looks at the clock when a number of minutes is given; of as many first and last ones after each."""
LOG_SECONDS = 10.0
"""Between two lines of the logger on the progress of a fit."""


@dataclass
class FitLoop:
    """One process of a fit."""

    objective: Objective
    module: nn.Module
    groups: list[ParamGroup]
    settings: FitSettings
    execution: Execution
    l2: float
    keep: Keep
    spent: float

    def launch(self) -> FitResult:
        """Train in as many processes as the settings say, and leave the best weights in the module."""
        device = devices.training_device()
        processes = (self.settings.processes or cores()) if forks_on_cpu() else 1
        if processes == 1:
            self.run(team_on(device))
        else:
            self._launch_workers(processes)
        self.module.to("cpu")
        state = checkpoint.restore(self.parameters, None, self.execution.work)
        assert state.best  # every fit ends with a validation
        checkpoint.put(state.best["weights"], self.parameters)
        return FitResult(
            history=state.history,
            best_step=state.best["step"],
            best_value=state.best["value"],
            stopped=state.stopped,
            steps=state.step,
            epochs=state.history[-1]["epoch"],
            seconds=state.seconds,
            processes=processes,
            batches={name: state.budget[kind] for name, kind in BOUNDS.items()},
        )

    def _launch_workers(self, processes: int) -> None:
        """Train in forked workers: they share the encoded frames, and the loop itself sums their gradients."""
        fabric = fabric_of("cpu", processes)
        try:
            failure = fabric.launch(self.run_quietly)
        except ProcessException as error:
            commands = resume_above(self.execution.work)
            said = str(error).strip().rpartition("\n")[2]  # the last line; those above are the worker's traceback
            raise failure_of(error, commands) or RunError(f"a worker died ({said})", commands=commands) from error
        if failure is not None:
            raise failure

    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        """All that learns."""
        return [parameter for group in self.groups for parameter in group.parameters.values()]

    def run_quietly(self, fabric: Team) -> RunError | None:
        """Train as a worker, and hand the parent the error that all workers meet alike."""
        try:
            self.run(fabric)
        except RunError as error:
            return error
        return None

    def run(self, fabric: Team) -> None:
        """Train until the plan is done or patience ends."""
        self.fabric = fabric
        if fabric.world_size > 1:
            torch.set_num_threads(1)
            die_with_parent()
        keep_memory()
        self.module.to(fabric.device)
        self.optimizer = make_optimizer(self.groups, self.settings)
        self.state = self._start()
        self._saved = self._began = self._logged = time.monotonic()
        self._seconds_before = self.state.seconds
        if self.keep == "sound" and not self.state.step:
            self._validate()
        if not self.state.total:  # resumed: the plan is part of the state
            self._plan(self._first_pace() if self.settings.max_minutes else 0.0)
        if not self.state.marks:
            self.state.marks = [[self.state.step, self.state.seconds]]
        with self._progress() as bar:
            task = bar.add_task(self.execution.title, total=self.state.total, completed=self.state.step, note="")
            while not self.state.stopped:
                self._epoch(bar, task)

    def _start(self) -> State:
        if self.execution.resume and (self.execution.work / checkpoint.FILE).is_file():
            state = checkpoint.restore(self.parameters, self.optimizer, self.execution.work)
        else:
            state = State(average=checkpoint.copies(self.parameters), seconds=self.spent)
        if not state.budget:
            state.budget = {kind: getattr(self.settings, name) for name, kind in BOUNDS.items()}
        return state

    # ------------------------------------------------------------------ steps

    def _batches(self, epoch: int) -> list[list[int]]:
        """Return the samples of each step, so many that the bounds of memory change none of them."""
        budget = Budget(samples=self.state.budget["samples"])
        return plan_batches(self.objective.training, budget, seed=_mix(self.execution.seed, epoch))

    @cached_property
    def _epoch_steps(self) -> int:
        """Steps of every epoch; of 100,000 frames it takes half a second to know."""
        return len(self._batches(0))

    def _parts(self, batch: list[int]) -> list[list[int]]:
        """Split the samples of a step into parts that keep to the bounds of atoms and edges."""
        return split_batch(batch, self.objective.training, Budget(**{**self.state.budget, "samples": None}))

    def _epoch(self, bar: Progress, task: Any) -> None:
        """Make the steps left of the current epoch, then validate."""
        batches = self._batches(self.state.epoch)
        for batch in batches[self.state.done :]:
            self._step(batch)
            if self._looks_at_clock():
                self._plan(self.state.pace())
            self._note(bar, task)
            if self.state.step >= self.state.total:
                break
            if time.monotonic() - self._saved > 60 * self.settings.checkpoint_minutes:
                self._save()
        finished = self.state.step >= self.state.total
        if finished or (self.state.epoch + 1) % self.settings.validate_every == 0:
            self._validate()
        self.state.epoch, self.state.done = self.state.epoch + 1, 0
        patience = patience_in(self.settings, self.state.total, self._epoch_steps)
        if finished:
            self.state.stopped = "the plan was done"
        elif patience and self.state.since_best >= patience:
            self.state.stopped = f"no better validation in {patience}"
        self._log_progress()
        self._save()

    def _step(self, batch: list[int]) -> None:
        self._set_rates()
        loss = self._backward(batch)
        if self.settings.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip, foreach=False)
        self.optimizer.step()
        self.state.step += 1
        self.state.update_average(self.parameters, self.settings.ema or 0.0)
        self.state.done += 1
        self.state.loss_sum, self.state.loss_count = self.state.loss_sum + loss, self.state.loss_count + 1
        self._tick()
        if self.state.step & (self.state.step - 1) == 0:
            self.state.marks.append([self.state.step, self.state.seconds])

    def _tick(self) -> None:
        self.state.seconds = self._seconds_before + time.monotonic() - self._began

    @cached_property
    def _schedule(self) -> dict[str, float]:
        warmup = WARMUP if self.settings.warmup is None else self.settings.warmup
        return {"warmup": warmup, "hold": self.settings.hold or 0.0}

    def _falling(self) -> bool:
        """Say whether the rates of all groups have begun to fall: patience ends no fit before that."""
        starts = (decay_start(self.state.total, start=group.start, **self._schedule) for group in self.groups)
        return self.state.step >= max(starts)

    def _set_rates(self) -> None:
        """Set the rate of each group. One that waits asks for no gradient: the optimizer passes it over."""
        for group, own in zip(self.optimizer.param_groups, self.groups, strict=True):
            factor = rate_factor(self.state.step, self.state.total, start=own.start, **self._schedule)
            group["lr"] = group["base"] * factor
            for parameter in group["params"]:
                parameter.requires_grad_(factor > 0)

    def _backward(self, batch: list[int]) -> float:
        """Put the gradient of the batch's loss into what learns, summed over its parts and the processes.

        The sum of the samples' losses is divided by the mean number of samples a step, not by the batch's own: so each
        sample weighs the same in an epoch, also in a last batch that is smaller.
        """
        learning = [parameter for parameter in self.parameters if parameter.requires_grad]
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64, device=self.fabric.device)
        samples_a_step = len(self.objective.training) / self._epoch_steps
        parts = self._parts(batch)
        for part in parts:
            if share := self._share(part, self.objective.training):
                loss = self.objective.losses(share, self.fabric.device).sum() / samples_a_step
                loss.backward()
                total += loss.detach().double()
            if len(parts) > 1 and self.fabric.world_size > 1:
                self.fabric.barrier()  # all processes pass one part together, which is what the bounds hold for
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in learning]
        if self.fabric.world_size > 1:
            flat = self._sum(torch.cat([gradient.flatten().double() for gradient in gradients] + [total.view(1)]))
            *summed, total = flat.split([p.numel() for p in learning] + [1])
            gradients = [part.view_as(p).to(p.dtype) for p, part in zip(learning, summed, strict=True)]
        loss_value = float(total)
        if not _all_finite([*gradients, total]):
            rate = self.settings.rate or 0.0
            audit = "look at the audit for frames whose labels or predictions are wrong"
            raise RunError(
                f"loss or gradient is not a number at step {self.state.step}",
                remedy=f"take a smaller rate, or {audit}" if self.state.step else f"{audit}: no step was made yet",
                options=[{"fit.rate": float(f"{rate / 3:.1g}")}] if self.state.step and rate else [],
            )
        for parameter, gradient in zip(learning, gradients, strict=True):
            parameter.grad = gradient + 2 * self.l2 * parameter.detach() if self.l2 else gradient
        return loss_value

    def _share(self, positions: Sequence[int], sizes: Sequence[Sized]) -> list[int]:
        """Return this process's part: largest first, each to the process with the least so far."""
        loads = [0] * self.fabric.world_size
        mine = []
        for i in sorted(positions, key=lambda i: -sizes[i].n_edges):
            rank = loads.index(min(loads))
            loads[rank] += sizes[i].n_edges + 1
            mine += [i] if rank == self.fabric.global_rank else []
        return mine

    def _sum(self, tensor: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return tensor
        summed = self.fabric.all_reduce(tensor, reduce_op="sum")
        assert isinstance(summed, Tensor)
        return summed

    # ------------------------------------------------------- plan, validation

    def _looks_at_clock(self) -> bool:
        """Say whether to plan anew: often at first and at the end, lest minutes are left over or exceeded."""
        step = self.state.step
        due = step < PLAN_EVERY or step % PLAN_EVERY == 0 or step > self.state.total - PLAN_EVERY
        return self.settings.max_minutes is not None and due

    def _first_pace(self) -> float:
        """Return the seconds of a pass before the first step: of the second one, since the first warms caches up."""
        batch = self._batches(0)[0]
        self._backward(batch)
        began = time.monotonic()
        self._backward(batch)
        self._tick()
        return time.monotonic() - began

    def _plan(self, pace: float) -> None:
        """Set the number of steps. Only the first process's clock counts."""
        steps = plan_steps(
            self.settings, self._epoch_steps, self.state.step, self.state.seconds, pace, self.state.ending
        )
        self.state.total = self.fabric.broadcast(steps) if self.settings.max_minutes else steps

    def _validate(self) -> None:
        """Validate the averaged weights and snapshot them if they are the best."""
        began = time.monotonic()
        own = checkpoint.copies(self.parameters)
        checkpoint.put(self.state.average, self.parameters)
        self.module.eval()
        share = self._share(range(len(self.objective.validation)), self.objective.validation)
        metrics = self.objective.validation_metrics(
            self._sum(self.objective.validation_sums(share, self.fabric.device).cpu())
        )
        self.module.train()
        checkpoint.put(own, self.parameters)
        if not math.isfinite(metrics[CRITERION]):
            raise RunError(
                f"{CRITERION} is not a number at step {self.state.step}",
                remedy="a look at the audit for what is wrong with the validation frames",
            )
        if self.keep == "last":
            self.state.best = None  # whatever was better before
        self.state.keep_if_best(metrics[CRITERION], sound=self._is_sound(metrics))
        self.state.count(metrics[CRITERION], falling=self._falling())
        self._tick()
        self.state.ending = time.monotonic() - began
        row = {
            "step": self.state.step,
            "epoch": self.state.epoch + self.state.done / self._epoch_steps,
            "seconds": round(self.state.seconds, 3),
            "learning_rate": max(group["lr"] for group in self.optimizer.param_groups) if self.state.step else 0.0,
            "train_loss": self.state.loss_sum / max(1, self.state.loss_count),
        }
        self.state.history.append(row | metrics)
        self.state.loss_sum, self.state.loss_count = 0.0, 0

    def _is_sound(self, metrics: Mapping[str, float]) -> bool:
        """Say whether the loss is smaller than at the start and no error is larger; no, where no start was judged."""
        if not (self.keep == "sound" and self.state.history):
            return False
        start = self.state.history[0]
        errors = {name: value for name, value in metrics.items() if name.startswith(ERROR)}
        least = {name: max(start[name], rounding_of(name.removeprefix(ERROR))) for name in errors}
        kept = all(value <= (1 + ROUNDING) * least[name] for name, value in errors.items() if name != CRITERION)
        return kept and metrics[CRITERION] < start[CRITERION]

    def _save(self) -> None:
        if self.fabric.global_rank == 0:
            checkpoint.save(self.state, self.parameters, self.optimizer, self.execution.work)
        self._saved = time.monotonic()

    # --------------------------------------------------------------- progress

    def _progress(self) -> Progress:
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} steps")
        times = TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}")
        hidden = self.execution.quiet or self.fabric.global_rank != 0
        return Progress(*columns, *times, console=Console(stderr=True), disable=hidden, transient=True)

    def _note(self, bar: Progress, task: Any) -> None:
        bar.update(task, total=self.state.total, completed=self.state.step, note=self._words())

    def _words(self) -> str:
        note = f"loss {self.state.loss_sum / max(1, self.state.loss_count):.4g}"
        return note + (f", best validation {self.state.best['value']:.4g}" if self.state.best else "")

    def _log_progress(self) -> None:
        """Tell the logger where the fit is: once in `LOG_SECONDS`, since an epoch may take milliseconds or hours."""
        if self.fabric.global_rank == 0 and time.monotonic() - self._logged > LOG_SECONDS:
            self._logged = time.monotonic()
            _log.info("epoch %d, step %d of %d: %s", self.state.epoch, self.state.step, self.state.total, self._words())


def _mix(seed: int, epoch: int) -> int:
    """Return one number from a seed and an epoch, so that no two epochs of neighbouring seeds share an order."""
    return seed * 1_000_003 + epoch


def _all_finite(tensors: Sequence[Tensor]) -> bool:
    """Say whether every number is finite; sums tell it of most tensors without a look at each number."""
    sums = torch.stack([tensor.sum().double() for tensor in tensors])
    return bool(sums.isfinite().all()) or all(bool(tensor.isfinite().all()) for tensor in tensors)

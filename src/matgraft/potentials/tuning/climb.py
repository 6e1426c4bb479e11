"""Climb the ladder: adapt rung by rung, judge each by one loss, stop by the ladder's rules, keep the best model.

    climbed = climb(load("chgnet"), train, validation, max_minutes=30)
    climbed.adapted.backbone        # of the rung that was kept
    climbed.record                  # every rung with its minutes, validation errors and verdict

Each rung is an adaptation of its own from the foundation, not the continuation of the one below: its figures are those
of ``--strategy <rung>`` with the same minutes, its update keeps its rank, and a rung that went astray harms no other.

In the run folder each finished rung leaves ``checkpoints/<rung>/model.pt`` and its row in ``ladder.json``. A climb that
was killed goes on with the rung that was under way, from its last checkpoint.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from matgraft.core import devices
from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.model import Encoded
from matgraft.core.processes import cores, timed, workers
from matgraft.core.quantities import POTENTIAL_QUANTITIES
from matgraft.core.training.execution import Execution
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import Strategy
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.tuning.adapt import TunedPotential, adapt, refit_references, require_frames
from matgraft.potentials.tuning.defaults import fit_defaults
from matgraft.potentials.tuning.judging import Predictions, validation_errors
from matgraft.potentials.tuning.ladder import (
    CLIMB,
    DEFAULT_MINUTES,
    Climb,
    Cost,
    LadderSettings,
    RungBegun,
    RungResult,
    allot,
    best,
    error_key,
    gain_of,
    make_rungs,
    not_worth,
    reason_to_stop,
    refuse_idle_target,
    target_met,
)
from matgraft.potentials.tuning.loss import LossSettings, label_shares, weigh_moments, weigh_parts
from matgraft.potentials.tuning.objectives import FrameObjective
from matgraft.potentials.tuning.references import ReferenceShift, keep_references, shifted
from matgraft.potentials.tuning.replay import ReplaySettings, forecast, rehearsing_heads
from matgraft.potentials.tuning.rung_models import baseline, load_adapted, save_adapted
from matgraft.potentials.tuning.settings import Precomputed, TuneSettings
from matgraft.potentials.tuning.tangents import (
    TangentObjective,
    affordable,
    cache_tangents,
    plan_directions,
    require_squares,
    usual_size,
)

_log = logging.getLogger(__name__)
ENDED = "the climb had ended"
NO_STEP = "no step was better than the starting weights"
MODEL = "model.pt"
LEAST_PASSES = 2
"""Passes over the training frames below which a fit through the network is not begun: with fewer it ends behind
`feature`."""
LEAST_HEAD = 0.25
"""Part of the steps of a head's fit below which it is not begun."""


@dataclass(frozen=True)
class Climbed:
    """What came of a climb.

    Attributes
    ----------
    adapted
        Of the rung that was kept.
    record
        All rungs, and why the climb ended.
    """

    adapted: TunedPotential
    record: Climb


def climb(
    foundation: Potential,
    train: Dataset,
    validation: Dataset,
    *,
    ladder: LadderSettings | None = None,
    rungs: Mapping[str, Strategy] | None = None,
    settings: TuneSettings | None = None,
    precomputed: Precomputed | None = None,
    execution: Execution | None = None,
    **options: Any,
) -> Climbed:
    """Fine-tune copies of `foundation` by dearer and dearer strategies, and keep the best on `validation`.

    Parameters
    ----------
    rungs
        Name -> strategy, cheap to dear. Default: those that `ladder` names, with their own defaults.
    settings
        As of `adapt`, of each rung. The weights of its loss judge every rung, and a rung may train by others of its
        own; `fit.max_minutes` is that of all rungs together (30 by default); what is rehearsed is so by the rungs that
        rehearse.
    execution
        Its folder is the run's: each rung has a folder of its own in it.
    options
        As of `adapt`.

    Raises
    ------
    DataError
        If there is nothing to train or validate on.
    OptionError
        If a target names what cannot be judged.
    """
    require_frames(train, validation)
    ladder, settings = ladder or LadderSettings(), (settings or TuneSettings()).updated(**options)
    settings = replace(settings, loss=weigh_moments(settings.loss, train, tuple(foundation.quantities)))
    known = precomputed or Precomputed()
    refuse_idle_target(ladder.target, settings.loss.weights(train), validation)
    weighed, judging = weigh_parts(train, validation, settings.loss)
    train_graphs = known.train_graphs or encode_all(foundation, train.samples)
    validation_graphs = known.validation_graphs or encode_all(foundation, validation.samples)
    references = settings.references or refit_references(foundation, weighed, train_graphs, known.on_train)
    assert isinstance(references, ReferenceShift)
    settings = replace(settings, references=references)
    shares = label_shares(weighed, settings.loss.weights(train))
    frames = _Frames(train, validation, train_graphs, validation_graphs, judging, shares)
    rungs = rungs or make_rungs(ladder.rungs)
    with (execution or Execution()).in_folder() as placed:
        return _Ascent(foundation, frames, references, settings, ladder, rungs, placed).run(known.on_validation)


@dataclass(frozen=True)
class _Frames:
    """The frames of a climb.

    Attributes
    ----------
    train, validation
        As they were given.
    train_graphs, validation_graphs
        As `Potential.encode` gives them.
    judging
        The validation frames with the weights that they have in the loss.
    shares
        Of the training frames (`label_shares`).
    """

    train: Dataset
    validation: Dataset
    train_graphs: Sequence[Encoded]
    validation_graphs: Sequence[Encoded]
    judging: Dataset
    shares: Mapping[str, float]

    @property
    def precomputed(self) -> Precomputed:
        """What a rung need not compute again."""
        return Precomputed(train_graphs=self.train_graphs, validation_graphs=self.validation_graphs)

    def objective(self, backbone: Potential, loss: LossSettings) -> FrameObjective:
        """Return the objective of a fit through the network."""
        return FrameObjective(backbone, self.train, self.validation, loss, self.train_graphs, self.validation_graphs)


@dataclass(frozen=True)
class _Ascent:
    """What all rungs of a climb share."""

    foundation: Potential
    frames: _Frames
    references: ReferenceShift
    settings: TuneSettings
    ladder: LadderSettings
    rungs: Mapping[str, Strategy]
    execution: Execution

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the quantities in the loss."""
        return self.settings.loss.weights(self.frames.train)

    def run(self, on_validation: Predictions | None) -> Climbed:
        """Climb, and return the best rung's model."""
        record = CLIMB.find(self.execution.work) if self.execution.resume else None
        record = record or self._baselines(on_validation)
        done = {rung.name for rung in record.rungs}
        ahead = [name for name in self.rungs if name not in done]
        for position, name in enumerate(ahead):
            if reason_to_stop(record.rungs, self.ladder):
                result = RungResult(name=name, verdict="skipped", why=ENDED)
            else:
                record, result = self._try(record, name, len(ahead) - position)
            record = self._note(record, rungs=(*record.rungs, result), begun=None)
            self._tell(result)
        return self._end(record)

    def _baselines(self, known: Predictions | None) -> Climb:
        """Judge the foundation as it is, and with its references shifted."""
        untuned = known or self._predicted(self.foundation)
        models = {"untuned": untuned, "shift": shifted(self.frames.validation, untuned, self.references)}
        results: list[RungResult] = []
        for name, predictions in models.items():
            result = RungResult(name=name, errors=self._errors(predictions))
            results.append(result.model_copy(update={"gain": gain_of(result.loss, results)}))
            self._tell(results[-1])
        return Climb(
            max_minutes=self.settings.fit.max_minutes or DEFAULT_MINUTES,
            target=self.ladder.target,
            worth=self.ladder.worth,
            loss_weights=dict(self.weights),
            rungs=tuple(results),
        )

    def _try(self, record: Climb, name: str, ahead: int) -> tuple[Climb, RungResult]:
        """Fit a rung and judge it; or say why not."""
        if record.begun is not None and record.begun.name == name:
            return record, self._fitted(record, record.begun, resume=True)
        left = record.max_minutes - record.minutes
        try:
            cost = self._cost(self.rungs[name], left if ahead == 1 else left / 2)
        except (OptionError, DataError) as error:
            return record, RungResult(name=name, verdict="skipped", why=error.found)
        minutes = allot(left, ahead, cost)
        if minutes is None:
            why = f"{left:.2g} minutes were left for {ahead} rung{'s' * (ahead > 1)}; {cost.words}"
            return record, RungResult(name=name, verdict="skipped", why=why)
        begun = RungBegun(name=name, minutes=cost.before + minutes)
        record = self._note(record, begun=begun)
        return record, self._fitted(record, begun, resume=False)

    def _fitted(self, record: Climb, begun: RungBegun, *, resume: bool) -> RungResult:
        began = time.monotonic()
        try:
            adapted = self._adapt(begun.name, begun.minutes, resume=resume)
            errors = self._errors(self._predicted(adapted.backbone))
        except (DataError, RunError) as error:  # of this rung: its memory, its rate, a worker that was killed
            return RungResult(name=begun.name, verdict="failed", why=error.found, minutes=_minutes_since(began))
        save_adapted(adapted, self._model(begun.name))
        # Of a rung that was stopped, what came before its first step is counted once.
        minutes = max(_minutes_since(began), adapted.fit.seconds / 60)
        why = "" if adapted.fit.best_step else NO_STEP
        result = RungResult(name=begun.name, errors=errors, minutes=minutes, why=why)
        return result.model_copy(update={"gain": gain_of(result.loss, record.rungs)})

    def _errors(self, predictions: Predictions) -> dict[str, float]:
        frames = self.frames
        return validation_errors(frames.judging, predictions, self.weights, self.settings.loss, frames.shares)

    def _predicted(self, model: Potential) -> Predictions:
        graphs = self.frames.validation_graphs
        return predict_samples(model, self.frames.validation.samples, encoded=graphs, processes=cores())

    def _adapt(self, name: str, minutes: float, *, resume: bool) -> TunedPotential:
        settings = self.settings.updated(max_minutes=minutes)
        if not self.rungs[name].replays:
            settings = replace(settings, replay=ReplaySettings())
        return adapt(
            self.foundation,
            self.frames.train,
            self.frames.validation,
            strategy=self.rungs[name],
            settings=settings,
            precomputed=self.frames.precomputed,
            execution=replace(self.execution, folder=self._model(name).parent, resume=resume),
        )

    def _cost(self, strategy: Strategy, most: float) -> Cost:
        """Time what the rung will do in `most` minutes, on a frame of the usual size.

        Raises
        ------
        OptionError
            If the loss cannot act on cached tangents, or the frames are of another functional than what is rehearsed.
        DataError
            If none of the frames to rehearse can be taken.
        """
        graphs, train = self.frames.train_graphs, self.frames.train
        if strategy.replays:
            rehearsing_heads(self.foundation.card, train, ())
        typical, frames = usual_size(graphs)
        rehearsed, edges = forecast(self.foundation, train, self.settings.replay) if strategy.replays else (0, 0.0)
        frames += edges / max(1, graphs[typical].n_edges)
        rate = self.foundation.rate
        settings = fit_defaults(strategy, len(train), self.settings.fit, rate=rate, rehearsed=rehearsed)
        if strategy.cached:
            return self._cost_of_head(typical, most, settings)
        device = devices.training_device()
        backbone = copy.deepcopy(self.foundation)
        backbone.module.to(device).requires_grad_(True)
        objective = self.frames.objective(backbone, self.settings.loss)
        seconds, _ = timed(lambda: objective.losses([typical], device).sum().backward())
        a_pass = seconds * frames / workers(settings.processes) / 60
        passes = min(LEAST_PASSES, settings.epochs or LEAST_PASSES)
        over = f"the training frames{f' and {rehearsed} replay frames' if rehearsed else ''}"
        return Cost(passes * a_pass, words=f"a pass over {over} takes {a_pass:.2g}")

    def _cost_of_head(self, typical: int, most: float, settings: FitSettings) -> Cost:
        """Time the cache of one frame and a step on a batch of its copies."""
        loss, frames = self.settings.loss, self.frames
        require_squares(loss)
        backbone = copy.deepcopy(self.foundation)
        backbone.module.requires_grad_(True)
        plan = plan_directions(backbone, frames.train_graphs, list(self.weights))
        # `adapt` gives the cache half of the minutes, and the fit what the cache leaves.
        directions, before = affordable(
            plan, most / 2, backbone, frames.train, frames.train_graphs, frames.validation_graphs
        )
        cached = cache_tangents(backbone, frames.train[[typical]], [frames.train_graphs[typical]], directions)
        batch = range(settings.batch or 1)
        objective = TangentObjective(backbone, frames.train, loss, cached * len(batch), [], directions)
        seconds, _ = timed(lambda: objective.losses(batch, backbone.device).sum().backward())
        fit = (settings.epochs or 1) * -(-len(frames.train) // len(batch)) * seconds / 60
        words = f"its cache takes {before:.2g}, its steps {fit:.2g}"
        return Cost(LEAST_HEAD * fit, before, ends_itself=True, words=words)

    def _note(self, record: Climb, **changes: object) -> Climb:
        """Return the record with changes, written before the climb goes on."""
        record = record.model_copy(update=changes)
        self.execution.work.mkdir(parents=True, exist_ok=True)
        CLIMB.write(self.execution.work, record)
        return record

    def _end(self, record: Climb) -> Climbed:
        """Name the rung to keep and why the climb ended; read the model back."""
        tuned = [rung for rung in record.rungs if rung.name in self.rungs]
        failed = [rung for rung in tuned if rung.verdict == "failed"]
        if failed and not any(rung.errors for rung in tuned):
            raise RunError(f"no rung could be fitted; {failed[-1].name}: {failed[-1].why}")
        kept = best(record.rungs, self.ladder.target, self.ladder.worth)
        rungs = [r.model_copy(update={"verdict": "kept"}) if r.name == kept.name else r for r in record.rungs]
        last = tuned[-1]
        end = f"{last.name}, the last rung, was {f'{last.verdict}: {last.why}' if last.why else 'climbed'}"
        early = not_worth(record.rungs, self.ladder) if last.why == ENDED else ""
        stopped = target_met(record.rungs, self.ladder) or early or end
        record = self._note(record, rungs=tuple(rungs), kept=kept.name, stopped=stopped)
        return Climbed(self._kept(kept), record)

    def _kept(self, rung: RungResult) -> TunedPotential:
        if rung.name in self.rungs:
            return load_adapted(self.foundation, self.references, self._model(rung.name))
        shift = self.references if rung.name == "shift" else keep_references(self.frames.train)
        return baseline(self.foundation, shift, rung, self.settings.loss)

    def _model(self, name: str) -> Path:
        return self.execution.work / "checkpoints" / name / MODEL

    def _tell(self, rung: RungResult) -> None:
        errors = [
            f"{rung.errors[error_key(name)]:.3g} {POTENTIAL_QUANTITIES[name].report_unit}"
            for name in self.weights
            if error_key(name) in rung.errors
        ]
        words = ", ".join(errors) + f" after {rung.minutes:.1f} min" if errors else f"{rung.verdict}: {rung.why}"
        _log.info("rung %s: %s", rung.name, words)
        if not self.execution.quiet:
            Console(stderr=True).print(f"  {rung.name}: {words}", highlight=False, markup=False)


def _minutes_since(began: float) -> float:
    return (time.monotonic() - began) / 60

"""Climb the ladder: adapt rung by rung, judge each by one loss, stop by the ladder's rules, keep the best model.

    climbed = climb(load("chgnet"), train, validation, settings=FitSettings(max_minutes=30))
    climbed.adapted.backbone        # of the rung that was kept
    climbed.record                  # every rung with its minutes, validation errors and verdict

Each rung is an adaptation of its own from the foundation, not the continuation of the one below: its figures are those
of ``--strategy <rung>`` with the same minutes, its update keeps its rank, and a rung that went astray harms no other.
To go on from `feature` is no sure gain either. Four epochs of `full` on the embedded SiGe frames, from there against
from the foundation, end at validation losses of 0.12 / 0.28, 0.06 / 0.05 and 0.17 / 0.19 on three splits; the test
frames, scored on the last two, have 17 / 9 and 12 / 6 meV/atom, 0.15 / 0.14 and 0.16 / 0.14 eV/Å.

In the run folder each finished rung leaves ``checkpoints/<rung>/model.pt`` and its row in ``ladder.json``. A climb that
was killed goes on with the rung that was under way, from its last checkpoint.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from rich.console import Console

from matgraft.core import devices
from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.files import write_json
from matgraft.core.findings import DROP
from matgraft.core.model import Batch, Encoded
from matgraft.core.processes import cores, timed, workers
from matgraft.core.quantities import POTENTIAL_QUANTITIES, Array
from matgraft.core.training.fit import FitResult
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import Strategy
from matgraft.core.weights import load_tensors, save_tensors
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.numbering import numbers_of_frames
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict
from matgraft.potentials.tuning.adapt import TunedPotential, adapt, refit_references, shift_references
from matgraft.potentials.tuning.defaults import fit_defaults
from matgraft.potentials.tuning.ladder import (
    DEFAULT_MINUTES,
    Cost,
    LadderSettings,
    Record,
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
from matgraft.potentials.tuning.loss import LossSettings, Targets, label_shares, weigh_parts
from matgraft.potentials.tuning.objectives import FrameObjective, error_sums, metrics_of_sums
from matgraft.potentials.tuning.references import ReferenceShift, keep_references, shifted
from matgraft.potentials.tuning.replay import ReplaySettings, forecast
from matgraft.potentials.tuning.tangents import (
    TangentObjective,
    affordable,
    cache_tangents,
    plan_directions,
    require_squares,
    usual_size,
)

Predictions = Sequence[Mapping[str, Array]]
T = TypeVar("T")

FILE = "ladder.json"
ENDED = "the climb had ended"
NO_STEP = "no step was better than the starting weights"
MODEL = "model.pt"
LEAST_PASSES = 2
"""Passes over the training frames below which a fit through the network is not begun. At 1.7 of them, `partial` on the
published Mo frames ended at 29 meV/atom, where `feature` had 6.6."""
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
    record: Record


def climb(
    parent: Potential,
    train: Dataset,
    validation: Dataset,
    *,
    ladder: LadderSettings | None = None,
    rungs: Mapping[str, Strategy] | None = None,
    references: ReferenceShift | None = None,
    loss: LossSettings | None = None,
    settings: FitSettings | None = None,
    replay: ReplaySettings | None = None,
    on_validation: Predictions | None = None,
    folder: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    quiet: bool = True,
) -> Climbed:
    """Fine-tune copies of `parent` by dearer and dearer strategies, and keep the best on `validation`.

    Parameters
    ----------
    rungs
        Name -> strategy, cheap to dear. Default: those that `ladder` names, with their own defaults.
    references, loss
        As of `adapt`. The weights of `loss` judge every rung; a rung may train by others of its own.
    settings
        As of `adapt`, of each fit; but `max_minutes` is that of all rungs together (30 by default).
    replay
        As of `adapt`, of the rungs that rehearse.
    on_validation
        The parent's predictions on `validation`, if at hand.
    folder
        The run folder; `resume` goes on from there. Default: a temporary one.
    quiet
        No progress bars, no line a rung.

    Raises
    ------
    DataError
        If there is nothing to train or validate on.
    OptionError
        If a target names what cannot be judged.
    """
    if not len(train) or not len(validation):
        raise DataError(f"{len(train)} training and {len(validation)} validation frames: both parts need some")
    ladder, loss, settings = ladder or LadderSettings(), loss or LossSettings(), settings or FitSettings()
    weights = loss.weights(train)
    refuse_idle_target(ladder.target, weights, validation)
    weighed, judging = weigh_parts(train, validation, loss)
    encoded, held_out = encode_all(parent, train.samples), encode_all(parent, validation.samples)
    references = references or refit_references(parent, weighed, encoded)
    with tempfile.TemporaryDirectory() as temporary:
        ascent = _Ascent(
            parent, train, validation, judging, label_shares(weighed, weights), encoded, held_out, references, loss,
            weights, settings,
            replay, ladder, rungs or make_rungs(ladder.rungs), folder or Path(temporary), seed, quiet,
        )  # fmt: skip
        return ascent.run(on_validation, resume=resume)


def validation_errors(
    validation: Dataset,
    predictions: Predictions,
    weights: Mapping[str, float],
    loss: LossSettings,
    shares: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return ``validation_loss`` and the RMSE of each weighted quantity, as a fit through the network reports them.

    Parameters
    ----------
    validation
        With the weights that the frames have in the loss.
    shares
        Of the training frames (`label_shares`). Default: those of the validation frames.

    Raises
    ------
    DataError
        If a prediction of a label is not finite.
    """
    _require_finite(validation, predictions, weights)
    counts = torch.tensor([sample.n_atoms for sample in validation])
    owner = torch.repeat_interleave(torch.arange(len(validation)), counts)
    predicted = {name: _joined(name, predictions) for name in weights}
    targets = Targets.of(validation.samples, list(weights))
    sums = error_sums(predicted, targets, Batch(counts, owner), weights, loss)
    return metrics_of_sums(sums, weights, label_shares(validation, weights) if shares is None else shares)


def _require_finite(validation: Dataset, predictions: Predictions, quantities: Iterable[str]) -> None:
    """Raise a DataError that names the first frame whose label has no finite prediction."""
    for i, (sample, prediction) in enumerate(zip(validation, predictions, strict=True)):
        for name in quantities:
            if name in sample.labels and not np.isfinite(prediction.get(name, np.nan)).all():
                raise DataError(
                    f"the prediction of the {name} is not finite, or there is none, and the frame has a label for it",
                    where=sample.where,
                    remedy=f"leave the frame out, take the label away if its cell defines no {name}, "
                    f"or do not weigh the {name}",
                    options=[{DROP["train"]: numbers_of_frames(validation, [i])}, {f"loss.{name}": 0}],
                )


def _joined(name: str, predictions: Predictions) -> torch.Tensor:
    """Join predictions as a backbone gives them for a batch; NaN where a frame without a volume has no stress."""
    quantity = POTENTIAL_QUANTITIES[name]
    values = [prediction.get(name, np.full(quantity.shape, np.nan)) for prediction in predictions]
    return torch.as_tensor(np.concatenate(values) if quantity.per == "atom" else np.stack(values))


@dataclass(frozen=True)
class _Ascent:
    """What all rungs of a climb share."""

    parent: Potential
    train: Dataset
    validation: Dataset
    judging: Dataset
    shares: Mapping[str, float]
    encoded: Sequence[Encoded]
    held_out: Sequence[Encoded]
    references: ReferenceShift
    loss: LossSettings
    weights: Mapping[str, float]
    settings: FitSettings
    replay: ReplaySettings | None
    ladder: LadderSettings
    rungs: Mapping[str, Strategy]
    folder: Path
    seed: int
    quiet: bool

    def run(self, on_validation: Predictions | None, *, resume: bool) -> Climbed:
        """Climb, and return the best rung's model."""
        found = self.folder / FILE
        record = Record.model_validate_json(found.read_text()) if resume and found.is_file() else None
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

    def _baselines(self, known: Predictions | None) -> Record:
        """Judge the foundation as it is, and with its references shifted."""
        untuned = known or predict(self.parent, self.validation.samples, encoded=self.held_out, processes=cores())
        models = {"untuned": untuned, "shift": shifted(self.validation, untuned, self.references)}
        results: list[RungResult] = []
        for name, predictions in models.items():
            result = RungResult(name=name, errors=self._errors(predictions))
            results.append(result.model_copy(update={"gain": gain_of(result.loss, results)}))
            self._tell(results[-1])
        return Record(
            max_minutes=self.settings.max_minutes or DEFAULT_MINUTES,
            target=self.ladder.target,
            worth=self.ladder.worth,
            loss_weights=dict(self.weights),
            rungs=tuple(results),
        )

    def _try(self, record: Record, name: str, ahead: int) -> tuple[Record, RungResult]:
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

    def _fitted(self, record: Record, begun: RungBegun, *, resume: bool) -> RungResult:
        began = time.monotonic()
        try:
            adapted = self._adapt(begun.name, begun.minutes, resume=resume)
            predictions = predict(adapted.backbone, self.validation.samples, encoded=self.held_out, processes=cores())
            errors = self._errors(predictions)
        except (DataError, RunError) as error:  # of this rung: its memory, its rate, a worker that was killed
            return RungResult(name=begun.name, verdict="failed", why=error.found, minutes=_minutes_since(began))
        save_adapted(adapted, self._model(begun.name))
        # Of a rung that was broken off, what came before its first step is counted once.
        minutes = max(_minutes_since(began), adapted.fit.seconds / 60)
        why = "" if adapted.fit.best_step else NO_STEP
        result = RungResult(name=begun.name, errors=errors, minutes=minutes, why=why)
        return result.model_copy(update={"gain": gain_of(result.loss, record.rungs)})

    def _errors(self, predictions: Predictions) -> dict[str, float]:
        return validation_errors(self.judging, predictions, self.weights, self.loss, self.shares)

    def _adapt(self, name: str, minutes: float, *, resume: bool) -> TunedPotential:
        return adapt(
            self.parent,
            self.train,
            self.validation,
            strategy=self.rungs[name],
            references=self.references,
            loss=self.loss,
            settings=self.settings.model_copy(update={"max_minutes": minutes}),
            replay=self.replay if self.rungs[name].replays else None,
            encoded=self.encoded,
            held_out=self.held_out,
            folder=self._model(name).parent,
            seed=self.seed,
            resume=resume,
            quiet=self.quiet,
        )

    def _cost(self, strategy: Strategy, most: float) -> Cost:
        """Time what the rung will do in `most` minutes, on a frame of the usual size.

        Raises
        ------
        OptionError
            If the loss cannot act on cached tangents.
        DataError
            If none of the frames to rehearse can be taken.
        """
        typical, frames = usual_size(self.encoded)
        rehearsed, edges = 0, 0.0
        if strategy.replays:
            rehearsed, edges = forecast(self.parent, self.train, self.replay or ReplaySettings())
        frames += edges / max(1, self.encoded[typical].n_edges)
        settings = fit_defaults(strategy, len(self.train), self.settings, rate=self.parent.rate, rehearsed=rehearsed)
        if strategy.cached:
            return self._cost_of_head(typical, most, settings)
        device = devices.training_device()
        backbone = copy.deepcopy(self.parent)
        backbone.module.to(device).requires_grad_(True)
        objective = FrameObjective(backbone, self.train, self.validation, self.loss, self.encoded, self.held_out)
        seconds, _ = timed(lambda: objective.losses([typical], device).sum().backward())
        a_pass = seconds * frames / workers(settings.processes) / 60
        passes = min(LEAST_PASSES, settings.epochs or LEAST_PASSES)
        over = f"the training frames{f' and {rehearsed} frames to rehearse' if rehearsed else ''}"
        return Cost(passes * a_pass, words=f"a pass over {over} takes {a_pass:.2g}")

    def _cost_of_head(self, typical: int, most: float, settings: FitSettings) -> Cost:
        """Time the cache of one frame and a step on a batch of its copies."""
        require_squares(self.loss)
        backbone = copy.deepcopy(self.parent)
        backbone.module.requires_grad_(True)
        plan = plan_directions(backbone, self.encoded, list(self.weights))
        # `adapt` gives the cache half of the minutes, and the fit what the cache leaves.
        directions, before = affordable(plan, most / 2, backbone, self.train, self.encoded, self.held_out)
        cached = cache_tangents(backbone, self.train[[typical]], [self.encoded[typical]], directions)
        batch = range(settings.batch or 1)
        objective = TangentObjective(backbone, self.train, self.loss, cached * len(batch), [], directions)
        seconds, _ = timed(lambda: objective.losses(batch, backbone.device).sum().backward())
        fit = (settings.epochs or 1) * -(-len(self.train) // len(batch)) * seconds / 60
        words = f"its cache takes {before:.2g}, its steps {fit:.2g}"
        return Cost(LEAST_HEAD * fit, before, ends_itself=True, words=words)

    def _note(self, record: Record, **changes: object) -> Record:
        """Return the record with changes, written before the climb goes on."""
        record = record.model_copy(update=changes)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / FILE, record.model_dump(mode="json"))
        return record

    def _end(self, record: Record) -> Climbed:
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
            return load_adapted(self.parent, self.references, self._model(rung.name))
        shift = self.references if rung.name == "shift" else keep_references(self.train)
        return baseline(self.parent, shift, rung, self.loss)

    def _model(self, name: str) -> Path:
        return self.folder / "checkpoints" / name / MODEL

    def _tell(self, rung: RungResult) -> None:
        if self.quiet:
            return
        errors = [
            f"{rung.errors[error_key(name)]:.3g} {POTENTIAL_QUANTITIES[name].report_unit}"
            for name in self.weights
            if error_key(name) in rung.errors
        ]
        words = ", ".join(errors) + f" after {rung.minutes:.1f} min" if errors else f"{rung.verdict}: {rung.why}"
        Console(stderr=True).print(f"  {rung.name}: {words}", highlight=False, markup=False)


def save_adapted(adapted: TunedPotential, path: Path) -> None:
    """Write a finished adaptation: tensors and plain values."""
    content = {
        "weights": adapted.backbone.module.state_dict(),
        "references": adapted.backbone.references.detach(),  # of some backbones no part of the weights
        "fit": asdict(adapted.fit),
        "step_zero": adapted.step_zero,
        "settings": adapted.settings.model_dump(),
        "loss": adapted.loss.model_dump(),
        "trained": adapted.trained,
        "strategy": adapted.strategy,
        "replay": adapted.replay,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(content, path)


def load_adapted(parent: Potential, references: ReferenceShift, path: Path) -> TunedPotential:
    """Read back what `save_adapted` wrote."""
    content = load_tensors(path)
    backbone = copy.deepcopy(parent)
    backbone.module.load_state_dict(content["weights"])
    backbone.references.data.copy_(content["references"])
    return TunedPotential(
        backbone=_plain(backbone),
        references=references,
        fit=FitResult(**content["fit"]),
        step_zero=content["step_zero"],
        settings=FitSettings(**content["settings"]),
        loss=LossSettings(**content["loss"]),
        trained=content["trained"],
        strategy=content["strategy"],
        replay=content["replay"],
    )


def baseline(parent: Potential, shift: ReferenceShift, rung: RungResult, loss: LossSettings) -> TunedPotential:
    """Return the shifted foundation as an adaptation that trained nothing."""
    backbone = copy.deepcopy(parent)
    shift_references(backbone, shift)
    row = {"step": 0, "epoch": 0.0, "seconds": 0.0, "learning_rate": 0.0, "train_loss": 0.0, **rung.errors}
    fit = FitResult([row], 0, rung.loss, "nothing was trained", 0, 0.0, 0.0, 1)
    zero = {"max_energy_difference_eV_per_atom": 0.0, "max_force_difference_eV_per_A": 0.0, "n_frames": 0.0}
    return TunedPotential(_plain(backbone), shift, fit, zero, FitSettings(), loss, 0, rung.name)


def _plain(backbone: Potential) -> Potential:
    """Return the model as a fit leaves it: on the CPU wherever its parent lies, frozen, in evaluation mode."""
    backbone.module.to("cpu").requires_grad_(False)
    backbone.module.eval()
    return backbone


def _minutes_since(began: float) -> float:
    return (time.monotonic() - began) / 60

"""Adapt a backbone to a training set by a strategy: references, preparation, step 0, fit, finish.

result = adapt(load("chgnet"), train, validation, strategy="full", max_minutes=20)
result.backbone        # tuned, plain, ready to predict and to save
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ase.data import atomic_numbers
from torch import Tensor

from matgraft.core.errors import DataError, OptionError
from matgraft.core.model import Encoded
from matgraft.core.processes import cores
from matgraft.core.quantities import Array
from matgraft.core.run_folder import RunFile
from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.objective import FitResult, Objective
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import ParamGroup, Strategy, make_strategy, through_network
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import frames_by_head, head_names, require_heads
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.tuning.defaults import fit_defaults, loss_defaults
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.potentials.tuning.loss import LossSettings, weigh_moments, weigh_parts
from matgraft.potentials.tuning.memory import bound_by_memory
from matgraft.potentials.tuning.objectives import FrameObjective
from matgraft.potentials.tuning.references import HeadShifts, References, ReferenceShift, refit_or_keep, shift_heads
from matgraft.potentials.tuning.replay import WEIGHT as REPLAY_WEIGHT
from matgraft.potentials.tuning.replay import (
    Rehearsal,
    ReplayObjective,
    ReplaySettings,
    rehearses,
    rehearsing_heads,
    replay_frames,
    share_out,
    shifted_labels,
)
from matgraft.potentials.tuning.settings import Precomputed, TuneSettings
from matgraft.potentials.tuning.step_zero import StepZero, check_heads, check_replay
from matgraft.potentials.tuning.tangents import (
    Directions,
    TangentObjective,
    affordable,
    cache_tangents,
    plan_directions,
    require_squares,
)

DIRECTIONS = "directions.json"


@dataclass(frozen=True)
class TunedPotential:
    """What came of an adaptation.

    Attributes
    ----------
    backbone
        The tuned model, a `MultiHeadPotential` where there are several heads. The foundation is untouched.
    references
        The reference shift that it starts from, or that of each head.
    step_zero
        Largest differences to the foundation, up to the shift, before the first step; over all heads.
    settings, loss
        The fit's, with every default filled in.
    trained
        Number of parameters that learned.
    strategy
        Its name.
    replay
        What was rehearsed; None where nothing was.
    """

    backbone: Potential
    references: References
    fit: FitResult
    step_zero: StepZero
    settings: FitSettings
    loss: LossSettings
    trained: int
    strategy: str
    replay: Rehearsal | None = None

    @property
    def total(self) -> int:
        """Number of all parameters."""
        return sum(parameter.numel() for parameter in self.backbone.module.parameters())


def adapt(
    foundation: Potential,
    train: Dataset,
    validation: Dataset,
    *,
    strategy: str | Strategy = "full",
    settings: TuneSettings | None = None,
    precomputed: Precomputed | None = None,
    execution: Execution | None = None,
    **options: Any,
) -> TunedPotential:
    """Fine-tune a copy of `foundation`.

    Parameters
    ----------
    strategy
        A name or a strategy, see `matgraft.core.training.strategy`.
    options
        Fields of `TuneSettings`, such as ``loss=LossSettings(energy=10)``, or of its `fit`: ``max_minutes=10``.

    Raises
    ------
    DataError
        If there is nothing to train or validate on, as a whole or for a head: no frame, or none that has a label and
        a weight in the loss.
    StepZeroError
        If the prepared model does not equal its foundation up to the shift.
    """
    require_frames(train, validation)
    # 1. What is asked, with every default filled in.
    chosen = make_strategy(strategy) if isinstance(strategy, str) else strategy
    settings, known = (settings or TuneSettings()).updated(**options), precomputed or Precomputed()
    execution = replace(execution or Execution(), title=chosen.name)
    loss = loss_defaults(chosen, weigh_moments(settings.loss, train, tuple(foundation.quantities)), train)
    heads = settings.heads or chosen.branches or bool(settings.foundation_head)
    train, validation = weigh_parts(train, validation, loss, by_head=heads)
    # 2. The model, and the frames as it takes them.
    backbone = copy.deepcopy(foundation)
    backbone.folder = None  # what lies there is of other weights
    if heads:
        backbone = _with_heads(backbone, chosen, train, validation, settings.foundation_head)
    rehearsed = _rehearsed(chosen, settings.replay, (foundation, backbone), train, execution)
    fitting = fit_defaults(chosen, len(train), settings.fit, rate=foundation.rate, rehearsed=len(rehearsed))
    title = "" if execution.quiet else f"graphs of {len(train)} frames"
    encoded = known.train_graphs or encode_all(backbone, train.samples, processes=cores(), progress=title)
    held_out = known.validation_graphs or encode_all(backbone, validation.samples, processes=cores())
    # 3. Step 0 is the foundation, up to the shift of its references.
    references = settings.references or _refit(backbone, foundation, train, encoded, known.on_train)
    rehearsal = None
    shift_references(backbone, references)
    groups = [*chosen.prepare(backbone, seed=execution.seed), *_other_readouts(backbone, loss.weights(train))]
    step_zero = check_heads(foundation, backbone, references, train, encoded)
    # 4. The fit.
    with execution.in_folder() as placed:
        objective: Objective
        began = time.monotonic()
        through = FrameObjective(backbone, train, validation, loss, encoded, held_out)
        if chosen.cached:
            objective = _cached_objective(through, fitting, placed)
        elif len(rehearsed):
            objective, rehearsal = _with_replay(through, shifted_labels(rehearsed, references), settings.replay)
        else:
            objective = through
        if isinstance(objective, FrameObjective):
            fitting = bound_by_memory(objective, groups, fitting)
        spent = time.monotonic() - began if chosen.cached else 0.0
        result = fit(objective, backbone.module, groups, fitting, placed, l2=loss.l2, keep="sound", spent=spent)
    fitting = fitting.model_copy(update=result.batches)
    finished = chosen.finish(backbone)
    assert isinstance(finished, Potential)
    if rehearsal:
        at_best = next(row["replay_loss"] for row in result.history if row["step"] == result.best_step)
        rehearsal = rehearsal.model_copy(update={"loss_at_best": at_best})
    trained = _size(groups)
    return TunedPotential(finished, references, result, step_zero, fitting, loss, trained, chosen.name, rehearsal)


def require_frames(train: Dataset, validation: Dataset) -> None:
    """Raise a DataError unless both parts have frames."""
    if not len(train) or not len(validation):
        raise DataError(f"{len(train)} training and {len(validation)} validation frames: both parts need some")


def refit_references(
    foundation: Potential,
    train: Dataset,
    encoded: Sequence[Encoded],
    predictions: Sequence[Mapping[str, Array]] | None = None,
) -> ReferenceShift:
    """Fit the shift of the elements' energies on the foundation's residuals; keep it where no frame has an energy."""
    return refit_or_keep(train, predictions or _energies(foundation, train, encoded))


def shift_references(backbone: Potential, references: References) -> None:
    """Add a shift to the model's reference energies, or each head's to its own, in place.

    Raises
    ------
    OptionError
        If the model has several heads and the shift is not one for each of them, or the other way round.
    """
    heads = backbone.names if isinstance(backbone, MultiHeadPotential) else ()
    given = tuple(references.heads) if isinstance(references, HeadShifts) else ()
    if set(heads) != set(given):
        raise OptionError(
            f"references for {', '.join(given) or 'one model'}", allowed=[", ".join(heads) or "one ReferenceShift"]
        )
    if isinstance(backbone, MultiHeadPotential) and isinstance(references, HeadShifts):
        for name, shift in references.heads.items():
            _add(shift, backbone.references_at(name))
    elif isinstance(references, ReferenceShift):
        _add(references, backbone.references)


def _add(shift: ReferenceShift, energies: Tensor) -> None:
    for symbol, value in shift.shift_eV.items():
        energies.data[atomic_numbers[symbol] - 1] += value


def _other_readouts(backbone: Potential, weights: Mapping[str, float]) -> list[ParamGroup]:
    """Return the readouts of what is weighed beside the energy and its derivatives, and let them learn."""
    stages = [stage for quantity, stage in backbone.other_readouts.items() if quantity in weights]
    for stage in stages:
        for parameter in stage.parameters().values():
            parameter.requires_grad_(True)
    return [ParamGroup(stage.name, stage.parameters()) for stage in stages]


def _with_heads(
    base: Potential, strategy: Strategy, train: Dataset, validation: Dataset, foundation: bool | None
) -> MultiHeadPotential:
    if strategy.cached:
        raise OptionError(f"{strategy.name!r} caches the features of one head", allowed=through_network())
    many = MultiHeadPotential(base, head_names(train, foundation))
    require_heads(train, validation)
    return many


def _rehearsed(
    strategy: Strategy,
    replay: ReplaySettings,
    models: tuple[Potential, Potential],
    train: Dataset,
    execution: Execution,
) -> Dataset:
    """Return the frames to rehearse, shared out to the heads where there are several; none where nothing is rehearsed.

    Parameters
    ----------
    models
        The foundation, which labels the frames, and the model that rehearses them.
    """
    foundation, backbone = models
    names = backbone.names if isinstance(backbone, MultiHeadPotential) else ()
    if not rehearses(strategy, replay, names):
        return train[:0]
    heads = rehearsing_heads(foundation.card, train, names)
    frames = replay_frames(foundation, train, replay, folder=execution.folder, quiet=execution.quiet)
    return share_out(frames, heads) if names else frames


def _with_replay(
    through: FrameObjective, rehearsed: Dataset, replay: ReplaySettings
) -> tuple[ReplayObjective, Rehearsal]:
    """Add the frames to rehearse to an objective, and say how many there are, their weight and their loss."""
    weight = replay.weight or REPLAY_WEIGHT
    both, labels = ReplayObjective(through, rehearsed, weight), replay.labels or "foundation"
    loss = check_replay(both) if labels == "foundation" else both.replay_metrics()["replay_loss"]
    heads = tuple(frames_by_head(rehearsed)) if isinstance(both.backbone, MultiHeadPotential) else ()
    return both, Rehearsal(n_frames=len(rehearsed), weight=weight, loss_at_start=loss, labels=labels, heads=heads)


def _refit(
    backbone: Potential,
    foundation: Potential,
    train: Dataset,
    encoded: Sequence[Encoded],
    predictions: Sequence[Mapping[str, Array]] | None,
) -> References:
    if not isinstance(backbone, MultiHeadPotential):
        return refit_references(foundation, train, encoded, predictions)
    known = predictions or _energies(foundation, train, encoded)

    def shift(part: Dataset, frames: Sequence[int]) -> ReferenceShift:
        return refit_or_keep(part, [known[i] for i in frames if known])

    return shift_heads(train, shift, backbone.names)


def _energies(foundation: Potential, train: Dataset, encoded: Sequence[Encoded]) -> Sequence[Mapping[str, Array]]:
    return predict_samples(foundation, train.samples, ("energy",), encoded=encoded) if train.count("energy") else ()


def _cached_objective(through: FrameObjective, settings: FitSettings, execution: Execution) -> TangentObjective:
    """Cache features and tangents of both parts of an objective through the network."""
    require_squares(through.settings)  # before minutes go into the cache
    directions = _directions(through, settings, execution)
    parts = [(through.train, through.training), (through.held_out, through.validation)]
    cached = [
        cache_tangents(
            through.backbone,
            part,
            graphs,
            directions,
            seed=execution.seed + 1 + i,
            processes=cores(),
            progress="" if execution.quiet else f"features and tangents of {len(part)} frames",
        )
        for i, (part, graphs) in enumerate(parts)
    ]
    return TangentObjective(through.backbone, through.train, through.settings, cached[0], cached[1], directions)


def _directions(through: FrameObjective, settings: FitSettings, execution: Execution) -> Directions:
    """Plan the cache: in half of the minutes, if there are any. A resumed run has the plan that it began with."""
    kept = RunFile(DIRECTIONS, Directions)
    file = execution.work / DIRECTIONS
    if execution.resume and file.is_file():
        return kept.read(execution.work)
    backbone, encoded, held_out = through.backbone, through.training, through.validation
    directions = plan_directions(backbone, encoded, list(through.weights))
    if settings.max_minutes is not None:
        directions, _ = affordable(directions, settings.max_minutes / 2, backbone, through.train, encoded, held_out)
    execution.work.mkdir(parents=True, exist_ok=True)
    kept.write(execution.work, directions)
    return directions


def _size(groups: Sequence[ParamGroup]) -> int:
    return sum(parameter.numel() for group in groups for parameter in group.parameters.values())

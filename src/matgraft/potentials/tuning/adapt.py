"""Adapt a backbone to a training set by a strategy: references, preparation, step 0, fit, finish.

result = adapt(load("chgnet"), train, validation, strategy="full", max_minutes=20)
result.backbone        # tuned, plain, ready to predict and to save
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers
from torch import Tensor

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.files import write_json
from matgraft.core.model import Encoded
from matgraft.core.processes import cores
from matgraft.core.quantities import Array
from matgraft.core.training.fit import FitResult, Objective, fit
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import ParamGroup, Strategy, make_strategy, through_network
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import frames_by_head, require_heads
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict
from matgraft.potentials.tuning.defaults import fit_defaults, loss_defaults
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.potentials.tuning.loss import LossSettings, weigh_parts
from matgraft.potentials.tuning.memory import bound_by_memory
from matgraft.potentials.tuning.objectives import FrameObjective
from matgraft.potentials.tuning.references import HeadShifts, References, ReferenceShift, refit_or_keep, shift_heads
from matgraft.potentials.tuning.replay import WEIGHT as REPLAY_WEIGHT
from matgraft.potentials.tuning.replay import (
    ReplayObjective,
    ReplaySettings,
    deal,
    rehearses,
    replay_frames,
    shifted_labels,
)
from matgraft.potentials.tuning.step_zero import check_heads, check_replay
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
        The tuned model, a `MultiHeadPotential` where there are several heads. The parent is untouched.
    references
        The reference shift that it starts from, or that of each head.
    step_zero
        Largest differences to the parent, up to the shift, before the first step; over all heads.
    settings, loss
        The fit's, with every default filled in.
    trained
        Number of parameters that learned.
    strategy
        Its name.
    replay
        Where frames were rehearsed: how many, their weight, their mean loss at the start and at the best step.
    """

    backbone: Potential
    references: References
    fit: FitResult
    step_zero: dict[str, float]
    settings: FitSettings
    loss: LossSettings
    trained: int
    strategy: str
    replay: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of all parameters."""
        return sum(parameter.numel() for parameter in self.backbone.module.parameters())


def adapt(
    parent: Potential,
    train: Dataset,
    validation: Dataset,
    *,
    strategy: str | Strategy = "full",
    stages: Sequence[str] = (),
    references: References | None = None,
    loss: LossSettings | None = None,
    settings: FitSettings | None = None,
    replay: ReplaySettings | None = None,
    heads: bool = False,
    predictions: Sequence[Mapping[str, Array]] | None = None,
    encoded: Sequence[Encoded] | None = None,
    held_out: Sequence[Encoded] | None = None,
    folder: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    quiet: bool = True,
    **fit_options: Any,
) -> TunedPotential:
    """Fine-tune a copy of `parent`.

    Parameters
    ----------
    strategy, stages
        See `matgraft.core.training.strategy`.
    references
        Shift of the elements' energies, or of each head's. Default: refitted on the parent's residuals over `train`;
        kept where no frame has an energy.
    loss, settings
        See `LossSettings` and `FitSettings`; what is None follows from strategy and data.
    replay
        What is rehearsed, see `matgraft.potentials.tuning.replay`. Default: nothing, but with strategy `replay`.
    heads
        A readout and reference energies for each value of the frames' tag ``head``, as strategy `multihead` always has.
    predictions
        The parent's on `train`, if at hand.
    encoded, held_out
        The frames of `train` and of `validation` as `Potential.encode` gave them, if at hand.
    folder
        Where checkpoints go; `resume` goes on from there. Default: a temporary one.
    fit_options
        Fields of `FitSettings`, such as ``max_minutes=10``.

    Raises
    ------
    DataError
        If there is nothing to train or validate on, as a whole or for a head: no frame, or none that has a label and
        a weight in the loss.
    StepZeroError
        If the prepared model does not equal its parent up to the shift.
    """
    if not len(train) or not len(validation):
        raise DataError(f"{len(train)} training and {len(validation)} validation frames: both parts need some")
    chosen = _chosen(strategy, stages)
    loss = loss_defaults(chosen, loss or LossSettings(), train)
    train, validation = weigh_parts(train, validation, loss, by_head=heads or chosen.branches)
    backbone = copy.deepcopy(parent)
    if heads or chosen.branches:
        backbone = _with_heads(backbone, chosen, train, validation)
    replay = replay or ReplaySettings()
    rehearsed = _rehearsed(chosen, replay, parent, backbone, train, folder, quiet)
    settings = _with_options(settings or FitSettings(), fit_options)
    settings = fit_defaults(chosen, len(train), settings, rate=parent.rate, rehearsed=len(rehearsed))
    title = "" if quiet else f"graphs of {len(train)} frames"
    encoded = encoded or encode_all(backbone, train.samples, processes=cores(), progress=title)
    held_out = held_out or encode_all(backbone, validation.samples, processes=cores())
    references = references or _refit(backbone, parent, train, encoded, predictions)

    facts: dict[str, float] = {}
    shift_references(backbone, references)
    groups = chosen.prepare(backbone, seed=seed)
    step_zero = check_heads(parent, backbone, references, train, encoded)

    with tempfile.TemporaryDirectory() as temporary:
        work = folder or Path(temporary)
        objective: Objective
        began = time.monotonic()
        if chosen.cached:
            require_squares(loss)  # before minutes go into the cache
            directions = _directions(backbone, train, loss, (encoded, held_out), settings, work, resume)
            objective = _cached_objective(
                backbone, (train, validation), loss, (encoded, held_out), directions, seed, quiet
            )
        else:
            through = FrameObjective(backbone, train, validation, loss, encoded, held_out)
            if len(rehearsed):
                through, facts = _with_replay(through, shifted_labels(rehearsed, references), replay)
            objective = through
            settings = bound_by_memory(through, groups, settings)
        result = fit(
            objective,
            backbone.module,
            groups,
            settings,
            folder=work,
            l2=loss.l2,
            seed=seed,
            resume=resume,
            judge_start=True,
            spent=time.monotonic() - began if chosen.cached else 0.0,
            title=chosen.name,
            quiet=quiet,
        )
    settings = settings.model_copy(update=result.batches)
    finished = chosen.finish(backbone)
    assert isinstance(finished, Potential)
    if facts:
        facts["loss_at_best"] = next(row["replay_loss"] for row in result.history if row["step"] == result.best_step)
    return TunedPotential(finished, references, result, step_zero, settings, loss, _size(groups), chosen.name, facts)


def _chosen(strategy: str | Strategy, stages: Sequence[str]) -> Strategy:
    """Return the strategy of a name, on these stages, or the one that is already made."""
    if isinstance(strategy, str):
        return make_strategy(strategy, stages)
    if stages:
        raise OptionError("stages would do nothing beside a strategy that is already made", remedy="Partial(stages)")
    return strategy


def refit_references(
    parent: Potential,
    train: Dataset,
    encoded: Sequence[Encoded],
    predictions: Sequence[Mapping[str, Array]] | None = None,
) -> ReferenceShift:
    """Fit the shift of the elements' energies on the parent's residuals; keep it where no frame has an energy."""
    return refit_or_keep(train, predictions or _energies(parent, train, encoded))


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


def _with_heads(base: Potential, strategy: Strategy, train: Dataset, validation: Dataset) -> MultiHeadPotential:
    if strategy.cached:
        raise OptionError(f"{strategy.name!r} caches the features of one head", allowed=through_network())
    many = MultiHeadPotential(base, list(frames_by_head(train)))
    require_heads(train, validation)
    return many


def _rehearsed(
    strategy: Strategy,
    replay: ReplaySettings,
    parent: Potential,
    backbone: Potential,
    train: Dataset,
    folder: Path | None,
    quiet: bool,
) -> Dataset:
    """Return the frames to rehearse, dealt to the heads where there are several; none where nothing is rehearsed."""
    if not rehearses(strategy, replay):
        return train[:0]
    frames = replay_frames(parent, train, replay, folder=folder, quiet=quiet)
    return deal(frames, backbone.names) if isinstance(backbone, MultiHeadPotential) else frames


def _with_replay(
    through: FrameObjective, rehearsed: Dataset, replay: ReplaySettings
) -> tuple[ReplayObjective, dict[str, float]]:
    """Add the frames to rehearse to an objective, and say how many there are, their weight and their loss."""
    weight = replay.weight or REPLAY_WEIGHT
    both = ReplayObjective(through, rehearsed, weight)
    return both, {"n_frames": len(rehearsed), "weight": weight, "loss_at_start": check_replay(both)}


def _refit(
    backbone: Potential,
    parent: Potential,
    train: Dataset,
    encoded: Sequence[Encoded],
    predictions: Sequence[Mapping[str, Array]] | None,
) -> References:
    if not isinstance(backbone, MultiHeadPotential):
        return refit_references(parent, train, encoded, predictions)
    known = predictions or _energies(parent, train, encoded)
    return shift_heads(train, lambda part, frames: refit_or_keep(part, [known[i] for i in frames if known]))


def _energies(parent: Potential, train: Dataset, encoded: Sequence[Encoded]) -> Sequence[Mapping[str, Array]]:
    return predict(parent, train.samples, ("energy",), encoded=encoded) if train.count("energy") else ()


def _directions(
    backbone: Potential,
    train: Dataset,
    loss: LossSettings,
    encoded: tuple[Sequence[Encoded], Sequence[Encoded]],
    settings: FitSettings,
    folder: Path,
    resume: bool,
) -> Directions:
    """Plan the cache: in half of the minutes, if there are any. A resumed run has the plan that it began with."""
    file = folder / DIRECTIONS
    if resume and file.is_file():
        return Directions(**json.loads(file.read_text(encoding="utf-8")))
    directions = plan_directions(backbone, encoded[0], list(loss.weights(train)))
    if settings.max_minutes is not None:
        directions, _ = affordable(directions, settings.max_minutes / 2, backbone, train, *encoded)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, asdict(directions))
    return directions


def _cached_objective(
    backbone: Potential,
    parts: tuple[Dataset, Dataset],
    loss: LossSettings,
    encoded: tuple[Sequence[Encoded], Sequence[Encoded]],
    directions: Directions,
    seed: int,
    quiet: bool,
) -> TangentObjective:
    cached = [
        cache_tangents(
            backbone,
            part,
            graphs,
            directions,
            seed=seed + 1 + i,
            processes=cores(),
            progress="" if quiet else f"features and tangents of {len(part)} frames",
        )
        for i, (part, graphs) in enumerate(zip(parts, encoded, strict=True))
    ]
    return TangentObjective(backbone, parts[0], loss, cached[0], cached[1], directions)


def _with_options(settings: FitSettings, options: Mapping[str, Any]) -> FitSettings:
    for name in options:
        if name not in FitSettings.model_fields:
            raise OptionError(f"unknown option {name!r}", remedy=nearest(name, FitSettings.model_fields))
    return FitSettings(**{**settings.model_dump(), **options})


def _size(groups: Sequence[ParamGroup]) -> int:
    return sum(parameter.numel() for group in groups for parameter in group.parameters.values())

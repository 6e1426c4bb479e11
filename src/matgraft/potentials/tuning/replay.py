"""Replay: what the foundation knew is rehearsed beside the user's frames, so that it is not forgotten.

    L = L_target + weight * L_replay          each a mean over its own frames, times their weights

The replay frames are structures made offline (`matgraft.potentials.data.structures`), or the user's file, labelled by
the foundation itself: nothing is fetched, and at step 0 their loss is zero. Their weight counts against the target's as
a whole, however many they are. The criterion stays the user's validation frames. With ``labels="file"`` the labels of
the user's file are the targets, such as those that the foundation was trained on.

Where a model has the foundation's own head, it alone rehearses. Else each head rehearses a part of the frames
(`share_out`), but for those whose frames are of another functional than the foundation: labels of two potential energy
surfaces are never mixed in one head (`rehearsing_heads`).

Source: pseudo-labelled replay keeps a tuned potential whole off its training data (arXiv:2606.12704).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.findings import blocking
from matgraft.core.frozen import Frozen
from matgraft.core.model import ModelCard
from matgraft.core.processes import cores
from matgraft.core.quantities import ENERGY, FORCES
from matgraft.core.training.strategy import Strategy, through_network
from matgraft.potentials.audit.audit import COMPARED, run_looks
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.heads import FOUNDATION, HEAD_TAG, frames_by_head
from matgraft.potentials.data.lazy import Samples
from matgraft.potentials.data.levels import contradicting
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.reading.theory_fields import functional
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.structures import make_structures
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_all, predict_samples
from matgraft.potentials.models.pseudolabels import diverse, encodable, made_frames, own_frames, structure_features
from matgraft.potentials.tuning.loss import label_shares
from matgraft.potentials.tuning.objectives import FrameObjective, metrics_of_sums
from matgraft.potentials.tuning.references import References

WEIGHT = 1.0
FEWEST, MOST = 64, 256
"""Bounds of the default size, which is the number of training frames."""
CANDIDATES = 3
"""Structures made for each one taken."""
SEED = 0
"""Of the structures. Not the run's: one set serves all runs with the same foundation and elements."""
FORECAST = 64
"""Frames by which the size of all is forecast, before any is labelled."""
FARTHEST = 0.25
"""eV/atom between the labels of a file and the foundation (median) above which they are of two conventions: what the
audit takes for two levels of theory."""
WATCHED = 24
"""Replay frames whose loss is followed at every validation: small cells, a second of CHGNet in all."""


class ReplaySettings(Frozen):
    """What is rehearsed. None means: the default of strategy `replay`; nothing is rehearsed by the others."""

    size: int | None = Field(None, ge=1)
    """Frames. Default: as many as there are for training, from 64 to 256; all of a file."""
    weight: float | None = Field(None, gt=0)
    """Of the replay frames' mean loss against that of the target's. Default: 1."""
    file: str | None = None
    """Frames to rehearse in place of those made."""
    labels: Literal["foundation", "file"] | None = None
    """Whose labels the frames of the file have: the foundation's, the default, or their own."""


class Rehearsal(Frozen):
    """What was rehearsed.

    Attributes
    ----------
    n_frames, weight
        Replay frames, and the weight of their mean loss against that of the target's.
    loss_at_start, loss_at_best
        Their mean loss before the first step and at the best one; the second is None before the fit.
    labels
        Whose labels they have: the foundation's, or those of their file.
    heads
        That rehearse; none where the model has one.
    """

    n_frames: int
    weight: float
    loss_at_start: float
    loss_at_best: float | None = None
    labels: Literal["foundation", "file"] = "foundation"
    heads: tuple[str, ...] = ()


def rehearses(strategy: Strategy, settings: ReplaySettings, heads: Sequence[str] = ()) -> bool:
    """Say whether a fit has replay frames: where it is asked for, and where the foundation has its own head.

    Parameters
    ----------
    heads
        Names of the model's heads.

    Raises
    ------
    OptionError
        If an option of replay is not read.
    """
    if settings.labels is not None and settings.file is None:
        raise OptionError(
            f"replay.labels={settings.labels} is not read without replay.file",
            remedy="made structures have the foundation's labels alone",
            options=[{"replay.labels": None}],
        )
    asked = strategy.replays or settings.size is not None or FOUNDATION in heads
    if asked and strategy.cached:
        reason = f"replay is not possible with {strategy.name!r}: its features are cached"
        raise OptionError(reason, allowed=through_network())
    if not asked and (idle := [key for key, value in settings.model_dump().items() if value is not None]):
        raise OptionError(
            f"replay.{idle[0]} is not read: this run has no replay",
            allowed=["strategy.name=replay", "replay.size=N beside another strategy", "heads.foundation=true"],
        )
    return asked


def rehearsing_heads(card: ModelCard, train: Dataset, heads: Sequence[str]) -> list[str]:
    """Return the heads that rehearse: the foundation's own, else those whose frames are of its functional.

    Parameters
    ----------
    card
        Of the foundation.
    heads
        Names of the model's heads; none where it has one, which is returned without a name.

    Raises
    ------
    OptionError
        If every head learns another functional than the foundation's.
    """
    if FOUNDATION in heads:
        return [FOUNDATION]
    others = contradicting(card.theory, train)
    members = frames_by_head(train) if heads else {"": range(len(train))}
    found = [name for name in members if not others.keys() & set(members[name])]
    if not found:
        names = " and ".join(dict.fromkeys(others.values()))
        raise OptionError(
            f"the frames are of {names}, {card.name} is of {functional(card.theory)}: labels of the "
            "foundation are never used for a head of another functional",
            remedy="give the foundation its own head, which uses replay, or use no replay",
            options=[{"heads.foundation": True}],
        )
    return found


def replay_frames(
    foundation: Potential, train: Dataset, settings: ReplaySettings, *, folder: Path | None = None, quiet: bool = True
) -> Dataset:
    """Return the frames to rehearse, labelled by the foundation (`matgraft.potentials.models.pseudolabels`) or a file.

    Parameters
    ----------
    train
        The target's frames: their elements, and how many they are.
    folder
        Where the set is kept beside the cache, so that a resumed run has the same.
    """
    title = "" if quiet else "replay frames"
    if settings.file is not None and settings.labels == "file":
        return _with_labels_of_file(foundation, read_rehearsed(settings.file, foundation.card), settings.size, title)
    if settings.file is not None:
        return own_frames(foundation, read(settings.file, want=()), settings.size, folder=folder, progress=title)
    return made_frames(
        foundation,
        train.elements(),
        _default_size(train, settings),
        candidates=CANDIDATES,
        seed=SEED,
        folder=folder,
        progress=title,
    )


def read_rehearsed(file: str, card: ModelCard) -> Dataset:
    """Read frames to rehearse by their own labels.

    Raises
    ------
    DataError
        If one has none, or they are of another functional than the foundation.
    """
    frames = read(file, want=())
    bare = [i for i, sample in enumerate(frames) if not {ENERGY.name, FORCES.name} & sample.labels.keys()]
    if bare:
        raise DataError(
            f"{len(bare)} of {len(frames)} replay frames have neither an energy nor forces under a known name",
            where=frames[bare[0]].where,
            remedy="name them energy and forces (REF_energy and REF_forces are known too), or let the foundation label",
            options=[{"replay.labels": "foundation"}],
        )
    if others := contradicting(card.theory, frames):
        first = min(others)
        raise DataError(
            f"{len(others)} of {len(frames)} replay frames are of {others[first]}, and {card.name} is of "
            f"{functional(card.theory)}: labels of another functional do not preserve it",
            where=frames[first].where,
            remedy="train on them, each level of theory with a head, or let the foundation label their structures",
            options=[{"replay.labels": "foundation"}],
        )
    return frames


def _with_labels_of_file(foundation: Potential, frames: Dataset, size: int | None, title: str) -> Dataset:
    """Choose frames with their own labels, the most diverse, and hold these against the foundation."""
    taken, encoded = encodable(foundation, frames)
    chosen = list(range(len(taken)))
    if size is not None and size < len(taken):
        chosen = diverse(structure_features(foundation, encoded, title), size)
    taken, encoded = taken[chosen], [encoded[i] for i in chosen]
    known = predict_samples(foundation, taken.samples, encoded=encoded, processes=cores(), progress=title)
    causes = [DataError(f"{one.code}: {one.evidence}") for one in blocking(run_looks(taken, known, looks=COMPARED))]
    pairs = [(s, float(one[ENERGY.name])) for s, one in zip(taken, known, strict=True) if ENERGY.name in s.labels]
    apart = np.median([abs(float(s.labels[ENERGY.name]) - energy) / s.n_atoms for s, energy in pairs] or [0.0])
    if not apart <= FARTHEST:
        words = f"their energies are {apart:.2f} eV/atom from the foundation's (median; allowed: {FARTHEST:g})"
        causes.append(DataError(f"{words}: other reference energies, or other energy corrections"))
    if causes:
        raise DataError(
            "the labels of the replay frames do not have the convention of the foundation",
            where=taken[0].file,
            causes=causes,
            remedy="put the file right, or let the foundation label its structures",
            options=[{"replay.labels": "foundation"}],
        )
    return taken


def forecast(foundation: Potential, train: Dataset, settings: ReplaySettings) -> tuple[int, float]:
    """Return how many frames would be rehearsed, and their edges in all, by a few of them; nothing is labelled."""
    if settings.file is not None:
        frames = read(settings.file, want=())
        size = min(settings.size or len(frames), len(frames))
    else:
        size = _default_size(train, settings)
        frames = make_structures(train.elements(), foundation.card.elements, FORECAST, seed=SEED)
    some = np.unique(np.linspace(0, len(frames) - 1, FORECAST).astype(int)).tolist()
    _, encoded = encodable(foundation, frames[some])
    return size, size * float(np.mean([one.n_edges for one in encoded]))


def _default_size(train: Dataset, settings: ReplaySettings) -> int:
    return settings.size or min(MOST, max(FEWEST, len(train)))


def share_out(frames: Dataset, heads: Sequence[str]) -> Dataset:
    """Give each frame to one of the heads, chemistry by chemistry and kind by kind, so that all get like shares.

    Raises
    ------
    OptionError
        If a head would get none.
    """
    if len(frames) < len(heads):
        raise OptionError(f"{len(frames)} replay frames for {len(heads)} heads", allowed=[f"{len(heads)} or more"])
    kinds = list(zip(frames.tag("chemistry"), frames.tag("config_type"), strict=True))
    order = sorted(range(len(frames)), key=lambda i: kinds[i])
    hands = {name: frames[order[k :: len(heads)]] for k, name in enumerate(heads)}
    return concatenate([under(name, hand) for name, hand in hands.items()])


def under(head: str, frames: Dataset) -> Dataset:
    """Return frames as those of a head."""
    return frames.map(partial(_under, head))


def _under(head: str, sample: Sample) -> Sample:
    return sample.with_tags(**{HEAD_TAG: head})


def shifted_labels(frames: Dataset, references: References) -> Dataset:
    """Move energies by the reference shift that the tuned model starts from, or that of each frame's head."""

    def moved(sample: Sample) -> Sample:
        energy = sample.labels.get(ENERGY.name)
        return sample if energy is None else sample.with_labels(energy=energy + references.of(sample))

    return frames.map(moved)


def weighed(train: Dataset, replay: Dataset, weight: float) -> Dataset:
    """Join both parts so that the mean loss of all frames is ``L_target + weight * L_replay``.

    The weights of the replay frames sum up to `weight` times those of the target's, and those of the target's to the
    same mean that they would have alone.
    """
    both = len(train) + len(replay)
    target = sum(sample.weight for sample in train)
    share = weight * target * both / (len(train) * len(replay))
    stretched = train.map(lambda sample: sample.weighing(sample.weight * both / len(train)))
    rehearsed = replay.map(lambda sample: sample.weighing(share))
    return Dataset(Samples.joined([stretched.samples, rehearsed.samples]), train.provenance)


class ReplayObjective(FrameObjective):
    """Losses of the target's frames and of those rehearsed, in one set of batches.

    Parameters
    ----------
    target
        The objective of the target's frames alone.
    replay
        The frames to rehearse; energies moved by the reference shift.
    weight
        Of their mean loss against the target's.
    """

    def __init__(self, target: FrameObjective, replay: Dataset, weight: float) -> None:
        joined, encoded = weighed(target.train, replay, weight), encode_all(target.backbone, replay.samples)
        watched = np.unique(np.linspace(0, len(replay) - 1, WATCHED).astype(int)).tolist()
        seen = joined[[len(target.train) + i for i in watched]]
        super().__init__(
            target.backbone,
            joined,
            Dataset(Samples.joined([target.held_out.samples, seen.samples]), target.held_out.provenance),
            target.settings,
            [*target.training, *encoded],
            [*target.validation, *(encoded[i] for i in watched)],
        )
        self.judged = len(target.validation)
        self.shares = dict.fromkeys(self.weights, 0.0) | target.shares  # replay frames may have further labels
        self._replay_shares = label_shares(replay.map(lambda sample: sample.weighing(1.0)), self.weights)

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the sums over the user's validation frames, then those over the replay frames watched."""
        own = [i for i in positions if i < self.judged]
        watched = [i for i in positions if i >= self.judged]
        return torch.cat([FrameObjective.validation_sums(self, part, device) for part in (own, watched)])

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        """Return the metrics of the user's frames, and ``replay_loss``, ``replay_<quantity>_rmse_<unit>`` beside them.

        Raises
        ------
        RunError
            If the replay frames have no label that the loss weighs: they hold nothing.
        """
        own, watched = sums.chunk(2)
        return super().validation_metrics(own) | self._replay_metrics(watched)

    def replay_metrics(self) -> dict[str, float]:
        """Return the replay metrics of the module as it stands; before the first step they are rounding alone."""
        watched = range(self.judged, len(self.validation))
        return self._replay_metrics(FrameObjective.validation_sums(self, watched, self.backbone.device))

    def _replay_metrics(self, sums: Tensor) -> dict[str, float]:
        if not any(self._replay_shares.values()):
            raise RunError(
                f"no replay frame has a label for {' or '.join(self.weights)}: they have neither loss nor gradient",
                remedy="replay.file with frames whose cells are periodic, for a loss of stresses alone; or no replay",
            )
        found = metrics_of_sums(sums, self.weights, self._replay_shares)
        return {name.replace("validation", "replay", 1): value for name, value in found.items()}

"""Which of some frames the fit of a run has seen, and which of the others are too near to those."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from matgraft.core.errors import MatgraftError
from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.seen import SeenFrames, is_among, kinds_of_frames
from matgraft.potentials.data.splits.given import leaks_between
from matgraft.potentials.recipe import Recipe, saved_recipe
from matgraft.potentials.run.frames import read_one
from matgraft.potentials.run_files import SEEN
from matgraft.potentials.scoring.evaluate import SeenCounts

UNKNOWN = Caution(
    code="unknown-training",
    damage=Damage.DOUBT,
    text="This run is older and does not say which frames it was trained on: some of these may be among them.",
)
GONE = "is not at the place that the recipe names"


@dataclass(frozen=True)
class SeenByFit:
    """What the fit has seen.

    Attributes
    ----------
    of_frame
        What it did with each frame that is evaluated: "trained_on", "validated_on", or "unseen".
    train
        Frames of the training file that it has seen and that have the atoms of an unseen one.
    lack
        Why `train` may lack some of these; empty where it has them all.
    """

    of_frame: tuple[str, ...]
    train: Dataset = field(default_factory=lambda: Dataset(()))
    lack: str = GONE

    @classmethod
    def of(cls, run: Path, dataset: Dataset) -> SeenByFit | None:
        """Look the frames up among those of the fit; None where the run is older and has no list of them."""
        if (known := SEEN.find(run)) is None:
            return None
        trained, validated = (is_among(dataset, part) for part in known.parts)
        what = np.where(trained, "trained_on", np.where(validated, "validated_on", "unseen"))
        unseen = dataset[np.flatnonzero(what == "unseen").tolist()]
        return cls(tuple(what.tolist()), *_seen_in_file(saved_recipe(run), known, unseen))

    @property
    def unseen(self) -> list[int]:
        """Positions of the frames that the fit has not seen."""
        return [i for i, what in enumerate(self.of_frame) if what == "unseen"]

    @property
    def counts(self) -> SeenCounts:
        """How many frames the fit was trained on, validated on, and has not seen."""
        return SeenCounts(**{what: self.of_frame.count(what) for what in ("trained_on", "validated_on", "unseen")})


def _seen_in_file(recipe: Recipe, known: SeenFrames, unseen: Dataset) -> tuple[Dataset, str]:
    """Return the frames of the training file that the fit has seen, and why some of them may be lacking.

    Only those are returned whose atoms an unseen frame has.
    """
    nothing = unseen[:0]
    if not all(Path(file).exists() for file in recipe.train_files):
        return nothing, GONE
    wanted = set(kinds_of_frames(unseen)) & {kind for part in known.parts for kind in part}
    if not wanted:  # a file of 100,000 frames takes a minute to read
        return nothing, ""
    try:
        train = read_one(recipe.model_copy(update={"want": ()}), recipe.train)
    except MatgraftError:
        return nothing, "has changed and cannot be read"
    train = train[[i for i, kind in enumerate(kinds_of_frames(train)) if kind in wanted]]
    seen = np.any([is_among(train, part) for part in known.parts], axis=0)
    n_known = sum(len(rows) for part in known.parts for kind, rows in part.items() if kind in wanted)
    lack = "has changed and lacks frames that the fit has seen" if seen.sum() < n_known else ""
    return train[np.flatnonzero(seen).tolist()], lack


def sharing(dataset: Dataset, seen: SeenByFit) -> Iterator[Caution]:
    """Warn of unseen frames of simulations that the fit has seen other frames of, and of near duplicates of seen ones.

    Those seen are looked for in the training file, and where it lacks some among the frames evaluated too.
    """
    unseen = dataset[seen.unseen]
    others = [i for i, what in enumerate(seen.of_frame) if what != "unseen"]
    known = concatenate([seen.train, dataset[others]]) if seen.lack else seen.train
    if len(known):
        found = leaks_between(known, unseen)
        shared = {*found.frames, *found.duplicates.neighbours}
        alike = set(found.duplicates.frames) - shared
        if shared:
            text = (
                f"{len(shared)} of the {len(unseen)} unseen frames belong to simulations of which the fit has seen "
                "other frames: errors will look better than they are."
            )
            yield Caution(code="shared-trajectories", damage=Damage.WRONG, text=text)
        if alike:
            text = (
                f"{len(alike)} {'others ' * bool(shared)}of the {len(unseen)} unseen frames have a near duplicate "
                "among the frames that the fit has seen."
            )
            yield Caution(code="near-duplicates", damage=Damage.WRONG, text=text)
    if seen.lack:
        text = (
            f"The training file {seen.lack}: unseen frames of simulations that were trained on are known only where "
            "this file holds the seen ones too."
        )
        yield Caution(code="training-file", damage=Damage.DOUBT, text=text)

"""What a split is: who learns, who stops the learning, who judges; and what a given test shares with them."""

from __future__ import annotations

from matgraft.core.frozen import Frozen
from matgraft.core.verdict import Caution
from matgraft.potentials.data.neighbours import Overlap

PARTS = ("train", "validation", "test")
INSIDE = "inside"
"""The part beside a test that a condition made: held out from the frames that do not meet it."""
DROPPED = -1
STRATUM_TAG = "config_type"


class Sharing(Frozen):
    """What a test set that was given shares with the training data.

    Attributes
    ----------
    reason
        What the trajectories were told apart by.
    trajectories
        Trajectories on both sides.
    frames
        Positions of the test frames that belong to them.
    duplicates
        Near-duplicates of test frames in the training data.
    warnings
        What a reader of the results must know; empty if nothing is shared.
    """

    reason: str
    trajectories: tuple[str, ...]
    frames: tuple[int, ...]
    duplicates: Overlap
    warnings: tuple[Caution, ...]


class Split(Frozen):
    """Who learns, who stops the learning, who judges.

    Attributes
    ----------
    by
        What was done: ``"trajectory"`` or ``"blocks"`` where ``auto`` was asked for.
    reason
        What the groups were told apart by, such as ``"info key 'trajectory'"``.
    train, validation, test
        Positions in the dataset, sorted.
    dropped
        Positions that no part gets: the gaps between blocks.
    hold
        The condition that the test frames meet, and that no other part's frames do; empty where none was asked for.
    inside
        Positions of test frames that do not meet it.
    groups
        Group of each frame of the dataset, to resample by; after a random split, the trajectories that it cut.
    leaks
        Near-duplicates and neighbours in time across the parts: validation in train, test in train, test in validation.
    order
        What orders the frames of the trajectories that were cut into blocks in time: such as ``"info key 'step'"``.
        Empty where nothing was cut, and where nothing says the order: then a warning says so.
    lone
        Positions of frames that stand alone in a guessed group although others have their composition.
    practically_random
        True where most guessed frames are `lone`: the split keeps hardly anything together.
    warnings
        What a reader of the results must know.
    seed
        Seed that the groups were dealt out with.
    sharing
        What a test set that was given shares with the dataset.
    """

    by: str
    reason: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    dropped: tuple[int, ...] = ()
    hold: str = ""
    inside: tuple[int, ...] = ()
    groups: tuple[str, ...]
    leaks: tuple[Overlap, ...] = ()
    order: str = ""
    lone: tuple[int, ...] = ()
    practically_random: bool = False
    warnings: tuple[Caution, ...] = ()
    seed: int
    sharing: Sharing | None = None

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Name -> positions, in the order of `PARTS`; last `INSIDE`, where there is a condition."""
        return {name: getattr(self, name) for name in (*PARTS, *[INSIDE] * bool(self.hold))}

    def describe(self) -> str:
        """Return a few lines for screens and reports."""
        counts = ", ".join(
            f"{name} {len(positions)} frames of {len({self.groups[i] for i in positions})} groups"
            for name, positions in self.parts.items()
        )
        gaps = f", {len(self.dropped)} dropped" if self.dropped else ""
        return "\n".join(
            [
                f"Split by {self.by} ({self.reason}): {counts}{gaps}",
                *self._clean(),
                *(one.text for one in self.warnings),
            ]
        )

    def _clean(self) -> list[str]:
        """Say that nothing leaks, or of which frames it cannot be told."""
        if any(overlap.frames or overlap.neighbours for overlap in self.leaks):
            return []
        unclear = [overlap for overlap in self.leaks if overlap.unclear]
        if not unclear:
            return ["no near-duplicates across the parts"]
        return [
            f"{len(one.unclear)} of {one.size} {one.part} frames show the same atoms about the same places as frames "
            f"in {one.against}; whether they are neighbours in time cannot be told from the structures"
            for one in unclear
        ]

    def __repr__(self) -> str:
        """Introduce itself without the positions."""
        return self.describe()

    __str__ = __repr__

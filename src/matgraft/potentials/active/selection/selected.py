"""What a selection says: which frames, why each, and why the others were left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from matgraft.core.frozen import Frozen
from matgraft.core.run_folder import RunFile
from matgraft.potentials.active.selection.settings import SelectSettings

Why = Literal["audit", "uncertain", "diverse", "new element", "check", "random"]
WHY: Mapping[Why, str] = {
    "audit": "drawn at random, to score on",
    "uncertain": "outside of the training frames",
    "diverse": "unlike the known and the chosen frames",
    "new element": "has an element that no training frame has",
    "check": "from a failed check",
    "random": "drawn at random, to learn from",
}
"""Why a frame was chosen -> in words."""

Left = Literal[
    "unread",
    "untakable",
    "collided",
    "labelled",
    "repeated",
    "certain",
    "far outside",
    "audited walker",
    "full walker",
    "too soon",
    "not needed",
]
LEFT: Mapping[Left, str] = {
    "unread": "not looked at, since the pool has too many atoms",
    "untakable": "the model cannot take it",
    "collided": "atoms nearly coincide",
    "labelled": "labelled already",
    "repeated": "the same as a frame before it",
    "certain": "below the window: the model knows such frames",
    "far outside": "above the window: likely unphysical",
    "audited walker": "of a walker that frames to score on were drawn from",
    "full walker": "its walker has given as many as it may",
    "too soon": "too few steps from a chosen frame of its walker",
    "not needed": "others are farther from the known frames",
}
"""Why a frame was left out -> in words."""


class Chosen(Frozen):
    """A chosen frame.

    Attributes
    ----------
    index
        Number of the frame in the pool, from 0, through all of its files.
    why
        See `WHY`.
    extrapolation
        Of its farthest atom, 1 at the gate; None where the model has no uncertainty.
    distance
        Of its farthest atom to the nearest known or chosen one when it was chosen, in units of the spread of the atoms;
        None for what was drawn, and where nothing was known of its elements.
    walker, origin
        Which simulation it is of, and how it was made.
    """

    index: int
    why: Why
    extrapolation: float | None = None
    distance: float | None = None
    walker: str = ""
    origin: str = ""


class Selected(Frozen):
    """What came of a selection.

    Attributes
    ----------
    model
        Name of the model that was asked.
    asked
        How many frames were wanted.
    n_pool
        Frames of the pool.
    outside
        Part of the sampled frames that were looked at whose extrapolation is above 1; what checks hand over is not
        sampled. None without an uncertainty.
    chosen
        Those to score on first, then those to learn from in the order in which they were chosen.
    left_out
        Reason -> how many frames.
    notes
        Choices that were made for the user, in words.
    written
        File of the chosen frames; empty where none was written.
    """

    model: str
    settings: SelectSettings
    asked: int
    n_pool: int
    outside: float | None = None
    chosen: tuple[Chosen, ...]
    left_out: dict[Left, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    written: str = ""

    @property
    def audit(self) -> tuple[Chosen, ...]:
        """Those to score on."""
        return tuple(one for one in self.chosen if one.why == "audit")

    @property
    def learned(self) -> tuple[Chosen, ...]:
        """Those to learn from."""
        return tuple(one for one in self.chosen if one.why != "audit")


SELECTED = RunFile("selected.json", Selected)

"""How frames are chosen from a pool."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from matgraft.core.frozen import Frozen


class SelectSettings(Frozen):
    """How frames are chosen.

    Attributes
    ----------
    low, high
        The window: smallest and largest extrapolation of a frame to learn from. 1 is the gate of the model, see
        `matgraft.potentials.models.uncertainty`. Frames below are known, frames above are likely unphysical. A model
        without an uncertainty has no window.
    diversity
        ``"farthest"``: each frame is the one whose atoms are the farthest from all that are known or chosen.
        ``"stratified"``: the same, with as many frames of each value of `strata` as can be had. ``"random"`` draws.
    strata
        Tag of the frames that ``"stratified"`` deals out by: ``origin`` or ``temperature``.
    per_walker
        Most frames of one walker, in each part.
    gap
        Fewest steps between two chosen frames of one walker; frames without a step have no gap.
    audit
        Part of the chosen frames that is drawn at random, to score on.
    seed
        Of what is drawn.
    """

    low: float = Field(0.3, ge=0)
    high: float = Field(5.0, gt=0)
    diversity: Literal["farthest", "stratified", "random"] = "farthest"
    strata: str = "origin"
    per_walker: int = Field(5, ge=1)
    gap: int = Field(50, ge=0)
    audit: float = Field(0.15, ge=0, le=0.5)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> SelectSettings:
        if self.low >= self.high:
            raise ValueError(f"the window is empty: low={self.low:g} is not below high={self.high:g}")
        return self

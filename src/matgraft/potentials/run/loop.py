"""A loop of active learning that is being conducted, and the stages that do its work, so that others can stand in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matgraft.core.manifest import is_there
from matgraft.potentials.active.labelling.labelled import Labelled
from matgraft.potentials.active.rounds import AUDIT, RUN, Errors, RoundFacts, round_folder
from matgraft.potentials.active.sampling.sampled import Sampled
from matgraft.potentials.active.sampling.settings import SampleSettings
from matgraft.potentials.active.selection.selected import Selected
from matgraft.potentials.active.settings import ActiveRecipe
from matgraft.potentials.recipe import Recipe

Stage = Literal["sample", "select", "label", "tune", "check"]
Tell = Callable[[int, Stage | RoundFacts], object]
"""Is given the number of the round with the stage that begins, or with what came of the round."""


@dataclass(frozen=True)
class Stages:
    """The stages of a round.

    Attributes
    ----------
    sample
        Of a loop, a round and a block of sampling: writes ``pool-K.extxyz`` into the folder of the round.
    select
        Of a loop, a round and a number of frames: writes ``chosen.extxyz``.
    label
        Of a loop and a round: writes ``labelled.extxyz``.
    tune
        By a recipe, into a folder, which may hold what a fit left that was killed.
    check
        Of a run, as the recipe of the loop asks.
    evaluate
        Of a run, on files of labelled frames.
    refuse
        Refuses what the stages cannot do, before anything is computed.
    """

    sample: Callable[[Loop, int, int, SampleSettings], Sampled]
    select: Callable[[Loop, int, int], Selected]
    label: Callable[[Loop, int], Labelled]
    tune: Callable[[Recipe, Path, bool], object]
    check: Callable[[Path, ActiveRecipe, bool], object]
    evaluate: Callable[[str, Sequence[str]], Errors]
    refuse: Callable[[ActiveRecipe], object]


@dataclass(frozen=True)
class Loop:
    """A loop that is being conducted."""

    recipe: ActiveRecipe
    out: Path
    stages: Stages
    tell: Tell
    quiet: bool

    def folder(self, number: int) -> Path:
        """Return the folder of a round."""
        return round_folder(self.out, number)

    def files(self, name: str, upto: int) -> list[str]:
        """Return the files of one name that hold frames, of the rounds up to and with one."""
        found = [self.folder(number) / name for number in range(upto + 1)]
        return [str(one) for one in found if is_there(one)]

    def scored_on(self, upto: int) -> list[str]:
        """Return the files of frames that are scored on after a round."""
        return [*self.recipe.test, *self.files(AUDIT, upto)]

    def model(self, number: int) -> str:
        """Return the model that a round begins with."""
        return self.recipe.foundation if number == 0 else str(self.folder(number - 1) / RUN)

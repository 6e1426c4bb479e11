"""What is asked of a split, and what a way of splitting answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from matgraft.core.verdict import Caution, Damage
from matgraft.potentials.data.chains import TOLD_APART
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.groups import BY_STRUCTURE, Groups
from matgraft.potentials.data.neighbours import reduced_formula
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.parts import INSIDE, PARTS


@dataclass(frozen=True)
class Request:
    """What `split` is asked for; its docstring explains the fields."""

    dataset: Dataset
    by: str
    fractions: Sequence[float]
    seed: int
    gap: int | None
    element: str | None
    stratum: str
    hold: str = ""

    @property
    def wanted(self) -> list[int]:
        """Numbers of the parts that must not stay empty."""
        return [part for part, fraction in enumerate(self.fractions) if fraction > 0]

    @property
    def parts(self) -> list[tuple[str, float]]:
        """Name and share of each part whose share the fractions say."""
        names = (*PARTS[:2], INSIDE if self.hold else PARTS[2])
        return list(zip(names, self.fractions, strict=True))


@dataclass(frozen=True)
class Guess:
    """Groups that nothing but structure gave: of how many frames, how many groups, and which frames stand alone."""

    n_frames: int
    n_groups: int
    uncompared: int
    untold: int
    lone: tuple[int, ...]

    @property
    def is_random(self) -> bool:
        """True where most of the frames stand alone."""
        return 2 * len(self.lone) > self.n_frames

    def warnings(self) -> Iterator[Caution]:
        """Say what a reader of the results must know."""
        yield Caution(
            code="guessed-trajectories",
            damage=Damage.NOTE,
            text=f"no tag names the trajectories of {self.n_frames} frames: {self.n_groups} groups were found by "
            f"{BY_STRUCTURE}. Name the trajectories in a tag if you can",
        )
        if self.is_random:
            yield Caution(
                code="practically-random",
                damage=Damage.DOUBT,
                text=f"this is practically a random split: {len(self.lone)} of {self.n_frames} frames stand alone in "
                "their guessed group although others have their composition. If they come from simulations, test "
                "frames come from simulations that are trained on",
            )
        if self.uncompared:
            yield Caution(
                code="uncompared-frames",
                damage=Damage.DOUBT,
                text=f"{self.uncompared} frames were not compared with all others of the same atoms, which have too "
                "many arrangements: groups that belong together may be apart",
            )
        if self.untold:
            yield Caution(
                code="untold-trajectories",
                damage=Damage.NOTE,
                text=f"{self.untold} frames are in groups of more than {TOLD_APART} frames of the same atoms about the "
                "same places. Such a group is not searched for several simulations: it is kept whole, or cut into "
                "blocks if it is the only one. Name the simulations in a tag 'trajectory' if there are several",
            )


def guess_of(samples: Sequence[Sample], groups: Groups) -> Guess | None:
    """Return what is guessed of the groups; None where something names them all."""
    if not groups.guessed:
        return None
    sizes = Counter(groups.labels)
    own = [reduced_formula(sample.content) for sample in samples]
    formulas = Counter(own)
    lone = tuple(i for i in groups.guessed if sizes[groups.labels[i]] == 1 and formulas[own[i]] > 1)
    return Guess(
        len(groups.guessed), len({groups.labels[i] for i in groups.guessed}), groups.uncompared, groups.untold, lone
    )


@dataclass(frozen=True)
class Plan:
    """`part` is the number of each frame's part, `DROPPED` for none."""

    by: str
    reason: str
    part: NDArray[np.int64]
    groups: Sequence[str]
    warnings: tuple[Caution, ...] = ()
    order: str = ""
    guess: Guess | None = None

    def warned(self, code: str, damage: Damage, text: str) -> Plan:
        """Return the plan with one more caution, before the others."""
        return replace(self, warnings=(Caution(code=code, damage=damage, text=text), *self.warnings))


Way = Callable[[Request, Groups], Plan]
"""A way of splitting that takes the groups that were found already."""

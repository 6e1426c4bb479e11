"""The one rule by which a unit, a sign or a convention is found wrong.

The slope of labels on the foundation's predictions is near 1 in the right unit, but not exactly: it differs from one
foundation to another (soft ones give slopes above 1; Deng et al., npj Comput. Mater. 11, 9, 2025) and from one
trajectory to another. So its logarithm is taken for a random-effects estimate (DerSimonian and Laird 1986) around the
expected value, with the variance

    BETWEEN_MODELS² + BETWEEN_TRAJECTORIES² / n_blocks + error²

where `error` is the standard error by a jackknife over the blocks. Steps of one trajectory are one block: their errors
are not independent. A unit is refused where the slope lies more than `REFUSED` such deviations from what is expected;
another one is exact where it lies within `EXACT`. A finding blocks only if both hold and the evidence is `sure`.

>>> scale = choose_scale(candidates, taken, Support(n_blocks=12, error=0.05))
>>> scale.right, scale.severity
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, inf, isclose, isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray

from matgraft.core.findings import Action, Severity

SOFT, STIFF = 1.2, 1.0
"""Labels over predictions to expect in the right unit: of energies and forces, and of stresses."""

BETWEEN_MODELS = 0.4
"""Standard deviation of the logarithm of a right slope between foundations: slopes of 0.5 to 2.7 lie within two."""

BETWEEN_TRAJECTORIES = 0.4
"""The same between trajectories under one foundation."""

NORMAL, REFUSED, ALONE = 2.5, 4.0, 6.0
"""Deviations from the expected slope: below the first a unit stands; from the second on it is refused; beyond the third
it is refused even by one trajectory."""

EXACT = 2.0
"""Deviations within which another unit explains the slope."""

BLOCKS = 5
"""Independent blocks from which on they decide by themselves."""

STEADY = 1.0
"""Largest error of the logarithm with which a slope, its sign above all, is taken for known."""

EXPLAINED = 0.5
"""Part of the labels' variation that the predictions must explain before a unit is refused beyond doubt."""

RIVAL = log(1.5)
"""A candidate whose distance is within this factor of the best one's cannot be told from it."""

MISFIT, MISFIT_REFUSED = 1.5, 3.0
"""A convention that leaves so many times the other's misfit does not fit; from the second on it is refused."""

ABSOLUTE = log(1.2)
"""Absolute energies that agree with the predicted ones within this factor bear witness for a unit."""


@dataclass(frozen=True)
class Candidate:
    """A unit that labels might be in.

    Attributes
    ----------
    key
        Option that says the unit: ``"units.energy"``; ``"units.virial"`` of a virial in place of a stress.
    unit
        ``"eV/atom"``.
    slope
        Labels over predictions if it were that unit.
    expected
        What the slope should be.
    misfit
        What its line leaves unexplained, over what the best convention leaves.
    absolute
        Logarithm of absolute labels over absolute predictions if it were that unit: infinite for another sign, None
        where they do not tell.
    twice
        True if it departs from the unit taken in two ways, such as meV/atom from eV: less likely than one.
    """

    key: str
    unit: str
    slope: float
    expected: float = SOFT
    misfit: float = 1.0
    absolute: float | None = None
    twice: bool = False

    @property
    def action(self) -> Action:
        """What reads the labels in this unit."""
        return Action(settings={self.key: self.unit})

    @property
    def name(self) -> str:
        """The unit, for sentences."""
        return f"a virial in {self.unit}" if self.key == "units.virial" else self.unit

    @property
    def distance(self) -> float:
        """How far the slope is from what is expected, as a logarithm of the factor."""
        return self.size if self.slope > 0 else inf

    @property
    def size(self) -> float:
        """The distance, whatever the sign."""
        return abs(log(abs(self.slope) / self.expected)) if self.slope else inf

    @property
    def fits(self) -> bool:
        """True if its convention fits a line as well as the other one does."""
        return self.misfit < MISFIT

    @property
    def agrees(self) -> bool:
        """True if absolute values bear witness for it."""
        return self.absolute is not None and abs(self.absolute) < ABSOLUTE


@dataclass(frozen=True)
class Support:
    """What a slope rests on.

    Attributes
    ----------
    n_blocks
        Independent blocks of frames: trajectories, or frames of none.
    error
        Standard error of the logarithm of the slope, by resampling the blocks; infinite where its sign is not sure.
    many
        True if the frames of few blocks are as unlike each other as those of many are.
    """

    n_blocks: int
    error: float = 0.0
    many: bool = False

    @property
    def width(self) -> float:
        """Standard deviation of the logarithm of a right slope."""
        return hypot(BETWEEN_MODELS, BETWEEN_TRAJECTORIES / sqrt(max(self.n_blocks, 1)), self.error)

    def numbers(self) -> dict[str, float]:
        """Return the figures for a finding; an error that is not finite is left out."""
        found = {"n_blocks": float(self.n_blocks)}
        return found | ({"log_slope_error": self.error} if isfinite(self.error) else {})

    @property
    def enough(self) -> bool:
        """True if the blocks decide by themselves."""
        return self.n_blocks >= BLOCKS or self.many


@dataclass(frozen=True)
class Scale:
    """What was found on a unit.

    Attributes
    ----------
    best
        The candidate that explains the slope, None where none does.
    taken
        The unit that the labels were taken for, with its slope.
    rivals
        Other candidates that would do about as well.
    support
        What the slope rests on.
    explained
        Part of the labels' variation that the predictions explain, 0 to 1.
    sure
        True if the unit taken is wrong beyond doubt.
    """

    best: Candidate | None
    taken: Candidate
    rivals: tuple[Candidate, ...] = ()
    support: Support = Support(0)
    explained: float = 1.0
    sure: bool = False

    @property
    def right(self) -> bool:
        """True if the unit taken stands."""
        return self.best == self.taken

    @property
    def steady(self) -> bool:
        """True if the slope, its sign above all, does not depend on a few trajectories."""
        return self.support.error <= STEADY

    @property
    def severity(self) -> Severity:
        """How bad it is, if it is not right."""
        return "error" if self.sure else "warning"

    @property
    def actions(self) -> list[Action]:
        """What puts the unit right; nothing in doubt, since a wrong unit spoils right labels."""
        return [self.best.action] if self.sure and self.best is not None else []

    def remedy(self, what: str) -> str:
        """Say how to read the label, or what would settle it."""
        if self.best is None:
            return f"no known unit explains the slope: see what the key of {what} holds, or try another foundation"
        told = f"read {what} as {self.best.unit}"
        others = " or ".join(rival.name for rival in self.rivals)
        told += f"; make sure that it is not {others}" if others else ""
        if self.sure:
            return told
        return (
            f"compare one frame with the output of the code. If the unit is wrong: {told}. "
            f"Frames of {BLOCKS} or more trajectories, or another foundation, would settle it"
        )

    def describe(self) -> str:
        """Say what fits, and what else would."""
        said = f"labels are {self.taken.slope:.3g} times the predictions if taken for {self.taken.unit}"
        if self.best is not None and not self.right:
            said += f", {self.best.slope:.3g} times if taken for {self.best.unit}"
        if self.rivals:
            others = ", ".join(f"{rival.unit} ({rival.slope:.3g})" for rival in self.rivals)
            said += f"; they cannot be told from {others} by this alone"
        if self.taken.agrees and not self.right:
            said += f"; but the absolute energies agree with the predictions as {self.taken.unit}"
        return said


def choose_scale(candidates: Sequence[Candidate], taken: Candidate, support: Support, explained: float = 1.0) -> Scale:
    """Keep the unit taken unless its slope is abnormal and another unit is exact.

    Parameters
    ----------
    candidates
        Units that the labels might be in; `taken` may be among them.
    taken
        The unit that they were read in.
    """
    width = support.width
    if support.error > STEADY:
        return Scale(taken, taken, (), support, explained)
    if (taken.agrees and taken.size < REFUSED * width) or _stands(taken, NORMAL * width):
        return Scale(taken, taken, (), support, explained)
    fitting = [one for one in candidates if one.fits and one.distance <= EXACT * width and not _same(one, taken)]
    if not fitting:
        unit = taken if _stands(taken, REFUSED * width) else None
        return Scale(unit, taken, (), support, explained)
    best, *others = sorted(fitting, key=_rank)
    rivals = [one for one in others if _rank(one) < _rank(best) + RIVAL]
    sure = explained >= EXPLAINED and _beyond_doubt(taken, best, support)
    return Scale(best, taken, tuple(rivals), support, explained, sure)


def _stands(taken: Candidate, limit: float) -> bool:
    return taken.fits and taken.distance < limit


def _rank(candidate: Candidate) -> float:
    """Return the distance, shortened where absolute values bear witness, and longer where two things were wrong."""
    return candidate.distance + RIVAL * (candidate.twice - 2 * candidate.agrees)


def _same(one: Candidate, other: Candidate) -> bool:
    """Say whether two candidates are one unit, however it is spelled."""
    return (one.key, one.unit) == (other.key, other.unit) or (
        isclose(one.slope, other.slope) and isclose(one.misfit, other.misfit)
    )


def _beyond_doubt(taken: Candidate, best: Candidate, support: Support) -> bool:
    """Say whether a unit is refused by enough evidence: many blocks, a second witness, or a slope out of all reason."""
    deviations = taken.size / support.width
    refused = taken.slope < 0 or taken.misfit >= MISFIT_REFUSED or deviations >= REFUSED
    witnessed = support.enough or best.agrees or deviations >= ALONE
    return refused and witnessed and not taken.agrees


@dataclass(frozen=True)
class OtherUnitFrames:
    """Frames, a minority, that are in another unit than the rest.

    Attributes
    ----------
    frames
        Positions in the dataset.
    key, unit
        The unit that they are in, as of `Candidate`.
    n_blocks
        Trajectories among them, or stretches of one: it is beyond doubt from `BLOCKS` on.
    """

    frames: NDArray[np.int64]
    key: str
    unit: str
    n_blocks: int

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return "error" if self.n_blocks >= BLOCKS else "warning"


def stretches(inside: NDArray[np.bool_], blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each stretch of a trajectory inside or outside a number, (n,): each return bears witness anew.

    Parameters
    ----------
    inside
        (n,) whether a frame is one of those that are told apart.
    blocks
        (n,) trajectory of each frame, in their order.
    """
    found = np.zeros(len(blocks), dtype=np.int64)
    for block in np.unique(blocks):
        members = np.flatnonzero(blocks == block)
        found[members[1:]] = np.cumsum(np.diff(inside[members]))
    return np.unique(np.column_stack([blocks, found]), axis=0, return_inverse=True)[1].ravel()


def find_part(
    frames: NDArray[np.int64], marked: Mapping[tuple[str, str], NDArray[np.bool_]], blocks: NDArray[np.int64]
) -> OtherUnitFrames | None:
    """Return the frames that one other unit explains, of all units the one with the most blocks; None without any.

    Parameters
    ----------
    frames
        (n,) positions in the dataset.
    marked
        Key and unit -> (n,) whether a frame is explained by that unit and not as read.
    blocks
        (n,) block of each frame.
    """
    sizes = {unit: (len(np.unique(blocks[mark])), int(mark.sum())) for unit, mark in marked.items()}
    best = max(sizes, key=lambda unit: sizes[unit])
    return OtherUnitFrames(frames[marked[best]], *best, sizes[best][0]) if sizes[best][0] else None

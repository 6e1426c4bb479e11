"""Which unit makes labels and predictions agree.

The slope of labels on predictions is 1 in the right unit, or more: foundation potentials are soft (Deng et al. 2024).
Si and Mo against CHGNet give 1.4 for energies and forces (1.0 to 2.5 in single trajectories), 0.9 to 1.0 for stresses.
Units lie farther apart than that, so softness alone never looks like a wrong unit: another unit has to come nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log

from matgraft.findings import Action

SOFT, STIFF = 1.4, 1.0
"""Labels over predictions to expect in the right unit, of energies and forces, and of stresses.

It matters between Hartree and Rydberg alone, a factor of two: they are told apart for slopes of 1 to 2.
"""

NORMAL = (0.5, 2.0)
"""Slopes that no unit has to explain."""

RIVAL = log(1.5)
"""A candidate whose distance is within this factor of the best one's cannot be told from it."""

_FARTHEST = log(4.0)  # a slope farther than this from every candidate is explained by none


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
    """

    key: str
    unit: str
    slope: float
    expected: float = SOFT

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
        return abs(log(self.slope / self.expected)) if self.slope > 0 else inf


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
    explained
        Part of the labels' variation that the predictions explain, 0 to 1.
    """

    best: Candidate | None
    taken: Candidate
    rivals: tuple[Candidate, ...] = ()
    explained: float = 1.0

    @property
    def right(self) -> bool:
        """True if the unit taken stands."""
        return self.best == self.taken

    def remedy(self, what: str) -> str:
        """Say how to read the label, and what else it might be."""
        if self.best is None:
            return "look at what the key really holds; no known unit explains the slope"
        told = f"read {what} as {self.best.unit}"
        others = " or ".join(rival.name for rival in self.rivals)
        return f"{told}; make sure that it is not {others}" if others else told

    def describe(self) -> str:
        """Say what fits, and what else would."""
        said = f"labels are {self.taken.slope:.3g} times the predictions if taken for {self.taken.unit}"
        if self.best is not None and not self.right:
            said += f", {self.best.slope:.3g} times if taken for {self.best.unit}"
        if self.rivals:
            others = ", ".join(f"{rival.unit} ({rival.slope:.3g})" for rival in self.rivals)
            said += f"; they cannot be told from {others} by this alone"
        return said


def choose_scale(candidates: Sequence[Candidate], taken: Candidate, explained: float) -> Scale:
    """Keep the unit taken unless its slope is abnormal and another unit comes nearer."""
    ranked = sorted(candidates, key=lambda candidate: candidate.distance)
    normal = taken in candidates and NORMAL[0] <= taken.slope <= NORMAL[1]
    best = taken if normal or not ranked else ranked[0]
    if best.distance > _FARTHEST:
        return Scale(None, taken, (), explained)
    near = [one for one in ranked if one != best and one.distance < best.distance + RIVAL and one.distance < _FARTHEST]
    return Scale(best, taken, tuple(near), explained)

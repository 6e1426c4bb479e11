"""The choice itself, on figures alone: no model, no file.

1. Frames to score on are drawn from the whole pool, whatever the model thinks of them, walker by walker.
2. The other frames of these walkers are not learned from: they resemble frames that are scored on.
3. Of the rest, those in the window of uncertainty are chosen by their distance from all that is known or chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from matgraft.core.quantities import Array
from matgraft.potentials.active.selection.diversity import Surroundings
from matgraft.potentials.active.selection.selected import Chosen, Left, Why
from matgraft.potentials.active.selection.settings import SelectSettings

FROM_CHECK = "check"
"""Origin, before the code of the check, of structures that a failed check hands over."""


@dataclass(frozen=True)
class PoolCandidate:
    """What is known of a frame of the pool beside its atoms' surroundings.

    Attributes
    ----------
    index
        Its number in the pool.
    walker
        The simulation that it is of.
    step
        When in it; None where nothing says.
    stratum
        What ``"stratified"`` deals out by.
    """

    index: int
    walker: str
    origin: str = ""
    step: float | None = None
    stratum: str = ""

    @property
    def is_handed_over(self) -> bool:
        """True if a failed check asks for its label."""
        return self.origin.startswith(FROM_CHECK)


@dataclass
class Places:
    """Where frames of a part may still be taken from: so many a walker, with a gap in time."""

    settings: SelectSettings
    taken: dict[str, list[float | None]] = field(default_factory=dict)

    def refuses(self, one: PoolCandidate) -> Left | None:
        """Return why a frame cannot be taken; None where it can."""
        there = self.taken.get(one.walker, [])
        if len(there) >= self.settings.per_walker:
            return "full walker"
        return "too soon" if self.is_near(one) else None

    def is_near(self, one: PoolCandidate) -> bool:
        """Say whether fewer than `gap` steps lie between a frame and one that was taken of its walker."""
        there = [step for step in self.taken.get(one.walker, ()) if step is not None]
        return one.step is not None and any(abs(one.step - step) < self.settings.gap for step in there)

    def take(self, one: PoolCandidate) -> None:
        """Count a frame as taken."""
        self.taken.setdefault(one.walker, []).append(one.step)


@dataclass(frozen=True)
class Choice:
    """What was chosen, what was left out, and the part of the sampled frames outside the gate, where there is one."""

    chosen: tuple[Chosen, ...]
    left_out: Counter[Left]
    outside: float | None
    notes: tuple[str, ...]


NOTHING = Choice((), Counter(), None, ())
"""Of a pool in which nothing can be chosen."""


@dataclass(frozen=True)
class _Told:
    """What a model says of candidates: extrapolations (n,), which have a new element (n,), whether it has a gate."""

    candidates: Sequence[PoolCandidate]
    ratio: Array
    is_new: NDArray[np.bool_]
    has_gate: bool

    @property
    def extrapolation(self) -> Array:
        """Return (n,) of each frame; infinite where it has a new element."""
        return np.where(self.is_new, np.inf, self.ratio)

    def chosen(self, i: int, why: Why, distance: float | None = None) -> Chosen:
        """Describe a frame that was chosen."""
        one = self.candidates[i]
        return Chosen(
            index=one.index,
            why=why,
            extrapolation=float(self.extrapolation[i]) if self.has_gate else None,
            distance=distance if distance is not None and np.isfinite(distance) else None,
            walker=one.walker,
            origin=one.origin,
        )

    def why(self, i: int, settings: SelectSettings) -> Why:
        """Return why a frame is learned from."""
        if self.candidates[i].is_handed_over:
            return "check"
        if settings.diversity == "random":
            return "random"
        if not self.has_gate:
            return "diverse"
        return "new element" if self.is_new[i] else "uncertain" if self.ratio[i] > 1 else "diverse"


def choose_candidates(
    candidates: Sequence[PoolCandidate],
    surroundings: Surroundings,
    threshold: float | None,
    n: int,
    settings: SelectSettings,
) -> Choice:
    """Choose `n` frames, or as many as there are.

    Parameters
    ----------
    candidates, surroundings
        The plausible frames of the pool that are not labelled, in the same order.
    threshold
        Distance at which the model's extrapolation is 1; None where it has no uncertainty.
    """
    told = _Told(candidates, *surroundings.extrapolations(threshold or 1.0), threshold is not None)
    left: Counter[Left] = Counter()
    sampled = np.array([not one.is_handed_over for one in candidates])
    wanted = max(1, round(settings.audit * n)) if settings.audit and n > 1 else 0
    audit = draw_audit(candidates, wanted, settings)
    rest, notes = _apart_from(candidates, audit, settings, left)
    inside = _in_window(told, rest, settings, left) if told.has_gate else rest
    learned = _diverse(candidates, inside, surroundings, n - len(audit), settings, left)
    return Choice(
        chosen=(
            *(told.chosen(i, "audit") for i in audit),
            *(told.chosen(i, told.why(i, settings), distance) for i, distance in learned),
        ),
        left_out=+left,
        outside=float((told.extrapolation > 1)[sampled].mean()) if told.has_gate and sampled.any() else None,
        notes=notes,
    )


def draw_audit(candidates: Sequence[PoolCandidate], n: int, settings: SelectSettings) -> list[int]:
    """Draw frames to score on: walkers at random, a longer one as likely as it has frames, and frames within each.

    One walker at least is left to learn from, where there are two. What a check hands over is not drawn: the error on
    it is no error on what was sampled.
    """
    rng = np.random.default_rng(settings.seed)
    drawable = [i for i, one in enumerate(candidates) if not one.is_handed_over]
    members: dict[str, list[int]] = {}
    for i in drawable:
        members.setdefault(candidates[i].walker, []).append(i)
    walkers = len(members)
    wanted = max(1, round(settings.audit * walkers)) if n else 0
    share, places, drawn = -(-n // max(wanted, 1)), Places(settings), list[int]()
    order = list(dict.fromkeys(candidates[drawable[k]].walker for k in rng.permutation(len(drawable))))
    for walker in order[: max(1, walkers - 1)]:
        own = 0
        for i in rng.permutation(members[walker]).tolist():
            if len(drawn) == n or own == share:
                break
            if places.refuses(candidates[i]) is None:
                places.take(candidates[i])
                drawn.append(i)
                own += 1
    return sorted(drawn)


def _apart_from(
    candidates: Sequence[PoolCandidate], audit: Sequence[int], settings: SelectSettings, left: Counter[Left]
) -> tuple[list[int], tuple[str, ...]]:
    """Return the frames that may be learned from: of other walkers than those that are scored on, if there are any."""
    audited, drawn = {candidates[i].walker for i in audit}, set(audit)
    rest = [i for i in range(len(candidates)) if i not in drawn]
    apart = [i for i in rest if candidates[i].walker not in audited]
    if not audited or any(not candidates[i].is_handed_over for i in apart):
        left["audited walker"] += len(rest) - len(apart)
        return apart, ()
    places = Places(settings)
    for i in audit:
        places.take(candidates[i])
    apart = [i for i in rest if not places.is_near(candidates[i])]
    left["too soon"] += len(rest) - len(apart)
    said = "all frames are of one walker: those to score on are of the walker that is learned from, and resemble it"
    return apart, (said,) if apart else ()


def _in_window(told: _Told, rest: Iterable[int], settings: SelectSettings, left: Counter[Left]) -> list[int]:
    """Return the frames that the window lets through; what a check hands over, and new elements, need no lower end."""
    inside = []
    for i in rest:
        if told.ratio[i] > settings.high:
            left["far outside"] += 1
        elif told.extrapolation[i] < settings.low and not told.candidates[i].is_handed_over:
            left["certain"] += 1
        else:
            inside.append(i)
    return inside


def _diverse(
    candidates: Sequence[PoolCandidate],
    inside: Sequence[int],
    surroundings: Surroundings,
    n: int,
    settings: SelectSettings,
    left: Counter[Left],
) -> list[tuple[int, float | None]]:
    """Choose frames one by one, each with its distance when it was chosen."""
    places, strata = Places(settings), Counter[str]()
    is_drawn, deals = settings.diversity == "random", settings.diversity == "stratified"
    lot = np.random.default_rng([settings.seed, 1]).permutation(len(candidates))
    typical = surroundings.typical()
    found: list[tuple[int, float | None]] = []
    able = _able(candidates, inside, places, left)
    while able and len(found) < n:
        distances = surroundings.distances()
        fewest = min(strata[candidates[i].stratum] for i in able)
        allowed = [i for i in able if not deals or strata[candidates[i].stratum] == fewest]
        # Among frames of which nothing is known, the most typical one.
        best = max(allowed, key=lambda i: (lot[i],) if is_drawn else (distances[i], -typical[i], -i))
        found.append((best, None if is_drawn else float(distances[best])))
        places.take(candidates[best])
        strata[candidates[best].stratum] += 1
        surroundings.choose(best)
        able = _able(candidates, [i for i in able if i != best], places, left)
    left["not needed"] += len(able)
    return found


def _able(candidates: Sequence[PoolCandidate], some: Iterable[int], places: Places, left: Counter[Left]) -> list[int]:
    """Return the frames that can still be taken, and count the others."""
    able = []
    for i in some:
        if reason := places.refuses(candidates[i]):
            left[reason] += 1
        else:
            able.append(i)
    return able

"""What the looks on units share: a part of the frames in another unit, and the finding that says what was found.

The frames of a part are told one by one, each by its own slope on its own predictions, and by the rule of
`matgraft.potentials.audit.scale` for one block. A trajectory whose frames all tell goes as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from matgraft.core.findings import Action, Code, Fault, Finding
from matgraft.core.quantities import Array, Unit
from matgraft.potentials.audit.base import Frames, LabelReading, count
from matgraft.potentials.audit.scale import EXACT, REFUSED, SOFT, OtherUnitFrames, Scale, Support, find_part

_STAND, _SHARE = 3, 0.2
"""Frames, and part of those that tell, that follow the predictions as read where most do in another unit only."""

Concerns = Callable[[str, str], bool]
"""Whether another key and unit are what a code looks at."""


def part_by_slope(
    frames: Frames,
    slopes: Array,
    blocks: NDArray[np.int64],
    unit: Unit,
    key: str,
    factors: Mapping[str, float],
    expected: float = SOFT,
) -> OtherUnitFrames | None:
    """Return the frames whose own slopes another unit explains, and the one taken does not.

    Parameters
    ----------
    frames, slopes, blocks
        (n,) positions in the dataset; labels over predictions as read, NaN where a frame does not tell; trajectories.
    unit
        The unit taken.
    key, factors
        ``"units.forces"``, and each unit's factor; tried with both signs.
    """
    width = Support(1).width
    told = np.isfinite(slopes) & (slopes != 0)
    sizes = np.where(told, np.abs(slopes), 1.0) / expected
    wrong = told & ((slopes < 0) | (np.abs(np.log(sizes)) >= REFUSED * width))
    stand = told & (slopes > 0) & (np.abs(np.log(sizes)) <= EXACT * width)
    if 2 * wrong.sum() > told.sum() and stand.sum() < max(_STAND, _SHARE * told.sum()):
        return None  # what is wrong with most frames is a matter of all, unless the others plainly stand
    positive = np.sign(unit.factor) * np.nan_to_num(slopes) > 0  # as the file's numbers stand
    off = {name: np.abs(np.log(sizes * factor / abs(unit.factor))) for name, factor in factors.items()}
    least = np.min(list(off.values()), axis=0)
    signs = {"": positive, "-": ~positive}
    marked = {
        (key, f"{sign}{name}"): wrong & of_sign & (rest <= EXACT * width) & (rest == least)
        for name, rest in off.items()
        for sign, of_sign in signs.items()
    }
    part = find_part(frames, marked, blocks)
    return part and replace(part, frames=_whole_trajectories(part, frames, told, blocks))


def rest_of(part: OtherUnitFrames | None, frames: Frames) -> tuple[OtherUnitFrames | None, NDArray[np.bool_]]:
    """Return a part, and which of the frames are not in it."""
    return part, np.ones(len(frames), dtype=bool) if part is None else ~np.isin(frames, part.frames)


def _whole_trajectories(
    part: OtherUnitFrames, frames: Frames, told: NDArray[np.bool_], blocks: NDArray[np.int64]
) -> Frames:
    """Add the silent frames of trajectories all of whose telling frames are in the part."""
    inside = np.isin(frames, part.frames)
    against = np.unique(blocks[told & ~inside])
    concerned = np.isin(blocks, np.unique(blocks[inside])) & ~np.isin(blocks, against)
    return frames[inside | (concerned & ~told)]


def apply_to(wrong: Frames, n: int, remedy: str, action: Action) -> tuple[str, list[Action]]:
    """Return remedy and actions; an action on all frames is not offered where some are right."""
    if len(wrong) == n:
        return remedy, [action]
    return f"for these frames alone, {remedy}: put them into a file of their own", []


def disagreement(code: Code, frames: Frames, said: str, numbers: Mapping[str, float]) -> Finding:
    """Say that labels whose format fixes unit, sign and order do not follow the foundation: it is what is wrong."""
    said = f"{said} The format of these files leaves no other reading: it is the foundation that disagrees."
    remedy = "nothing is wrong with the labels; another foundation may be a better start"
    return code.failed(Fault(frames, said, remedy, numbers=numbers, severity="warning"))


def unit_finding(
    code: Code,
    scale: Scale,
    part: OtherUnitFrames | None,
    reading: LabelReading,
    what: str,
    numbers: dict[str, float],
    concerns: Concerns = lambda key, unit: True,
) -> Finding:
    """Return the finding on one unit.

    Parameters
    ----------
    part
        Frames in another unit, where the unit taken stands for the others.
    what
        The label, in words: ``"the forces"``.
    concerns
        Which units are this code's.
    """
    frames, n = reading.frames, len(reading.frames)
    numbers = numbers | scale.support.numbers()
    if not scale.steady:
        return code.skipped("The slope depends on which trajectories are left out.", **numbers)
    said = f"In {count(n)} {scale.describe()}."
    part = part if scale.right and part is not None and concerns(part.key, part.unit) else None
    stands = scale.right or (scale.best is not None and not concerns(scale.best.key, scale.best.unit))
    if stands and part is None:
        return code.passed(said, **numbers)
    if reading.fixed:
        return disagreement(code, frames, said, numbers)
    if part is not None:
        return code.failed(_part_fault(part, n, what, numbers))
    if scale.best is not None:
        numbers["slope_corrected"] = scale.best.slope
    return code.failed(Fault(frames, said, scale.remedy(what), scale.actions, numbers, scale.severity))


def _part_fault(part: OtherUnitFrames, n: int, what: str, numbers: dict[str, float]) -> Fault:
    said = f"{count(len(part.frames), n)} agree with the predictions, as the others do, only if taken for {part.unit}."
    remedy, actions = apply_to(part.frames, n, f"read {what} as {part.unit}", Action(settings={part.key: part.unit}))
    return Fault(part.frames, said, remedy, actions, numbers | {"n_blocks": part.n_blocks}, part.severity)

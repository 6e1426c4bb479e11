"""The stress's unit and sign, whether it is a virial, and the order of its shear components.

Unit and sign come from xx, yy, zz and the sum of the three shears, which no order changes, with one offset for the
pressure: foundations have one, and so do labels with too small a basis (Pulay). The order comes from the correlation of
the three shears with the predictions under all six orders, trajectory by trajectory: sets are seen that mix two. Of
slabs that have a stress in their plane alone the components that are labels tell unit and sign, and nothing the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from matgraft.core.findings import Action, Code, Fault, Finding
from matgraft.core.quantities import DEFAULT_UNITS, STRESS_UNITS, VOIGT, Array, full_to_voigt
from matgraft.potentials.audit.base import Evidence, Frames, LabelReading, count, split_by_group
from matgraft.potentials.audit.robust import Line, cosine, fit_line, line_slope, rms, slope_error, through_origin
from matgraft.potentials.audit.scale import (
    BLOCKS,
    MISFIT,
    STIFF,
    Candidate,
    OtherUnitFrames,
    Scale,
    Support,
    choose_scale,
)
from matgraft.potentials.audit.units import apply_to, disagreement, part_by_slope, rest_of, unit_finding
from matgraft.potentials.data.repair import shortest_patterns

STRESS_UNIT = Code("stress-unit", "unit of the stress, or a virial in its place", "error")
STRESS_SIGN = Code("stress-sign", "sign of the stress", "error")
STRESS_SHEAR = Code("stress-shear", "order of the shear components of the stress", "error")

_FRAMES = 4  # fewer do not decide on a unit
_EXPLAINED = 0.5  # part of the stress that the predictions must explain for the slope to mean anything
_SIGNAL = 1e-4  # eV/Å³ (16 MPa) typical size below which stresses decide nothing
_ALIKE, _OPPOSITE = 0.95, 0.98  # cosines of a single frame's six components from which on its own slope tells
_DIAGONAL = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])

_ORDERS = tuple(permutations(range(3)))  # the first leaves everything in its place
_SHEAR_FRAMES = 3

ALONE = 0.95
"""Correlation of three components in one frame, as read, that clears it where the others are wrong."""

_SIZEABLE = 0.5  # of the median size of the predicted shear, below which a frame's three components are noise
_SCATTERED = 3  # trajectories with frames in one other order, from which on scattered frames are told

FITS, SIGMAS = 0.6, 4.0
"""An order is found if it correlates by at least `FITS`, and by `SIGMAS` standard errors more than the other."""

BETTER, LESS_LEFT = 0.3, 3.0
"""It must also correlate by so much more, or leave so many times less unexplained."""


@dataclass(frozen=True)
class StressFit:
    """The verdict on the stresses of some frames, and the frames of another unit among them."""

    scale: Scale
    part: OtherUnitFrames | None = None


def stress_unit_and_sign(evidence: Evidence) -> Iterator[Finding]:
    """Judge unit and sign of the stress of each reading, then frame by frame."""
    readings = evidence.readings("stress")
    if not readings:
        yield from (code.skipped(evidence.why_unpaired("stress")) for code in (STRESS_UNIT, STRESS_SIGN))
    for reading in readings:
        fit = evidence.once(judge_stress, reading)
        for code in (STRESS_UNIT, STRESS_SIGN):
            yield _finding(code, fit, reading)


def judge_stress(evidence: Evidence, reading: LabelReading) -> StressFit | None:
    """Return the verdict, None where frames have too little stress in common with the predictions."""
    part, others = rest_of(_part(evidence, reading), reading.frames)
    frames = reading.frames[others]
    if len(frames) < _FRAMES:
        return None
    known = evidence.stress_components(frames)
    predicted, pressure, rows = _rows(np.array(evidence.prediction("stress", frames)), known)
    canonical, *_ = _rows(np.array(evidence.label("stress", frames)), known)
    volumes = evidence.volumes[frames][rows]
    raw = canonical / reading.unit.factor * (-volumes if reading.virial else 1)
    if rms(predicted) < _SIGNAL:
        return None
    labels = {"stress": raw, "virial": -raw / volumes}
    lines = {place: fit_line(predicted, labels[place], pressure[:, None]) for place in labels}
    closest = min(lines, key=lambda place: lines[place].misfit)
    kept = [line for line in lines.values() if line.misfit <= MISFIT * lines[closest].misfit]
    # the few frames with a large stress count as much as the many without
    explained = 1 - min(min(line.misfit, line.median_misfit) for line in kept)
    if explained < _EXPLAINED:
        return None

    def slope(inside: NDArray[np.bool_]) -> float:
        return line_slope(predicted[inside], labels[closest][inside], pressure[inside, None])

    blocks = evidence.blocks[frames]
    support = Support(len(np.unique(blocks)), slope_error(slope, blocks[rows]))
    scale = choose_scale(_candidates(lines, reading), _taken(reading, lines), support, explained)
    return StressFit(scale, part if scale.right else None)


def _rows(stress: Array, known: NDArray[np.bool_]) -> tuple[Array, Array, Frames]:
    """Return xx, yy, zz and the normalised sum of the shears of each frame, as far as they are labels.

    Parameters
    ----------
    stress, known
        (n, 3, 3); (n, 6) which components are labels.

    Returns
    -------
    numbers, diagonal, frames
        (m,) each: the numbers, 1 where one is of the diagonal and 0 of a shear, and the place of its frame.
    """
    voigt, n_shears = full_to_voigt(stress), known[:, 3:].sum(axis=1)
    shears = np.sum(voigt[:, 3:], axis=1, where=known[:, 3:]) / np.sqrt(np.maximum(n_shears, 1))
    there = np.column_stack([known[:, :3], n_shears > 0])
    numbers = np.column_stack([voigt[:, :3], shears])
    return numbers[there], np.broadcast_to([1.0, 1.0, 1.0, 0.0], there.shape)[there], np.nonzero(there)[0]


def _candidates(lines: dict[str, Line], reading: LabelReading) -> list[Candidate]:
    """Return what the labels might be; under a virial's key a stress in GPa would be two mistakes."""
    found = []
    for place, line in lines.items():
        sign = "-" if line.slope < 0 else ""
        units = STRESS_UNITS if place == "stress" else {"eV": 1.0}
        slope, misfit = abs(line.slope), _misfit(lines, place)
        key = f"units.{place}"
        for name, x in units.items():
            twice = reading.virial and place == "stress" and name != DEFAULT_UNITS["stress"]
            found.append(Candidate(key, f"{sign}{name}", slope * x, STIFF, misfit, twice=twice))
    return found


def _misfit(lines: dict[str, Line], place: str) -> float:
    least = max(min(line.misfit for line in lines.values()), 1e-12)
    return max(lines[place].misfit / least, 1.0)


def _taken(reading: LabelReading, lines: dict[str, Line]) -> Candidate:
    """Return the unit taken, under the candidates' spelling where they have it."""
    place = "virial" if reading.virial else "stress"
    known = STRESS_UNITS if place == "stress" else {"eV": 1.0}
    factor = reading.unit.factor
    name = next((name for name, x in known.items() if np.isclose(x, abs(factor))), reading.unit.text.lstrip("-"))
    sign = "-" if factor < 0 else ""
    return Candidate(f"units.{place}", f"{sign}{name}", lines[place].slope * factor, STIFF, _misfit(lines, place))


def _whole(evidence: Evidence, frames: Frames) -> Frames:
    """Return the frames all of whose components of the stress are labels."""
    return frames[evidence.stress_components(frames).all(axis=1)]


def _part(evidence: Evidence, reading: LabelReading) -> OtherUnitFrames | None:
    """Look for frames that follow the predictions in another unit only, the offset of the pressure taken out.

    Of a stress in a plane three numbers are known, too few to tell by one frame.
    """
    frames = _whole(evidence, reading.frames)
    if reading.virial or not len(frames):
        return None
    blocks = evidence.blocks[frames]
    labels, predicted = (
        full_to_voigt(np.array(values))
        for values in (evidence.label("stress", frames), evidence.prediction("stress", frames))
    )
    offset = np.median(labels[:, :3].mean(axis=1) - predicted[:, :3].mean(axis=1)) * _DIAGONAL
    # a frame whose sign depends on the offset does not tell
    cosines = np.array(
        [[cosine(y - shift, x) for shift in (0.0, offset)] for y, x in zip(labels, predicted, strict=True)]
    )
    told = (cosines[:, 1] > _ALIKE) | (cosines.max(axis=1) < -_OPPOSITE)
    told &= np.sqrt((predicted**2).mean(axis=1)) > _SIGNAL
    slopes = np.array([through_origin(x, y - offset) for y, x in zip(labels, predicted, strict=True)])
    slopes = np.where(told, slopes, np.nan)
    return part_by_slope(frames, slopes, blocks, reading.unit, "units.stress", STRESS_UNITS, STIFF)


def _finding(code: Code, fit: StressFit | None, reading: LabelReading) -> Finding:
    n = len(reading.frames)
    if fit is None:
        return code.skipped(
            f"The stresses of {count(n)} are too small or too different from the predictions to decide."
        )
    scale = fit.scale
    numbers = {"slope": scale.taken.slope, "explained": scale.explained, "n_frames": n}
    what = "a virial" if scale.best is not None and scale.best.key == "units.virial" else "the stress"
    return unit_finding(code, scale, fit.part, reading, what, numbers, partial(_concerns, code, scale.taken))


def _concerns(code: Code, taken: Candidate, key: str, unit: str) -> bool:
    """Say whether another unit is what a code looks at: the size, or the sign."""
    if code is STRESS_SIGN:
        return unit.startswith("-") != taken.unit.startswith("-")
    return (key, unit.removeprefix("-")) != (taken.key, taken.unit.removeprefix("-"))


# --- shear ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """Which order of the shear components fits, against leaving them: correlations with the predictions."""

    places: tuple[int, ...]
    fit: float
    as_read: float

    @property
    def wrong(self) -> bool:
        """True if the components must change places."""
        return self.places != _ORDERS[0]

    @property
    def text(self) -> str:
        """What stands in the places yz, xz, xy: ``"xz,yz,xy"``."""
        return ",".join(VOIGT[3 + place] for place in self.places)


def stress_shear(evidence: Evidence) -> Iterator[Finding]:
    """Judge the order of the shear components, by trajectory."""
    readings = evidence.readings("stress")
    if not readings:
        yield STRESS_SHEAR.skipped(evidence.why_unpaired("stress"))
    for reading in readings:
        fit = evidence.once(judge_stress, reading)
        sign = -1.0 if fit is not None and fit.scale.taken.slope < 0 else 1.0
        frames = _whole(evidence, reading.frames)
        if not len(frames):
            yield STRESS_SHEAR.skipped("the stress is a label in some components alone, as that of slabs is")
            continue
        judge = partial(judge_shear, evidence, sign)
        order, wrong = split_by_group(evidence, frames, judge, lambda order: order.wrong)
        wrong = np.array([i for i in wrong if not _contradicts(evidence, sign, order, i)], dtype=np.int64)
        scattered = _scattered(evidence, sign, frames) if order is not None and not len(wrong) else None
        yield _shear_finding(evidence, *(scattered or (order, wrong)), sign, replace(reading, frames=frames))


def judge_shear(evidence: Evidence, sign: float, frames: Frames) -> Order | None:
    """Return the order that fits some frames, None where their shear does not tell."""
    if len(frames) < _SHEAR_FRAMES:
        return None
    labels, predicted = _shears(evidence, sign, frames)
    if not labels.any() or not predicted.any():
        return None
    fits = [cosine(labels, predicted[:, list(order)]) for order in _ORDERS]
    ranked = np.argsort(fits)[::-1]
    best, as_read = int(ranked[0]), fits[0]
    other = as_read if best else fits[int(ranked[1])]
    return Order(_ORDERS[best], fits[best], as_read) if _clear(fits[best], other, labels.size) else None


def _contradicts(evidence: Evidence, sign: float, order: Order | None, frame: int) -> bool:
    """Say whether a frame that went with others fits as read, and not in the order found for them."""
    label = sign * full_to_voigt(evidence.label("stress", [frame])[0])[3:]
    predicted = full_to_voigt(evidence.prediction("stress", [frame])[0])[3:]
    if order is None or rms(predicted) < _SIGNAL:
        return False
    return cosine(label, predicted) > ALONE and cosine(label, predicted[list(order.places)]) < FITS


def _scattered(evidence: Evidence, sign: float, frames: Frames) -> tuple[Order, Frames] | None:
    """Look for frames that do not follow the predictions as read, and follow them in one other order, the same for all.

    Three numbers are too few to tell by one frame: by chance one in forty fits so well in a given order. Several frames
    of different trajectories that agree on the order are no chance, if they are most of those that do not fit as read.
    """
    labels, predicted = (
        full_to_voigt(np.array(values))[:, 3:]
        for values in (evidence.label("stress", frames), evidence.prediction("stress", frames))
    )
    sizes = np.linalg.norm(predicted, axis=1)
    told = sizes > max(_SIGNAL, _SIZEABLE * float(np.median(sizes)))
    fits = np.array(
        [[cosine(sign * y, x[list(order)]) for order in _ORDERS] for y, x in zip(labels, predicted, strict=True)]
    )
    astray = told & (fits[:, 0] < FITS)
    follow = astray[:, None] & (fits > ALONE)
    blocks = evidence.blocks[frames]
    votes = [len(np.unique(blocks[one])) for one in follow.T]
    best = int(np.argmax(votes))
    inside = follow[:, best]
    if votes[best] < _SCATTERED or 2 * inside.sum() <= astray.sum():
        return None
    return Order(_ORDERS[best], float(fits[inside, best].mean()), float(fits[inside, 0].mean())), frames[inside]


def _relative(shear: Array) -> Array:
    """Size of each frame's shear in typical ones: the few large ones are scaled down to that, so that none decides."""
    sizes = np.linalg.norm(shear, axis=1)
    return np.asarray(sizes / np.median(sizes[sizes > 0])) if sizes.any() else sizes


def _clear(best: float, other: float, n: int) -> bool:
    """Compare two correlations by Fisher's transform; `n` numbers went into each."""
    apart = np.arctanh(min(best, 0.999)) - np.arctanh(np.clip(other, -0.999, 0.999))
    return _better(best, other) and bool(apart * np.sqrt(n - 3) > SIGMAS)


def _better(best: float, other: float) -> bool:
    return best >= FITS and (best - other >= BETTER or 1 - other >= LESS_LEFT * (1 - best))


def _blocks_for(evidence: Evidence, sign: float, order: Order, frames: Frames) -> int:
    """Count the trajectories that follow the predictions in an order by themselves, and not as read.

    Those that as clearly say the opposite are taken off.
    """
    votes = 0
    for block in np.unique(evidence.blocks[frames]):
        members = frames[evidence.blocks[frames] == block]
        labels, predicted = _shears(evidence, sign, members)
        if rms(predicted) > _SIGNAL:
            found, as_read = (cosine(labels, predicted[:, list(places)]) for places in (order.places, _ORDERS[0]))
            votes += _better(found, as_read) - _better(as_read, found)
    return votes


def _shears(evidence: Evidence, sign: float, frames: Frames) -> tuple[Array, Array]:
    """Return labels and predictions, (n, 3) each, frames of large shear scaled down to the typical ones."""
    labels = sign * full_to_voigt(np.array(evidence.label("stress", frames)))[:, 3:]
    predicted = full_to_voigt(np.array(evidence.prediction("stress", frames)))[:, 3:]
    weights = 1 / np.maximum.reduce([_relative(labels), _relative(predicted), np.ones(len(frames))])
    return labels * weights[:, None], predicted * weights[:, None]


def _shear_finding(
    evidence: Evidence, order: Order | None, wrong: Frames, sign: float, reading: LabelReading
) -> Finding:
    n = len(reading.frames)
    if order is None:
        return STRESS_SHEAR.skipped(f"The shear stresses of {count(n)} do not decide the order.")
    numbers = {"correlation_as_read": order.as_read, "correlation_best": order.fit, "n_frames": n}
    if not len(wrong):
        fits = f"yz, xz and xy of {count(n)} correlate with the predictions by {order.fit:.2f} as read"
        return STRESS_SHEAR.passed(f"{fits}; every other order is worse.", **numbers)
    said = (
        f"In {count(len(wrong), n)} yz, xz and xy correlate with the predictions by {order.as_read:.2f} as read, "
        f"by {order.fit:.2f} if they hold {order.text.replace(',', ', ')}."
    )
    if reading.fixed:
        return disagreement(STRESS_SHEAR, wrong, said, numbers)
    numbers["n_blocks"] = _blocks_for(evidence, sign, order, wrong)
    told = f"say that {order.text} stand in the places yz, xz, xy"
    remedy, actions = apply_to(wrong, n, told, Action(settings={"shear": order.text}))
    if numbers["n_blocks"] >= BLOCKS:
        actions = actions or _group_action(evidence, wrong, order.text)
        return STRESS_SHEAR.failed(Fault(wrong, said, remedy, actions, numbers))
    said += f" {BLOCKS} or more trajectories that say so by themselves would settle it."
    remedy = f"compare one frame with the output of the code. If the order is wrong: {remedy}"
    return STRESS_SHEAR.failed(Fault(wrong, said, remedy, (), numbers, "warning"))


def _group_action(evidence: Evidence, wrong: Frames, order: str) -> list[Action]:
    """Return the action that puts right just these frames, where a tag tells them from the others: the shortest."""
    chosen = {int(i) for i in wrong}
    stressed = set(evidence.labelled("stress").tolist())
    found: list[dict[str, JsonValue]] = []
    for tag in ("config_type", "trajectory", "file"):
        values = evidence.dataset.tag(tag)
        inside, outside = {values[i] for i in chosen}, {values[i] for i in stressed - chosen}
        if "" not in inside and not inside & outside and not any("*" in value for value in inside):
            found.append({f"{tag}={group}": order for group in shortest_patterns(inside, outside)})
    return [Action(settings={"shear": min(found, key=len)})] if found else []

"""The force's unit and sign, and whether forces stand beside the atoms that they act on.

The slope of labels on predictions is a line through the origin; `matgraft.potentials.audit.scale` judges it. Then each
frame is held against its own predictions, for a part of the frames in another unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from matgraft.core.findings import Code, Fault, Finding
from matgraft.core.quantities import FORCE_UNITS, Array, Unit
from matgraft.potentials.audit.base import Evidence, Frames, LabelReading, count
from matgraft.potentials.audit.robust import cosine, rms, slope_error, through_origin
from matgraft.potentials.audit.scale import BLOCKS, Candidate, OtherUnitFrames, Scale, Support, choose_scale
from matgraft.potentials.audit.units import part_by_slope, rest_of, unit_finding

FORCE_UNIT = Code("force-unit", "unit and sign of the forces", "error")
FORCE_ORDER = Code("force-order", "forces beside the atoms that they act on", "warning")

_COMPONENTS = 30  # fewer decide nothing
_SIGNAL = 0.05  # eV/Å root mean square of the predictions; relaxed structures decide nothing
_COSINE = 0.8  # below, forces and predictions have too little in common for a slope; clean trajectories: 0.95

ALIKE = 0.85
"""Cosine of a single frame's forces and predictions from which on its own slope tells."""
_COMPONENTS_ALONE = 12  # of a single frame; fewer do not tell

_DIRECTIONS = 10.0
"""Independent directions of force from which on one trajectory decides by itself; a single mode has one."""
_COMPARED = 64  # frames of a trajectory between which directions are compared

LARGE = 0.2
"""eV/Å root mean square, of labels and predictions, from which on the two must point the same way."""

STRONG = 0.5
"""The same of the predictions alone: labels in a larger unit, or of something else than forces, are small numbers."""

ASTRAY = 0.3
"""Cosine below which large forces are taken for those of other atoms. The least in the Si and Mo sets is 0.93."""

_MATCHED_FRAMES = 8  # frames in which the best order is looked for, as evidence


@dataclass(frozen=True)
class ForceFit:
    """The verdict on the forces of some frames, and the frames of another unit among them."""

    scale: Scale
    part: OtherUnitFrames | None = None


def force_unit(evidence: Evidence) -> Iterator[Finding]:
    """Judge unit and sign of the forces of each reading, then frame by frame."""
    readings = evidence.readings("forces")
    if not readings:
        yield FORCE_UNIT.skipped(evidence.why_unpaired("forces"))
    for reading in readings:
        yield _finding(evidence.once(judge_forces, reading), reading)


def judge_forces(evidence: Evidence, reading: LabelReading) -> ForceFit | None:
    """Return the verdict, None where forces are too small or too unlike the predictions."""
    frames, unit = reading.frames, reading.unit
    labels, predicted = evidence.label("forces", frames), evidence.prediction("forces", frames)
    part, others = rest_of(_part(frames, labels, predicted, evidence.blocks[frames], unit), frames)
    labels, predicted = ([each[k] for k in np.flatnonzero(others)] for each in (labels, predicted))
    frames, blocks = frames[others], evidence.blocks[frames[others]]
    rows = np.repeat(np.arange(len(frames)), [x.size for x in labels])
    x, y = (np.concatenate([one.ravel() for one in each]) for each in (predicted, labels))
    alike = cosine(*(np.clip(each, *_bounds(each)) for each in (y, x)))
    if len(y) < _COMPONENTS or rms(x) < _SIGNAL or abs(alike) < _COSINE:
        return None
    slope = through_origin(x, y)
    error = slope_error(lambda kept: through_origin(x[kept], y[kept]), blocks[rows])
    n_blocks = len(np.unique(blocks))
    many = n_blocks < BLOCKS and _directions(predicted, blocks) >= _DIRECTIONS
    support = Support(n_blocks, error, many)
    taken = Candidate("units.forces", unit.text, slope)
    scale = choose_scale(_candidates(slope / unit.factor), taken, support, abs(alike))
    return ForceFit(scale, part if scale.right else None)


def _bounds(values: Array) -> tuple[float, float]:
    """Keep one wild number from deciding: ten times the size of the typical component."""
    size = 10 * float(np.mean(np.sort(np.abs(values))[: max(1, int(0.97 * len(values)))]))
    return -size, size


def _directions(forces: Sequence[Array], blocks: NDArray[np.int64]) -> float:
    """Count the directions in which forces point, block by block: n² over the sum of squared cosines between frames.

    It is the participation ratio of the eigenvalues of the matrix of cosines: 1 where all frames are alike, n where no
    two are.
    """
    total = 0.0
    for block in np.unique(blocks):
        members = [forces[int(k)].ravel() for k in np.flatnonzero(blocks == block) if forces[int(k)].any()]
        chosen = members[:: -(-len(members) // _COMPARED)] if members else []
        alike = [cosine(x, y) if x.shape == y.shape else 0.0 for x in chosen for y in chosen]
        total += len(chosen) ** 2 / float(np.sum(np.square(alike))) if chosen else 0.0
    return total


def _candidates(raw_slope: float) -> list[Candidate]:
    sign = "-" if raw_slope < 0 else ""
    return [Candidate("units.forces", f"{sign}{name}", abs(raw_slope) * factor) for name, factor in FORCE_UNITS.items()]


def _part(
    frames: Frames, labels: list[Array], predicted: list[Array], blocks: NDArray[np.int64], unit: Unit
) -> OtherUnitFrames | None:
    """Look for frames that follow the predictions in another unit only."""
    pairs = list(zip(labels, predicted, strict=True))
    told = np.array([y.size >= _COMPONENTS_ALONE and rms(x) > LARGE and abs(cosine(y, x)) > ALIKE for y, x in pairs])
    slopes = np.array([through_origin(x.ravel(), y.ravel()) for y, x in pairs])
    return part_by_slope(frames, np.where(told, slopes, np.nan), blocks, unit, "units.forces", FORCE_UNITS)


def _finding(fit: ForceFit | None, reading: LabelReading) -> Finding:
    n = len(reading.frames)
    if fit is None:
        return FORCE_UNIT.skipped(
            f"The forces of {count(n)} are too small or too different from the predictions to decide."
        )
    numbers = {"slope": fit.scale.taken.slope, "cosine": fit.scale.explained, "n_frames": n}
    return unit_finding(FORCE_UNIT, fit.scale, fit.part, reading, "the forces", numbers)


def force_order(evidence: Evidence) -> Iterator[Finding]:
    """Compare directions frame by frame, where forces are large."""
    frames = evidence.paired("forces")
    if not len(frames):
        yield FORCE_ORDER.skipped(evidence.why_unpaired("forces"))
        return
    labels, predicted = evidence.label("forces", frames), evidence.prediction("forces", frames)
    large = [k for k in range(len(frames)) if _must_point(labels[k], predicted[k])]
    if not large:
        yield FORCE_ORDER.skipped(f"No frame has forces above {LARGE} eV/Å, by its labels and by {evidence.model}.")
        return
    cosines = np.array([cosine(labels[k], predicted[k]) for k in large])
    # forces of the other sign are another finding
    astray = np.abs(cosines) < ASTRAY
    if not astray.any():
        least = f"the least cosine of labels and predictions is {cosines[np.argmin(np.abs(cosines))]:.2f}"
        yield FORCE_ORDER.passed(f"In {count(len(large))} with large forces {least}.", least_cosine=cosines.min())
        return
    chosen = [k for k, lost in zip(large, astray, strict=True) if lost]
    matched = [_best_cosine(evidence, int(frames[k]), labels[k], predicted[k]) for k in chosen[:_MATCHED_FRAMES]]
    yield _order_fault(frames[chosen], len(large), cosines[astray], np.array(matched))


def _must_point(labels: Array, predicted: Array) -> bool:
    """Say whether labels and predictions of a frame are so large that they point the same way, whatever their unit."""
    small, large = sorted((rms(labels), rms(predicted)))
    return len(labels) > 1 and small > 0 and (small > LARGE or (large == rms(predicted) and large > STRONG))


def _best_cosine(evidence: Evidence, i: int, labels: Array, predicted: Array) -> float:
    """Cosine after giving each force to the atom of its element that it fits best."""
    numbers = evidence.dataset.samples[i].content.numbers
    forces, wanted = labels / rms(labels), predicted / rms(predicted)
    cost = cdist(forces, wanted) + 1e3 * (numbers[:, None] != numbers)
    rows, columns = linear_sum_assignment(cost)
    return cosine(forces[rows], wanted[columns])


def _order_fault(frames: Frames, n_large: int, cosines: Array, matched: Array) -> Finding:
    said = (
        f"{count(len(frames))} of {n_large} with large forces have labels that do not point where the predictions do: "
        f"average cosine {cosines.mean():.2f}, after the best reordering of the atoms {matched.mean():.2f}."
    )
    remedy = (
        "see whether the writer sorted the atoms but not the forces, or turned the cell but not the forces, "
        "and whether these numbers are forces at all"
    )
    numbers = {"mean_cosine": cosines.mean(), "mean_cosine_reordered": matched.mean(), "n_large": n_large}
    return FORCE_ORDER.failed(Fault(frames, said, remedy, numbers=numbers))

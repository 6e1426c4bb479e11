"""The force's unit and sign, and whether forces stand beside the atoms that they act on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from matgraft.data.looks.base import Code, Evidence, Fault, Frames, Reading, count, split_by_group
from matgraft.data.looks.robust import cosine, least_absolute, rms
from matgraft.data.looks.scale import Candidate, Scale, choose_scale
from matgraft.findings import Action, Finding
from matgraft.quantities import FORCE_UNITS, Array, Unit

FORCE_UNIT = Code("force-unit", "unit and sign of the forces", "error")
FORCE_ORDER = Code("force-order", "forces beside the atoms that they act on", "warning")

_COMPONENTS = 30  # fewer decide nothing
_SIGNAL = 0.05  # eV/Å root mean square of the predictions; relaxed structures decide nothing
_COSINE = 0.8  # below, forces and predictions have too little in common for a slope; clean trajectories: 0.95

LARGE = 0.2
"""eV/Å root mean square, of labels and predictions, from which on the two must point the same way."""

ASTRAY = 0.3
"""Cosine below which large forces are taken for those of other atoms. The least in the Si and Mo sets is 0.93."""

_MATCHED_FRAMES = 8  # frames in which the best order is looked for, as evidence


def force_unit(evidence: Evidence) -> Iterator[Finding]:
    """Judge unit and sign of the forces, by trajectory."""
    readings = evidence.readings("forces")
    if not readings:
        yield FORCE_UNIT.skipped(evidence.why_unpaired("forces"))
    for reading in readings:
        judge = partial(judge_forces, evidence, reading.unit)
        scale, wrong = split_by_group(evidence, reading.frames, judge, lambda scale: not scale.right)
        yield _finding(scale, wrong, reading)


def judge_forces(evidence: Evidence, unit: Unit, frames: Frames) -> Scale | None:
    """Return the verdict on some frames, None where their forces are too small or too unlike the predictions."""
    labels = np.concatenate([x.ravel() for x in evidence.label("forces", frames)])
    predicted = np.concatenate([x.ravel() for x in evidence.prediction("forces", frames)])
    alike = cosine(*(np.clip(x, *_bounds(x)) for x in (labels, predicted)))
    if len(labels) < _COMPONENTS or rms(predicted) < _SIGNAL or abs(alike) < _COSINE:
        return None
    slope = float(least_absolute(predicted[:, None], labels)[0])
    taken = Candidate("units.forces", unit.text, slope)
    candidates = [_candidate(name, slope / unit.factor) for name in FORCE_UNITS]
    same = [one for one in candidates if np.isclose(one.slope, slope)]
    others = [one for one in candidates if one not in same]
    return choose_scale([taken, *others] if slope > 0 else candidates, taken, abs(alike))


def _bounds(values: Array) -> tuple[float, float]:
    """Keep one wild number from deciding: ten times the size of the typical component."""
    size = 10 * float(np.mean(np.sort(np.abs(values))[: max(1, int(0.97 * len(values)))]))
    return -size, size


def _candidate(name: str, raw_slope: float) -> Candidate:
    sign = "-" if raw_slope < 0 else ""
    return Candidate("units.forces", f"{sign}{name}", abs(raw_slope) * FORCE_UNITS[name])


def _finding(scale: Scale | None, wrong: Frames, reading: Reading) -> Finding:
    n = len(reading.frames)
    if scale is None:
        return FORCE_UNIT.skipped(f"The forces of {count(n)} are too small or too unlike the predictions to tell.")
    numbers = {"slope": scale.taken.slope, "cosine": scale.explained, "n_frames": n}
    if not len(wrong):
        return FORCE_UNIT.passed(f"In {count(n)} {scale.describe()}.", **numbers)
    said = f"In {count(len(wrong), n)} {scale.describe()}."
    if scale.best is None:
        return FORCE_UNIT.failed(Fault(wrong, said, scale.remedy("the forces"), numbers=numbers))
    remedy, actions = apply_to(wrong, n, scale.remedy("the forces"), scale.best.action)
    return FORCE_UNIT.failed(Fault(wrong, said, remedy, actions, numbers | {"slope_corrected": scale.best.slope}))


def apply_to(wrong: Frames, n: int, remedy: str, action: Action) -> tuple[str, list[Action]]:
    """Return remedy and actions; an action on all frames is not offered where some are right."""
    if len(wrong) == n:
        return remedy, [action]
    return f"for these frames alone, {remedy}: put them into a file of their own", []


def force_order(evidence: Evidence) -> Iterator[Finding]:
    """Compare directions frame by frame, where forces are large."""
    frames = evidence.paired("forces")
    if not len(frames):
        yield FORCE_ORDER.skipped(evidence.why_unpaired("forces"))
        return
    labels, predicted = evidence.label("forces", frames), evidence.prediction("forces", frames)
    large = [k for k in range(len(frames)) if min(rms(labels[k]), rms(predicted[k])) > LARGE and len(labels[k]) > 1]
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
    remedy = "see whether the writer sorted the atoms but not the forces, or turned the cell but not the forces"
    numbers = {"mean_cosine": cosines.mean(), "mean_cosine_reordered": matched.mean(), "n_large": n_large}
    return FORCE_ORDER.failed(Fault(frames, said, remedy, numbers=numbers))

"""The energy's unit, and whether it is of the cell or per atom.

Absolute energies of two codes or pseudopotentials differ by hundreds of eV an atom, so differences decide: labels are
regressed on predictions beside one reference per element, all per atom, and `matgraft.potentials.audit.scale` judges
the slope. Where frames differ in size, the wrong one of the two conventions does not fit a line at all, whatever its
slope. Absolute energies are a second witness: where they agree with the predicted ones in one unit, the labels are in
it.

Where the unit stands for most frames, those far off the line are tried in the other units: the line itself says where
they should be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from matgraft.core.findings import Code, Finding
from matgraft.core.quantities import ENERGY_UNITS, Array, Unit, parse_unit
from matgraft.potentials.audit.base import Evidence, Frames, LabelReading
from matgraft.potentials.audit.robust import Line, fit_line, least_absolute, line_slope, slope_error, spread, typical
from matgraft.potentials.audit.scale import (
    MISFIT,
    Candidate,
    OtherUnitFrames,
    Scale,
    Support,
    choose_scale,
    find_part,
    stretches,
)
from matgraft.potentials.audit.steps import Step, find_step
from matgraft.potentials.audit.units import unit_finding

ENERGY_UNIT = Code("energy-unit", "unit of the energy", "error")
ENERGY_PER_ATOM = Code("energy-per-atom", "energy of the cell or per atom", "error")

_EXPLAINED, _EXPLAINED_ALL = 0.3, 0.7
"""Part of the energy differences that the predictions must explain for the slope to mean anything; the same where
frames are too few for one reference per element."""
_SMALLEST_SPREAD = 1e-3  # eV/atom; energies closer than this decide nothing
_COHESION = 0.5  # eV/atom; smaller predicted energies are no measure of absolute ones
_SCATTER = 0.2  # of the logarithm of absolute labels over predictions between blocks, beyond which they do not tell
_LEVERAGE, _MOST = 10.0, 0.8
"""Times the bulk's distance from the references, beyond which a predicted energy is out of reach, and the part of the
frames that must be within."""
OFF, OFF_TIMES = 0.4, 10.0
"""eV/atom off the line, and standard deviations of the bulk, from which on a frame is tried in other units."""
_BACK_TIMES = 5.0  # standard deviations of the bulk within which another unit must bring it back


@dataclass(frozen=True)
class EnergyFit:
    """Labels against predictions, per atom, in the unit and convention that fit best.

    Attributes
    ----------
    frames
        Positions in the dataset.
    scale
        The verdict on the unit.
    residuals
        (n,) eV/atom on the scale of the predictions: label minus line.
    part
        Frames that stand on the line in another unit, where there are some.
    step
        Frames that stand on a line of their own, a constant per atom away, where there are some.
    """

    frames: Frames
    scale: Scale
    residuals: Array
    part: OtherUnitFrames | None = None
    step: Step | None = None


def energy_convention(evidence: Evidence) -> Iterator[Finding]:
    """Judge unit and convention of the energies of each reading."""
    readings = evidence.readings("energy")
    if not readings:
        yield from (code.skipped(evidence.why_unpaired("energy")) for code in (ENERGY_UNIT, ENERGY_PER_ATOM))
    for reading in readings:
        fit = evidence.once(fit_energy, reading)
        for code in (ENERGY_UNIT, ENERGY_PER_ATOM):
            yield code.skipped(fit) if isinstance(fit, str) else _finding(code, fit, reading)


def fit_energy(evidence: Evidence, reading: LabelReading) -> EnergyFit | str:
    """Fit labels to predictions, on two parallel lines where it takes two; a sentence why not, where that cannot be."""
    frames, n_atoms = reading.frames, evidence.n_atoms[reading.frames]
    predicted = np.array(evidence.prediction("energy", frames)) / n_atoms
    one = _fit(evidence, reading, predicted)
    step = evidence.once(energy_step, reading)
    if step is not None and not isinstance(one, str) and one.part is not None:
        explained = np.isin(frames[step.inside], one.part.frames).mean()
        if explained > _MOST:  # by another unit
            return one
    two = one if step is None else _fit(evidence, reading, predicted, step)
    if isinstance(two, str) or not two.scale.right:
        return one
    return two if isinstance(one, str) or 2 * typical(two.residuals) < typical(one.residuals) else one


def energy_step(evidence: Evidence, reading: LabelReading) -> Step | None:
    """Look for frames whose energies stand a constant per atom off the others."""
    frames, n_atoms = reading.frames, evidence.n_atoms[reading.frames]
    predicted = np.array(evidence.prediction("energy", frames)) / n_atoms
    labels = np.array(evidence.label("energy", frames)) / n_atoms
    fractions = evidence.fractions[frames]
    return find_step(predicted, labels, fractions[:, fractions.any(axis=0)], evidence.blocks[frames])


def _fit(evidence: Evidence, reading: LabelReading, predicted: Array, step: Step | None = None) -> EnergyFit | str:
    """Fit labels to predictions (n,) in eV/atom, beside references; frames of a step have references of their own."""
    frames, n_atoms = reading.frames, evidence.n_atoms[reading.frames]
    other, least_explained = references(evidence, frames)
    if len(frames) < other.shape[1] + 4:
        return f"{len(frames)} energies are too few beside {other.shape[1]} reference energies"
    if spread(predicted - other @ np.linalg.lstsq(other, predicted, rcond=None)[0]) < _SMALLEST_SPREAD:
        return f"by {evidence.model} the energies of these structures differ by less than 1 meV/atom"
    if step is not None:
        other = np.column_stack([other, step.inside[:, None] * other])
    raw = _raw(evidence, reading)
    labels = {False: raw / n_atoms, True: raw}
    kept = _within_reach(predicted, other)
    lines = {per: _line(predicted, labels[per], other, kept) for per in labels}
    best = min(lines.values(), key=lambda line: line.misfit)
    explained = 1 - min(line.median_misfit for line in lines.values() if line.misfit <= MISFIT * best.misfit)
    if explained < least_explained:
        return f"the energies do not follow {evidence.model}, which explains {explained:.0%} of their differences"
    blocks = evidence.blocks[frames]
    closest = labels[next(per for per, line in lines.items() if line is best)]
    support = _support(predicted[kept], closest[kept], other[kept], blocks[kept])
    known = _known(reading.unit)
    absolute = {per: _absolute(labels[per], predicted, blocks) for per in lines}
    candidates = [_from(one, reading.unit) for per in lines for one in _candidates(per, lines, absolute[per], known)]
    scale = choose_scale(candidates, _taken(reading.unit, candidates, known), support, explained)
    per = (scale.best if scale.sure and scale.best else scale.taken).unit.endswith("/atom")
    residuals = lines[per].residuals / lines[per].slope
    fit = EnergyFit(frames, scale, residuals, step=step)
    return replace(fit, part=_part(fit, reading, labels, lines, blocks)) if scale.right else fit


def _within_reach(predicted: Array, other: Array) -> NDArray[np.bool_]:
    """Leave out frames far off all others in their predicted energy, such as isolated atoms: they alone would decide.

    It is what a bounded-influence estimator does with points of high leverage (Mallows 1975).
    """
    rest = np.abs(predicted - other @ least_absolute(other, predicted))
    kept = rest <= _LEVERAGE * max(spread(rest), float(np.median(rest)))
    return kept if kept.mean() > _MOST else np.ones(len(kept), dtype=bool)


def _line(predicted: Array, labels: Array, other: Array, kept: NDArray[np.bool_]) -> Line:
    """Fit the frames kept; the residuals are of all."""
    line = fit_line(predicted[kept], labels[kept], other[kept])
    if kept.all():
        return line
    references = least_absolute(other[kept], labels[kept] - line.slope * predicted[kept])
    return replace(line, residuals=labels - line.slope * predicted - other @ references)


def references(evidence: Evidence, frames: Frames) -> tuple[Array, float]:
    """Return one column per element, or a constant where frames are too few, and the part to be explained."""
    fractions = evidence.fractions[frames]
    fractions = fractions[:, fractions.any(axis=0)]
    if len(frames) >= fractions.shape[1] + 4:
        return fractions, _EXPLAINED
    return np.ones((len(frames), 1)), _EXPLAINED_ALL


def _raw(evidence: Evidence, reading: LabelReading) -> Array:
    """Return the numbers as they stood in the file."""
    labels = np.array(evidence.label("energy", reading.frames))
    return reading.unit.from_canonical(labels, 1) / np.where(reading.unit.per_atom, evidence.n_atoms[reading.frames], 1)


def _support(predicted: Array, labels: Array, other: Array, blocks: Frames) -> Support:
    """Say what the slope rests on; every reference energy takes up a block."""

    def slope(kept: np.ndarray) -> float:
        return line_slope(predicted[kept], labels[kept], other[kept])

    n_blocks = len(np.unique(blocks)) + 1 - int(np.linalg.matrix_rank(other))
    return Support(max(n_blocks, 1), slope_error(slope, blocks))


def _absolute(labels: Array, predicted: Array, blocks: Frames) -> float | None:
    """Return the ratio of absolute labels to predictions, one per block; None where it differs between blocks."""
    inside = (np.abs(predicted) > _COHESION) & (labels != 0)
    if inside.sum() < max(1, len(labels) / 2):
        return None
    ratios = labels[inside] / predicted[inside]
    each = np.array([np.median(ratios[blocks[inside] == block]) for block in np.unique(blocks[inside])])
    centre = float(np.median(each))
    same = each * np.sign(centre) > 0
    if same.mean() < 0.8 or spread(np.log(np.abs(each[same]))) > _SCATTER:
        return None
    return centre


def _known(unit: Unit) -> dict[str, float]:
    """Return the units to try, with the one taken where it is another."""
    if any(np.isclose(factor, abs(unit.factor)) for factor in ENERGY_UNITS.values()):
        return ENERGY_UNITS
    return {**ENERGY_UNITS, unit.text.strip("- ").removesuffix("/atom"): abs(unit.factor)}


def _candidates(
    per: bool, lines: dict[bool, Line], absolute: float | None, known: Mapping[str, float]
) -> list[Candidate]:
    """Return the units of one convention, with the sign that makes the slope positive."""
    least = max(min(line.misfit for line in lines.values()), 1e-12)
    sign = -1.0 if lines[per].slope < 0 else 1.0
    return [
        Candidate(
            "units.energy",
            f"{'-' if sign < 0 else ''}{name}{'/atom' if per else ''}",
            abs(lines[per].slope) * factor,
            misfit=max(lines[per].misfit / least, 1.0),
            absolute=None if absolute is None else _log(absolute * sign * factor),
        )
        for name, factor in known.items()
    ]


def _from(candidate: Candidate, taken: Unit) -> Candidate:
    """Say whether a candidate departs from the unit taken in its size and its convention at once."""
    unit = parse_unit(candidate.unit, "energy")
    resized = not np.isclose(abs(unit.factor), abs(taken.factor))
    return replace(candidate, twice=bool(resized and unit.per_atom != taken.per_atom))


def _log(ratio: float) -> float:
    return float(np.log(ratio)) if ratio > 0 else np.inf


def _taken(unit: Unit, candidates: list[Candidate], known: Mapping[str, float]) -> Candidate:
    """Return the unit taken, under the candidates' spelling; its slope is negative if they have the other sign."""
    name = next(name for name, factor in known.items() if np.isclose(factor, abs(unit.factor)))
    body = f"{name}{'/atom' if unit.per_atom else ''}"
    one = next(one for one in candidates if one.unit.removeprefix("-") == body)
    text = ("-" if unit.factor < 0 else "") + body
    if one.unit == text:
        return one
    return replace(one, unit=text, slope=-one.slope, absolute=one.absolute and np.inf)


def _part(
    fit: EnergyFit, reading: LabelReading, labels: dict[bool, Array], lines: dict[bool, Line], blocks: Frames
) -> OtherUnitFrames | None:
    """Look among frames far off the line for those that another unit brings back onto it."""
    unit = reading.unit
    line = lines[unit.per_atom]
    expected = (labels[unit.per_atom] - line.residuals) * unit.factor
    off = np.abs(line.residuals * unit.factor)
    bulk = spread(line.residuals * unit.factor)
    far = off > max(OFF, OFF_TIMES * bulk)
    back = {
        ("units.energy", f"{sign}{name}{'/atom' if per else ''}"): far & (rest < _BACK_TIMES * bulk) & (rest < off / 5)
        for per in labels
        for name, factor in ENERGY_UNITS.items()
        for sign in ("", "-")
        for rest in [np.abs(float(f"{sign}1") * factor * labels[per] - expected)]
    }
    return find_part(fit.frames, back, stretches(far, blocks))


def _finding(code: Code, fit: EnergyFit, reading: LabelReading) -> Finding:
    scale = fit.scale
    numbers = {"slope": scale.taken.slope, "explained": scale.explained, "n_frames": len(fit.frames)}
    return unit_finding(code, scale, fit.part, reading, "the energies", numbers, partial(_concerns, code, reading.unit))


def _concerns(code: Code, taken: Unit, key: str, unit: str) -> bool:
    """Say whether another unit is what a code looks at: the unit, or whether it is of the cell or per atom."""
    found = parse_unit(unit, "energy")
    if code is ENERGY_PER_ATOM:
        return found.per_atom != taken.per_atom
    return not np.isclose(found.factor, taken.factor)

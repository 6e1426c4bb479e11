"""The energy's unit, and whether it is of the cell or per atom.

Absolute energies of two codes or pseudopotentials differ by hundreds of eV an atom, so only differences count: labels
are regressed on predictions beside one reference per element, all per atom. Taken rightly, the slope is about 1 (see
`matgraft.data.looks.scale`); energies in Hartree give 1/27.2, energies per atom taken for those of the cell give 1/N.
Where frames differ in size, the wrong one of the two conventions does not fit a line at all, whatever its slope.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from matgraft.data.looks.base import Code, Evidence, Fault, Frames, Reading
from matgraft.data.looks.robust import Line, fit_line, spread
from matgraft.data.looks.scale import Candidate, Scale, choose_scale
from matgraft.findings import Finding
from matgraft.quantities import ENERGY_UNITS, Array, Unit, parse_unit

ENERGY_UNIT = Code("energy-unit", "unit of the energy", "error")
ENERGY_PER_ATOM = Code("energy-per-atom", "energy of the cell or per atom", "error")

MISFIT_RATIO = 1.5
"""A convention whose misfit exceeds the other's by this factor is out."""

_EXPLAINED = 0.3  # part of the energy differences that the predictions must explain for the slope to mean anything
_SMALLEST_SPREAD = 1e-3  # eV/atom; energies closer than this decide nothing


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
    """

    frames: Frames
    scale: Scale
    residuals: Array


def energy_convention(evidence: Evidence) -> Iterator[Finding]:
    """Judge unit and convention of the energies of each reading."""
    readings = evidence.readings("energy")
    if not readings:
        yield from (code.skipped(evidence.why_unpaired("energy")) for code in (ENERGY_UNIT, ENERGY_PER_ATOM))
    for reading in readings:
        fit = fit_energy(evidence, reading)
        for code in (ENERGY_UNIT, ENERGY_PER_ATOM):
            yield code.skipped(fit) if isinstance(fit, str) else _finding(code, fit, reading)


def fit_energy(evidence: Evidence, reading: Reading) -> EnergyFit | str:
    """Fit labels to predictions; a sentence why not, where that cannot be."""
    frames = reading.frames
    predicted = np.array(evidence.prediction("energy", frames)) / evidence.n_atoms[frames]
    fractions = evidence.fractions[frames]
    fractions = fractions[:, fractions.any(axis=0)]
    if len(frames) < fractions.shape[1] + 4:
        return f"{len(frames)} energies are too few beside {fractions.shape[1]} reference energies"
    if spread(predicted - fractions @ np.linalg.lstsq(fractions, predicted, rcond=None)[0]) < _SMALLEST_SPREAD:
        return f"by {evidence.model} the energies of these structures differ by less than 1 meV/atom"
    n_atoms = evidence.n_atoms[frames]
    raw = _raw(evidence, reading)
    lines = {per: fit_line(predicted, raw if per else raw / n_atoms, fractions) for per in (False, True)}
    least = min(line.misfit for line in lines.values())
    kept = {per: line for per, line in lines.items() if line.misfit <= MISFIT_RATIO * least}
    explained = 1 - min(line.median_misfit for line in kept.values())
    if explained < _EXPLAINED:
        return f"the energies do not follow {evidence.model}, which explains {explained:.0%} of their differences"
    scale = choose_scale(_candidates(kept), _taken(reading.unit, lines), explained)
    best = lines[(scale.best or scale.taken).unit.endswith("/atom")]
    return EnergyFit(frames, scale, best.residuals / best.slope)


def _raw(evidence: Evidence, reading: Reading) -> Array:
    """Return the numbers as they stood in the file."""
    labels = np.array(evidence.label("energy", reading.frames))
    return reading.unit.from_canonical(labels, 1) / np.where(reading.unit.per_atom, evidence.n_atoms[reading.frames], 1)


def _candidates(lines: dict[bool, Line]) -> list[Candidate]:
    return [_candidate(name, per, line.slope) for per, line in lines.items() for name in ENERGY_UNITS]


def _candidate(name: str, per_atom: bool, slope: float) -> Candidate:
    sign = "-" if slope < 0 else ""
    return Candidate("units.energy", f"{sign}{name}{'/atom' if per_atom else ''}", abs(slope) * ENERGY_UNITS[name])


def _taken(unit: Unit, lines: dict[bool, Line]) -> Candidate:
    """Return the unit taken, under the candidates' spelling."""
    name = next(name for name, factor in ENERGY_UNITS.items() if np.isclose(factor, abs(unit.factor)))
    sign = "-" if unit.factor < 0 else ""
    slope = lines[unit.per_atom].slope * unit.factor
    return Candidate("units.energy", f"{sign}{name}{'/atom' if unit.per_atom else ''}", slope)


def _finding(code: Code, fit: EnergyFit, reading: Reading) -> Finding:
    scale = fit.scale
    numbers = {"slope": scale.taken.slope, "explained": scale.explained, "n_frames": len(fit.frames)}
    said = f"{scale.describe()[0].upper()}{scale.describe()[1:]} ({len(fit.frames)} frames, differences only)."
    if scale.best is None:
        if code is ENERGY_PER_ATOM:
            return code.skipped("The slope fits no known unit; see energy-unit.", **numbers)
        return code.failed(Fault(fit.frames, said, scale.remedy("the energies"), numbers=numbers))
    found = parse_unit(scale.best.unit, "energy")
    same_unit = np.isclose(found.factor, reading.unit.factor)
    wrong = (found.per_atom != reading.unit.per_atom) if code is ENERGY_PER_ATOM else not same_unit
    if not wrong:
        return code.passed(said, **numbers)
    numbers["slope_corrected"] = scale.best.slope
    fault = Fault(fit.frames, said, scale.remedy("the energies"), [scale.best.action], numbers)
    return code.failed(fault)

"""Labels of a cheap method beside those of the frames: a difference that is larger than the label is no correction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from matgraft.core.findings import Action, Code, Fault, Finding, Severity
from matgraft.core.quantities import ENERGY, ENERGY_UNITS, FORCE_UNITS, FORCES, STRESS, STRESS_UNITS, Array
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.data.sample import Sample

CHEAP_LABEL = Code("cheap-label", "labels of the cheap method")

_UNITS: Mapping[str, Mapping[str, float]] = {
    ENERGY.name: ENERGY_UNITS,
    FORCES.name: FORCE_UNITS,
    STRESS.name: STRESS_UNITS,
}
_BESIDE_REFERENCES = 4
"""Energies that there must be beside one for each element, as for the unit of the labels."""
_NEARER = 0.5
"""Part of the difference that another unit must leave at most, to be named."""


def cheap_label(evidence: Evidence) -> Iterator[Finding]:
    """Hold each label against the same one by the cheap method, as read and in other units."""
    cheap = {name for sample in evidence.dataset for name in sample.cheap}
    faults, said = [], []
    for quantity in sorted(cheap):
        frames = [i for i, sample in enumerate(evidence.dataset) if _has_both(sample, quantity)]
        if len(frames) < _fewest(evidence, quantity, frames):
            continue
        label, other = _pairs(evidence, quantity, frames)
        whole, left = _size(label), _size(label - other)
        said.append(f"{quantity}: the difference is {left / whole:.3g} of the label" if whole else f"{quantity}: zero")
        trials = {unit: _size(label - factor * other) for unit, factor in _UNITS[quantity].items() if factor != 1}
        trials |= {f"-{unit}": _size(label + factor * other) for unit, factor in _UNITS[quantity].items()}
        best = min(trials, key=lambda unit: trials[unit])
        if trials[best] < _NEARER * min(left, whole):
            faults.append(_in_another_unit(quantity, frames, best, trials[best], left))
        elif left > whole:
            faults.append(_of_no_use(quantity, frames, left, whole))
    if not said:
        yield CHEAP_LABEL.skipped("too few frames have a label of a cheap method beside their own")
    elif not faults:
        yield CHEAP_LABEL.passed("; ".join(said).capitalize() + ", by root mean squares")
    for fault in faults:
        yield CHEAP_LABEL.failed(fault)


def _pairs(evidence: Evidence, quantity: str, frames: list[int]) -> tuple[Array, Array]:
    """Return labels and cheap labels of some frames, (n,): energies an atom, without a reference of each element."""
    samples = [evidence.dataset[i] for i in frames]
    if quantity != ENERGY.name:
        known = [np.logical_and(~np.isnan(one.cheap[quantity]), one.components.get(quantity, True)) for one in samples]
        label, other = (
            np.concatenate([values[own] for values, own in zip(each, known, strict=True)])
            for each in ([one.labels[quantity] for one in samples], [one.cheap[quantity] for one in samples])
        )
        return label, other
    fractions = evidence.fractions[frames]
    both = np.array([[sample.labels[quantity], sample.cheap[quantity]] for sample in samples], dtype=float)
    both /= evidence.n_atoms[frames][:, None]
    both -= fractions @ np.linalg.lstsq(fractions, both, rcond=None)[0]
    return both[:, 0], both[:, 1]


def _fewest(evidence: Evidence, quantity: str, frames: list[int]) -> int:
    """Return how many frames tell: of energies more than there are reference energies, which fit so many exactly."""
    n_elements = int(np.count_nonzero(evidence.fractions[frames].any(axis=0))) if frames else 0
    return n_elements + _BESIDE_REFERENCES if quantity == ENERGY.name else 3


def _has_both(sample: Sample, quantity: str) -> bool:
    label = sample.labels.get(quantity)
    return label is not None and quantity in sample.cheap and bool(np.isfinite(label).all())


def _size(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _in_another_unit(quantity: str, frames: list[int], unit: str, left: float, as_read: float) -> Fault:
    text = (
        f"{quantity} of the cheap method: taken in {unit}, the difference to the labels is {left:.3g}; as read it is "
        f"{as_read:.3g} (root mean square)"
    )
    severity: Severity = "error"
    option = Action(settings={f"delta.units.{quantity}": unit})
    return Fault(frames, text, "say the unit of the cheap label", [option], {}, severity)


def _of_no_use(quantity: str, frames: list[int], left: float, whole: float) -> Fault:
    text = (
        f"{quantity}: the difference to the cheap method ({left:.3g}, root mean square) is larger than the label "
        f"itself ({whole:.3g}): there is more to learn than without it"
    )
    severity: Severity = "warning"
    return Fault(frames, text, "take another cheap method, or learn the labels themselves", [], {}, severity)

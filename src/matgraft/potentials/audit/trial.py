"""Every unit, sign and order is tried on the labels before it is offered: it must bring them nearer to the foundation.

The looks reason on slopes and correlations. Here the labels are read once more as the option says, and compared with
the predictions number by number. A remedy after which they are farther off than before would spoil right labels, or
leave wrong ones wrong: it is taken back, and the finding warns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import JsonValue

from matgraft.core.findings import Action, Finding
from matgraft.core.quantities import Array, full_to_voigt, parse_shear, parse_unit, reorder_shear
from matgraft.potentials.audit.base import Evidence, Frames
from matgraft.potentials.audit.energy import references
from matgraft.potentials.audit.robust import least_absolute, typical
from matgraft.potentials.data.repair import in_group

_QUANTITY = {
    "units.energy": "energy",
    "units.forces": "forces",
    "units.stress": "stress",
    "units.virial": "stress",
    "shear": "stress",
}
"""Option that reads a label otherwise -> the label."""

_NEARER = 0.8
"""Part of the distance that may be left: numbers a thousand times too large seem a little nearer in either sign."""


def nearer_after(evidence: Evidence, finding: Finding) -> Finding:
    """Return a finding without the actions that would move labels away from the predictions."""
    kept = tuple(action for action in finding.actions if _helps(evidence, finding.frames, action))
    if kept == finding.actions:
        return finding
    remedy = (
        f"{finding.remedy}. Tried on these frames, it moves the labels away from the predictions: it is not offered"
    )
    severity = finding.severity if kept else "warning"
    return finding.model_copy(update={"actions": kept, "remedy": remedy, "severity": severity})


def _helps(evidence: Evidence, frames: Sequence[int], action: Action) -> bool:
    """Say whether an action brings the labels of some frames nearer; one that reads none otherwise does no harm."""
    said = [(name, value) for name, value in action.settings.items() if name in _QUANTITY]
    for name, value in said:
        quantity = _QUANTITY[name]
        judged = np.intersect1d(np.array(frames, dtype=np.int64), evidence.paired(quantity))
        if len(judged):
            distance = _shear_distance if name == "shear" else _DISTANCES[quantity]
            before = evidence.label(quantity, judged)
            after = _reread(evidence, judged, before, name, value)
            if distance(evidence, judged, after) > _NEARER * distance(evidence, judged, before):
                return False
    return True


def _reread(evidence: Evidence, frames: Frames, labels: Sequence[Array], name: str, value: JsonValue) -> list[Array]:
    """Return labels as they would be read under an option."""
    if name == "shear":
        return [_reordered(evidence, int(i), label, value) for i, label in zip(frames, labels, strict=True)]
    readings = {int(i): reading for reading in evidence.readings(_QUANTITY[name]) for i in reading.frames}
    new, found = parse_unit(str(value), name.removeprefix("units.")), []
    for i, label in zip(frames.tolist(), labels, strict=True):
        n, reading = int(evidence.n_atoms[i]), readings[i]
        volume = evidence.volumes[i]
        raw = reading.unit.from_canonical(-label * volume if reading.virial else label, n)
        label = new.to_canonical(raw, n)
        found.append(-label / volume if name == "units.virial" else label)
    return found


def _reordered(evidence: Evidence, i: int, stress: Array, order: JsonValue) -> Array:
    if isinstance(order, Mapping):
        sample = evidence.dataset.samples[i]
        order = next((own for group, own in order.items() if in_group(sample, group)), None)
    return stress if order is None else reorder_shear(stress, parse_shear(str(order)))


# --- how far labels are from predictions: 0 where they agree, 1 where they have nothing in common ---------------------

Distance = Callable[[Evidence, Frames, Sequence[Array]], float]


def _apart(x: Array, y: Array) -> float:
    """Return the size of the difference over both sizes, the largest 3 % of each left out.

    It is the same for labels that are twice and half of what they should be.
    """
    size = typical(x) + typical(y)
    return typical(x - y) / size if size else 0.0


def _energy_distance(evidence: Evidence, frames: Frames, labels: Sequence[Array]) -> float:
    """Compare differences of energies per atom: each of the two beside references of its own."""
    other, _ = references(evidence, frames)
    n_atoms = evidence.n_atoms[frames]
    both = (np.array(values) / n_atoms for values in (evidence.prediction("energy", frames), labels))
    return _apart(*(each - other @ least_absolute(other, each) for each in both))


def _force_distance(evidence: Evidence, frames: Frames, labels: Sequence[Array]) -> float:
    return _apart(*(np.concatenate([x.ravel() for x in y]) for y in (evidence.prediction("forces", frames), labels)))


def _stress_distance(evidence: Evidence, frames: Frames, labels: Sequence[Array]) -> float:
    """Compare the components, the typical pressure taken out of both: foundations and small basis sets have one."""
    known = evidence.stress_components(frames)
    both = [full_to_voigt(np.array(values)) for values in (evidence.prediction("stress", frames), labels)]
    for voigt in both:
        diagonal = np.sum(voigt[:, :3], axis=1, where=known[:, :3]) / np.maximum(known[:, :3].sum(axis=1), 1)
        voigt[:, :3] -= np.median(diagonal)
    return _apart(*(voigt[known] for voigt in both))


def _shear_distance(evidence: Evidence, frames: Frames, labels: Sequence[Array]) -> float:
    both = (full_to_voigt(np.array(values))[:, 3:] for values in (evidence.prediction("stress", frames), labels))
    return _apart(*(shear.ravel() for shear in both))


_DISTANCES: Mapping[str, Distance] = {
    "energy": _energy_distance,
    "forces": _force_distance,
    "stress": _stress_distance,
}

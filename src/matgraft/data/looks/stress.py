"""The stress's unit and sign, whether it is a virial, and the order of its shear components.

Unit and sign come from xx, yy, zz and the sum of the three shears, which no order changes, with one offset for the
pressure: foundations have one, and so do labels with too small a basis (Pulay). The order comes from the correlation of
the three shears with the predictions under all six orders, trajectory by trajectory: sets are seen that mix two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import permutations

import numpy as np

from matgraft.data.looks.base import Code, Evidence, Fault, Frames, Reading, count, split_by_group
from matgraft.data.looks.energy import MISFIT_RATIO
from matgraft.data.looks.forces import apply_to
from matgraft.data.looks.robust import Line, cosine, fit_line, rms
from matgraft.data.looks.scale import STIFF, Candidate, Scale, choose_scale
from matgraft.findings import Action, Finding
from matgraft.quantities import STRESS_UNITS, VOIGT, Array, full_to_voigt

STRESS_UNIT = Code("stress-unit", "unit of the stress, or a virial in its place", "error")
STRESS_SIGN = Code("stress-sign", "sign of the stress", "error")
STRESS_SHEAR = Code("stress-shear", "order of the shear components of the stress", "error")

_FRAMES = 4  # fewer do not decide on a unit
_EXPLAINED = 0.5  # part of the stress that the predictions must explain for the slope to mean anything
_SIGNAL = 1e-4  # eV/Å³ (16 MPa) typical size below which stresses decide nothing

_ORDERS = tuple(permutations(range(3)))  # the first leaves everything in its place
_SHEAR_FRAMES = 3

ALONE = 0.95
"""Correlation of three components in one frame, as read, that clears it where the others are wrong."""

FITS, SIGMAS = 0.6, 4.0
"""An order is found if it correlates by at least `FITS`, and by `SIGMAS` standard errors more than the other."""

BETTER, LESS_LEFT = 0.3, 3.0
"""It must also correlate by so much more, or leave so many times less unexplained."""


def stress_unit_and_sign(evidence: Evidence) -> Iterator[Finding]:
    """Judge unit and sign of the stress, by trajectory."""
    readings = evidence.readings("stress")
    if not readings:
        yield from (code.skipped(evidence.why_unpaired("stress")) for code in (STRESS_UNIT, STRESS_SIGN))
    for reading in readings:
        judge = partial(judge_stress, evidence, reading)
        scale, faulty = split_by_group(evidence, reading.frames, judge, _wrong_size)
        yield _finding(STRESS_UNIT, scale, faulty, len(reading.frames))
        scale, faulty = split_by_group(evidence, reading.frames, judge, _wrong_sign)
        yield _finding(STRESS_SIGN, scale, faulty, len(reading.frames))


def judge_stress(evidence: Evidence, reading: Reading, frames: Frames) -> Scale | None:
    """Return the verdict on some frames, None where they have too little stress in common with the predictions."""
    if len(frames) < _FRAMES:
        return None
    predicted, pressure = _rows(np.array(evidence.prediction("stress", frames)))
    canonical, _ = _rows(np.array(evidence.label("stress", frames)))
    volumes = np.repeat(evidence.volumes[frames], 4)
    raw = canonical / reading.unit.factor * (-volumes if reading.virial else 1)
    if rms(predicted) < _SIGNAL:
        return None
    lines = {
        "stress": fit_line(predicted, raw, pressure[:, None]),
        "virial": fit_line(predicted, -raw / volumes, pressure[:, None]),
    }
    least = min(line.misfit for line in lines.values())
    kept = {place: line for place, line in lines.items() if line.misfit <= MISFIT_RATIO * least}
    # the few frames with a large stress count as much as the many without
    explained = 1 - min(min(line.misfit, line.median_misfit) for line in kept.values())
    if explained < _EXPLAINED:
        return None
    taken = _taken(reading, lines)
    others = [one for one in _candidates(kept) if (one.key, one.unit) != (taken.key, taken.unit)]
    valid = taken.slope > 0 and ("virial" if reading.virial else "stress") in kept
    return choose_scale([taken, *others] if valid else others, taken, explained)


def _rows(stress: Array) -> tuple[Array, Array]:
    """(n, 3, 3) -> (4n,) xx, yy, zz and the normalised sum of the shears; (4n,) 1 where the row is of the diagonal."""
    voigt = full_to_voigt(stress)
    rows = np.column_stack([voigt[:, :3], voigt[:, 3:].sum(axis=1) / np.sqrt(3)])
    return rows.ravel(), np.tile([1.0, 1.0, 1.0, 0.0], len(rows))


def _candidates(lines: dict[str, Line]) -> list[Candidate]:
    found = []
    for place, line in lines.items():
        sign = "-" if line.slope < 0 else ""
        units = STRESS_UNITS if place == "stress" else {"eV": 1.0}
        slope = abs(line.slope)
        found += [Candidate(f"units.{place}", f"{sign}{name}", slope * x, STIFF) for name, x in units.items()]
    return found


def _taken(reading: Reading, lines: dict[str, Line]) -> Candidate:
    """Return the unit taken, under the candidates' spelling where they have it."""
    place = "virial" if reading.virial else "stress"
    known = STRESS_UNITS if place == "stress" else {"eV": 1.0}
    factor = reading.unit.factor
    name = next((name for name, x in known.items() if np.isclose(x, abs(factor))), reading.unit.text.lstrip("-"))
    return Candidate(f"units.{place}", f"{'-' if factor < 0 else ''}{name}", lines[place].slope * factor, STIFF)


def _wrong_size(scale: Scale) -> bool:
    return scale.best is None or _bare(scale.best) != _bare(scale.taken)


def _wrong_sign(scale: Scale) -> bool:
    return scale.taken.slope < 0


def _bare(candidate: Candidate) -> tuple[str, str]:
    return candidate.key, candidate.unit.removeprefix("-")


def _finding(code: Code, scale: Scale | None, wrong: Frames, n: int) -> Finding:
    if scale is None:
        return code.skipped(f"The stresses of {count(n)} are too small or too unlike the predictions to tell.")
    numbers = {"slope": scale.taken.slope, "explained": scale.explained, "n_frames": n}
    if not len(wrong):
        return code.passed(f"In {count(n)} {scale.describe()}.", **numbers)
    said = f"In {count(len(wrong), n)} {scale.describe()}."
    if scale.best is None:
        return code.failed(Fault(wrong, said, scale.remedy("the stress"), numbers=numbers))
    what = "a virial" if scale.best.key == "units.virial" else "the stress"
    remedy, actions = apply_to(wrong, n, scale.remedy(what), scale.best.action)
    return code.failed(Fault(wrong, said, remedy, actions, numbers | {"slope_corrected": scale.best.slope}))


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
        scale = judge_stress(evidence, reading, reading.frames)
        sign = -1.0 if scale is not None and _wrong_sign(scale) else 1.0
        judge = partial(judge_shear, evidence, sign)
        order, wrong = split_by_group(evidence, reading.frames, judge, lambda order: order.wrong)
        wrong = np.array([i for i in wrong if not _contradicts(evidence, sign, order, i)], dtype=np.int64)
        yield _shear_finding(evidence, order, wrong, len(reading.frames))


def judge_shear(evidence: Evidence, sign: float, frames: Frames) -> Order | None:
    """Return the order that fits some frames, None where their shear does not tell."""
    if len(frames) < _SHEAR_FRAMES:
        return None
    labels = sign * full_to_voigt(np.array(evidence.label("stress", frames)))[:, 3:]
    predicted = full_to_voigt(np.array(evidence.prediction("stress", frames)))[:, 3:]
    if not labels.any() or not predicted.any():
        return None
    weights = 1 / np.maximum.reduce([_relative(labels), _relative(predicted), np.ones(len(frames))])
    labels, predicted = labels * weights[:, None], predicted * weights[:, None]
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


def _relative(shear: Array) -> Array:
    """Size of each frame's shear in typical ones: the few large ones are scaled down to that, so that none decides."""
    sizes = np.linalg.norm(shear, axis=1)
    return np.asarray(sizes / np.median(sizes[sizes > 0]))


def _clear(best: float, other: float, n: int) -> bool:
    """Compare two correlations by Fisher's transform; `n` numbers went into each."""
    apart = np.arctanh(min(best, 0.999)) - np.arctanh(np.clip(other, -0.999, 0.999))
    better = best - other >= BETTER or 1 - other >= LESS_LEFT * (1 - best)
    return best >= FITS and better and bool(apart * np.sqrt(n - 3) > SIGMAS)


def _shear_finding(evidence: Evidence, order: Order | None, wrong: Frames, n: int) -> Finding:
    if order is None:
        return STRESS_SHEAR.skipped(f"The shear stresses of {count(n)} do not tell one order from another.")
    numbers = {"correlation_as_read": order.as_read, "correlation_best": order.fit, "n_frames": n}
    if not len(wrong):
        fits = f"yz, xz and xy of {count(n)} correlate with the predictions by {order.fit:.2f} as read"
        return STRESS_SHEAR.passed(f"{fits}; every other order is worse.", **numbers)
    said = (
        f"In {count(len(wrong), n)} yz, xz and xy correlate with the predictions by {order.as_read:.2f} as read, "
        f"by {order.fit:.2f} if they hold {order.text.replace(',', ', ')}."
    )
    told = f"say that {order.text} stand in the places yz, xz, xy"
    remedy, actions = apply_to(wrong, n, told, Action(settings={"shear": order.text}))
    return STRESS_SHEAR.failed(
        Fault(wrong, said, remedy, actions or _group_action(evidence, wrong, order.text), numbers)
    )


def _group_action(evidence: Evidence, wrong: Frames, order: str) -> list[Action]:
    """Return the action that puts right just these frames, where a tag tells them from the others."""
    chosen = {int(i) for i in wrong}
    for tag in ("config_type", "trajectory", "file"):
        values = evidence.dataset.tag(tag)
        groups = sorted({values[i] for i in chosen})
        if "" not in groups and {i for i, value in enumerate(values) if value in groups} == chosen:
            return [Action(settings={"shear": {f"{tag}={group}": order for group in groups}})]
    return []

"""Properties that the user's frames hold, computed from the model's predictions of the same frames.

No structure is relaxed, so that labels and predictions are compared like with like: the elastic constants of the same
strained cells, ions clamped or not; the excess energies of the same vacancies and slabs; the same crystals above the
lowest. One check a use, since a model may be right for one of them alone.

One or two values of a kind must each lie within the gate. Of more, their root mean square difference must, and each
within `Gates.of_many` times as much: among fifteen surfaces the worst is no measure of a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
from pydantic import JsonValue

from matgraft.core.findings import Action, Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.report.document import Block, Column, Row, Table
from matgraft.core.report.text import written
from matgraft.potentials.checks.from_frames import FrameProperty, Held, Kind, held_of, properties_in
from matgraft.potentials.checks.physical import Case, PhysicalCheck, ReferenceChoice, Seen, compared, limited
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.data.dataset import Dataset, bytes_of
from matgraft.potentials.simulation.subject import Subject

MOST_PROPERTIES = 24
"""Properties of one kind that are compared, those of the fewest atoms first."""
MANY = 3
"""Values of one kind from which on they are judged together."""
LEAST_GPa = 10.0
"""Elastic constants below it are shown and not judged: DFT itself is converged to some GPa."""


class FrameValue(Frozen):
    """A property from labels and from predictions of the same frames.

    Attributes
    ----------
    name, unit, formula
        Of the property, and of the crystal that it belongs to.
    kind
        How it is computed.
    label, value
        From the labels and from the predictions; the second is None where it could not be computed.
    frames
        Positions of the frames, that of the crystal last.
    """

    name: str
    unit: str
    formula: str
    kind: Kind
    label: float
    value: float | None
    frames: tuple[int, ...]


class FrameValues(Frozen):
    """All properties of a check."""

    values: tuple[FrameValue, ...]


@lru_cache(maxsize=4)  # of one dataset: asked for by each model and each check
def _found(frames: Dataset) -> tuple[dict[int, Held], tuple[FrameProperty, ...]]:
    held = held_of(frames)
    return held, tuple(properties_in(held))


class OwnFramesCheck(PhysicalCheck[FrameValues]):
    """What these checks share: the kinds of properties, and the gate of each."""

    observation, scope, cost = FrameValues, "all", 60
    of_kinds: ClassVar[Mapping[Kind, str]]
    """Kind of property -> gate."""
    wanting: ClassVar[str]
    """Which frames are missing, in words."""
    action: ClassVar[Action]

    def why_not(self, subject: Subject, case: Case) -> str:
        """Say which frames are missing."""
        if not len(case.frames) or not self._properties(case):
            return f"no labelled frames hold it: {self.wanting}"
        if not self._known(subject, case):
            return "the model does not know the elements of these frames"
        return super().why_not(subject, case)

    def protocol(self, case: Case) -> Mapping[str, JsonValue]:
        """Return the hash of the frames."""
        digest = hashlib.sha256()
        for i in _frames_of(self._properties(case)):
            digest.update(bytes_of(case.frames[i]))
        return {"frames": digest.hexdigest(), "properties": [one.name for one in self._properties(case)]}

    def observe(self, subject: Subject, case: Case) -> FrameValues:
        """Predict the frames in one batch, and compute each property twice."""
        held, properties = _found(case.frames)[0], self._known(subject, case)
        needed = _frames_of(properties)
        found = subject.evaluate([case.frames[i].content for i in needed])
        predicted = {i: Held.of(case.frames[i], one) for i, one in zip(needed, found, strict=True)}
        return FrameValues(values=tuple(
            FrameValue(
                name=one.name, unit=one.unit, formula=one.formula, kind=one.kind, label=label,
                value=one.value(predicted), frames=(*one.frames, one.crystal),
            )
            for one in properties
            if (label := one.value(held)) is not None
        ))  # fmt: skip

    def judge(self, seen: Seen[FrameValues], case: Case) -> Finding:
        """Hold each value against that of the labels."""
        measures = self._measures(seen.own.values, case)
        failed = [one for one in measures if not one.passes]
        shown = [_said(one) for one in (failed or measures)[:4]]
        count = len({i for one in seen.own.values for i in one.frames})
        more = f", and {len(failed) - 4} more" if len(failed) > 4 else ""
        finding = self.finding(
            case, measures, f"From the same {count} frames: {'; '.join(shown)}{more}.", remedy=REMEDY
        )
        return finding.model_copy(update={"actions": (self.action,)}) if finding.outcome == "failed" else finding

    def figures(self, seen: Seen[FrameValues], case: Case) -> Sequence[Block]:
        """Return a table of labels, model and foundation."""
        before = {(one.name, one.formula): one.value for one in seen.foundation.values} if seen.foundation else {}
        names = ("property", "of", "unit"), ("your labels", "model", *(("foundation",) if before else ()), "frames")
        heads = [Column(name, number=bool(number)) for number, own in enumerate(names) for name in own]
        rows = []
        for one in seen.own.values:
            foundation = [written(before.get((one.name, one.formula)))] if before else []
            values = written(one.label), written(one.value), *foundation, str(len(one.frames))
            rows.append(Row(_plain(one.name), one.formula, one.unit, *values))
        return [Table(heads, rows)]

    def _measures(self, values: Sequence[FrameValue], case: Case) -> list[Measure]:
        """Return what is judged: of many values of one kind their root mean square first, then each more widely."""
        found: list[Measure] = []
        single = {id(one): self._measure(one, case) for one in values}
        for kind in self.of_kinds:
            own = [single[id(one)] for one in values if one.kind == kind]
            judged = [one for one in own if one.allowed is not None]
            if len(judged) >= MANY:
                found.append(self._together(kind, judged, case))
                wider = case.settings.gates.of_many
                own = [one if one.allowed is None else _widened(one, wider) for one in own]
            found.extend(own)
        return found

    def _together(self, kind: Kind, judged: Sequence[Measure], case: Case) -> Measure:
        """Return the root mean square difference of values from their labels, in parts of the labels or as it is."""
        gate, relative = self.of_kinds[kind], _is_relative(kind)
        differences = [_difference(one, relative) for one in judged]
        size = float(np.sqrt(np.mean(np.square(differences))))
        return limited(
            f"root mean square of {len(judged)} differences, {kind}",
            "" if relative else judged[0].unit,
            size if np.isfinite(size) else None,
            (None, float(getattr(case.settings.gates, gate))),
            gate,
        )

    def _measure(self, one: FrameValue, case: Case) -> Measure:
        value = float("nan") if one.value is None else one.value
        against = ReferenceChoice(Reference(value=one.label, source="your frames"), None)
        gate = self.of_kinds[one.kind]
        name = f"{_plain(one.name)}, {one.formula}"
        found = compared(name, one.unit, value, against, gate, case, relative=_is_relative(one.kind))
        judged = one.kind != "elastic" or abs(one.label) >= LEAST_GPa
        return found.model_copy(update={"value": one.value, "allowed": found.allowed if judged else None})

    def _properties(self, case: Case) -> list[FrameProperty]:
        held, found = _found(case.frames)
        own = [one for one in found if one.kind in self.of_kinds]
        return sorted(own, key=lambda one: sum(len(held[i].atoms) for i in one.frames))[:MOST_PROPERTIES]

    def _known(self, subject: Subject, case: Case) -> list[FrameProperty]:
        if subject.elements is None:
            return self._properties(case)
        held = _found(case.frames)[0]
        return [one for one in self._properties(case) if set(held[one.crystal].atoms.symbols) <= subject.elements]


REMEDY = "give these frames more weight (loss.groups), or label more of their kind and add them to the training frames"


def _is_relative(kind: Kind) -> bool:
    """Say whether differences are judged as parts of the label; energies above the lowest phase are near zero."""
    return kind != "phase"


def _difference(one: Measure, relative: bool) -> float:
    assert one.reference is not None
    value = float("nan") if one.value is None else one.value
    scale = max(abs(one.reference), 1e-9) if relative else 1.0
    return (value - one.reference) / scale


def _widened(one: Measure, times: float) -> Measure:
    """Return a measure whose range about its reference is so many times as wide."""
    assert one.allowed is not None and one.reference is not None
    low, high = (None if end is None else one.reference + times * (end - one.reference) for end in one.allowed)
    return one.model_copy(update={"allowed": (low, high)})


def _said(one: Measure) -> str:
    if one.reference is None:
        allowed = None if one.allowed is None else one.allowed[1]
        return f"{one.name} {written(one.value)}{one.unit and f' {one.unit}'} (at most {written(allowed)} passes)"
    return f"{one.name} {written(one.value)} (your labels: {written(one.reference)}) {one.unit}"


def _plain(name: str) -> str:
    """Return a key without its unit, which stands beside it."""
    for unit in ("_GPa", "_eV", "_J_per_m2", "_A3_per_atom"):
        name = name.removesuffix(unit)
    return name


def _frames_of(properties: Sequence[FrameProperty]) -> list[int]:
    return sorted({i for one in properties for i in (*one.frames, one.crystal)})


class ElasticFramesCheck(OwnFramesCheck):
    """Elastic constants and equations of state."""

    code, title = "elastic-frames", "Elasticity on your own frames"
    gates_uses = frozenset({"elastic"})
    of_kinds: ClassVar[Mapping[Kind, str]] = {
        "volume": "volume",
        "modulus": "bulk_modulus",
        "elastic": "elastic",
    }
    wanting = "cells strained in both senses by at most 3 %, or five volumes around the lowest energy, and the crystal"
    action = Action(settings={"loss.stress": 300.0})


class VacancyFramesCheck(OwnFramesCheck):
    """Vacancies."""

    code, title = "vacancy-frames", "Vacancies on your own frames"
    gates_uses = frozenset({"defects"})
    of_kinds: ClassVar[Mapping[Kind, str]] = {"vacancy": "vacancy"}
    wanting = "a relaxed supercell of an element without one atom, and the crystal"
    action = Action(settings={"loss.energy": 100.0})


class SurfaceFramesCheck(OwnFramesCheck):
    """Slabs."""

    code, title = "surface-frames", "Surfaces on your own frames"
    gates_uses = frozenset({"surfaces"})
    of_kinds: ClassVar[Mapping[Kind, str]] = {"surface": "surface"}
    wanting = "a relaxed slab of the crystal's composition, and the crystal"
    action = Action(settings={"loss.energy": 100.0})


class PhaseFramesCheck(OwnFramesCheck):
    """Crystals of one composition."""

    code, title = "phase-frames", "Phases on your own frames"
    gates_uses = frozenset({"phases"})
    of_kinds: ClassVar[Mapping[Kind, str]] = {"phase": "phase_eV"}
    wanting = "two relaxed crystals of one composition"
    action = Action(settings={"loss.energy": 100.0})

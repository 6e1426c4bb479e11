"""The labels themselves: a model that is soft, of the wrong sign, of another theory, or blind to an element.

Errors alone do not tell. A model whose forces are all 0.8 of the true ones may have a good RMSE, and has its phonons 10
% too low. So predictions of some of the user's frames are held against their labels by slope: of all forces, of those
in the most strained tenth and in the tenth with the largest forces; of the stress; of energies within a composition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from ase import Atoms
from pydantic import JsonValue

from matgraft.core.findings import Action, Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, FORCES, STRESS, Array
from matgraft.core.report.document import Block, Column, Drawing, Key, Plot, Plots, Row, Table
from matgraft.core.report.figures import COLOURS, empty_figure
from matgraft.core.report.text import interval, written
from matgraft.core.statistics import Estimate
from matgraft.potentials.audit.robust import rms
from matgraft.potentials.checks import agreement
from matgraft.potentials.checks.agreement import FrameSeen
from matgraft.potentials.checks.chosen_frames import chosen_frames
from matgraft.potentials.checks.gates import Gates, source
from matgraft.potentials.checks.physical import FOUNDATION, SEEN_TAG, Case, PhysicalCheck, Seen
from matgraft.potentials.checks.settings import USES
from matgraft.potentials.data.dataset import bytes_of
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.simulation.subject import Subject

FORCE, YOURS = FORCES.name, "your labels"
SMALL_ERROR = 0.02
"""Error of forces over forces below which it does not matter that the foundation's is smaller still."""
WORSE_OFFSET = 1.1
"""Times the foundation's offset that a model may have which was not fitted to these labels."""
REMEDIES = {
    FORCE: "label strained and hot frames and add them (to-label holds some), give forces more weight, and let the "
    "ladder try further strategies (strategy.name=ladder)",
    STRESS.name: "look at the sign and the unit of the stress in your frames and at what the fit read; give it weight",
    ENERGY.name: "fit the reference energies again, and look whether the model was fitted to labels of another theory "
    "or uses the wrong head",
}
ACTIONS = {
    FORCE: Action(settings={"loss.forces": 10.0}),
    STRESS.name: Action(settings={"loss.stress": 1000.0}),
    ENERGY.name: Action(settings={"references.mode": "refit"}),
}
STRAINS, RATTLE_A, MOST_LABELLED_ATOMS = (-0.04, 0.04), 0.1, 100
MOST_POINTS = 1500


class LabelsSeen(Frozen):
    """What was predicted of the chosen frames.

    Attributes
    ----------
    frames
        Those whose predictions are numbers.
    broken
        Positions of the others.
    """

    frames: tuple[FrameSeen, ...]
    broken: tuple[int, ...] = ()


class LabelsCheck(PhysicalCheck[LabelsSeen]):
    """Predictions of the user's frames against their labels."""

    code, title, observation = "labels", "Agreement with your labels, and softening", LabelsSeen
    scope = "all"
    gates_uses = frozenset(USES)
    cost = 100

    def why_not(self, subject: Subject, case: Case) -> str:
        """Say that there are no labels."""
        if not len(case.frames) or not chosen_frames(case.frames)[0]:
            return "there are no labelled frames"
        if not _known(subject, case):
            return "the model knows the elements of none of the labelled frames"
        return super().why_not(subject, case)

    def protocol(self, case: Case) -> Mapping[str, JsonValue]:
        """Return the hash of the chosen frames."""
        digest = hashlib.sha256()
        for i in chosen_frames(case.frames)[0]:
            digest.update(bytes_of(case.frames[i]))
        return {"frames": digest.hexdigest()}

    def observe(self, subject: Subject, case: Case) -> LabelsSeen:
        """Predict the chosen frames in one batch."""
        known = _known(subject, case)
        found = subject.evaluate([case.frames[i].content for i, _ in known])
        pairs = [(i, group, one) for (i, group), one in zip(known, found, strict=True)]
        broken = {i for i, _, one in pairs if not all(np.isfinite(value).all() for value in one.values())}
        frames = tuple(_frame(case.frames[i], i, group, one) for i, group, one in pairs if i not in broken)
        return LabelsSeen(frames=frames, broken=tuple(sorted(broken)))

    def judge(self, seen: Seen[LabelsSeen], case: Case) -> Finding:
        """Slopes near one, errors well below the labels and no worse than the foundation's."""
        fitted = any(case.frames.tag(SEEN_TAG))
        judged = list(_measures(seen, case.settings.gates, fitted))
        if sum(one.allowed is not None for _, one in judged) == 1 and not seen.own.broken:
            return self.unable(case, "not applicable", _evidence(seen, judged))  # numbers, and nothing to hold them to
        failed = {about for about, measure in judged if not measure.passes}
        finding = self.finding(case, [one for _, one in judged], _evidence(seen, judged), remedy=_remedy(failed))
        if finding.outcome != "failed":
            return finding
        return finding.model_copy(update={"actions": tuple(ACTIONS[about] for about in ACTIONS if about in failed)})

    def to_label(self, seen: Seen[LabelsSeen], case: Case) -> Sequence[Atoms]:
        """Return strained cells of each crystal whose atoms are displaced: what a soft model has seen too little of."""
        return list(_off_equilibrium(case))

    def figures(self, seen: Seen[LabelsSeen], case: Case) -> Sequence[Block]:
        """Draw forces and stresses of model and foundation against the labels; a table of slopes and errors."""
        kinds = (("forces", "eV/Å", agreement.forces_of), ("stress", "GPa", agreement.stresses_of))
        plots = [
            Plot(f"{name.capitalize()} against your labels", [drawn])
            for name, unit, values in kinds
            if (drawn := _parity(name, unit, [(values(one.frames), who) for who, one in _models(seen)])) is not None
        ]
        keys = [Key(who, COLOURS["tuned" if who == "model" else "untuned"]) for who, _ in _models(seen)]
        return [_table(seen), *([Plots(plots, keys)] if plots else [])]


# --------------------------------------------------------------------------------------------- what is observed


def _known(subject: Subject, case: Case) -> list[tuple[int, str]]:
    """Return position and trajectory of the chosen frames whose elements the model knows."""
    pairs = zip(*chosen_frames(case.frames), strict=True)
    if subject.elements is None:
        return list(pairs)
    return [(i, group) for i, group in pairs if set(case.frames[i].content.symbols) <= subject.elements]


def _frame(sample: Sample, i: int, group: str, found: Mapping[str, Array]) -> FrameSeen:
    labels, n = sample.labels, sample.n_atoms
    both = {name for name in (ENERGY.name, FORCES.name, STRESS.name) if name in labels and name in found}
    kept = np.triu(sample.components.get(STRESS.name, np.ones((3, 3), dtype=bool)))
    stress = [
        np.round(one[STRESS.name][kept] * STRESS.report_scale, 4).tolist() if STRESS.name in both else []
        for one in (labels, found)
    ]
    forces = [np.round(one[FORCES.name], 5).tolist() for one in (labels, found)] if FORCES.name in both else [[], []]
    return FrameSeen(
        frame=i,
        group=group,
        symbols=tuple(sample.content.symbols),
        formula=str(sample.content.get_chemical_formula(empirical=True)),
        energy_eV_per_atom=(float(labels[ENERGY.name]) / n, float(found[ENERGY.name]) / n)
        if ENERGY.name in both
        else None,
        forces_label=forces[0],
        forces=forces[1],
        stress_label_GPa=tuple(stress[0]),
        stress_GPa=tuple(stress[1]),
    )


# --------------------------------------------------------------------------------------------- how it is judged

Judged = tuple[str, Measure]


def _measures(seen: Seen[LabelsSeen], gates: Gates, fitted: bool) -> Iterator[Judged]:
    """Yield each measure with what it is of: the name of a remedy."""
    frames = seen.own.frames
    yield (
        FORCE,
        Measure(
            name="frames whose predictions are not numbers",
            unit="",
            value=float(len(seen.own.broken)),
            allowed=(None, 0.0),
        ),
    )
    for name, part in _parts(frames).items():
        gate = "softness_tail" if part is not frames else "softness"
        yield from _slope(
            name, FORCE, agreement.slope(*agreement.forces_of(part), agreement.WEAKEST_eV_per_A), gate, gates
        )
    stress = agreement.slope(*agreement.stresses_of(frames), agreement.WEAKEST_GPa)
    yield from _slope("slope of stress", STRESS.name, stress, "softness_stress", gates)
    yield from _slope(
        "slope of energies within a composition", ENERGY.name, _energies(frames), "softness_energy", gates
    )
    yield from _errors(seen, gates)
    yield from _offset(seen, gates, fitted)


def _parts(frames: Sequence[FrameSeen]) -> dict[str, Sequence[FrameSeen]]:
    return {
        "slope of forces": frames,
        "slope of forces, most strained tenth": agreement.most_strained(frames),
        "slope of forces, tenth with the largest": agreement.hottest(frames),
    }


def _energies(frames: Sequence[FrameSeen]) -> Estimate | None:
    label, found, names = agreement.energies_of(frames)
    groups = [one.group for one in frames if one.energy_eV_per_atom is not None]
    weakest = agreement.WEAKEST_meV / 1000
    return agreement.slope(
        agreement.less_own_mean(label, names), agreement.less_own_mean(found, names), groups, weakest
    )


def _slope(name: str, of: str, found: Estimate | None, gate: str, gates: Gates) -> Iterator[Judged]:
    """Yield a slope that is held against one; an interval over trajectories widens what is allowed, at most twice."""
    if found is None:
        return
    width = float(getattr(gates, gate))
    ends = found.interval
    width += min(width, (ends[1] - ends[0]) / 2) if ends else 0.0
    allowed = (1 - width, 1 + width)
    yield (
        of,
        Measure(
            name=name,
            unit="",
            value=found.value,
            allowed=allowed,
            reference=1.0,
            reference_from=YOURS,
            gate=source(gate),
        ),
    )


def _errors(seen: Seen[LabelsSeen], gates: Gates) -> Iterator[Judged]:
    """Yield the errors of forces over the forces, of each element and by those of the foundation."""
    frames = seen.own.frames
    for element in sorted({symbol for one in frames for symbol in one.symbols if one.forces}):
        label, found, _ = agreement.forces_of(frames, element)
        if (error := agreement.relative_error(label, found)) is not None:
            name = f"error of forces over forces, {element}"
            allowed = (None, gates.force_error)
            yield FORCE, Measure(name=name, unit="", value=error, allowed=allowed, gate=source("force_error"))
    label, found, _ = agreement.forces_of(frames)
    if len(label) and rms(label) < agreement.WEAKEST_eV_per_A:
        gate, name = "force_at_rest_eV_per_A", "error of forces, frames at rest"
        allowed, error = (None, getattr(gates, gate)), rms(found - label)
        yield FORCE, Measure(name=name, unit="eV/Å", value=error, allowed=allowed, gate=source(gate))
    both = _shared(seen)
    own, before = (agreement.relative_error(*agreement.forces_of(part)[:2]) for part in both)
    if own is not None and before:
        yield (
            FORCE,
            Measure(
                name="error of forces over the foundation's",
                unit="",
                value=own / before,
                allowed=(None, gates.worse) if own > SMALL_ERROR else None,
                gate=source("worse"),
            ),
        )


def _shared(seen: Seen[LabelsSeen]) -> tuple[list[FrameSeen], list[FrameSeen]]:
    """Return the frames that both models were asked for, of the model and of its foundation."""
    before = {one.frame: one for one in seen.foundation.frames} if seen.foundation else {}
    own = [one for one in seen.own.frames if one.frame in before]
    return own, [before[one.frame] for one in own]


def _offset(seen: Seen[LabelsSeen], gates: Gates, fitted: bool) -> Iterator[Judged]:
    """Yield how far energies lie off the labels: a fitted model agrees with them, another as well as its foundation."""
    found = agreement.energy_offset(seen.own.frames)
    if found is None:
        return
    before = None if fitted else agreement.energy_offset(_shared(seen)[1])
    largest = gates.energy_offset_eV if before is None else max(gates.energy_offset_eV, WORSE_OFFSET * before)
    yield (
        ENERGY.name,
        Measure(
            name="offset of energies",
            unit="eV/atom",
            value=found,
            allowed=(None, largest) if fitted or before is not None else None,
            reference=before,
            reference_from=FOUNDATION if before is not None else "",
            gate=source("energy_offset_eV"),
        ),
    )


# --------------------------------------------------------------------------------------------- what is said and shown


def _evidence(seen: Seen[LabelsSeen], judged: Sequence[Judged]) -> str:
    frames = seen.own.frames
    count = f"{len(frames)} frames of {len({one.group for one in frames})} trajectories"
    failed = [one for _, one in judged if not one.passes]
    if failed:
        return f"On {count}: {'; '.join(map(_one_failed, failed))}."
    slopes = [f"{one.name} {one.value:.2f}" for _, one in judged if one.name.startswith("slope") and one.value]
    return f"On {count}: {', '.join(slopes) or 'nothing has a slope: forces, stresses and energies hardly differ'}."


def _one_failed(one: Measure) -> str:
    low, high = one.allowed or (None, None)
    bounds = f"at least {low:.2f}" if high is None and low is not None else f"at most {high:.2f}"
    if low is not None and high is not None:
        bounds = f"{low:.2f} to {high:.2f}"
    return f"{one.name} {written(one.value)}{f' {one.unit}' if one.unit else ''} (allowed {bounds})"


def _remedy(failed: set[str]) -> str:
    return "; ".join(REMEDIES[about] for about in REMEDIES if about in failed)


def _table(seen: Seen[LabelsSeen]) -> Table:
    rows = []
    for who, one in _models(seen):
        for name, part in _parts(one.frames).items():
            label, found, groups = agreement.forces_of(part)
            slope = agreement.slope(label, found, groups, agreement.WEAKEST_eV_per_A)
            if slope is not None:
                error = agreement.relative_error(label, found)
                rows.append(
                    Row(who, name, written(slope.value), interval(slope.interval), written(error), str(len(part)))
                )
    heads = [Column("model", number=False), Column("of", number=False), Column("slope"), Column("95 % interval"),
             Column("error over forces"), Column("frames")]  # fmt: skip
    return Table(heads, rows)


def _models(seen: Seen[LabelsSeen]) -> list[tuple[str, LabelsSeen]]:
    return [*([("foundation", seen.foundation)] if seen.foundation else []), ("model", seen.own)]


def _parity(name: str, unit: str, models: Sequence[tuple[tuple[Array, Array, list[str]], str]]) -> Drawing | None:
    plot = empty_figure()
    for (label, found, _), who in models:
        step = max(1, len(label) // MOST_POINTS)
        marker = {"size": 4, "opacity": 0.6, "color": COLOURS["tuned" if who == "model" else "untuned"]}
        if len(label):
            plot.add_scatter(x=label[::step], y=found[::step], mode="markers", marker=marker, name=who)
    if not plot.data:
        return None
    ends = [min(float(np.min(one.x)) for one in plot.data), max(float(np.max(one.x)) for one in plot.data)]
    plot.add_scatter(x=ends, y=ends, mode="lines", line={"width": 1, "dash": "dot"}, meta="ink", name="")
    plot.update_xaxes(title_text=f"your label ({unit})")
    plot.update_yaxes(title_text=f"predicted ({unit})")
    return Drawing(f"labels-{name}", plot, f"predicted {name} against labels")


def _off_equilibrium(case: Case) -> Iterator[Atoms]:
    rng = np.random.default_rng(0)
    for one in case.structures:
        if one.kind == "bulk" and len(one.atoms) <= MOST_LABELLED_ATOMS:
            times = max(1, round((32 / len(one.atoms)) ** (1 / 3)))
            for strain in STRAINS:
                atoms = one.atoms.repeat((times,) * 3)
                atoms.set_cell(atoms.cell[:] * (1 + strain), scale_atoms=True)
                atoms.positions += RATTLE_A * rng.standard_normal((len(atoms), 3))
                yield atoms

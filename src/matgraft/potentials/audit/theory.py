"""Mixed levels of theory: as stated, and as the labels themselves betray them.

What is stated is compared by `matgraft.potentials.data.levels`.

From the labels: the residual energy per atom, r = label - prediction, is regressed on the predicted energy, which takes
out what the softness of the foundation does: once within the trajectories (a fixed-effects regression, Mundlak 1978),
so that no offset between them can spoil it, and once over all frames, robustly, since cold trajectories are softer than
hot ones and extrapolate badly. What is left are the trajectories' offsets, which for one level of theory fit one
reference energy per element; an offset counts if it shows with both lines. In the Si and Mo sets of Zuo et al. (2020)
CHGNet leaves at most 0.15 eV/atom between cold crystals, melts, vacancies and surfaces; another pseudopotential shifts
by more. Before that `matgraft.potentials.audit.steps` looks for two constants in one set, frame by frame.

The foundation has a level of theory too. Another functional than its own is no fault of the frames, but one readout
that learns it is of two levels: the frames' where they are, the foundation's elsewhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matgraft.core.findings import Action, Code, Fault, Finding
from matgraft.core.provenance import UNCORRECTED, LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.potentials.audit.base import Evidence, Frames, count, drop
from matgraft.potentials.audit.energy import EnergyFit, energy_step, fit_energy
from matgraft.potentials.audit.robust import fit_line, least_absolute, spread
from matgraft.potentials.audit.steps import Step
from matgraft.potentials.data.heads import parts_well
from matgraft.potentials.data.levels import Levels, contradicting
from matgraft.potentials.data.reading.theory_fields import correction_of, functional
from matgraft.potentials.data.sample import Sample

THEORY_STATED = Code("theory-stated", "one level of theory, as stated", "error")
THEORY_FOUNDATION = Code("theory-foundation", "the foundation's level of theory", "warning")
THEORY_LABELS = Code("theory-labels", "one level of theory, by the energies themselves", "warning")

HEADS_BY_THEORY = Action(settings={"strategy.name": "multihead", "heads.by": "theory"})
"""What trains on all levels at once, each with a readout and reference energies of its own."""

PLACES = frozenset(("file", "frame", "folder", "trajectory", "config_type"))
"""Tags that say where a frame is from or what it shows, not at which level it was computed."""

_CORRECTIONS = "energy corrections"

LIMIT = 0.25
"""eV/atom between a group's offset and the others' from which on they are taken for two levels of theory."""

_REMEDY = (
    "see whether these frames come from another code, functional, pseudopotential or energy convention; "
    "if so, state it in a YAML file beside them, which lets each level have a head; or leave the frames out"
)
_TIMES_WITHIN = 5.0  # an offset must also exceed so many standard deviations within the groups


# --- as stated -------------------------------------------------------------------------------------------------------


def theory_stated(evidence: Evidence) -> Iterator[Finding]:
    """Compare what files state of their level of theory."""
    samples = evidence.dataset.samples
    if all(sample.theory is None for sample in samples):
        yield THEORY_STATED.skipped("No file states its level of theory. A YAML file beside the data can state it.")
        return
    levels = Levels(samples)
    by_level: dict[int | None, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        by_level[levels(sample)].append(i)
    unplaced = by_level.pop(None, [])
    undetermined = [i for i in unplaced if samples[i].theory is not None]
    numbers = {
        "n_levels": max(len(by_level), 1 + bool(levels.contested)),
        "n_unstated": len(unplaced) - len(undetermined),
    }
    said = "; ".join(_sentences(evidence, by_level.values(), levels, unplaced))
    if not levels.contested:
        yield THEORY_STATED.passed(f"{said}.", n_unstated=numbers["n_unstated"])
        return
    numbers["n_undetermined"] = len(undetermined)
    said = f"{'At least ' * bool(undetermined)}{numbers['n_levels']} levels of theory: {said}."
    others = _beside(evidence, by_level, levels, undetermined)
    if unplaced:  # they belong to no head
        remedy = (
            f"keep one level of theory, or state that of the other {count(len(unplaced))} and give each level a head"
        )
        yield THEORY_STATED.failed(Fault(others, said, remedy, [drop(others)], numbers))
        return
    remedy = "give each a head of its own, or keep one level"
    if _CORRECTIONS in levels.contested:
        remedy += "; or take the energies of all frames as DFT gave them (keys.energy=uncorrected_total_energy)"
    yield THEORY_STATED.failed(Fault(others, said, remedy, [HEADS_BY_THEORY, drop(others)], numbers))


def _sentences(
    evidence: Evidence, ranked: Iterable[list[int]], levels: Levels, unplaced: Sequence[int]
) -> Iterator[str]:
    """Say which levels there are, in what they differ, and which frames belong to none."""
    samples = evidence.dataset.samples
    counts: dict[str, list[str]] = defaultdict(list)
    for frames in sorted(ranked, key=len, reverse=True):
        counts[_describe(samples[frames[0]])].append(count(len(frames)))
    for description, same in counts.items():  # levels whose difference is only among the contested fields
        yield f"{description} ({', '.join(same)})"
    if levels.contested:
        named = (f"{name} ({_few(values)})" for name, values in levels.contested.items())
        yield f"they differ in {', '.join(named)}"
    undetermined = [samples[i] for i in unplaced if samples[i].theory is not None]
    if undetermined:
        fields = dict.fromkeys(name for sample in undetermined for name in levels.unstated(sample))
        yield f"{count(len(undetermined))} fit several levels, since they do not state {', '.join(fields)}"
    if silent := len(unplaced) - len(undetermined):
        yield f"{count(silent)} without a statement"


def _few(values: list[str]) -> str:
    return ", ".join([*values[:4], f"and {len(values) - 4} more"] if len(values) > 4 else values)


def _beside(
    evidence: Evidence, by_level: Mapping[int | None, list[int]], levels: Levels, undetermined: Sequence[int]
) -> list[int]:
    """Return the frames to drop so that one level is left: the largest, with the undetermined frames that fit it."""
    samples = evidence.dataset.samples
    largest = max(by_level, key=lambda level: len(by_level[level]), default=None)
    if largest is None:  # no frame states enough: the first and what agrees with it are kept
        kept = [i for i in undetermined if not Levels([samples[undetermined[0]], samples[i]]).contested]
    else:
        kept = [i for i in undetermined if levels.fits(samples[i], largest)]
    if Levels(samples[i] for i in (*by_level.get(largest, ()), *kept)).contested:  # they contradict each other
        kept = kept[:1] if largest is None else []
    others = {i for level, frames in by_level.items() if level != largest for i in frames}
    return sorted(others | (set(undetermined) - set(kept)))


# --- against the foundation ------------------------------------------------------------------------------------------


def theory_foundation(evidence: Evidence) -> Iterator[Finding]:
    """Compare what frames state of functional and energy corrections with what the foundation was trained on."""
    known = evidence.theory
    stated = [i for i, sample in enumerate(evidence.dataset) if sample.theory is not None]
    if known is None or known == LevelOfTheory():
        why = evidence.unasked if known is None else f"{evidence.model} does not say its level of theory"
        yield THEORY_FOUNDATION.skipped(f"{why[0].upper()}{why[1:]}.")
    elif not stated:
        yield THEORY_FOUNDATION.skipped("No file states its level of theory. A YAML file beside the data can state it.")
    elif others := contradicting(known, evidence.dataset):
        yield _other_functional(evidence, known, others)
    elif corrected := _corrected(known, evidence):
        yield _other_correction(evidence, known, corrected)
    else:
        unsaid = len(evidence.dataset) - len(stated)
        silent = f"; {count(unsaid)} without a statement" * bool(unsaid)
        yield THEORY_FOUNDATION.passed(f"Nothing that is stated contradicts {known.describe()}{silent}.")


def _other_functional(evidence: Evidence, known: LevelOfTheory, others: Mapping[int, str]) -> Finding:
    names = list(dict.fromkeys(others.values()))
    said = f"{count(len(others), len(evidence.dataset))} by {_few(names)}; {evidence.model} knows {functional(known)}"
    said = f"{said[0].upper()}{said[1:]}"
    if evidence.own_heads:
        return THEORY_FOUNDATION.passed(f"{said}. They have a head of their own.")
    said += (
        ". A model of one head is of the first level where it was tuned and of the second elsewhere, "
        "and energies across the two mean nothing."
    )
    remedy = "give them a head beside the foundation's own, which replay keeps"
    head = Action(settings={"strategy.name": "multihead"})
    return THEORY_FOUNDATION.failed(Fault(others, said, remedy, [head], {"n_frames": len(others)}))


def _corrected(known: LevelOfTheory, evidence: Evidence) -> list[int]:
    """Return the frames whose energies were corrected, where those of the foundation were not."""
    own = correction_of(known)
    if own is None or own.scheme != UNCORRECTED:
        return []
    found = ((i, sample.theory) for i, sample in enumerate(evidence.dataset) if sample.theory is not None)
    return [i for i, theory in found if (one := correction_of(theory)) is not None and not one.agrees(own)]


def _other_correction(evidence: Evidence, known: LevelOfTheory, frames: Sequence[int]) -> Finding:
    theory = evidence.dataset[frames[0]].theory
    assert theory is not None
    said = (
        f"{count(len(frames), len(evidence.dataset))} with energies {theory.correction_words}; those of "
        f"{evidence.model} are {known.correction_words}. Corrections are steps between kinds of compounds, "
        "which no force knows of: one reference energy an element takes up only a part of them."
    )
    remedy = "take the energies as DFT gave them (keys.energy=uncorrected_total_energy where the file has them)"
    return THEORY_FOUNDATION.failed(
        Fault(frames, f"{said[0].upper()}{said[1:]}", remedy, numbers={"n_frames": len(frames)})
    )


def _describe(sample: Sample) -> str:
    assert sample.theory is not None
    said = sample.theory.describe()
    extra = [f"U {symbol} {value:g} eV" for symbol, value in sorted(sample.theory.hubbard_u.items())]
    return ", ".join([said, *extra, *sorted(sample.theory.potentials)])


# --- by the labels ---------------------------------------------------------------------------------------------------


def theory_labels(evidence: Evidence) -> Iterator[Finding]:
    """Look for groups of frames whose reference energies do not fit those of the others."""
    readings = evidence.readings("energy")
    if not readings:
        yield THEORY_LABELS.skipped(evidence.why_unpaired("energy"))
    for reading in readings:
        fit = evidence.once(fit_energy, reading)
        step = evidence.once(energy_step, reading) if isinstance(fit, str) else fit.step
        if step is not None and (isinstance(fit, str) or not fit.scale.sure):
            yield _step_finding(evidence, reading.frames, step)
        elif isinstance(fit, str):
            yield THEORY_LABELS.skipped(f"The energies cannot be compared with the predictions: {fit}.")
        elif fit.scale.sure:
            yield THEORY_LABELS.skipped("The unit of the energies must be settled first; see energy-unit.")
        else:
            yield _compare(evidence, fit)


def _step_finding(evidence: Evidence, frames: Frames, step: Step) -> Finding:
    said = (
        f"{count(int(step.inside.sum()), len(frames))} stand {step.size:.3f} eV/atom off the others, by a constant per "
        f"atom, with next to none between; {step.n_blocks} trajectories, or stretches of one, on each side have "
        f"structures alike{', and one trajectory is on both' * step.torn}."
    )
    numbers = {"largest_offset_eV_per_atom": step.size, "n_blocks": step.n_blocks}
    inside = frames[step.inside]
    tags = tags_that_tell(evidence, frames, step.inside)
    said += f" The tag {tags[0]!r} tells the two apart." if tags else ""
    heads = [Action(settings={"strategy.name": "multihead", "heads.by": tag}) for tag in tags[:1]]
    return THEORY_LABELS.failed(Fault(inside, said, _REMEDY, [*heads, drop(inside)], numbers, step.severity))


def tags_that_tell(evidence: Evidence, frames: Frames, inside: NDArray[np.bool_]) -> list[str]:
    """Return the tags, fewest values first, each value of which stands on one side alone; heads can be made of them."""
    found: dict[str, int] = {}
    if len(frames) < len(evidence.dataset):
        return []
    for name in sorted({name for tags in evidence.dataset.samples.tags() for name in tags} - PLACES):
        values = np.array(evidence.dataset.tag(name))[frames]
        sides = {value: set(inside[values == value].tolist()) for value in set(values.tolist())}
        if parts_well(Counter(values.tolist())) and all(len(own) == 1 for own in sides.values()):
            found[name] = len(sides)
    return sorted(found, key=lambda name: found[name])


def _compare(evidence: Evidence, fit: EnergyFit) -> Finding:
    groupings = [evidence.groups, evidence.grouped_by("config_type"), evidence.grouped_by("file")]
    found = [offsets for offsets in (_offsets(evidence, fit.frames, groups) for groups in groupings) if offsets]
    if not found:
        return THEORY_LABELS.skipped("There are no two groups of frames that share their elements to compare.")
    worst = max(found, key=lambda offsets: offsets.largest / offsets.limit)
    numbers = {
        "largest_offset_eV_per_atom": worst.largest,
        "limit_eV_per_atom": worst.limit,
        "spread_within_eV_per_atom": worst.within,
        "n_groups": worst.n_groups,
    }
    said = (
        f"Of {worst.n_groups} groups of frames the farthest stands {worst.largest:.3f} eV/atom off, softness taken out "
        f"(spread within groups {worst.within:.3f}, limit {worst.limit:.3f} eV/atom)."
    )
    if not len(worst.frames):
        return THEORY_LABELS.passed(said, **numbers)
    return THEORY_LABELS.failed(Fault(worst.frames, said, _REMEDY, [drop(worst.frames)], numbers))


@dataclass(frozen=True)
class _Offsets:
    """Offsets of groups from what the majority of frames has, and the frames beyond the limit. eV/atom."""

    largest: float
    within: float
    limit: float
    n_groups: int
    frames: Frames


def _offsets(evidence: Evidence, frames: Frames, groups: list[Frames]) -> _Offsets | None:
    """Take softness and references out; of two estimates of softness the one that accuses less counts."""
    places = np.full(len(evidence.dataset), -1)
    places[frames] = np.arange(len(frames))
    inside = [np.sort(part[part >= 0]) for part in (places[group] for group in groups)]
    inside = [part for part in inside if len(part)]
    compositions = evidence.fractions[frames]
    if len(inside) <= np.linalg.matrix_rank(compositions):
        return None
    n_atoms = evidence.n_atoms[frames]
    predicted = np.array(evidence.prediction("energy", frames)) / n_atoms
    rest = np.array(evidence.label("energy", frames)) / n_atoms - predicted
    estimates = (_softness_within(predicted, rest, inside), fit_line(predicted, rest, compositions).slope)
    levels = [_level(rest - softness * predicted, compositions) for softness in estimates]
    each = np.array([[np.median(level[part]) for part in inside] for level in levels])
    offsets = np.abs(each).min(axis=0)
    # one frame or two have no spread: groups of several decide
    spreads = [levels[0][part] - np.median(levels[0][part]) for part in inside if len(part) > 2]
    within = spread(np.concatenate([*spreads, np.zeros(1)]))
    limit = max(LIMIT, _TIMES_WITHIN * within)
    far = [frames[part] for part, offset in zip(inside, offsets, strict=True) if offset > limit]
    accused = np.sort(np.concatenate(far)) if far else np.array([], dtype=np.int64)
    return _Offsets(float(offsets.max()), within, limit, len(inside), accused)


def _softness_within(predicted: Array, rest: Array, groups: list[Frames]) -> float:
    """Slope of the residual on the predicted energy inside the groups: offsets between them do not enter."""
    x, y = (np.concatenate([v[part] - np.median(v[part]) for part in groups]) for v in (predicted, rest))
    return float(least_absolute(x[:, None], y)[0]) if x.any() else 0.0


def _level(rest: Array, compositions: Array) -> Array:
    """Take out one reference energy per element, then the median."""
    level = rest - compositions @ least_absolute(compositions, rest)
    return np.asarray(level - np.median(level))

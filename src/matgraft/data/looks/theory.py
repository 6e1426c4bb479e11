"""Mixed levels of theory: as stated, and as the labels themselves betray them.

What is stated is compared by `LevelOfTheory.key`, except that potentials and Hubbard U are compared element by element:
a frame without oxygen has no potential for it.

From the labels: the residual energy per atom, r = label - prediction, is regressed on the predicted energy, which
takes out what the softness of the foundation does: once within the trajectories (a fixed-effects regression, Mundlak
1978), so that no offset between them can spoil it, and once over all frames, robustly, since cold trajectories are
softer than hot ones and extrapolate badly. What is left are the trajectories' offsets, which for one level of theory
fit one reference energy per element; an offset counts if it shows with both lines. In the Si and Mo sets of Zuo et
al. (2020) CHGNet leaves at most 0.15 eV/atom between cold crystals, melts, vacancies and surfaces; another
pseudopotential shifts by more.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from matgraft.data.dataset import Sample
from matgraft.data.looks.base import Code, Evidence, Fault, Frames, count, drop
from matgraft.data.looks.energy import EnergyFit, fit_energy
from matgraft.data.looks.robust import fit_line, least_absolute, spread
from matgraft.data.provenance import LevelOfTheory
from matgraft.findings import Action, Finding
from matgraft.quantities import Array

THEORY_STATED = Code("theory-stated", "one level of theory, as stated", "error")
THEORY_LABELS = Code("theory-labels", "one level of theory, by the energies themselves", "warning")

HEADS_BY_THEORY = Action(settings={"strategy.name": "multihead", "heads.by": "theory"})
"""What trains on all levels at once, each with a readout and reference energies of its own."""

LIMIT = 0.25
"""eV/atom between a group's offset and the others' from which on they are taken for two levels of theory."""

_TIMES_WITHIN = 5.0  # an offset must also exceed so many standard deviations within the groups


# --- as stated -------------------------------------------------------------------------------------------------------


def theory_stated(evidence: Evidence) -> Iterator[Finding]:
    """Compare what files say of their level of theory."""
    stated = [i for i, sample in enumerate(evidence.dataset) if sample.theory is not None]
    if not stated:
        yield THEORY_STATED.skipped("No file states its level of theory; a YAML file beside the data would.")
        return
    scales = energy_scales(evidence.dataset.samples[i] for i in stated)
    by_scale: dict[int, list[int]] = defaultdict(list)
    for i, scale in zip(stated, scales, strict=True):
        by_scale[scale].append(i)
    ranked = sorted(by_scale.values(), key=len, reverse=True)
    names = [f"{_describe(evidence.dataset.samples[frames[0]])} ({count(len(frames))})" for frames in ranked]
    silent = len(evidence.dataset) - len(stated)
    rest = f"; {count(silent)} without a statement" if silent else ""
    if len(ranked) == 1:
        yield THEORY_STATED.passed(f"{names[0]}{rest}.", n_unstated=silent)
        return
    minority = sorted(i for frames in ranked[1:] for i in frames)
    numbers = {"n_levels": len(ranked), "n_unstated": silent}
    said = f"{len(ranked)} levels of theory: {'; '.join(names)}{rest}."
    if silent:  # a frame without a statement belongs to no head
        remedy = f"keep one level of theory, or state that of the other {count(silent)} and give each level a head"
        yield THEORY_STATED.failed(Fault(minority, said, remedy, [drop(minority)], numbers))
        return
    remedy = "give each a head of its own, or keep one level"
    yield THEORY_STATED.failed(Fault(minority, said, remedy, [HEADS_BY_THEORY, drop(minority)], numbers))


class EnergyScales:
    """The energy scale of a sample, by number: the first whose settings and inputs it does not contradict.

    Scales are found in the order in which samples are first asked about; every sample must state its level of theory.
    """

    def __init__(self) -> None:
        self._known: list[tuple[tuple[object, ...], dict[str, object]]] = []
        self._seen: dict[tuple[object, ...], int] = {}

    def __call__(self, sample: Sample) -> int:
        """Return the number of the sample's scale."""
        assert sample.theory is not None
        symbols = tuple(sorted(set(sample.content.symbols)))
        shortcut = (sample.theory.key(), symbols)
        if shortcut not in self._seen:
            self._seen[shortcut] = self._join(_general(sample.theory), _by_element(sample.theory, symbols))
        return self._seen[shortcut]

    def _join(self, general: tuple[object, ...], inputs: dict[str, object]) -> int:
        for number, (settings, elements) in enumerate(self._known):
            if settings == general and all(elements.get(symbol, value) == value for symbol, value in inputs.items()):
                elements.update(inputs)
                return number
        self._known.append((general, dict(inputs)))
        return len(self._known) - 1


def energy_scales(samples: Iterable[Sample]) -> list[int]:
    """Return the energy scale of each sample, by number: see `EnergyScales`."""
    return list(map(EnergyScales(), samples))


def _general(theory: LevelOfTheory) -> tuple[object, ...]:
    return theory.model_copy(update={"potentials": (), "hubbard_u": {}}).key()


def _by_element(theory: LevelOfTheory, symbols: tuple[str, ...]) -> dict[str, object]:
    """Return what each element present was given: the title of its potential and its U (0 where none is stated)."""
    titles = {symbol: _title(theory.potentials, symbol) for symbol in symbols}
    return {symbol: (titles[symbol], theory.hubbard_u.get(symbol, 0.0)) for symbol in symbols}


def _title(potentials: tuple[str, ...], symbol: str) -> str:
    """Find the potential of an element: ``PAW_PBE Si 05Jan2001``, ``Si.pbe-n-kjpaw_psl.UPF``, ``Si_pv``."""
    named = (title for title in potentials if symbol in re.findall(r"(?<![A-Za-z])[A-Z][a-z]?(?![A-Za-z])", title))
    return next(named, "")


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
        fit = fit_energy(evidence, reading)
        if isinstance(fit, str):
            yield THEORY_LABELS.skipped(f"The energies cannot be held against the predictions: {fit}.")
        elif not fit.scale.right:
            yield THEORY_LABELS.skipped("The unit of the energies must be settled first; see energy-unit.")
        else:
            yield _compare(evidence, fit)


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
    remedy = (
        "see whether these frames come from another code, functional, pseudopotential or energy convention; "
        "if so, state it in a YAML file beside them, which lets each level have a head; or leave the frames out"
    )
    return THEORY_LABELS.failed(Fault(worst.frames, said, remedy, [drop(worst.frames)], numbers))


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

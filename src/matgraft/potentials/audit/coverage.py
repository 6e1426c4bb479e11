"""Which structures are there, and which are missing: what a tuned model will have been shown, and what it will not.

>>> covered = coverage(dataset)
>>> covered.families
{'bulk': 202, 'compressed': 34, 'expanded': 15, 'vacancy': 57, 'surface': 12, ...}
>>> covered.missing[0]
Use(use='the equation of state under pressure', reason='no frame is compressed by more than 3%')

Families are told by tags (``config_type``, ``trajectory``, ``description``) and by geometry, whichever says so. Volumes
per atom are held against the median of their composition. Shear is measured within series of frames that share their
atoms and, nearly, their cell, against the most symmetric cell of the series. What has nothing to be compared with, such
as the volume of the only frame of a composition, is unknown.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import minkowski_reduce
from pydantic import Field

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.core.verdict import Use
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.audit.kinds import MOST_FRAMES, NAMED, ORDERED, has_adsorbate, names_kind, order
from matgraft.potentials.audit.robust import rms
from matgraft.potentials.audit.strain import match, metric, shear_strain, symmetry
from matgraft.potentials.data.conditions import TELLING_TAGS, kelvins
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.geometry import SLAB_A, closest_pair, vacuum
from matgraft.potentials.data.phases import phases_by_formula, phases_of
from matgraft.potentials.data.sense import TITLES, Kind

if TYPE_CHECKING:
    from ase import Atoms

VOLUME_STRAIN = 0.03
"""Part of the median volume per atom by which a frame must differ to count as compressed or expanded."""

SHEAR_STRAIN = 0.01
"""Largest principal strain at constant volume from which on a frame counts as sheared."""

HOT, RELAXED = 0.5, 0.05
"""eV/Å, root mean square force over the atoms of a frame: above, it is off its minimum as at several hundred K; below,
it is at it."""

_ROUNDING = 1e-9  # a strain of exactly 1 % is not above it, whatever its last digit
_SAME_CELL = 0.15  # strain within which a frame belongs to the series of another
_VACANCY_CELL = 0.1  # the same for a cell with and without a vacancy
_VACANCIES = 3  # atoms that may lack before it is another structure
_CLOSE = 0.8  # covalent distances; solids at their volume stay above, collisions go below


class Span(Frozen):
    """Smallest, median and largest of something."""

    low: float
    median: float
    high: float


class Coverage(Frozen):
    """What a dataset shows.

    Attributes
    ----------
    n_frames, n_atoms
        Number of frames; atoms a frame.
    formulas, config_types
        Reduced formula or tag -> frames.
    families
        Kind of structure -> frames; a frame may be of several kinds.
    volume_A3
        Reduced formula -> volume per atom of its bulk frames.
    volume_ratio
        Volume over the median of its composition, bulk frames that share their composition with others; None for none.
    shear_strain
        Largest shear strain of a cell, over all frames that have others to compare with; None for none.
    force_eV_per_A
        Size of the force on an atom.
    temperature_K
        Temperatures that tags name.
    closest_ratio
        Closest pair of atoms over the sum of the covalent radii.
    phases, phases_by
        Formula -> phase -> frames, and what tells phases apart.
    left_out
        Frames whose structures make no sense, by why; of what stands above they are in the numbers of frames, atoms,
        formulas and tags alone.
    n_examined
        Frames in which liquids and adsorbates were looked for by structure; in the others by tags alone.
    missing
        What the model must not be trusted for, since the frames do not show it.
    """

    n_frames: int
    n_atoms: Span
    formulas: dict[str, int]
    config_types: dict[str, int]
    families: dict[str, int]
    volume_A3: dict[str, Span] = Field(default_factory=dict)
    volume_ratio: Span | None = None
    shear_strain: float | None = None
    force_eV_per_A: Span | None = None
    temperature_K: Span | None = None
    closest_ratio: float | None = None
    phases: dict[str, dict[str, int]] = Field(default_factory=dict)
    phases_by: str = ""
    left_out: dict[Kind, int] = Field(default_factory=dict)
    n_examined: int | None = None
    missing: tuple[Use, ...] = ()

    @property
    def left_out_in_words(self) -> str:
        """How many frames were left out, and why; empty where none was."""
        if not self.left_out:
            return ""
        why = ", ".join(f"{n} with {TITLES[kind]}" for kind, n in self.left_out.items())
        return f"{sum(self.left_out.values())} of {self.n_frames} frames make no sense and are left out: {why}"


def coverage(dataset: Dataset, phases: str = "") -> Coverage:
    """Say which structures a dataset holds and which it lacks.

    Parameters
    ----------
    dataset
        Frames; those whose structures make no sense are left out, and counted. Forces in eV/Å are used where there are
        any.
    phases
        Tag that tells phases apart; empty: as `phases_of` finds them.

    Returns
    -------
    Coverage
        Counts, ranges and what is missing.
    """
    survey = _survey(dataset)
    families = {name: len(frames) for name, frames in survey.families.items()}
    forces = list(survey.forces.values())
    told = phases_of(dataset, phases)
    found = Coverage(
        n_frames=len(dataset),
        n_atoms=_span([sample.n_atoms for sample in dataset]) or Span(low=0, median=0, high=0),
        formulas=dict(Counter(_formula(sample.content) for sample in dataset).most_common()),
        config_types=dict(Counter(filter(None, dataset.tag("config_type"))).most_common()),
        families=families,
        volume_A3=survey.volumes,
        volume_ratio=_span(list(survey.ratios.values())),
        shear_strain=max(survey.shear.values(), default=None),
        force_eV_per_A=_span(np.concatenate(forces)) if forces else None,
        temperature_K=_span([kelvin for tags in dataset.samples.tags() for kelvin in kelvins(tags)]),
        closest_ratio=survey.closest,
        phases=phases_by_formula(dataset, told),
        phases_by=told.by,
        left_out=survey.left_out,
        n_examined=survey.examined,
    )
    return found.model_copy(update={"missing": tuple(_missing(found, dataset))})


@dataclass
class _Survey:
    """Frame by frame, by position in the dataset; forces as their size on each atom, (n,) eV/Å."""

    families: dict[str, set[int]]
    volumes: dict[str, Span]
    ratios: dict[int, float]
    shear: dict[int, float]
    forces: dict[int, Array]
    closest: float | None
    examined: int
    left_out: dict[Kind, int]


def _survey(dataset: Dataset) -> _Survey:
    evidence = Evidence(dataset)
    sound = [int(i) for i in evidence.sound]
    cells = [i for i in sound if evidence.volumes[i] > 0 and dataset.samples[i].content.pbc.all()]
    gaps = {i: vacuum(dataset.samples[i].content) > SLAB_A for i in sound}
    molecules = {i for i in sound if gaps[i].all()}
    surfaces = {i for i in sound if gaps[i].any()} - molecules | _tagged(dataset, r"surf|slab")
    bulk = [i for i in cells if i not in surfaces | molecules]
    volumes, ratios = _volumes(evidence, bulk)
    series = _series(dataset, bulk)
    shear = _shear(series)
    interstitials = _tagged(dataset, r"interstit")
    labelled = map(int, evidence.labelled("forces"))
    forces = {i: np.linalg.norm(dataset.samples[i].labels["forces"], axis=1) for i in labelled}
    sizes = {i: rms(x) for i, x in forces.items()}
    families = {
        "bulk": set(bulk),
        "compressed": {i for i, ratio in ratios.items() if ratio < 1 - VOLUME_STRAIN},
        "expanded": {i for i, ratio in ratios.items() if ratio > 1 + VOLUME_STRAIN},
        "sheared": {i for i, strain in shear.items() if strain > SHEAR_STRAIN + _ROUNDING},
        "vacancy": _vacancies([one for one in series if interstitials.isdisjoint(one.frames)])
        | _tagged(dataset, r"vacanc"),
        "interstitial": interstitials,
        "defect": _tagged(dataset, r"vacanc|defect|interstit|antisite|dislocation|grain"),
        "surface": surfaces,
        "molecule": molecules,
        "no cell": set(sound) - set(cells) - surfaces,
        "hot": {i for i, size in sizes.items() if size > HOT},
        "relaxed": {i for i, size in sizes.items() if size < RELAXED},
    }
    families["defect"] |= families["vacancy"]
    families |= {kind: _named(dataset, kind) for kind in NAMED}
    families["defect"] |= families["grain boundary"]
    examined = _spread(sound)
    looked = {kind: set(examined) & families[kind] for kind in ("surface", "bulk", "hot")}
    families["adsorbate"] |= {i for i in looked["surface"] if has_adsorbate(dataset.samples[i].content)}
    families["liquid"] |= {i for i in looked["bulk"] & looked["hot"] if _melted(dataset.samples[i].content)}
    closest = min((closest_pair(dataset.samples[i].content)[0] for i in sound), default=np.inf)
    finite = closest if np.isfinite(closest) else None
    left_out = dict(Counter(why.kind for why in evidence.senseless.values()).most_common())
    return _Survey(families, volumes, ratios, shear, forces, finite, len(examined), left_out)


def _spread(frames: Sequence[int]) -> list[int]:
    """Return the frames that are looked at by structure."""
    if len(frames) <= MOST_FRAMES:
        return list(frames)
    return [frames[int(k)] for k in np.linspace(0, len(frames) - 1, MOST_FRAMES)]


def _named(dataset: Dataset, kind: str) -> set[int]:
    return {i for i, tags in enumerate(dataset.samples.tags()) if names_kind(kind, tags, TELLING_TAGS)}


def _melted(atoms: Atoms) -> bool:
    found = order(atoms)
    return found is not None and found < ORDERED


def _tagged(dataset: Dataset, pattern: str) -> set[int]:
    """Frames one of whose telling tags matches."""
    said = re.compile(pattern, re.IGNORECASE)
    each = dataset.samples.tags()
    return {i for i, tags in enumerate(each) if any(said.search(tags.get(tag, "")) for tag in TELLING_TAGS)}


def _volumes(evidence: Evidence, bulk: Sequence[int]) -> tuple[dict[str, Span], dict[int, float]]:
    """Return volumes per atom by composition, and each frame's over the median where there are several frames."""
    members: dict[str, list[int]] = defaultdict(list)
    for i in bulk:
        members[_formula(evidence.dataset.samples[i].content)].append(i)
    spans: dict[str, Span] = {}
    ratios: dict[int, float] = {}
    for formula, frames in members.items():
        values = evidence.volumes[frames] / evidence.n_atoms[frames]
        spans[formula] = Span(low=values.min(), median=np.median(values), high=values.max())
        if len(frames) > 1:
            ratios |= dict(zip(frames, (values / np.median(values)).tolist(), strict=True))
    return spans, ratios


# --- series of like cells --------------------------------------------------------------------------------------------


@dataclass
class _Series:
    """Frames of the same atoms and nearly one cell, by position.

    Attributes
    ----------
    cells, metrics
        Lattice vectors (3, 3) Å, and their products (3, 3) Å² in a basis that belongs to the first cell's.
    minima
        Lengths (3,) Å of the first cell's shortest vectors.
    """

    numbers: Array
    frames: list[int]
    cells: list[Array]
    metrics: list[Array]
    minima: Array

    def take(self, frame: int, cell: Array, minima: Array) -> bool:
        """Take up a frame if its cell is near the first."""
        if np.abs(minima / self.minima - 1).max() > _SAME_CELL:  # a strain changes no shortest vector by more
            return False
        matched = match(self.cells[0], cell, _SAME_CELL)
        if matched is None:
            return False
        self.frames.append(frame)
        self.cells.append(cell)
        self.metrics.append(matched)
        return True

    def reference(self) -> Array:
        """Return the metric of the undeformed cell: the most symmetric one, of several the nearest to the median."""
        median = np.median(self.metrics, axis=0)
        orders = np.array([symmetry(cell) for cell in self.cells])
        best = np.flatnonzero(orders == orders.max())
        distances = [np.abs(self.metrics[k] - median).sum() for k in best]
        return self.metrics[best[int(np.argmin(distances))]]


def _series(dataset: Dataset, frames: Sequence[int]) -> list[_Series]:
    """Gather frames greedily, from the middle outwards: each joins the first series whose first cell is near."""
    by_numbers: dict[bytes, list[int]] = defaultdict(list)
    cells = {i: np.asarray(dataset.samples[i].content.cell[:]) for i in frames}
    for i in frames:
        numbers = dataset.samples[i].content.numbers
        by_numbers[np.sort(numbers).astype(np.int64).tobytes()].append(i)
    found = []
    for numbers, members in by_numbers.items():
        metrics = np.array([metric(cells[i]) for i in members])
        middle = np.abs(metrics - np.median(metrics, axis=0)).sum(axis=(1, 2))
        known: list[_Series] = []
        for k in np.argsort(middle, kind="stable"):
            i = members[k]
            minima = np.sort(np.linalg.norm(minkowski_reduce(cells[i])[0], axis=1))
            if not any(one.take(i, cells[i], minima) for one in known):
                known.append(_Series(np.frombuffer(numbers, dtype=np.int64), [i], [cells[i]], [metrics[k]], minima))
        found += known
    return found


def _shear(series: Sequence[_Series]) -> dict[int, float]:
    """Return the shear strain of each frame that has others to compare with."""
    found: dict[int, float] = {}
    for one in series:
        if len(one.frames) > 1:
            reference = one.reference()
            found |= {i: shear_strain(reference, own) for i, own in zip(one.frames, one.metrics, strict=True)}
    return found


def _vacancies(series: Sequence[_Series]) -> set[int]:
    """Frames in the cell of others that have a few atoms more."""
    by_numbers: dict[bytes, list[_Series]] = defaultdict(list)
    for one in series:
        if len(one.numbers) >= 2 * _VACANCIES:
            by_numbers[one.numbers.tobytes()].append(one)
    pairs = (
        (one, whole)
        for whole in series
        for fewer in _with_vacancies(whole.numbers)
        for one in by_numbers.get(fewer, ())
    )
    return {i for one, whole in pairs if _same_cell(one, whole) for i in one.frames}


def _with_vacancies(numbers: Array) -> set[bytes]:
    """Return the compositions, as sorted numbers, with one to `_VACANCIES` atoms less."""
    found, last = {numbers.tobytes()}, {numbers.tobytes()}
    for _ in range(min(_VACANCIES, len(numbers) - 1)):
        fuller = [np.frombuffer(content, dtype=numbers.dtype) for content in last]
        last = {np.delete(own, k).tobytes() for own in fuller for k in np.unique(own, return_index=True)[1]}
        found |= last
    return found - {numbers.tobytes()}


def _same_cell(one: _Series, other: _Series) -> bool:
    return match(other.cells[0], one.cells[0], _VACANCY_CELL) is not None


# --- what is missing -------------------------------------------------------------------------------------------------


_BY_TAGS = "no tag says {}, and the structure does not show it"
_FAMILIES = {
    "compressed": Use(
        use="the equation of state under pressure", reason=f"no frame is compressed by more than {VOLUME_STRAIN:.0%}"
    ),
    "expanded": Use(
        use="thermal expansion and cohesion", reason=f"no frame is expanded by more than {VOLUME_STRAIN:.0%}"
    ),
    "sheared": Use(
        use="elastic constants and plasticity", reason=f"no cell is sheared by more than {SHEAR_STRAIN:.0%}"
    ),
    "surface": Use(use="surface energies and fracture", reason="no frame has a surface"),
    "defect": Use(use="defect energies and diffusion", reason="no frame has a vacancy or another defect"),
    "liquid": Use(use="melting and liquids", reason="no frame is named liquid, and no hot one lacks all order"),
    "adsorbate": Use(use="adsorption and catalysis", reason="no frame has an adsorbate"),
    "grain boundary": Use(use="grain boundaries", reason=_BY_TAGS.format("a grain boundary")),
    "interface": Use(use="interfaces of two phases", reason=_BY_TAGS.format("an interface")),
    "transition state": Use(use="barriers and reaction paths", reason=_BY_TAGS.format("a band of images or a saddle")),
}
_BY_FORCES = {
    "hot": Use(
        use="molecular dynamics at high temperature",
        reason=f"no frame has a root mean square force above {HOT} eV/Å",
    ),
    "relaxed": Use(
        use="relaxed geometries at their minimum",
        reason=f"no frame has a root mean square force below {RELAXED} eV/Å",
    ),
}
_UNKNOWN = {
    "volume_ratio": (
        ("compressed", "expanded"),
        Use(
            use="the equation of state",
            reason="no two bulk frames share a composition, so that compression and expansion are unknown",
        ),
    ),
    "shear_strain": (
        ("sheared",),
        Use(
            use="elastic constants",
            reason="no two bulk frames share their atoms and nearly their cell, so that shear is unknown",
        ),
    ),
}
"""Measure -> the families that it tells, and what is missing where there was nothing to measure."""


def _missing(found: Coverage, dataset: Dataset) -> Iterator[Use]:
    unknown = [_UNKNOWN[name] for name in _UNKNOWN if getattr(found, name) is None]
    untold = {family for families, _ in unknown for family in families}
    yield from (use for _, use in unknown)
    by_family = _FAMILIES | (_BY_FORCES if found.force_eV_per_A is not None else {})
    yield from (use for family, use in by_family.items() if not found.families[family] and family not in untold)
    if found.closest_ratio is None or found.closest_ratio > _CLOSE:
        yield Use(use="collisions and shocks", reason=f"no two atoms come closer than {_CLOSE} covalent distances")
    if not dataset.count("forces"):
        yield Use(use="dynamics and relaxation", reason="no frame carries forces")
    if not dataset.count("stress"):
        yield Use(use="pressure and runs at constant pressure", reason="no frame carries a stress")
    if not any(len(own) > 1 for own in found.phases.values()):
        reason = f"no composition has frames of two phases (by {found.phases_by})"
        yield Use(use="relative stability of phases, phase transitions", reason=reason)
    if len(found.formulas) == 1:
        yield Use(use="other compositions", reason=f"every frame is {next(iter(found.formulas))}")
    if found.n_atoms.low == found.n_atoms.high:
        yield Use(use="long waves and other cell sizes", reason=f"every frame has {found.n_atoms.low:.0f} atoms")


def _formula(atoms: Atoms) -> str:
    return str(atoms.get_chemical_formula(empirical=True))


def _span(values: Sequence[float] | Array) -> Span | None:
    if not len(values):
        return None
    return Span(low=float(np.min(values)), median=float(np.median(values)), high=float(np.max(values)))

"""Which phase each frame is of: as its tags say, or by the kind of its structure.

>>> phases_of(dataset)
Phases(labels=("diamond", "diamond", "beta-tin"), by="tag 'phase'")

The first of `PHASE_TAGS` that a frame has tells all of them. Without such a tag a frame is a molecule, a surface or
bulk, and has so many neighbours: ``"bulk, 4 neighbours"`` is diamond, 6 is beta-tin. This is rough: fcc and hcp are one
kind.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list

from matgraft.core.errors import OptionError, nearest
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.geometry import SLAB_A, vacuum
from matgraft.potentials.data.sense import nonsense

PHASE_TAGS = ("phase", "polymorph", "prototype", "structure_type", "spacegroup", "space_group", "config_type")
_NOTHING = ("", "nan", "NaN", "NAN", "<NA>", "None", "null")
BONDED = 1.25
"""Sum of two covalent radii, times this, within which two atoms are neighbours: 12 in fcc, 4 in diamond."""


class Phases(NamedTuple):
    """The phase of each frame, None where it is not told, and what tells it."""

    labels: tuple[str | None, ...]
    by: str


def phases_of(dataset: Dataset, tag: str = "") -> Phases:
    """Tell the phase of each frame.

    Parameters
    ----------
    tag
        The tag that holds it; empty: the first of `PHASE_TAGS` that there is, else the kind of structure.
    """
    known = _tags(dataset)
    if tag := tag or next((name for name in PHASE_TAGS if name in known), ""):
        return Phases(tuple(map(stated, dataset.tag(tag))), f"tag {tag!r}")
    return Phases(tuple(_kind(sample.content) for sample in dataset), "kind of structure and number of neighbours")


def stated(text: str | None) -> str | None:
    """Return what a tag says; None where it is empty, or what a table or Python writes for nothing (NaN, None)."""
    word = (text or "").strip()
    return None if word in _NOTHING else word


def require_phase_tag(dataset: Dataset, tag: str) -> None:
    """Raise an OptionError if no frame has the tag that shall tell phases."""
    if tag not in (known := _tags(dataset)):
        raise OptionError(
            f"scores.phases={tag!r} is not a tag of the frames", allowed=known, remedy=nearest(tag, known)
        )


def _tags(dataset: Dataset) -> list[str]:
    return sorted({name for tags in dataset.samples.tags() for name in tags})


def phases_by_formula(dataset: Dataset, phases: Phases) -> dict[str, dict[str, int]]:
    """Return formula -> phase -> number of frames, the most frequent first."""
    pairs = Counter(
        (_formula(sample.content), phase)
        for sample, phase in zip(dataset, phases.labels, strict=True)
        if phase is not None
    )
    found: dict[str, dict[str, int]] = {}
    for (formula, phase), count in pairs.most_common():
        found.setdefault(formula, {})[phase] = count
    return found


def _formula(atoms: Atoms) -> str:
    return str(atoms.get_chemical_formula(empirical=True))


def _kind(atoms: Atoms) -> str | None:
    """Return bulk, surface or molecule with the mean number of neighbours; None for what makes no sense."""
    if nonsense(atoms) is not None:
        return None
    gaps = vacuum(atoms) > SLAB_A
    kind = "molecule" if gaps.all() else "surface" if gaps.any() else "bulk"
    pairs = neighbor_list("i", atoms, natural_cutoffs(atoms, mult=BONDED), self_interaction=False)
    return f"{kind}, {round(len(pairs) / len(atoms))} neighbours"

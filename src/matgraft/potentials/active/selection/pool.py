"""The pool as frames with their walkers, and what is left out of it before any model is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from matgraft.core.errors import DataError
from matgraft.potentials.active.selection.select import FROM_CHECK, PoolCandidate
from matgraft.potentials.active.selection.selected import Left
from matgraft.potentials.audit.structures import CLOSEST
from matgraft.potentials.checks.checked import CHECKED
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.geometry import closest_pair
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.seen import Fingerprints, is_among, repeats
from matgraft.potentials.data.sense import UNITS_MAY_CURE, nonsense

ORIGIN, WALKER, STEP, STRUCTURE = "origin", "walker", "step", "structure"
"""Tags of the frames of a pool: how each was made, the simulation that it is of, when in it, and what it began with."""

MOST_ATOMS = 1_000_000
"""Atoms of a pool that are looked at; of more, frames are drawn."""


def read_pool(pool: Sequence[str | Path] | Sequence[Atoms]) -> Dataset:
    """Return the frames of files, or structures as they are; labels are left aside.

    Raises
    ------
    DataError
        If a file cannot be read, or there is no frame.
    """
    found = [_named(read(one, want=()), Path(one), len(pool) > 1) for one in pool if not isinstance(one, Atoms)]
    found += [Dataset([_of_atoms(one, i) for i, one in enumerate(pool) if isinstance(one, Atoms)])]
    frames = concatenate([one for one in found if len(one)]) if any(map(len, found)) else Dataset(())
    if not len(frames):
        raise DataError("the pool has no frame", remedy="name a file of structures")
    return frames


def _named(frames: Dataset, file: Path, among_several: bool) -> Dataset:
    """Name walkers by their file too, where each of several files counts its own."""
    if not among_several:
        return frames
    walkers = [own.get(WALKER) for own in frames.samples.tags()]
    named = [
        one.with_tags(**{WALKER: f"{file.stem} {w}"}) if w else one for one, w in zip(frames, walkers, strict=True)
    ]
    return Dataset(named, frames.provenance)


def _of_atoms(atoms: Atoms, index: int) -> Sample:
    tags = {
        str(key): str(value) for key, value in atoms.info.items() if isinstance(value, str | int | float | np.number)
    }
    bare = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return Sample(bare, {}, tags, file="pool", index=index)


def handed_over(folders: Sequence[Path]) -> Dataset:
    """Return the structures that failed checks ask labels of, from folders of physical checks."""
    found: list[Sample] = []
    for folder in folders:
        for one in CHECKED.read(folder).findings:
            files = [action.structures for action in one.actions if action.structures]
            name = f"{FROM_CHECK} {one.code}{f' of {one.about}' if one.about else ''}"
            tags = {ORIGIN: f"{FROM_CHECK} {one.code}", WALKER: name, STEP: ""}
            found += [sample.with_tags(**tags) for file in files for sample in read(folder / file, want=())]
    return Dataset(tuple(found))


def plausible(
    frames: Dataset, known: Sequence[Fingerprints], seed: int, left: Counter[Left], most: int = MOST_ATOMS
) -> list[int]:
    """Return positions of the frames to ask the model about, and count the others.

    Parameters
    ----------
    known
        Fingerprints of the frames that are labelled already.
    """
    sizes = np.array([len(numbers) for numbers in frames.samples.numbers()])
    order = np.random.default_rng(seed).permutation(len(frames)) if sizes.sum() > most else np.arange(len(frames))
    kept = np.sort(order[np.cumsum(sizes[order]) <= most])
    why = {i: nonsense(frames[i].content) for i in kept.tolist()}
    sound = [i for i, one in why.items() if one is None or one.kind in UNITS_MAY_CURE]
    apart = [i for i in sound if why[i] is None and closest_pair(frames[i].content)[0] >= CLOSEST]
    some = frames[apart]
    seen = np.zeros(len(apart), dtype=bool)
    for one in known:
        seen |= is_among(some, one)
    again = repeats(some) & ~seen
    counts: Mapping[Left, int] = {
        "unread": len(frames) - len(kept),
        "untakable": len(kept) - len(sound),
        "collided": len(sound) - len(apart),
        "labelled": int(seen.sum()),
        "repeated": int(again.sum()),
    }
    left.update(counts)
    return [i for i, out in zip(apart, seen | again, strict=True) if not out]


def candidates_of(frames: Dataset, strata: str) -> list[PoolCandidate]:
    """Describe each frame.

    One without a walker is of all that were made of a structure in one way; where nothing says how, it is of the
    simulation that `find_groups` sees in it.
    """
    tags = list(frames.samples.tags())
    walkers = [own.get(WALKER) or _made(own) for own in tags]
    unnamed = [i for i, walker in enumerate(walkers) if not walker]
    labels = find_groups(frames[unnamed]).labels if unnamed else ()
    found = dict(zip(unnamed, labels, strict=True))
    return [
        PoolCandidate(i, walker or found[i], own.get(ORIGIN, ""), _step(own.get(STEP, "")), own.get(strata, ""))
        for i, (walker, own) in enumerate(zip(walkers, tags, strict=True))
    ]


def _made(tags: Mapping[str, str]) -> str:
    """Return how a frame was made and of what; empty where nothing says it."""
    return f"{tags[ORIGIN]} of {tags[STRUCTURE]}" if tags.get(ORIGIN) and tags.get(STRUCTURE) else ""


def _step(text: str) -> float | None:
    try:
        step = float(text)
    except ValueError:
        return None
    return step if np.isfinite(step) else None

"""Which frames belong together: the trajectory of each frame, found without being told.

Snapshots of one simulation, or steps of one strain series, are nearly the same frame. `find_groups` looks for what says
so, in this order; a frame that one route leaves open goes to the next:

1. an info key that names the simulation, then one that names its parent (`TRAJECTORY_KEYS`, `PARENT_KEYS`);
2. a description with a counter, "Snapshot 3 of 32 of AIMD at 300 K": what is left without the counter;
3. file and folder names;
4. frame order and structure: consecutive frames of like atoms, cell and positions, and near-duplicates anywhere (of
   more than `COMPARED` frames, among so many evenly spread).

Where the routes are in doubt they join rather than part: too coarse costs some balance, too fine leaks.

>>> labels, reason = find_groups(dataset)
>>> reason
"info key 'trajectory'"
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from matgraft.data.dataset import Dataset, Sample
from matgraft.data.lazy import tags_of, take
from matgraft.data.neighbours import COMPARED, Fingerprint, close_pairs, evenly, fingerprint

# Compared in lower case without punctuation, so that `MD-ID` and `md_id` are one.
TRAJECTORY_KEYS = (
    *("trajectory", "trajectoryid", "traj", "trajid", "md", "mdid", "mdrun"),
    *("simulation", "simulationid", "sim", "simid", "run", "runid", "series", "seriesid"),
)
"""Keys that name a simulation: believed even if all frames have one value."""
# Parents before tasks: two relaxations of one material pass through the same structures.
PARENT_KEYS = (
    *("materialid", "mpid", "material", "parent", "parentid", "prototype", "system", "systemid", "systemname"),
    *("taskid", "task", "calcid", "calculationid", "jobid", "job"),
)
"""Keys that name what the frames came from: one value for all frames says nothing."""
DESCRIPTION_KEYS = ("description", "comment", "title", "name", "configname", "label")

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_COUNTED = (
    "snapshot|frame|step|ionic[ _]step|image|iteration|time|strain|displacement|distortion|amplitude|scale|volume"
)
_OF = r"(?:\s*(?:of|/)\s*\d+\b)?(?:\s+(?:of|in|from|for)\b)?"
COUNTER = re.compile(rf"\b(?:{_COUNTED})\s*[#:=_]?\s*{_NUMBER}\s*(?:%|ps|fs|Å)?{_OF}", re.I)
PART_NAME = re.compile(r"(?:^|[\W_])(?:train|training|valid|validation|val|test|testing|dev)(?:$|[\W_])", re.I)
OUTPUT_NAME = re.compile(r"^(?:outcar|vasprun|contcar|xdatcar|poscar|output|out|pw|espresso)\b.*", re.I)
COUNTED_NAME = re.compile(r"^(?:snapshot|snap|frame|step|image|img|conf|config|structure|geom)?[_.-]*\d+$", re.I)

BY_STRUCTURE = "frame order and structural similarity"

JUMP_A = 1.0
"""A larger mean displacement between consecutive frames starts a new trajectory.

Snapshots of solids lie 0.1 to 0.5 Å apart (Si at 300 to 1518 K, Mo at 300 to 3000 K); different arrangements of atoms,
half a neighbour distance and more.
"""
JUMP_STRAIN = 0.05
"""A larger component of the strain between consecutive cells starts a new trajectory; barostats and strain series go in
steps of 1 or 2 %."""


class Groups(NamedTuple):
    """The group of each frame, and how it was found."""

    labels: tuple[str, ...]
    reason: str


Labels = Sequence[str | None]


def find_groups(samples: Sequence[Sample]) -> Groups:
    """Find the trajectory of each frame.

    Parameters
    ----------
    samples
        Frames in the order they were read.

    Returns
    -------
    Groups
        `labels`, one a frame; frames that stand alone are their own group. `reason`, one line that says how.
    """
    samples = samples.samples if isinstance(samples, Dataset) else samples
    labels: list[str | None] = [None] * len(samples)
    reasons: list[tuple[str, int]] = []
    for route in (_by_keys, _by_description, _by_file, _by_structure):
        open_ = [i for i, label in enumerate(labels) if label is None]
        for found, reason in route(samples if len(open_) == len(samples) else take(samples, open_)):
            named = [(i, label) for i, label in zip(open_, found, strict=True) if label and labels[i] is None]
            for i, label in named:
                labels[i] = label
            if named:
                reasons.append((reason, len(named)))
    counted = [f"{reason} ({count} frames)" if len(reasons) > 1 else reason for reason, count in reasons]
    return Groups(tuple(label or "" for label in labels), "; ".join(counted))


Route = Callable[[Sequence[Sample]], list[tuple[Labels, str]]]
"""Samples -> proposals, best first: a label or None for each sample, and the reason."""


def is_consecutive(first: Atoms, second: Atoms) -> bool:
    """Say whether `second` may follow `first` in a simulation.

    The atoms are the same in the same order, the cell is strained by less than `JUMP_STRAIN` and the atoms moved by
    less than `JUMP_A` on average, drift aside (minimum image).
    """
    if not np.array_equal(first.numbers, second.numbers) or not np.array_equal(first.pbc, second.pbc):
        return False
    periodic = first.pbc.any()
    cell, other = (atoms.cell.complete()[:] if periodic else np.eye(3) for atoms in (first, second))
    if np.abs(np.linalg.solve(cell, other) - np.eye(3)).max() > JUMP_STRAIN:
        return False
    moved = np.linalg.solve(other.T, second.positions.T).T - np.linalg.solve(cell.T, first.positions.T).T
    moved -= np.where(first.pbc, np.round(moved), 0.0)
    moved = (moved - moved.mean(axis=0)) @ other
    return bool(np.linalg.norm(moved, axis=1).mean() < JUMP_A)


def _by_keys(samples: Sequence[Sample]) -> list[tuple[Labels, str]]:
    keys = dict.fromkeys(key for tags in tags_of(samples) for key in tags)
    proposals: list[tuple[Labels, str]] = []
    for wanted in (*TRAJECTORY_KEYS, *PARENT_KEYS):
        for key in [key for key in keys if _plain(key) == wanted]:
            values = _stated([tags.get(key) or None for tags in tags_of(samples)], samples)
            if _names_groups(values, at_least=1 if wanted in TRAJECTORY_KEYS else 2):
                proposals.append((values, f"info key {key!r}"))
    return proposals


def _stated(values: Labels, samples: Sequence[Sample]) -> Labels:
    """Leave out the path that reading gives a run of one frame: `_by_file` sees which folder it belongs to."""
    frames = Counter(values)
    if 1 not in frames.values():
        return values
    return [
        None if value == sample.file and frames[value] == 1 else value
        for value, sample in zip(values, samples, strict=True)
    ]


def _names_groups(values: Labels, at_least: int) -> bool:
    """Tell a key that groups from one that differs in every frame and so counts them."""
    named = Counter(value for value in values if value)
    return len(named) >= at_least and max(named.values(), default=0) > 1


def _by_description(samples: Sequence[Sample]) -> list[tuple[Labels, str]]:
    keys = [
        key for key in dict.fromkeys(k for tags in tags_of(samples) for k in tags) if _plain(key) in DESCRIPTION_KEYS
    ]
    return [
        ([_without_counter(tags.get(key, "")) for tags in tags_of(samples)], f"info key {key!r} without its counter")
        for key in sorted(keys, key=lambda key: DESCRIPTION_KEYS.index(_plain(key)))
    ]


def _without_counter(text: str) -> str | None:
    """'Snapshot 3 of 32 of AIMD at 300 K' -> 'AIMD at 300 K'; None where nothing counts or nothing is left."""
    rest, found = COUNTER.subn("", text)
    rest = " ".join(rest.split()).strip(" ,;:/-_")
    return rest if found and rest else None


def _by_file(samples: Sequence[Sample]) -> list[tuple[Labels, str]]:
    files = [sample.file for sample in samples]
    frames = Counter(files)
    if len(frames) < 2:
        return []
    places = [file if frames[file] > 1 else _folder(file) for file in files]
    formulas: dict[str, set[str]] = {place: set() for place in places}
    for place, sample in zip(places, samples, strict=True):
        formulas[place].add(sample.content.get_chemical_formula())
    sizes = Counter(places)
    trusted = {place for place, inside in formulas.items() if _is_trajectory(place, sizes[place], inside)}
    return [([place if place in trusted else None for place in places], "file and folder names")]


def _is_trajectory(place: str, size: int, formulas: Collection[str]) -> bool:
    """Trust a file or folder of several frames, of one composition as in a simulation, not named after a part."""
    return size > 1 and not PART_NAME.search(PurePosixPath(place).name) and len(formulas) == 1


def _folder(file: str) -> str:
    """Return where a file of one frame belongs.

    ``a/0001/OUTCAR`` and ``a/frame_7.xyz`` to ``a``, ``mp-149/OUTCAR`` to ``mp-149``.
    """
    path = PurePosixPath(file)
    if OUTPUT_NAME.match(path.name):
        path = path.parent
    while COUNTED_NAME.match(path.name.split(".")[0]):
        path = path.parent
    return str(path)


def _by_structure(samples: Sequence[Sample]) -> list[tuple[Labels, str]]:
    if not samples:
        return []
    frames = (sample.content for sample in samples)
    follows = [i for i, (first, second) in enumerate(pairwise(frames)) if is_consecutive(first, second)]
    chosen = evenly(range(len(samples)), COMPARED)
    prints = [fingerprint(sample.content) for sample in take(samples, chosen)]
    component = np.arange(len(samples))
    for pairs in chain([np.column_stack([follows, np.add(follows, 1)]).astype(np.int64)], _near(chosen, prints)):
        component = _join(component, pairs)
    members = np.split(np.argsort(component, kind="stable"), np.cumsum(np.bincount(component))[:-1])
    places = [sample.where for sample in samples]
    names = [_stretch_name(places, k, inside) for k, inside in enumerate(members)]
    return [([names[k] for k in component], BY_STRUCTURE)]


def _near(chosen: Sequence[int], prints: Sequence[Fingerprint]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs of near-duplicates, as positions among all frames."""
    positions = np.array(chosen)
    return (positions[pairs] for pairs in close_pairs(prints, prints))


def _join(component: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Merge components that a pair of members links; (n,) and (n_pairs, 2) -> (n,), numbered by first member."""
    n = len(component)
    links = coo_array((np.ones(len(pairs)), component[pairs].T), shape=(n, n))
    return np.asarray(connected_components(links, directed=False)[1][component], dtype=np.int64)


def _stretch_name(places: Sequence[str], k: int, members: NDArray[np.int64]) -> str:
    """Name a stretch; its number keeps it apart where samples have no file or index."""
    first, last = places[members[0]], places[members[-1]]
    if len(members) == 1:
        return f"stretch {k}: {first}"
    return f"stretch {k}: {len(members)} frames, {first} to {last}"


def _plain(key: str) -> str:
    return re.sub(r"[\W_]", "", key.lower())

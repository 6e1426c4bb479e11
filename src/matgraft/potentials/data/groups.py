"""Which frames belong together: the trajectory of each frame, found without being told.

Snapshots of one simulation, or steps of one strain series, are nearly the same frame. `find_groups` looks for what says
so, in this order; a frame that one route leaves open goes to the next:

0. what `matgraft active` wrote itself (`WALKER_KEY`), which is believed as it is;
1. an info key that names the simulation, then one that names its parent (`TRAJECTORY_KEYS`, `PARENT_KEYS`), unless it
   counts the frames;
2. a description with a counter, "Snapshot 3 of 32 of AIMD at 300 K": what is left without the counter;
3. file and folder names, where what is in the files agrees (`matgraft.potentials.data.runs`);
4. structure: frames of the same atoms about the same places, wherever they stand (`matgraft.potentials.data.chains`).

Where the routes are in doubt they join rather than part: too coarse costs some balance, too fine leaks.

>>> groups = find_groups(dataset)
>>> groups.reason
"info key 'trajectory'"
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from matgraft.potentials.data.chains import find_chains
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.distance import prepare, separation
from matgraft.potentials.data.lazy import Samples
from matgraft.potentials.data.runs import Place, natural, simulations
from matgraft.potentials.data.sample import Sample

WALKER_KEY = "matgraft_walker"
"""Names the walker of a frame that was labelled in a loop, even where each has given one frame alone."""
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

NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_COUNTED = (
    "snapshot|frame|step|ionic[ _]step|image|iteration|time|strain|displacement|distortion|amplitude|scale|volume"
)
_OF = r"(?:\s*(?:of|/)\s*\d+\b)?(?:\s+(?:of|in|from|for)\b)?"
COUNTER = re.compile(rf"\b(?:{_COUNTED})\s*+[#:=_]?\s*+{NUMBER}\s*(?:%|ps|fs|Å)?{_OF}", re.I)
PART_NAME = re.compile(r"(?:^|[\W_])(?:train|training|valid|validation|val|test|testing|dev)(?:$|[\W_])", re.I)
OUTPUT_NAME = re.compile(r"^(?:outcar|vasprun|contcar|xdatcar|poscar|output|out|pw|espresso)\b.*", re.I)
COUNTED_NAME = re.compile(r"^(?:snapshot|snap|frame|step|image|img|conf|config|structure|geom)?[_.-]*\d+$", re.I)

BY_STRUCTURE = "structural similarity"

CHECKED = 1000
"""Frames by which a key is held against the structures: those of some of its values."""


class Groups(NamedTuple):
    """The group of each frame, and how it was found.

    Attributes
    ----------
    labels
        Group of each frame.
    reason
        How the groups were found, for a sentence.
    guessed
        Positions of the frames that nothing but their structure gave a group.
    uncompared
        How many of them were not compared with all others of the same atoms, to limit the work.
    untold
        How many of them are in groups too large to look for several simulations of one material in.
    """

    labels: tuple[str, ...]
    reason: str
    guessed: tuple[int, ...] = ()
    uncompared: int = 0
    untold: int = 0


Labels = Sequence[str | None]


def find_groups(frames: Sequence[Sample]) -> Groups:
    """Find the trajectory of each frame.

    Parameters
    ----------
    frames
        In the order they were read.

    Returns
    -------
    Groups
        One label a frame; frames that stand alone are their own group. `reason` is one line that says how.
    """
    samples = frames.samples if isinstance(frames, Dataset) else Samples.of(frames)
    labels: list[str | None] = [None] * len(samples)
    reasons: list[tuple[str, int]] = []
    for route in (_by_walker, _by_keys, _by_description, _by_file):
        open_ = _open(labels)
        for found, reason in route(_some(samples, open_)):
            named = [(i, label) for i, label in zip(open_, found, strict=True) if label and labels[i] is None]
            for i, label in named:
                labels[i] = label
            if named:
                reasons.append((reason, len(named)))
    guessed, uncompared, untold = _open(labels), 0, 0
    if guessed:
        names, uncompared, untold = _by_structure(_some(samples, guessed))
        for i, label in zip(guessed, names, strict=True):
            labels[i] = label
        reasons.append((BY_STRUCTURE, len(guessed)))
    counted = [f"{reason} ({count} frames)" if len(reasons) > 1 else reason for reason, count in reasons]
    return Groups(tuple(label or "" for label in labels), "; ".join(counted), tuple(guessed), uncompared, untold)


def _open(labels: Labels) -> list[int]:
    return [i for i, label in enumerate(labels) if label is None]


def _some(samples: Samples, chosen: Sequence[int]) -> Samples:
    return samples if len(chosen) == len(samples) else samples.take(chosen)


def is_consecutive(first: Atoms, second: Atoms) -> bool:
    """Say whether `second` may follow `first` in a simulation: `distance.separation` is below 1."""
    return separation(prepare(first), prepare(second)) < 1


def _by_walker(samples: Samples) -> list[tuple[Labels, str]]:
    values = [tags.get(WALKER_KEY) or None for tags in samples.tags()]
    return [(values, f"info key {WALKER_KEY!r}")] if any(values) else []


def _by_keys(samples: Samples) -> list[tuple[Labels, str]]:
    keys = dict.fromkeys(key for tags in samples.tags() for key in tags)
    proposals: list[tuple[Labels, str]] = []
    for wanted in (*TRAJECTORY_KEYS, *PARENT_KEYS):
        for key in [key for key in keys if _is_called(key, wanted)]:
            values = _stated([tags.get(key) or None for tags in samples.tags()], samples)
            at_least = 1 if wanted in TRAJECTORY_KEYS else 2
            if len({*values} - {None}) >= at_least and not _counts_frames(values, samples):
                proposals.append((values, f"info key {key!r}"))
    return proposals


def _is_called(key: str, wanted: str) -> bool:
    """Say whether a key is the one wanted, or an ``..._id`` with something before it: ``mptrj_traj_id``."""
    words = re.split(r"[\W_]+", key.lower())
    prefixed = ("".join(words[i:]) for i in range(1, len(words)))
    return bare_key(key) == wanted or (wanted.endswith("id") and wanted in prefixed)


def _stated(values: Labels, samples: Samples) -> Labels:
    """Leave out the path that reading gives a run: `_by_file` sees whether it goes on from another."""
    files = (sample.file for sample in samples)
    return [None if value == file else value for value, file in zip(values, files, strict=True)]


def _counts_frames(values: Labels, samples: Samples) -> bool:
    """Tell a key that counts frames from one that groups them.

    A key whose values differ in every frame counts. One whose value mostly stays the same from frame to frame groups.
    In between, structure decides: within frames of the same atoms about the same places, the values of a key that
    groups are repeated.
    """
    named = [i for i, value in enumerate(values) if value]
    frames = Counter(values[i] for i in named)
    if max(frames.values()) == 1:
        return True
    stays = sum(values[i] == values[j] for i, j in pairwise(named))
    if 2 * stays >= len(named) - 1:
        return False
    chosen = _frames_of_some_values(named, values)
    label = find_chains(samples.take(chosen)).label
    in_chain = Counter(label.tolist())
    repeated = Counter((k, values[i]) for i, k in zip(chosen, label.tolist(), strict=True))
    told = [(k, values[i]) for i, k in zip(chosen, label.tolist(), strict=True) if in_chain[k] > 1]
    return 2 * sum(repeated[pair] > 1 for pair in told) < len(told)


def _frames_of_some_values(named: Sequence[int], values: Labels) -> list[int]:
    """Return all frames of some values, evenly spread over the values, about `CHECKED` in all."""
    of_value: dict[str | None, list[int]] = defaultdict(list)
    for i in named:
        of_value[values[i]].append(i)
    every = max(1, len(named) // CHECKED)
    return sorted(i for k, own in enumerate(of_value.values()) if k % every == 0 for i in own)


def _by_description(samples: Samples) -> list[tuple[Labels, str]]:
    keys = [
        key for key in dict.fromkeys(k for tags in samples.tags() for k in tags) if bare_key(key) in DESCRIPTION_KEYS
    ]
    return [
        ([_without_counter(tags.get(key, "")) for tags in samples.tags()], f"info key {key!r} without its counter")
        for key in sorted(keys, key=lambda key: DESCRIPTION_KEYS.index(bare_key(key)))
    ]


def _without_counter(text: str) -> str | None:
    """'Snapshot 3 of 32 of AIMD at 300 K' -> 'AIMD at 300 K'; None where nothing counts or nothing is left."""
    rest, found = COUNTER.subn("", text)
    rest = " ".join(rest.split()).strip(" ,;:/-_")
    return rest if found and rest else None


def _by_file(samples: Samples) -> list[tuple[Labels, str]]:
    files = [sample.file for sample in samples]
    frames = Counter(files)
    if len(frames) < 2:
        return []
    places = [file if frames[file] > 1 else _folder(file) for file in files]
    found = simulations(samples, _places(places, samples))
    return [([found.get(place) for place in places], "file and folder names")]


def _places(places: Sequence[str], samples: Samples) -> list[Place]:
    members: dict[str, list[int]] = defaultdict(list)
    formulas: dict[str, set[str]] = defaultdict(set)
    runs: set[str] = set()
    files: list[str] = []
    for i, (place, sample) in enumerate(zip(places, samples, strict=True)):
        members[place].append(i)
        formulas[place].add(sample.content.get_chemical_formula())
        files.append(sample.file)
        runs |= {place} if sample.tags.get("trajectory") == sample.file else set()
    return [
        Place(
            name,
            tuple(sorted(own, key=lambda i: natural(files[i]))),
            name in runs,
            _is_trajectory(name, len(own), formulas[name]),
        )
        for name, own in members.items()
    ]


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


def _by_structure(samples: Samples) -> tuple[list[str], int, int]:
    """Return the names of the groups, and of how many frames the limits on the work left something open."""
    chains = find_chains(samples)
    members = np.split(np.argsort(chains.label, kind="stable"), np.cumsum(np.bincount(chains.label))[:-1])
    places = [sample.where for sample in samples]
    names = [_stretch_name(places, k, inside) for k, inside in enumerate(members)]
    return [names[k] for k in chains.label], chains.uncompared, chains.untold


def _stretch_name(places: Sequence[str], k: int, members: NDArray[np.int64]) -> str:
    """Name a stretch; its number keeps it apart where samples have no file or index."""
    first, last = places[members[0]], places[members[-1]]
    if len(members) == 1:
        return f"stretch {k}: {first}"
    return f"stretch {k}: {len(members)} frames, {first} to {last}"


def bare_key(key: str) -> str:
    """Return a key in lower case without punctuation."""
    return re.sub(r"[\W_]", "", key.lower())

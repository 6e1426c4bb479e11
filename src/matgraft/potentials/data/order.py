"""In which order the frames of a trajectory follow each other in time.

Blocks of a trajectory keep correlated frames together only if its frames stand in their order. `in_time` looks for a
tag that counts them (`STEP_KEYS`), then for a counter in a description, and then asks whether the order of the file
will do: it does if displacements of consecutive frames are correlated more than those of frames picked at random.

>>> order, known_by = in_time(samples, members)
>>> known_by
"info key 'step'"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from matgraft.potentials.data.chains import moves_from_first
from matgraft.potentials.data.correlation import correlations
from matgraft.potentials.data.groups import COUNTER, DESCRIPTION_KEYS, NUMBER, bare_key
from matgraft.potentials.data.lazy import Samples
from matgraft.potentials.data.runs import natural
from matgraft.potentials.data.sample import Sample

STEP_KEYS = (
    *("step", "mdstep", "timestep", "stepindex", "istep", "ionicstep", "nionicstep", "iteration", "snapshot"),
    *("snapshotid", "time", "timefs", "timeps", "t", "frame", "frameid", "frameindex", "frameno", "image"),
)
"""Keys that count the frames of a trajectory, in lower case without punctuation; the first that differs in every frame
counts."""
FILE_ORDER = "the order of the file"
LOOKED_AT = 500
"""Consecutive frames by which the order of the file is judged."""
DEALS = 200


def in_time(frames: Sequence[Sample], members: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """Put the frames of one trajectory in their order in time.

    Parameters
    ----------
    members
        (n,) positions of its frames in `frames`.

    Returns
    -------
    order
        (n,) the same positions in their order; where nothing says another one, in that of the file, and of several
        files in that of their names.
    known_by
        What says so; empty where nothing does.
    """
    own = Samples.of(frames).take(members)
    files = [natural(sample.file) for sample in own]
    for counts, known_by in _counters(own):
        for keys in (counts, list(zip(files, counts, strict=True))):
            if len({repr(key) for key in keys}) == len(keys):
                return members[sorted(range(len(keys)), key=keys.__getitem__)], known_by
    by_file = sorted(range(len(own)), key=files.__getitem__)
    return members[by_file], FILE_ORDER if _file_follows_time(own.take(by_file)) else ""


def _counters(samples: Samples) -> list[tuple[list[float], str]]:
    """Return the numbers of each key that gives every frame one, best first."""
    keys = list(dict.fromkeys(key for tags in samples.tags() for key in tags))
    found: list[tuple[list[float | None], str]] = []
    for wanted in STEP_KEYS:
        for key in (key for key in keys if bare_key(key) == wanted):
            texts = [tags.get(key, "") for tags in samples.tags()]
            if texts != [str(sample.index) for sample in samples]:  # what reading gives says no more than the file
                found.append(([_number(text) for text in texts], f"info key {key!r}"))
    for key in (key for key in keys if bare_key(key) in DESCRIPTION_KEYS):
        numbers = [_counted(tags.get(key, "")) for tags in samples.tags()]
        found.append((numbers, f"the counter in info key {key!r}"))
    return [([x for x in numbers if x is not None], how) for numbers, how in found if None not in numbers]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _counted(text: str) -> float | None:
    """'Snapshot 3 of 32 of AIMD at 300 K' -> 3."""
    counter = COUNTER.search(text)
    number = re.search(NUMBER, counter[0], re.I) if counter else None
    return float(number[0]) if number else None


def _file_follows_time(samples: Samples) -> bool:
    """Say whether consecutive frames are correlated more than frames in a random order."""
    moves = moves_from_first(samples[:LOOKED_AT])
    if moves is None or len(moves) < 4:
        return False
    correlation, _ = correlations(moves)
    rng = np.random.default_rng(0)
    orders = [np.arange(len(moves)), *(rng.permutation(len(moves)) for _ in range(DEALS))]
    steps = np.array([correlation[order[:-1], order[1:]].mean() for order in orders])
    return bool(steps[0] > steps[1:].mean() + 4 * steps[1:].std())

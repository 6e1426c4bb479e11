"""Frames labelled by a foundation itself: made offline or the user's own, spread over what the foundation tells apart.

    known = made_frames(foundation, ["Si", "Ge"], size=128, candidates=3, seed=0)
    mine = label(foundation, read("bulk.extxyz", want=()))

Such labels say what the foundation knows, not what is true: to rehearse it, and to measure what was forgotten of it. A
set that was made once is kept: under the same foundation, elements and settings it is read again, from the run's
folder or from the cache (``MATGRAFT_CACHE``, else ``~/.cache/matgraft``).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue

from matgraft.core.errors import DataError
from matgraft.core.model import Encoded
from matgraft.core.processes import cores, map_in_processes
from matgraft.core.quantities import FORCES, STRESS, Array
from matgraft.core.training.batching import plan_batches
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store import read_store
from matgraft.potentials.data.store_writing import write_store
from matgraft.potentials.data.structures import VERSION, make_structures
from matgraft.potentials.models.fingerprint import fingerprint
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import PREDICTION_BUDGET, encode_what_can_be, predict_samples

Settings = Mapping[str, JsonValue]
"""What a set follows from beside the foundation."""

LARGEST_FORCE = 30.0
"""eV/Å. Above, atoms nearly coincide: no foundation was trained there, and one such frame outweighs all others."""
LARGEST_STRESS = 0.6
"""eV/Å³, some 100 GPa."""


def made_frames(
    foundation: Potential,
    target: Sequence[str],
    size: int,
    *,
    candidates: int = 1,
    seed: int = 0,
    folder: Path | None = None,
    progress: str = "",
) -> Dataset:
    """Make structures, choose the most diverse, and label them by the foundation.

    Parameters
    ----------
    target
        Elements of the user's frames.
    size
        How many are labelled: half with the target's elements alone, where the foundation knows others. Those whose
        labels are absurd are then left out.
    candidates
        Times `size`: how many are made to choose from.
    folder
        Where the set is looked for before the cache, and left as well.

    Returns
    -------
    Dataset
        Labels energy (eV), forces (eV/Å) and, with a cell, stress (eV/Å³); tags as `make_structures` gives them.
    """

    def make() -> Dataset:
        structures = make_structures(target, foundation.card.elements, candidates * size, seed=seed)
        taken, encoded = encodable(foundation, structures)
        chosen = list(range(len(taken)))
        if candidates > 1:
            chosen = diverse(structure_features(foundation, encoded, progress), size, taken.tag("chemistry"))
        return pseudolabel(foundation, taken[chosen], [encoded[i] for i in chosen], progress=progress)

    settings: Settings = {"made": VERSION, "target": list(target), "size": size, "candidates": candidates, "seed": seed}
    return kept_pseudolabels(foundation, settings, make, folder)


def own_frames(
    foundation: Potential,
    frames: Dataset,
    size: int | None = None,
    *,
    folder: Path | None = None,
    progress: str = "",
) -> Dataset:
    """Label the user's frames by the foundation, in place of whatever labels they have.

    Parameters
    ----------
    size
        How many, the most diverse; None takes all. Those that the foundation cannot take, or whose labels are absurd,
        are left out.

    Raises
    ------
    DataError
        If none is left.
    """

    def make() -> Dataset:
        taken, encoded = encodable(foundation, frames)
        chosen = list(range(len(taken)))
        if size is not None and size < len(taken):
            chosen = diverse(structure_features(foundation, encoded, progress), size)
        return pseudolabel(foundation, taken[chosen], [encoded[i] for i in chosen], progress=progress)

    return kept_pseudolabels(foundation, {"frames": frames.hash(), "size": size}, make, folder)


def encodable(foundation: Potential, frames: Dataset) -> tuple[Dataset, Sequence[Encoded]]:
    """Return the frames that the foundation can take, and what it makes of them.

    Raises
    ------
    DataError
        If there is none; the reason of the first is given.
    """
    encoded, taken, reasons = encode_what_can_be(foundation, frames.samples)
    if not taken:
        first = f"{frames[0].where}: {reasons[0]}" if reasons else "there is none"
        raise DataError(f"{foundation.card.name} can take none of {len(frames)} frames: {first}")
    return frames[taken], encoded


def pseudolabel(
    foundation: Potential, frames: Dataset, encoded: Sequence[Encoded] | None = None, *, progress: str = ""
) -> Dataset:
    """Replace the labels by the foundation's predictions, and leave out frames where these are absurd.

    Absurd are numbers that are not finite, forces above `LARGEST_FORCE` and stresses above `LARGEST_STRESS`.

    Raises
    ------
    DataError
        If nothing is left.
    """
    found = predict_samples(foundation, frames.samples, encoded=encoded, processes=cores(), progress=progress)
    bounds = {FORCES.name: LARGEST_FORCE, STRESS.name: LARGEST_STRESS}

    def sensible(labels: dict[str, Array]) -> bool:
        return all(np.isfinite(v).all() and np.abs(v).max() < bounds.get(name, np.inf) for name, v in labels.items())

    good = [i for i, labels in enumerate(found) if sensible(labels)]
    if not good:
        raise DataError(f"{foundation.card.name} predicts nothing sensible on any of {len(frames)} frames")
    labelled = [_labelled(frames[i], found[i]) for i in good]
    return Dataset(tuple(labelled), frames.provenance)


def structure_features(foundation: Potential, encoded: Sequence[Encoded], progress: str = "") -> Array:
    """Return (n, width): the mean over a structure's atoms of what enters the last stage, each column standardised."""

    def one_batch(positions: list[int]) -> list[tuple[int, Array]]:
        batch = foundation.collate([encoded[i] for i in positions]).to(foundation.device)
        with torch.no_grad():
            rows = foundation.features(batch).double()
        sums = rows.new_zeros(len(batch), rows.shape[1]).index_add(0, batch.owner, rows)
        return list(zip(positions, (sums / batch.counts[:, None]).cpu().numpy(), strict=True))

    was_training = foundation.module.training
    foundation.module.eval()
    parts = map_in_processes(one_batch, plan_batches(encoded, PREDICTION_BUDGET), cores(), progress)
    foundation.module.train(was_training)
    rows = dict(pair for part in parts for pair in part)
    features = np.array([rows[i] for i in range(len(encoded))])
    return (features - features.mean(0)) / np.maximum(features.std(0), 1e-9)


def diverse(points: Array, size: int, groups: Sequence[str] = ()) -> list[int]:
    """Return the positions of `size` points, each group's share the same, by farthest-point sampling within it.

    A group that is too small for its share gives what it has, the others the rest.
    """
    labels = np.array(groups or [""] * len(points))
    order = sorted(set(labels), key=lambda group: int(np.sum(labels == group)))
    chosen: list[int] = []
    for i, group in enumerate(order):
        members = np.flatnonzero(labels == group)
        share = (size - len(chosen)) // (len(order) - i)
        chosen += [int(members[j]) for j in farthest_points(points[members], share)]
    return sorted(chosen)


def farthest_points(points: Array, size: int) -> list[int]:
    """Return the positions of points that are far from each other, all of them if there are no more.

    The first is the nearest to the centre, each further one the farthest from those chosen (Gonzalez 1985).
    """
    nearest = np.linalg.norm(points - points.mean(0), axis=1)
    chosen = [int(np.argmin(nearest))][:size]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(size, len(points)):
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(nearest)))
    return chosen


def _labelled(sample: Sample, labels: dict[str, Array]) -> Sample:
    return Sample(sample.content, labels, sample.tags, file=sample.file, index=sample.index)


# ------------------------------------------------------------------- keeping


def cache_folder() -> Path:
    """Return where sets are kept across runs: ``MATGRAFT_CACHE``, else the user's cache folder."""
    given = os.environ.get("MATGRAFT_CACHE")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else user / "matgraft"


def kept_pseudolabels(
    foundation: Potential, settings: Settings, make: Callable[[], Dataset], folder: Path | None
) -> Dataset:
    """Return the set of these settings: from the folder, from the cache, or made where neither has it whole."""
    name = f"pseudolabels-{_key(foundation, settings)}.h5"
    found, missing = None, []
    for place in (folder, cache_folder()):
        try:
            found = read_store(place / name) if place is not None else found
        except DataError:  # absent or damaged
            missing.append(place)
    found = make() if found is None else found
    if folder is not None and folder in missing:
        _keep(found, folder / name)
    if cache_folder() in missing:
        with contextlib.suppress(OSError):  # a home that may not be written costs the next run its time, not this one
            _keep(found, cache_folder() / name)
    return found


def _keep(frames: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_store(frames, path, lambda: frames.provenance)


def _key(foundation: Potential, settings: Settings) -> str:
    """Hash all that the set follows from."""
    whole = json.dumps(settings, sort_keys=True) + fingerprint(foundation)
    return hashlib.sha256(whole.encode()).hexdigest()[:20]

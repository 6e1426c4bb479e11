"""One fit for every backbone: how sure a tuned model is, from the rows that enter its last stage.

    uncertainty = fit_uncertainty(model, train, validation)
    atoms.calc = PotentialCalculator(model, uncertainty)

Training frames say which surroundings are known. Each simulation among them is held out in turn from the rows of the
others, and with those of the validation frames their distances set the gate. Standard deviations are set on the errors
of validation frames alone, and of simulations that were not trained on where there are some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.core.statistics import Units, numbered
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.uncertainty import Gate, Uncertainty, UncertaintyCard, symbols
from matgraft.potentials.uncertainty.calibration import (
    HeldOutFrames,
    calibrate_energies,
    calibrate_forces,
    calibrate_gate,
)
from matgraft.potentials.uncertainty.known import Grouped, fit_known, ranks
from matgraft.potentials.uncertainty.rows import FrameRows, frame_rows

MOST_ATOMS = 50_000
"""Training atoms whose rows are looked at; of more, frames are taken from all simulations alike."""
RIDGE = 0.1
"""Of the mean eigenvalue of the training frames' mean rows, added to each."""


class Simulations(NamedTuple):
    """Which simulation each training frame and each validation frame is of, by name."""

    train: Sequence[str]
    validation: Sequence[str]


def fit_uncertainty(
    potential: Potential,
    train: Dataset,
    validation: Dataset,
    *,
    simulations: Simulations | None = None,
    seed: int = 0,
    progress: str = "",
) -> Uncertainty:
    """Fit how sure a model is; its weights do not change.

    Parameters
    ----------
    train, validation
        Frames that it was trained on, and frames that it was not.
    simulations
        Of each frame; by default `find_groups` tells them apart.
    seed
        Of the choice of training frames and rows, where there are more than are kept.
    progress
        Title of a progress bar; none if empty.

    Raises
    ------
    DataError
        If a part has no frame, or the model cannot take one.
    """
    if not len(train) or not len(validation):
        raise DataError(f"{len(train)} training and {len(validation)} validation frames: both parts need some")
    named = simulations or _found(train, validation)
    of_train, of_validation = _numbered(named)
    chosen = _chosen(list(train.samples.numbers()), of_train, seed)
    trained = frame_rows(potential, train[chosen], errors=False, progress=progress)
    held = frame_rows(potential, validation, errors=True, progress=progress)
    return fit_on_rows((trained, of_train[chosen]), (held, of_validation), potential.card.weights_sha256, seed)


def fit_on_rows(
    train: tuple[Sequence[FrameRows], Units],
    validation: tuple[Sequence[FrameRows], Units],
    weights_sha256: str,
    seed: int = 0,
) -> Uncertainty:
    """Fit how sure a model is from the rows of training and of validation frames, with the simulation of each frame."""
    (trained, of_train), (frames, of_validation) = train, validation
    known = fit_known(trained, of_train, seed)
    distances = [known.known.distances(frame.rows, frame.numbers) for frame in frames]
    held = _only_new(HeldOutFrames(frames, of_validation, distances, are_new=False), of_train)
    centre, factor = energy_posterior(trained)
    card = UncertaintyCard(
        weights_sha256=weights_sha256,
        elements=symbols(known.known.numbers),
        n_frames=len(trained),
        n_atoms=sum(len(frame.numbers) for frame in trained),
        gate=_gate(trained, of_train, known, held),
        energy=calibrate_energies(held, centre, factor, len(trained)),
        forces=calibrate_forces(held),
    )
    return Uncertainty(card, known.known, centre, factor)


def _found(train: Dataset, validation: Dataset) -> Simulations:
    labels = find_groups(concatenate([train, validation])).labels
    return Simulations(labels[: len(train)], labels[len(train) :])


def _numbered(named: Simulations) -> tuple[Units, Units]:
    together = numbered([*named.train, *named.validation])
    return together[: len(named.train)], together[len(named.train) :]


def _chosen(numbers: Sequence[NDArray[Any]], simulations: Units, seed: int) -> NDArray[np.int64]:
    """Return positions of frames that have no more than `MOST_ATOMS` together.

    Each simulation gives one frame of each set of its elements, then each another one. So no small simulation and no
    element is lost among many frames; where there are more sets than atoms are allowed, rare sets of elements go first.
    """
    if sum(map(len, numbers)) <= MOST_ATOMS:
        return np.arange(len(numbers))
    elements = [tuple(np.unique(one).tolist()) for one in numbers]
    sets, of_simulation = numbered(elements), numbered(list(zip(simulations.tolist(), elements, strict=True)))
    shuffled = np.random.default_rng(seed).permutation(len(numbers))
    order = shuffled[np.lexsort((ranks(sets[shuffled]), ranks(of_simulation[shuffled])))]
    atoms = np.cumsum([len(numbers[i]) for i in order])
    return np.sort(order[: max(1, int(np.searchsorted(atoms, MOST_ATOMS, side="right")))])


def _only_new(held: HeldOutFrames, trained: Units) -> HeldOutFrames:
    """Return the frames of simulations that were not trained on; all where there is none."""
    new = np.flatnonzero(~np.isin(held.groups, trained))
    return held.at(new)._replace(are_new=True) if len(new) else held


def _gate(trained: Sequence[FrameRows], groups: Units, known: Grouped, held: HeldOutFrames) -> Gate:
    """Set the gate on all simulations, those of the training frames each held out from the rows of the others."""
    left_out = [known.held_out(frame, group) for frame, group in zip(trained, groups.tolist(), strict=True)]
    farthest = np.array([one.max() for one in (*left_out, *held.distances)])
    is_new = np.concatenate([np.full(len(trained), True), np.full(len(held.frames), held.are_new)])
    units = np.concatenate([groups, held.groups])
    # An element that one simulation alone has is infinitely far from the others: it says nothing of distances.
    told = np.isfinite(farthest)
    counted = told & is_new if (told & is_new).any() else told
    return calibrate_gate(farthest[counted], units[counted], are_new=bool(is_new[counted].all()))


def energy_posterior(trained: Sequence[FrameRows]) -> tuple[Array, Array]:
    """Return the mean row (width,) of the training frames, and the factor (width, width) of their posterior."""
    means = np.stack([frame.rows.astype(float).mean(0) for frame in trained])
    centre = means.mean(0)
    values, vectors = np.linalg.eigh((means - centre).T @ (means - centre))
    values = np.maximum(values, 0.0)
    least = max(RIDGE * float(values.mean()), float(np.finfo(np.float32).tiny))
    return centre, np.asarray(vectors / np.sqrt(values + least))

"""A run that learns the difference to a cheap method: what it begins with, and what it cannot do.

The model begins as a correction of zero: the foundation with a silent readout, whose features are the foundation's.
So the foundation's part in the figures is that of the cheap method alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from matgraft.core.errors import OptionError
from matgraft.core.model import ModelCard
from matgraft.core.quantities import Array
from matgraft.core.training.strategy import Replay
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.delta import differences
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.recipe import DELTA, Recipe
from matgraft.potentials.run.frames import Frames, Predictions
from matgraft.potentials.tuning.ladder import LADDER
from matgraft.potentials.tuning.replay import ReplaySettings

_SILENT_EV = 1e-6
"""eV an atom below which a model says nothing."""


def refuse_idle_delta(recipe: Recipe, card: ModelCard, train: Dataset) -> None:
    """Raise for a difference that cannot be learned, and for a foundation that is a correction itself."""
    if card.corrects:
        raise OptionError(
            f"{card.name} is a correction to {', '.join(card.corrects.values())}, and no foundation",
            remedy="start from the foundation that it was tuned from",
        )
    if recipe.references.mode != DELTA:
        return
    if not recipe.corrects:
        likely = next((name for name in sorted(train[0].tags) if "energy" in name.lower()), "")
        raise OptionError(
            "references.mode=delta: no key of a label by the cheap method is given",
            allowed=["delta.energy, delta.forces and delta.stress, each the name of a key of the file"],
            options=[{"delta.energy": likely}] if likely else [],
        )
    if recipe.heads_by:
        raise OptionError(
            f"references.mode=delta has one head, and heads.by={recipe.heads_by} has several",
            allowed=["strategies with one head"],
            remedy="learn the difference of one level of theory",
        )
    if recipe.replay != ReplaySettings() or Replay.name in _strategies(recipe):
        raise OptionError(
            "replay is not read with references.mode=delta: the foundation's energies are not labels of a difference",
            allowed=["strategies without replay"],
        )


def _strategies(recipe: Recipe) -> Sequence[str]:
    return recipe.ladder.rungs if recipe.strategy.name == LADDER else [recipe.strategy.name or ""]


def refuse_corrections(models: Mapping[str, Potential], recipe: Recipe) -> None:
    """Raise for a correction where whole energies are asked for, and for a difference where nothing is learned."""
    for name, model in models.items():
        if model.card.corrects:
            raise OptionError(
                f"{name} is a correction to {', '.join(model.card.corrects.values())}: alone it has no energies to "
                "hold beside others",
                remedy="score its run alone, which reads the cheap labels of the frames",
            )
    if recipe.references.mode == DELTA:
        raise OptionError(
            "references.mode=delta is read where a run is made alone", allowed=["refit, keep, given, isolated"]
        )


def correction_note(card: ModelCard) -> str:
    """Return what must be known of the predictions of a correction; empty for a model of whole energies."""
    if not card.corrects:
        return ""
    keys = ", ".join(f"{key} ({quantity})" for quantity, key in card.corrects.items())
    return f"the model is a correction: add what it predicts to the cheap method's results, {keys}"


def learned_from(recipe: Recipe, dataset: Dataset) -> Dataset:
    """Return the frames with the labels that are learned: as they were read, or differences."""
    return differences(dataset, recipe.corrects) if recipe.corrects else dataset


def begin_at_zero(foundation: Potential, frames: Frames, train: Dataset, test: Dataset) -> tuple[Potential, Frames]:
    """Return a silent copy of the foundation, and the frames with the differences and its predictions of zero.

    Raises
    ------
    OptionError
        If the model cannot be made silent.
    """
    silent = copy.deepcopy(foundation)
    silent.silence()
    taken = next((i for i, known in enumerate(frames.on_train) if known), 0)
    sample = train[taken]
    energy = float(predict_samples(silent, [sample], ("energy",))[0]["energy"]) / sample.n_atoms
    if not abs(energy) < _SILENT_EV:
        raise OptionError(
            f"{foundation.card.name} cannot begin as a correction: with a silent readout it says {energy:.3g} eV/atom"
        )
    on_train, on_test = zeros(train, frames.on_train), zeros(test, frames.on_test)
    return silent, replace(frames, train=train, test=test, on_train=on_train, on_test=on_test)


def zeros(dataset: Dataset, known: Predictions) -> list[dict[str, Array]]:
    """Return a correction of zero for each frame that there is a prediction of."""
    return [
        {"energy": np.array(0.0), "forces": np.zeros((sample.n_atoms, 3)), "stress": np.zeros((3, 3))} if one else {}
        for sample, one in zip(dataset, known, strict=True)
    ]

"""Rows that enter a model's last stage, frame by frame, with the errors of what was predicted from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from matgraft.core.model import Encoded
from matgraft.core.processes import cores, map_in_processes
from matgraft.core.quantities import ENERGY, FORCES, Array
from matgraft.core.training.batching import plan_batches
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import PREDICTION_BUDGET, encode_all


@dataclass(frozen=True)
class FrameRows:
    """What is known of one frame.

    Attributes
    ----------
    rows
        (n, width) that enter the last stage.
    numbers
        (n,) atomic numbers.
    forces
        (n, 3) eV/Å as predicted; None where they were not asked for.
    energy_error
        Prediction minus label, eV an atom; NaN without a label or a prediction.
    force_errors
        (n, 3) eV/Å; None without a label or a prediction.
    """

    rows: NDArray[Any]
    numbers: NDArray[Any]
    forces: Array | None = None
    energy_error: float = np.nan
    force_errors: Array | None = None


def frame_rows(
    potential: Potential,
    frames: Dataset,
    *,
    errors: bool,
    encoded: Sequence[Encoded] | None = None,
    progress: str = "",
) -> list[FrameRows]:
    """Pass frames through a model.

    Parameters
    ----------
    errors
        True to predict energies and forces as well, which costs twice the time.
    encoded
        The frames as `Potential.encode` gave them, if at hand.

    Raises
    ------
    DataError
        If the model cannot take a frame.
    """
    graphs = encode_all(potential, frames.samples, processes=cores()) if encoded is None else encoded
    wanted = (ENERGY.name, FORCES.name) if errors else ()

    def one_batch(positions: list[int]) -> list[tuple[int, FrameRows]]:
        batch = potential.collate([graphs[i] for i in positions]).to(potential.device)
        with torch.no_grad():
            out, rows = potential.forward_with_rows(batch, wanted)
        cuts = np.cumsum(batch.counts.tolist())[:-1]
        of_atoms = [np.split(one.cpu().numpy(), cuts) for one in (rows, batch["numbers"])]
        found = [FrameRows(*own) for own in zip(*of_atoms, strict=True)]
        if errors:
            forces = np.split(out[FORCES.name].cpu().double().numpy(), cuts)
            told = zip(positions, found, out[ENERGY.name].tolist(), forces, strict=True)
            found = [_with_errors(own, frames[i], energy, force) for i, own, energy, force in told]
        return list(zip(positions, found, strict=True))

    was_training = potential.module.training
    potential.module.eval()
    parts = map_in_processes(one_batch, plan_batches(graphs, PREDICTION_BUDGET), cores(), progress)
    potential.module.train(was_training)
    by_position = dict(pair for part in parts for pair in part)
    return [by_position[i] for i in range(len(frames))]


def _with_errors(own: FrameRows, sample: Sample, energy: float, forces: Array) -> FrameRows:
    labels = sample.labels
    return FrameRows(
        own.rows,
        own.numbers,
        forces,
        (energy - float(labels[ENERGY.name])) / sample.n_atoms if ENERGY.name in labels else np.nan,
        forces - labels[FORCES.name] if FORCES.name in labels else None,
    )

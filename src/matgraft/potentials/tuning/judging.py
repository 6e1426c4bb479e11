"""Errors on the validation frames, as a fit through the network reports them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from matgraft.core.errors import DataError
from matgraft.core.findings import DROP
from matgraft.core.model import Batch
from matgraft.core.quantities import POTENTIAL_QUANTITIES, Array
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.numbering import numbers_of_frames
from matgraft.potentials.tuning.loss import LossSettings, Targets, label_shares
from matgraft.potentials.tuning.objectives import error_sums, metrics_of_sums

Predictions = Sequence[Mapping[str, Array]]


def validation_errors(
    validation: Dataset,
    predictions: Predictions,
    weights: Mapping[str, float],
    loss: LossSettings,
    shares: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return ``validation_loss`` and the RMSE of each weighted quantity, as a fit through the network reports them.

    Parameters
    ----------
    validation
        With the weights that the frames have in the loss.
    shares
        Of the training frames (`label_shares`). Default: those of the validation frames.

    Raises
    ------
    DataError
        If a prediction of a label is not finite.
    """
    _require_finite(validation, predictions, weights)
    counts = torch.tensor([sample.n_atoms for sample in validation])
    owner = torch.repeat_interleave(torch.arange(len(validation)), counts)
    predicted = {name: _joined(name, predictions) for name in weights}
    targets = Targets.of(validation.samples, list(weights))
    sums = error_sums(predicted, targets, Batch(counts, owner), weights, loss)
    return metrics_of_sums(sums, weights, label_shares(validation, weights) if shares is None else shares)


def _require_finite(validation: Dataset, predictions: Predictions, quantities: Iterable[str]) -> None:
    """Raise a DataError that names the first frame whose label has no finite prediction."""
    for i, (sample, prediction) in enumerate(zip(validation, predictions, strict=True)):
        for name in quantities:
            if name in sample.labels and not np.isfinite(prediction.get(name, np.nan)).all():
                raise DataError(
                    f"the prediction of the {name} is not finite, or there is none, and the frame has a label for it",
                    where=sample.where,
                    remedy=f"leave the frame out, take the label away if its cell defines no {name}, "
                    f"or do not weigh the {name}",
                    options=[{DROP["train"]: numbers_of_frames(validation, [i])}, {f"loss.{name}": 0}],
                )


def _joined(name: str, predictions: Predictions) -> torch.Tensor:
    """Join predictions as a backbone gives them for a batch; NaN where a frame without a volume has no stress."""
    quantity = POTENTIAL_QUANTITIES[name]
    values = [prediction.get(name, np.full(quantity.shape, np.nan)) for prediction in predictions]
    return torch.as_tensor(np.concatenate(values) if quantity.per == "atom" else np.stack(values))

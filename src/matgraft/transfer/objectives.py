"""The objective of training through the whole network: frames in, weighted losses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from matgraft.backbones.base import Backbone, Batch, Encoded
from matgraft.backbones.batching import Budget, plan_batches
from matgraft.data.dataset import Dataset
from matgraft.quantities import POTENTIAL_QUANTITIES
from matgraft.transfer.loss import LossSettings, Targets, frame_losses

VALIDATION_BUDGET = Budget(edges=20_000)


class FrameObjective:
    """Losses of frames, by a pass through the whole network.

    Parameters
    ----------
    encoded, validation_encoded
        The frames as `Backbone.encode` gave them.
    """

    def __init__(
        self,
        backbone: Backbone,
        train: Dataset,
        validation: Dataset,
        settings: LossSettings,
        encoded: Sequence[Encoded],
        validation_encoded: Sequence[Encoded],
    ) -> None:
        self.backbone, self.settings = backbone, settings
        self.train, self.held_out = train, validation
        self.training, self.validation = encoded, validation_encoded
        self.weights = settings.weights(train)

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the loss (B,) of some training frames."""
        batch = self.backbone.collate([self.training[i] for i in positions]).to(device)
        targets = Targets.of(self.train[list(positions)].samples, list(self.weights), device)
        predicted = self.backbone.forward(batch, self.weights, create_graph=True)
        return frame_losses(predicted, targets, batch.counts, batch.owner, self.weights, self.settings)

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return (2 + 2 n_quantities,): loss, frames, then squared error and count of each quantity."""
        total = torch.zeros(2 + 2 * len(self.weights), dtype=torch.float64)
        if not positions:
            return total
        for part in plan_batches([self.validation[i] for i in positions], VALIDATION_BUDGET):
            chosen = [positions[i] for i in part]
            batch = self.backbone.collate([self.validation[i] for i in chosen]).to(device)
            targets = Targets.of(self.held_out[chosen].samples, list(self.weights), device)
            predicted = self.backbone.forward(batch, self.weights)
            total += error_sums(predicted, targets, batch, self.weights, self.settings).cpu()
        return total

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        """Return validation_loss and the RMSE of each trained quantity, in the units of reports."""
        return metrics_of_sums(sums, self.weights)


def error_sums(
    predicted: Mapping[str, Tensor],
    targets: Targets,
    batch: Batch,
    weights: Mapping[str, float],
    settings: LossSettings,
) -> Tensor:
    """Return additive sums: loss, frames, then for each quantity its squared error and how many numbers it has."""
    with torch.no_grad():
        losses = frame_losses(predicted, targets, batch.counts, batch.owner, weights, settings)
        sums = [losses.sum(), torch.tensor(float(len(batch)), device=losses.device)]
        for name in weights:
            error = predicted[name].double() - targets.values[name]
            error = error / batch.counts if name == "energy" else error
            present = targets.present[name]
            present = present[batch.owner] if POTENTIAL_QUANTITIES[name].per == "atom" else present
            error = error[present]
            sums += [error.square().sum(), torch.tensor(float(error.numel()), device=losses.device)]
        return torch.stack([value.double() for value in sums])


def metrics_of_sums(sums: Tensor, weights: Mapping[str, float]) -> dict[str, float]:
    """Turn `error_sums` into ``validation_loss`` and ``validation_<quantity>_rmse_<unit>``."""
    loss, frames, *rest = sums.tolist()
    metrics = {"validation_loss": loss / frames}
    for name, squares, count in zip(weights, rest[::2], rest[1::2], strict=True):
        quantity = POTENTIAL_QUANTITIES[name]
        if count:
            scale = quantity.report_scale
            metrics[f"validation_{name}_rmse_{quantity.report_suffix}"] = scale * (squares / count) ** 0.5
    return metrics

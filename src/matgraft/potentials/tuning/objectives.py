"""The objective of training through the whole network: frames in, weighted losses out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from matgraft.core.model import Batch, Encoded
from matgraft.core.quantities import POTENTIAL_QUANTITIES
from matgraft.core.training.batching import Budget, plan_batches
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.loss import LossSettings, Targets, frame_losses, frame_penalties, label_shares

VALIDATION_BUDGET = Budget(edges=20_000)


class FrameObjective:
    """Losses of frames, by a pass through the whole network.

    Parameters
    ----------
    encoded, validation_encoded
        The frames as `Potential.encode` gave them.
    """

    def __init__(
        self,
        backbone: Potential,
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
        self.shares = label_shares(train, self.weights)

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the loss (B,) of some training frames."""
        batch = self.backbone.collate([self.training[i] for i in positions]).to(device)
        targets = Targets.of(self.train[list(positions)].samples, list(self.weights), device)
        predicted = self.backbone.forward(batch, self.weights, create_graph=True)
        return frame_losses(predicted, targets, batch.counts, batch.owner, self.weights, self.settings)

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return (4 n_quantities,), see `error_sums`."""
        total = torch.zeros(4 * len(self.weights), dtype=torch.float64)
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
        return metrics_of_sums(sums, self.weights, self.shares)


def error_sums(
    predicted: Mapping[str, Tensor],
    targets: Targets,
    batch: Batch,
    quantities: Iterable[str],
    settings: LossSettings,
) -> Tensor:
    """Return sums (4 n_quantities,) that may be added to those of other frames.

    For each quantity, over the frames that have its label: penalties times weights, weights (`Targets.counts`), squared
    errors, and how many numbers these are.
    """
    sums = []
    with torch.no_grad():
        penalties = frame_penalties(predicted, targets, batch.counts, batch.owner, quantities, settings)
        for name, penalty in penalties.items():
            error = predicted[name].double() - targets.values[name]
            error = error / batch.counts if name == "energy" else error
            present = targets.present[name]
            weighed = (penalty * targets.weight).sum()  # the label's own weight is in the penalty
            present = present[batch.owner] if POTENTIAL_QUANTITIES[name].per == "atom" else present
            error = error[present]
            sums += [weighed, targets.counts(name).sum(), error.square().sum(), error.new_tensor(error.numel())]
    return torch.stack(sums)


def metrics_of_sums(sums: Tensor, weights: Mapping[str, float], shares: Mapping[str, float]) -> dict[str, float]:
    """Turn `error_sums` into ``validation_loss`` and ``validation_<quantity>_rmse_<unit>``.

    The loss estimates the training loss on other frames: each quantity's mean over the frames that have it, times what
    it weighs in training. So it does not depend on how many validation frames lack a label.

    Parameters
    ----------
    shares
        Of the training frames, see `label_shares`.

    Returns
    -------
    dict
        The loss is NaN where no frame has a label that is weighed.
    """
    loss, metrics = None, {}
    for name, (penalties, weight, squares, count) in zip(weights, sums.view(-1, 4).tolist(), strict=True):
        quantity = POTENTIAL_QUANTITIES[name]
        if weight:
            loss = (loss or 0.0) + weights[name] * shares[name] * penalties / weight
        if count:
            scale = quantity.report_scale
            metrics[f"validation_{name}_rmse_{quantity.report_suffix}"] = scale * (squares / count) ** 0.5
    return {"validation_loss": math.nan if loss is None else loss} | metrics

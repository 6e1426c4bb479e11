"""The encoder itself, fine-tuned: every stage or the last ones, with a new head that fits the target.

Values: the head gives quantiles, learned by the pinball loss (`matgraft.formulas.learners.quantiles`), so that it has a
spread, and its median is exact where half of the values are zero. By ``mse`` or ``huber`` it gives one number, the mean
or nearly so, and its intervals are of one width (what calibration adds). Classes: log loss. The fit is the one training
loop.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from matgraft.core.training.strategy import ParamGroup, make_strategy
from matgraft.formulas.encoder import (
    CompositionBackbone,
    Sizes,
    by_length,
    element_vectors,
    tensors_of,
)
from matgraft.formulas.encoder_inference import features_of
from matgraft.formulas.encoder_network import CompositionEncoder
from matgraft.formulas.learners.forest import LEVELS, is_zero_inflated
from matgraft.formulas.learners.inputs import Array, Inputs, Labels
from matgraft.formulas.learners.quantiles import LEVELS as LEARNED
from matgraft.formulas.learners.quantiles import pinball
from matgraft.formulas.learners.watched import Curves, LoopSettings, WatchedLoss, curve_arrays, curves_of, fit_watched

BESIDE = ("valence", "covariates")
"""Blocks that the head reads beside the encoder's features."""
FAR = 5.0
"""Widths at which a number beside the encoder is cut off."""
HIDDEN = 128
CHUNK = 1024
LAST_BIAS = "head.4.bias"
"""Of the head: as many numbers as it gives."""
BEND = 1.0
"""Error from which on the Huber loss rises in a straight line, in standard deviations of the labels."""
LossKind = Literal["quantile", "mse", "huber"]


class NetworkSettings(LoopSettings):
    """How the encoder is fine-tuned."""

    dropout: float = Field(0.1, ge=0, lt=1)
    stages: tuple[str, ...] = ()
    """What `partial` trains; by default the pooling and the readout."""
    loss: LossKind = "quantile"
    """Of values: quantiles, which have a spread, or one number by its squared error or by the Huber loss."""

    def outputs(self, n_classes: int) -> int:
        """Return how many numbers the head gives."""
        return n_classes or (len(LEARNED) if self.loss == "quantile" else 1)


class TunedNetwork(nn.Module):
    """The encoder with a head for one target.

    Parameters
    ----------
    outputs
        Quantiles or classes.
    """

    def __init__(self, encoder: CompositionEncoder, n_covariates: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.width_of_features + max(1, len(encoder.property_names)) + n_covariates
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, outputs)
        )

    def forward(self, numbers: Tensor, fractions: Tensor, covariates: Tensor) -> Tensor:
        """Return (B, outputs)."""
        return self.read(self.features(numbers, fractions), covariates)

    def features(self, numbers: Tensor, fractions: Tensor) -> Tensor:
        """Return the encoder's features (B, width)."""
        return by_length(self.encoder.features, numbers, fractions)

    def read(self, features: Tensor, covariates: Tensor) -> Tensor:
        """Return (B, outputs) of features."""
        return self.head(torch.cat([features, self.encoder.head(features), covariates], 1))


@dataclass(frozen=True)
class Scaling:
    """Centre and width of values and of covariates.

    Attributes
    ----------
    zero
        Where many values are exactly 0, what lies below this is 0 too: half of the smallest values that are not (their
        1st percentile). A network alone would give 0.003, and an interval from there would miss the zeros.
    """

    centre: float
    width: float
    zero: float
    covariate_centres: Array
    covariate_widths: Array

    @classmethod
    def of(cls, inputs: Inputs, labels: Labels, beside: Sequence[str] = BESIDE) -> Scaling:
        """Return those of the training part; `beside` names the blocks that count as covariates."""
        extra = inputs.matrix(beside)
        widths = extra.std(0)
        inflated = not labels.n_classes and is_zero_inflated(labels.y)
        return cls(
            0.0 if labels.n_classes else float(np.median(labels.y)),
            1.0 if labels.n_classes else max(float(labels.y.std()), 1e-12),
            float(np.quantile(labels.y[labels.y > 0], 0.01)) / 2 if inflated else -np.inf,
            extra.mean(0),
            np.where(widths > 0, widths, 1.0),
        )

    @classmethod
    def from_arrays(cls, part: Mapping[str, Any]) -> Scaling:
        """Return the scaling whose fields these arrays are."""
        centre, width, zero = (part[name].item() for name in ("centre", "width", "zero"))
        return cls(centre, width, zero, part["covariate_centres"], part["covariate_widths"])

    def standardised(self, y: Array) -> Array:
        """Return values as they are learned."""
        return (y - self.centre) / self.width

    def covariates(self, inputs: Inputs, beside: Sequence[str] = BESIDE) -> Tensor:
        """Return scaled covariates."""
        scaled = (inputs.matrix(beside) - self.covariate_centres) / self.covariate_widths
        return torch.from_numpy(scaled.clip(-FAR, FAR)).float()


class NetworkObjective(WatchedLoss["NetworkPart"]):
    """Pinball, squared, Huber or log loss for the one training loop."""

    def __init__(
        self,
        module: TunedNetwork,
        train: tuple[Inputs, Labels],
        held: tuple[Inputs, Labels],
        scaling: Scaling,
        settings: NetworkSettings,
    ) -> None:
        self.module, self.n_classes, self.loss = module, train[1].n_classes, settings.loss
        parts = NetworkPart.of(*train, scaling), NetworkPart.of(*held, scaling)
        super().__init__(*parts, sizes=(parts[0].sizes, parts[1].sizes))

    @property
    def trained(self) -> nn.Module:
        """Everything that the loop moves and trains: the network, here alone."""
        return self.module

    def further_groups(self) -> list[ParamGroup]:
        """Return what learns beside the network."""
        return []

    def of_part(self, part: NetworkPart, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the losses (B,) of some rows of a part."""
        rows = torch.as_tensor(list(positions))
        out = self.module(*(tensor.to(device) for tensor in part.batch(rows)))
        return self.scored(out, part, rows)

    def scored(self, out: Tensor, part: NetworkPart, rows: Tensor) -> Tensor:
        """Return the losses (B,) of outputs (B, outputs)."""
        y, weights = part.y[rows].to(out.device), part.weights[rows].to(out.device)
        if self.n_classes:
            return weights * functional.cross_entropy(out, y.long(), reduction="none")
        if self.loss == "quantile":
            return weights * pinball(out, y)
        single = out.squeeze(1)
        if self.loss == "huber":
            return weights * functional.huber_loss(single, y, reduction="none", delta=BEND)
        return weights * functional.mse_loss(single, y, reduction="none")


@dataclass(frozen=True)
class NetworkPart:
    """Formulas and labels as tensors."""

    numbers: Tensor
    fractions: Tensor
    covariates: Tensor
    y: Tensor
    weights: Tensor
    lengths: Tensor
    sizes: Sizes

    @classmethod
    def of(cls, inputs: Inputs, labels: Labels, scaling: Scaling) -> NetworkPart:
        """Return scaled tensors."""
        numbers, fractions = tensors_of(inputs.formulas)
        lengths = (numbers > 0).sum(1)
        y = torch.from_numpy(scaling.standardised(labels.y)).float()
        weights = torch.from_numpy(labels.weights).float()
        return cls(numbers, fractions, scaling.covariates(inputs), y, weights, lengths, Sizes(lengths.numpy()))

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return numbers (B, L), fractions (B, L) and covariates of some rows."""
        longest = int(self.lengths[rows].max())
        return self.numbers[rows, :longest], self.fractions[rows, :longest], self.covariates[rows]


class FittedNetwork:
    """A fine-tuned network with its scaling: predicts, and becomes arrays and comes back.

    Attributes
    ----------
    curves
        How the losses of its fit went; empty for one that an earlier version made.
    """

    def __init__(self, module: TunedNetwork, scaling: Scaling, n_classes: int, curves: Curves | None = None) -> None:
        self.module, self.scaling, self.n_classes = module.eval(), scaling, n_classes
        self.curves: Curves = curves or {}

    @torch.no_grad()
    def __call__(self, inputs: Inputs) -> Array:
        """Return (n, 99) quantiles, or (n, n_classes) probabilities."""
        features = features_of(self.module.encoder, inputs.tokens)
        covariates = self.scaling.covariates(inputs).to(features.device)
        pairs = zip(features.split(CHUNK), covariates.split(CHUNK), strict=True)
        out = torch.cat([self.module.read(*pair) for pair in pairs]).double()
        if self.n_classes:
            return out.softmax(1).numpy()
        learned = np.sort(out.numpy(), axis=1) * self.scaling.width + self.scaling.centre
        learned = np.where(learned < self.scaling.zero, 0.0, learned)
        return between(learned) if learned.shape[1] > 1 else np.repeat(learned, len(LEVELS), axis=1)

    @torch.no_grad()
    def features(self, inputs: Inputs) -> Array:
        """Return the tuned encoder's features (n, width)."""
        return features_of(self.module.encoder, inputs.tokens).double().numpy()

    def element_vectors(self, inputs: Inputs) -> list[Array]:
        """Return of each formula a vector an element (n_elements, width) by the tuned encoder."""
        return [rows.astype(float) for rows in element_vectors(self.module.encoder.tokens, inputs.formulas)]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights, scaling and curves by name."""
        scaling = vars(self.scaling)
        weights = {f"weights.{name}": tensor.numpy() for name, tensor in self.module.state_dict().items()}
        scales = {f"scaling.{name}": np.asarray(value, dtype=np.float64) for name, value in scaling.items()}
        return weights | scales | curve_arrays(self.curves)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], backbone: CompositionBackbone, n_classes: int
    ) -> FittedNetwork:
        """Return the network that `arrays` described."""
        part = {name.partition(".")[2]: value for name, value in arrays.items() if name.startswith("scaling.")}
        scaling = Scaling.from_arrays(part)
        state = {name.partition(".")[2]: torch.from_numpy(np.array(value)) for name, value in arrays.items()
                 if name.startswith("weights.")}  # fmt: skip
        module = _module(backbone, len(scaling.covariate_centres), len(state[LAST_BIAS]), dropout=0.0)
        module.load_state_dict(state)
        return cls(module, scaling, n_classes, curves_of(arrays))


def fit_network(
    backbone: CompositionBackbone,
    train: tuple[Inputs, Labels],
    held: tuple[Inputs, Labels],
    strategy: str,
    settings: NetworkSettings,
    seed: int,
    objective: Callable[..., NetworkObjective] = NetworkObjective,
) -> FittedNetwork:
    """Fine-tune on one part; the held part is only watched.

    Parameters
    ----------
    strategy
        ``full`` or ``partial`` (`matgraft.core.training.strategy`).
    seed
        Of the new head and the batches; it also says which of the pretrained encoders is tuned.
    objective
        Makes what is minimised, of the network, both parts and their scaling.
    """
    backbone = backbone.alone(seed)
    inputs, labels = train
    scaling = Scaling.of(inputs, labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        n_outputs = settings.outputs(labels.n_classes)
        module = _module(backbone, len(scaling.covariate_centres), n_outputs, settings.dropout)
        _start_at_the_labels(module, labels, scaling, settings.loss)
        tuned = CompositionBackbone(module.encoder, backbone.card)
        groups = make_strategy(strategy, settings.stages if strategy == "partial" else ()).prepare(tuned)
        module.head.requires_grad_(True)
        minimised = objective(module, train, held, scaling, settings)
        groups = [*groups, _head_group(module), *minimised.further_groups()]
        minimised.trained.train()
        curves = fit_watched(minimised, minimised.trained, groups, settings, seed)
    return FittedNetwork(module, scaling, labels.n_classes, curves)


def _module(backbone: CompositionBackbone, n_covariates: int, outputs: int, dropout: float) -> TunedNetwork:
    encoder = copy.deepcopy(backbone.module)
    for part in encoder.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # a few epochs on a small table do not need it
    return TunedNetwork(encoder, n_covariates, outputs, dropout)


def _head_group(module: TunedNetwork) -> ParamGroup:
    return ParamGroup("new head", {f"head.{name}": p for name, p in module.head.named_parameters()}, rate_factor=2.0)


def _start_at_the_labels(module: TunedNetwork, labels: Labels, scaling: Scaling, loss: LossKind) -> None:
    """Begin with the same prediction for every formula: the labels' own quantiles, mean, median or frequencies."""
    last = module.head[-1]
    assert isinstance(last, nn.Linear)
    if labels.n_classes:
        counts = np.bincount(labels.y.astype(int), labels.weights, minlength=labels.n_classes)
        start = np.log((counts + 1) / (counts + 1).sum())
    elif loss == "quantile":
        start = np.quantile(scaling.standardised(labels.y), LEARNED)
    else:
        values = scaling.standardised(labels.y)
        start = np.array([np.average(values, weights=labels.weights) if loss == "mse" else np.median(values)])
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.copy_(torch.from_numpy(start))


def between(learned: Array) -> Array:
    """Return the quantiles (n, 99) between those learned (n, 21)."""
    above = np.searchsorted(LEARNED, LEVELS - 1e-12).clip(1, len(LEARNED) - 1)
    part = ((LEVELS - LEARNED[above - 1]) / (LEARNED[above] - LEARNED[above - 1])).clip(0, 1)
    return learned[:, above - 1] * (1 - part) + learned[:, above] * part

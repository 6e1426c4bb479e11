"""The encoder tuned on the source's labels while its features are made alike in source and target.

Every step takes a batch of each domain through the encoder; the head sees the source's. The penalty is one of
`matgraft.formulas.domain.alignment`. Importance weights go another way to the same end: the same fit, on rows that
count by how often they would stand in the target (`matgraft.formulas.domain.density`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from matgraft.core.errors import OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.domain.alignment import ALIGNMENTS, STEEPNESS, make_alignment
from matgraft.formulas.domain.density import DomainClassifier, fit_domain_classifier
from matgraft.formulas.encoder import CompositionBackbone, tensors_of
from matgraft.formulas.learners.inputs import Inputs, Labels, Part, Rows
from matgraft.formulas.learners.network import (
    FittedNetwork,
    NetworkObjective,
    NetworkSettings,
    Scaling,
    TunedNetwork,
    fit_network,
)

Method = Literal["source", "reversal", "coral", "mmd", "weights"]
SOURCE, WEIGHTS = "source", "weights"
METHODS: tuple[str, ...] = (SOURCE, *ALIGNMENTS, WEIGHTS)
FEWEST = 8
"""Rows of a batch below which it is not aligned, such as the remainder of an epoch: two rows have no covariance."""
CLASSIFIER_RATE = 10.0
"""Times the encoder's rate. A classifier that lags behind pushes nowhere: computed and measured gaps are told apart
with an AUC of 0.73 before, 0.73 after reversal at twice the rate, 0.64 at ten times (120 and 200 steps)."""
LOOKED_AT = 512
"""Rows of each domain by which a distance is measured before the fit."""


class DomainSettings(Frozen):
    """How a predictor is carried over to a domain without labels."""

    method: Literal["auto"] | Method = "auto"
    """auto compares all and keeps source-only where in doubt; source, reversal, coral, mmd or weights is taken."""
    strength: float | None = Field(None, gt=0)
    """Of reversal (usually 1), coral and mmd (0.1) beside the loss on the labels."""
    clip: float = Field(10.0, gt=1)
    """Largest importance weight, times the average."""
    folds: int = Field(2, ge=2)
    """Parts of the source, by chemical system, on which methods are compared."""
    rows: int = Field(1000, ge=50)
    """Rows of each domain, at most, by which methods are compared."""
    ramp: float = Field(STEEPNESS, ge=0)
    """How steeply the strength rises over the fit; 0: all of it acts from the first step on."""

    def refuse_idle(self) -> None:
        """Raise an `OptionError` if an option is not read with the method."""
        idle = {"strength": self.strength is not None, "ramp": self.ramp != STEEPNESS}
        if self.method in (SOURCE, WEIGHTS) and any(idle.values()):
            named = " and ".join(f"domain.{name}" for name, given in idle.items() if given)
            verb = "are" if all(idle.values()) else "is"
            raise OptionError(f"{named} {verb} not read with {self.method!r}", allowed=ALIGNMENTS)
        if self.method == SOURCE and (self.folds, self.rows) != (DomainSettings().folds, DomainSettings().rows):
            raise OptionError("domain.folds and domain.rows are not read: source-only is compared with nothing")


@dataclass(frozen=True, eq=False)
class TargetDomain:
    """A domain without labels, and how it is reached."""

    inputs: Inputs
    settings: DomainSettings

    def classifier(self, source: Inputs, seed: int) -> DomainClassifier:
        """Return how well the source can be told from it by the frozen features."""
        names = [formula.key for formula in (*source.formulas, *self.inputs.formulas)]
        return fit_domain_classifier(source.blocks["embedding"], self.inputs.blocks["embedding"], names, seed)

    def weighted(self, source: Inputs, labels: Labels, seed: int) -> Labels:
        """Return the labels with importance weights, by what is known of these rows alone."""
        weights = labels.weights * self.classifier(source, seed).weights(self.settings.clip)
        return Labels(labels.y, weights / weights.mean(), labels.n_classes)

    def objective(self, method: str, seed: int) -> Callable[..., NetworkObjective]:
        """Return what `fit_network` shall minimise."""
        if method not in ALIGNMENTS:
            return NetworkObjective
        return partial(AlignedObjective, method=method, target=self, seed=seed)


def fit_toward(
    method: str,
    target: TargetDomain,
    train: Part,
    held: Part,
    backbone: CompositionBackbone,
    settings: NetworkSettings,
    seed: int,
) -> FittedNetwork:
    """Tune every stage on the source's labels, carried over to the target by one of `METHODS`; see `fit_network`."""
    inputs, labels = train
    labels = target.weighted(inputs, labels, seed) if method == WEIGHTS else labels
    objective = target.objective(method, seed)
    return fit_network(backbone, (inputs, labels), held, "full", settings, seed, objective)


class AlignedObjective(NetworkObjective):
    """The loss on the source's labels and the penalty between the domains.

    Parameters
    ----------
    settings
        They say how many steps the fit will make.
    seed
        Of the target's batches.
    """

    def __init__(
        self,
        module: TunedNetwork,
        train: Part,
        held: Part,
        scaling: Scaling,
        settings: NetworkSettings,
        *,
        method: str,
        target: TargetDomain,
        seed: int,
    ) -> None:
        super().__init__(module, train, held, scaling, settings)
        n, loop = len(train[0]), settings.loop(len(train[0]))
        assert loop.epochs is not None
        self.seed, self.step, self.steps = seed, 0, loop.epochs * -(-n // settings.batch)
        self.penalties: list[float] = []
        self.numbers, self.fractions = tensors_of(target.inputs.formulas)
        width, strength = module.encoder.width_of_features, target.settings.strength
        self.alignment = make_alignment(method, width, strength, target.settings.ramp)
        rng = np.random.default_rng(seed)
        with torch.no_grad():
            self.alignment.start(
                module.features(*(part[rng.permutation(n)[:LOOKED_AT]] for part in self._source())),
                self._target_features(rng.permutation(len(self.numbers))[:LOOKED_AT], torch.device("cpu")),
            )

    @property
    def trained(self) -> nn.Module:
        """The network and the alignment."""
        return nn.ModuleList([self.module, self.alignment])

    def further_groups(self) -> list[ParamGroup]:
        """Return the domain classifier, if there is one."""
        parameters = {f"alignment.{name}": one for name, one in self.alignment.named_parameters()}
        return [ParamGroup("domain classifier", parameters, rate_factor=CLASSIFIER_RATE)] if parameters else []

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return (B,): each row's loss and the penalty of the batch."""
        rows, part = torch.as_tensor(list(positions)), self.parts[0]
        numbers, fractions, covariates = (tensor.to(device) for tensor in part.batch(rows))
        features = self.module.features(numbers, fractions)
        losses = self.scored(self.module.read(features, covariates), part, rows)
        drawn = np.random.default_rng((self.seed, self.step)).permutation(len(self.numbers))[: len(rows)]
        progress, self.step = self.step / self.steps, self.step + 1
        if min(len(rows), len(drawn)) < FEWEST:
            return losses
        penalty = self.alignment(features, self._target_features(drawn, device), progress)
        self.penalties.append(float(penalty.detach()))
        return losses + penalty

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        """Return validation_loss, and as domain_loss the mean penalty of the batches since the last time."""
        penalty = float(np.mean(self.penalties)) if self.penalties else np.nan
        self.penalties.clear()
        return super().validation_metrics(sums) | {"domain_loss": penalty}

    def _source(self) -> tuple[Tensor, Tensor]:
        return self.parts[0].numbers, self.parts[0].fractions

    def _target_features(self, rows: Rows, device: torch.device) -> Tensor:
        return self.module.features(self.numbers[rows].to(device), self.fractions[rows].to(device))

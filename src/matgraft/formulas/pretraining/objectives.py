"""Three things to learn from formulas, alone or together with weights: properties, masked atoms, contrast.

properties  Smooth L1 for standardised values, cross-entropy for probabilities, over the labels that exist. A property
            with few labels counts more a label, by the square root, so that 341,000 gaps do not drown 1,200 phonons.
masked      In a view of the formula one token in four (`mask_fraction`) loses its element, its amount, or both; the
            encoder tells the element (cross-entropy) and the fraction (smooth L1). Devlin et al. 2019.
contrast    Two formulas are called similar if one comes from the other by amounts changed by some 5 % and by elements
            exchanged for the next one of their group (Ca for Sr, S for Se). Of all formulas in the batch, a view must
            be nearest to its own origin (InfoNCE, van den Oord et al. 2018).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from matgraft.formulas.elements import N_ELEMENTS, element_facts
from matgraft.formulas.encoder import Sizes, by_length
from matgraft.formulas.encoder_network import MASK, CompositionEncoder
from matgraft.formulas.pretraining.settings import MASK_FRACTION, ObjectiveWeights
from matgraft.formulas.pretraining.tables import Tables

EXCHANGED_PART = 0.3
AMOUNT_NOISE = 0.05
TEMPERATURE = 0.2
RAREST = 4.0
"""Largest weight of a label of a property with few labels."""
CHUNK = 1024


class PretrainModule(nn.Module):
    """The encoder with the heads that only pretraining needs."""

    def __init__(self, encoder: CompositionEncoder) -> None:
        super().__init__()
        width = encoder.elements.learned.embedding_dim
        features = encoder.width_of_features
        self.encoder = encoder
        self.element = nn.Linear(width, N_ELEMENTS + 1)
        self.fraction = nn.Linear(width, 1)
        self.projection = nn.Linear(features, 64)

    @classmethod
    def seeded(cls, encoder: CompositionEncoder, seed: int) -> Self:
        """Return the module with heads that follow from the seed: a resumed run begins where the first began."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(encoder)


class PretrainObjective:
    """The weighted sum of the objectives, for the one training loop.

    Parameters
    ----------
    views
        Part of a batch that is also seen masked or perturbed.
    mask_fraction
        Part of a view's elements that are hidden.
    """

    def __init__(
        self,
        module: PretrainModule,
        tables: Tables,
        weights: ObjectiveWeights,
        views: float,
        mask_fraction: float = MASK_FRACTION,
    ) -> None:
        self.module, self.tables, self.weights, self.views = module, tables, weights, views
        self.mask_fraction = mask_fraction
        self.train, self.held_out = np.flatnonzero(~tables.held_out), np.flatnonzero(tables.held_out)
        lengths = (tables.numbers > 0).sum(1)
        self.training, self.validation = Sizes(lengths[self.train]), Sizes(lengths[self.held_out])
        counts = np.maximum(1, np.isfinite(tables.targets[self.train]).sum(0))
        rarity = np.minimum(RAREST, np.sqrt(counts.max(initial=1) / counts))
        self.label_weights = torch.from_numpy(rarity.astype(np.float32))
        self.binary = torch.from_numpy(tables.binary)

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return the loss (B,) of some training formulas."""
        rows = self.train[np.asarray(positions)]
        # Dropout and views follow from the batch alone, so that a resumed run repeats them.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(rows.tobytes()))
            return self._losses(rows, device)

    def _losses(self, rows: np.ndarray, device: torch.device) -> Tensor:
        numbers, fractions, targets = self._tensors(rows, device)
        features = by_length(self.module.encoder.features, numbers, fractions)
        loss = torch.zeros(len(rows), device=device)
        if self.weights.properties:
            loss = loss + self.weights.properties * self._property_losses(features, targets).sum(1)
        if self.weights.masked or self.weights.contrast:
            generator = np.random.default_rng(zlib.crc32(rows.tobytes()))
            seen = self._seen(len(rows), generator).to(device)
            views = self._view_losses(features[seen], numbers[seen], fractions[seen], generator)
            loss = loss.index_add(0, seen, views * len(rows) / len(seen))
        return loss

    def _seen(self, n: int, generator: np.random.Generator) -> Tensor:
        """Return the positions in a batch of `n` that are also seen in views.

        They are drawn: the loop hands a batch over with the largest formulas first.
        """
        most = min(n, max(2, round(self.views * n)))
        return torch.from_numpy(generator.permutation(n)[:most])

    def _view_losses(
        self, features: Tensor, numbers: Tensor, fractions: Tensor, generator: np.random.Generator
    ) -> Tensor:
        """Return the weighted losses (n,) of formulas that are seen masked and changed."""
        loss = torch.zeros(len(numbers), device=numbers.device)
        if self.weights.masked:
            loss = loss + self.weights.masked * self._masked(numbers, fractions, generator)
        if self.weights.contrast:
            loss = loss + self.weights.contrast * self._contrast(features, numbers, fractions, generator)
        return loss

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        """Return formulas, masked loss, then a row each of loss, absolute error and count by property, flattened."""
        P = len(self.tables.names)
        by_property = torch.zeros(3, P, dtype=torch.float64)
        others = torch.zeros(4, dtype=torch.float64)
        # The loop sorts by size, and contrast would then tell apart only formulas of one size.
        mixed = np.random.default_rng(len(positions)).permutation(np.asarray(positions, dtype=np.int64))
        with torch.no_grad():
            for start in range(0, len(mixed), CHUNK):
                rows = self.held_out[mixed[start : start + CHUNK]]
                numbers, fractions, targets = self._tensors(rows, device)
                features = by_length(self.module.encoder.features, numbers, fractions)
                generator = np.random.default_rng(start)
                others += torch.tensor([
                    float(len(rows)),
                    self._masked(numbers, fractions, generator).sum().item(),
                    self._contrast(features, numbers, fractions, generator).sum().item(),
                    self._property_losses(features, targets).sum().item(),
                ], dtype=torch.float64)  # fmt: skip
                if P:
                    by_property += self._errors(features, targets).cpu()
        return torch.cat([others, by_property.flatten()])

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        """Return validation_loss, the part of each objective, and the mean absolute error of each property."""
        n, masked, contrast, properties = sums[:4].tolist()
        parts = {"properties": properties / n, "masked": masked / n, "contrast": contrast / n}
        loss = sum(weight * parts[name] for name, weight in self.weights.model_dump().items())
        metrics = {"validation_loss": loss} | {f"validation_{name}": value for name, value in parts.items()}
        errors = sums[4:].view(3, -1)
        for name, error, count in zip(self.tables.names, errors[1].tolist(), errors[2].tolist(), strict=True):
            if count:
                metrics[f"validation_mae_{name}"] = error / count
        return metrics

    # ------------------------------------------------------------- objectives

    def _property_losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return (B, P) weighted losses, 0 where a label is absent."""
        if not targets.shape[1]:
            return features.new_zeros(len(features), 1)
        predicted = self.module.encoder.head(features)
        present = targets.isfinite()
        known = targets.nan_to_num(0.0)
        robust = functional.smooth_l1_loss(predicted, known, reduction="none", beta=0.5)
        crossed = functional.binary_cross_entropy_with_logits(predicted, known.clamp(0, 1), reduction="none")
        loss = torch.where(self.binary.to(features.device), crossed, robust)
        return torch.where(present, loss, 0.0) * self.label_weights.to(features.device)

    def _errors(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return (3, P): loss, absolute error of value or probability, and count."""
        predicted = self.module.encoder.head(features)
        value = torch.where(self.binary.to(features.device), predicted.sigmoid(), predicted)
        error = (value - targets).abs().nan_to_num(0.0)
        losses = self._property_losses(features, targets)
        return torch.stack([losses.sum(0), error.sum(0), targets.isfinite().sum(0)]).double()

    def _masked(self, numbers: Tensor, fractions: Tensor, generator: np.random.Generator) -> Tensor:
        """Return (n,) losses of telling the hidden elements and fractions."""
        drawn = torch.from_numpy(generator.random(numbers.shape)).to(numbers.device)
        present = numbers > 0
        drawn = torch.where(present, drawn, 2.0)
        hidden = (drawn < self.mask_fraction) | (drawn == drawn.min(1, keepdim=True).values)  # at least one a formula
        kind = torch.from_numpy(generator.integers(0, 3, numbers.shape)).to(numbers.device)
        no_element, no_amount = hidden & (kind != 1), hidden & (kind != 0)
        shown = torch.where(no_element, MASK, numbers), torch.where(no_amount, 0.0, fractions)
        tokens = by_length(self.module.encoder.tokens, *shown)[:, 1:]
        element = functional.cross_entropy(
            self.module.element(tokens).flatten(0, 1), numbers.flatten(), reduction="none"
        )
        amount = functional.smooth_l1_loss(
            self.module.fraction(tokens).squeeze(-1), fractions, reduction="none", beta=0.05
        )
        return (element.view_as(numbers) * no_element).sum(1) + 10 * (amount * no_amount).sum(1)

    def _contrast(self, origin: Tensor, numbers: Tensor, fractions: Tensor, generator: np.random.Generator) -> Tensor:
        """Return (n,) losses of finding each similar formula's origin among the batch."""
        if not self.weights.contrast:
            return origin.new_zeros(len(origin))
        similar = by_length(self.module.encoder.features, *perturbed(numbers, fractions, generator))
        a = functional.normalize(self.module.projection(origin), dim=-1)
        b = functional.normalize(self.module.projection(similar), dim=-1)
        return functional.cross_entropy(b @ a.T / TEMPERATURE, torch.arange(len(a), device=a.device), reduction="none")

    def _tensors(self, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        longest = int((self.tables.numbers[rows] > 0).sum(1).max())
        numbers = torch.from_numpy(self.tables.numbers[rows, :longest].astype(np.int64))
        fractions = torch.from_numpy(self.tables.fractions[rows, :longest].astype(np.float32))
        return numbers.to(device), fractions.to(device), torch.from_numpy(self.tables.targets[rows]).to(device)


def perturbed(numbers: Tensor, fractions: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return similar formulas: amounts changed by some 5 %, elements exchanged for the next of their group."""
    exchange = torch.from_numpy(generator.random(numbers.shape) < EXCHANGED_PART).to(numbers.device)
    below = torch.from_numpy(generator.random(numbers.shape) < 0.5).to(numbers.device)
    kin = group_neighbours().to(numbers.device)
    wanted = torch.where(exchange, torch.where(below, kin[1][numbers], kin[0][numbers]), numbers)
    # One element must not stand twice: beside what is there, and beside what another element becomes (CaBaO2: SrSrO2).
    others = ~torch.eye(numbers.shape[1], dtype=torch.bool, device=numbers.device)
    same = (wanted.unsqueeze(-1) == numbers.unsqueeze(1)) | (wanted.unsqueeze(-1) == wanted.unsqueeze(1))
    changed = torch.where((same & others).any(-1), numbers, wanted)
    noise = torch.from_numpy(generator.standard_normal(numbers.shape)).to(fractions.device).float()
    amounts = fractions * (AMOUNT_NOISE * noise).exp()
    return changed, amounts / amounts.sum(1, keepdim=True)


@cache
def group_neighbours() -> Tensor:
    """Return (2, 119): for each element the one above and the one below it in its group, itself where there is none."""
    neighbours = np.stack([np.arange(N_ELEMENTS + 1)] * 2)
    for column in _groups().values():
        for upper, lower in pairwise(column):
            neighbours[1, upper], neighbours[0, lower] = lower, upper
    return torch.from_numpy(neighbours)


def _groups() -> Mapping[tuple[str, int], list[int]]:
    columns: dict[tuple[str, int], list[int]] = {}
    for Z, element in enumerate(element_facts(), 1):
        if Z > 1 and not element.f_element:  # no f element has a kin so near
            columns.setdefault(("group", element.group), []).append(Z)
    return columns


def named_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield what learns."""
    yield from ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)

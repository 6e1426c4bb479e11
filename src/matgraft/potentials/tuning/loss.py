"""The loss: weighted, masked, per atom.

    L = w_E MSE(E / N) + w_F (1 / 3N) sum |dF|^2 + w_sigma MSE(sigma) + w_m (1 / N) sum d|m|^2 + lambda |theta|^2

as a mean over the frames, each times its weight. Energies count in eV/atom, forces in eV/Å, stresses in
eV/Å³ over the nine components. A label that is absent adds nothing, nor does a component that is none; a label's own
weight (`Sample.label_weights`) is a factor on its term. With ``kind="huber"`` the square is replaced by
Huber's function beyond `huber_delta` of each quantity (Huber 1964), scaled to agree with the square below it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import MAGMOM, POTENTIAL_QUANTITIES, STRESS, Quantity
from matgraft.potentials.data.cells import volume
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import frames_by_head
from matgraft.potentials.data.sample import Sample

HUBER_DELTA = {"energy": 0.02, "forces": 0.2, "stress": 0.01, "magmom": 0.1}
DEFAULT_WEIGHTS = {"energy": 10.0, "forces": 1.0, "stress": 100.0}
"""Makes 32 meV/atom, 0.1 eV/Å and 1.6 GPa weigh alike. Energies come out far better than that: every weight tells on
them, and a heavy one of theirs holds up the forces (figures in `benchmarks/README.md`). Magnetic moments count where
the foundation predicts them (`weigh_moments`)."""
MAGMOM_WEIGHT = 0.1
"""By that of forces, as CHGNet was trained (Deng et al. 2023)."""


class LossSettings(Frozen):
    """Weights of the loss. A weight of None means: the default if the label exists, else nothing.

    That of the magnetic moments also asks that the foundation predicts them and the fit passes through the network.
    """

    energy: float | None = Field(None, ge=0)
    forces: float | None = Field(None, ge=0)
    stress: float | None = Field(None, ge=0)
    magmom: float | None = Field(None, ge=0)
    l2: float = Field(0.0, ge=0)
    kind: Literal["mse", "huber"] = "mse"
    huber_delta: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict, validate_default=True)
    """eV/atom, eV/Å, eV/Å³, µB; what is not named keeps its default."""
    groups: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Weights of groups of frames: ``{"config_type=Surface": 3.0}``."""

    @field_validator("huber_delta")
    @classmethod
    def _with_defaults(cls, given: dict[str, float]) -> dict[str, float]:
        if idle := sorted(set(given) - set(HUBER_DELTA)):
            raise ValueError(f"{', '.join(idle)} is none of {', '.join(HUBER_DELTA)}")
        return HUBER_DELTA | given

    def weights(self, dataset: Dataset, *, part: str = "") -> dict[str, float]:
        """Return the weight of each quantity that is trained.

        Parameters
        ----------
        part
            Name of the part that the dataset is, for the message.

        Raises
        ------
        OptionError
            If a weight was asked for and no frame has the label, or if nothing is left to train on.
        """
        weights = {}
        for name in POTENTIAL_QUANTITIES:
            default = DEFAULT_WEIGHTS.get(name, 0.0)
            asked, labelled = getattr(self, name), has_weight(dataset, name)
            if asked and not labelled:
                raise OptionError(
                    f"loss.{name}={asked:g} would weigh nothing: no {part and part + ' '}frame has {name}"
                    + (" with a weight above zero" if dataset.count(name) else ""),
                    allowed=dataset.quantities(),
                    remedy=f"name the key that holds the {name}, or do not weigh it",
                    options=[{f"loss.{name}": 0}],
                )
            weight = (default if labelled else 0.0) if asked is None else asked
            if weight:
                weights[name] = weight
        if not weights:
            raise OptionError(
                "every weight of the loss is zero", allowed=[f"loss.{name}" for name in POTENTIAL_QUANTITIES]
            )
        return weights


def has_weight(dataset: Dataset, name: str) -> bool:
    """Say whether a frame has a label that its file gives a weight above zero."""
    return dataset.count(name) > 0 and any(
        name in sample.labels and sample.label_weights.get(name, 1.0) > 0 for sample in dataset
    )


def weigh_moments(loss: LossSettings, train: Dataset, predicted: Collection[str]) -> LossSettings:
    """Return the loss with a weight of the magnetic moments, where frames have them and it is not set.

    Parameters
    ----------
    predicted
        Quantities that the foundation predicts.

    Raises
    ------
    OptionError
        If a weight was asked for and the foundation predicts no moments.
    """
    if MAGMOM.name in predicted:
        known = loss.magmom is None and has_weight(train, MAGMOM.name)
        return loss.model_copy(update={MAGMOM.name: MAGMOM_WEIGHT}) if known else loss
    if loss.magmom:
        raise OptionError(
            f"loss.magmom={loss.magmom:g}: the foundation predicts no magnetic moments",
            allowed=predicted,
            remedy="do not weigh them, or take a foundation that predicts them, such as chgnet",
            options=[{"loss.magmom": None}, {"foundation": "chgnet"}],
        )
    return loss


def refuse_stress_without_volume(weights: Mapping[str, float], *parts: Dataset) -> None:
    """Raise where a stress is to be learned or judged that no model has.

    Frames of a store need no look: `matgraft.potentials.data.reading.read` leaves such labels out, and says so.

    Raises
    ------
    DataError
        With the first frame that has a stress label, and no cell of three independent vectors.
    """
    if STRESS.name not in weights:
        return
    for sample in (sample for part in parts for sample in part.samples.held()):
        if STRESS.name in sample.labels and not volume(sample.content):
            raise DataError(
                "the frame has a stress label, but no cell of three independent vectors, so it has no stress",
                where=sample.where,
                allowed=["three cell vectors, with vacuum where the structure ends", "no stress label"],
                remedy="write three cell vectors, leave the label out, or do not weigh stresses",
                options=[{"loss.stress": 0}],
            )


def weigh_groups(dataset: Dataset, groups: Mapping[str, float]) -> Dataset:
    """Multiply the weights of the frames whose tag is named.

    Raises
    ------
    OptionError
        If an entry matches no frame.
    """
    _require_groups(dataset, groups)
    return _with_group_weights(dataset, groups)


def _require_groups(dataset: Dataset, groups: Mapping[str, float], validation: Dataset | None = None) -> None:
    """Raise an OptionError if an entry matches no frame; with `validation`, the dataset is the training part alone."""
    for entry in groups:
        tag, _, value = entry.partition("=")
        present = dataset.tag(tag, "\0")
        if value in present:
            continue
        known = sorted({f"{tag}={text}" for text in present} - {f"{tag}=\0"})
        where = "frame" if validation is None else f"training frame (of {len(dataset)})"
        others = 0 if validation is None else list(validation.tag(tag, "\0")).count(value)
        raise OptionError(
            f"loss.groups: no {where} has {entry!r}"
            + (f"; it is in {others} of {len(validation or ())} validation frames" if others else ""),
            allowed=known[:20],
            remedy="split otherwise (split.seed, split.by), or take the entry back"
            if others
            else nearest(entry, known),
        )


def _with_group_weights(dataset: Dataset, groups: Mapping[str, float]) -> Dataset:
    for entry, factor in groups.items():
        tag, _, value = entry.partition("=")

        def weigh(sample: Sample, tag: str = tag, value: str = value, factor: float = factor) -> Sample:
            return sample.weighing(sample.weight * factor) if sample.tags.get(tag) == value else sample

        dataset = dataset.map(weigh)
    return dataset


def weigh_parts(
    train: Dataset, validation: Dataset, loss: LossSettings, *, by_head: bool = False
) -> tuple[Dataset, Dataset]:
    """Give the frames of both parts the weights of their groups: the criterion is the loss on other frames.

    Raises
    ------
    DataError
        If no frame of a part, or of a head in it, has both a weight and a label that the loss weighs; of validation
        frames, a label that training frames with a weight have too. Or if a frame has a stress label and no volume.
    OptionError
        If a group has no training frame.
    """
    quantities = loss.weights(train, part="training")
    refuse_stress_without_volume(quantities, train, validation)
    _require_groups(train, loss.groups, validation)
    train, validation = (_with_group_weights(part, loss.groups) for part in (train, validation))
    require_labels("training", train, quantities, by_head=by_head)
    taught = [
        name for name in quantities if any(name in sample.labels and sample.weight_of(name) > 0 for sample in train)
    ]
    require_labels("validation", validation, taught, by_head=by_head)
    return train, validation


def require_labels(part: str, dataset: Dataset, quantities: Collection[str], *, by_head: bool = False) -> None:
    """Raise a DataError unless the loss of a part is more than nothing; with `by_head`, of every head's frames.

    Parameters
    ----------
    part
        The part's name, for the message.
    dataset
        Its frames, with the weights that they have in the loss.
    quantities
        Those that the loss weighs.
    """
    heads = frames_by_head(dataset) if by_head else {"": range(len(dataset))}
    for name, frames in heads.items():
        own = dataset[list(frames)] if name else dataset
        if any(name in sample.labels and sample.weight_of(name) > 0 for sample in own for name in quantities):
            continue
        present = ", ".join(own.quantities()) or "no label"
        raise DataError(
            f"none of the {len(own)} {part} frames{name and f' of head {name}'} has a weight above 0 and a label for "
            f"{' or '.join(quantities)}, which the loss weighs; they have {present}",
            where=own[0].where if len(own) else "",
            remedy=f"give {part} frames with such a label, name the key that holds it (keys.{next(iter(quantities))}), "
            "or choose other weights (loss.energy, loss.forces, loss.stress, loss.groups)",
        )


def label_shares(dataset: Dataset, quantities: Collection[str]) -> dict[str, float]:
    """Return the mean over all frames of the weights of those that have a label, by quantity.

    The loss is a mean over all frames: a label that one frame in ten has acts with a tenth of its weight.
    """
    sums = dict.fromkeys(quantities, 0.0)
    for sample in dataset:
        for name in sums.keys() & sample.labels.keys():
            sums[name] += sample.weight_of(name)
    return {name: total / len(dataset) for name, total in sums.items()}


@dataclass(frozen=True)
class Targets:
    """Labels of a batch.

    Attributes
    ----------
    values
        Quantity -> (B, ...) or (N, ...) tensor; zero where absent, which `present` masks.
    present
        Quantity -> which values are labels: (B, ...) of each component, (B,) of each frame where it is per atom.
    weight
        (B,) weights of the frames.
    label_weights
        Quantity -> (B,) weights of this label beside those of the frames.
    """

    values: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    weight: Tensor
    label_weights: Mapping[str, Tensor]

    def counts(self, name: str) -> Tensor:
        """Return (B,) what the label of each frame counts in a mean over frames, as `Sample.weight_of`."""
        present = self.present[name].double()
        return self.weight * self.label_weights[name] * (present.flatten(1).mean(1) if present.dim() > 1 else present)

    @classmethod
    def of(cls, samples: Sequence[Sample], wanted: Sequence[str], device: torch.device | str = "cpu") -> Targets:
        """Collect the wanted labels of some samples, in float64."""
        samples = tuple(samples)  # lazy ones are read by every walk
        values, present, label_weights = {}, {}, {}
        for name in wanted:
            quantity = POTENTIAL_QUANTITIES[name]
            present[name] = torch.tensor(np.array([_present(s, quantity) for s in samples]), device=device)
            rows = [_label(s, name, quantity.shape, quantity.per == "atom") for s in samples]
            values[name] = torch.cat(rows).to(device)
            values[name] = values[name].abs() if quantity.unsigned else values[name]
            label_weights[name] = _column([s.label_weights.get(name, 1.0) for s in samples], device)
        return cls(values, present, _column([s.weight for s in samples], device), label_weights)


def _column(numbers: Sequence[float], device: torch.device | str) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64, device=device)


def _present(sample: Sample, quantity: Quantity) -> NDArray[np.bool_]:
    there = np.full(quantity.shape if quantity.per == "sample" else (), quantity.name in sample.labels)
    return there & sample.components[quantity.name] if quantity.name in sample.components else there


def _label(sample: Sample, name: str, shape: tuple[int, ...], per_atom: bool) -> Tensor:
    rows = sample.n_atoms if per_atom else 1
    if name not in sample.labels:
        return torch.zeros(rows, *shape, dtype=torch.float64)
    return torch.tensor(sample.labels[name]).reshape(rows, *shape)


def frame_losses(
    predicted: Mapping[str, Tensor],
    targets: Targets,
    counts: Tensor,
    owner: Tensor,
    weights: Mapping[str, float],
    settings: LossSettings,
) -> Tensor:
    """Return the weighted loss of each frame, (B,), without the L2 term.

    Parameters
    ----------
    predicted
        As `Backbone.forward` gives them; a frame whose label is present must be predicted.
    counts, owner
        (B,) atoms of each frame; (N,) frame of each atom.
    """
    total = torch.zeros(len(counts), dtype=torch.float64, device=counts.device)
    for name, term in frame_penalties(predicted, targets, counts, owner, weights, settings).items():
        total = total + weights[name] * term
    return total * targets.weight


def frame_penalties(
    predicted: Mapping[str, Tensor],
    targets: Targets,
    counts: Tensor,
    owner: Tensor,
    quantities: Iterable[str],
    settings: LossSettings,
) -> dict[str, Tensor]:
    """Return the mean penalty (B,) of each quantity times its label's own weight, zero where a frame has no such label.

    The mean is over all components of a quantity, and one that is no label adds zero.
    """
    terms = {}
    for name in quantities:
        error = predicted[name].double() - targets.values[name]
        if name == "energy":
            error = error / counts
        term, present = penalty(error, settings, name), targets.present[name]
        if POTENTIAL_QUANTITIES[name].per == "atom":
            term = torch.zeros_like(targets.weight).index_add(0, owner, term.reshape(len(term), -1).mean(1)) / counts
        term = torch.where(present, term, 0.0)
        terms[name] = (term.flatten(1).mean(1) if term.dim() > 1 else term) * targets.label_weights[name]
    return terms


def penalty(error: Tensor, settings: LossSettings, name: str) -> Tensor:
    """Square, or Huber's function times two, of an error in the loss's units."""
    if settings.kind == "mse":
        return error.square()
    delta = settings.huber_delta[name]
    return 2 * torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta)

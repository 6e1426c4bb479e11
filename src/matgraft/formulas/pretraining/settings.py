"""What a pretraining does: which objectives with which weights, how large an encoder, how long."""

from __future__ import annotations

from pydantic import Field

from matgraft.core.frozen import Frozen
from matgraft.core.training.schedule import FitSettings

MASK_FRACTION = 0.25
"""Part of a view's elements that are hidden."""


class ObjectiveWeights(Frozen):
    """Weights of the three objectives; 0 leaves one out."""

    properties: float = Field(1.0, ge=0)
    masked: float = Field(0.2, ge=0)
    contrast: float = Field(0.1, ge=0)


class EncoderSettings(Frozen):
    """Sizes of the encoder."""

    width: int = Field(128, ge=8)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    features: int = Field(256, ge=8)
    dropout: float = Field(0.0, ge=0, lt=1)
    """For long runs: without it the labels are learned by heart from the tenth epoch on."""


class PretrainSettings(Frozen):
    """Everything a pretraining run does."""

    weights: ObjectiveWeights = ObjectiveWeights()
    encoder: EncoderSettings = EncoderSettings()
    fit: FitSettings = FitSettings(
        rate=2e-3, epochs=8, max_minutes=110, batch=512, clip=1.0, ema=0.999, validate_every=1, warmup=0.03
    )
    exclude: str | None = "in_matbench_task"
    """Column of the property table whose rows with 1 are left out; ``exclude=`` takes all rows."""
    validation: float = Field(0.03, gt=0, lt=1)
    """Part of the chemical systems that is held out."""
    mask_fraction: float = Field(MASK_FRACTION, gt=0, lt=1)
    """Part of the elements of a view that are hidden, one at least; of each its kind, its amount or both."""
    views: float = Field(0.125, gt=0, le=1)
    """Part of each batch that is also seen masked and perturbed; such a pass costs as much as the plain one."""
    encoders: int = Field(2, ge=1)
    """How many are trained, one after the other, from seeds that follow each other: their properties are averaged."""
    weight_decay: float = Field(0.0, ge=0)
    """Part of the learning rate by which each step shrinks the weights."""
    seed: int = 0

"""What constants.json and members.skops of an exported folder hold: their writer and predictor.py agree on it here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

Fitted = Any
"""An estimator of scikit-learn that was fitted, or one of its scalers."""


class ExportedMember(TypedDict):
    """A member of the predictor: its inputs by name, and files of weights where it is a network."""

    name: str
    kind: str
    blocks: list[str]
    files: list[str]


class ScaleConstants(TypedDict):
    """The scale on which members learn: none, log or asinh."""

    scale: str
    centre: float
    width: float
    positive: bool


class IntervalConstants(TypedDict):
    """Which part of the distribution is an interval, and the margin beyond."""

    part: float
    margin: float


class CalibrationConstants(TypedDict):
    """How members are weighed; `interval` and `deviation` are None for classes."""

    weights: list[float]
    temperatures: list[float]
    priors: list[float]
    transform: ScaleConstants
    interval: IntervalConstants | None
    deviation: IntervalConstants | None


class Constants(TypedDict):
    """constants.json.

    `element_table` is (119, width); `elements` has the columns of the oxidation states and of the rest by name;
    `training` has a key for each training row, in the order of training.safetensors.
    """

    symbols: list[str]
    element_table: list[list[float]]
    elements: dict[str, list[Any]]
    classes: list[str]
    code: dict[str, list[str]]
    members: list[ExportedMember]
    trusted: list[str]
    encoders: list[str]
    heads: int
    unit: float
    training: list[str]
    ordinal: bool
    calibration: CalibrationConstants


class FittedClasses(TypedDict):
    """Classifiers whose mean counts; `weighted` where rows of a leaf have weights."""

    models: Sequence[Fitted]
    weighted: bool


class FittedTrees(TypedDict):
    """A forest: trees of values with what moves their median and the share of zeros, or classifiers."""

    n_classes: int
    weighted: bool
    values: Fitted
    median: Fitted | None
    zero: FittedClasses | None
    classes: FittedClasses | None


class FittedRegression(TypedDict):
    """A logistic regression behind a scaler."""

    scaler: Fitted
    model: Fitted


class FittedProcess(TypedDict):
    """A Gaussian process behind a scaler, and the scale of its values."""

    scaler: Fitted
    process: Fitted
    centre: float
    width: float


class FittedClosedForm(TypedDict):
    """A process with the share of zeros, or a regression for classes."""

    n_classes: int
    process: FittedProcess | None
    zero: FittedRegression | None
    classes: FittedRegression | None


class FittedMembers(TypedDict):
    """members.skops: what was fitted, by the name of the member."""

    trees: dict[str, FittedTrees]
    closed_forms: dict[str, FittedClosedForm]

"""What each frame adds to the errors of a model: counts, sums of absolute and of squared errors.

What is averaged:

| quantity       | one error is                                                             | in      |
| -------------- | ------------------------------------------------------------------------ | ------- |
| energy         | a frame's energy divided by its atoms                                    | meV/atom |
| forces         | one Cartesian component on one atom; large frames count by their atoms     | eV/Å    |
| stress         | one of the six independent components, shear counted once as xx is         | GPa     |
| magmom         | the size of the moment of one atom                                       | µB      |
| any other      | one component of the value, as its `Quantity` says                       | its report unit |

An absent label or prediction is masked; a quantity without any is absent from the metrics. A prediction that is not
finite makes its metrics not finite: a model that diverges must be seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matgraft.core.errors import DataError
from matgraft.core.quantities import POTENTIAL_QUANTITIES, Array, Quantity, full_to_voigt
from matgraft.core.statistics import numbered
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample

Statistic = Literal["rmse", "mae"]
STATISTICS: Mapping[Statistic, int] = {"rmse": 2, "mae": 1}
"""Statistic -> column of `FrameErrors.sums` that it is made of."""
Predictions = Sequence[Mapping[str, Array]]
"""For each frame, quantity -> array in canonical units, as `predict` returns them."""


def metric_key(quantity: Quantity, statistic: Statistic) -> str:
    """Return the key of a metric: ``forces_rmse_eV_per_A``."""
    return f"{quantity.name}_{statistic}_{quantity.report_suffix}".rstrip("_")


@dataclass(frozen=True)
class FrameErrors:
    """What each frame adds to the errors of a model.

    Attributes
    ----------
    quantities
        The quantities by name, those of `sums`.
    sums
        Quantity -> (n_frames, 3): number of components compared, sum of their absolute errors, sum of their squared
        errors, in the unit of reports and its square. Zeros where label or prediction is absent.
    n_atoms
        (n_frames,) atoms of each frame; None where samples have none (formulas).
    """

    quantities: Mapping[str, Quantity]
    sums: Mapping[str, Array]
    n_frames: int
    n_atoms: NDArray[np.int64] | None = None

    def select(self, frames: ArrayLike) -> FrameErrors:
        """Return the errors of some frames: a boolean mask (n_frames,) or positions."""
        chosen = np.arange(self.n_frames)[np.asarray(frames)]
        sums = {name: rows[chosen] for name, rows in self.sums.items()}
        n_atoms = None if self.n_atoms is None else self.n_atoms[chosen]
        return FrameErrors(self.quantities, sums, len(chosen), n_atoms)


def errors(
    dataset: Dataset, predictions: Predictions, quantities: Mapping[str, Quantity] = POTENTIAL_QUANTITIES
) -> FrameErrors:
    """Sum up each frame's errors.

    Parameters
    ----------
    predictions
        One mapping a frame, in the order of `dataset`, in canonical units.
    quantities
        What may be compared; labels of other names are left alone.

    Raises
    ------
    DataError
        If there are no frames, if numbers of frames or shapes differ, or if a label is not finite.
    """
    check_frames(dataset, predictions)
    sums = {
        name: np.array([sums_of(differences_of(*pair, quantity)) for pair in zip(dataset, predictions, strict=True)])
        for name, quantity in quantities.items()
    }
    compared = {name: rows for name, rows in sums.items() if rows[:, 0].any()}
    n_atoms = np.array([sample.n_atoms for sample in dataset]) if _count_atoms(quantities) else None
    return FrameErrors({name: quantities[name] for name in compared}, compared, len(dataset), n_atoms)


def check_frames(dataset: Dataset, predictions: Predictions) -> None:
    """Refuse no frames, and predictions of another number of frames."""
    if not len(dataset):
        raise DataError("there are no frames to score")
    if len(predictions) != len(dataset):
        raise DataError(f"{len(predictions)} predictions for {len(dataset)} frames")


def _count_atoms(quantities: Mapping[str, Quantity]) -> bool:
    return any(quantity.per == "atom" or quantity.per_atom_in_reports for quantity in quantities.values())


def differences_of(sample: Sample, prediction: Mapping[str, Array], quantity: Quantity) -> Array:
    """Prediction less label in the unit of reports: (n_atoms, 3), (6,) or (); nothing where one is absent.

    Of a stress that is a label in some components alone, the differences in these.
    """
    if quantity.name not in sample.labels or quantity.name not in prediction:
        return np.empty((0, *quantity.shape))
    label, value = sample.labels[quantity.name], np.asarray(prediction[quantity.name], dtype=float)
    if label.shape != value.shape:
        raise DataError(f"{quantity.name}: label {label.shape}, prediction {value.shape}", where=sample.where)
    if not np.isfinite(label).all():
        raise DataError(
            f"the {quantity.name} label is not finite", where=sample.where, remedy="leave the label or the frame out"
        )
    difference = (value - quantity.compared(label)) * quantity.report_scale
    if quantity.per_atom_in_reports:
        difference = difference / sample.n_atoms
    if quantity.shape != (3, 3):
        return difference
    voigt = full_to_voigt(difference)
    known = sample.components.get(quantity.name)
    return voigt if known is None else voigt[full_to_voigt(known.astype(float)) > 0]


def sums_of(differences: Array) -> Array:
    """Return the number of differences, and the sums of their absolute values and of their squares: (3,)."""
    return np.array([differences.size, np.abs(differences).sum(), np.square(differences).sum()])


def error_of(statistic: Statistic, sums: Array) -> Array:
    """RMSE or MAE from sums (..., 3)."""
    count, absolute, squared = np.moveaxis(sums, -1, 0)
    return np.asarray(absolute / count if statistic == "mae" else np.sqrt(squared / count))


def units_of(groups: Sequence[str], found: FrameErrors) -> NDArray[np.intp]:
    """Return the number of each frame's group: (n_frames,)."""
    if len(groups) != found.n_frames:
        raise DataError(f"{len(groups)} groups for {found.n_frames} frames")
    return numbered(groups)


def exponential(ends: tuple[float, float]) -> tuple[float, float]:
    """Return the two ends of an interval whose logarithms are given; infinite where they are too large."""
    with np.errstate(over="ignore"):
        low, high = np.exp(ends)
    return float(low), float(high)

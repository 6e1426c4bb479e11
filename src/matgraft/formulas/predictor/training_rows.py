"""The training data of a predictor, train.npz: every array is there, fits the others, and holds what it may hold."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.files import whole
from matgraft.core.manifest import checked
from matgraft.core.quantities import Array
from matgraft.core.weights import refuse_infinite, refuse_other_names
from matgraft.formulas.formula import Formula
from matgraft.formulas.predictor.out_of_fold import HeldIntervals

_ALWAYS = ("y", "weights", "covariates", "lengths", "numbers", "fractions")
_HELD = ("held_lower", "held_upper", "held_std")
_ROUNDED = 1e-6
"""How far the fractions of a formula may be from 1 in all: each is rounded to 1e-9, and an alloy has at most 118."""
REMEDY = "copy the whole folder anew, its .npz and .safetensors files as well, or make it again"


@dataclass(frozen=True)
class TrainingRows:
    """What a predictor was trained on.

    Attributes
    ----------
    y, weights
        (n,) as of `Labels`.
    covariates
        (n, n_covariates).
    held
        Intervals of these rows; folders of earlier versions, and classes, have none.
    """

    formulas: Sequence[Formula]
    y: Array
    weights: Array
    covariates: Array
    held: HeldIntervals | None

    def save(self, file: Path) -> None:
        """Write the file."""
        with whole(file) as part:
            np.savez(
                part,
                y=self.y,
                weights=self.weights,
                covariates=self.covariates,
                lengths=np.array([len(formula.numbers) for formula in self.formulas]),
                numbers=np.concatenate([formula.numbers for formula in self.formulas]),
                fractions=np.concatenate([formula.fractions for formula in self.formulas]),
                **({f"held_{name}": one for name, one in vars(self.held).items()} if self.held else {}),
            )

    @classmethod
    def load(cls, file: Path, n_classes: int) -> TrainingRows:
        """Read the file.

        Raises
        ------
        DataError
            If it is missing or damaged, or holds what no predictor was trained on.
        ChangedError
            If it is not what was written.
        """
        arrays = _arrays(file)
        refuse_other_names(arrays, (*_ALWAYS, *(_HELD if _HELD[0] in arrays else ())), file)
        if wrong := next(_faults(arrays, n_classes), ""):
            raise DataError(wrong, where=str(file), remedy=REMEDY)
        refuse_infinite({name: arrays[name] for name in _ALWAYS}, file)
        ends = np.cumsum(arrays["lengths"])[:-1]
        parts = zip(np.split(arrays["numbers"], ends), np.split(arrays["fractions"], ends), strict=True)
        formulas = [Formula(tuple(map(int, z)), tuple(map(float, x))) for z, x in parts]
        held = HeldIntervals(*(arrays[name] for name in _HELD)) if _HELD[0] in arrays else None
        return cls(formulas, arrays["y"], arrays["weights"], arrays["covariates"], held)


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(BytesIO(checked(file)), allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError as error:
        raise DataError(f"{file.name} is missing", where=str(file.parent), remedy=REMEDY) from error
    except (OSError, ValueError, TypeError, AttributeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"the arrays cannot be read: {error}", where=str(file), remedy=REMEDY) from error


def _faults(arrays: Mapping[str, NDArray[Any]], n_classes: int) -> Iterator[str]:
    """Yield what is wrong with arrays."""
    y, lengths, numbers, fractions = (arrays[name] for name in ("y", "lengths", "numbers", "fractions"))
    n = len(y) if y.ndim == 1 else -1
    shapes = {"weights": (n,), "lengths": (n,), "covariates": (n, *arrays["covariates"].shape[1:2])}
    shapes |= {name: (n,) for name in _HELD if name in arrays}
    shapes |= dict.fromkeys(("numbers", "fractions"), (int(lengths.sum()),)) if lengths.dtype.kind in "iu" else {}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            yield f"{name} has the shape {arrays[name].shape} instead of {shape}"
    if not n or any(arrays[name].dtype.kind not in "iu" for name in ("lengths", "numbers")):
        yield "there are no rows, or the atomic numbers are none"
    if any(arrays[name].dtype.kind not in "iuf" for name in arrays):
        yield "an array holds something else than numbers"
    if lengths.min() < 1 or not 1 <= numbers.min() <= numbers.max() <= 118:
        yield "an atomic number is outside 1 to 118, or a formula has no elements"
    totals = np.add.reduceat(fractions, np.cumsum(lengths) - lengths)
    if not (fractions > 0).all() or not (np.abs(totals - 1) < _ROUNDED).all():
        yield "the fractions of a formula are not above 0, or do not add up to 1"
    if not (arrays["weights"] >= 0).all():
        yield "a weight is below 0, or no number"
    if n_classes and not np.isin(y, np.arange(n_classes)).all():
        yield f"a class is none of 0 to {n_classes - 1}"
    if any(np.isnan(arrays[name]).any() for name in _HELD if name in arrays):
        yield "an interval is not a number"

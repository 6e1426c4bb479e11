"""Covariates of estimators: numbers as they are, words as ones and zeros.

code = learn_covariates(table.cells, columns.covariates, impute=False)
values = encode_covariates(table.cells, columns.covariates, code)      # (n, width)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_array

from matgraft.core.errors import DataError
from matgraft.formulas.sklearn.tables import missing_in
from matgraft.formulas.table.covariates import MISSING_WORD, MOST_WORDS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Covariate:
    """How a column becomes numbers.

    Attributes
    ----------
    name
        For messages: its name, or its number.
    words
        What a column of words holds, each being a column of ones and zeros; () for numbers.
    fill
        What stands for a missing value: the median, or a word; None makes a missing value an error.
    """

    name: str
    words: tuple[str, ...] = ()
    fill: float | str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it becomes."""
        return tuple(f"{self.name}={word}" for word in self.words) or (self.name,)


def learn_covariates(cells: pd.DataFrame, places: Sequence[int], *, impute: bool) -> tuple[Covariate, ...]:
    """Return how the columns at some places become numbers.

    Raises
    ------
    DataError
        If a column holds nothing, other things than numbers and words, or more than `MOST_WORDS` different words.
    """
    return tuple(_learned(cells.iloc[:, place], _named(cells, k, place), impute) for k, place in enumerate(places))


def encode_places(cells: pd.DataFrame, places: Sequence[int], code: Sequence[Covariate]) -> Array:
    """Return (n, width) numbers.

    Raises
    ------
    DataError
        If a value is missing and nothing stands for it, is no finite number, or is a word that the fit did not have.
    """
    blocks = [_encoded(cells.iloc[:, place], one) for place, one in zip(places, code, strict=True)]
    return np.concatenate(blocks, 1) if blocks else np.zeros((len(cells), 0))


def _named(cells: pd.DataFrame, k: int, place: int) -> str:
    name = cells.columns[place]
    return name if isinstance(name, str) else str(k)


def _learned(column: pd.Series, name: str, impute: bool) -> Covariate:
    missing = missing_in(column)
    present = column[~missing]
    if impute and missing.all():
        raise DataError(f"covariate {name} holds no value at all", remedy="leave the column out")
    numbers = _numbers(present)
    if numbers is not None:
        return Covariate(name, fill=float(np.median(numbers)) if impute else None)
    words = tuple(sorted({_word(cell, name) for cell in present}))
    if len(words) > MOST_WORDS:
        raise DataError(
            f"covariate {name} holds {len(words)} different words, and at most {MOST_WORDS} are taken",
            remedy="leave the column out, or write numbers",
        )
    if impute:
        words = tuple(sorted({*words, MISSING_WORD})) if missing.any() else words
    return Covariate(name, words, MISSING_WORD if impute else None)


def _encoded(column: pd.Series, one: Covariate) -> Array:
    missing = missing_in(column)
    if missing.any() and one.fill is None:
        row = int(missing.argmax())
        raise DataError(
            f"covariate {one.name} of row {row} is missing ({column.iloc[row]!r}): X must not hold NaN or inf",
            remedy="fill the gap, leave the row out, or set impute=True",
        )
    if one.words:
        words = [str(one.fill) if gone else _word(cell, one.name)
                 for cell, gone in zip(column, missing, strict=True)]  # fmt: skip
        for row, word in enumerate(words):
            if word not in one.words and not missing[row]:
                raise DataError(f"covariate {one.name} of row {row} is {word!r}, which fit did not have",
                                allowed=one.words)  # fmt: skip
        return (np.array(words, dtype=object)[:, None] == np.array(one.words, dtype=object)).astype(float)
    values = np.full((len(column), 1), np.nan if one.fill is None else float(one.fill))
    numbers = _numbers(column[~missing])
    if numbers is None:
        row = next(i for i, cell in enumerate(column) if not missing[i] and _numbers(column.iloc[[i]]) is None)
        raise DataError(f"covariate {one.name} of row {row} is {column.iloc[row]!r}, which is not a number")
    values[~missing, 0] = numbers
    if (bad := np.flatnonzero(~np.isfinite(values[:, 0]))).size:
        row = int(bad[0])
        raise DataError(
            f"covariate {one.name} of row {row} is {values[row, 0]:g}: X must not hold NaN or inf",
            remedy="give a finite number, or leave the row out",
        )
    return values


def _numbers(cells: pd.Series) -> Array | None:
    """Return cells as numbers, which texts may spell; None if one is no number.

    Raises
    ------
    ValueError
        If one is a complex number.
    """
    listed = list(cells)
    if not listed:
        return np.zeros(0)
    if any(not isinstance(cell, Number | np.bool_ | str) for cell in listed):
        return None
    if any(isinstance(cell, complex | np.complexfloating) for cell in listed):
        check_array(np.array(listed, dtype=complex)[:, None], dtype=float)  # its message is what tools look for
    try:
        return np.array([float(cell) for cell in listed])
    except ValueError:
        return None


def _word(cell: Any, name: str) -> str:
    if not isinstance(cell, str | Number | np.bool_):
        raise DataError(f"covariate {name} holds {cell!r}: numbers and words are read")
    return str(cell).strip()

"""Tables of a domain without labels: formulas, the covariates that the source has, and truths for scoring alone.

    table = read_target(Path("measured.csv"), source, "gap")

A column named as the label is no secret: it is read apart from everything that a fit sees, and may be empty in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.formulas.formula import Formula
from matgraft.formulas.table.reading import (
    EMPTY,
    FormulaTable,
    encode_covariates,
    formula_column,
    formulas_of,
    read_cells,
    values_like,
)


@dataclass(frozen=True, eq=False)
class TargetTable:
    """Rows of the target.

    Attributes
    ----------
    formulas
        (m,) compositions.
    covariates
        (m, k) further numbers, by the source's code.
    lines
        (m,) lines of the file, the header being line 1.
    truths
        (m,) numbers or class indices, NaN where there is none; for scoring alone.
    """

    formulas: tuple[Formula, ...]
    covariates: NDArray[np.float64]
    lines: tuple[int, ...]
    truths: NDArray[np.float64]

    @property
    def labelled(self) -> NDArray[np.int_]:
        """Rows that have a truth."""
        return np.flatnonzero(np.isfinite(self.truths))


def read_target(path: Path, source: FormulaTable, label: str, formula: str | None = None) -> TargetTable:
    """Read the target of a source.

    Parameters
    ----------
    label
        The source's column of values; if the target has it as well, it is kept for scoring.
    formula
        The source's column of formulas, where it was named; the target may call it otherwise.

    Raises
    ------
    DataError
        If a cell cannot be used, or names a class that the source does not have; file, line and column are named.
    OptionError
        If a column is missing.
    """
    cells = read_cells(path)
    column = formula_column(cells, formula if formula in cells.columns else None, path)
    if cells.empty:
        raise DataError("there is no formula in the target", where=str(path))
    known = label in cells.columns
    return TargetTable(
        formulas=formulas_of(cells[column], path),
        covariates=encode_covariates(cells, source.code, path),
        lines=tuple(int(i) + 2 for i in cells.index),
        truths=_truths(cells[label], source.classes, path) if known else np.full(len(cells), np.nan),
    )


def _truths(column: pd.Series, classes: Sequence[str], path: Path) -> NDArray[np.float64]:
    present = ~column.str.strip().str.lower().isin(EMPTY)
    truths = np.full(len(column), np.nan)
    truths[present] = values_like(column[present], classes, path)
    return truths

"""Tables of a domain without labels: formulas, the covariates that the source has, and truths for scoring alone.

    table = read_target(Path("measured.csv"), source, "gap")

A column named as the label is no secret: it is read apart from everything that a fit sees, and may be empty in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.formulas.formula import Formula
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.table.covariates import encode, missing_faults
from matgraft.formulas.table.faults import BadCell, Decision, refuse
from matgraft.formulas.table.formula_table import ColumnNames, FormulaTable
from matgraft.formulas.table.names import matching
from matgraft.formulas.table.numbers import EMPTY
from matgraft.formulas.table.opening import further, open_table
from matgraft.formulas.table.parsing import alloy_cures, parse_cells
from matgraft.formulas.table.values import values_like

if TYPE_CHECKING:
    import pandas as pd


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
    skipped, decisions
        Cells for which rows were left out, since that was asked; and what was decided in reading the table.
    """

    formulas: tuple[Formula, ...]
    covariates: NDArray[np.float64]
    lines: tuple[int, ...]
    truths: NDArray[np.float64]
    skipped: tuple[BadCell, ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def labelled(self) -> NDArray[np.int_]:
        """Rows that have a truth."""
        return np.flatnonzero(np.isfinite(self.truths))


def read_target(path: Path, source: FormulaTable, label: str, columns: ColumnNames | None = None) -> TargetTable:
    """Read the target of a source.

    Parameters
    ----------
    label
        The source's column of values; if the target has it as well, it is kept for scoring.
    columns
        How the source was read; the target may call its column of formulas otherwise.

    Raises
    ------
    DataError
        If a cell cannot be used, or names a class that the source does not have; file, line and column are named.
    OptionError
        If a column is missing.
    """
    asked = further(path, columns or ColumnNames())
    opened = open_table(path, asked, [label])
    cells, how = opened.cells, asked.reading
    if cells.empty:
        raise DataError("there is no formula in the target", where=str(path))
    parsed = parse_cells(cells[opened.column], parse_plain, how.composition)
    encoded = encode(cells, source.code, path, source.fill, opened.marks)
    bad = [*opened.faults, *parsed.faults, *encoded.faults, *missing_faults(encoded.missing)]
    if not how.skip_bad:
        refuse(bad, path, alloy_cures(parsed.alloys))
    good = ~cells.index.isin({fault.line for fault in bad})
    cells = cells[good]
    if cells.empty:
        raise DataError("no row can be used", where=str(path), causes=[fault.error(None) for fault in bad[:3]])
    known = matching(cells, label)
    return TargetTable(
        formulas=tuple(parsed.found[int(line)] for line in cells.index),
        covariates=encoded.values[good],
        lines=tuple(int(line) for line in cells.index),
        truths=_truths(cells[known[0]], source.classes, path) if known else np.full(len(cells), np.nan),
        skipped=tuple(bad),
        decisions=(*opened.decisions, *encoded.decisions),
    )


def _truths(column: pd.Series, classes: Sequence[str], path: Path) -> NDArray[np.float64]:
    present = ~column.str.strip().str.lower().isin(EMPTY)
    truths = np.full(len(column), np.nan)
    truths[present] = values_like(column[present], classes, path)
    return truths

"""What users pass as X, as a table; and where its formulas and covariates stand.

table = as_table(X)                                       # cells, and whether its columns have names
columns = find_columns(table, formula=None, covariates=["T"])
texts = table.cells.iloc[:, columns.formula]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.formulas.formula import Formula
from matgraft.formulas.table.layout import FORMULA_NAMES
from matgraft.formulas.table.names import known_formula_column

Name = str | int
"""A column by its name, or by its number from 0 where columns have no names."""


@dataclass(frozen=True, eq=False)
class InputTable:
    """X as a table.

    Attributes
    ----------
    cells
        (n, k) of anything.
    has_names
        True if every column has a text as its name.
    is_list
        True if X had one dimension.
    """

    cells: pd.DataFrame
    has_names: bool = False
    is_list: bool = False

    @property
    def for_checks(self) -> Any:
        """What scikit-learn checks the number and the names of columns of."""
        return self.cells if self.has_names else self.cells.to_numpy(dtype=object)


@dataclass(frozen=True)
class FormulaColumns:
    """Where formulas and covariates stand: places from 0, and the names of these columns where there are any."""

    formula: int
    covariates: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


def table_of(X: Any) -> InputTable:
    """Return X as a table.

    A sequence, a Series or an array of one dimension is a column of formulas; so is a list of mappings of elements to
    amounts, such as pymatgen's Composition. A mapping of names to columns is a table, as are data frames of any library
    that lists its `columns`.

    Raises
    ------
    DataError
        If X is one formula, sparse, or has neither one nor two dimensions.
    """
    if issparse(X):
        raise DataError("X is sparse, and formulas are text", remedy="a dense table or a list of formulas")
    if isinstance(X, str | bytes | Formula) or hasattr(X, "get_el_amt_dict"):
        raise DataError(f"X is one formula, {X!r}", remedy="a list of formulas: [X]")
    if isinstance(X, pd.Series | pd.Index):
        return _column(list(X))
    if isinstance(X, pd.DataFrame):
        return _framed(X)
    if isinstance(X, Mapping):
        return _framed(pd.DataFrame(dict(X)))
    if hasattr(X, "__dataframe__") and hasattr(X, "columns"):  # polars and others
        return _framed(pd.DataFrame({name: list(X[name]) for name in X.columns}))
    if not hasattr(X, "__array__") and hasattr(X, "__len__") and all(isinstance(one, _ONE) for one in X):
        return _column(list(X))
    array = np.asarray(X, dtype=object)
    if array.ndim not in (1, 2):
        raise DataError(
            f"X has {array.ndim} dimensions, and 1 or 2 are read",
            remedy="a list of formulas, or a table. Reshape your data",
        )
    return _column(list(array)) if array.ndim == 1 else InputTable(pd.DataFrame(array))


_ONE = (str, Formula, Mapping)
"""What is one formula: a pymatgen Composition is a mapping."""


def _column(items: Sequence[Any]) -> InputTable:
    """Return items as the one column of a table; NumPy would take a Composition apart."""
    cells = np.empty((len(items), 1), dtype=object)
    for i, item in enumerate(items):
        cells[i, 0] = item
    return InputTable(pd.DataFrame(cells), is_list=True)


def _framed(frame: pd.DataFrame) -> InputTable:
    return InputTable(frame.reset_index(drop=True), has_names=all(isinstance(name, str) for name in frame.columns))


def find_columns(table: InputTable, formula: Name | None, covariates: Sequence[Name] | Name | None) -> FormulaColumns:
    """Return where formulas and covariates stand.

    Parameters
    ----------
    formula
        The column of formulas; None takes the only column, or the one whose name says so, or without names the first.
    covariates
        Further columns to read. None reads no other column of a table with names, and every other one without.

    Raises
    ------
    OptionError
        If a column does not exist, or no name says which column holds the formulas.
    """
    count = table.cells.shape[1]
    if not count:
        raise DataError(f"X has 0 feature(s) (shape={table.cells.shape}) while a minimum of 1 is required.")
    at = _place(table, formula, "formula") if formula is not None else _formula_place(table)
    if covariates is None:
        beside = () if table.has_names else tuple(i for i in range(count) if i != at)
    else:
        asked = [covariates] if isinstance(covariates, Name) else list(covariates)
        beside = tuple(_place(table, name, "covariates") for name in asked)
    if len({at, *beside}) < 1 + len(beside):
        raise OptionError("covariates name one column twice, or the column of formulas")
    names = tuple(str(table.cells.columns[i]) for i in (at, *beside)) if table.has_names else ()
    return FormulaColumns(at, beside, names)


def same_columns(table: InputTable, known: FormulaColumns, formula: Name | None) -> FormulaColumns | None:
    """Return where the columns of a fit stand in another table; None where only their number can say so.

    Names are looked up, in any order; further columns are not read. Where formulas alone are read, a list will do, and
    so will a table of which `formula`, or a name, says where they are.

    Raises
    ------
    DataError
        If columns are missing.
    """
    if table.has_names and known.names:
        found = list(map(str, table.cells.columns))
        if missing := [name for name in known.names if name not in found]:
            said = ", ".join(map(repr, missing))
            raise DataError(f"columns are missing that were there in fit: {said}", allowed=known.names)
        twice = [name for name in known.names if found.count(name) > 1]
        if twice:
            raise DataError(f"X has several columns {twice[0]!r}", remedy="give each column a name of its own")
        at, *beside = map(found.index, known.names)
        return FormulaColumns(at, tuple(beside), known.names)
    if known.covariates:
        return None
    if table.is_list:
        return FormulaColumns(0)
    by_name = None if isinstance(formula, int) else formula
    return find_columns(table, by_name, ()) if table.has_names else None


def _place(table: InputTable, name: Name, parameter: str) -> int:
    names = list(table.cells.columns)
    known = [str(one) for one in names]
    if isinstance(name, int) and not isinstance(name, bool):
        if not -len(names) <= name < len(names):
            raise OptionError(f"{parameter}: X has {len(names)} column(s), and none has the number {name}")
        return name % len(names)
    if not table.has_names:
        raise OptionError(
            f"{parameter}: {name!r} is a name, and the columns of X have none",
            allowed=[f"numbers from 0 to {len(names) - 1}"],
            remedy="pass a pandas DataFrame, or number the column",
        )
    if name not in known:
        raise OptionError(f"{parameter}: X has no column {name!r}", allowed=known, remedy=nearest(str(name), known))
    if known.count(name) > 1:
        raise OptionError(f"{parameter}: X has several columns {name!r}", remedy="give each column a name of its own")
    return known.index(name)


def _formula_place(table: InputTable) -> int:
    if table.cells.shape[1] == 1 or not table.has_names:
        return 0
    if (found := known_formula_column(table.cells)) is not None:
        return _place(table, found, "formula")
    names = ", ".join(map(repr, table.cells.columns))
    raise OptionError(
        f"no column of X is known to hold formulas by its name; there are {names}",
        allowed=FORMULA_NAMES,
        remedy=f"name the column: formula={str(table.cells.columns[0])!r}",
    )


def is_missing(cell: Any) -> bool:
    """Say whether a cell is None, NaN, NA or an empty text."""
    if isinstance(cell, str):
        return not cell.strip()
    missing = pd.isna(cell) if not isinstance(cell, Mapping) else False
    return bool(missing) if isinstance(missing, bool | np.bool_) else False


def missing_in(column: pd.Series) -> NDArray[np.bool_]:
    """Return (n,) which cells of a column are missing."""
    return np.array([is_missing(cell) for cell in column], dtype=bool)

"""What every estimator of formulas shares: how X and classes are read, and what the tags say of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, _check_y, validate_data

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.formula import Formula, FormulaError
from matgraft.formulas.sklearn.covariates import Array, Covariate, encode_places, learn_covariates
from matgraft.formulas.sklearn.tables import (
    FormulaColumns,
    InputTable,
    Name,
    find_columns,
    is_missing,
    same_columns,
    table_of,
)

Parse = Callable[[str], Formula]


class OfFormulas(BaseEstimator):  # type: ignore[misc]
    """What reads formulas, and covariates if it has the parameters `covariates` and `impute`.

    Attributes
    ----------
    n_features_in_
        Columns of X.
    feature_names_in_
        Their names, where X was a table with names.
    """

    formula: Name | None
    _columns: FormulaColumns
    _code: tuple[Covariate, ...] = ()

    def __sklearn_tags__(self) -> Tags:
        """Say that X is formulas: texts, or mappings of elements to amounts; an array of numbers holds none."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.dict = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.categorical = hasattr(self, "covariates")
        tags.input_tags.allow_nan = bool(getattr(self, "impute", False))
        return tags

    def _read_to_fit(self, X: Any, parse: Parse, **y: Any) -> tuple[list[Formula], Array]:
        """Return formulas and covariates (n, width) of X, and remember its columns.

        Raises
        ------
        ValueError
            If X holds no column of formulas, something that is no formula, or covariates that cannot be used.
        """
        table = table_of(X)
        validate_data(self, table.for_checks, reset=True, skip_check_array=True, **y)
        self._columns = self._find(table)
        if hasattr(self, "covariates"):
            if self.covariates is None and table.has_names:
                _warn_of_others(table, self._columns)
            self._code = learn_covariates(table.cells, self._columns.covariates, impute=bool(self.impute))
        return self._read(table, self._columns, parse)

    def _read_fitted(self, X: Any, parse: Parse) -> tuple[list[Formula], Array]:
        """Return formulas and covariates (n, width) of X, whose columns are those of the fit.

        Raises
        ------
        ValueError
            If a column is missing, and else as of `_read_to_fit`.
        """
        table = table_of(X)
        columns = same_columns(table, self._columns, self.formula)
        if columns is None:
            validate_data(self, table.for_checks, reset=False, skip_check_array=True)
            columns = self._columns
        return self._read(table, columns, parse)

    def _find(self, table: InputTable) -> FormulaColumns:
        if hasattr(self, "covariates"):
            return find_columns(table, self.formula, self.covariates)
        count = table.cells.shape[1]
        if self.formula is None and count > 1 and not table.has_names:
            raise OptionError(
                f"X has {count} columns without names, and {type(self).__name__} reads formulas alone",
                remedy="pass the column of formulas, or number it: formula=0",
            )
        return find_columns(table, self.formula, ())

    def _read(self, table: InputTable, columns: FormulaColumns, parse: Parse) -> tuple[list[Formula], Array]:
        if not len(table.cells):
            raise DataError(f"X has 0 sample(s) (shape={table.cells.shape}) while a minimum of 1 is required.")
        covariates = encode_places(table.cells, columns.covariates, self._code)
        return [
            parsed_row(item, row, parse) for row, item in enumerate(table.cells.iloc[:, columns.formula])
        ], covariates


def _warn_of_others(table: InputTable, columns: FormulaColumns) -> None:
    used = {columns.formula, *columns.covariates}
    if others := [str(name) for i, name in enumerate(table.cells.columns) if i not in used]:
        named = ", ".join(map(repr, others))
        warnings.warn(
            f"columns of X that are not read: {named}. Name those that shall be read in covariates=[...]; "
            "covariates=[] reads none of them",
            UserWarning,
            stacklevel=6,
        )


def parsed_row(item: Any, row: int, parse: Parse) -> Formula:
    """Return the formula of a row: a text, a `Formula`, or a mapping of elements to amounts such as a Composition.

    Raises
    ------
    DataError
        If it is none.
    """
    if isinstance(item, Formula):
        return item
    if isinstance(item, complex | np.complexfloating):
        raise DataError(f"Complex data not supported: {item!r} is not a formula", where=f"row {row} of X")
    if not isinstance(item, str | Mapping):
        said = "is missing" if is_missing(item) else "is not a formula"
        raise DataError(
            f"{item!r} {said}: texts and mappings of elements to amounts are read, not NaN, numbers or other things",
            where=f"row {row} of X",
        )
    try:
        return parse(item if isinstance(item, str) else _written(item))
    except FormulaError as error:
        raise DataError(error.found, where=f"row {row} of X, {error.where}", remedy=error.remedy) from None


def _written(amounts: Mapping[Any, Any]) -> str:
    """Return elements with amounts as a text; of pymatgen's Composition oxidation states are left out."""
    plain = amounts.get_el_amt_dict() if hasattr(amounts, "get_el_amt_dict") else amounts
    return "".join(f"{getattr(key, 'symbol', key)}{_amount(value)}" for key, value in plain.items())


def _amount(value: Any) -> str:
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        return f" {value!r}"  # the reader of formulas names the character


def encoded_classes(y: Any, estimator: BaseEstimator, weights: Any = None) -> tuple[NDArray[Any], NDArray[np.int_]]:
    """Return the names of the classes in order, and the class (n,) of each row by its number.

    Classes are those of the rows that count; a row of weight 0 may have any number.
    """
    if y is None:
        raise DataError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    labels = _check_y(y, estimator=estimator)
    check_classification_targets(labels)
    counted = labels if weights is None else labels[_check_sample_weight(weights, labels, dtype=float) > 0]
    names = np.unique(counted)
    return names, np.searchsorted(names, labels).clip(max=len(names) - 1)

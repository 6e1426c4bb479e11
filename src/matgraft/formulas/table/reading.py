"""Tables of formulas with measured values, from a file to what a predictor is made of.

    table = read_table(Path("gaps.csv"), "gap", ColumnNames(fold="fold"))

`sources` reads the file, `names` finds the columns, `columns` makes compositions of columns of elements, `numbers`,
`values` and `covariates` read the cells. Everything that could stop a fit is said here, with file, line and column: all
cells that cannot be used come in one error, or are left out where that is asked. A row without a value is kept out of
the table and counted; what was decided on the way stands in `FormulaTable.decisions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError, OptionError
from matgraft.formulas.formula import Formula
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.table.covariates import covariate_code, encode, fills
from matgraft.formulas.table.faults import BadCell, Decision, refuse
from matgraft.formulas.table.formula_table import UNCERTAINTY, Coding, ColumnNames, FormulaTable
from matgraft.formulas.table.names import matching, require_column
from matgraft.formulas.table.numbers import EMPTY, Marks, numbers_in
from matgraft.formulas.table.opening import OpenedTable, further, is_empty, named_columns, open_table, without_lines
from matgraft.formulas.table.own_classes import own_classes, with_own_classes
from matgraft.formulas.table.parsing import alloy_cures, parse_cells
from matgraft.formulas.table.sources import read_source
from matgraft.formulas.table.values import (
    Classes,
    Values,
    like_values,
    number_classes,
    read_values,
    refuse_constant,
    whole_numbers,
)

if TYPE_CHECKING:
    import pandas as pd


def read_table(
    path: Path,
    target: str,
    columns: ColumnNames | None = None,
    parse: Callable[[str], Formula] = parse_plain,
    like: Coding | None = None,
) -> FormulaTable:
    """Read a table.

    Parameters
    ----------
    target
        Column of the values. Words, true/false, and zeros and ones alone are classes; other numbers are numbers.
    parse
        How a formula is read; `matgraft.formulas.prompts.text.parse_stated` takes the class of the material before it.
    like
        The table that was trained on, by whose classes and words this one is read.

    Raises
    ------
    DataError
        If cells cannot be used; file, line and column of each are named.
    OptionError
        If a column does not exist.
    """
    asked = columns or ColumnNames()
    opened = open_table(path, asked, (target,))
    cells = without_lines(opened.cells, asked.drop, path)
    by = {name: require_column(cells, name, path) for name in named_columns(asked, target)}
    _refuse_twice(by[target], opened.column, by, asked, path)
    told = [*opened.decisions, *_told_names(by, opened.column, asked)]
    # 1. values: rows without one are left out
    marks, said = opened.marks, Classes(tuple(asked.order), tuple(asked.classes))
    read = _values(cells[by[target]], said, opened, asked, like)
    kept = _with_values(cells, read, target, path)
    # 2. weights: rows of weight 0 set no class and no code
    weights, bad = _weights(kept, by, asked, read, marks)
    counts = _counting(weights, asked, path)
    # 3. what else a row must have
    names = [by[name] for name in (asked.fold, asked.group_column) if name]
    bad += [*read.faults, *(fault for name in names for fault in _without_name(kept[name]))]
    code = dict(like.code) if like else covariate_code(kept[counts], asked.covariates, path)
    fill = dict(like.fill) if like else fills(kept[counts], code, path, marks) if asked.reading.impute else {}
    encoded = encode(kept, code, path, fill, marks)
    is_made = ~kept.index.isin({fault.line for fault in opened.faults})  # what could not be made is told already
    parsed = parse_cells(kept[opened.column][counts & is_made], parse, asked.reading.composition)
    bad += [*encoded.faults, *parsed.faults]
    # 4. all that is wrong, at once; or without these rows
    known = set(kept.index[counts])
    bad = [fault for fault in (*opened.faults, *bad) if fault.line in known or fault in opened.faults]
    lacking = {line for lines in encoded.missing.values() for line in lines}
    good = counts & ~kept.index.isin({fault.line for fault in bad} | lacking)
    if not asked.reading.skip_bad:
        can_skip = asked.reading.can_skip and bool(good.any())
        refuse(bad, path, _cures(read, asked, parsed.alloys), can_skip=can_skip)
    if not good.any():
        raise DataError("no row can be used", where=str(path), causes=[fault.error(None) for fault in bad[:3]])
    told += [*read.decisions, *encoded.decisions, *_notation(parsed.found, kept.index[good])]
    told += _told_left_out(encoded.missing, known)
    if asked.weight == UNCERTAINTY:
        told.append(Decision(code="uncertainty", column=by[target], count=int(good.sum())))
    told += [Decision(code="skipped", count=len({fault.line for fault in bad}))] * bool(bad)
    kept, formulas = kept[good], tuple(parsed.found[line] for line in kept.index[good])
    values, classes, more = _numbered(read, good, said, like, by[target], path)
    named = kept[by[asked.prompt_class]] if asked.prompt_class else None
    formulas, own = _of_own_classes(formulas, named, like, path)
    return FormulaTable(
        formulas=formulas,
        values=values,
        classes=classes,
        covariates=encoded.values[good],
        code=code,
        weights=weights[good],
        groups=tuple(kept[by[asked.group_column]]) if asked.group_column else (),
        folds=tuple(kept[by[asked.fold]]) if asked.fold else (),
        lines=tuple(int(line) for line in kept.index),
        without_value=int((~read.present).sum()),
        without_weight=int((~counts).sum()),
        prompt_classes=own,
        cells=kept.rename(columns={found: name for name, found in by.items()}),
        fill=fill,
        decisions=(*told, *more),
        skipped=tuple(bad),
        target=target,
    )


def _of_own_classes(
    formulas: tuple[Formula, ...], named: pd.Series | None, like: Coding | None, path: Path
) -> tuple[tuple[Formula, ...], dict[str, str]]:
    """Return formulas with the user's own classes, where a column names them, and these classes."""
    own: dict[str, str] = dict(like.prompt_classes) if like else {}
    if named is None:
        return formulas, own
    own = own if like else own_classes(formulas, named, path)
    return with_own_classes(formulas, named, own, path), own


def _told_left_out(missing: Mapping[str, Sequence[int]], known: set[int]) -> list[Decision]:
    """Say of each covariate how many of the rows that count lack it."""
    return [
        Decision(code="covariate-missing", column=name, count=len(set(lines) & known), lines=tuple(lines[:10]))
        for name, lines in missing.items()
    ]


def read_labelled(
    path: Path, target: str, columns: ColumnNames, like: Coding, parse: Callable[[str], Formula] = parse_plain
) -> tuple[FormulaTable, tuple[str, ...]]:
    """Read a further table with labels of a predictor, and say which columns of the training table it lacks.

    Without the column of weights its rows count alike, without that of groups they are told apart by formula alone,
    without that of the user's own classes they are of none.
    The column of formulas may have another name. Errors as of `read_table`.
    """
    columns = further(path, columns)
    cells = read_source(path, columns.reading.sheet).cells

    def has(name: str | None) -> bool:
        return bool(name and matching(cells, name))

    own, weight = columns.group_column, columns.weight
    has_weight = has(weight) or (weight == UNCERTAINTY and _states_uncertainty(cells, target))
    lacks = [name for name in (own, columns.prompt_class) if name and not has(name)]
    lacks = [*([weight] if weight and not has_weight else []), *lacks]
    here = replace(
        columns,
        covariates=tuple(like.code),
        weight=weight if has_weight else None,
        group="formula" if own in lacks else columns.group,
        prompt_class=None if columns.prompt_class in lacks else columns.prompt_class,
        fold=None,
        order=(),
        classes=(),
        drop=(),
    )
    return read_table(path, target, here, parse, like), tuple(lacks)


# ------------------------------------------------------------------- parts of `read_table`


def _told_names(by: Mapping[str, str], column: str, columns: ColumnNames) -> list[Decision]:
    pairs = {**by, **({columns.formula: column} if columns.formula else {})}
    return [Decision(code="column", column=found, value=name) for name, found in pairs.items() if name != found]


def _refuse_twice(target: str, formulas: str, by: Mapping[str, str], columns: ColumnNames, path: Path) -> None:
    uses = {formulas: "formula", by.get(columns.weight or ""): "weight"}
    uses |= {by[name]: "covariate" for name in columns.covariates}
    if use := uses.get(target):
        found = f"column {target!r} is the target and the {use} as well"
        raise OptionError(found, where=str(path), remedy="name another column")


def _values(column: pd.Series, said: Classes, opened: OpenedTable, asked: ColumnNames, like: Coding | None) -> Values:
    uncertain = asked.weight == UNCERTAINTY
    if like is None:
        return read_values(column, said, opened.marks, opened.path, uncertain=uncertain)
    plain = column.str.strip()
    present = (~is_empty(plain) | plain.isin(like.classes)).to_numpy()
    kept = plain[present]
    values, faults, decisions = like_values(kept, like.classes, opened.marks, uncertain=uncertain)
    stated = numbers_in(kept, opened.marks, uncertain=True).uncertainties if uncertain else None
    return Values(present, values, None, stated, faults, decisions)


def _with_values(cells: pd.DataFrame, read: Values, target: str, path: Path) -> pd.DataFrame:
    """Return the rows that have a value."""
    kept = cells[read.present]
    if kept.empty:
        raise DataError(f"no row has a value in column {target!r}", where=str(path))
    return kept


def _counting(weights: NDArray[np.float64], asked: ColumnNames, path: Path) -> NDArray[np.bool_]:
    """Mark the rows whose weight is not 0; one that is no number is a fault of its own."""
    counts = ~(weights <= 0)
    if not counts.any():
        raise DataError(f"no row has a weight above 0 in column {asked.weight!r}", where=str(path))
    return np.asarray(counts)


def _weights(
    kept: pd.DataFrame, by: Mapping[str, str], asked: ColumnNames, read: Values, marks: Marks
) -> tuple[NDArray[np.float64], list[BadCell]]:
    """Return how much each row counts, NaN where a cell is no weight."""
    if asked.weight is None:
        return np.ones(len(kept)), []
    if asked.weight == UNCERTAINTY:
        return _by_uncertainty(kept, by, read)
    column = kept[by[asked.weight]]
    numbers = numbers_in(column, marks)
    negative = np.flatnonzero(numbers.values < 0)
    faults = [BadCell.at(column, line, "a weight is negative") for line in column.index[negative]]
    weights = numbers.values.copy()
    weights[negative] = np.nan
    return weights, [*numbers.faults, *faults]


def _by_uncertainty(
    kept: pd.DataFrame, by: Mapping[str, str], read: Values
) -> tuple[NDArray[np.float64], list[BadCell]]:
    """Return inverse squares of uncertainties, of mean 1; a value without one cannot be weighed."""
    stated = read.uncertainties if read.uncertainties is not None else np.full(len(kept), np.nan)
    fine = np.isfinite(stated) & (stated > 0)
    weights = np.full(len(kept), np.nan)
    if fine.any():
        inverse = (np.median(stated[fine]) / stated[fine]) ** 2
        weights[fine] = inverse / inverse.mean()
    target = kept[next(iter(by.values()))]
    known = {fault.line for fault in read.faults}
    remedy = "write it behind the value, such as 4.5±0.1, or leave out --weight"
    faults = [
        BadCell.at(target, line, "the value states no uncertainty above 0", remedy)
        for line in target.index[~fine]
        if int(line) not in known
    ]
    return weights, faults


def _without_name(column: pd.Series) -> list[BadCell]:
    words = column.str.strip().str.lower()
    return [
        BadCell.at(column, line, f"{word!r} stands for a value that is missing", "give every row a name")
        for line, word in column[words.isin(EMPTY) & (words != "none")].items()
    ]


def _numbered(
    read: Values, good: NDArray[np.bool_], said: Classes, like: Coding | None, column: str, path: Path
) -> tuple[NDArray[np.float64], tuple[str, ...], list[Decision]]:
    """Return the values of the rows that are left, their classes, and what is told of them."""
    if like:
        return read.values[good], like.classes, []
    if read.words is not None:
        values, classes = number_classes(read.words[good], said, path)
        return values, classes, []
    values = read.values[good]
    refuse_constant(column, values, path)
    return values, (), whole_numbers(column, values)


def _cures(read: Values, asked: ColumnNames, alloys: int) -> list[dict[str, object]]:
    """Return options that correct what is wrong, beside leaving the rows out."""
    cures = alloy_cures(alloys) if asked.reading.can_skip else []
    if asked.weight is None and any("with its uncertainty" in fault.found for fault in read.faults):
        cures.append({"--weight": UNCERTAINTY})
    return cures


def _states_uncertainty(cells: pd.DataFrame, target: str) -> bool:
    found = matching(cells, target)
    return bool(found) and cells[found[0]].str.contains("±|\\+/-", regex=True).any()


def _notation(found: Mapping[int, Formula], lines: Sequence[int]) -> list[Decision]:
    """Tell what was taken off formulas, a decision a kind."""
    kinds: dict[str, list[int]] = {}
    for line in lines:
        for kind in found[int(line)].dropped:
            kinds.setdefault(kind, []).append(int(line))
    return [
        Decision(code="notation", value=kind, count=len(rows), lines=tuple(rows[:10])) for kind, rows in kinds.items()
    ]

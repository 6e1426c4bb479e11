"""Tables of formulas with measured values: CSV or TSV (also .gz), parquet.

    table = read_table(Path("gaps.csv"), "gap", ColumnNames(fold="fold"))

Everything that could stop a fit is said here, with file, line and column: a formula that cannot be read, a value that
is no number, a covariate that is missing. A row without a value is kept out of the table and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.statistics import joined_units
from matgraft.formulas.formula import Formula, FormulaError
from matgraft.formulas.learners.inputs import Examples
from matgraft.formulas.prompts.text import class_tokens, parse_plain

Parsed = TypeVar("Parsed")
FORMULA_NAMES = ("formula", "composition", "material", "compound", "alloy")
TYPES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
GROUPINGS = ("formula", "chemical-system")
"""What groups a table has by itself."""
MOST_WORDS = 50
FEWEST_OF_CLASS = 2
"""Formulas that a class of one's own must have rows of: one is held out, the other teaches it."""
EMPTY = ("", "nan", "na", "n/a", "none", "null")
"""What stands for a value that is missing. Among words "none" may be an answer, such as that of a coating."""


@dataclass(frozen=True)
class ColumnNames:
    """ColumnNames that are used beside that of the values.

    Attributes
    ----------
    formula
        Of the formulas; by default the one that is named so.
    fold
        Names the test fold of each row.
    covariates
        To use beside the formula: numbers, or words of which there are few.
    weight
        How much each row counts.
    group
        What belongs together, such as a paper or a furnace; or one of `GROUPINGS`, which takes no column.
    order
        The classes from the lowest to the highest, where they have an order.
    prompt_class
        The user's own class of each row, such as a laboratory; an empty cell is none. Of strategy prompt.
    drop
        Lines of the file that are left out, the header being line 1.
    """

    formula: str | None = None
    fold: str | None = None
    covariates: Sequence[str] = ()
    weight: str | None = None
    group: str = "formula"
    order: Sequence[str] = ()
    prompt_class: str | None = None
    drop: Sequence[int] = ()


class Coding(Protocol):
    """What the words of a table became, which other tables are read by: its classes, its words of covariates."""

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def code(self) -> Mapping[str, tuple[str, ...]]: ...  # noqa: D102
    @property
    def prompt_classes(self) -> Mapping[str, str]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class FormulaTable:
    """Rows of a table that have a value.

    Attributes
    ----------
    formulas
        (n,) compositions.
    values
        (n,) numbers, or class indices.
    classes
        Names of the classes in order; empty for numbers.
    covariates
        (n, k) further numbers; words are ones and zeros, a column a word.
    code
        How columns became covariates: name -> its words, or () for numbers.
    weights
        (n,) how much each row counts.
    groups
        (n,) names of what belongs together, or empty.
    folds
        (n,) names of test folds, or empty.
    lines
        (n,) lines of the file, the header being line 1.
    without_value
        How many rows had none.
    without_weight
        How many others had a weight of 0; they are left out.
    prompt_classes
        The user's own classes, token -> word.
    cells
        (n, columns) every column of these rows, as text; empty of a table that is no file.
    """

    formulas: tuple[Formula, ...]
    values: NDArray[np.float64]
    classes: tuple[str, ...]
    covariates: NDArray[np.float64]
    code: Mapping[str, tuple[str, ...]]
    weights: NDArray[np.float64]
    groups: tuple[str, ...]
    folds: tuple[str, ...]
    lines: tuple[int, ...]
    without_value: int
    without_weight: int = 0
    prompt_classes: Mapping[str, str] = field(default_factory=dict)
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def weighted(self) -> bool:
        """True if rows count differently."""
        return bool((self.weights != self.weights[0]).any())

    @property
    def keys(self) -> list[str]:
        """Return what equal formulas share."""
        return [formula.key for formula in self.formulas]

    def named(self, by: str) -> list[str]:
        """Return each row's chemical system, what the group column says, or its formula."""
        if by == "chemical-system":
            return [formula.chemical_system for formula in self.formulas]
        return list(self.groups) if self.groups else self.keys

    def grouped(self, by: str) -> list[str]:
        """Return the name of what no fold may tear apart, by row: rows that share a formula or a name (`named`)."""
        return joined_groups(self.keys, self.named(by))

    def examples(self, by: str = "formula") -> Examples:
        """Return what a predictor is made from, its groups as of `grouped`."""
        return Examples(self.formulas, self.values, len(self.classes), self.covariates, self.weights, self.grouped(by))


def joined_groups(keys: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return the name of each row's smallest set that tears apart no key and no group.

    A formula that two papers measured joins the two papers, or it would stand on both sides of a fold. A set has the
    name of the first of its groups, in alphabetical order.
    """
    units = joined_units(keys, groups).tolist()
    names: dict[int, str] = {}
    for unit, group in zip(units, groups, strict=True):
        names[unit] = min(group, names.get(unit, group))
    return [names[unit] for unit in units]


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
        If a cell cannot be used; file, line and column are named.
    OptionError
        If a column does not exist.
    """
    columns = columns or ColumnNames()
    fold, weight, covariates, order = columns.fold, columns.weight, columns.covariates, columns.order
    group = None if columns.group in GROUPINGS else columns.group
    cells = without_lines(read_cells(path), columns.drop, path)
    column = formula_column(cells, columns.formula, path)
    for name in (target, *covariates, *(name for name in (fold, weight, group, columns.prompt_class) if name)):
        require(cells, name, path)
    uses = {column: "formula", weight: "weight"} | dict.fromkeys(covariates, "covariate")
    if use := uses.get(target):
        found = f"column {target!r} is the target and the {use} as well"
        raise OptionError(found, where=str(path), remedy="name another column")
    present = ~_missing(cells[target])
    kept = cells[present]
    if kept.empty:
        raise DataError(f"no row has a value in column {target!r}", where=str(path))
    weights = _weights(kept[weight], path) if weight else np.ones(len(kept))
    kept, weights = kept[weights > 0], weights[weights > 0]  # what has no weight sets no class and no code
    if kept.empty:
        raise DataError(f"no row has a weight above 0 in column {weight!r}", where=str(path))
    for name in filter(None, (fold, group)):
        _refuse_missing(kept[name], path, "give every row a name")
    if like:
        values, classes = values_like(kept[target], like.classes, path), like.classes
    else:
        values, classes = _ordered(kept[target], order, path) if order else _values(kept[target], path)
    code = dict(like.code) if like else covariate_code(kept, covariates, path)
    formulas, own = parsed_column(kept[column], path, parse), dict(like.prompt_classes) if like else {}
    if columns.prompt_class:
        own = own if like else own_classes(formulas, kept[columns.prompt_class], path)
        formulas = with_own_classes(formulas, kept[columns.prompt_class], own, path)
    return FormulaTable(
        formulas=formulas,
        values=values,
        classes=classes,
        covariates=encode_covariates(kept, code, path),
        code=code,
        weights=weights,
        groups=tuple(kept[group]) if group else (),
        folds=tuple(kept[fold]) if fold else (),
        lines=tuple(int(i) + 2 for i in kept.index),
        without_value=int((~present).sum()),
        without_weight=int(present.sum()) - len(kept),
        prompt_classes=own,
        cells=kept,
    )


def own_classes(formulas: Sequence[Formula], column: pd.Series, path: Path) -> dict[str, str]:
    """Return the user's own classes in a column, token -> word.

    Raises
    ------
    DataError
        If a class has rows of one formula alone, or there are more than `MOST_WORDS`.
    """
    of_word: dict[str, set[str]] = {}
    for formula, word, missing in zip(formulas, column.str.strip(), _missing(column), strict=True):
        if not missing:
            of_word.setdefault(word, set()).add(formula.key)
    where = f"{path}, column {column.name!r}"
    if not of_word:
        raise DataError("no row has a class", where=where)
    if len(of_word) > MOST_WORDS:
        raise DataError(f"{len(of_word)} different classes", where=where, allowed=[f"{MOST_WORDS}"])
    if few := sorted(word for word, keys in of_word.items() if len(keys) < FEWEST_OF_CLASS):
        raise DataError(
            f"class {few[0]!r} has rows of {len(of_word[few[0]])} formula: held out, nothing teaches it",
            where=where,
            remedy=f"rows of {FEWEST_OF_CLASS} formulas or more, or leave the cell empty: the row is then of no class",
        )
    return class_tokens(sorted(of_word), str(column.name))


def with_own_classes(
    formulas: Sequence[Formula], column: pd.Series, own: Mapping[str, str], path: Path
) -> tuple[Formula, ...]:
    """Return formulas with the user's own classes, token -> word; an empty cell leaves what a prompt stated."""
    tokens = {word: token for token, word in own.items()}
    found = []
    for formula, (row, word), missing in zip(formulas, column.str.strip().items(), _missing(column), strict=True):
        if not missing and word not in tokens:
            where = f"{path} line {int(row) + 2}, column {column.name!r}"
            raise DataError(f"{word!r} is no class that was trained on", where=where, allowed=list(tokens))
        found.append(formula if missing else replace(formula, own_class=tokens[word]))
    return tuple(found)


def read_labelled(
    path: Path, target: str, columns: ColumnNames, like: Coding, parse: Callable[[str], Formula] = parse_plain
) -> tuple[FormulaTable, tuple[str, ...]]:
    """Read a further table with labels of a predictor, and say which columns of the training table it lacks.

    Without the column of weights its rows count alike, without that of groups they are told apart by formula alone,
    without that of the user's own classes they are of none.
    The column of formulas may have another name. Errors as of `read_table`.
    """
    cells = read_cells(path)
    own = None if columns.group in GROUPINGS else columns.group
    used = (columns.weight, own, columns.prompt_class)
    lacks = tuple(name for name in used if name and name not in cells.columns)
    here = replace(
        columns,
        formula=columns.formula if columns.formula in cells.columns else None,
        covariates=tuple(like.code),
        weight=None if columns.weight in lacks else columns.weight,
        group="formula" if own in lacks else columns.group,
        prompt_class=None if columns.prompt_class in lacks else columns.prompt_class,
        fold=None,
        order=(),
        drop=(),
    )
    return read_table(path, target, here, parse, like), lacks


def read_cells(path: Path) -> pd.DataFrame:
    """Return every cell as text; the index counts rows from 0."""
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    if not path.name.endswith(TYPES):
        raise DataError("not a table of a known type", where=str(path), allowed=TYPES)
    if path.name.endswith(".parquet"):
        cells = pd.read_parquet(path).reset_index(drop=True)
        return cells.astype(object).where(cells.notna(), "").astype(str)  # a missing value is an empty cell, as in CSV
    separator = "\t" if ".tsv" in path.name else ","
    try:
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"not readable as a table: {error}", where=str(path)) from None


def without_lines(cells: pd.DataFrame, lines: Sequence[int], path: Path) -> pd.DataFrame:
    """Return cells without some lines of their file.

    Raises
    ------
    OptionError
        If the file has no row in such a line.
    """
    here = cells.index.to_numpy() + 2
    if strange := sorted(set(lines) - set(here.tolist())):
        found = f"there is no row in line {strange[0]}, which shall be left out"
        raise OptionError(found, where=str(path), allowed=[f"lines {here.min()} to {here.max()}"] if len(here) else ())
    return cells[~np.isin(here, list(lines))]


def formula_column(cells: pd.DataFrame, name: str | None, path: Path) -> str:
    """Return the name of the column that holds the formulas."""
    if name is not None:
        return require(cells, name, path)
    by_lower = {str(column).strip().lower(): str(column) for column in cells.columns}
    for known in FORMULA_NAMES:
        if known in by_lower:
            return by_lower[known]
    likely = [str(column) for column in cells.columns if len(cells) and _is_formula(cells[column].iloc[0])]
    raise OptionError(
        "no column of formulas is known by its name",
        where=str(path),
        allowed=FORMULA_NAMES,
        remedy="name the column that holds the formulas",
        options=[{"--formula": name} for name in likely],
    )


def value_columns(path: Path, formula: str | None) -> list[str]:
    """Return the columns of a table beside the formulas."""
    cells = read_cells(path)
    named = formula_column(cells, formula, path)
    return [str(name) for name in cells.columns if name != named]


def targets_in(path: Path, targets: Sequence[str]) -> list[str]:
    """Return those of some targets that a table has values of; of those whose columns are all empty, each.

    Raises
    ------
    OptionError
        If it has no column of any.
    """
    cells = read_cells(path)
    if found := [target for target in targets if target in cells.columns]:
        return [target for target in found if not _missing(cells[target]).all()] or found
    raise OptionError(
        f"no column of what was trained on: {', '.join(targets)}",
        where=str(path),
        allowed=targets,
        remedy="name the column of the values as in the training table",
    )


def _is_formula(text: str) -> bool:
    try:
        parse_plain(text)
    except FormulaError:
        return False
    return True


def require(cells: pd.DataFrame, name: str, path: Path) -> str:
    """Return a column's name, or say which one is near."""
    if name not in cells.columns:
        known = [str(column) for column in cells.columns]
        raise OptionError(f"no column {name!r}", where=str(path), allowed=known, remedy=nearest(name, known))
    return name


def formulas_of(column: pd.Series, path: Path) -> tuple[Formula, ...]:
    """Parse a column, naming line and column of a cell that is no formula."""
    return parsed_column(column, path, parse_plain)


def parsed_column(column: pd.Series, path: Path, parse: Callable[[str], Parsed]) -> tuple[Parsed, ...]:
    """Read a column by a parser of formulas or of prompts; errors as of `formulas_of`."""
    parsed = []
    for row, text in column.items():
        try:
            parsed.append(parse(text))
        except FormulaError as error:
            where = f"{path} line {int(row) + 2}, column {column.name!r}, {error.where}"
            raise DataError(error.found, where=where, remedy=error.remedy) from None
    return tuple(parsed)


def covariate_code(cells: pd.DataFrame, names: Sequence[str], path: Path) -> dict[str, tuple[str, ...]]:
    """Return how columns become numbers: () for a column of numbers, else its words.

    Raises
    ------
    DataError
        If a column holds more than `MOST_WORDS` different words.
    """
    code: dict[str, tuple[str, ...]] = {}
    for name in names:
        words = cells[name].str.strip()
        if pd.to_numeric(words, errors="coerce").notna().sum() > 0.5 * (~_missing(words)).sum():
            read_numbers(cells[name], path)
            code[name] = ()
            continue
        _refuse_missing(words, path, "leave the row out, or give what is missing a word of its own, such as unknown")
        code[name] = tuple(sorted(set(words)))
        if len(code[name]) > MOST_WORDS:
            raise DataError(
                f"column {name!r} holds {len(code[name])} different words", where=str(path), allowed=[f"{MOST_WORDS}"]
            )
    return code


def encode_covariates(cells: pd.DataFrame, code: Mapping[str, Sequence[str]], path: Path) -> NDArray[np.float64]:
    """Return (n, k) covariates by a code.

    Raises
    ------
    DataError
        If a cell is no number, or a word that the code does not know.
    """
    columns: list[NDArray[np.float64]] = []
    for name, words in code.items():
        require(cells, name, path)
        if not words:
            columns.append(read_numbers(cells[name], path))
            continue
        stripped = cells[name].str.strip()
        _refuse_missing(stripped, path, "leave the row out, or give one of the words")
        for row, word in stripped.items():
            if word not in words:
                where = f"{path} line {int(row) + 2}, column {name!r}"
                raise DataError(f"{word!r} does not occur in the training data", where=where, allowed=list(words))
        columns += [(stripped == word).to_numpy(float) for word in words]
    return np.stack(columns, 1) if columns else np.zeros((len(cells), 0))


def _missing(column: pd.Series) -> pd.Series:
    return column.str.strip().str.lower().isin(EMPTY)


def _refuse_missing(column: pd.Series, path: Path, remedy: str) -> None:
    for row, word in column[_missing(column) & (column.str.strip().str.lower() != "none")].items():
        where = f"{path} line {int(row) + 2}, column {column.name!r}"
        raise DataError(f"{word!r} stands for a value that is missing", where=where, remedy=remedy)


def _weights(column: pd.Series, path: Path) -> NDArray[np.float64]:
    weights = read_numbers(column, path)
    if (weights < 0).any():
        row = column.index[int(np.flatnonzero(weights < 0)[0])]
        raise DataError("a weight is negative", where=f"{path} line {int(row) + 2}, column {column.name!r}")
    return weights


def read_numbers(column: pd.Series, path: Path) -> NDArray[np.float64]:
    """Return a column's numbers, naming the line of a cell that is none."""
    values = pd.to_numeric(column.str.strip(), errors="coerce").to_numpy(float)
    for row, value in zip(column.index, values, strict=True):
        if not np.isfinite(value):
            where = f"{path} line {int(row) + 2}, column {column.name!r}"
            raise DataError(f"{column[row]!r} is not a finite number", where=where)
    return values


def values_like(column: pd.Series, classes: Sequence[str], path: Path) -> NDArray[np.float64]:
    """Return the values (n,) of a column of another table: numbers, or indices of the classes that were trained on.

    Raises
    ------
    DataError
        If a cell is no number, or none of the classes.
    """
    if not classes:
        return read_numbers(column, path)
    found = []
    for row, word in column.str.strip().items():
        name = word if word in classes else word.removesuffix(".0")
        if name not in classes:
            where = f"{path} line {int(row) + 2}, column {column.name!r}"
            raise DataError(f"{word!r} is no class of the training table", where=where, allowed=classes)
        found.append(float(classes.index(name)))
    return np.array(found)


def _ordered(column: pd.Series, order: Sequence[str], path: Path) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    ranks = {name: i for i, name in enumerate(order)}
    for row, word in column.str.strip().items():
        if word not in ranks:
            where = f"{path} line {int(row) + 2}, column {column.name!r}"
            raise DataError(f"{word!r} is none of the classes in order", where=where, allowed=list(order))
    for name in order:
        if not (column.str.strip() == name).any():
            raise DataError(f"no row of column {column.name!r} is of class {name!r}", where=str(path),
                            remedy="leave the class out of the order, or add rows")  # fmt: skip
    return column.str.strip().map(ranks).to_numpy(float), tuple(order)


def _values(column: pd.Series, path: Path) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    words = column.str.strip()
    as_numbers = pd.to_numeric(words, errors="coerce")
    if as_numbers.notna().mean() > 0.5:  # mostly numbers: a word among them is a mistake
        values = read_numbers(column, path)
        if not np.isin(values, (0.0, 1.0)).all():
            return values, ()
        words = pd.Series(values.astype(int).astype(str))
    classes = tuple(sorted(set(words)))
    if len(classes) < 2:
        raise DataError(f"column {column.name!r} holds one class only: {classes[0]!r}", where=str(path))
    if len(classes) > max(20, len(words) // 5):
        raise DataError(f"column {column.name!r} holds {len(classes)} different words", where=str(path))
    return words.map({name: i for i, name in enumerate(classes)}).to_numpy(float), classes

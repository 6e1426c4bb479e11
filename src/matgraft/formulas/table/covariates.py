"""Covariates: columns of numbers, or words as ones and zeros; what is missing is left out with its row, or filled.

code = Code.of(cells, {"T": "T", "method": "Method"}, marks, impute=True)
encoded = code.encode(cells, path)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.formulas.table.faults import BadCell, Decision, refuse
from matgraft.formulas.table.names import require_column
from matgraft.formulas.table.numbers import EMPTY, NO_NUMBER, Marks, is_numeric, numbers_in

if TYPE_CHECKING:
    import pandas as pd

MOST_WORDS = 50
MISSING_WORD = "(missing)"
"""The word of rows that have none, where missing words are filled."""


@dataclass(frozen=True, eq=False)
class EncodedCovariates:
    """Covariates of rows.

    Attributes
    ----------
    values
        (n, k), NaN where a cell is missing or cannot be used.
    faults
        Cells that cannot be used.
    missing
        Lines without a value, by column.
    """

    values: NDArray[np.float64]
    faults: tuple[BadCell, ...] = ()
    missing: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()


def covariate_code(cells: pd.DataFrame, names: Sequence[str], path: Path) -> dict[str, tuple[str, ...]]:
    """Return how columns become numbers: () for a column of numbers, else its words.

    Raises
    ------
    DataError
        If a column holds more than `MOST_WORDS` different words.
    """
    code: dict[str, tuple[str, ...]] = {}
    for name in names:
        column = cells[require_column(cells, name, path)]
        if is_numeric(column, ranges=False):
            code[name] = ()
            continue
        words = column.str.strip()
        counts = words[~missing_words(words)].value_counts()
        by_fold: dict[str, str] = {}
        for word in counts.index:  # the most frequent spelling first
            by_fold.setdefault(_folded(word), word)
        code[name] = tuple(sorted(by_fold.values()))
        if len(code[name]) > MOST_WORDS:
            found = f"column {name!r} holds {len(code[name])} different words"
            raise DataError(found, where=str(path), allowed=[f"{MOST_WORDS}"])
    return code


def _folded(word: str) -> str:
    """Return what words share that differ in capitals alone; of single letters capitals count."""
    return word.casefold() if len(word) > 1 else word


def fills(cells: pd.DataFrame, code: Mapping[str, Sequence[str]], path: Path, marks: Marks) -> dict[str, float | str]:
    """Return what stands in for a missing value: the median of a column of numbers, `MISSING_WORD` among words."""
    found: dict[str, float | str] = {}
    for name, words in code.items():
        column = cells[require_column(cells, name, path)]
        if words:
            if missing_words(column).any():
                found[name] = MISSING_WORD
        else:
            values = numbers_in(column[~missing_number(column)], marks).values
            if len(values) < len(column) and np.isfinite(values).any():
                found[name] = float(np.nanmedian(values))
    return found


def encode(
    cells: pd.DataFrame,
    code: Mapping[str, Sequence[str]],
    path: Path,
    fill: Mapping[str, float | str] | None = None,
    marks: Marks | None = None,
) -> EncodedCovariates:
    """Return covariates by a code, with what is missing and what cannot be used."""
    blocks: list[NDArray[np.float64]] = []
    faults: list[BadCell] = []
    gone: dict[str, tuple[int, ...]] = {}
    decisions: list[Decision] = []
    for name, words in code.items():
        column = cells[require_column(cells, name, path)]
        lack = (missing_words(column) if words else missing_number(column)).to_numpy()
        stand_in = (fill or {}).get(name)
        if lack.any() and stand_in is None:
            gone[name] = tuple(int(line) for line in column.index[lack])
        elif lack.any():
            decisions.append(Decision(code="imputed", column=name, value=f"{stand_in}", count=int(lack.sum())))
        if words:
            column, told = _as_coded(column, words)
            block, unknown = _words(column, words, lack, stand_in)
            decisions += told
            faults += unknown
        else:
            block, bad, told = _numbers(column, lack, stand_in, marks)
            decisions += told
            faults += bad
        blocks.append(block)
    values = np.concatenate(blocks, 1) if blocks else np.zeros((len(cells), 0))
    return EncodedCovariates(values, tuple(faults), gone, tuple(decisions))


def _numbers(
    column: pd.Series, lack: NDArray[np.bool_], stand_in: float | str | None, marks: Marks | None
) -> tuple[NDArray[np.float64], tuple[BadCell, ...], tuple[Decision, ...]]:
    numbers = numbers_in(column[~lack], marks)
    values = np.full(len(column), np.nan if stand_in is None else float(stand_in))
    values[~lack] = numbers.values
    return values[:, None], numbers.faults, numbers.decisions


def _as_coded(column: pd.Series, words: Sequence[str]) -> tuple[pd.Series, tuple[Decision, ...]]:
    """Return a column whose words are those of the code where they differ in capitals alone, and which did."""
    known = {_folded(word): word for word in words}
    stripped = column.str.strip()
    coded = stripped.map(lambda word: word if word in words else known.get(_folded(word), word))
    changed = dict.fromkeys(stripped[coded != stripped])
    if not changed:
        return coded, ()
    said = ", ".join(f"{word!r} and {known[_folded(word)]!r}" for word in list(changed)[:3])
    return coded, (Decision(code="word-case", column=str(column.name), value=said),)


def _words(
    column: pd.Series, words: Sequence[str], lack: NDArray[np.bool_], stand_in: float | str | None
) -> tuple[NDArray[np.float64], list[BadCell]]:
    import pandas as pd

    word = "" if stand_in is None else str(stand_in)
    stripped = column.str.strip().mask(pd.Series(lack, index=column.index), word)
    known = {*words, *([str(stand_in)] if stand_in is not None else [])}
    faults = [
        BadCell.at(column, line, f"{word!r} does not occur in the training data", f"one of {', '.join(words)}")
        for (line, word), gone in zip(stripped.items(), lack, strict=True)
        if word not in known and not (gone and stand_in is None)
    ]
    block = np.stack([(stripped == word).to_numpy(float) for word in words], 1)
    block[lack & (stand_in is None)] = np.nan
    return block, faults


def with_plain_numbers(cells: pd.DataFrame, names: Iterable[str], path: Path, marks: Marks) -> pd.DataFrame:
    """Return cells whose numbers in some columns are written with a decimal point and no sign between thousands.

    What reads them later does not know how the file wrote numbers: 1.100 is 1100 beside decimal commas.
    """
    import pandas as pd

    changed: dict[str, pd.Series] = {}
    for name in names:
        column = cells[require_column(cells, name, path)]
        values = numbers_in(column, marks).values
        as_written = pd.to_numeric(column.str.strip(), errors="coerce").to_numpy(float)
        other = np.isfinite(values) & (values != as_written)
        if other.any():
            changed[str(column.name)] = column.mask(other, [repr(float(value)) for value in values])
    return cells.assign(**changed) if changed else cells


def encode_covariates(
    cells: pd.DataFrame, code: Mapping[str, Sequence[str]], path: Path, fill: Mapping[str, float | str] | None = None
) -> NDArray[np.float64]:
    """Return (n, k) covariates by a code.

    Raises
    ------
    DataError
        If a cell is missing, is no number, or a word that the code does not know; each is named.
    """
    encoded = encode(cells, code, path, fill)
    refuse([*encoded.faults, *missing_faults(encoded.missing)], path, can_skip=False)
    return encoded.values


def missing_faults(missing: Mapping[str, Sequence[int]]) -> list[BadCell]:
    """Return the rows that lack a covariate as faults."""
    remedy = "write the value, or leave the row out"
    return [
        BadCell(line=line, column=name, found="the value of a covariate is missing", remedy=remedy)
        for name, lines in missing.items()
        for line in lines
    ]


def missing_words(column: pd.Series) -> pd.Series:
    """Say which cells hold no word; "none" is one."""
    plain = column.str.strip().str.lower()
    return plain.isin(EMPTY) & (plain != "none")


def missing_number(column: pd.Series) -> pd.Series:
    """Say which cells hold no number and stand for a missing one."""
    return column.str.strip().str.lower().isin(NO_NUMBER)

"""The user's own classes of rows, such as laboratories, as tokens that prompts can say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matgraft.core.errors import DataError
from matgraft.formulas.formula import Formula
from matgraft.formulas.prompts.text import class_tokens
from matgraft.formulas.table.covariates import MOST_WORDS
from matgraft.formulas.table.numbers import EMPTY

if TYPE_CHECKING:
    import pandas as pd

FEWEST_OF_CLASS = 2
"""Formulas that a class of one's own must have rows of: one is held out, the other teaches it."""


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
    for formula, (line, word), missing in zip(formulas, column.str.strip().items(), _missing(column), strict=True):
        if not missing and word not in tokens:
            where = f"{path} line {int(line)}, column {column.name!r}"
            raise DataError(f"{word!r} is not a class that was trained on", where=where, allowed=list(tokens))
        found.append(formula if missing else replace(formula, own_class=tokens[word]))
    return tuple(found)


def _missing(column: pd.Series) -> pd.Series:
    return column.str.strip().str.lower().isin(EMPTY)

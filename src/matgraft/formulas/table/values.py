"""The values of a target: numbers, or words as classes; what is open is asked about.

    read = read_values(column, Classes(order=("low", "high")), marks)      # Read(values, classes, faults, ...)

A word is a class. "none" and "NA" among words are a class or a missing value: only the user knows, and says it by
naming the classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.formulas.table.faults import BadCell, Decision, refuse
from matgraft.formulas.table.numbers import EMPTY, NO_NUMBER, Marks, is_numeric, numbers_in

if TYPE_CHECKING:
    import pandas as pd

OPEN_WORDS = ("none", "na", "n/a", "n.a.")
"""Among words: an answer, or no value."""
MOST_CLASSES = 20
FEW_WHOLE = 10
"""Different whole numbers that may be names of classes."""
CLASSES, ORDER = "--classes", "--order"


@dataclass(frozen=True)
class Classes:
    """What the user says of the classes of a target.

    Attributes
    ----------
    order
        From the lowest to the highest.
    names
        Without an order.
    """

    order: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every class that is named."""
        return self.order or self.names

    @property
    def option(self) -> str:
        """The option that named them."""
        return ORDER if self.order else CLASSES


@dataclass(frozen=True, eq=False)
class Values:
    """A target's column, its empty cells left out.

    Attributes
    ----------
    present
        (rows of the column,) which of them have a value.
    values
        (n,) of those that have one: numbers, NaN where a cell cannot be used; or 0 where they are words.
    words
        (n,) of classes, empty for numbers; they are numbered once bad rows are left out (`number_classes`).
    uncertainties
        (n,) as the cells state them, or NaN.
    """

    present: NDArray[np.bool_]
    values: NDArray[np.float64]
    words: pd.Series | None = None
    uncertainties: NDArray[np.float64] | None = None
    faults: tuple[BadCell, ...] = ()
    decisions: tuple[Decision, ...] = field(default=())


def read_values(column: pd.Series, said: Classes, marks: Marks, path: Path, *, uncertain: bool = False) -> Values:
    """Read the values to train on.

    Parameters
    ----------
    uncertain
        Take numbers with an uncertainty.

    Raises
    ------
    DataError
        If words may stand for a missing value.
    """
    words = column.str.strip()
    if said.all:
        return _named(words, said)
    if is_numeric(words):
        return _numbers(words, marks, uncertain)
    _refuse_open_words(words, path)
    present = (~words.str.lower().isin(EMPTY)).to_numpy()
    kept, decisions = _alike_but_for_capitals(words[present])
    return Values(present, np.zeros(len(kept)), kept, decisions=tuple(decisions))


def _numbers(words: pd.Series, marks: Marks, uncertain: bool) -> Values:
    import pandas as pd

    lower = words.str.lower()
    present = (~lower.isin(NO_NUMBER)).to_numpy()
    kept = words[present]
    numbers = numbers_in(kept, marks, uncertain=uncertain)
    signs = [sign for sign in dict.fromkeys(lower[~present]) if sign not in ("", "nan")]
    gone = [
        Decision(code="missing", column=str(words.name), value=repr(sign), count=int((lower == sign).sum()))
        for sign in signs
    ]
    decisions = (*numbers.decisions, *gone)
    if not numbers.faults and len(kept) and np.isin(numbers.values, (0.0, 1.0)).all():
        as_words = pd.Series(numbers.values.astype(int).astype(str), index=kept.index, name=kept.name)
        return Values(present, np.zeros(len(kept)), as_words, decisions=decisions)
    return Values(present, numbers.values, None, numbers.uncertainties, numbers.faults, decisions)


def _named(words: pd.Series, said: Classes) -> Values:
    """Read classes that the user named; a word for a missing value that is not among them is one."""
    plain = words.where(words.isin(said.all), words.str.removesuffix(".0"))
    present = (plain.isin(said.all) | ~words.str.lower().isin((*EMPTY, *OPEN_WORDS))).to_numpy()
    kept = plain[present]
    faults = tuple(
        BadCell(line=int(line), column=str(words.name), cell=word,
              found=f"{word!r} is none of the classes{' in order' if said.order else ''}: {', '.join(said.all)}",
              remedy=f"name it by {said.option}, or leave the row out")
        for line, word in kept.items() if word not in said.all
    )  # fmt: skip
    return Values(present, np.zeros(len(kept)), kept, faults=faults)


def _refuse_open_words(words: pd.Series, path: Path) -> None:
    counts = Counter(words)
    open_words = [word for word in counts if word.lower() in OPEN_WORDS]
    others = sorted(word for word in counts if word.lower() not in (*EMPTY, *OPEN_WORDS))
    if not open_words or not others or len(others) > MOST_CLASSES:
        return
    said = " and ".join(f"{counts[word]} cells that hold {word!r}" for word in open_words)
    raise DataError(
        f"{said}: a class, or no value",
        where=f"{path}, column {words.name!r}",
        remedy=f"name the classes, with {', '.join(open_words)} if it is one, without if these rows have no value",
        options=[{CLASSES: ",".join([*others, *open_words])}, {CLASSES: ",".join(others)}],
    )


def _alike_but_for_capitals(words: pd.Series) -> tuple[pd.Series, list[Decision]]:
    """Return words with one spelling for those that differ in capitals alone, the commonest; single letters differ."""
    counts = Counter(words)
    spellings: dict[str, list[str]] = {}
    for word in counts:
        if len(word) > 1:
            spellings.setdefault(word.casefold(), []).append(word)
    several = [sorted(group, key=lambda word: (-counts[word], word)) for group in spellings.values() if len(group) > 1]
    chosen = {word: group[0] for group in several for word in group}
    told = [
        Decision(
            code="class-case", column=str(words.name), value=", ".join(f"{word!r} ({counts[word]})" for word in group)
        )
        for group in several
    ]
    return words.replace(chosen) if chosen else words, told


def number_classes(words: pd.Series, said: Classes, path: Path) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return indices of classes (n,), and the classes.

    Raises
    ------
    DataError
        If there is one class only, there are too many, or a class that was named has no row.
    """
    where = f"{path}, column {words.name!r}"
    for name in said.all:
        if not (words == name).any():
            raise DataError(f"no row of column {words.name!r} is of class {name!r}", where=str(path),
                            remedy=f"leave the class out of {said.option}, or add rows")  # fmt: skip
    classes = said.all or tuple(sorted(set(words)))
    if len(classes) < 2:
        raise DataError(f"column {words.name!r} holds one class only: {classes[0]!r}", where=str(path))
    if len(classes) > max(MOST_CLASSES, len(words) // 5):
        first = next(iter(words.items()))
        raise DataError(
            f"column {words.name!r} holds {len(classes)} different words, such as {first[1]!r} in line {int(first[0])}",
            where=where,
            remedy="name a column of numbers, or one of fewer classes",
        )
    return words.map({name: i for i, name in enumerate(classes)}).to_numpy(float), classes


def refuse_constant(column: str, values: NDArray[np.float64], path: Path) -> None:
    """Raise a `DataError` where every value is the same: there is nothing to learn."""
    if len(values) > 1 and (values == values[0]).all():
        found = f"column {column!r} holds one value only: {values[0]:g}"
        raise DataError(found, where=str(path), remedy="name a column whose values differ")


def whole_numbers(column: str, values: NDArray[np.float64]) -> list[Decision]:
    """Tell of whole numbers of which there are few: they may be names of classes."""
    different = np.unique(values)
    if not 2 <= len(different) <= FEW_WHOLE or len(values) < 3 * len(different) or (different % 1).any():
        return []
    names = ",".join(f"{value:.0f}" for value in different)
    return [Decision(code="integers", column=column, value=names, count=len(values))]


def values_like(
    column: pd.Series, classes: Sequence[str], path: Path, marks: Marks | None = None
) -> NDArray[np.float64]:
    """Return the values (n,) of a column of another table: numbers, or indices of the classes that were trained on.

    Raises
    ------
    DataError
        If a cell is no number, or none of the classes; each is named.
    """
    values, faults, _ = like_values(column, classes, marks)
    refuse(faults, path, can_skip=False)
    return values


def like_values(
    column: pd.Series, classes: Sequence[str], marks: Marks | None = None, *, uncertain: bool = False
) -> tuple[NDArray[np.float64], tuple[BadCell, ...], tuple[Decision, ...]]:
    """Return values as of `values_like`, NaN where a cell cannot be used, with the faults and what was decided."""
    if not classes:
        numbers = numbers_in(column, marks, uncertain=uncertain)
        return numbers.values, numbers.faults, numbers.decisions
    folded = {name.casefold(): i for i, name in enumerate(classes)}
    index = {name: i for i, name in enumerate(classes)}
    values, faults = np.full(len(column), np.nan), []
    for i, (line, word) in enumerate(column.str.strip().items()):
        at = index.get(word, index.get(word.removesuffix(".0"), folded.get(word.casefold()) if len(word) > 1 else None))
        if at is None:
            found = f"{word!r} is not a class of the training table"
            faults.append(
                BadCell(
                    line=int(line),
                    column=str(column.name),
                    cell=word,
                    found=found,
                    remedy=f"one of {', '.join(classes)}",
                )
            )
        else:
            values[i] = at
    return values, tuple(faults), ()


def refuse_rare_classes(
    classes: Sequence[str], values: NDArray[np.float64], groups: Sequence[str], fewest: int, path: Path, verb: str
) -> None:
    """Raise a `DataError` for classes of too few formulas or groups: folds hold out one, and the others teach it.

    Parameters
    ----------
    fewest
        Sets of rows that share no formula and no group which a class must have.
    """
    if not classes:
        return
    homes: dict[int, set[str]] = {i: set() for i in range(len(classes))}
    for value, group in zip(values.astype(int).tolist(), groups, strict=True):
        homes[value].add(group)
    rare = [i for i, sets in homes.items() if len(sets) < fewest]
    if not rare:
        return
    counts = Counter(values.astype(int).tolist())
    named = ", ".join(f"{classes[i]!r} ({counts[i]} rows of {len(homes[i])} formulas or groups)" for i in rare)
    left = [classes[i] for i in range(len(classes)) if i not in rare]
    raise DataError(
        f"too few rows of class {named}: {verb} needs {fewest} formulas or groups of each",
        where=str(path),
        remedy="add rows of the class, join it with another one, or leave its rows out",
        options=[{CLASSES: ",".join(left), "--skip-bad": True}] if len(left) > 1 else [],
    )

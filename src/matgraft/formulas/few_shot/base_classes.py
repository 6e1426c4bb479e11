"""Base classes for episodes, made from a long table of properties: what a few examples could be asked to tell apart.

A property gives the lowest, middle and highest third of its values. One of which a fifth or more is exactly zero (gaps,
distances from the hull) gives "zero or not" and the thirds of the rest; zeros and ones are two classes as they are.

Properties that say nearly the same of the formulas that both know (rank correlations above `KIN`, and those of their
kin) are one family: in DFT tables bulk moduli, shear moduli, volumes and Debye temperatures, for example. A family is
held out as a whole, or its classes were not new.

A formula has one value of a property: of several rows (polymorphs) the middle one, of an even number the lower of the
two. Otherwise an episode could ask for a formula that is among its examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.formulas.formula import Formula, parse_formula
from matgraft.formulas.pretraining.tables import ZERO_INFLATED, is_held_out, read_property_table

Rows = NDArray[np.int_]
KIN = 0.65
"""The families of the shipped metric's table are the same from 0.6 to 0.7."""
FEWEST_COMMON = 30
"""Formulas that two properties must share for a rank correlation to count."""
FEWEST = 30
"""Rows of the smallest class of a question: 20 shots and 10 queries."""


@dataclass(frozen=True, eq=False)
class ClassQuestion:
    """What tells classes apart.

    Attributes
    ----------
    name
        The property, with " > 0" where it asks whether it is zero.
    family
        Number of its family.
    classes
        Rows of each class, from the lowest values to the highest: two or three classes.
    """

    name: str
    family: int
    classes: tuple[Rows, ...]


@dataclass(frozen=True, eq=False)
class BaseClasses:
    """Formulas and the questions asked of them."""

    formulas: tuple[Formula, ...]
    questions: tuple[ClassQuestion, ...]

    @property
    def families(self) -> list[int]:
        """Numbers of the families, ascending."""
        return sorted({question.family for question in self.questions})

    def of(self, families: Sequence[int]) -> list[ClassQuestion]:
        """Return the questions of some families."""
        return [question for question in self.questions if question.family in families]


def read_base_classes(path: Path, *, exclude: str | None, validation: float) -> BaseClasses:
    """Read the questions that can be asked of the chemical systems that a pretraining held out.

    Of the other formulas the encoder has learned the labels, and would look better than it is on new ones.

    Parameters
    ----------
    path
        Table with the columns property, formula, target.
    exclude
        A column whose rows with 1 are left out.
    validation
        Part of the chemical systems that the pretraining held out.

    Raises
    ------
    DataError
        If fewer than two families of questions can be asked.
    """
    table = read_property_table(path, exclude)
    parsed = {text: parse_formula(text, is_spelled=True) for text in table["formula"].unique()}
    held = {text: one for text, one in parsed.items() if is_held_out(one.chemical_system, validation)}
    table = table[table["formula"].isin(held)]
    rows: dict[Formula, int] = {}
    table = table.assign(row=[rows.setdefault(held[text], len(rows)) for text in table["formula"]])
    table = one_value_each(table)
    family = families_of(table)
    questions = [
        ClassQuestion(name, family[str(kind)], classes)
        for kind, part in table.groupby("property", sort=True)
        for name, classes in questions_of_property(str(kind), part["row"].to_numpy(), part["target"].to_numpy(float))
    ]
    if len({question.family for question in questions}) < 2:
        raise DataError(
            f"{len(questions)} questions of fewer than two families, among {len(rows)} formulas that were held out",
            where=str(path),
            remedy="episodes need many properties, with 90 and more labels each in held-out chemical systems",
        )
    return BaseClasses(tuple(rows), tuple(questions))


def one_value_each(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row of each property and row, with the lower median of the targets; without those that lack one."""
    known = table.dropna(subset="target").sort_values("target", kind="stable")
    rows = known.groupby(["property", "row"], sort=False)["target"]
    return rows.quantile(0.5, interpolation="lower").reset_index().sort_values(["property", "row"], ignore_index=True)


def questions_of_property(name: str, rows: Rows, values: NDArray[np.float64]) -> list[tuple[str, tuple[Rows, ...]]]:
    """Return (name, classes) of the questions that a property gives; none where its rows are too few."""
    zero = np.abs(values) < 1e-9
    if np.isin(values, (0.0, 1.0)).all():
        found: list[tuple[str, tuple[Rows, ...]]] = [(name, (rows[zero], rows[~zero]))]
    elif zero.mean() < ZERO_INFLATED:
        found = [(name, _thirds(rows, values))]
    else:
        found = [(f"{name} > 0", (rows[zero], rows[~zero])), (name, _thirds(rows[~zero], values[~zero]))]
    return [(title, classes) for title, classes in found if min(map(len, classes)) >= FEWEST]


def families_of(table: pd.DataFrame) -> dict[str, int]:
    """Return each property's family, from a table with the columns property, row, target."""
    wide = table.pivot_table(index="row", columns="property", values="target")
    kin = wide.corr("spearman", min_periods=FEWEST_COMMON).abs().to_numpy() > KIN
    family = np.arange(len(kin))
    for i, j in zip(*np.nonzero(kin), strict=True):
        family[family == family[j]] = family[i]
    return {str(name): int(number) for name, number in zip(wide.columns, family, strict=True)}


def _thirds(rows: Rows, values: NDArray[np.float64]) -> tuple[Rows, ...]:
    return tuple(np.array_split(rows[np.argsort(values, kind="stable")], 3))

"""What a table is asked for, and what it is once it is read: rows with a formula and a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import OptionError
from matgraft.core.statistics import joined_units
from matgraft.formulas.alloys import BASES, Basis
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.inputs import Examples
from matgraft.formulas.table.faults import BadCell, Decision

if TYPE_CHECKING:
    import pandas as pd

GROUPINGS = ("formula", "chemical-system")
"""What groups a table has by itself."""
UNCERTAINTY = "±"
"""In the place of a column of weights: the uncertainty that stands behind each value."""


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read, and what is done with rows that cannot be used.

    Attributes
    ----------
    sheet
        Of a workbook.
    composition
        What amounts of an alloy, in columns or behind hyphens, are per cent of.
    balance
        The element that makes up the rest of a composition.
    skip_bad
        Leave out rows that cannot be used.
    impute
        Fill covariates that are missing.
    can_skip
        Whether the command can leave rows out: then its errors say so.
    """

    sheet: str | None = None
    composition: Basis | None = None
    balance: str | None = None
    skip_bad: bool = False
    impute: bool = False
    can_skip: bool = True


def basis_of(text: str | None) -> Basis | None:
    """Return what a typed composition is per cent of; mol% of compounds is at% of their formula units.

    Raises
    ------
    OptionError
        If it is neither.
    """
    if text is None:
        return None
    known: dict[str, Basis] = {
        "at%": "at%",
        "wt%": "wt%",
        "at": "at%",
        "wt": "wt%",
        "mol%": "at%",
        "mol": "at%",
        "mass%": "wt%",
        "weight%": "wt%",
        "w%": "wt%",
        "atomic%": "at%",
    }
    plain = text.strip().lower().replace(".", "").replace(" ", "")
    if plain not in known:
        raise OptionError(f"--composition {text!r} is unknown", allowed=BASES)
    return known[plain]


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
        How much each row counts; `UNCERTAINTY` where the values state it.
    group
        What belongs together, such as a paper or a furnace; or one of `GROUPINGS`, which takes no column.
    order
        The classes from the lowest to the highest, where they have an order.
    classes
        The classes, where they have none: words that may stand for a missing value, or whole numbers.
    prompt_class
        The user's own class of each row, such as a laboratory; an empty cell is none. Of strategy prompt.
    drop
        Lines of the file that are left out, the header being line 1.
    reading
        How the file is read.
    """

    formula: str | None = None
    fold: str | None = None
    covariates: Sequence[str] = ()
    weight: str | None = None
    group: str = "formula"
    order: Sequence[str] = ()
    classes: Sequence[str] = ()
    prompt_class: str | None = None
    drop: Sequence[int] = ()
    reading: ReadOptions = ReadOptions()

    @property
    def group_column(self) -> str | None:
        """The column of the groups; None where the table has them by itself."""
        return None if self.group in GROUPINGS else self.group


class Coding(Protocol):
    """What the words of a table became, which other tables are read by: its classes, its words of covariates."""

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def code(self) -> Mapping[str, tuple[str, ...]]: ...  # noqa: D102
    @property
    def fill(self) -> Mapping[str, float | str]: ...  # noqa: D102
    @property
    def prompt_classes(self) -> Mapping[str, str]: ...  # noqa: D102


def _no_cells() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame()


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
        (n,) lines of the file, the header being line 1; of a sheet its rows.
    without_value
        How many rows had none.
    without_weight
        How many others had a weight of 0; they are left out.
    prompt_classes
        The user's own classes, token -> word.
    cells
        (n, columns) every column of these rows, as text.
    fill
        What stands in for covariates that are missing, by column; empty where nothing does.
    decisions
        What was decided in reading the table.
    skipped
        Cells for which rows were left out, since that was asked.
    target
        Column of the values.
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
    cells: pd.DataFrame = field(default_factory=_no_cells)
    fill: Mapping[str, float | str] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    skipped: tuple[BadCell, ...] = ()
    target: str = ""

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

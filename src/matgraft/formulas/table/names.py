"""Columns found by what they are called: as it is written, or without capitals, blanks and unit.

column_named(cells, "band gap", path)       # "Band gap (eV)"
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ase.data import atomic_names, chemical_symbols

from matgraft.core.errors import OptionError, nearest
from matgraft.formulas.formula import FormulaError
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.table.layout import FORMULA_NAMES, is_formula_name, plain_name

if TYPE_CHECKING:
    import pandas as pd

LOOKED_AT = 20
"""Rows by which one of several columns is chosen."""


def matching(cells: pd.DataFrame, name: str) -> list[str]:
    """Return the columns that a name may mean: the one called so, else those that differ in unit and capitals."""
    known = [str(column) for column in cells.columns]
    if name in known:
        return [name]
    stripped = " ".join(name.split())
    if stripped in known:
        return [stripped]
    for plain in (lambda text: " ".join(text.split()).casefold(), plain_name):
        if found := [column for column in known if plain(column) == plain(name)]:
            return found
    return []


def require_column(cells: pd.DataFrame, name: str, path: Path) -> str:
    """Return the column that a name means.

    Raises
    ------
    OptionError
        If there is none, which says one that is near; or if there are several.
    """
    found = matching(cells, name)
    known = [str(column) for column in cells.columns]
    if not found:
        raise OptionError(f"no column {name!r}", where=str(path), allowed=known, remedy=nearest(name, known))
    again = [
        column for column in known if column.startswith(f"{found[0]}.") and column[len(found[0]) + 1 :].isdecimal()
    ]
    if len(found) > 1 or again:
        names = ", ".join(map(repr, [*found, *again]))
        raise OptionError(
            f"{name!r} may be each of the columns {names}", where=str(path), remedy="give each column a name of its own"
        )
    return found[0]


def formula_column(cells: pd.DataFrame, name: str | None, path: Path) -> str:
    """Return the name of the column that holds the formulas; errors as of `require_column`."""
    if name is not None:
        return require_column(cells, name, path)
    if (found := known_formula_column(cells)) is not None:
        return found
    likely = [str(column) for column in cells.columns if len(cells) and _is_formula(cells[column].iloc[0])]
    no_header = any(_is_formula(column) and len(column) > 1 for column in likely)  # "Tm" over numbers is a header
    remedy = "name the column that holds the formulas"
    if no_header:
        remedy = "the first line looks like a row: write a header above it, such as formula,gap; or name the column"
    if len(cells.columns) == 1 and not likely:
        remedy = "the lines were not parted: separate cells by commas, semicolons, tabs, bars or blanks"
    elif len(spelled := _spelled_elements(cells)) > 1:
        remedy = f"name the column, or call columns of amounts by symbols: Fe, Cr, not {', '.join(spelled[:3])}"
    raise OptionError(
        "no column of formulas is known by its name",
        where=str(path),
        allowed=FORMULA_NAMES,
        remedy=remedy,
        options=[{"--formula": name} for name in likely],
    )


def _spelled_elements(cells: pd.DataFrame) -> list[str]:
    """Return columns that are called by names of elements, or by symbols in the wrong case."""
    names = {name.casefold() for name in atomic_names[1:]} | {name.casefold() for name in chemical_symbols[1:]}
    return [str(column) for column in cells.columns if str(column).strip().casefold() in names]


def known_formula_column(cells: pd.DataFrame) -> str | None:
    """Return the column whose name says that it holds formulas; None if there is none.

    Of several the plainest name, unless another one has twice as many formulas in its first rows: names of materials
    often stand beside formulas.
    """
    by_lower = {plain_name(str(column)): str(column) for column in reversed(list(cells.columns))}
    named = [by_lower[known] for known in FORMULA_NAMES if known in by_lower]
    named += [str(column) for column in cells.columns if is_formula_name(str(column)) and str(column) not in named]
    if len(named) < 2:
        return named[0] if named else None
    counts = [sum(map(_is_formula, cells[column].head(LOOKED_AT))) for column in named]
    return next(column for column, n in zip(named, counts, strict=True) if 2 * n >= max(counts))


def _is_formula(text: str) -> bool:
    try:
        parse_plain(text)
    except FormulaError:
        return False
    return True

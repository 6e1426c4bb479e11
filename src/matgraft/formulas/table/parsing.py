"""Columns of formulas and of prompts: every cell that cannot be read is named, with its likely reading.

parsed = parse_cells(cells["formula"], parse_plain, basis="wt%")
parsed.found[3], parsed.faults       # by line
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from matgraft.formulas.alloys import Basis
from matgraft.formulas.doubtful import likely_cases
from matgraft.formulas.formula import Formula, FormulaError
from matgraft.formulas.notation import ANY_HYPHEN
from matgraft.formulas.prompts.text import parse_plain
from matgraft.formulas.table.faults import BadCell, refuse
from matgraft.formulas.usual_columns import read_usual

if TYPE_CHECKING:
    import pandas as pd

Parsed = TypeVar("Parsed")
_HYPHEN = re.compile(f"[{ANY_HYPHEN}]")


@dataclass(frozen=True, eq=False)
class ParsedColumn(Generic[Parsed]):
    """A column of formulas.

    Attributes
    ----------
    found
        By line.
    alloys
        How many cells are alloys whose amounts are by weight or by atoms.
    """

    found: Mapping[int, Parsed]
    faults: tuple[BadCell, ...] = ()
    alloys: int = 0


def parse_cells(
    column: pd.Series,
    parse: Callable[[str], Parsed],
    basis: Basis | None = None,
    of_usual: Callable[[Formula], Parsed] | None = None,
) -> ParsedColumn[Parsed]:
    """Read a column by a parser of formulas or of prompts.

    Parameters
    ----------
    of_usual
        Turns a usual formula into what the parser makes of its text: these are then read together.

    Notes
    -----
    A column in capitals throughout hides elements: ``NIO`` is read as three, beside ``FE2O3``, which is none. Where one
    cell of it cannot be read, those that may be spelled otherwise are faults too.
    """
    found: dict[int, Parsed] = {}
    faults: list[BadCell] = []
    alloys = 0
    usual = read_usual(list(column)) if of_usual else [None] * len(column)
    for line, text, formula in zip(column.index.tolist(), column, usual, strict=True):
        if formula is not None and of_usual:
            found[line] = of_usual(formula)
            continue
        try:
            found[int(line)] = parse(text)
        except FormulaError as error:
            alloy = error.alloy if error.alloy is not None and error.alloy.has_amounts else None
            alloys += alloy is not None
            if alloy is not None and basis:
                found[int(line)] = parse(alloy.formula(basis))
            elif not text.strip():
                found_here = "there is no element: the cell is empty"
                faults.append(BadCell.at(column, line, found_here, "write the formula into every row"))
            else:
                faults.append(
                    BadCell(
                        line=int(line),
                        column=str(column.name),
                        cell=text,
                        found=error.found,
                        remedy=error.remedy,
                        place=error.where,
                    )
                )
    if faults and any(fault.cell.upper() == fault.cell and likely_cases(fault.cell) for fault in faults):
        faults += _hidden_by_capitals(column, set(found))
    return ParsedColumn(found, tuple(faults), alloys)


def _hidden_by_capitals(column: pd.Series, read: set[int]) -> list[BadCell]:
    if any(text.upper() != text for text in column):
        return []
    hidden = []
    for line, text in column.items():
        likely = likely_cases(text, everywhere=True) if int(line) in read else []
        if len(likely) > 1:
            said = " or ".join(likely)
            hidden.append(
                BadCell(
                    line=int(line),
                    column=str(column.name),
                    cell=text,
                    found=f"{text!r} in a column of capitals: likely {said}",
                    remedy="write symbols with a small second letter",
                )
            )
    return hidden


def formulas_of(column: pd.Series, path: Path) -> tuple[Formula, ...]:
    """Parse a column, naming line and column of every cell that is no formula."""
    return parsed_column(column, path, parse_plain)


def parsed_column(
    column: pd.Series, path: Path, parse: Callable[[str], Parsed], basis: Basis | None = None
) -> tuple[Parsed, ...]:
    """Read a column by a parser of formulas or of prompts; errors as of `formulas_of`."""
    parsed = parse_cells(column, parse, basis)
    refuse(parsed.faults, path, alloy_cures(parsed.alloys), can_skip=False)
    return tuple(parsed.found[int(line)] for line in column.index)


def has_alloys(column: pd.Series) -> bool:
    """Say whether a column has alloys whose amounts are by weight or by atoms."""
    joined = column[[_HYPHEN.search(text) is not None for text in column]]  # hyphens join the parts of an alloy
    return bool(parse_cells(joined, parse_plain).alloys)


def written_out(text: str, basis: Basis) -> str:
    """Return a formula as it is written; an alloy, read by a basis, in shares of atoms."""
    try:
        parse_plain(text)
    except FormulaError as error:
        return error.alloy.formula(basis) if error.alloy is not None and error.alloy.has_amounts else text
    return text


def alloy_cures(alloys: int) -> list[dict[str, object]]:
    """Return the options that say what the amounts of alloys are per cent of, where there are some."""
    return [{"--composition": basis} for basis in ("wt%", "at%")] if alloys else []

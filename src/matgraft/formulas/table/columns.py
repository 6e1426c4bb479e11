"""Compositions by columns: a column an element or an oxide, in per cent of weight or of atoms.

    composed = by_columns(cells, Asked(composition="wt%"), used=["yield_MPa"], path)
    composed.formulas         # text, such as Fe73.1C3.7Mn1.2; the index holds the lines

Of weights atoms are made by standard atomic masses. Amounts of oxides count formula units where they are no weights.
The balance is the element whose cells say so (``bal``), whose column is empty, or that ``--balance`` names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from matgraft.core.errors import DataError, OptionError, choose
from matgraft.formulas.alloys import BASES, Basis, formula_of
from matgraft.formulas.table.faults import BadCell, Decision
from matgraft.formulas.table.numbers import EMPTY, Marks, numbers_in

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 3
"""Columns of elements by which a table without formulas is known to hold compositions."""
BALANCE = frozenset(
    (*("bal", "bal.", "balance", "rest", "rest.", "remainder", "rem", "rem.", "base", "basis"),
     *("余量", "余", "残部", "残", "残余"))
)  # fmt: skip
WHOLE, SLACK = 100.0, 2.0
"""Per cent that a composition comes to, and how far rounded amounts may be from it."""
_PART = re.compile(r"([A-Z][a-z]?)(\d{0,2})")
_ANIONS = frozenset(("F", "Cl", "Br", "I", "S", "Se", "Te", "N", "C"))
"""Of salts, chalcogenides, nitrides and carbides that are columns by themselves: CaF2, LiCl, GeS2, Si3N4."""
_NAME = re.compile(
    r"(?:(?P<before>(?:wt|at|mol|mass|weight|w|x|c)\.?\s?%?|%)[\s_(\[]{0,3})?(?P<symbol>(?:[A-Z][a-z]?\d{0,2}){1,5})"
    r"[\s_,)\]]{0,3}[(\[/]?\s?(?P<behind>(?:in\s)?(?:wt|at|mol|mass|weight|atomic)[\s._-]{0,2}(?:%|pct|percent|fraction|frac|ppm)?|%|w?ppm[aw]?)?\s?[)\]]?"
)  # fmt: skip
PPM = 1e-4
"""Per cent of one part per million."""
_SAID = {"質量": "wt", "重量": "wt", "原子": "at", "モル": "mol", "质量": "wt", "摩尔": "mol"}
"""Words of Japanese and Chinese headers."""
_NOT_ELEMENTS = frozenset(("No", "D", "T", "Id"))
"""Headers that spell an element and hardly mean it: a running number, ..."""


@dataclass(frozen=True)
class Composed:
    """Compositions of rows.

    Attributes
    ----------
    formulas
        (n,) text; empty where a fault is.
    columns
        Those that were taken.
    """

    formulas: pd.Series
    columns: tuple[str, ...]
    faults: tuple[BadCell, ...] = ()
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class AmountColumn:
    """A column of amounts: of what, and in what unit if the header says so."""

    name: str
    unit: tuple[tuple[str, int], ...]
    basis: Basis | None = None
    is_ppm: bool = False

    @property
    def mass(self) -> float:
        """Return the mass of its formula unit, in u."""
        return float(sum(n * atomic_masses[atomic_numbers[symbol]] for symbol, n in self.unit))


def amount_columns(cells: pd.DataFrame, used: Sequence[str] = ()) -> list[AmountColumn]:
    """Return the columns whose header is an element or a binary oxide, with or without its unit."""
    found = []
    for name in map(str, cells.columns):
        plain = unicodedata.normalize("NFKC", name).strip()
        for said, meant in _SAID.items():
            plain = plain.replace(said, meant)
        match = None if name in used else _NAME.fullmatch(plain)
        said = " ".join(filter(None, (match["before"], match["behind"]))).lower() if match else ""
        unit = _unit(match["symbol"], _basis(said) is not None) if match else ()
        if unit:
            found.append(AmountColumn(name, unit, _basis(said), "ppm" in said))
    return found


def are_compositions(columns: Sequence[AmountColumn]) -> bool:
    """Say whether columns of amounts are known to be compositions: several, or two whose headers say per cent."""
    return len(columns) >= FEWEST or (len(columns) > 1 and all(column.basis for column in columns))


def _unit(symbol: str, is_stated: bool = False) -> tuple[tuple[str, int], ...]:
    """Return the elements of a header with their numbers; empty where it hardly means them.

    Parameters
    ----------
    is_stated
        Whether the header says what its amounts are per cent of: then any compound is one.
    """
    parts = [(name, int(number or 1)) for name, number in _PART.findall(symbol)]
    names = [name for name, _ in parts]
    if not all(name in atomic_numbers and name != "X" for name in names):
        return ()
    if len(parts) == 1:
        return tuple(parts) if symbol == names[0] and symbol not in _NOT_ELEMENTS else ()
    is_oxide = len(parts) == 2 and names[1] == "O" and names[0] != "O"
    is_salt = len(parts) == 2 and names[1] in _ANIONS and (len(symbol) > 2 or any(map(str.isdigit, symbol)))
    return tuple(parts) if is_oxide or is_salt or (is_stated and len(set(names)) > 1) else ()


def _basis(said: str) -> Basis | None:
    if re.match(r"(wt|mass|weight|w\b|wppm|ppmw)", said.removeprefix("in ")):
        return "wt%"
    if said.endswith("ppma"):
        return "at%"
    return "at%" if re.match(r"(at|mol|x\b)", said.removeprefix("in ")) else None


def by_columns(
    cells: pd.DataFrame, basis: Basis | None, balance: str | None, path: Path, marks: Marks, used: Sequence[str] = ()
) -> Composed:
    """Return the composition of every row.

    Parameters
    ----------
    basis
        What the amounts are per cent of; None where the headers say it.
    balance
        The element that makes up the rest.
    used
        Columns that are something else.

    Raises
    ------
    OptionError
        If it is not known what the amounts are per cent of, or headers and option disagree.
    DataError
        If no row comes to 100.
    """
    import pandas as pd

    taken = amount_columns(cells, used)
    basis = _agreed(taken, basis, path)
    amounts, is_balance, faults, empty = _amounts(cells, taken, marks)
    names = [column.name for column in taken]
    decisions = [Decision(code="composition", value=f"{', '.join(names)} in {basis}")]
    if parts := [column.name for column in taken if column.is_ppm]:
        kind = "weight" if basis == "wt%" else "atoms"
        decisions.append(Decision(code="ppm", value=f"{', '.join(parts)}: parts per million of {kind}"))
    if empty:
        decisions.append(Decision(code="empty-composition", count=empty))
    whole = _whole(amounts, is_balance)
    if balance:
        taken, amounts, is_balance = _with_balance(cells, taken, amounts, is_balance, balance, path)
    rest = whole - np.nansum(np.where(is_balance, 0.0, amounts), axis=1)
    for i in np.unique(np.nonzero(is_balance)[1]):
        rows = int(is_balance[:, i].sum())
        decisions.append(Decision(code="balance", column=taken[i].name, value=taken[i].name, count=rows))
    amounts = np.where(is_balance, rest[:, None], amounts)
    totals = amounts.sum(axis=1)
    bad = {fault.line for fault in faults}
    slack = whole * SLACK / WHOLE
    off = [
        i for i, line in enumerate(cells.index) if int(line) not in bad and _is_off(amounts[i], totals[i], whole, slack)
    ]
    if off and len(off) == len(cells):
        _refuse_all(cells, totals, path, whole)
    for i in off:
        found = (
            f"the amounts come to {totals[i]:.6g}, not to {whole:.0f}"
            if totals[i] <= whole
            else f"the amounts come to {totals[i]:.6g}, more than {whole:.0f}"
        )
        faults.append(
            BadCell(
                line=int(cells.index[i]),
                column=names[0],
                found=found,
                remedy="correct the row, or name the element that makes up the rest as --balance",
            )
        )
    scaled = int((np.abs(totals - whole) > 1e-3 * whole).sum()) - len(off)
    if scaled > 0 or whole == 1:
        low, high = totals.min(), totals.max()
        decisions.append(
            Decision(code="normalised", value=f"{low:.5g} to {high:.5g}", count=max(scaled, 0) or len(cells))
        )
    bad = {fault.line for fault in faults}
    texts = ["" if int(line) in bad else _formula(taken, amounts[i], basis) for i, line in enumerate(cells.index)]
    formulas = pd.Series(texts, index=cells.index, name="composition", dtype=object)
    return Composed(formulas, tuple(names), tuple(faults), tuple(decisions))


def _agreed(taken: Sequence[AmountColumn], asked: Basis | None, path: Path) -> Basis:
    stated = {column.basis for column in taken if column.basis}
    if len(stated) > 1:
        said = "; ".join(
            f"{basis} in {', '.join(column.name for column in taken if column.basis == basis)}"
            for basis in sorted(stated)
        )
        raise DataError(
            f"one composition in two kinds of per cent: {said}",
            where=str(path),
            remedy="write all its columns in one",
        )
    if asked is not None:
        choose(asked, {name: name for name in BASES}, "--composition")
    if asked and stated - {asked}:
        raise OptionError(
            f"--composition {asked}, but the headers say {', '.join(sorted(stated))}",
            where=str(path),
            remedy="leave the option out",
        )
    if asked:
        return asked
    if len(stated) == 1 and all(column.basis or column.is_ppm for column in taken):
        return stated.pop()
    names = ", ".join(column.name for column in taken)
    raise OptionError(
        f"columns of elements ({names}): their amounts are per cent of weight or of atoms",
        where=str(path),
        remedy="say which",
        options=[{"--composition": basis} for basis in ("wt%", "at%")],
    )


def _amounts(
    cells: pd.DataFrame, taken: Sequence[AmountColumn], marks: Marks
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[BadCell], int]:
    """Return amounts (n, k), where they are the balance, cells that are no amount, and how many are empty."""
    amounts, is_balance = np.zeros((len(cells), len(taken))), np.zeros((len(cells), len(taken)), bool)
    faults: list[BadCell] = []
    none = 0
    is_said = any(cells[column.name].str.strip().str.lower().isin(BALANCE).any() for column in taken)
    for i, column in enumerate(taken):
        words = cells[column.name].str.strip()
        plain = words.str.lower()
        is_balance[:, i] = plain.isin(BALANCE).to_numpy()
        empty = plain.isin((*EMPTY, "-", "–")).to_numpy()
        if empty.all() and len(cells) and not is_said:
            is_balance[:, i] = True
            continue
        none += int(empty.sum())
        rows = np.flatnonzero(~is_balance[:, i] & ~empty)
        numbers = numbers_in(words.iloc[rows], marks)
        amounts[rows, i] = numbers.values * (PPM if column.is_ppm else 1)
        faults += [_amount_fault(fault) for fault in numbers.faults]
        faults += [
            BadCell(line=int(cells.index[row]), column=column.name, cell=words.iloc[row], found="an amount is negative")
            for row in rows[np.flatnonzero(numbers.values < 0)]
        ]
    return amounts, is_balance, faults, none


def _amount_fault(fault: BadCell) -> BadCell:
    """Return a cell that is no amount, with what to write for a trace."""
    is_trace = fault.cell.strip().lower().rstrip(".") in ("tr", "trace", "traces", "nil", "spur", "sp")
    is_limit = "limit" in fault.found
    if not (is_trace or is_limit):
        return fault
    found = f"{fault.cell!r} is a trace, not an amount" if is_trace else fault.found
    return fault.model_copy(update={"found": found, "remedy": "write the amount, or 0 where it does not count"})


def _whole(amounts: NDArray[np.float64], is_balance: NDArray[np.bool_]) -> float:
    """Return 100, or 1 where all amounts are parts of one."""
    totals = np.nansum(np.where(is_balance, 0.0, amounts), axis=1)
    return (
        1.0 if len(totals) and np.median(totals) <= 1 + SLACK / WHOLE and totals.max() <= 1 + SLACK / WHOLE else WHOLE
    )


def _with_balance(
    cells: pd.DataFrame, taken: list[AmountColumn], amounts: NDArray[np.float64], is_balance: NDArray[np.bool_],
    balance: str, path: Path,
) -> tuple[list[AmountColumn], NDArray[np.float64], NDArray[np.bool_]]:  # fmt: skip
    """Return the columns with one for the element that ``--balance`` names."""
    if not _unit(balance):
        raise OptionError(f"--balance {balance}: no element", allowed=["a symbol, such as Fe"])
    at = next((i for i, column in enumerate(taken) if column.unit == _unit(balance)), None)
    if at is not None:
        if (amounts[:, at] > 0).any():
            found = f"--balance {balance}, but column {taken[at].name!r} has its amounts"
            raise OptionError(found, where=str(path), remedy="leave the option out, or empty the column")
        is_balance[:, at] = True
        return taken, amounts, is_balance
    more = AmountColumn(balance, _unit(balance))
    return (
        [*taken, more],
        np.column_stack([amounts, np.zeros(len(cells))]),
        np.column_stack([is_balance, np.ones(len(cells), bool)]),
    )


def _is_off(row: NDArray[np.float64], total: float, whole: float, slack: float) -> bool:
    return not np.isfinite(total) or abs(total - whole) > slack or bool((row < 0).any())


def _refuse_all(cells: pd.DataFrame, totals: NDArray[np.float64], path: Path, whole: float) -> None:
    least, most = (f"{end:.5g}" for end in (np.nanmin(totals), np.nanmax(totals)))
    raise DataError(
        f"the amounts of no row come to {whole:.0f}: they come to {least if least == most else f'{least} to {most}'}",
        where=f"{path} lines {int(cells.index[0])} to {int(cells.index[-1])}",
        remedy="name the element that makes up the rest as --balance, or add its column",
    )


def _formula(taken: Sequence[AmountColumn], amounts: NDArray[np.float64], basis: Basis) -> str:
    atoms: dict[str, float] = {}
    for column, amount in zip(taken, amounts, strict=True):
        units = amount / column.mass if basis == "wt%" else amount
        for symbol, n in column.unit:
            atoms[symbol] = atoms.get(symbol, 0.0) + n * units
    return formula_of(atoms)

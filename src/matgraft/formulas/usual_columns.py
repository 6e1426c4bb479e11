"""Columns of usual formulas, read together: what `parse_formula` says of each, at a third of its time.

    read_usual(["Fe2O3", "Fe2(SO4)3"])     # [Formula, None]: `parse_formula` reads what is None here

A text is judged by itself (`usual.is_usual`). Those that are usual are joined to one array of characters. Symbols and
amounts are found there, and shares of atoms are divided, for all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from matgraft.core.limits import limits
from matgraft.formulas.formula import DIGITS, KNOWN, MAX_ELEMENTS, Formula
from matgraft.formulas.usual import is_usual

Whole = NDArray[np.int64]
_SYMBOLS, _LETTERS = 128, 27
"""Above any atomic number; letters, with a place for none."""


def read_usual(texts: Sequence[str]) -> list[Formula | None]:
    """Read formulas of elements and small whole amounts; None stands for every other text."""
    found: list[Formula | None] = [None] * len(texts)
    longest = limits().formula_characters
    rows = [i for i, text in enumerate(texts) if len(text) <= longest and is_usual(text)]
    for i, numbers, shares in _compositions([texts[i] for i in rows]) if rows else ():
        found[rows[i]] = Formula(numbers, shares, texts[rows[i]])
    return found


def _compositions(texts: Sequence[str]) -> Iterator[tuple[int, tuple[int, ...], tuple[float, ...]]]:
    """Yield place, atomic numbers and shares of each usual text whose symbols are all known."""
    rows, numbers, amounts = _atoms(texts)
    strange = np.zeros(len(texts), bool)
    strange[rows[numbers == 0]] = True
    rows, numbers, amounts = _summed(rows, numbers, amounts)
    starts = np.searchsorted(rows, np.arange(len(texts) + 1))
    totals = np.add.reduceat(amounts, starts[:-1])
    shares = _divided(amounts * 10**DIGITS, totals[rows]) / 10**DIGITS
    strange[rows[shares == 0]] = True
    strange |= np.diff(starts) > MAX_ELEMENTS
    ends, every_number, every_share = starts.tolist(), numbers.tolist(), shares.tolist()
    for i in np.flatnonzero(~strange).tolist():
        start, end = ends[i], ends[i + 1]
        yield i, tuple(every_number[start:end]), tuple(every_share[start:end])


def _atoms(texts: Sequence[str]) -> tuple[Whole, Whole, Whole]:
    """Return for every symbol of every text, as they stand: which text, atomic number (0: no element), amount."""
    characters = np.frombuffer("".join(texts).encode("ascii") + bytes(4), np.uint8).astype(np.int64)
    is_digit, is_small = (characters >= ord("0")) & (characters <= ord("9")), characters >= ord("a")
    at = np.flatnonzero((characters >= ord("A")) & ~is_small)
    second = np.where(is_small[at + 1], characters[at + 1] - ord("a") + 1, 0)
    numbers = _by_letters()[(characters[at] - ord("A")) * _LETTERS + second]
    digit, amounts = at + 1 + is_small[at + 1], np.zeros(len(at), np.int64)
    for _ in range(3):  # an amount has at most three digits
        more = is_digit[digit]
        amounts = np.where(more, 10 * amounts + (characters[digit] - ord("0")), amounts)
        digit += more
    ends = np.cumsum([len(text) for text in texts])
    return np.searchsorted(ends, at, side="right"), numbers, np.where(amounts > 0, amounts, 1)


def _summed(rows: Whole, numbers: Whole, amounts: Whole) -> tuple[Whole, Whole, Whole]:
    """Return the same by text and atomic number, each element once."""
    keys = rows * _SYMBOLS + numbers
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[first] // _SYMBOLS, keys[first] % _SYMBOLS, np.add.reduceat(amounts[order], first)


def _divided(numbers: Whole, by: Whole) -> Whole:
    """Return quotients rounded to whole numbers, half to even (`usual.rounded_shares`)."""
    whole, rest = np.divmod(numbers, by)
    return whole + ((2 * rest > by) | ((2 * rest == by) & (whole % 2 == 1)))


@cache
def _by_letters() -> Whole:
    """Return the atomic number of each pair of letters, 0 where it is no element."""
    table = np.zeros(26 * _LETTERS, np.int64)
    for symbol, number in KNOWN.items():
        table[(ord(symbol[0]) - ord("A")) * _LETTERS + (ord(symbol[1]) - ord("a") + 1 if symbol[1:] else 0)] = number
    return table

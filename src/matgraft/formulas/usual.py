"""Formulas of elements and small whole amounts, as nearly all are: ``Fe2O3`` is read twenty times as fast as the rest.

    usual_amounts("Fe2O3", {"Fe": 26, "O": 8})     # {26: 2, 8: 3}
    usual_amounts("Fe2(SO4)3", ...)                # None: `matgraft.formulas.formula` walks over it

What could be doubted is none: a zero where no oxygen stands, the name of a material, ``SIO2``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from matgraft.formulas.aliases import alias

_USUAL = re.compile(r"(?:[A-Z][a-z]?(?:[1-9][0-9]{0,2})?)+")
_PAIR = re.compile(r"([A-Z][a-z]?)([0-9]*)")
_OXYGEN = re.compile(r"O(?![a-z])")
_ZERO = re.compile(r"[2-9]0")
"""Which may stand for the letter O, as in Fe203 and Fe20; 10 and 105 do not."""
_DOUBTED = re.compile(r"SI|II|IV(?![a-z])|^(?:SS|AISI|SUS|UNS|EN|DIN|ASTM)")
"""Where doubts begin that need a closer look (`matgraft.formulas.doubtful`)."""


def usual_amounts(text: str, known: Mapping[str, int]) -> dict[int, int] | None:
    """Return amounts by atomic number of a formula without brackets, signs and doubts; None of any other text.

    Parameters
    ----------
    known
        Symbol -> atomic number.
    """
    if not is_usual(text):
        return None
    amounts: dict[int, int] = {}
    for symbol, amount in _PAIR.findall(text):
        Z = known.get(symbol)
        if Z is None:
            return None
        amounts[Z] = amounts.get(Z, 0) + (int(amount) if amount else 1)
    return amounts


def is_usual(text: str) -> bool:
    """Say whether a text has the form of a usual formula, without what could be doubted; its symbols may be none."""
    if _USUAL.fullmatch(text) is None or _DOUBTED.search(text) is not None or alias(text) is not None:
        return False
    return _ZERO.search(text) is None or _OXYGEN.search(text) is not None


def rounded_shares(amounts: Mapping[int, int], digits: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return atomic numbers, ascending, and their shares, rounded once from exact numbers, half to even."""
    numbers = tuple(sorted(amounts))
    return numbers, _shares(tuple(amounts[Z] for Z in numbers), digits)


@lru_cache(maxsize=2**14)
def _shares(amounts: tuple[int, ...], digits: int) -> tuple[float, ...]:
    """Return shares of amounts, of which a table has few different ones."""
    total, scale = sum(amounts), 10**digits
    return tuple(_divided(amount * scale, total) / scale for amount in amounts)


def _divided(number: int, by: int) -> int:
    """Return a quotient rounded to a whole number, half to even."""
    whole, rest = divmod(number, by)
    return whole + (2 * rest > by or (2 * rest == by and whole % 2 == 1))

"""Plain dots between two parts of a formula: a decimal point, or the dot of an adduct.

``CuSO4.5H2O`` is CuSO4·5H2O to one reader and 4.5 oxygen atoms to another. A dot has two readings where

1. a whole number that does not begin with 0 follows it, and what stands before it is not 0: ``Fe0.5`` is an amount;
2. a part of whole amounts follows: water, ammonia or an organic molecule behind anything, or a compound or a molecule
   of one element (``S8``, ``C60``) behind another one of these: ``C60.2C6H6``, ``CHI3.3S8``, ``C60.2CS2``.

So ``Fe0.5Ni0.5``, ``La1.85Sr0.15CuO4``, ``Li.5CoO2``, ``K2.5C60`` and ``Li1.5Al0.5Ge1.5P3O12`` are decimals: no such
part stands before the dot, or none behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from ase.data import atomic_numbers

Amounts = Mapping[int, Fraction]
Read = Callable[[str], Amounts | None]
"""A formula -> amounts by atomic number, or None if it is none."""
PLAIN_DOT = re.compile(r"(\d*)\.([1-9]\d{0,2})(?![\d.]|[eE][+-]?\d)")
"""An amount whose dot may stand before a multiplier; nobody writes one of four digits."""


def _ratio(**amounts: int) -> frozenset[tuple[int, Fraction]]:
    return _fractions({atomic_numbers[symbol]: Fraction(n) for symbol, n in amounts.items()})


def _fractions(amounts: Amounts) -> frozenset[tuple[int, Fraction]]:
    total = sum(amounts.values())
    return frozenset((Z, amount / total) for Z, amount in amounts.items())


_LIGANDS = {_ratio(H=2, O=1), _ratio(N=1, H=3)}
"""Parts that are added to anything, metals too."""
_NONMETALS = {
    atomic_numbers[symbol] for symbol in ("H", "C", "N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I")
}
_ANIONS = _NONMETALS - {atomic_numbers["H"], atomic_numbers["C"]}
_MOLECULES = {
    _ratio(S=1, O=2), _ratio(S=1, O=3), _ratio(Se=1, O=2), _ratio(Te=1, O=2),
    _ratio(Te=1, O=3), _ratio(N=1, O=2), _ratio(N=2, O=5), _ratio(P=2, O=5), _ratio(As=2, O=3), _ratio(As=2, O=5),
    _ratio(P=1, Cl=3), _ratio(P=1, Cl=5), _ratio(P=1, O=1, Cl=3), _ratio(I=1, Cl=1), _ratio(I=1, Cl=3),
    _ratio(Br=1, F=3), _ratio(I=1, F=5), _ratio(P=1, F=5), _ratio(As=1, F=5), _ratio(As=1, F=3), _ratio(S=1, F=4),
}  # fmt: skip
"""Molecules of anions alone; other groups of anions are no part of their own."""
_OF_ONE_ELEMENT = [{atomic_numbers[symbol]: n} for symbol, n in (("Br", 2), ("I", 2), ("P", 4), ("S", 8))]
"""Molecules of one element that are parts of adducts; others are fullerenes."""
_SMALLEST_FULLERENE = 60
_MANY = 100
"""Organic molecules beside an element: ``Al1.333P2H6C2O6`` is a decimal."""
_HYDROGEN, _CARBON = atomic_numbers["H"], atomic_numbers["C"]


def may_multiply(before: str, amount: re.Match[str], behind: str, read: Read) -> bool:
    """Say whether a plain dot may be that of an adduct.

    Parameters
    ----------
    before
        From the beginning of the part up to the amount.
    amount
        The match of `PLAIN_DOT`.
    behind
        What follows the amount, up to the end of the part.
    """
    whole, multiplier = amount.groups()
    if whole and not int(whole):
        return False
    left, right = read(before + whole), read(behind.partition(".")[0])
    if left is None or right is None or any(not n or n.denominator > 1 for n in right.values()):
        return False
    return _is_part(right, left, int(multiplier))


def _is_part(right: Amounts, left: Amounts, multiplier: int) -> bool:
    ratio = _fractions(right)
    if ratio in _LIGANDS:
        return True
    if multiplier == 1:  # nobody writes it
        return False
    if _is_organic(right) and multiplier < _MANY:
        return True
    if not (_is_compound(left) or _is_of_one_element(left)):
        return False
    if _is_of_one_element(right):
        return True
    return ratio in _MOLECULES if set(right) <= _ANIONS else _is_compound(right)


def _is_organic(amounts: Amounts) -> bool:
    return {_HYDROGEN, _CARBON} <= set(amounts) <= _NONMETALS


def _is_of_one_element(amounts: Amounts) -> bool:
    fullerene = set(amounts) == {_CARBON} and amounts[_CARBON] >= _SMALLEST_FULLERENE
    return fullerene or dict(amounts) in _OF_ONE_ELEMENT


def _is_compound(amounts: Amounts) -> bool:
    return len(amounts) > 1 and not _NONMETALS.isdisjoint(amounts)

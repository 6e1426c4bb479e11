"""Alloys as metallurgists write them: ``Ti-6Al-4V``, ``60Cu-40Zn``, ``Cu-Zn30``; by weight or by atoms must be said.

    alloy = find_alloy("Ti-6Al-4V")       # Alloy(amounts={"Ti": None, "Al": 6, "V": 4})
    alloy.formula("wt%")                  # "Ti0.862...Al0.102...V0.036..."

Also the arithmetic of weight and atomic per cent, which tables with a column an element use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ase.data import atomic_masses, atomic_numbers

from matgraft.formulas.notation import ANY_HYPHEN

Basis = Literal["at%", "wt%"]
BASES: tuple[Basis, ...] = ("at%", "wt%")
_NUMBER = r"(\d{1,3}(?:\.\d{1,6})?)"
_BEFORE = re.compile(rf"(?:{_NUMBER})?\s?([A-Z][a-z]?)")
_BEHIND = re.compile(rf"([A-Z][a-z]?)\s?(?:{_NUMBER})?")
_GLUED = re.compile(r"(?:[A-Z][a-z]?(?:\d{1,3}(?:\.\d{1,6})?)?){2,}")
_STATED = re.compile(
    r"[\s,(\[]{0,4}(?:in\s)?(wt|at|mol|mass|weight|atomic)\s?\.?\s?(?:%|pct|percent|per cent)[)\]]?$", re.IGNORECASE
)
_PARTS = re.compile(rf"(?<!\s)\s*+[{ANY_HYPHEN}]\s*+")
HUNDRED, SLACK = 100.0, 0.5
"""What the amounts of an alloy come to, and how far rounded ones may be from it."""


@dataclass(frozen=True)
class Alloy:
    """An alloy by the amounts of its elements, of which one may be the balance.

    Attributes
    ----------
    amounts
        Symbol -> per cent; None for the balance.
    basis
        What the text itself says of them; None where it does not.
    """

    amounts: Mapping[str, float | None]
    basis: Basis | None = None

    @property
    def has_amounts(self) -> bool:
        """True if every element but the balance has an amount."""
        return sum(amount is None for amount in self.amounts.values()) <= (len(self.amounts) > 1)

    def formula(self, basis: Basis) -> str:
        """Return a formula with atomic shares of the alloy, read by a basis."""
        rest = HUNDRED - sum(amount or 0.0 for amount in self.amounts.values())
        whole = {symbol: rest if amount is None else amount for symbol, amount in self.amounts.items()}
        return formula_of(whole if basis == "at%" else by_atoms(whole))


def by_atoms(weights: Mapping[str, float]) -> dict[str, float]:
    """Return relative numbers of atoms from weights of elements, by standard atomic masses (ASE)."""
    return {symbol: weight / float(atomic_masses[atomic_numbers[symbol]]) for symbol, weight in weights.items()}


def formula_of(amounts: Mapping[str, float]) -> str:
    """Return a formula with per cent of atoms; what is less than 1e-9 of the whole is left out."""
    total = sum(amounts.values())
    parts = {symbol: HUNDRED * amount / total for symbol, amount in amounts.items()}
    return "".join(f"{symbol}{_written(part)}" for symbol, part in parts.items() if round(part, 7) > 0)


def _written(part: float) -> str:
    """Return an amount with four decimals or more, or none: its dot is that of no adduct."""
    text = f"{round(part, 7):.10g}"
    whole, dot, decimals = text.partition(".")
    return whole + dot + decimals.ljust(4 if dot else 0, "0")


def find_alloy(text: str) -> Alloy | None:
    """Return an alloy of elements that hyphens join, or None if the text is none."""
    stated = _STATED.search(text)
    basis: Basis | None = None
    if stated:
        basis = "wt%" if stated[1].lower() in ("wt", "mass", "weight") else "at%"
        text = text[: stated.start()]
    parts = _PARTS.split(text.strip())
    if len(parts) < 2 and basis and _GLUED.fullmatch(parts[0]):  # Fe50Ni50 (at.%)
        parts = [part[0] for part in _BEHIND.finditer(parts[0])]
    if len(parts) < 2:
        return None
    for pattern, symbol, number in ((_BEFORE, 2, 1), (_BEHIND, 1, 2)):
        found = [pattern.fullmatch(part) for part in parts]
        pairs = [(match[symbol], float(match[number]) if match[number] else None) for match in found if match]
        if len(pairs) == len(parts) and all(atomic_numbers.get(name) for name, _ in pairs):
            return _alloy(pairs, basis)
    return None


def _alloy(pairs: list[tuple[str, float | None]], basis: Basis | None) -> Alloy | None:
    """Return an alloy if no element comes twice and the amounts leave room for the balance, or come to 100."""
    amounts = dict(pairs)
    total = sum(amount or 0.0 for amount in amounts.values())
    has_balance = any(amount is None for amount in amounts.values())
    fits = total < HUNDRED if has_balance else abs(total - HUNDRED) <= SLACK
    return Alloy(amounts, basis) if len(amounts) == len(pairs) and fits else None

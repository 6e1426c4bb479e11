"""Compositions that are made of elements: whole numbers of atoms, balanced in charge.

    made, facts = Compositions(elements=("Li", "Fe", "P", "O")).make()

Balanced means that some choice of oxidation states that occur in the ICSD, one an element, adds up to zero
(`matgraft.formulas.valence`). So a compound of an element in two states, such as Fe3O4, is not made; nor is an alloy,
whose charges need not balance: `charge="any"` makes every composition.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import combinations
from math import comb, gcd
from typing import Literal

import numpy as np
from ase.data import atomic_numbers
from pydantic import Field

from matgraft.core.errors import OptionError, nearest
from matgraft.core.frozen import Frozen
from matgraft.formulas.formula import Formula, parse_formula
from matgraft.formulas.report.suggested import Made
from matgraft.formulas.valence import elements as known_elements
from matgraft.formulas.valence import nearest_charge

MOST_CANDIDATES = 20_000
"""Candidates of one question: features and predictions of so many take about a minute."""
MOST_TRIED = 200_000
"""Compositions whose charges are added up: some seconds."""
FEWEST_ELEMENTS = 2
ROUNDING = 1e-6
"""Charge by atom that counts as none; the least other one, of whole numbers of 40 atoms, is 1/40."""


class Compositions(Frozen):
    """Which compositions are made: every ratio of whole numbers of some of the elements.

    Attributes
    ----------
    most_elements
        In one composition; the fewest are two.
    most_atoms
        In its smallest formula.
    charge
        ``balanced``, or ``any``.
    """

    elements: tuple[str, ...]
    most_elements: int = Field(4, ge=FEWEST_ELEMENTS, le=8)
    most_atoms: int = Field(12, ge=2, le=40)
    charge: Literal["balanced", "any"] = "balanced"

    def make(self) -> tuple[list[Formula], Made]:
        """Return the compositions, and how many were tried.

        Raises
        ------
        OptionError
            If an element is unknown, there are fewer than two or too many, or no composition balances.
        """
        symbols = self._by_electronegativity()
        tried = self.count(len(symbols))
        most = MOST_CANDIDATES if self.charge == "any" else MOST_TRIED
        if tried > most:
            raise self._too_many(len(symbols), tried, most)
        found = [parse_formula(text, is_spelled=True) for text in self._texts(symbols)]
        if not found:
            raise OptionError(
                f"none of {tried:,} compositions of {', '.join(symbols)} balances in charge",
                remedy="add an element that takes electrons, such as O; charges of alloys need not balance",
                options=[{"--charge": "any"}],
            )
        if len(found) > MOST_CANDIDATES:
            raise self._too_many(len(symbols), len(found), MOST_CANDIDATES)
        balanced = len(found) if self.charge == "balanced" else None
        return found, Made(elements=symbols, tried=tried, balanced=balanced)

    def count(self, n: int) -> int:
        """Return how many compositions of n elements there are to try, or a number above `MOST_TRIED`."""
        total = 0
        for k in range(FEWEST_ELEMENTS, min(self.most_elements, n) + 1):
            choices = comb(n, k)
            total += choices * len(amounts(k, self.most_atoms, MOST_TRIED // choices))
            if total > MOST_TRIED:
                break
        return total

    def _too_many(self, n: int, found: int, most: int) -> OptionError:
        """Return the error, with limits that leave few enough, where there are any."""
        few, options = min(most, MOST_CANDIDATES), []
        for name in ("most_elements", "most_atoms"):
            smaller = range(FEWEST_ELEMENTS, getattr(self, name))

            def count(limit: int, name: str = name) -> int:
                return self.model_copy(update={name: limit}).count(n)

            enough = bisect_right(smaller, few, key=count)
            options += [{f"--{name.replace('_', '-')}": smaller[enough - 1]}] if enough else []
        more = "" if found <= MOST_TRIED else "more than "
        return OptionError(
            f"{more}{min(found, MOST_TRIED):,} compositions of these elements",
            where="--elements",
            allowed=[f"{most:,}"],
            remedy="name fewer elements, or fewer in one composition",
            options=options,
        )

    def _by_electronegativity(self) -> tuple[str, ...]:
        """Return the elements, each once, in the order of a formula."""
        known = {symbol: Z for symbol, Z in atomic_numbers.items() if 1 <= Z <= 118}
        for symbol in self.elements:
            if symbol not in known:
                raise OptionError(
                    f"{symbol!r} is not an element",
                    where="--elements",
                    allowed=["symbols, such as Fe,Ni,O"],
                    remedy=nearest(symbol, known),
                )
        distinct = dict.fromkeys(self.elements)
        if len(distinct) < FEWEST_ELEMENTS:
            raise OptionError(
                f"{len(distinct)} element is named", where="--elements", allowed=[f"{FEWEST_ELEMENTS} and more"]
            )
        X = known_elements().electronegativity
        return tuple(sorted(distinct, key=lambda symbol: (X[known[symbol]], known[symbol])))

    def _texts(self, symbols: tuple[str, ...]) -> Iterator[str]:
        """Yield formulas of the compositions that are wanted."""
        states = known_elements().icsd
        for k in range(FEWEST_ELEMENTS, min(self.most_elements, len(symbols)) + 1):
            ratios = amounts(k, self.most_atoms, MOST_TRIED)
            for chosen in combinations(symbols, k):
                own = [states[atomic_numbers[symbol]] for symbol in chosen]
                for counts in ratios:
                    if self.charge == "any" or nearest_charge(np.array(counts) / sum(counts), own) < ROUNDING:
                        yield "".join(s + (str(c) if c > 1 else "") for s, c in zip(chosen, counts, strict=True))


def amounts(k: int, most_atoms: int, limit: int) -> list[tuple[int, ...]]:
    """Return the smallest whole numbers of atoms of k elements, at most `most_atoms` in all; no more than limit + 1."""
    found: list[tuple[int, ...]] = []
    for cuts in combinations(range(1, most_atoms + 1), k):  # the last cut is the number of atoms
        counts = tuple(b - a for a, b in zip((0, *cuts), cuts, strict=False))
        if gcd(*counts) == 1:
            found.append(counts)
        if len(found) > limit:
            break
    return found

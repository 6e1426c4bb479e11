"""Formulas: text in, elements and atomic fractions out; the order of writing and the scale do not matter.

    parse_formula("Fe2O3") == parse_formula("O3Fe2") == parse_formula("Fe4O6")

Understood: every element, D and T (hydrogen), brackets ``()[]{}`` in any depth, fractional and tiny amounts (``1e-4``),
hydrates (``CuSO4·5H2O``), subscripts (``Fe₂O₃``), spaces. An amount of 0 leaves an element out. Anything else is an
error that names the character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ase.data import atomic_numbers, chemical_symbols

from matgraft.errors import DataError, nearest

MAX_ELEMENTS = 30
_HYDROGEN = {"D": 1, "T": 1}
_OPEN, _CLOSE = "([{", ")]}"
_DOTS = "·•⋅∙*"
_AMOUNT = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_SYMBOL = re.compile(r"[A-Z][a-z]?")
_UNDOTTED = re.compile(r"\d\.\d+H2O$")
_KNOWN = {symbol: Z for symbol, Z in atomic_numbers.items() if 1 <= Z <= 118} | _HYDROGEN


class FormulaError(DataError):
    """A text is no formula.

    Attributes
    ----------
    position
        The character at fault, from 0.
    """

    def __init__(self, text: str, position: int, found: str, remedy: str = "") -> None:
        self.text, self.position = text, position
        super().__init__(found, where=f"{text!r} character {position + 1}", remedy=remedy)


@dataclass(frozen=True, slots=True)
class Formula:
    """A composition: elements with their atomic fractions. Equality and hash ignore how it was written.

    Attributes
    ----------
    numbers
        Atomic numbers, ascending.
    fractions
        Atomic fractions, > 0, sum 1, rounded to 1e-9.
    text
        As it was written.
    stated_class
        What a prompt called it (`matgraft.data.prompt_text`); empty where none did.
    """

    numbers: tuple[int, ...]
    fractions: tuple[float, ...]
    text: str = field(default="", compare=False)
    stated_class: str = field(default="", compare=False)

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self.numbers)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols, by atomic number."""
        return tuple(chemical_symbols[Z] for Z in self.numbers)

    @property
    def chemical_system(self) -> str:
        """The elements in alphabetical order: ``"Fe-O"``."""
        return "-".join(sorted(self.symbols))

    @property
    def reduced(self) -> str:
        """A formula of small whole numbers where there is one, else of fractions: ``"Fe2O3"``."""
        amounts: Sequence[object] = _whole(self.fractions) or [f"{x:.9f}".rstrip("0") for x in self.fractions]
        return "".join(s + ("" if str(n) == "1" else str(n)) for s, n in zip(self.symbols, amounts, strict=True))

    @property
    def unit_atoms(self) -> int | None:
        """Atoms of the formula in small whole numbers; None where there are none."""
        amounts = _whole(self.fractions)
        return sum(amounts) if amounts else None

    @property
    def key(self) -> str:
        """What equal formulas share, however they are written."""
        return f"{self.numbers}{self.fractions}"

    def __str__(self) -> str:
        """Return the text as it was written, else the reduced formula."""
        return self.text or self.reduced


def parse_formula(text: str) -> Formula:
    """Read a formula.

    Raises
    ------
    FormulaError
        If it cannot be understood, names no element, or has more than 30 of them; with the character at fault.
    """
    if match := _UNDOTTED.search(text):
        meant = "a hydrate is written with a dot, CuSO4·5H2O; an amount with brackets, (CuSO4.5)(H2O)"
        raise FormulaError(text, match.start() + 1, "a decimal amount before H2O may be a hydrate's dot", meant)
    amounts = _Reader(text).formula()
    total = sum(amounts.values())
    present = sorted(Z for Z, amount in amounts.items() if amount > 0)
    if not present:
        raise FormulaError(text, 0, "there is no element with an amount above 0", "write one, such as Fe2O3")
    if len(present) > MAX_ELEMENTS:
        raise FormulaError(text, 0, f"{len(present)} elements; at most {MAX_ELEMENTS} are taken")
    return Formula(tuple(present), tuple(round(amounts[Z] / total, 9) for Z in present), text.strip())


class _Reader:
    """One walk over the characters; brackets call it again."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.plain = "".join(_plain(character) for character in text)

    def formula(self) -> dict[int, float]:
        """Parts joined by the dot of hydrates, each with a factor before it."""
        total: dict[int, float] = {}
        while True:
            self._skip()
            factor = self._amount() if self.at else 1.0
            _add(total, self._group(closing=""), factor)
            if self.at >= len(self.plain):
                return total
            self.at += 1  # the dot

    def _group(self, closing: str) -> dict[int, float]:
        """Elements and brackets up to `closing`, or, outside brackets, up to a dot or the end."""
        found: dict[int, float] = {}
        start = self.at
        while self._skip() < len(self.plain):
            character = self.plain[self.at]
            if character in _CLOSE or (character in _DOTS and not closing):
                break
            if character in _OPEN:
                self.at += 1
                inner = self._group(_CLOSE[_OPEN.index(character)])
                _add(found, inner, self._amount())
            else:
                Z = self._element()
                _add(found, {Z: 1.0}, self._amount())
        self._check_end(closing, start)
        if not found:
            raise FormulaError(self.text, min(start, max(0, len(self.text) - 1)), "there is no element here")
        return found

    def _check_end(self, closing: str, start: int) -> None:
        here = self.plain[self.at] if self.at < len(self.plain) else ""
        if closing and here != closing:
            raise FormulaError(self.text, max(0, start - 1), f"this bracket is not closed by {closing!r}")
        if not closing and here and here in _CLOSE:
            raise FormulaError(self.text, self.at, f"the bracket {here!r} was never opened")
        self.at += bool(closing)

    def _element(self) -> int:
        match = _SYMBOL.match(self.plain, self.at)
        if match is None:
            raise self._unexpected()
        symbol = match.group()
        if symbol not in _KNOWN and symbol[0] in _KNOWN:
            raise FormulaError(self.text, self.at + 1, f"{symbol[1]!r} belongs to no element or amount", _hint(symbol))
        if symbol not in _KNOWN:
            raise FormulaError(self.text, self.at, f"{symbol!r} is no element", _hint(symbol))
        self.at = match.end()
        return _KNOWN[symbol]

    def _amount(self) -> float:
        self._skip()
        match = _AMOUNT.match(self.plain, self.at)
        if match is None:
            return 1.0
        self.at = match.end()
        return float(match.group())

    def _skip(self) -> int:
        while self.at < len(self.plain) and self.plain[self.at].isspace():
            self.at += 1
        return self.at

    def _unexpected(self) -> FormulaError:
        character = self.text[self.at]
        if character in "-−–+":
            return FormulaError(self.text, self.at, f"{character!r}: amounts are positive numbers without a sign")
        if character.isdigit() or character == ".":
            return FormulaError(self.text, self.at, f"the number {character!r} follows no element")
        return FormulaError(self.text, self.at, f"{character!r} belongs to no element or amount", _hint(character))


def _plain(character: str) -> str:
    """Turn a subscript digit into a digit; one character stays one, so that positions hold."""
    if "SUBSCRIPT" in unicodedata.name(character, ""):
        return unicodedata.normalize("NFKC", character)[:1]
    return character


def _hint(symbol: str) -> str:
    lower = symbol.capitalize()
    return f"symbols begin with a capital: {lower}" if lower in _KNOWN and lower != symbol else nearest(symbol, _KNOWN)


def _add(total: dict[int, float], part: Mapping[int, float], factor: float) -> None:
    for Z, amount in part.items():
        total[Z] = total.get(Z, 0.0) + amount * factor


def _whole(fractions: tuple[float, ...], largest: int = 200) -> list[int] | None:
    """Return the smallest whole numbers in the ratio of `fractions`, or None where they would pass `largest`."""
    smallest = min(fractions)
    ratios = [Fraction(x / smallest).limit_denominator(20) for x in fractions]
    scale = 1
    for ratio in ratios:
        scale = scale * ratio.denominator // _gcd(scale, ratio.denominator)
    counts = [int(ratio * scale) for ratio in ratios]
    total = sum(counts)
    if max(counts) > largest or any(abs(n / total - x) > 1e-8 for n, x in zip(counts, fractions, strict=True)):
        return None
    return counts


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a

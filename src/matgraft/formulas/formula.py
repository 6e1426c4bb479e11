"""Formulas: text in, elements and atomic fractions out; the order of writing and the scale do not matter.

    parse_formula("Fe2O3") == parse_formula("O3Fe2") == parse_formula("Fe4O6")

Understood: every element, D and T (hydrogen), brackets ``()[]{}`` inside one another, fractional and tiny amounts
(``1/3``, ``1e-4``), factors (``3CaO·SiO2``), hydrates and other adducts (``CuSO4·5H2O``, ``CuSO4*5H2O``), subscripts
(``Fe₂O₃``), spaces. An amount of 0 leaves an element out. What is written around a formula and changes no composition
is taken off (`matgraft.formulas.notation`). A plain dot that may be a decimal point or the dot of an adduct is an error
(`matgraft.formulas.plain_dot`), and so is what likely means something else (`matgraft.formulas.doubtful`). Anything
else is an error that names the character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from math import lcm

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from matgraft.core.errors import DataError, nearest
from matgraft.core.limits import limits
from matgraft.formulas.alloys import Alloy, find_alloy
from matgraft.formulas.doubtful import Doubt, doubt_before, doubt_of
from matgraft.formulas.notation import DOTS, Dropped, Written, clean
from matgraft.formulas.plain_dot import PLAIN_DOT, may_multiply
from matgraft.formulas.usual import rounded_shares, usual_amounts

MAX_ELEMENTS = 30
DIGITS = 9
"""Decimal places of atomic fractions."""
LONGEST_SHOWN = 100
"""Characters of a text that an error repeats."""
LARGEST_POWER = 30
"""Of ten, in an amount."""
_HYDROGEN = {"D": 1, "T": 1}
_OPEN, _CLOSE = "([{", ")]}"
_DOTS = DOTS
_AMOUNT = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d+))?")
_SYMBOL = re.compile(r"[A-Z][a-z]?")
_ADDUCT = "an adduct has a raised dot or a star between its parts: CuSO4·5H2O, CuSO4*5H2O"
_DOTS_OF_A_NUMBER = re.compile(r"\.?\s*+\d*+\s*+\.?\s*+$")
_MULTIPLE_BY_A_FRACTION = re.compile(rf"([^{_DOTS}]+?)[.{_DOTS}]\s*(\d+)/([1-9]\d*)([^{_DOTS}]+)")
_FRACTION = re.compile(r"(\d+)/([1-9]\d*)")
_AMOUNT_BY_A_FRACTION = re.compile(r"(\d{1,9})/([1-9]\d{0,8})(?![\d.])")
_BEHIND_A_DOT = re.compile(r"\s*[A-Z(\[{]")
_CHARGE = re.compile(r"\^?\{?\d*[-−–+]\d*\}?\s*")
KNOWN = {symbol: Z for symbol, Z in atomic_numbers.items() if 1 <= Z <= 118} | _HYDROGEN


class FormulaError(DataError):
    """A text is no formula.

    Attributes
    ----------
    position
        The character at fault, from 0.
    likely
        Readable formulas that may be meant, the likeliest first.
    alloy
        An alloy whose amounts are by weight or by atoms.
    """

    likely: tuple[str, ...] = ()
    alloy: Alloy | None = None

    def __init__(self, text: str, position: int, found: str, remedy: str = "") -> None:
        self.text, self.position = text, position
        shown = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
        super().__init__(found, where=f"{shown!r} character {position + 1}", remedy=remedy)

    @classmethod
    def doubting(cls, text: str, doubt: Doubt) -> FormulaError:
        """Return the error of a text that likely means something else."""
        error = cls(text, doubt.position, doubt.found, doubt.remedy)
        error.likely, error.alloy = doubt.likely, doubt.alloy
        return error


@dataclass(frozen=True, slots=True)
class Formula:
    """A composition: elements with their atomic fractions. Equality and hash ignore how it was written.

    Attributes
    ----------
    numbers
        Atomic numbers, ascending.
    fractions
        Atomic fractions, sum 1, rounded to 1e-9, none of them 0.
    text
        As it was written.
    stated_class
        What a prompt called it (`matgraft.formulas.prompts.text`); empty where none did.
    own_class
        The user's own class that it belongs to, such as a laboratory, by its token; empty where it has none.
    dropped
        What was taken off the text, since it changes no composition.
    """

    numbers: tuple[int, ...]
    fractions: tuple[float, ...]
    text: str = field(default="", compare=False)
    stated_class: str = field(default="", compare=False)
    own_class: str = field(default="", compare=False)
    dropped: tuple[Dropped, ...] = field(default=(), compare=False)

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
        return _unit_atoms(self.fractions)

    @property
    def key(self) -> str:
        """What equal formulas share, however they are written."""
        return f"{self.numbers}{self.fractions}"

    def __str__(self) -> str:
        """Return the text as it was written, else the reduced formula."""
        return self.text or self.reduced


def parse_formula(text: str, *, is_spelled: bool = False) -> Formula:
    """Read a formula.

    Parameters
    ----------
    is_spelled
        True for the text of a program, which spells elements right: ``K2SIO7`` is then sulfur and iodine. What people
        type likely means something else there, and is refused.

    Raises
    ------
    FormulaError
        If it cannot be understood, names no element, or has more than 30 of them; with the character at fault.
    """
    if usual := _usual(text):
        return usual
    if len(text) > (longest := limits().formula_characters):
        raise FormulaError(text, longest, f"{len(text)} characters; at most {longest} are read")
    written = clean(text, _amounts)
    if (alloy := find_alloy(written.text)) and alloy.basis and alloy.has_amounts:
        written = Written(alloy.formula(alloy.basis), (*written.dropped, "alloy notation"))
    amounts = _read(written.text, is_spelled)
    total = sum(amounts.values())
    present = sorted(Z for Z, amount in amounts.items() if amount > 0)
    if not present:
        raise FormulaError(text, 0, "there is no element with an amount above 0", "write one, such as Fe2O3")
    if len(present) > MAX_ELEMENTS:
        raise FormulaError(text, 0, f"{len(present)} elements; at most {MAX_ELEMENTS} are taken")
    # Rounded once, from exact numbers: neither the order of the elements nor the scale decides a tie.
    fractions = tuple(float(round(amounts[Z] / total, DIGITS)) for Z in present)
    if not all(fractions):
        lost = chemical_symbols[present[fractions.index(0.0)]]
        raise FormulaError(
            text, 0, f"less than {10**-DIGITS:g} of the atoms are {lost}", "leave it out, or give it more"
        )
    dropped = written.dropped if len(present) == len(amounts) else (*written.dropped, "elements of amount 0")
    return Formula(tuple(present), fractions, text.strip(), dropped=dropped)


@lru_cache(maxsize=2**15)
def _usual(text: str) -> Formula | None:
    """Return a formula of the usual kind; a table is read more than once, and names a formula often."""
    if len(text) > limits().formula_characters:
        return None
    amounts = usual_amounts(text, KNOWN)
    if amounts is None or len(amounts) > MAX_ELEMENTS:
        return None
    numbers, shares = rounded_shares(amounts, DIGITS)
    return Formula(numbers, shares, text) if all(shares) else None


def _read(text: str, is_spelled: bool) -> dict[int, Fraction]:
    """Return the amounts of a text without anything around it; doubts are errors."""
    if not is_spelled and (doubt := doubt_before(text, _amounts)):
        raise FormulaError.doubting(text, doubt)
    reader = _Reader(text)
    try:
        amounts = reader.formula()
    except FormulaError:
        if doubt := doubt_of(text, _amounts):
            raise FormulaError.doubting(text, doubt) from None
        raise
    reader.refuse_open_dots()
    return amounts


class _Reader:
    """One walk over the characters; brackets call it again."""

    def __init__(self, text: str, *, suggests: bool = True) -> None:
        self.text, self.at, self.suggests = text, 0, suggests
        self.plain = text if text.isascii() else "".join(_plain(character) for character in text)
        self.depth = 0
        self.dotted: list[tuple[int, int]] = []
        """Where a part begins, and where an amount with a plain dot stands in it."""

    def formula(self, closing: str = "") -> dict[int, Fraction]:
        """Parts joined by the dot of adducts, each with a factor before it, up to `closing` or the end."""
        total: dict[int, Fraction] = {}
        opened = self.at
        self.depth += 1
        if self.depth > (most := limits().formula_nesting):
            raise FormulaError(self.text, self.at, f"more than {most} brackets inside one another")
        while True:
            factor = self._amount()
            _add(total, self._part(), factor)
            if not self._at_a_dot():
                self._check_end(closing, opened)
                self.depth -= 1
                return total
            self.at += 1

    def _at_a_dot(self) -> bool:
        """Say whether the dot of an adduct comes next: a raised one, or a plain one that no number follows."""
        here = self.plain[self.at : self.at + 1]
        return bool(here) and (
            here in _DOTS or (here == "." and _BEHIND_A_DOT.match(self.plain, self.at + 1) is not None)
        )

    def refuse_open_dots(self) -> None:
        """Raise a `FormulaError` for a plain dot that may be a decimal point or the dot of an adduct."""
        found = []
        for start, at in self.dotted:
            amount = PLAIN_DOT.match(self.plain, at)
            if amount and may_multiply(self.plain[start:at], amount, self._rest(amount.end()), _amounts):
                found.append((start, amount))
        if not found:
            return
        dots = [amount.end(1) for _, amount in found]
        inserted: list[tuple[int, str]] = []
        for start, amount in found:
            inserted += [(start, "("), (amount.end(), ")")] if amount[1] else [(amount.end(1), "0")]
        raise FormulaError(
            self.text,
            dots[0],
            f"the plain dot has two readings: {found[0][1][2]} times what follows it, or a decimal point",
            f"write {self._dotted(dots, '·')} or {self._dotted(dots, '*')} for the adduct, "
            f"{_with(self.text, inserted).strip()} for the amount",
        )

    def _dotted(self, dots: Sequence[int], sign: str) -> str:
        """Return the text with a sign in the place of plain dots."""
        return "".join(sign if i in dots else character for i, character in enumerate(self.text)).strip()

    def _rest(self, at: int) -> str:
        """Return what follows up to the end of the part: a dot of adducts, or the bracket that encloses it."""
        depth = 0
        for end in range(at, len(self.plain)):
            character = self.plain[end]
            depth += (character in _OPEN) - (character in _CLOSE)
            if depth < 0 or (not depth and character in _DOTS):
                return self.plain[at:end]
        return self.plain[at:]

    def _part(self) -> dict[int, Fraction]:
        """Elements and brackets up to a dot of adducts, a closing bracket or the end."""
        found: dict[int, Fraction] = {}
        start = self._skip()
        while self._skip() < len(self.plain):
            character = self.plain[self.at]
            if character in _CLOSE or (found and self._at_a_dot()):
                break
            if character in _OPEN:
                self.at += 1
                inner = self.formula(_CLOSE[_OPEN.index(character)])
            else:
                inner = {self._element(): Fraction(1)}
            at = self._skip()
            _add(found, inner, self._amount())
            if "." in self.plain[at : self.at]:
                self.dotted.append((start, at))
        if not found:
            raise self._nothing(start)
        return found

    def _nothing(self, start: int) -> FormulaError:
        return FormulaError(self.text, min(start, max(0, len(self.text) - 1)), "there is no element here")

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
        if symbol not in KNOWN and symbol[0] in KNOWN:
            raise FormulaError(self.text, self.at + 1, f"{symbol[1]!r} belongs to no element or amount", _hint(symbol))
        if symbol not in KNOWN:
            raise FormulaError(self.text, self.at, f"{symbol!r} is not an element", _hint(symbol))
        self.at = match.end()
        return KNOWN[symbol]

    def _amount(self) -> Fraction:
        self._skip()
        match = _AMOUNT.match(self.plain, self.at)
        if match is None:
            return Fraction(1)
        if abs(int(match[1] or 0)) > LARGEST_POWER or len(match[0]) > 2 * LARGEST_POWER:
            said = f"the amount {match[0][:20]} is out of range: powers of ten from -{LARGEST_POWER} to {LARGEST_POWER}"
            raise FormulaError(self.text, self.at, said)
        if fraction := _AMOUNT_BY_A_FRACTION.match(self.plain, self.at):
            self.at = fraction.end()
            return Fraction(int(fraction[1]), int(fraction[2]))
        self.at = match.end()
        return Fraction(int(match[0]) if match[0].isdecimal() else match[0])

    def _skip(self) -> int:
        while self.at < len(self.plain) and self.plain[self.at].isspace():
            self.at += 1
        return self.at

    def _unexpected(self) -> FormulaError:
        character, rest = self.text[self.at], self.plain[self.at :]
        remedy = ""
        if _CHARGE.fullmatch(rest) or _is_raised(character):
            found = f"{character!r}: a composition has no charge"
            remedy = "leave the charge out, its number too; amounts are plain digits or subscripts"
        elif character in "-−–+":
            found = f"{character!r}: amounts are positive numbers without a sign"
        elif unicodedata.numeric(character, 1) % 1 or (character == "/" and self.plain[: self.at][-1:].isdigit()):
            found, remedy = f"{character!r}: an amount is a number, not a fraction", self._without_fraction()
        elif character.isdigit() or character == ".":
            found, remedy = f"the number {character!r} follows no element", self._with_a_raised_dot()
        else:
            found, remedy = f"{character!r} belongs to no element or amount", _hint(character)
        return FormulaError(self.text, self.at, found, remedy)

    def _with_a_raised_dot(self) -> str:
        """Return the remedy for a number out of place: a plain dot of it may be that of an adduct."""
        before = self.plain[: self.at + (self.plain[self.at] == ".")]
        if not before.strip() or not self.suggests:
            return ""
        number = _DOTS_OF_A_NUMBER.search(before)
        tail = range(number.start(), number.end()) if number else range(0)
        tried = [self._dotted([at], "·") for at in tail if before[at] == "."]
        return f"write {' or '.join(able)}" if (able := [text for text in tried if _amounts(text)]) else _ADDUCT

    def _without_fraction(self) -> str:
        """Return the remedy for a fraction: multiply the other part, else decimals."""
        parts = _MULTIPLE_BY_A_FRACTION.fullmatch(self.plain.strip())
        whole = f"({parts[1]}){parts[3]}·{parts[2]}{parts[4]}" if parts else ""
        decimal = _FRACTION.sub(lambda part: f"{int(part[1]) / int(part[2]):.9g}", self.plain).strip()
        able = [text for text in (whole, decimal) if text and self.suggests and _amounts(text)]
        return f"write {able[0]}" if able else "write it as a decimal: 0.5 for 1/2"


def padded(formulas: Sequence[Formula]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return atomic numbers (n, L) and atomic fractions (n, L), padded with zeros to the longest formula."""
    lengths = np.array([len(formula.numbers) for formula in formulas], int)
    filled = np.arange(lengths.max(initial=1)) < lengths[:, None]
    numbers, fractions = np.zeros(filled.shape, int), np.zeros(filled.shape)
    numbers[filled] = [Z for formula in formulas for Z in formula.numbers]
    fractions[filled] = [x for formula in formulas for x in formula.fractions]
    return numbers, fractions


def _amounts(text: str) -> dict[int, Fraction] | None:
    try:
        return _Reader(text, suggests=False).formula()
    except FormulaError:
        return None


def _with(text: str, inserted: Sequence[tuple[int, str]]) -> str:
    """Return the text with characters put before those at their positions."""
    for at, what in sorted(inserted, reverse=True):
        text = text[:at] + what + text[at:]
    return text


def _is_raised(character: str) -> bool:
    return "SUPERSCRIPT" in unicodedata.name(character, "")


def _plain(character: str) -> str:
    """Turn subscript, wide and other forms of a character into the plain one; one stays one, so that positions hold."""
    plain = unicodedata.normalize("NFKC", character)
    return character if len(plain) != 1 or _is_raised(character) else plain


def _hint(symbol: str) -> str:
    lower = symbol.capitalize()
    return f"symbols begin with a capital: {lower}" if lower in KNOWN and lower != symbol else nearest(symbol, KNOWN)


def _add(total: dict[int, Fraction], part: Mapping[int, Fraction], factor: Fraction) -> None:
    for Z, amount in part.items():
        scaled = amount if factor == 1 else factor if amount == 1 else amount * factor
        total[Z] = total[Z] + scaled if Z in total else scaled


@lru_cache(maxsize=2**14)
def _unit_atoms(fractions: tuple[float, ...]) -> int | None:
    """Return what `Formula.unit_atoms` says of fractions, of which a table has few different ones."""
    amounts = _whole(fractions)
    return sum(amounts) if amounts else None


def _whole(fractions: tuple[float, ...], largest: int = 200) -> list[int] | None:
    """Return the smallest whole numbers in the ratio of `fractions`, or None where they would pass `largest`."""
    smallest = min(fractions)
    ratios = [Fraction(x / smallest).limit_denominator(20) for x in fractions]
    scale = lcm(*(ratio.denominator for ratio in ratios))
    counts = [int(ratio * scale) for ratio in ratios]
    total = sum(counts)
    if max(counts) > largest or any(abs(n / total - x) > 1e-8 for n, x in zip(counts, fractions, strict=True)):
        return None
    return counts

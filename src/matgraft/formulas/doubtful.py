"""Formulas that are refused though a guess lies near: each with the likely readings, none of which is taken.

    doubt_before("Fe203", reads)      # a digit zero where the letter O belongs: likely Fe2O3
    doubt_of("FE2O3", reads)          # no element FE: likely Fe2O3

`doubt_before` finds texts that could be read and mean something else, `doubt_of` explains what could not be read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product

from ase.data import atomic_numbers

from matgraft.formulas.aliases import alias
from matgraft.formulas.alloys import Alloy, find_alloy
from matgraft.formulas.misread import ROMAN, misread
from matgraft.formulas.no_formula import stranger
from matgraft.formulas.notation import ANY_HYPHEN, PLAIN_CHARGE, Reads, charge_readings

_LATIN = dict(zip("АВСЕНІКМОРЅТУХаосеіԛѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧοιν", "ABCEHIKMOPSTYXaoceiqsABEZHIKMNOPTYXoiv", strict=True))
"""Letters of Cyrillic and Greek that look as Latin ones do."""
_HAS_LATIN_TWIN = re.compile(f"[{''.join(_LATIN)}]")
VARIABLES = "xyznmwuvδεξ"
"""Letters that stand for an amount."""
_DIGITS = r"\d*+(?:\.\d*+)?"  # a digit belongs to one part alone: the work grows with the text, not with its cube
_VARIABLE = re.compile(rf"\s?(?:\(?{_DIGITS}\s?[{ANY_HYPHEN}+±]\s?)?{_DIGITS}\s?[{VARIABLES}](?![a-z])\)?")
_SYMBOL = re.compile(r"[A-Z][a-z]?")
_DOPED = re.compile(r":|\b(?:un)?doped\b", re.IGNORECASE)
_SMALL_OFFSET = re.compile(rf"\s?[{ANY_HYPHEN}+±]\s?(?:[δε]|[xyz]\)?$)")
_CAPITALS = re.compile(r"SI(?=\d*[ONC](?![a-z]))")
_LETTERS = re.compile(r"[A-Za-z]+")
_ZERO_AMOUNT = re.compile(r"(?<=[A-Za-z)\]])(\d+)(?![\d.,/])")
_GRADE = re.compile(r"(?:SS|AISI|SUS|UNS|EN|DIN|ASTM)[\s-]?[A-Z]?\d{2,5}[A-Z]{0,2}")
_ROMAN_OR_LETTER = re.compile(
    r"(?:\s{1,4}\((?!(?:OH|CN|CO|NO|SH|NH)\))([IV]{1,4}|[A-Z]{1,6})\)|(?<=[a-z\d])\(([BIVHKPCUWY])\))$"
)
"""A label behind a blank; without one only letters that name phases."""
_LOW_STATE = re.compile(r"(?<=[a-z])\((I|V)\)(?=[A-Z])")
_RARE = {
    symbol for symbol, Z in atomic_numbers.items() if Z in (43, 61) or 84 <= Z <= 89 or Z == 91 or Z > 94 or Z == 0
}
"""Elements that a mistyped formula hardly means."""
MOST_READINGS = 3


@dataclass(frozen=True)
class Doubt:
    """Why a text is not read.

    Attributes
    ----------
    position
        Of the character at fault, from 0.
    found
        What is wrong.
    remedy
        What to write in its place.
    likely
        Likely readings, each readable, the likeliest first.
    alloy
        An alloy whose amounts are by weight or by atoms.
    """

    position: int
    found: str
    remedy: str
    likely: tuple[str, ...] = ()
    alloy: Alloy | None = None


def doubt_before(text: str, reads: Reads) -> Doubt | None:
    """Return why a text must not be read though it could be, or None."""
    if name := alias(text.strip()):
        return Doubt(0, *name)
    if text.isalpha() and text.isascii() and not _CAPITALS.search(text) and not ROMAN.search(text):
        return None
    return (
        _grade(text)
        or _misread(text, reads)
        or _zero_for_letter(text, reads)
        or _label_or_element(text, reads)
        or _low_oxidation_state(text, reads)
        or _capital_variable(text)
        or _all_capitals(text, reads)
    )


def doubt_of(text: str, reads: Reads) -> Doubt | None:
    """Return why a text that could not be read looks as it does, or None where nothing is likely."""
    plain = unicodedata.normalize("NFKC", text)
    text = plain if len(plain) == len(text) else text
    return (
        _look_alikes(text, reads)
        or _alloy(text)
        or _stranger(text, reads)
        or _misread(text, reads)
        or _joined(text, reads)
        or _grade(text)
        or _zero_for_letter(text, reads)
        or _variable(text, reads)
        or _charge(text, reads)
        or _shared_site(text)
        or _dopant(text)
        or _letter_case(text, reads)
    )


def say_likely(likely: tuple[str, ...]) -> str:
    """Return likely readings as a remedy."""
    return f"likely {' or '.join(likely)}: write what is meant" if likely else "write what is meant"


def _look_alikes(text: str, reads: Reads) -> Doubt | None:
    match = _HAS_LATIN_TWIN.search(text)
    if match is None:
        return None
    latin = "".join(_LATIN.get(letter, letter) for letter in text)
    name = unicodedata.name(match[0], "a letter of another script").lower()
    likely = (latin,) if reads(latin) else ()
    found = f"{match[0]!r} is {name}, which looks like the letter {_LATIN[match[0]]}"
    return Doubt(match.start(), found, say_likely(likely) + ", in Latin letters", likely)


def _stranger(text: str, reads: Reads) -> Doubt | None:
    found = stranger(text, reads)
    return Doubt(*found) if found else None


def _misread(text: str, reads: Reads) -> Doubt | None:
    found = misread(text, reads)
    return Doubt(*found) if found else None


def _alloy(text: str) -> Doubt | None:
    alloy = find_alloy(text)
    if alloy is None:
        return None
    if not alloy.has_amounts:
        found = f"hyphens join {len(alloy.amounts)} elements without amounts"
        example = "".join(f"{symbol}{round(100 / len(alloy.amounts))}" for symbol in alloy.amounts)
        return Doubt(0, found, f"write the atomic amounts, such as {example} if they are alike", alloy=alloy)
    readings = alloy.formula("wt%"), alloy.formula("at%")
    found = "the amounts of this alloy are by weight or by atoms"
    shorter = [re.sub(r"(?<!\d)(\d++\.\d\d)\d+", r"\1", one) for one in readings]
    remedy = f"say which by --composition, or write {shorter[0]} if they are by weight, {shorter[1]} if by atoms"
    return Doubt(0, found, remedy, readings, alloy)


def _joined(text: str, reads: Reads) -> Doubt | None:
    """Find compounds that hyphens join without amounts: ``NaCl-KCl``."""
    parts = re.split(f"[{ANY_HYPHEN}]", text)
    if len(parts) < 2 or not all(reads(part) for part in parts):
        return None
    parts = [part.strip() for part in parts]
    found = f"hyphens join {len(parts)} compounds without amounts"
    if any(part[0].isdigit() for part in parts):
        return Doubt(len(parts[0]), found, f"write {'·'.join(parts)} if these are parts of an adduct")
    if len(parts) == 2 and min(map(len, parts)) <= 2:
        (label, whole) = sorted(parts, key=len)
        found = f"a hyphen joins {label!r}: the name of a phase, or an element without an amount"
        return Doubt(len(parts[0]), found, f"write {whole} for the phase; else all amounts, such as {whole}·0.1{label}")
    return Doubt(len(parts[0]), found, f"write the amounts, such as {'·'.join('0.5' + part for part in parts[:2])}")


def _grade(text: str) -> Doubt | None:
    if _GRADE.fullmatch(text.strip()) is None:
        return None
    return Doubt(0, "this is the name of a grade, not a formula", "write its composition, such as Fe70Cr19Ni9Mn2")


def _zero_for_letter(text: str, reads: Reads) -> Doubt | None:
    """Find a digit zero where the letter O belongs.

    Nobody writes an amount that begins with 0 and goes on, such as 03, nor a bracket that begins with it. One element
    alone with 20 or 203 atoms, or 204 of one beside others, is no oxide-free compound that is written so; amounts that
    come to 100 or 1000 are per cent and stay.
    """
    with_letter = _lettered(text)
    if with_letter is None or not reads(with_letter) or re.search(r"O(?![a-z])", text):
        return None
    position = next(i for i, (a, b) in enumerate(zip(text, with_letter, strict=True)) if a != b)
    found = f"the digit 0 stands where the letter O is likely: {text.strip()!r} holds no oxygen"
    remedy = say_likely((with_letter.strip(),))
    meant = next((m for m in _ZERO_AMOUNT.finditer(text) if m.start() <= position < m.end() and m[1][0] != "0"), None)
    if meant:
        remedy += f"; as it stands write {text[: meant.end()]}.0{text[meant.end() :]}"
    return Doubt(position, found, remedy, (with_letter.strip(),))


def _lettered(text: str) -> str | None:
    """Return the text with letters O for zeros that cannot be meant as digits, or None where there is none."""
    if "0" not in text:
        return None
    amounts = [match[1] for match in _ZERO_AMOUNT.finditer(text)]
    if sum(map(int, (amount[:9] for amount in amounts))) in (100, 1000):
        return None
    symbols = set(_SYMBOL.findall(text))
    alone = len(symbols) == 1 and not symbols <= {"C", "B"}

    def put(match: re.Match[str]) -> str:
        digits = match[1]
        leading = len(digits) > 1 and digits[0] == "0"
        middle = re.fullmatch(r"[2-9]0[2-9]|[2-9]0[1-9]\d", digits) is not None
        behind = text[match.end() : match.end() + 1]
        hydroxide = digits == "0" and behind == "H" and not text[match.end() + 1 : match.end() + 2].islower()
        last = alone and re.fullmatch(r"[2-9]0", digits) is not None
        is_meant = leading if "." in text else leading or middle or hydroxide or last  # 0.7Sr0.3Mn03 has one slip alone
        if not is_meant:
            return digits
        at = digits.index("0")
        return digits[:at] + "O" + digits[at + 1 :]

    changed = _ZERO_AMOUNT.sub(put, text)
    changed = re.sub(r"\(0(?=H\))", "(O", changed)
    return changed if changed != text else None


def _label_or_element(text: str, reads: Reads) -> Doubt | None:
    """Find ``TiO2 (B)``: a phase, or an element in brackets that nobody would set apart."""
    match = _ROMAN_OR_LETTER.search(text)
    label = (match[1] or match[2]) if match else ""
    if match is None or not reads(label) or not reads(text[: match.start()]):
        return None
    likely = (text[: match.start()].strip(), text[: match.start()].strip() + label)
    said = "elements" if len(label) > 1 and not label.startswith(("I", "V")) else "an element"
    found = f"{match[0].strip()} behind the formula is the name of a phase, or {said}"
    to = text.index("(", match.start())
    return Doubt(to, found, f"write {likely[0]} for the phase, {likely[1]} for the {said.removeprefix('an ')}", likely)


def _low_oxidation_state(text: str, reads: Reads) -> Doubt | None:
    """Find ``Cu(I)2O``: an oxidation state, or iodine in brackets; (II), (III), ... are taken off unasked."""
    match = _LOW_STATE.search(text) or re.search(r"(?<=[a-z])\((I|V)\)(?=\d)", text)
    without = text[: match.start()] + text[match.end() :] if match else ""
    if match is None or not reads(without):
        return None
    element = text[: match.start()] + match[1] + text[match.end() :]
    found = f"{match[0]} is an oxidation state, or an element in brackets"
    return Doubt(match.start(), found, f"write {without} for the state, {element} for the element", (without, element))


def _capital_variable(text: str) -> Doubt | None:
    """Find ``La1.85Sr0.15CuOY``: yttrium behind the oxygen, or an amount that is not given."""
    if "." not in text or not re.search(r"O[Y]$", text.rstrip()):
        return None
    at = len(text.rstrip()) - 1
    return Doubt(
        at, "'Y' behind O is yttrium, or an amount that is not given", f"write {text[:at]}4 or so, or {text.rstrip()}1"
    )


def _all_capitals(text: str, reads: Reads) -> Doubt | None:
    """Find ``SIO2`` and ``SI3N4``: iodine between these elements is no compound, a small letter is forgotten."""
    match = _CAPITALS.search(text)
    if match is None or text.upper() != text:
        return None
    likely = tuple(one for one in likely_cases(text, everywhere=True) if reads(one) and one != text)
    if not likely:
        return None
    return Doubt(match.start(), f"{match[0]!r} is spelled in capitals alone", say_likely(likely[:1]), likely)


def _variable(text: str, reads: Reads) -> Doubt | None:
    """Find an amount that is a letter: δ, x, 1-x, n."""
    at = _first_variable(text)
    if at is None:
        return None
    found = f"{text[at]!r} belongs to no element or amount: it stands for an amount that is not given"
    remedy = "write a number in its place, such as O6.95 for O7-δ, or La0.7Sr0.3 for La1-xSrx"
    without = _SMALL_OFFSET.sub("", text)
    likely = (without,) if without != text and _first_variable(without) is None and reads(without) else ()
    if likely:
        remedy += f"; if it is small, leave it out: {without}"
    return Doubt(at, found, remedy, likely)


def _first_variable(text: str) -> int | None:
    """Return where a letter for an amount stands behind an element, a bracket or an amount; None if none does."""
    at, seen = 0, False
    while at < len(text):
        symbol = _SYMBOL.match(text, at)
        if symbol and symbol[0] in atomic_numbers:
            at, seen = symbol.end(), True
        elif symbol:
            at += 1
        elif seen and (match := _VARIABLE.match(text, at)):
            return match.end() - 1 - match[0].endswith(")")
        else:
            at += 1
    return None


def _charge(text: str, reads: Reads) -> Doubt | None:
    readings = charge_readings(text.rstrip(), reads)
    if not readings:
        return None
    likely = tuple(one.text for one in readings)
    match = PLAIN_CHARGE.search(text.rstrip())
    assert match is not None
    remedy = f"leave the charge out, its number too: write {' or '.join(likely)}"
    return Doubt(match.end() - 1, f"{text[match.end() - 1]!r}: it is open which digits are the charge", remedy, likely)


def _shared_site(text: str) -> Doubt | None:
    if "," not in text:
        return None
    at = text.index(",")
    return Doubt(at, "',': elements that share a site have no amounts", "write them, such as (Ba0.5Sr0.5)TiO3")


def _dopant(text: str) -> Doubt | None:
    """Find ``Al2O3:Cr`` and ``ZnO (Al doped)``, which do not say how much."""
    match = _DOPED.search(text)
    if match is None:
        return None
    found = f"{match[0]!r}: a dopant has no amount"
    return Doubt(match.start(), found, "write it as a part of the formula, such as Al1.98Cr0.02O3")


def _letter_case(text: str, reads: Reads) -> Doubt | None:
    """Find letters in the wrong case, and the elements that they may spell."""
    likely = tuple(one for one in likely_cases(text) if reads(one))
    if not likely:
        return None
    run = next((m for m in _LETTERS.finditer(text) if not _is_spelled(m[0])), None)
    if run is None:
        return None
    found = f"{run[0]!r} is not a sequence of elements: symbols begin with a capital, and go on with a small letter"
    return Doubt(run.start(), found, say_likely(likely), likely)


def likely_cases(text: str, everywhere: bool = False) -> list[str]:
    """Return a formula with its letters as elements, fewest elements first; at most `MOST_READINGS`.

    Parameters
    ----------
    everywhere
        Also change letters that spell elements as they stand, such as ``NIO``.
    """
    parts = re.split(r"([A-Za-z]+)", text)
    options = []
    for part in parts:
        is_letters = part.isalpha() and part.isascii()
        options.append([part] if not is_letters or (_is_spelled(part) and not everywhere) else _spellings(part))
    if not all(options):
        return []
    made = ["".join(one) for one in islice(product(*options), 50)]
    return sorted(dict.fromkeys(made), key=lambda one: sum(map(str.isupper, one)))[:MOST_READINGS]


def _is_spelled(letters: str) -> bool:
    symbols = _SYMBOL.findall(letters)
    return "".join(symbols) == letters and all(symbol in atomic_numbers for symbol in symbols)


def _spellings(letters: str) -> list[str]:
    """Return ways to spell letters by elements, fewest elements first; what none spell costs no search."""
    open_at = {len(letters)}  # from where the rest can be spelled
    for at in reversed(range(len(letters))):
        if any(at + n in open_at and _element(letters[at : at + n]) for n in (1, 2)):
            open_at.add(at)

    def walk(at: int) -> Iterator[str]:
        if at == len(letters):
            yield ""
        for n in (2, 1):
            symbol = _element(letters[at : at + n]) if at + n in open_at and len(letters) >= at + n else None
            if symbol:
                for rest in walk(at + n):
                    yield symbol + rest

    return (
        sorted(islice(walk(0), 20), key=lambda one: sum(map(str.isupper, one)))
        if 0 in open_at and len(letters) < 30
        else []
    )


def _element(letters: str) -> str | None:
    symbol = letters.capitalize()
    return symbol if symbol in atomic_numbers and symbol not in _RARE else None

"""What people write around a formula, where it changes no composition: it is taken off, and what was taken off is said.

    clean("'Fe$_2$O$_3$'", reads)         # Written("Fe2O3", ("markup", "quotes"))
    clean("Fe2+", reads)                  # Written("Fe", ("charge",))

A sign is taken off only where one reading is left; what has several is refused by `matgraft.formulas.doubtful`.
Every pattern here is of linear time, and `formula_characters` of `matgraft.core.limits` bounds the text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Literal, NamedTuple

Dropped = Literal[
    "invisible characters", "markup", "quotes", "punctuation", "charge", "oxidation state", "phase", "repeat sign",
    "decimal comma", "commas", "hyphens between shares", "fraction sign", "stated amount", "alloy notation",
    "elements of amount 0",
]  # fmt: skip
"""What was taken off, or written in another way."""
Amounts = Mapping[int, Fraction]
Reads = Callable[[str], Amounts | None]
"""A formula without any of these signs -> amounts by atomic number; None if it is none."""

DOTS = "·•⋅∙‧・×*\u0387\u2e31\u2e33\ua78f\u1427\u16eb●◦∘\u2217⋆\u204e"
"""Signs between the parts of an adduct: every raised or middle dot of Unicode, crosses and stars."""
HYPHENS = "-\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"
ANY_HYPHEN = re.escape(HYPHENS)
"""For the brackets of a pattern."""
_INVISIBLE = dict.fromkeys(
    [0xAD, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A)]
)
"""Soft hyphens, joiners, marks of direction and of the order of bytes."""
_QUOTES = "'\"`´\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f«»‹›\u2032\u2033"
_COMMAND = re.compile(r"\\(?:ce|mathrm|mathregular|mathit|mathbf|textrm|text|rm|it|bf|textsubscript|left|right)\b\s?")
_NAMED = {
    r"\cdot": "·", r"\times": "×", r"\delta": "δ", r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\,": "", r"\ ": " ",
}  # fmt: skip
_TAG = re.compile(r"</?(?:sub|i|b|em|strong|span|p|small|font|inf)(?:\s[^<>]{0,200})?/?>", re.IGNORECASE)
_RAISED_TAG = re.compile(r"<sup(?:\s[^<>]{0,200})?>([^<>]{0,20})</sup>", re.IGNORECASE)
_LOWERED = re.compile(r"_\{([^{}]*)\}|(?<![\d.])_(?=[\d.δxyzn])|~([\d.]+)~")
_RAISED = re.compile(r"\^\{([^{}]*)\}|\^([^\^\s]{1,6})\^")
_SIGN = f"[+{ANY_HYPHEN}]"
_RAISED_CHARGE = re.compile(
    rf"\s{{0,4}}(?:[⁰¹²³⁴-⁹]*[⁺⁻]+|\^\s?(?:\d?{_SIGN}+|{_SIGN}\d?)|\((?:\d?{_SIGN}|{_SIGN}\d)\))$"
)
_COMPLEX_CHARGE = re.compile(rf"(?<=\])\s*\d?{_SIGN}+$")
PLAIN_CHARGE = re.compile(rf"\s{{0,4}}(\d?)(?<!{_SIGN}){_SIGN}++$")
_STATE = re.compile(r"(?<=[A-Za-z])\s?\((?:II|III|IV|VI|VII|VIII|\d?\+)\)")
_REPEAT = re.compile(r"(?<=[)\]])\s*n$")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_COMMA_BEHIND_AMOUNT = re.compile(r"(?<=\d)\s*,\s*(?=[A-Z(\[])")
_CAPITAL = re.compile("[A-Z]")
_GREEK = "αβγδεζηθκλστωΩ"
_PREFIX = re.compile(
    rf"^(?:[{_GREEK}]|alpha|beta|gamma|delta|epsilon|theta|kappa|eta|\d{{1,2}}[HRTC]|[achmortw]|zb|wz|rs|bcc|fcc|hcp|P[23]['′]?|O3)['′]?\s?[{ANY_HYPHEN}]\s*(?=[A-Z(\[])"
)
"""P2 and O3 are stackings of layered oxides of sodium and lithium."""
_SURFACE = re.compile(rf"\s{{0,4}}[(\[{{](?:\d{{3}}|\d\d[{ANY_HYPHEN}]?\d\d|[{_GREEK}]['′]?)[)\]}}]$")
"""Miller indices or a Greek letter in brackets."""
_SPACE_GROUP = re.compile(r"[\s_,]{1,4}[\[(]?([PIFCRAB]-?[1-6]?[1-6]?(?:[-/mabcden1-6 ]{1,12}))[)\]]?$")
_BRACKET_BEHIND = re.compile(r"\s{1,4}\(([A-Za-z][A-Za-z0-9 .,/-]{0,40})\)$")
_STATE_OF_MATTER = re.compile(r"\s{0,4}\((?:s|l|g|aq|cr|am|gas|liq|solid|liquid)\)$")
_WORD_BEHIND = re.compile(rf"[\s{ANY_HYPHEN}_,]{{1,4}}(BCC|FCC|HCP|[A-Za-z][a-z]+(?:[ -][a-z]+)?)$")
PHASES = frozenset(
    [
        "anatase",
        "rutile",
        "brookite",
        "quartz",
        "cristobalite",
        "tridymite",
        "coesite",
        "stishovite",
        "wurtzite",
        "zincblende",
        "sphalerite",
        "rocksalt",
        "perovskite",
        "spinel",
        "cubic",
        "tetragonal",
        "orthorhombic",
        "monoclinic",
        "triclinic",
        "hexagonal",
        "trigonal",
        "rhombohedral",
        "bcc",
        "fcc",
        "hcp",
        "dhcp",
        "amorphous",
        "glass",
        "glassy",
        "crystalline",
        "graphite",
        "diamond",
        "graphene",
        "corundum",
        "hematite",
        "magnetite",
        "maghemite",
        "goethite",
        "calcite",
        "aragonite",
        "vaterite",
        "pyrite",
        "marcasite",
        "solid",
        "liquid",
        "gas",
        "powder",
        "bulk",
        "film",
        "monolayer",
        "nanoparticles",
        "nanoparticle",
    ]
) | {"thin film", "single crystal", "zinc blende", "zinc-blende", "rock salt", "rock-salt"}
"""Words behind a formula that name a phase or a form of it: the composition stays."""
_CHANGES = re.compile(r"\b(?:dop\w*|subst\w*|coat\w*|load\w*|wt|mol|at|vol|rich)\b|%", re.IGNORECASE)
"""In words behind a formula: they change the composition, or may."""
_VULGAR = re.compile(r"(\d*)([¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])")
_FRACTION_SIGNS = str.maketrans({"⁄": "/", "∕": "/"})
_STATED_AMOUNT = re.compile(r"[\s,;]{0,4}[(\[]?\s*(?:for\s|with\s)?([xyzδ])\s*=\s*(\d{0,3}(?:\.\d{1,9})?)\s*[)\]]?$")
_UNSIGNED = r"\d{1,3}(?:\.\d{1,9})?"
_SHARES = re.compile(rf"(\d*\.?\d+)\s*([(\[]?[A-Z][^{ANY_HYPHEN}]*)")


def _ions() -> dict[frozenset[tuple[str, int]], int]:
    rows = {
        1: "N1H4 H3O1 H1 Hg1", 2: "U1O2 V1O1 Ti1O1 Zr1O1 Hg2",
        -1: "O1H1 N1O3 N1O2 Cl1O4 Cl1O3 Mn1O4 H1C1O3 C1N1 "
        "B1H4 B1F4 P1F6 S1C1N1 I1O3 H2P1O4 H1S1O4 N3 I3 O2 Al1H4",
        -2: "S1O4 S1O3 C1O3 Cr1O4 Cr2O7 W1O4 Mo1O4 S2O3 H1P1O4 O2 S2 C2O4 Si1F6",
        -3: "P1O4 As1O4 V1O4 B1O3 Al1F6", -4: "Si1O4 P2O7 Ge1O4",
    }  # fmt: skip
    pair = re.compile(r"([A-Z][a-z]?)(\d+)")
    return {
        frozenset((symbol, int(n)) for symbol, n in pair.findall(ion)): charge
        for charge, ions in rows.items()
        for ion in ions.split()
    }


_IONS = _ions()
"""Ions that need no bracket or raised sign to be known, with their charge."""


class Written(NamedTuple):
    """A formula without what changes no composition, and what was taken off."""

    text: str
    dropped: tuple[Dropped, ...] = ()


def clean(text: str, reads: Reads) -> Written:
    """Take off a formula what changes no composition.

    Parameters
    ----------
    reads
        Reads a formula without any of these signs.
    """
    if text.isascii() and text.isalnum():  # the usual formula
        return Written(text)
    steps: tuple[tuple[Dropped, Callable[[str], str]], ...] = (
        ("invisible characters", lambda t: t.translate(_INVISIBLE)),
        ("markup", _without_markup),
        ("quotes", _without_quotes),
        ("punctuation", lambda t: t.rstrip(" ,;") if t.rstrip()[-1:] in (",", ";") else t),
        ("fraction sign", _with_plain_fractions),
        ("stated amount", lambda t: _with_stated_amounts(t)),
        ("phase", lambda t: _without_phase(t, reads)),
        ("repeat sign", _without_repeat_sign),
        ("oxidation state", lambda t: _STATE.sub("", t)),
        ("charge", lambda t: _without_charge(t, reads)),
        ("decimal comma", lambda t: _with_decimal_points(t, reads)),
        ("commas", _without_commas),
        ("hyphens between shares", lambda t: _with_raised_dots(t, reads)),
    )  # fmt: skip
    dropped: list[Dropped] = []
    for name, step in steps:
        if (after := step(text)) != text:
            text = after
            dropped.append(name)
    return Written(text, tuple(dropped))


def _without_markup(text: str) -> str:
    """Take off LaTeX, HTML and Markdown; what is raised keeps a ``^`` before it."""
    if not any(sign in text for sign in "\\$<&_~^"):
        return text
    if "&" in text:
        text = html.unescape(text)
    text = _TAG.sub("", _RAISED_TAG.sub(r"^\1", text))
    text = _COMMAND.sub("", text)
    for command, sign in _NAMED.items():
        text = text.replace(command, sign)
    text = text.replace("$", "")
    text = _LOWERED.sub(lambda m: m[1] or m[2] or "", text)
    return _RAISED.sub(lambda m: "^" + (m[1] or m[2] or ""), text)


def _without_quotes(text: str) -> str:
    plain = text.strip()
    return plain.strip(_QUOTES).strip() if plain and {plain[0], plain[-1]} & set(_QUOTES) else text


def _without_repeat_sign(text: str) -> str:
    return _REPEAT.sub("", unicodedata.normalize("NFKC", text)) if text.rstrip()[-1:] in ("n", "ₙ") else text


def _with_plain_fractions(text: str) -> str:
    """Write one half as 1/2, one and a half as 3/2, with a plain stroke."""

    def plain(match: re.Match[str]) -> str:
        part = Fraction(unicodedata.numeric(match[2])).limit_denominator(20)
        whole = Fraction(int(match[1] or 0)) + part
        return f"{whole.numerator}/{whole.denominator}"

    return _VULGAR.sub(plain, text).translate(_FRACTION_SIGNS)


def _with_stated_amounts(text: str) -> str:
    """Put in amounts that the text itself states: ``La1-xSrxMnO3 (x = 0.3)``, also of several letters.

    A hyphen between compounds stays one: ``(1-x)BaTiO3-xCaTiO3`` is an adduct, whose oxygen is not 3-x.
    """
    values: dict[str, Fraction] = {}
    while (stated := _STATED_AMOUNT.search(text)) and any(digit.isdigit() for digit in stated[2]):
        values[stated[1]] = Fraction(stated[2])
        text = text[: stated.start()]
    if not values:
        return text
    letter = "|".join(r"(?<!D)y" if one == "y" else one for one in values)  # Dy is dysprosium
    term = rf"({_UNSIGNED})?({letter})(?![a-z])"
    sum_of = re.compile(rf"\(?({_UNSIGNED})((?:\s?[+{ANY_HYPHEN}]\s?(?:{_UNSIGNED})?(?:{letter})(?![a-z]))+)\)?")
    if re.match(rf"\s*\({_UNSIGNED}\s?[+{ANY_HYPHEN}]\s?(?:{_UNSIGNED})?(?:{letter})\)(?=[A-Z(\[])", text):
        text = re.sub(rf"(?<=[A-Za-z\d)\]])\s?[{ANY_HYPHEN}]\s?(?=\(?(?:{_UNSIGNED})?(?:{letter})[A-Z(\[])", "·", text)

    def worth(number: str, name: str) -> Fraction:
        return Fraction(number or 1) * values[name]

    def added(match: re.Match[str]) -> str:
        total = Fraction(match[1])
        for sign, number, name in re.findall(rf"([+{ANY_HYPHEN}])\s?{term}", match[2]):
            total += worth(number, name) if sign == "+" else -worth(number, name)
        return _decimal(total)

    return re.sub(term, lambda match: _decimal(worth(match[1], match[2])), sum_of.sub(added, text))


def _decimal(amount: Fraction) -> str:
    return f"{float(amount):.9f}".rstrip("0").rstrip(".")


def _without_phase(text: str, reads: Reads) -> str:
    """Take off a Greek letter or a polytype before a formula, and the name of a phase behind it."""
    plain = text.strip()
    if (match := _PREFIX.match(plain)) and reads(plain[match.end() :]):
        plain = plain[match.end() :]
    plain = _STATE_OF_MATTER.sub("", plain)
    if (behind := _SURFACE.search(plain)) and reads(plain[: behind.start()]):
        plain = plain[: behind.start()]
    if (behind := _SPACE_GROUP.search(plain)) and not reads(behind[1]) and reads(plain[: behind.start()]):
        plain = plain[: behind.start()]
    behind = _BRACKET_BEHIND.search(plain)
    is_phase = behind is not None and (behind[1].lower() in PHASES or not reads(behind[1]))
    if behind and is_phase and not _CHANGES.search(behind[1]):
        plain = plain[: behind.start()]
    if (behind := _WORD_BEHIND.search(plain)) and behind[1].lower() in PHASES:
        plain = plain[: behind.start()]
    return plain if plain != text.strip() else text


def _without_charge(text: str, reads: Reads) -> str:
    plain = text.rstrip()
    if not plain or not (plain[-1] in f"+⁺⁻)}}{HYPHENS}" or "^" in plain):
        return text
    for pattern in (_RAISED_CHARGE, _COMPLEX_CHARGE):
        if (match := pattern.search(plain)) and reads(plain[: match.start()]):
            return plain[: match.start()]
    for before in charge_readings(plain, reads):
        if before.is_certain:
            return before.text
    return text


class ChargeReading(NamedTuple):
    """A formula before a plain charge, and whether it is the only reading."""

    text: str
    is_certain: bool


def charge_readings(text: str, reads: Reads) -> list[ChargeReading]:
    """Return how a formula that ends with a plain charge may be read: ``NH4+`` as NH4 or, with a charge of 4, as NH.

    A single element is the same however its digits are shared, and known ions are known.
    """
    match = PLAIN_CHARGE.search(text)
    if match is None or not text[: match.start()].strip():
        return []
    signs = text[match.end(1) :].strip()
    sign = 1 if signs[0] == "+" else -1
    short, digits = text[: match.start(1)], match[1]
    charges = {short + digits: len(signs), short: int(digits or 1)}
    read = {one: amounts for one in charges if (amounts := reads(one))}
    if len(read) == 1 and not digits:
        return [ChargeReading(one, True) for one in read]
    if read and all(len(amounts) == 1 for amounts in read.values()):
        return [ChargeReading(short if short in read else short + digits, True)]
    known = [one for one, amounts in read.items() if _ion(amounts) == sign * charges[one]]
    if len(known) == 1:
        return [ChargeReading(known[0], True)]
    return [ChargeReading(one, False) for one in read]


def _ion(amounts: Amounts) -> int | None:
    from ase.data import chemical_symbols

    found = frozenset((chemical_symbols[Z], int(n)) for Z, n in amounts.items() if n.denominator == 1)
    return _IONS.get(found) if len(found) == len(amounts) else None


def _with_decimal_points(text: str, reads: Reads) -> str:
    """Read ``La0,7Sr0,3MnO3`` with decimal points, where it has none yet and no comma may part thousands."""
    if "," not in text or re.search(r"\d\.\d", text) or re.search(r"[1-9]\d{0,2},\d{3}(?!\d)", text):
        return text
    pointed = _DECIMAL_COMMA.sub(".", text)
    return pointed if reads(pointed) else text


def _without_commas(text: str) -> str:
    """Take off commas between elements that share a site: in brackets, or behind the first element alone."""

    def plain(match: re.Match[str]) -> str:
        before = text[: match.start()]
        is_inside = sum(map(before.count, "([{")) > sum(map(before.count, ")]}"))
        return "" if is_inside or len(_CAPITAL.findall(before)) == 1 else match[0]

    return _COMMA_BEHIND_AMOUNT.sub(plain, text)


def _with_raised_dots(text: str, reads: Reads) -> str:
    """Read ``0.94NaNbO3-0.06BaTiO3`` as an adduct: shares of compounds, 1 or 100 in all, are of formula units."""
    if not any(sign in text for sign in HYPHENS):
        return text
    parts = [part.strip() for part in re.split(f"[{ANY_HYPHEN}]", text)]
    matched = [_SHARES.fullmatch(part) for part in parts]
    if len(parts) < 2 or not all(matched):
        return text
    shares = [(float(match[1]), reads(match[2])) for match in matched if match]
    total = sum(share for share, _ in shares)
    if not (abs(total - 1) < 1e-6 or abs(total - 100) < 1e-4):
        return text
    return "·".join(parts) if all(amounts and len(amounts) > 1 for _, amounts in shares) else text

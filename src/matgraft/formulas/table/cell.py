"""One cell: the number that it holds, or what it seems to be instead.

look("1.2×10^-3")     # Cell("number", 0.0012)
look("<0.1")          # Cell("limit")
look("4.54 eV")       # Cell("unit", 4.54, unit="eV")
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, NamedTuple

import numpy as np

Seems = Literal[
    "number", "limit", "range", "uncertainty", "unit", "approximate", "date", "error", "overflow", "power", "mark",
    "note", "several", "relative", "word",
]  # fmt: skip
Mark = Literal[".", ","]
LONGEST = 100
"""Characters of a cell in which a number is looked for."""
MINUS = str.maketrans(dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"))
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eEdD][+-]?\d{1,4})?"
_PLAIN = re.compile(_NUMBER)
_BY_APOSTROPHE = re.compile(r"['’]\s?[+-]?[\d.,]+(?:[eE][+-]?\d{1,4})?")
"""A number that a spreadsheet keeps as text, by the apostrophe before it."""
_TIMES_TEN = re.compile(
    r"(?:([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s?[×xX*·⋅∙]\s?)?10\s?(?:\^|\*\*)\s?[({]?\s?([+-]?\d{1,4})[)}]?"
)
_TIMES_TEN_FALLEN = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s?[×xX*·⋅∙]\s?10\s?([+-]\d{1,4})")
"""The sign tells a power whose exponent has come down; ``10-12`` alone is a range."""
_FALLEN_POWER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)\s?[×xX*·⋅∙]\s?10\d{1,2}")
_SPACED = re.compile(r"[+-]?\d{1,3}(?:[ '’\u00a0\u2009\u202f]\d{3})+(?:\.\d+)?")
_LIMIT = re.compile(
    rf"(?:[<>≤≥≲≳]=?|=<|=>|(?:below|above|under|over|less than|more than|up to|at least|at most)\s)"
    rf"\s?{_NUMBER}.{{0,20}}",
    re.IGNORECASE,
)
_RANGE = re.compile(rf"{_NUMBER}\s?(?:-|–|—|~|\.\.\.?|…|to|bis|/)\s?{_NUMBER}(?:\s?[^\d\s].{{0,20}})?")
_SIGNED = r"\s?(?:±|\+/-|\+-|∓)\s?"
_UNCERTAIN = re.compile(rf"({_NUMBER}){_SIGNED}({_NUMBER})(?:\s?([^\d\s].{{0,20}}))?")
_UNCERTAIN_POWER = re.compile(
    rf"\(({_NUMBER}){_SIGNED}({_NUMBER})\)\s?[×xX*·⋅∙]\s?10\s?(?:\^|\*\*)\s?[({{]?\s?([+-]?\d{{1,3}})[)}}]?(?:\s?([^\d\s].{{0,20}}))?"
)
_LAST_DIGITS = re.compile(r"([+-]?\d+(?:\.\d+)?)\((\d{1,3})\)")
_ABOUT = re.compile(
    rf"(?:[~≈≃∼]|ca\.?\s|c\.\s|about\s|approx\.?\s|around\s)\s?{_NUMBER}.{{0,20}}|{_NUMBER}\s?\?", re.IGNORECASE
)
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[ T].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}|"
    r"\d{4}[./]\d{1,2}[./]\d{1,2}|(?:\d{4}年)?\d{1,2}月\d{1,2}日|"
    r"\d{1,2}[-. ](?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}(?:[-. ]\d{2,4})?|"
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}[-. ]\d{1,4}",
    re.IGNORECASE,
)
_RAISED_LETTER = re.compile(r"[\u1d2c-\u1d6a\u02b0-\u02b8ⁿⁱªº]$")
_NOTED = re.compile(
    rf"{_NUMBER}\s?(?:[*†‡§¶#]{{1,3}}|[\[(](?:ref\.?\s?)?\d{{1,3}}(?:\s?[,-]\s?\d{{1,3}}){{0,5}}[\])])", re.IGNORECASE
)
_SEVERAL = re.compile(rf"\[.*\]|\(.*[,;].*\)|\{{.*\}}|{_NUMBER}(?:\s?[;,&|]\s?{_NUMBER})+|{_NUMBER}(?:\s+{_NUMBER})+")
_WITH_UNIT = re.compile(rf"({_NUMBER})(\s?)([^\d\s.,+-].{{0,24}})")
_UNIT_TOKEN = re.compile(r"[\s/·⋅*^().\d\-−⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_UNITS = frozenset(
    """
    eV meV keV MeV Ry Ha hartree Hartree J kJ MJ mJ GJ kcal cal mol atom at fu f u K mK °C ℃ degC °F C GPa MPa kPa Pa
    hPa TPa bar kbar mbar atm Torr psi ksi Å A nm pm µm μm um mm cm m g mg µg kg t s ms µs μs us ns ps fs min h hr hrs d
    Hz kHz MHz GHz THz V mV kV mA µA μA Ω ohm Ohm mΩ kΩ S mS µS μS W mW kW µW μW T mT Oe kOe G kG emu µB μB uB HV HRC HB
    HK Hv % wt wt% at% mol% vol vol% ppm ppb N kN mN Wh mAh Ah L l mL ml dm deg ° rad cycles
    """.split()  # noqa: SIM905
)
_ATTACHED = _UNITS - set("AaCdfghlmnstuGHLNRST") | {"K", "V", "J", "W", "%"}
"""Units that may stand at a number without a blank: 3d and 1T are names, 300K is a temperature."""
GROUPED = {
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?"),
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?"),
}
"""Decimal mark -> a number whose thousands the other sign parts."""
MEANINGS: dict[Seems, tuple[str, str]] = {
    "limit": (
        "is a limit, not a value: the measurement is censored",
        "leave the row out, or give the value as measured",
    ),
    "range": ("is a range of values", "write one value, such as its middle, or a row for each end"),
    "uncertainty": ("is a value with its uncertainty", "keep the value alone, or let the uncertainty weigh the row"),
    "unit": ("is a number with a unit that not every cell has", "write numbers alone, and their unit into the header"),
    "approximate": ("is an approximate value", "write the number alone if it is to count as the others do"),
    "date": ("is a date: a spreadsheet may have made it of a number", "write the number into a column of numbers"),
    "error": ("is an error of a spreadsheet", "correct the cell, or leave it empty"),
    "overflow": ("is not a finite number: the largest is 1.8e308", "write a number, or leave the cell empty"),
    "power": ("is a power of ten whose exponent has come down, or a product", "write it as 1.2e3"),
    "mark": (
        "has two readings: a decimal sign, or one that parts thousands",
        "write it with a point for decimals alone",
    ),
    "note": ("is a number with the mark of a footnote or a reference", "write the number alone"),
    "relative": (
        "has two readings: an uncertainty in per cent of the value, or a value in per cent",
        "write both as numbers without the sign",
    ),
    "several": ("holds several values", "write one value a cell: a row or a column for each"),
    "word": ("is not a finite number", "write a number, or leave the cell empty"),
}
"""What a cell seems to be -> what is wrong with it, and what to do."""


class ReadCell(NamedTuple):
    """What a cell seems to be."""

    seems: Seems
    value: float = float("nan")
    uncertainty: float = float("nan")
    unit: str = ""
    form: str = ""


def seems(text: str, decimal: Mark = ".") -> ReadCell:
    """Return what one cell seems to be, by a decimal mark."""
    if len(text) > LONGEST:
        return ReadCell("several" if text[0] + text[-1] in ("[]", "()", "{}") else "word")
    text = text.strip()
    if _RAISED_LETTER.search(text) and _PLAIN.fullmatch(text[:-1].strip().translate(MINUS)):
        return ReadCell("note")
    text = text[1:] if _BY_APOSTROPHE.fullmatch(text) else text
    text = _RAISED_RUN.sub(lambda run: "^" + run[0].translate(_RAISED), text.strip())
    text = unicodedata.normalize("NFKC", text).strip()
    straight = text.translate(MINUS)
    if _DATE.fullmatch(text):
        return ReadCell("date")
    if text.startswith("#") and text.endswith(("!", "?", "/A")):
        return ReadCell("error")
    plain = _pointed(straight, decimal)
    if plain is None:
        return ReadCell("word")
    form = "" if plain == text else "digits and signs of Unicode" if text != straight else ""
    if _PLAIN.fullmatch(plain):
        return _finite(plain, form)
    if match := _TIMES_TEN.fullmatch(plain):
        return _finite(f"{match[1] or 1}e{match[2]}", "powers of ten")
    if match := _TIMES_TEN_FALLEN.fullmatch(plain):
        return _finite(f"{match[1]}e{match[2]}", "powers of ten")
    if _FALLEN_POWER.fullmatch(plain):
        return ReadCell("power")
    return _stated(plain) or _marked(plain)


def _stated(plain: str) -> ReadCell | None:
    """Return a number with an uncertainty or a unit, or None."""
    match = _UNCERTAIN.fullmatch(plain) or _UNCERTAIN_POWER.fullmatch(plain)
    if match:
        *numbers, unit = match.groups()
        power = 10.0 ** int(numbers[2]) if numbers[2:] else 1.0
        return _uncertain(_float(numbers[0]) * power, _float(numbers[1]) * power, (unit or "").strip())
    if match := _LAST_DIGITS.fullmatch(plain):
        places = len(match[1].partition(".")[2])
        return ReadCell("uncertainty", float(match[1]), float(f"{match[2]}e-{places}"))
    match = _WITH_UNIT.fullmatch(plain)
    if match and is_unit(match[3], attached=not match[2]):
        return ReadCell("unit", _float(match[1]), unit=match[3].strip())
    return None


def _uncertain(value: float, uncertainty: float, unit: str) -> ReadCell:
    """Return a value with its uncertainty; one in per cent, or with a power of ten behind it alone, is open."""
    if unit == "%":
        return ReadCell("relative")
    if unit and not is_unit(unit):
        return ReadCell("power" if "10" in unit else "note" if unit[0] in "*†‡[(#" else "word")
    return ReadCell("uncertainty", value, uncertainty, unit)


def _marked(plain: str) -> ReadCell:
    """Return a limit, an approximate value, a range, a number with a note, several values, or a word."""
    marked: tuple[tuple[Seems, re.Pattern[str]], ...] = (
        ("limit", _LIMIT), ("approximate", _ABOUT), ("range", _RANGE), ("note", _NOTED), ("several", _SEVERAL),
    )  # fmt: skip
    return ReadCell(next((seems for seems, pattern in marked if pattern.fullmatch(plain)), "word"))


def is_unit(text: str, *, attached: bool = False) -> bool:
    """Say whether a text is made of units."""
    tokens = [token for token in _UNIT_TOKEN.split(text.strip()) if token]
    return (
        bool(tokens)
        and all(token in _UNITS for token in tokens)
        and (len(tokens) > 1 or not attached or tokens[0] in _ATTACHED)
    )


def _pointed(text: str, decimal: Mark) -> str | None:
    """Return a text with a decimal point and without signs between thousands; None if its signs fit neither."""
    if _SPACED.fullmatch(text):
        return re.sub(r"[ '’\u00a0\u2009\u202f]", "", text)
    if "," not in text and decimal == ".":
        return text
    if GROUPED[decimal].fullmatch(text):
        other = "," if decimal == "." else "."
        return text.replace(other, "").replace(",", ".")
    if decimal == ",":
        return text.replace(",", ".") if "." not in text else None
    return None if re.search(r"\d,\d", text) else text


def _finite(text: str, form: str) -> ReadCell:
    value = _float(text)
    return ReadCell("number", value, form=form) if np.isfinite(value) else ReadCell("overflow")


def _float(text: str) -> float:
    """Return a number, whose exponent Fortran may have written."""
    return float(text.replace("d", "e").replace("D", "e"))

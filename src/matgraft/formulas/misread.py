"""Numbers and letters of a formula that look like amounts and elements, and mean something else.

misread("SiC(6H)", reads)        # a polytype, not six atoms of hydrogen
misread("50Fe50Ni", reads)       # amounts before their elements
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ase.data import atomic_numbers

from matgraft.formulas.notation import Reads

_NUMBER_BEFORE = re.compile(r"[(\[]\s?([1-9]\d{0,2})([A-Z][a-z]?)\s?[)\]]")
_POLYTYPE = re.compile(r"\s{1,4}(\d{1,2})([HT])$")
ROMAN = re.compile(r"(?<=[a-z])(?:I{2,3}|IV)(?=[A-Z\d(]|$)")
_SPACED_SHARES = re.compile(r"\d+(?:\.\d+)?\s+[A-Z(][^\s]*(?:\s+\d+(?:\.\d+)?\s+[A-Z(][^\s]*)+")
_SHARE_BEFORE = re.compile(r"(?:^|(?<=[A-Za-z)\]]))(\d+(?:\.\d+)?)(?=[A-Z(\[])")
_SAMPLE = re.compile(r"\s{0,4}[_#]\s?\d{1,4}$")


class Misread(NamedTuple):
    """Where the sign stands, from 0; what it is; what to do; likely readings, the likeliest first."""

    position: int
    found: str
    remedy: str
    likely: tuple[str, ...] = ()


def misread(text: str, reads: Reads) -> Misread | None:
    """Return what in a formula is no amount and no element though it looks like one, or None.

    Parameters
    ----------
    reads
        Reads a formula.
    """
    return (
        _number_before_element(text, reads)
        or _roman_state(text, reads)
        or _shares_before(text, reads)
        or _sample_number(text, reads)
    )


def _likely(text: str) -> str:
    return f"likely {text}: write what is meant"


def _number_before_element(text: str, reads: Reads) -> Misread | None:
    """Find ``SiC(6H)`` and ``[18O]``: a polytype or a mass number, not six atoms of hydrogen."""
    match = _NUMBER_BEFORE.search(text) or _POLYTYPE.search(text)
    if match is None or match[2] not in atomic_numbers:
        return None
    before, behind = text[: match.start()].rstrip(), text[match.end() :]
    kind, without = "a mass number", f"{before}({match[2]}){behind}"
    if before and not behind and match[2] in ("H", "T", "C"):
        kind, without = "a polytype", before
    amount = f"{before}({match[2]}{match[1]}){behind}"
    if not reads(without):
        return None
    found = f"{match[0].strip()!r} is {kind}, or an amount before its element"
    return Misread(match.start(), found, f"write {without} for {kind}, {amount} for the amount", (without, amount))


def _roman_state(text: str, reads: Reads) -> Misread | None:
    """Find ``FeIII2O3``: an oxidation state that iodine spells."""
    match = ROMAN.search(text)
    without = ROMAN.sub("", text)
    if match is None or not reads(without):
        return None
    return Misread(match.start(), f"{match[0]!r} is an oxidation state, or elements", _likely(without), (without,))


def _shares_before(text: str, reads: Reads) -> Misread | None:
    """Find ``50Fe50Ni`` and ``20 Na2O 80 SiO2``: amounts before elements or compounds, without a sign between them."""
    plain = text.strip()
    if _SPACED_SHARES.fullmatch(plain):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s+([A-Z(][^\s]*)", plain)
        whole = "·".join(amount + part for amount, part in parts)
        return Misread(0, "blanks part amounts from what they belong to", _likely(whole), (whole,))
    if not plain[:1].isdigit():
        return None
    every = list(_SHARE_BEFORE.finditer(plain))
    large, parts = (
        [share for share in every if keep(share[1])] for keep in (lambda n: float(n) >= 5, lambda n: "." in n)
    )
    for shares in (every, large, parts):  # the 2 of Na2O is no share
        total = sum(float(share[1]) for share in shares)
        if len(shares) > 1 and (abs(total - 100) < 0.5 or abs(total - 1) < 0.005):
            ends = [*(share.start() for share in shares[1:]), len(plain)]
            whole = "·".join(plain[share.start() : end] for share, end in zip(shares, ends, strict=True))
            if reads(whole):
                found = "amounts that come to a whole stand before elements or compounds"
                return Misread(0, found, _likely(whole), (whole,))
    return None


def _sample_number(text: str, reads: Reads) -> Misread | None:
    """Find ``TiO2_2`` and ``TiO2 #12``: a number of a sample or of a row."""
    match = _SAMPLE.search(text)
    if match is None or not reads(text[: match.start()]):
        return None
    likely = text[: match.start()].strip()
    found = f"{match[0].strip()!r} is the number of a sample, or an amount"
    return Misread(match.start(), found, f"write {likely}, and the number into a column of its own", (likely,))

"""Texts that stand in columns of formulas and are none, by what they seem to be: each is refused with what to write.

stranger("mean", reads)          # a row that sums up others
stranger("mp-149", reads)        # a number of a database
stranger("TiO2/SnO2", reads)     # compounds that a sign joins, without amounts
"""

from __future__ import annotations

import re
from typing import NamedTuple

from matgraft.formulas.notation import Reads

JOINING = "@/+&|,;"
"""Signs between compounds whose amounts are not said; of hyphens `matgraft.formulas.doubtful` knows."""
_SUMS_UP = re.compile(
    r"(?:mean|average|avg|total|sum|std|stdev|st\.?\s?dev|median|min|max|minimum|maximum|count|mittelwert|summe|"
    r"standardabweichung|moyenne|promedio|平均|合計|合计|总计)\b[.:\s]{0,3}.{0,20}",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[ T].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}|"
    r"\d{4}[./]\d{1,2}[./]\d{1,2}|(?:\d{4}年)?\d{1,2}月\d{1,2}日|"
    r"\d{1,2}-(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}(?:-\d{2,4})?|"
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}-\d{1,4}",
    re.IGNORECASE,
)
_NUMBER_OF_A_BASE = re.compile(
    r"(?:mp|mvc|oqmd|icsd|cod|jvasp|aflow|agm|nomad|cid|pubchem)[-_ :#]{0,2}\d+|\d{2,7}-\d{2}-\d", re.IGNORECASE
)
_GRADE = re.compile(
    r"(?:AA|Al|EN\s?AW|Mg|Cu|C)[-\s]?\d{4,5}(?:[-\s]?[TOHF]\d{0,3})?|(?:inconel|hastelloy|monel|incoloy|waspaloy|zircaloy|"
    r"stellite|invar|kovar|haynes|duralumin|ti64|in)[-\s]?\d{0,4}[A-Z]{0,2}|\d{3}L?\s?(?:stainless\s)?steel",
    re.IGNORECASE,
)
_PER_VOLUME = re.compile(r"\d\s?vol\.?\s?%|vol\.?\s?%", re.IGNORECASE)
_GROUP = re.compile(r"(?:^|(?<=[(\[\d]))(?:MA|FA|Me|Et|Ph|Bu|Cp|Bn|BA|PEA)(?![a-z])")
_SMILES = re.compile(r"[A-Za-z0-9()=#\[\]@+\-/\\.]+")
_RING_OR_BOND = re.compile(r"c1|[cno]\d[cno]|[A-Za-z)\]][=#][A-Za-z(\[]")
_NAME = re.compile(
    r"(?:.*\b)?(?:quartz|alumina|silica|titania|zirconia|ceria|magnesia|hematite|magnetite|diamond|graphite|graphene|"
    r"steel|iron|copper|nickel|silicon|titanium|aluminium|aluminum|zinc|gold|silver|glass|alloy|ceramic|brass|bronze|"
    r"water|salt|\w{3,}(?:oxide|chloride|nitride|carbide|sulfide|fluoride|selenide|telluride|hydroxide)|oxide|"
    r"chloride|nitride|carbide|sulfide)s?",
    re.IGNORECASE,
)


class Stranger(NamedTuple):
    """What a text is instead of a formula: where that begins, from 0; what it is; what to do."""

    position: int
    found: str
    remedy: str


def stranger(text: str, reads: Reads) -> Stranger | None:
    """Return what a text that could not be read is instead of a formula, or None.

    Parameters
    ----------
    reads
        Reads a formula.
    """
    plain = text.strip()
    for pattern, found, remedy in _WHOLE:
        if pattern.fullmatch(plain):
            return Stranger(0, found, remedy)
    if match := _PER_VOLUME.search(plain):
        example = "write shares of formula units, such as 0.8ZrB2·0.2SiC"
        return Stranger(match.start(), "per cent of volume: a composition needs the densities as well", example)
    if _SMILES.fullmatch(plain) and _RING_OR_BOND.search(plain):
        return Stranger(0, "this is a structure (SMILES), not a formula", "write its formula, such as C6H6")
    if match := _GROUP.search(plain):
        example = "write its atoms, such as CH3NH3 for MA, CH5N2 for FA, C6H5 for Ph"
        return Stranger(match.start(), f"{match[0]!r} is short for an organic group", example)
    return _joined(plain, reads) or _per_cent(plain)


_WHOLE = (
    (_SUMS_UP, "this row sums up others: it is not a formula", "leave the row out"),
    (
        _DATE,
        "this is a date, which a spreadsheet may have made of a formula",
        "write the formula into a column of text",
    ),
    (_NUMBER_OF_A_BASE, "this is a number in a database, not a formula", "write the composition"),
    (_GRADE, "this is the name of a grade, not a formula", "write its composition, such as Fe70Cr19Ni9Mn2"),
    (_NAME, "this is a name, not a formula", "write the composition, such as SiO2 for quartz"),
)


def _joined(text: str, reads: Reads) -> Stranger | None:
    """Find compounds that a sign joins: ``C60@Cu``, ``TiO2/SnO2``."""
    for sign in JOINING:
        parts = [part.strip() for part in text.split(sign)]
        if 1 < len(parts) <= 6 and all(part and not part[0].isdigit() and reads(part) for part in parts):
            example = "·".join(f"0.5{part}" for part in parts[:2])
            found = f"{sign!r} joins {len(parts)} compounds without amounts"
            return Stranger(len(text.split(sign)[0]), found, f"write the amounts, such as {example}")
    return None


def _per_cent(text: str) -> Stranger | None:
    at = text.find("%")
    if at < 0:
        return None
    remedy = "write the amounts of all elements, such as Al98.3Cu1.7; a purity does not belong to the formula"
    return Stranger(at, "'%': it is open what this is per cent of", remedy)

"""Names of materials that spell elements, and would be read as formulas: each is refused with what it likely means.

    alias("Ti6Al4V")      # an alloy whose amounts are per cent of weight
    alias("BTO")          # short for BaTiO3, not boron, tritium and oxygen
    alias("COD 1234567")  # a number in a database

Each pattern is of linear time. An alloy whose amounts are of atoms after all is written with every amount: Ti6Al4V1.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SHORT = {
    "BTO": "BaTiO3", "STO": "SrTiO3", "PTO": "PbTiO3", "BFO": "BiFeO3", "BBO": "BaB2O4", "KDP": "KH2PO4",
    "KTP": "KTiOPO4", "BST": "Ba0.5Sr0.5TiO3", "KNN": "K0.5Na0.5NbO3", "BNT": "Bi0.5Na0.5TiO3",
    "NBT": "Na0.5Bi0.5TiO3", "KBBF": "KBe2BO3F2", "YBCO": "YBa2Cu3O6.9", "BSCCO": "Bi2Sr2CaCu2O8",
    "BSCF": "Ba0.5Sr0.5Co0.8Fe0.2O3", "ITO": "In1.8Sn0.2O3", "PVDF": "C2H2F2", "PVC": "C2H3Cl", "PP": "C3H6",
    "PVP": "C6H9NO",
}  # fmt: skip
"""Abbreviation -> the formula that it likely means."""
_STEEL = r"(?:X\d{1,3}|[1-9]\d{1,2})(?:Cr|Mn|Mo|Ni|Si|V|W|Al|B|S|Nb|Ti|Co|Cu){1,4}\d{1,2}(?:-\d{1,2}){0,4}|S\d\dC"
_ALLOY = (
    r"Al(?:Si(?:[5-9]|1\d)|(?:Zn|Cu|Mg)[4-9](?:\.\d)?(?=[A-Z]))(?:(?:Si|Cu|Mg|Zn|Mn|Cr|Pb|Fe|Ni)(?:\d(?:\.\d{1,2})?)?){0,4}|"
    r"Ti(?:6Al4V(?:ELI)?|6Al7Nb|3Al2\.5V|5Al2\.5Sn|10V2Fe3Al|6Al2Sn4Zr[26]Mo|15V3Cr3Sn3Al|5Al5V5Mo3Cr|8Al1Mo1V|13Nb13Zr)|"
    r"Cu(?:Zn[1-4]\d|Sn(?:[68]|1[02])|Ni[1-4]\d|Al(?:[5-9]|10|11))(?:(?:Pb|Al|Ni|Mn|Sn|Si|Fe|Zn|P)\d{0,2}){0,4}|"
    r"NiCr(?:\d\d/\d\d|[12]\d|30)(?:(?:Fe|Mo|Co|Al|Ti|Nb|Si|Mn)\d{0,2}){0,5}"
)
_NUMBERED = r"Ti(?:64|6242|6246|5553|1023|834)|IN-?\d{3}[A-Z]{0,2}"
_BASE = r"(?:ICSD|COD|OQMD|CID)[-_ :#]{0,2}\d+"
_KINDS = re.compile(rf"(?P<steel>{_STEEL})|(?P<alloy>{_ALLOY})|(?P<number>{_NUMBERED})|(?P<base>{_BASE})")
_WITHOUT_AMOUNT = re.compile(r"([A-Z][a-z]?)(?![a-z\d])")


class Alias(NamedTuple):
    """What a text is the name of, and what to do."""

    found: str
    remedy: str
    likely: tuple[str, ...] = ()


def alias(text: str) -> Alias | None:
    """Return what a text that spells elements is the name of; None of a formula."""
    if meant := SHORT.get(text):
        return Alias(f"{text!r} is short for a compound", f"likely {meant}: write what is meant", (meant,))
    match = _KINDS.fullmatch(text)
    kind = match.lastgroup if match else None
    if kind == "alloy":
        atoms = _WITHOUT_AMOUNT.sub(r"\g<1>1", text)
        remedy = f"write it with hyphens, such as Ti-6Al-4V, and say --composition wt%; write {atoms} for atoms"
        return Alias("this is the name of an alloy, whose amounts are per cent of weight", remedy)
    if kind == "base":
        return Alias("this is a number in a database, not a formula", "write the composition")
    if kind:
        return Alias("this is the name of a grade, not a formula", "write its composition, such as Fe97Cr1Mn1C1")
    return None

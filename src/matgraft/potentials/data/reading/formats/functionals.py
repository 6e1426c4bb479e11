"""Names of functionals as codes print them, as one name each: the name that VASP's reader gives, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypedDict

_GGA = {
    "LDA": ("lda", "pz", "slapz", "slapznogxnogc", "pade", "lsda", "ca", "pzlda", "ldapz", "localdensityapproximation"),
    "LDA-PW": ("pwlda", "pw92", "slapwnogxnogc", "slapw", "ldapw"),
    "PBE": ("pbe", "slapwpbxpbc", "slapwpbepbe", "perdewburkeernzerhof", "gga", "ggapbe"),
    "PBEsol": ("pbesol", "slapwpsxpsc", "pbeforsolids2008", "pbesolperdewetal2008"),
    "revPBE": ("revpbe", "slapwrevxpbc", "slapwrevpbepbe", "revisedperdewburkeernzerhof", "slapwrevpbc"),
    "RPBE": ("rpbe", "slapwhhnxpbc", "revisedpbe", "revisedperdewburkeernzerhofrpbe", "rpbehammeretal1999"),
    "PW91": ("pw91", "pw91gga", "slapwggxggc", "slapwpw91pw91", "perdewwang1991"),
    "BLYP": ("blyp", "slalypb88lyp", "slablypb88blyp", "becke88lyp", "slalypb88blyp"),
    "AM05": ("am05",),
    "vdW-DF": ("vdwdf", "vdwdf1"),
    "vdW-DF2": ("vdwdf2",),
}
_METAGGA = {
    "SCAN": ("scan", "ggaxscanggacscan", "slapwscanscan", "mggaxscanmggacscan", "ascan"),
    "r2SCAN": ("r2scan", "mggaxr2scanmggacr2scan"),
    "rSCAN": ("rscan", "mggaxrscanmggacrscan"),
    "TPSS": ("tpss", "tpsstpss", "slapwtpsstpss"),
    "M06-L": ("m06l", "m06lm06l"),
}
_HYBRID = {
    "HSE06": ("hse06", "hse", "pb0xpbc"),
    "HSE03": ("hse03",),
    "PBE0": ("pbe0", "slapwpb0xpbc", "pb0x"),
    "B3LYP": ("b3lyp",),
}
_LIBXC = {
    frozenset({"GGA_X_PBE", "GGA_C_PBE"}): "pbe",
    frozenset({"GGA_X_PBE_SOL", "GGA_C_PBE_SOL"}): "pbesol",
    frozenset({"GGA_X_PBE_R", "GGA_C_PBE"}): "revpbe",
    frozenset({"GGA_X_RPBE", "GGA_C_PBE"}): "rpbe",
    frozenset({"MGGA_X_SCAN", "MGGA_C_SCAN"}): "scan",
    frozenset({"MGGA_X_R2SCAN", "MGGA_C_R2SCAN"}): "r2scan",
}


class NamedFunctional(TypedDict, total=False):
    """The fields of a level of theory that a functional's name fills."""

    functional: str
    metagga: str
    hybrid: str


def named(text: str) -> NamedFunctional:
    """Return the fields for a functional as a code calls it; an unknown name stays as it is.

    >>> named("SLA  PW   PBX  PBC")
    {'functional': 'PBE'}
    """
    parts = frozenset(re.findall(r"(?<![A-Z])[A-Z]++_[XCK]++_[A-Z0-9_]++", text.upper()))
    key = _LIBXC.get(parts, re.sub(r"[\W_]", "", text.lower()))
    if found := _look_up(_METAGGA, key):
        return {"metagga": found}
    if found := _look_up(_HYBRID, key):
        return {"hybrid": found} if found == "B3LYP" else {"functional": "PBE", "hybrid": found}
    words = " ".join(text.split())
    return {"functional": _look_up(_GGA, key) or words} if words else {}


def _look_up(table: Mapping[str, tuple[str, ...]], key: str) -> str:
    return next((name for name, known in table.items() if key in known), "")

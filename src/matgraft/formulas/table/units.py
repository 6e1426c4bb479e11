"""In which unit the values of a column are: as its name says it, or as it is typed.

unit_in("gap (eV)"), unit_in("melting_point_K"), unit_in("E_form_eV_per_atom")     # eV, K, eV/atom
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from matgraft.core.errors import OptionError, nearest
from matgraft.formulas.table.cell import is_unit

_IN_BRACKETS = re.compile(r"[(\[]\s*([^()\[\]]+?)\s*[)\]]\s*$")
_BEHIND = re.compile(r"(?:\s/\s*|[\s_]in[\s_]|,\s*)([^\s,]+)\s*$")
_PARTS = re.compile(r"[\s_.]+")
_WORDS = frozenset("at atom fu f u d t s m g h l mol rad deg cycles min hr wt vol dm C F A G L N S T W mm cm".split())  # noqa: SIM905
"""Units that are words or letters as well: alone at the end of a name they are none."""
_SPELLED = {"ev": "eV", "gpa": "GPa"}


def unit_in(name: str) -> str:
    """Return the unit that the name of a column ends with; empty where it has none."""
    for pattern in (_IN_BRACKETS, _BEHIND):
        if (match := pattern.search(name)) and is_unit(match[1]):
            return match[1]
    parts = [_SPELLED.get(part, part) for part in _PARTS.split(name.strip())]
    for first in range(1, len(parts)):
        tail = parts[first:]
        units = [part for part in tail if part != "per"]
        if tail[0] != "per" and tail[-1] != "per" and units and is_unit(" ".join(units)):
            if len(units) == 1 and units[0] in _WORDS:
                return ""
            return "_".join(tail).replace("_per_", "/")  # W_m_K as it stands: where the stroke is, it does not say
    return ""


def shown_beside(name: str, unit: str) -> str:
    """Return the unit where it has to stand beside a name that does not end with it in brackets."""
    return "" if (match := _IN_BRACKETS.search(name)) and match[1] == unit else unit


def unit_of(name: str, typed: Sequence[str]) -> str:
    """Return the unit of a target: as it was typed, ``eV`` or ``gap=eV``, else as its name says it."""
    said = dict(_parted(word) for word in typed)
    return said.get(name, said.get("", unit_in(name)))


def refuse_units(typed: Sequence[str], targets: Sequence[str]) -> None:
    """Refuse units of targets that there are not, and one unit for several.

    Raises
    ------
    OptionError
        If a unit names no target, names a target twice, or leaves open which of several is meant.
    """
    named = [_parted(word)[0] for word in typed]
    for name, word in zip(named, typed, strict=True):
        if name and name not in targets:
            raise OptionError(
                f"--unit {word}: {name!r} is not a target", allowed=targets, remedy=nearest(name, targets)
            )
        if not name and len(targets) > 1:
            raise OptionError(
                f"--unit {word}: it could be of {' or of '.join(targets)}",
                allowed=[f"--unit {target}={word}" for target in targets],
            )
        if named.count(name) > 1:
            raise OptionError(f"--unit is given twice of {name or targets[0]!r}", remedy="leave one of them out")


def _parted(word: str) -> tuple[str, str]:
    name, sign, unit = word.rpartition("=")
    return (name, unit) if sign else ("", word)

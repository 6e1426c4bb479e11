"""Numbers and names as text for a table cell."""

from __future__ import annotations

import math
from collections.abc import Iterable

ABSENT = "–"
NOTHING = 5e-7
"""Below it six decimals are zeros."""


def cleaned(text: str) -> str:
    """Return a text that a terminal and a file take: no escape sequence, no half of a character."""
    if text.isprintable():
        return text
    whole = text.encode("utf-8", "replace").decode()
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in whole)


def percent(share: float, places: int = 1) -> str:
    """Write a share, 0 to 1, in per cent."""
    return f"{100 * share:.{places}f} %"


def short_number(value: float) -> str:
    """Write a number with up to six significant digits."""
    return f"{value:.6g}"


def written(value: float | None, places: int | None = None) -> str:
    """Write a number with thousands separated; by default with three significant digits; a dash for None."""
    if value is None:
        return ABSENT
    if not math.isfinite(value):
        return str(value)
    if places is None and abs(value) < NOTHING:
        return "0"
    return f"{value:,.{decimals([value]) if places is None else places}f}"


def interval(ends: tuple[float, float] | None, places: int | None = None) -> str:
    """Write an interval; empty where there is none or an end is not finite."""
    if ends is None or not all(map(math.isfinite, ends)):
        return ""
    places = decimals(ends) if places is None else places
    return f"{written(ends[0], places)} to {written(ends[1], places)}"


def decimals(values: Iterable[float | None], digits: int = 3) -> int:
    """Return how many decimals show `digits` significant ones of the smallest value: one for a whole column."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    return min(6, max(0, digits - 1 - math.floor(math.log10(min(sizes))))) if sizes else 0


def in_words(name: str) -> str:
    """``cutoff_eV`` -> ``cutoff (eV)``."""
    stem, _, unit = name.rpartition("_")
    return (
        f"{stem.replace('_', ' ')} ({unit.replace('A', 'Å')})" if unit in ("eV", "A", "GPa") else name.replace("_", " ")
    )

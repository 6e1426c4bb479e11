"""Values of the facts as text for a table cell, and ways to reach them that no odd value can break.

A run folder may be half written, or come from another version: what is not there is None, a dash or nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

ABSENT = "–"


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
    return f"{value:,.{decimals([value]) if places is None else places}f}"


def interval(ends: tuple[float, float] | None, places: int | None = None) -> str:
    """Write an interval; empty where there is none or an end is not finite."""
    if ends is None or not all(map(math.isfinite, ends)):
        return ""
    places = decimals(ends) if places is None else places
    return f"{written(ends[0], places)} to {written(ends[1], places)}"


def find(value: Any, *keys: str) -> Any:
    """Return ``value[key][key]...``, or None where the way ends."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it has names, else nothing."""
    return value if isinstance(value, Mapping) else {}


def entries(value: Any) -> list[Any]:
    """Return a list as it is, nothing for None, and anything else as its only entry."""
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def number(value: Any) -> float | None:
    """Return a finite number, or None."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if good and math.isfinite(value) else None


def decimals(values: Iterable[float | None], digits: int = 3) -> int:
    """Return how many decimals show `digits` significant ones of the smallest value: one for a whole column."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    return min(6, max(0, digits - 1 - math.floor(math.log10(min(sizes))))) if sizes else 0


def figure(value: Any, places: int | None = None) -> str:
    """Write a number with thousands separated; by default with three significant digits."""
    if (known := number(value)) is None:
        return str(value) if value in ("nan", "inf", "-inf") else ABSENT
    return f"{known:,.{decimals([known]) if places is None else places}f}"


def say(value: Any) -> str:
    """Write any value of the facts in a table cell."""
    if value is None or value in ("", [], {}):
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {say(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(say, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def span(ends: Any, places: int | None = None) -> str:
    """Write an interval; empty where there is none."""
    known = [number(end) for end in entries(ends)]
    if len(known) != 2 or None in known:
        return ""
    places = decimals(known) if places is None else places
    return f"{figure(known[0], places)} to {figure(known[1], places)}"


def stated(value: Any) -> Any:
    """Leave out of a mapping what nobody stated."""
    return (
        {name: item for name, item in value.items() if item not in (None, "", [], {})}
        if isinstance(value, Mapping)
        else value
    )


def in_words(name: str) -> str:
    """``cutoff_eV`` -> ``cutoff (eV)``."""
    stem, _, unit = name.rpartition("_")
    return (
        f"{stem.replace('_', ' ')} ({unit.replace('A', 'Å')})" if unit in ("eV", "A", "GPa") else name.replace("_", " ")
    )

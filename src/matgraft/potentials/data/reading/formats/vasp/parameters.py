"""Parameters of a VASP run: words under the names of tags, and what they say."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence

Parameters = Mapping[str, Sequence[str]]
"""Name of a tag -> its value as words: ``{"LDAUU": ["4.0", "0.0"]}``."""

_NUMBER = re.compile(r"[-+]?(?:\d++(?:\.\d++)?|\.\d++)\.?(?:[eE][-+]?\d+)?")


def stated_word(p: Parameters, name: str) -> str:
    """Return the first word; nothing where the tag is absent or left to VASP."""
    words = p.get(name) or [""]
    first = words[0].strip().strip("'\"")
    return "" if first.upper() in ("--", "NONE") else first


def stated_number(p: Parameters, name: str) -> float | None:
    """Return a finite number; None where there is none."""
    try:
        value = float(stated_word(p, name))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def flag(p: Parameters, name: str) -> bool | None:
    """Return a logical value; None where it is not stated."""
    stated = stated_word(p, name).strip(".").upper()
    return stated.startswith("T") if stated else None


def leading_numbers(words: Sequence[str]) -> list[float]:
    """Return the leading numbers: a comment may follow in an INCAR."""
    return [float(word) for word in itertools.takewhile(_NUMBER.fullmatch, words)]

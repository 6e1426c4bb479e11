"""Lines of a table as they are typed: ``3,7-9``."""

from __future__ import annotations

from collections.abc import Iterable

from matgraft.core.errors import OptionError

MOST = 1_000_000
"""Lines that a range may name."""


def read_lines(text: str) -> tuple[int, ...]:
    """Return the lines that a text names, rising.

    >>> read_lines("3,7-9")
    (3, 7, 8, 9)

    Raises
    ------
    OptionError
        If a part is no line and no range of lines.
    """
    found: set[int] = set()
    for part in filter(None, (one.strip() for one in text.split(","))):
        first, dash, last = (one.strip() for one in part.partition("-"))
        ends = (first, last if dash else first)
        if not all(one.isascii() and one.isdigit() and len(one) <= 9 for one in ends):
            raise _strange(part)
        low, high = map(int, ends)
        if not 1 <= low <= high or high - low > MOST:
            raise _strange(part)
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def write_lines(lines: Iterable[int]) -> str:
    """Return lines as they are typed.

    >>> write_lines([9, 3, 7, 8])
    '3,7-9'
    """
    runs: list[list[int]] = []
    for line in sorted(set(lines)):
        if runs and line == runs[-1][-1] + 1:
            runs[-1][1:] = [line]
        else:
            runs.append([line])
    return ",".join("-".join(map(str, run)) for run in runs)


def _strange(part: str) -> OptionError:
    return OptionError(f"{part!r} names no lines of a table", allowed=["lines and ranges of lines: 3,7-9"])

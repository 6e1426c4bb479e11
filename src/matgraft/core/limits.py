"""How large an input may be: what bounds the work on any file or text, each bound with its reason.

    limits().yaml_bytes                       # 4194304
    require("yaml_bytes", len(content), "frames.yaml")

A file that a stranger made may ask for any amount of time and memory. What no honest file comes near is refused, with
the name of the limit. One variable raises them, and workers inherit it:
``MATGRAFT_LIMITS="yaml_bytes=64M,nesting=500"``.
docs/limits.md lists them. What the machine gives is another matter: `matgraft.core.machine`.
"""

from __future__ import annotations

import os
from functools import lru_cache

from pydantic import Field, ValidationError

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.frozen import Frozen

VARIABLE = "MATGRAFT_LIMITS"
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Limits(Frozen):
    """What an input may have at most; the unit is the last word of each name, where it is not a plain number."""

    yaml_bytes: int = Field(
        4 * 2**20, gt=0, description="Of a YAML file or an option. A recipe has 1 kB; 4 MiB are read in 20 s."
    )
    yaml_values: int = Field(
        1_000_000,
        gt=0,
        description="Of a YAML text with what its aliases repeat: nine lines of aliases can stand for 1e9 values.",
    )
    whole_bytes: int = Field(
        4 * 2**30, gt=0, description="Of a file that is read at once: JSON, which takes three times as much memory."
    )
    nesting: int = Field(
        100, gt=0, description="Of lists, mappings and elements inside one another: records of structures have 10."
    )
    line_bytes: int = Field(
        16 * 2**20, gt=0, description="Of one line of a text. The longest that codes write have a few thousand."
    )
    output_line_bytes: int = Field(
        10_000,
        gt=0,
        description="Of one line of a text in which patterns are looked for: outputs of codes, and most of what ASE "
        "reads.",
    )
    blank_lines: int = Field(
        100_000, gt=0, description="Of blank lines in a row. Codes write a few; a million take as long as a real file."
    )
    parser_seconds: int = Field(
        60, gt=0, description="Of the processor, for a reader of ASE, and 20 more for each MiB: they take 1 or less."
    )
    unpacked_bytes: int = Field(
        2**36, gt=0, description="Of a packed file when it is unpacked: 64 GiB are ten million frames of 100 atoms."
    )
    packed_ratio: int = Field(
        100, gt=0, description="Of unpacked to packed bytes, counted beyond 64 MiB: texts of codes have 3 to 30."
    )
    fetched_bytes: int = Field(
        2**31, gt=0, description="Of a file that `matgraft fetch` brings: published potentials have 7 to 134 MB."
    )
    row_bytes: int = Field(2**28, gt=0, description="Of a row of an LMDB file, unpacked: a million atoms.")
    atoms: int = Field(
        10_000_000, gt=0, description="Of one structure: a potential takes 10 kB and more for each of them."
    )
    columns: int = Field(
        10_000, gt=0, description="Of an atom's line in extended XYZ: descriptors have a few thousand."
    )
    table_bytes: int = Field(2**29, gt=0, description="Of a table, unpacked: a million rows of 500 characters.")
    table_cells: int = Field(20_000_000, gt=0, description="Of a table; each takes about 100 bytes of memory.")
    formula_characters: int = Field(
        2_000, gt=0, description="Of a formula; of 30 elements with amounts of 9 digits each it has fewer than 400."
    )
    formula_nesting: int = Field(
        50, gt=0, description="Of brackets inside one another in a formula; a coordination compound has three."
    )


def limits() -> Limits:
    """Return the limits that hold; raises an `OptionError` where the variable is not readable."""
    return _parsed(os.environ.get(VARIABLE, ""))


def exceeded(name: str, found: str, where: str = "") -> DataError:
    """Return the error of an input that is beyond a limit.

    Parameters
    ----------
    name
        Of a field of `Limits`.
    found
        How much the input has, or that it has more: ``lists 10,000 deep``.
    """
    bound = getattr(limits(), name)
    return DataError(
        f"{found}; at most {bound:,} ({name}) are read",
        where=where,
        remedy=f"is it the file that was meant? {VARIABLE}={name}=NUMBER before the command raises the limit",
    )


def require(name: str, number: int, what: str, where: str = "") -> None:
    """Raise a `DataError` where a number is beyond a limit.

    Parameters
    ----------
    what
        What is counted: ``bytes of YAML``.
    """
    if number > getattr(limits(), name):
        raise exceeded(name, f"{number:,} {what}", where)


@lru_cache(maxsize=16)
def _parsed(text: str) -> Limits:
    known = list(Limits.model_fields)
    given: dict[str, int | str] = {}
    for item in text.replace(",", " ").split():
        name, _, value = item.partition("=")
        if name not in Limits.model_fields:
            raise OptionError(f"unknown limit {name!r}", where=VARIABLE, allowed=known, remedy=nearest(name, known))
        number, unit = (value[:-1], _UNITS[value[-1:]]) if value[-1:] in _UNITS else (value, 1)
        given[name] = int(number) * unit if number.isdecimal() and len(number) < 19 else value
    try:
        return Limits.model_validate(given)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise OptionError(
            f"{name}={given[name]} is not a limit",
            where=VARIABLE,
            allowed=["a whole number above 0", "64K", "16M", "2G"],
        ) from None

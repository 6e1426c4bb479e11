"""Extended XYZ, frame by frame: ASE parses what is not plain; what it stumbles over is corrected or named by its line.

A byte-order mark is skipped. D and T are hydrogen: a potential knows no masses. ASE would stop at a blank line without
a word, and its message for a frame that is cut off does not say which one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict, read_xyz

from matgraft.core.errors import DataError
from matgraft.core.limits import exceeded, limits
from matgraft.core.unpack import lines, open_text
from matgraft.potentials.data.reading.formats.plain_extxyz import plain_frame
from matgraft.potentials.data.reading.raw import UNREADABLE

HIDDEN = "as-written:"
"""ASE takes nothing but nine numbers under the keys stress and virial of a comment line, and keeps one triangle. Six
are common too, so the keys are hidden from ASE under this prefix and come out as written."""
_STRESS_KEY = re.compile(r"""(?<![^\s"'])(stress|virial)(?=\s*=)""")
_WRITTEN = re.compile(r"""(?<![^\s"'])([^\s"'={}]+)\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|[^\s"'{]+)""")
_PROPERTIES = re.compile(r"""(?<![^\s"'])Properties\s*=\s*["']?([^\s"']+)""")
_ANY_CASE = re.compile(r"(?<!\S)(?:lattice|properties|pbc)(?=\s*=)", re.IGNORECASE)
_USUAL = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
_ISOTOPES = {"D": "H", "T": "H", "2H": "H", "3H": "H"}
_DIGITS = 18  # of a number of atoms
_BYTE_ORDER_MARK = "\ufeff"


def read_frames(path: Path, name: str) -> Iterator[tuple[Atoms, Mapping[str, object] | None, tuple[str, ...]]]:
    """Walk over the frames of a file, each with its values and with notes on it.

    Values are None where they are in the structure, where ASE puts them.

    Raises
    ------
    DataError
        With the frame and the line, where a frame is cut off or no frame, or frames follow a gap.
    """
    for index, (number, block) in enumerate(_blocks(path, name)):
        block[1] = _with_usual_keys(block[1])
        if plain := plain_frame(block):
            yield *plain, ()
            continue
        block, notes = _without_isotopes(block)
        try:
            (atoms,) = read_xyz(StringIO("".join(block)), slice(None), properties_parser=_comment)
        except DataError as error:
            raise DataError(error.found, where=f"{name} frame {index}", remedy=error.remedy) from error
        except Exception as error:  # ASE's parser raises whatever went wrong in it
            found = _fault(number, block) or f"ASE cannot read it as extxyz: {error}"
            raise DataError(found, where=f"{name} frame {index}") from error
        yield atoms, None, notes


def _with_usual_keys(comment: str) -> str:
    """Write Lattice, Properties and pbc as extended XYZ does: GPUMD takes them in any letters."""
    if "Lattice=" in comment and "Properties=" in comment:
        return comment
    return _ANY_CASE.sub(lambda key: _USUAL[key[0].lower()], comment)


def _blocks(path: Path, name: str) -> Iterator[tuple[int, list[str]]]:
    """Walk over the lines of each frame, with the number of the first."""
    try:
        with open_text(path, name) as file:
            numbered = enumerate(lines(file, name), start=1)
            number, head = next(numbered, (0, ""))
            for frame in itertools.count():
                head = head.lstrip(_BYTE_ORDER_MARK)
                if not head.strip():
                    _refuse_gap(number, numbered, f"{name} frame {frame}")
                    return
                block = [head, *_body(number, head, numbered, f"{name} frame {frame}")]
                first, (number, head) = number, next(numbered, (0, ""))
                while head.lstrip().startswith("VEC"):  # ADF's form: cell vectors follow the atoms
                    block.append(head)
                    number, head = next(numbered, (0, ""))
                yield first, block
    except UNREADABLE as error:
        raise DataError(
            f"the file is not readable text: {error}",
            where=name,
            remedy="write it as UTF-8: an editor does so on saving, or the program iconv",
        ) from error


def _refuse_gap(number: int, rows: Iterator[tuple[int, str]], where: str) -> None:
    later = next((n for n, line in rows if line.strip()), None)
    if later is not None:
        raise DataError(f"line {number} is blank but line {later} goes on", where=where, remedy="take the gap out")


def _body(number: int, head: str, rows: Iterator[tuple[int, str]], where: str) -> list[str]:
    """Return the comment line and those of the atoms."""
    if not head.strip().isdecimal():
        raise DataError(f"line {number} should be a number of atoms, it is {head.strip()[:40]!r}", where=where)
    if len(head.strip()) > _DIGITS:
        raise DataError(f"line {number} asks for {head.strip()[:40]}... atoms", where=where)
    wanted = int(head) + 1
    body = [line for _, line in itertools.islice(rows, wanted)]
    if len(body) < wanted:
        said = f"{max(len(body) - 1, 0)} of {wanted - 1} atoms"
        raise DataError(f"the file ends in the middle of it: {said}", where=where)
    if not body[-1].endswith("\n") and _number_is_cut(body[1:]):
        raise DataError(f"the file ends in the middle of a number: {body[-1][-20:]!r}", where=where)
    return body


def _number_is_cut(rows: Sequence[str]) -> bool:
    """Say whether the last number has fewer decimals than all above it, which have the same."""
    if len(rows) < 4 or len({len(row.split()) for row in rows}) > 1:
        return False
    decimals = [len(row.split()[-1].partition(".")[2]) if row.strip() else 0 for row in rows]
    above = set(decimals[:-1])
    return len(above) == 1 and decimals[-1] < min(above) and min(above) >= 5


def _comment(line: str) -> dict[str, object]:
    _refuse_two_values(line)
    found = dict(key_val_str_to_dict(_STRESS_KEY.sub(rf"{HIDDEN}\1", line)))
    widths = [word for word in re.split("[:,\\s]", str(found.get("Properties", ""))) if word.isdecimal()]
    if any(len(word) > _DIGITS for word in widths) or sum(map(int, widths)) > limits().columns:
        raise exceeded("columns", "more columns are named")  # ASE takes memory for all before it looks at a row
    if "pbc" in found and not set(np.ravel(np.asarray(found["pbc"], dtype=object)).tolist()) <= {0, 1}:
        raise DataError("pbc is not of T and F", remedy='write pbc="T T T" with F along vectors that do not repeat')
    return found


def _refuse_two_values(line: str) -> None:
    """Raise where a key has two values that differ: ASE would take the last without a word."""
    known: dict[str, str] = {}
    for key, value in _WRITTEN.findall(line):
        if known.setdefault(key, value) != value:
            raise DataError(f"the comment line gives {key[:40]} twice", remedy="leave one of the two values")


def _columns(comment: str) -> tuple[int, int | None]:
    """Return how many columns an atom's line has, and which of them is the species; None for none."""
    found = _PROPERTIES.search(comment)
    parts = (found[1] if found else "species:S:1:pos:R:3").split(":")
    widths = [int(width) if width.isdecimal() and len(width) <= _DIGITS else 0 for width in parts[2::3]]
    before = parts[::3].index("species") if "species" in parts[::3] else None
    return sum(widths), None if before is None else sum(widths[:before])


def _without_isotopes(block: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Write hydrogen for its isotopes, and say for which."""
    _, species = _columns(block[1])
    if species is None:
        return block, ()
    rows = [line.split(None, species + 1) for line in block[2:]]
    named = [row[species].upper() if len(row) > species else "" for row in rows]
    found = sorted(set(named) & _ISOTOPES.keys())
    if not found:
        return block, ()
    for k, name in enumerate(named):
        if name in _ISOTOPES:
            row = rows[k]
            row[species] = _ISOTOPES[name]
            block[2 + k] = " ".join(row).rstrip() + "\n"
    return block, tuple(f"{name} is read as hydrogen: its mass plays no role in energies and forces" for name in found)


def _fault(number: int, block: Sequence[str]) -> str:
    """Say which line of a frame is at fault; empty where none can be told."""
    width, species = _columns(block[1])
    for n, line in enumerate(block[2 : 2 + int(block[0])], start=number + 2):
        row = line.split()
        if len(row) < width:
            return f"line {n} has {len(row)} columns, {width} are named: {line.strip()[:40]!r}"
        if species is not None and row[species].capitalize() not in atomic_numbers:
            more = ": write symbols; a number may be that of an element or a type" if row[species].isdecimal() else ""
            return f"line {n} names {row[species]!r}, which is not an element{more}"
    return ""

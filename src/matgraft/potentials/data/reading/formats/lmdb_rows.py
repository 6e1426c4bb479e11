"""LMDB files with rows of ASE, ``.aselmdb``, in which OMat24 and its kin are shipped.

Each value is compressed JSON: a row of ASE with numbers, positions, cell, pbc, energy, forces (eV, eV/Å) and stress
(six components in ASE's order, eV/Å³). LMDB files of pickled graphs (``.lmdb`` of OC20) are refused: to open them can
run code. Source: fairchem, the class `LMDBDatabase`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from matgraft.core.errors import DataError, ExtraError
from matgraft.core.limits import limits
from matgraft.core.processes import is_survived
from matgraft.core.texts import parse_json
from matgraft.core.unpack import inflate
from matgraft.potentials.data.reading.formats.base import FileHead, Format
from matgraft.potentials.data.reading.formats.records import record_frame
from matgraft.potentials.data.reading.raw import Conventions, RawFile

_CONVENTIONS = Conventions("an .aselmdb file", units={"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"})
_MAGIC = b"\xde\xc0\xef\xbe"  # 0xBEEFC0DE, in the first page behind its header
_HEADS, _PAGE_SIZE, _LAST_PAGE = 2**17, 40, 136
"""Bytes in which both heads lie; places in a head of the page size, and of the last page with its write's number."""


def read_lmdb(path: Path, name: str) -> RawFile:
    """Read the rows, in the order of their numbers.

    Raises
    ------
    DataError
        If the file is damaged, or its values are not compressed JSON.
    ExtraError
        If the package lmdb is not installed.
    """
    frames = tuple(record_frame((), row, f"{name} frame {index}") for index, row in enumerate(_rows(path, name)))
    if not frames:
        raise DataError("it has no rows", where=name)
    return RawFile(frames, _CONVENTIONS)


def _rows(path: Path, name: str) -> Iterator[dict[str, JsonValue]]:
    _require_whole(path, name)
    try:
        import lmdb
    except ImportError as error:
        raise ExtraError("lmdb", "mace") from error
    seconds = limits().parser_seconds + 20 * path.stat().st_size // 2**20
    if not is_survived(lambda: _walk(path), seconds):
        raise DataError("its pages lead to where there are none", where=name, remedy="is it whole? Copy it again")
    try:
        with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment, environment.begin() as view:
            for key in sorted((key for key, _ in view.cursor() if key.isdigit()), key=int):
                yield _row(view.get(key, b""), name, int(key))
    except lmdb.Error as error:
        raise DataError(f"LMDB cannot open it: {error}", where=name, remedy="was the file cut off?") from error


def _walk(path: Path) -> None:
    """Touch all that a file holds: LMDB maps it into memory, and follows its pages wherever they lead."""
    import lmdb

    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment, environment.begin() as view:
        for key, _ in view.cursor():
            view.get(key)


def _require_whole(path: Path, name: str) -> None:
    """Raise if the file is shorter than its last page says: LMDB would end the program at what is not there."""
    with path.open("rb") as file:
        start = file.read(_HEADS)
    pages = []
    if len(start) >= _LAST_PAGE + 16:
        (size,) = struct.unpack_from("<I", start, _PAGE_SIZE)
        heads = [offset for offset in (0, size) if offset + _LAST_PAGE + 16 <= len(start)]
        pages = [struct.unpack_from("<QQ", start, offset + _LAST_PAGE) for offset in heads]
    last, _ = max(pages, key=lambda page: page[1], default=(0, 0))
    if len(pages) < 2 or path.stat().st_size < (last + 1) * size:
        raise DataError("the file is cut off", where=name, remedy="copy it again")


def _row(value: bytes, name: str, number: int) -> dict[str, JsonValue]:
    """Unpack a row; its further values stand beside its own."""
    where = f"{name} row {number}"
    if value[:1] == b"\x80":
        raise DataError(
            "it has pickled objects, which are not opened: opening them can run code",
            where=where,
            remedy="write the frames as extended XYZ or .aselmdb with the program that made the file",
        )
    try:
        row = parse_json(inflate(value, "row_bytes", where), where)
    except (zlib.error, ValueError) as error:
        raise DataError(f"it is not compressed JSON: {error}", where=where) from error
    if not isinstance(row, dict):
        raise DataError(f"it is not a row but {str(row)[:40]!r}", where=where)
    further = [row.pop(part, None) for part in ("key_value_pairs", "data")]
    return row | {key: value for part in further if isinstance(part, dict) for key, value in part.items()}


def _recognises(head: FileHead) -> bool:
    return head.start[16:20] == _MAGIC


LMDB = Format("ASE's LMDB", _recognises, read_lmdb)

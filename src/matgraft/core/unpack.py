"""Packed files as streams: nothing is unpacked further than it is read, and no further than the limits.

    with open_unpacked(path) as file:            # .gz, .bz2, .xz, or a plain file
        for line in lines(file, path.name): ...
    inflate(value, limits().row_bytes, where)    # bytes that zlib packed

A file of 1 kB can hold 2 GB. `packed_ratio` and `unpacked_bytes` of `matgraft.core.limits` end it while it is read.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, AnyStr, BinaryIO

from matgraft.core.errors import DataError
from matgraft.core.limits import exceeded, limits

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PACKED = (".gz", ".bz2", ".xz")
"""Endings of files that are unpacked while they are read."""
BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""What reading raises on a file that is damaged or cut off, packed or not."""
FREE = 64 * 2**20
"""Bytes that may be unpacked of however few: a file of zeros is small, and harmless up to here."""
_BUFFER, _PART = 2**17, 2**24


def open_unpacked(path: Path, where: str = "") -> io.BufferedReader:
    """Open a file for reading bytes; of a packed one those that it holds.

    Parameters
    ----------
    where
        How messages call it; the path's name by default.

    Raises
    ------
    DataError
        While it is read, where it unpacks to more than the limits allow.
    """
    if path.suffix.lower() not in PACKED:
        return path.open("rb")
    return io.BufferedReader(_Bounded(path, where or path.name), _BUFFER)


def open_text(path: Path, where: str = "") -> IO[str]:
    """Open a file for reading UTF-8, of a packed one what it holds."""
    return io.TextIOWrapper(open_unpacked(path, where), encoding="utf-8")


def lines(file: IO[AnyStr], where: str, limit: str = "line_bytes") -> Iterator[AnyStr]:
    """Walk over the lines of a file.

    Parameters
    ----------
    limit
        What bounds their length.

    Raises
    ------
    DataError
        At a line that is longer than the limit.
    """
    longest: int = getattr(limits(), limit)
    read = file.readline
    while line := read(longest + 1):
        if len(line) > longest:
            raise exceeded(limit, f"a line of more than {longest:,} bytes", where)
        yield line


def read_whole(path: Path, name: str, where: str = "") -> bytes:
    """Return all bytes of a file, of a packed one those that it holds.

    Parameters
    ----------
    name
        The limit that bounds them.

    Raises
    ------
    DataError
        If there are more of them, or they cannot be read.
    """
    where = where or path.name
    bound = getattr(limits(), name)
    parts: list[bytes] = []
    left = bound
    try:
        with open_unpacked(path, where) as file:
            while left >= 0 and (part := file.read(min(_PART, left + 1))):  # memory as it is filled
                parts.append(part)
                left -= len(part)
    except BROKEN as error:
        raise DataError(f"it cannot be read: {error}", where=where) from error
    if left < 0:
        raise exceeded(name, f"more than {bound:,} bytes", where)
    return b"".join(parts)


def refuse_bomb(path: Path, where: str = "") -> None:
    """Unpack a packed file that someone else will open, and raise a `DataError` where it is beyond the limits."""
    if path.suffix.lower() in PACKED:
        with open_unpacked(path, where) as file:
            while file.read1(_BUFFER):
                pass


def inflate(packed: bytes, name: str, where: str) -> bytes:
    """Return what zlib packed.

    Parameters
    ----------
    name
        The limit that bounds it.

    Raises
    ------
    DataError
        If there is more of it.
    zlib.error
        If it is damaged.
    """
    unpacker = zlib.decompressobj()
    bound = min(getattr(limits(), name), most_of(len(packed)))
    content = unpacker.decompress(packed, bound + 1)
    if len(content) > bound:
        ratio = bound < getattr(limits(), name)
        raise exceeded("packed_ratio" if ratio else name, f"{len(packed):,} bytes unpack to more than {bound:,}", where)
    if not unpacker.eof:
        raise zlib.error("it is cut off")
    return content


def most_of(packed: int) -> int:
    """Return how many bytes may come out of how many."""
    return min(limits().unpacked_bytes, max(FREE, packed * limits().packed_ratio))


_OPENERS: dict[str, Callable[[BinaryIO], io.BufferedIOBase]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file, mode="rb"),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}


class _Bounded(io.RawIOBase):
    """The bytes of a packed file, as long as they are not too many for the bytes that they came from."""

    def __init__(self, path: Path, where: str) -> None:
        super().__init__()
        self._where, self._given = where, 0
        self._source = path.open("rb")
        self._unpacked = _OPENERS[path.suffix.lower()](self._source)
        self._size = path.stat().st_size

    @property
    def name(self) -> str:
        """Name of the packed file."""
        return str(self._source.name)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        # Bytes come from the unpacker's own buffer, 8 KiB at a time: what is read ahead of them does not grow.
        n = self._unpacked.readinto1(buffer)
        self._given += n
        if self._given > FREE and self._given > most_of(self._size):
            too_much = self._given > limits().unpacked_bytes
            name = "unpacked_bytes" if too_much else "packed_ratio"
            raise exceeded(name, f"{self._size:,} bytes unpack to more than {self._given:,}", self._where)
        return n

    def close(self) -> None:
        if not self.closed:
            self._unpacked.close()
            self._source.close()
        super().close()

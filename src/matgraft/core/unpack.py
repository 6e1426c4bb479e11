"""Packed files as streams: nothing is unpacked further than it is read, and no further than the limits.

    with open_unpacked(path) as file:            # .gz, .bz2, .xz, .zst, or a plain file
        for line in lines(file, path.name): ...
    unpacked(content, "table_bytes", where)      # the same of bytes
    inflate(value, limits().row_bytes, where)    # bytes that zlib packed

A file of 1 kB can hold 2 GB. `packed_ratio` and `unpacked_bytes` of `matgraft.core.limits` end it while it is read.
How a file is packed is known by its first bytes, under any name. Archives, which hold several files, and files that are
packed in another way are refused with the command that unpacks them (`refuse_archive`).

Source: the signatures of RFC 1952, RFC 8878, of bzip2 and xz, of POSIX's tar, and of the other programs.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, AnyStr, BinaryIO, cast

from matgraft.core.errors import DataError
from matgraft.core.limits import exceeded, limits, require

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PACKED = (".gz", ".bz2", ".xz", ".zst")
"""Endings of files that are unpacked while they are read."""
_BEGIN = {
    ".gz": re.compile(rb"\x1f\x8b"),
    ".bz2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    ".xz": re.compile(rb"\xfd7zXZ\0"),
    ".zst": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
}
"""How they begin."""
_ARCHIVES = (
    ("tar", re.compile(rb".{257}ustar", re.DOTALL), (".tar", ".tgz", ".tbz2", ".txz"), ("tar", "xf")),
    ("zip", re.compile(rb"PK(\x03\x04|\x05\x06|\x07\x08)"), (".zip",), ("unzip",)),
    ("7z", re.compile(rb"7z\xbc\xaf\x27\x1c"), (".7z",), ("7z", "x")),
    ("rar", re.compile(rb"Rar!\x1a\x07"), (".rar",), ("unrar", "x")),
    ("compress", re.compile(rb"\x1f[\x9d\xa0]"), (".z",), ("gzip", "-d")),
    ("lz4", re.compile(rb"\x04\x22\x4d\x18"), (".lz4",), ("lz4", "-d")),
    ("lzma", re.compile(rb"\x5d\0\0"), (".lzma",), ("xz", "-d")),
    ("lzip", re.compile(rb"LZIP\x01"), (".lz",), ("lzip", "-d")),
)
"""What is not read: its name, how it begins, endings, and the command that unpacks it."""
SIGNED = 512
"""Bytes by which it is known."""
BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""What reading raises on a file that is damaged or cut off, packed or not."""
FREE = 64 * 2**20
"""Bytes that may be unpacked of however few: a file of zeros is small, and harmless up to here."""
_BUFFER, _PART = 2**17, 2**24
_DICTIONARY = 2**30
"""Bytes of memory that an .xz file may ask for at once: `xz -9` takes 65 MB."""


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
    file = path.open("rb")
    try:
        ending = packed_as(path.name, file.peek(SIGNED))
        if not ending:
            return file
        return io.BufferedReader(_Bounded(file, ending, path.stat().st_size, where or path.name), _BUFFER)
    except BaseException:
        file.close()
        raise


def packed_as(name: str, start: bytes) -> str:
    """Return the ending of `PACKED` that says how a file is packed, by its first bytes or else by its name."""
    by_name = next((ending for ending in PACKED if name.lower().endswith(ending)), "")
    return next((ending for ending, begins in _BEGIN.items() if begins.match(start)), by_name)


def is_archive(name: str, start: bytes) -> bool:
    """Say whether a file is one of those that `refuse_archive` refuses."""
    return _archive(name, start) is not None


def refuse_archive(name: str, start: bytes, where: str = "") -> None:
    """Raise a `DataError` for an archive, and for a file that is packed in a way that is not read.

    Parameters
    ----------
    name
        Of the file.
    start
        Its first `SIGNED` bytes; of a packed file those that it holds.
    """
    if (found := _archive(name, start)) is not None:
        kind, command = found
        raise DataError(
            f"it is packed by {kind}, from which nothing is read",
            where=where or name,
            allowed=["files as they are", *(f"packed ones, {ending}" for ending in PACKED)],
            remedy="unpack it, and name what it held",
            commands=[(*command, where or name)],
        )


def _archive(name: str, start: bytes) -> tuple[str, tuple[str, ...]] | None:
    plain = name.lower()
    for ending in PACKED:
        plain = plain.removesuffix(ending)
    for kind, begins, endings, command in _ARCHIVES:
        if begins.match(start) or plain.endswith(endings):
            return kind, command
    return None


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
        At a line that is longer than the limit, and where more lines than `blank_lines` in a row are blank.
    """
    longest, most_blank = int(getattr(limits(), limit)), limits().blank_lines
    read, blank = file.readline, 0
    while line := read(longest + 1):
        if len(line) > longest:
            raise exceeded(limit, f"a line of more than {longest:,} bytes", where)
        blank = blank + 1 if line.isspace() else 0
        if blank > most_blank:
            raise exceeded("blank_lines", f"more than {most_blank:,} blank lines in a row", where)
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
    try:
        with open_unpacked(path, where) as file:
            return _all_of(file, name, where)
    except BROKEN as error:
        raise DataError(f"it cannot be read: {error}", where=where) from error


def unpacked(content: bytes, name: str, where: str) -> bytes:
    """Return what packed bytes hold; bytes that are not packed as they are. Errors are those of `read_whole`."""
    if not (ending := packed_as("", content[:SIGNED])):
        require(name, len(content), "bytes", where)
        return content
    try:
        with io.BufferedReader(_Bounded(io.BytesIO(content), ending, len(content), where), _BUFFER) as file:
            return _all_of(file, name, where)
    except BROKEN as error:
        raise DataError(f"the packed file is broken: {error}", where=where) from error


def _all_of(file: BinaryIO, name: str, where: str) -> bytes:
    left = bound = getattr(limits(), name)
    parts: list[bytes] = []
    while left >= 0 and (part := file.read(min(_PART, left + 1))):  # memory as it is filled
        parts.append(part)
        left -= len(part)
    if left < 0:
        raise exceeded(name, f"more than {bound:,} bytes", where)
    return b"".join(parts)


def is_packed_bytes(content: bytes) -> bool:
    """Say whether bytes are packed, in a way that is read."""
    return bool(packed_as("", content[:SIGNED]))


def is_packed(path: Path) -> bool:
    """Say whether a file is packed, in a way that is read."""
    with path.open("rb") as file:
        return bool(packed_as(path.name, file.peek(SIGNED)))


def refuse_bomb(path: Path, where: str = "") -> None:
    """Unpack a packed file that someone else will open, and raise a `DataError` where it is beyond the limits."""
    if is_packed(path):
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


def _xz(file: BinaryIO) -> io.BufferedIOBase:
    start = file.read(2**12)  # up to the first block's header, which says what memory it takes
    lzma.LZMADecompressor(memlimit=_DICTIONARY).decompress(start, 1)
    file.seek(0)
    return lzma.LZMAFile(file)


def _zst(file: BinaryIO) -> io.BufferedIOBase:
    import pyarrow as pa  # takes a tenth of a second

    return cast("io.BufferedIOBase", pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))


_OPENERS: dict[str, Callable[[BinaryIO], io.BufferedIOBase]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file, mode="rb"),
    ".bz2": bz2.BZ2File,
    ".xz": _xz,
    ".zst": _zst,
}


class _Bounded(io.RawIOBase):
    """What packed bytes hold, as long as it is not too much for them.

    Parameters
    ----------
    source
        The packed bytes; closed with this.
    ending
        Of `PACKED`.
    size
        Number of packed bytes.
    """

    def __init__(self, source: BinaryIO, ending: str, size: int, where: str) -> None:
        super().__init__()
        self._where, self._given, self._size, self._source = where, 0, size, source
        self._unpacked = _OPENERS[ending](source)
        # Bytes come from the unpacker's own buffer, 8 KiB at a time: what is read ahead of them does not grow.
        self._next = self._unpacked.readinto if ending == ".zst" else self._unpacked.readinto1

    @property
    def name(self) -> str:
        """Name of the packed file."""
        return str(getattr(self._source, "name", self._where))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        n = self._next(buffer)
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

"""A hash for each frame of a store and each thing that is asked of it: what is read is what was written.

| digest of          | over the rows of a frame in                             |
| ------------------ | ------------------------------------------------------- |
| numbers            | atoms/numbers                                           |
| geometry           | frames/cell, atoms/positions                            |
| tags               | tags                                                    |
| beside             | weights/..., components/..., of all labels in order     |
| energy ... magmom  | labels/..., of frames that carry the label              |

A frame picked at random needs its own rows alone to be judged, so a store stays a file that is read frame by frame. A
digest has 64 bits of BLAKE2b: enough for whatever happens to a file by accident or by an edit, in 64 bytes a frame.

Source: RFC 7693.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]

_TITLE = b"\nmatgraft sha256 "
TRAILER = len(_TITLE) + 64 + 1
"""Bytes that stand behind the file of HDF5, which does not look at them: the hash of all before them."""
_PIECE = 2**20


def digest(rows: Iterable[NDArray[Any]]) -> int:
    """Return the digest of the rows of one frame, arrays in the types in which the store keeps them."""
    found = hashlib.blake2b(digest_size=8)
    for row in rows:
        found.update(np.ascontiguousarray(row).data)
    return int.from_bytes(found.digest(), "little")


def digests(columns: Sequence[Sequence[NDArray[Any]]]) -> Digests:
    """Return (n,) the digest of each frame, of columns with n entries each."""
    return np.array([digest(rows) for rows in zip(*columns, strict=True)], dtype=np.uint64)


def first_changed(columns: Sequence[Sequence[NDArray[Any]]], known: Digests, carried: NDArray[np.bool_]) -> int | None:
    """Return the first of n frames that is not what was written; None where all are.

    Parameters
    ----------
    known
        (n,) digests that were written.
    carried
        (n,) frames that have it at all.
    """
    for k, rows in enumerate(zip(*columns, strict=True)):
        if carried[k] and digest(rows) != int(known[k]):
            return k
    return None


def trailer(path: Path) -> bytes:
    """Return what is to stand behind a file: the hash of its content."""
    return _TITLE + _sha256(_pieces(path)).encode() + b"\n"


def has_trailer(path: Path) -> bool:
    """Say whether a file ends with a trailer; whether it names the content of the file is another question."""
    said = _end(path)
    return said.startswith(_TITLE) and said.endswith(b"\n") and len(said) == TRAILER


def is_as_written(path: Path) -> bool | None:
    """Say whether a file has the content that its trailer names; None where it has no trailer."""
    if not has_trailer(path):
        return None
    return _end(path) == _TITLE + _sha256(_pieces(path, path.stat().st_size - TRAILER)).encode() + b"\n"


def _end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TRAILER))
        return file.read()


def _sha256(pieces: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def _pieces(path: Path, size: int | None = None) -> Iterator[bytes]:
    left = path.stat().st_size if size is None else size
    with path.open("rb", buffering=0) as file:
        while left and (piece := file.read(min(_PIECE, left))):
            left -= len(piece)
            yield piece

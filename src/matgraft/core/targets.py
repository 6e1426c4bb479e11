"""What is written to: a file, or a stream (standard output, a descriptor, a pipe, a device, a socket).

    is_stream(Path("/dev/stdout"))    # True: it is written to, a file is replaced
    ending(Path("/dev/stdout"), {".html", ".md"}, stream=".md")

A file is made beside its name and takes the name when it is whole (`matgraft.core.files.whole`). A stream has no such
name: what takes its place would be a file, and the device or the pipe would be gone.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

STDOUT = Path("/dev/stdout")
"""Standard output; on the command line it is also called ``-``."""
LONGEST_NAME = 255
"""Bytes of a file's name on the file systems in use (NAME_MAX of ext4, XFS, APFS, NTFS, NFS)."""
_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTOR = re.compile(
    r"/dev/(?P<word>stdin|stdout|stderr)|/dev/fd/(?P<device>\d+)|/proc/(?P<process>[^/]+)/fd/(?P<number>\d+)"
)
_MOST_LINKS = 40
"""Links that Linux follows, one after another."""


def is_stream(path: Path) -> bool:
    """Say whether a path is there and is neither a file nor a folder, or is a descriptor of this process."""
    if descriptor_of(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def descriptor_of(path: Path) -> int | None:
    """Return the descriptor of this process that a path (``/dev/stdout``, ``/dev/fd/3``, a link to it) names."""
    for _ in range(_MOST_LINKS):
        name = os.path.normpath(path.absolute())
        if found := _DESCRIPTOR.fullmatch(name):
            if found["process"] not in (None, "self", "thread-self", str(os.getpid())):
                return None
            return _STANDARD[found["word"]] if found["word"] else int(found["device"] or found["number"])
        try:
            path = path.parent / path.readlink()
        except (OSError, ValueError):  # no link
            return None
    return None


def ending(path: Path, known: Collection[str], stream: str) -> str | None:
    """Return the ending of `known` that says how a path is written; None if there is no such.

    Parameters
    ----------
    stream
        The one of a stream whose name says nothing.
    """
    own = path.suffix.lower()
    if own in known:
        return own
    return stream if is_stream(path) else None


def send(file: Path, stream: Path) -> None:
    """Write the content of a file to a stream. A named pipe waits for its reader.

    Raises
    ------
    OSError
        With the name of the stream: the reader is gone (BrokenPipeError), nobody listens, a device is full.
    """
    try:
        with file.open("rb") as content, _opened(stream) as sink:
            shutil.copyfileobj(content, sink)
    except OSError as error:
        error.filename = error.filename or os.fspath(stream)
        raise


class _Sink(Protocol):
    def write(self, content: bytes, /) -> object: ...


@contextmanager
def _opened(stream: Path) -> Iterator[_Sink]:
    number = descriptor_of(stream)
    if number is None and stream.is_socket():
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(os.fspath(stream))
            with peer.makefile("wb") as sink:
                yield sink
        return
    if number == 1 and sys.__stdout__ is not None:
        sys.__stdout__.flush()  # what was printed before comes first
    # A descriptor is doubled, not opened anew: a socket cannot be, and a file would be written from its start.
    opened = os.dup(number) if number is not None else os.open(stream, os.O_WRONLY)
    with os.fdopen(opened, "wb") as sink:
        yield sink


def short(name: str, room: int) -> str:
    """Return the end of a name that has at most so many bytes."""
    while len(os.fsencode(name)) > room:
        name = name[1:]
    return name


def as_text(name: str) -> str:
    """Return a file's name as text that UTF-8 can hold: another byte as a backslash and its number."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def keep_closed() -> None:
    """Keep standard streams that are closed from being opened again, as whatever file comes next."""
    for number in sorted(_STANDARD.values()):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest free number, this one; what is written to it fails

"""Messages between the process that wants labels and the one that computes them: facts as JSON, arrays as npz.

    send(stream, Ask(index=3), {"positions": positions})
    facts, arrays = receive(stream.fileno(), Ask, until=time.monotonic() + 60)

A message begins with four letters and two lengths, so that whatever else comes down the pipe is told from it. Nothing
is unpickled.
"""

from __future__ import annotations

import io
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

Facts = TypeVar("Facts", bound=BaseModel)
Arrays = dict[str, NDArray[Any]]

MOST_BYTES = 2**30
"""Of a message: a million atoms take a tenth."""

_HEAD = struct.Struct(">4sIQ")
_MAGIC = b"mgl1"


class WireError(Exception):
    """What came is no message, or none came."""


class SilenceError(WireError):
    """No message came in time."""


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of an npz file."""
    file = io.BytesIO()
    np.savez(file, **dict(arrays))  # type: ignore[arg-type]
    return file.getvalue()


def arrays_of_npz(content: bytes) -> Arrays:
    """Return the arrays of an npz file.

    Raises
    ------
    WireError
        If it is none, or holds anything but plain arrays.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, BadZipFile, AttributeError) as error:
        raise WireError(f"what came holds no arrays: {error}") from error


def send_message(descriptor: int, facts: BaseModel, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write a message; raises `BrokenPipeError` where nobody reads it any more."""
    said, content = facts.model_dump_json(by_alias=True).encode(), packed(arrays) if arrays else b""
    left = memoryview(_HEAD.pack(_MAGIC, len(said), len(content)) + said + content)
    while left:
        left = left[os.write(descriptor, left) :]


def receive(descriptor: int, kind: type[Facts], until: float | None = None) -> tuple[Facts, Arrays]:
    """Read a message.

    Parameters
    ----------
    kind
        Type of the facts.
    until
        `time.monotonic` up to which it is waited for; None for ever.

    Raises
    ------
    SilenceError
        If it does not come in time.
    EOFError
        If the other side has closed the pipe.
    WireError
        If what comes is no such message.
    """
    magic, n_facts, n_arrays = _HEAD.unpack(_exactly(descriptor, _HEAD.size, until))
    if magic != _MAGIC or n_facts + n_arrays > MOST_BYTES:
        raise WireError("what came is not a message")
    said, content = _exactly(descriptor, n_facts, until), _exactly(descriptor, n_arrays, until)
    try:
        facts = kind.model_validate_json(said)
    except ValidationError as error:
        raise WireError(f"the answer is not a {kind.__name__}: {error.errors()[0]['msg']}") from error
    return facts, arrays_of_npz(content) if content else {}


def _exactly(descriptor: int, count: int, until: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        if until is not None and not _comes(descriptor, until):
            raise SilenceError("no answer came in time")
        part = os.read(descriptor, min(count - len(parts), 2**20))
        if not part:
            raise EOFError("the pipe is closed")
        parts += part
    return bytes(parts)


def _comes(descriptor: int, until: float) -> bool:
    """Say whether something comes down a pipe in time; that it is closed counts as something."""
    look = select.poll()  # unlike `select`, for any number of open files
    look.register(descriptor, select.POLLIN)
    return bool(look.poll(max(0.0, until - time.monotonic()) * 1000))

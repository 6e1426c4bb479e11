"""Files written so that each is whole or is not there: a killed run or a full disk leaves the old one.

    with whole(path) as part:
        frame.to_csv(part)

All JSON of matgraft is made by `to_json`, in files and on the screen alike. JSON has no NaN and no infinity: they are
written as the words "nan", "inf" and "-inf", which `float` and pydantic read back as the numbers they were.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from matgraft.core.manifest import entering, leaving
from matgraft.core.signals import temporary, temporary_folder
from matgraft.core.targets import LONGEST_NAME, is_stream, send, short


def to_json(facts: Any, *, indent: int | None = 2, only_ascii: bool = False) -> str:
    """Return facts as strict JSON; with `only_ascii` for where other characters cannot be written."""
    return json.dumps(_strict(facts), indent=indent, ensure_ascii=only_ascii, allow_nan=False)


def write_json(path: Path, facts: Any, *, indent: int | None = 2) -> None:
    """Write strict JSON."""
    write_text(path, to_json(facts, indent=indent))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; a byte of a file's name that is none becomes "?"."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace")


_UMASK = os.umask(0o077)
os.umask(_UMASK)  # there is no other way to read it
_PART = ".part."
_LONE = re.compile("[\ud800-\udfff]")
"""Halves of a character: bytes of a file's name that are no UTF-8. JSON cannot hold them."""


def is_part(path: Path) -> bool:
    """Say whether a file is what a killed `whole` has left."""
    return name_of_part(path.name) != path.name


def name_of_part(name: str) -> str:
    """Return the name of what a part becomes; any other name as it is."""
    number, part, whole_name = name.removeprefix(".").partition(_PART)
    return whole_name if part and number.isdigit() else name


def part_name(name: str, pid: int | None = None) -> str:
    """Return the name under which a process, by default this one, writes a file before it is whole."""
    mark = f".{pid or os.getpid()}{_PART}"
    return mark + short(name, LONGEST_NAME - len(mark))


def writer_of(part: Path) -> int:
    """Return the process that wrote a part."""
    return int(part.name.removeprefix(".").partition(_PART)[0])


@contextmanager
def whole(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a name beside a path: the file written there becomes `path` when the block ends without an error.

    The name ends as `path` does, since some writers take the format from it. What is no file (`is_stream`) is not
    replaced: the file is written elsewhere, and its content then sent there. Where the folder has a manifest, the file
    is entered in it.

    Parameters
    ----------
    durable
        Whether the file shall survive a power cut as soon as the block has ended.
    """
    if is_stream(path):
        with temporary_folder() as folder:
            part = folder / path.name
            yield part
            send(part, path)
        return
    part = path.with_name(part_name(path.name))
    with temporary(part):
        try:
            yield part
            if durable:
                with part.open("rb") as file:
                    os.fsync(file.fileno())
            _permit(part, path)
            with entering(path, part, durable=durable):
                part.replace(path)
        except OSError as error:  # a full disk does not say which file it was that had no room
            if error.errno is not None and error.filename is None:
                error.filename = os.fspath(path)
            raise
        finally:
            part.unlink(missing_ok=True)


def _permit(part: Path, path: Path) -> None:
    """Give a file the permissions of the one that it replaces, or those of any new file.

    Some writers (safetensors) make files that their owner alone may read: a group could not open the model.
    """
    if part.is_file():
        with suppress(OSError):  # a file system without permissions
            part.chmod(path.stat().st_mode & 0o777 if path.is_file() else 0o666 & ~_UMASK)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there; a manifest does not miss it."""
    if not os.path.lexists(path):
        return
    with leaving(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _strict(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        return _LONE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(float(value))
    if isinstance(value, BaseModel):
        return _strict(value.model_dump(mode="json", by_alias=True))
    if isinstance(value, Mapping):
        return {_strict(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value

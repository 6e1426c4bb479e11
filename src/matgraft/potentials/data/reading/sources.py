"""Which files there are to read: files as named, folders searched for runs of codes, each with its format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.manifest import check_known
from matgraft.core.targets import as_text
from matgraft.potentials.data.reading.formats.base import Format
from matgraft.potentials.data.reading.formats.registry import FORMATS, find_runs, format_of


@dataclass(frozen=True)
class Source:
    """A file to read.

    Attributes
    ----------
    name
        Path relative to what all files share; unique.
    format
        What reads it.
    found
        True if a search came across it, False if the user named it.
    unread
        Files of frames that the same search came across and left alone; of one source of a search.
    """

    path: Path
    name: str
    format: Format
    found: bool = False
    unread: tuple[str, ...] = ()


def locate(given: Sequence[str | Path]) -> list[Source]:
    """Return the files to read, in the order given, folders searched through in the order of their paths.

    Raises
    ------
    DataError
        If a file or folder is missing, or a folder has no run of a code.
    OptionError
        If nothing is given, or a file twice.
    """
    if not given:
        raise OptionError("no file is given to read")
    paths = [_existing(Path(item)) for item in given]
    root = os.path.commonpath([path if path.is_dir() and format_of(path) is None else path.parent for path in paths])
    sources = [source for path in paths for source in _expand(path, Path(root))]
    twice = [name for name, count in Counter(source.name for source in sources).items() if count > 1]
    if twice:
        raise OptionError(f"{twice[0]} is given twice", remedy="its frames would count double: name it once")
    return list({source.path: source for source in (_whole_run(source, Path(root)) for source in sources)}.values())


def _whole_run(source: Source, root: Path) -> Source:
    """Return the file that stands for the run of a file: files of one run, named one by one, are one source."""
    main = source.format.main(source.path)
    name = source.name if main == source.path else Path(os.path.relpath(main, root)).as_posix()
    return replace(source, path=main, name=as_text(name))


def _existing(path: Path) -> Path:
    path = path.expanduser().absolute()
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError("no such file or folder", where=str(path), remedy=nearest(path.name, beside))
    return check_known(path) if path.is_file() else path


def _expand(path: Path, root: Path) -> list[Source]:
    form = format_of(path)
    if form is not None:
        return [Source(path, path.relative_to(root).as_posix(), form)]
    if not path.is_dir():
        raise DataError(
            "it is neither a file nor a folder, but a pipe, a socket or a device",
            where=str(path),
            remedy="write the frames into a file, and name that: they are looked at more than once",
        )
    runs, frames = find_runs(path)
    if not runs:
        others = sorted(other.name for other in path.iterdir() if other.is_file())
        raise DataError(
            "the folder has no output of a code and no data set below it",
            where=str(path),
            allowed=[form.title for form in FORMATS if form.find],
            remedy=f"name other files one by one: {', '.join(others[:3])}" if others else "",
        )
    left = tuple(other.relative_to(root).as_posix() for other in frames)
    return [
        Source(run, run.relative_to(root).as_posix(), form, found=True, unread=() if n else left)
        for n, (run, form) in enumerate(runs)
    ]

"""Which files there are to read: files as named, folders searched for VASP runs, each with the reader of its format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.potentials.data.reading.frames import read_ase
from matgraft.potentials.data.reading.outcar import read_outcar
from matgraft.potentials.data.reading.raw import COMPRESSED, RawFile
from matgraft.potentials.data.reading.records import read_json
from matgraft.potentials.data.reading.vasp import find_runs, is_outcar, is_vasprun, read_vasprun

_JSON = tuple(f".json{ending}" for ending in ("", *COMPRESSED))
Reader = Callable[[Path, str], RawFile]


@dataclass(frozen=True)
class Source:
    """A file to read.

    Attributes
    ----------
    name
        Path relative to what all files share; unique.
    reader
        The function that reads its format.
    found
        True if a search came across it, False if the user named it.
    """

    path: Path
    name: str
    reader: Reader
    found: bool = False

    @property
    def vasp(self) -> bool:
        """True for the output of a VASP run, which states its own level of theory."""
        return self.reader in (read_vasprun, read_outcar)


def locate(given: Sequence[str | Path]) -> list[Source]:
    """Return the files to read, in the order given, folders searched through in the order of their paths.

    Raises
    ------
    DataError
        If a file or folder is missing, or a folder has no VASP run.
    OptionError
        If nothing is given, or a file twice.
    """
    if not given:
        raise OptionError("no file is given to read")
    paths = [_existing(Path(item)) for item in given]
    root = os.path.commonpath([path if path.is_dir() else path.parent for path in paths])
    sources = [source for path in paths for source in _expand(path, Path(root))]
    twice = [name for name, count in Counter(source.name for source in sources).items() if count > 1]
    if twice:
        raise OptionError(f"{twice[0]} is given twice", remedy="its frames would count double: name it once")
    return sources


def _existing(path: Path) -> Path:
    path = path.expanduser().absolute()
    if not path.exists():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError("no such file or folder", where=str(path), remedy=nearest(path.name, beside))
    return path


def _expand(path: Path, root: Path) -> list[Source]:
    if not path.is_dir():
        return [Source(path, path.relative_to(root).as_posix(), _reader(path))]
    runs = find_runs(path)
    if not runs:
        others = sorted(other.name for other in path.iterdir() if other.is_file())
        raise DataError(
            "the folder has no vasprun.xml and no OUTCAR below it",
            where=str(path),
            remedy=f"name other files one by one: {', '.join(others[:3])}" if others else "",
        )
    return [Source(run, run.relative_to(root).as_posix(), _reader(run), found=True) for run in runs]


def _reader(path: Path) -> Reader:
    if is_vasprun(path):
        return read_vasprun
    if is_outcar(path):
        return read_outcar
    return read_json if path.name.lower().endswith(_JSON) else read_ase

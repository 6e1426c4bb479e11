"""What every format is: how a file of it is recognised, how it is read, and how its runs are found below a folder.

A format is one file of this folder, with one `Format` in it, and one row of
`matgraft.potentials.data.reading.formats.registry`. It decides nothing about labels: it hands over a
`matgraft.potentials.data.reading.raw.RawFile` with the values as they stood, under the names that stood there, and says
in its `Conventions` what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from matgraft.core.unpack import is_archive, open_unpacked, refuse_archive
from matgraft.potentials.data.reading.raw import COMPRESSED, UNREADABLE, RawFile

_HEAD = 1 << 16  # bytes in which a file shows what it is


def plain_path(path: Path) -> Path:
    """Leave out the ending of a packed file."""
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def without_packed(own: Sequence[Path], others: Sequence[Path] = ()) -> list[Path]:
    """Leave out the packed copies of files; the `Format.find` of codes that write one file a run."""
    there = {*own, *others}
    return [path for path in own if path == plain_path(path) or plain_path(path) not in there]


@dataclass(frozen=True)
class FileHead:
    """What a format looks at to recognise its files: the path, and the first bytes, read once for all formats.

    Attributes
    ----------
    path
        File or folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name without the ending of a packed file."""
        return plain_path(self.path).name

    @cached_property
    def start(self) -> bytes:
        """The first 64 KiB, unpacked, as far as they can be read; none of a folder or a pipe, which would wait."""
        if not self.path.is_file():
            return b""
        start = b""
        try:
            with open_unpacked(self.path) as file:
                while len(start) < _HEAD and (part := file.read1(_HEAD - len(start))):
                    start += part
        except UNREADABLE:
            pass  # of a packed file that is cut off, what came before
        return start

    @property
    def is_archive(self) -> bool:
        """True for a file that holds others, or is packed in a way that is not read; numpy's archives are none."""
        is_numpy = self.start[:4] == b"PK\x03\x04" and b".npy" in self.start[:256]
        return not is_numpy and is_archive(self.path.name, self.start)

    def refuse_archive(self) -> None:
        """Raise a `DataError` for such a file."""
        if self.is_archive:
            refuse_archive(self.path.name, self.start, str(self.path))

    @cached_property
    def text(self) -> str:
        """The first bytes as text; what is no UTF-8 becomes a replacement character."""
        return self.start.decode("utf-8", "replace")


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    title
        Its name in messages: ``VASP's vasprun.xml``.
    recognises
        Says whether a file, or a folder that is one data set, is of this format: by its content wherever that tells.
    read
        Reads a path; the second argument is how messages call it.
    find
        For outputs of codes and data sets in folders: which of this format's paths below a folder are to be read; the
        second argument are the paths of other formats there. Both are sorted. A run that wrote several files is named
        once. None: the format is read where it is named, and not searched for.
    main
        The file that stands for the run that a file belongs to; the file itself unless a run writes several.
    collects
        True if what a search finds is a collection: its frames need not be one trajectory, and a file beside it states
        the level of theory.
    """

    title: str
    recognises: Callable[[FileHead], bool]
    read: Callable[[Path, str], RawFile]
    find: Callable[[Sequence[Path], Sequence[Path]], Iterable[Path]] | None = None
    main: Callable[[Path], Path] = Path
    collects: bool = False

    @property
    def is_run(self) -> bool:
        """True for the output of one run of a code: its frames are one trajectory, and it states its own theory."""
        return self.find is not None and not self.collects

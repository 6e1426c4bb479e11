"""Options that name what is written: looked at before any work is done for them.

A file is written through a symbolic link; ``-`` is standard output, and then everything else goes to standard error.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

from matgraft.core.errors import OptionError
from matgraft.core.run_folder import refuse_no_folder
from matgraft.core.targets import LONGEST_NAME, STDOUT, descriptor_of, is_stream

STDIN = Path("/dev/stdin")
STDOUT_NUMBER = 1
_MODES = 3
"""Bits of a descriptor's flags that say whether it is read or written (O_ACCMODE)."""


def new_file(path: Path | None) -> Path | None:
    """Refuse a path that no file can be written to; the folder must be there."""
    return _checked(path, makes_folder=False)


def new_file_and_folder(path: Path | None) -> Path | None:
    """Refuse a path that no file can be written to; a folder that is missing is made."""
    return _checked(path, makes_folder=True)


def folder_to_make(path: Path | None) -> Path | None:
    """Refuse a path that no folder can be made at."""
    if path is None:
        return None
    if path == Path("-") or is_stream(path):
        what = "standard output" if path == Path("-") else f"{path}, which"
        raise OptionError(f"a folder is wanted, and {what} is none", allowed=["a new folder", "an empty one"])
    _refuse_name(path)
    refuse_no_folder(path)
    _refuse_read_only(next(one for one in (path, *path.parents) if one.exists()))
    return path


def _checked(path: Path | None, *, makes_folder: bool) -> Path | None:
    if path is None:
        return None
    if path == Path("-"):
        path = STDOUT
    if (number := descriptor_of(path)) is not None:
        _refuse_descriptor(path, number)
        return STDOUT if number == STDOUT_NUMBER else path
    _refuse_name(path)
    if path.is_dir():
        raise OptionError(f"{path} is a folder, and a file is to be written", allowed=["the name of a file in it"])
    if is_stream(path):
        if not os.access(path, os.W_OK):
            raise OptionError(f"{path} may not be written to", remedy="take another name, or change its mode")
        return path
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if makes_folder:
        refuse_no_folder(path.parent)
    elif not path.parent.is_dir():
        raise OptionError(
            f"{path}: there is no folder {path.parent}",
            remedy="make the folder first",
            commands=[] if path.parent.exists() else [["mkdir", "-p", path.parent]],
        )
    _refuse_read_only(next(one for one in path.parents if one.exists()))
    if path.exists() and not os.access(path, os.W_OK):
        raise OptionError(f"{path} is protected from writing", remedy="take another name, or change its mode")
    return path


def _refuse_descriptor(path: Path, number: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows, which has standard output alone
        return
    try:
        flags = fcntl.fcntl(number, fcntl.F_GETFL)
    except (OSError, OverflowError):
        raise OptionError(f"{path}: descriptor {number} is not open", remedy=f"open it: {number}>FILE") from None
    if flags & _MODES == os.O_RDONLY:
        closed = number in (1, 2) and os.path.samestat(os.fstat(number), Path(os.devnull).stat())
        found = "closed" if closed else "open for reading alone"
        raise OptionError(f"{path}: descriptor {number} is {found}", remedy="name a file by -o")


def _refuse_name(path: Path) -> None:
    """Refuse a name that the system does not take."""
    longest = max(path.parts, key=lambda name: len(os.fsencode(name)), default="")
    try:
        path.stat()
    except FileNotFoundError:
        if len(os.fsencode(longest)) > LONGEST_NAME:
            raise _too_long(longest) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _too_long(longest) from None
        if error.errno == errno.ELOOP:
            raise OptionError(f"{path}: the link leads to itself", remedy="take another name") from None
        if error.errno == errno.EACCES:
            raise OptionError(f"{path}: its folder may not be entered", remedy="take another folder") from None
        with suppress(StopIteration):  # ENOTDIR: a file where a folder should be
            there = next(one for one in path.parents if one.exists() and not one.is_dir())
            raise OptionError(f"{path}: {there} is a file, and a folder is wanted") from None
        raise


def _too_long(name: str) -> OptionError:
    return OptionError(
        f"the name {name[:20]}...{name[-20:]} has {len(os.fsencode(name))} bytes",
        allowed=[f"at most {LONGEST_NAME} bytes a name, and 4095 the whole path"],
    )


def _refuse_read_only(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionError(
            f"nothing can be written into the folder {folder}", remedy="take another folder, or change its mode"
        )


def refuse_inputs(target: Path, given: Iterable[object]) -> None:
    """Refuse a target that is read by the same command, or lies in a folder that is read and is there already.

    Parameters
    ----------
    given
        What else was typed: words and paths, also behind ``key=``.
    """
    if is_stream(target) or not target.exists():
        return
    there = target.resolve()
    for word in _words(given):
        with suppress(OSError, ValueError):  # a word that names no file
            read = STDIN if word == "-" else Path(word)
            if read.exists() and (read.samefile(target) or (read.is_dir() and read.resolve() in there.parents)):
                raise OptionError(f"{target} is read and would be written over", remedy="name another file by -o")


def _words(given: Iterable[object]) -> Iterator[str]:
    for one in given:
        if isinstance(one, list | tuple):
            yield from _words(one)
        elif isinstance(one, str | Path):
            word = str(one)
            yield from filter(None, (word, word.partition("#")[0], word.partition("=")[2]))


@contextmanager
def clean_stdout(targets: Mapping[str, Path], as_json: bool) -> Iterator[None]:
    """Keep standard output clean where data go there: what is printed inside goes to standard error.

    Raises
    ------
    OptionError
        If two of what is written would go there, facts for machines among them.
    """
    there = [name for name, path in targets.items() if path == STDOUT]
    asked = [*there, *["--json"] * as_json]
    if there and len(asked) > 1:
        raise OptionError(f"{' and '.join(asked)} both go to standard output", remedy="name a file for one of them")
    if not there:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield

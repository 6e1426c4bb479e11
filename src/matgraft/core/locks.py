"""One process at a time works in a run folder, or writes a store or a file; a second one is told who the first is.

    with locked(Path("runs/si"), new=True): ...          # the folder is made where it is missing
    with locked_file(Path("frames.h5")): ...
    @works_in("out", new=True)
    def tune(recipe, out): ...

The lock is the kernel's, on a file that lies in the folder or beside the file: it ends with the process, however this
ends, and holds between the machines of a network file system that knows locks (NFS from version 3 on, Lustre mounted
with ``flock``). Elsewhere a file that is there is the lock. Who holds it stands in a file beside it. All of these files
go with the lock; those that a killed process has left are taken over, and what it had half written is removed. Who only
reads takes no lock, and needs none: files are replaced whole.

Source: https://py-filelock.readthedocs.io; flock(2), on locks over NFS.
"""

from __future__ import annotations

import errno
import inspect
import os
import shlex
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import psutil
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout
from pydantic import AfterValidator

from matgraft.core.errors import RunError
from matgraft.core.files import is_part, part_name, write_json, writer_of
from matgraft.core.frozen import Frozen
from matgraft.core.manifest import FILE
from matgraft.core.signals import temporary
from matgraft.core.targets import LONGEST_NAME, is_stream, short

P = ParamSpec("P")
R = TypeVar("R")

LOCK, HOLDER, SOFT = ".lock", ".lock.json", ".soft"
PARTS = ".*.part.*"
"""What files are called before they are whole."""
ENDING_S = 3.0
"""In which the workers of a process that was killed are gone too; one of them may still hold the lock."""
LONGEST_COMMAND = 300
"""Characters of a command that are kept."""
MOST_BYTES = 10_000
"""Of the file that says who holds a lock."""
_NO_LOCKS = {getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP") if hasattr(errno, name)}
"""What a file system says that knows no locks."""

_held: dict[str, tuple[int, object]] = {}
"""Path of a lock of this process -> the thread that holds it, and its outermost block."""


def _printable(text: str) -> str:
    """Return a text that can do nothing to a terminal: others may write into a shared folder."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:LONGEST_COMMAND]


class Holder(Frozen):
    """Who holds a lock."""

    host: Annotated[str, AfterValidator(_printable)]
    pid: int
    command: Annotated[str, AfterValidator(_printable)]
    since: datetime

    @property
    def is_here(self) -> bool:
        """True on the machine of this process."""
        return self.host == socket.gethostname()

    @property
    def lives(self) -> bool:
        """Whether it is still there, as far as this machine can tell."""
        return not self.is_here or psutil.pid_exists(self.pid)


@contextmanager
def locked(folder: Path, *, new: bool = False) -> Iterator[None]:
    """Hold the lock of a folder in the block; blocks of one thread may lie in one another.

    Parameters
    ----------
    new
        Make the folder where it is missing; made folders that are empty at the end go again. Otherwise a folder that is
        missing is not locked: whatever reads it says so.

    Raises
    ------
    RunError
        If another process, or another thread, holds it.
    """
    there = next((one for one in (folder, *folder.parents) if one.exists()), None)
    if there is None or not there.is_dir() or not (new or there == folder):
        yield  # whoever works there refuses it, with words of its own
        return
    with ExitStack() as inside:
        if new:
            inside.enter_context(_made(folder))
        if inside.enter_context(_held_at(folder / LOCK, folder / HOLDER, str(folder))):
            has_depth = (folder / FILE).is_file()  # else it may be anything: a home folder
            _clear(folder.rglob(PARTS) if has_depth else folder.glob(PARTS))
        yield


@contextmanager
def locked_file(file: Path) -> Iterator[None]:
    """Hold the lock of a file that is written; what is no file (`is_stream`) has none. Errors as of `locked`."""
    if is_stream(file):
        yield
        return
    name = short(file.name, LONGEST_NAME - len(HOLDER) - 40)  # the holder's file is first written beside itself
    with ExitStack() as inside:
        if not file.parent.exists():
            inside.enter_context(_made(file.parent))
        at, said = file.parent / f".{name}{LOCK}", file.parent / f".{name}{HOLDER}"
        if inside.enter_context(_held_at(at, said, str(file))):
            _clear(file.parent.glob(PARTS), names=(file.name, said.name))
        yield


@contextmanager
def locked_files(files: Iterable[Path]) -> Iterator[None]:
    """Hold the locks of several files."""
    with ExitStack() as inside:
        for file in files:
            inside.enter_context(locked_file(file))
        yield


def works_in(name: str, *, new: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function hold the lock of the folder that its argument `name` says; of ``runs/si#PBE`` that of runs/si."""

    def with_lock(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def alone(*args: P.args, **kwargs: P.kwargs) -> R:
            folder = str(signature.bind(*args, **kwargs).arguments[name])
            with locked(Path(folder if Path(folder).exists() else folder.partition("#")[0]), new=new):
                return function(*args, **kwargs)

        return alone

    return with_lock


def is_lock(path: Path) -> bool:
    """Say whether a file is a lock or says who holds one."""
    return path.name.startswith(".") and path.name.endswith((LOCK, HOLDER, LOCK + SOFT))


def without_locks(folder: Path) -> list[Path]:
    """Return what lies in a folder beside its lock."""
    return [one for one in folder.iterdir() if not is_lock(one)]


# --- inside ----------------------------------------------------------------------------------------------------------


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    with suppress(OSError):  # whoever works there says what is wrong with it
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # something lies in it
            for one in made:
                one.rmdir()


def _clear(parts: Iterable[Path], names: Sequence[str] | None = None) -> None:
    """Remove what processes that were killed have half written: whoever holds the lock writes there alone.

    Parameters
    ----------
    names
        Of the files whose parts go; default: all.
    """
    for part in parts:
        if not is_part(part) or psutil.pid_exists(pid := writer_of(part)):
            continue
        if names is None or part.name in [part_name(name, pid) for name in names]:
            with suppress(OSError):
                shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()


@contextmanager
def _held_at(at: Path, said: Path, what: str) -> Iterator[bool]:
    """Hold a lock in the block; yield whether this is the outermost block that does."""
    key, mine = os.path.realpath(at), (threading.get_ident(), object())
    holder = _held.setdefault(key, mine)
    if holder[0] != mine[0]:
        raise _taken(_this_process(), at, what)
    if holder is not mine:  # a block of this thread lies around this one
        yield False
        return
    try:
        lock = _acquired(at, said, what)
        if lock is None:
            yield False
            return
        with temporary(at), temporary(said), temporary(Path(lock.lock_file)):
            try:
                with suppress(OSError):  # a full disk: the lock holds, and its error does not say by whom
                    write_json(said, _this_process())
                yield True
            finally:
                _let_go(lock, at, said)
    finally:
        del _held[key]


def _acquired(at: Path, said: Path, what: str) -> BaseFileLock | None:
    """Return the lock; None where nobody can write, and whoever works there says so."""
    try:
        return _acquire(FileLock(at, fallback_to_soft=False), said, what)
    except PermissionError:
        return None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return _acquire(SoftFileLock(at.with_name(at.name + SOFT)), said, what)
        if error.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            return None
        raise


def _acquire(lock: BaseFileLock, said: Path, what: str) -> BaseFileLock:
    try:
        lock.acquire(timeout=0)
        return lock
    except Timeout:
        holder = _holder(said)
    with suppress(Timeout):
        if holder is not None and not holder.lives:
            lock.acquire(timeout=ENDING_S, poll_interval=0.05)
            return lock
    raise _taken(holder, Path(lock.lock_file), what)


def _let_go(lock: BaseFileLock, at: Path, said: Path) -> None:
    """Remove the files while the lock is held: whoever opened them before looks again (`filelock`, ``st_nlink``)."""
    with suppress(OSError):
        said.unlink(missing_ok=True)
        if sys.platform != "win32":
            at.unlink(missing_ok=True)
    with suppress(OSError):
        lock.release()


def _this_process() -> Holder:
    name = Path(sys.argv[0]).name if sys.argv else "python"
    words = ["matgraft" if name == "__main__.py" else name, *sys.argv[1:]]  # python -m matgraft
    since = datetime.now(UTC).replace(microsecond=0)
    return Holder(host=socket.gethostname(), pid=os.getpid(), command=shlex.join(words), since=since)


def _holder(said: Path) -> Holder | None:
    """Return who holds a lock; None where the file is not there yet, or was written by something else."""
    try:
        with said.open("rb") as file:
            return Holder.model_validate_json(file.read(MOST_BYTES))
    except (OSError, ValueError):
        return None


def _taken(holder: Holder | None, at: Path, what: str) -> RunError:
    remove = f"if nobody works there any more, remove {at}"
    if holder is None:
        return RunError("another process works in it", where=what, remedy=f"wait until it has ended; {remove}")
    by = f"`{holder.command}`, process {holder.pid} of {holder.host}, since {holder.since.isoformat(sep=' ')}"
    if holder.is_here and holder.pid == os.getpid():
        return RunError(
            f"another thread of this process works in it: {by}", where=what, remedy="wait until it has ended"
        )
    if not holder.is_here:
        remedy = f"wait until it has ended, or end it on {holder.host}; {remove}"
    elif holder.lives:
        remedy = f"wait until it has ended, or end it by `kill {holder.pid}`"
    else:
        remedy = f"that process has ended, and one that it began holds the lock: end this one; {remove}"
    return RunError(f"another process works in it: {by}", where=what, remedy=remedy)

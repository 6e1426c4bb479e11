"""What the machine does not give (room on a disk, memory, files, processes), told as a `RunError`.

    with failures_told(lambda: resume_commands(run)):
        ...                       # OSError: [Errno 28] ... -> RunError: the disk is full; command: matgraft tune ...

Libraries tell the same thing in many ways: Python by the number of an `OSError` or by a `MemoryError`; torch, HDF5, the
writers in Rust and the dynamic loader in words alone, and sometimes an error of matgraft's hides one of these. They
are recognised here, and nowhere else.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from matgraft.core.errors import MatgraftError, RunError
from matgraft.core.files import name_of_part

Commands = Sequence[Sequence[object]]


class Told(NamedTuple):
    """A failure in words: what is lacking, and what to do."""

    found: str
    remedy: str


MEMORY = Told(
    "the memory does not suffice",
    "use fewer processes, smaller batches or fewer data, or more memory: the limits are "
    "those of the machine, of the job (memory.max of its control group) and of the shell (ulimit -v)",
)
GPU_MEMORY = Told("the memory of the GPU does not suffice", "take smaller batches, or a GPU with more memory")
DISK = Told(
    "the disk is full", "free space there, or name a folder on another disk (TMPDIR sets the folder of temporary files)"
)
SHARED = Told(
    "the shared memory (/dev/shm) does not suffice",
    "let fewer processes work at once, or give it more room: docker run --shm-size=1g, or mount -o remount,size=1g",
)
THREADS = Told(
    "the system starts no further process or thread",
    "let fewer processes work at once, or raise the limit: ulimit -u, or pids.max of the job's control group",
)
FILES = Told(
    "the system opens no further file for this process",
    "raise the limit: ulimit -n 4096, or let fewer processes work at once",
)
WORKER = Told(
    "a worker process was killed", "most often it is the memory: let fewer processes work at once, or ask for more"
)
LARGE = Told("a file would be larger than is allowed", "raise the limit: ulimit -f unlimited, or write to another disk")
MACHINE = {
    errno.ENOSPC: DISK,
    errno.EDQUOT: Told("your quota on the disk is used up", "make room there, or name a folder on another disk"),
    errno.EFBIG: LARGE,
    errno.EROFS: Told("the disk is read-only", "name a folder on another disk"),
    errno.EIO: Told("the disk answers with an error", "look into the system's log: the disk may be broken"),
    errno.ENOMEM: MEMORY,
    errno.EAGAIN: THREADS,
    errno.EMFILE: FILES,
    errno.ENFILE: Told("the system opens no further file", "let fewer programs run at once"),
}
"""Number of an OSError -> what the machine does not give, whoever asked for it."""
OTHER = {
    errno.EACCES: Told("the system does not permit it", "change the mode of the file or the folder, or name another"),
    errno.EPERM: Told("the system does not permit it", "name another file or folder"),
    errno.ENAMETOOLONG: Told("the name is too long", "take a name of at most 255 bytes, and a path of at most 4095"),
    errno.EPIPE: Told("the program that reads the output has ended", "look at what became of that program"),
    errno.ECONNREFUSED: Told("nobody listens there", "start the program that reads it"),
}
"""Number of an OSError that nobody expected -> what it says."""
WORDS = (
    (re.compile(r"(CUDA|HIP|MPS|XPU)\b.*out of memory|out of memory.*\b(GPU|CUDA)", re.S), GPU_MEMORY),
    (re.compile(r"shared memory|/dev/shm|torch_shm"), SHARED),
    (re.compile(r"No space left on device|os error 28\b|errno = 28\b|PytorchStreamWriter failed writing"), DISK),
    (re.compile(r"File too large|os error 27\b|errno = 27\b"), LARGE),
    (re.compile(r"Disk quota exceeded|os error 122\b|errno = 122\b"), MACHINE[errno.EDQUOT]),
    (re.compile(r"can't start new thread|os error 11\b|pthread_create"), THREADS),
    (re.compile(r"Too many open files|os error 24\b|errno = 24\b|ancdata"), FILES),
    (re.compile(r"MemoryError|bad_alloc|(allocate|not enough|insufficient|out of|[Ii]nsufficient) memory"), MEMORY),
    (re.compile(r"Error tokenizing data\. C error: (out of memory|Calling read\(nbytes\) on source failed)"), MEMORY),
    (re.compile(r"failed to map segment|unable to mmap|os error 12\b|errno = 12\b|memory allocation"), MEMORY),
    (
        re.compile(r"Could not determine home directory"),
        Told("no home folder is known", "set HOME to a folder that may be written, and name files without ~"),
    ),
    (
        re.compile(r"No usable temporary directory"),
        Told("there is no folder for temporary files", "set TMPDIR to a folder that may be written"),
    ),
)
"""What libraries say whose errors have no number; the first that fits holds."""


def failure_of(error: BaseException, commands: Commands = ()) -> RunError | None:
    """Return what the machine did not give, where an error or what led to it says so; else None.

    Parameters
    ----------
    commands
        That go on with what was stopped.
    """
    if isinstance(error, RunError):
        return None
    for one in _chain(error):
        if (told := _told(one, alone=one is error)) is not None:
            return RunError(told.found, where=_place(one), remedy=told.remedy, commands=commands)
    return None


@contextmanager
def failures_told(commands: Callable[[], Commands]) -> Iterator[None]:
    """Raise what the machine does not give inside the block as a RunError; other errors pass.

    Parameters
    ----------
    commands
        Returns those that go on with what was stopped.
    """
    try:
        yield
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        raise RunError(failure.found, where=failure.where, remedy=failure.remedy, commands=commands()) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _told(error: BaseException, *, alone: bool) -> Told | None:
    """Say what an error means.

    Parameters
    ----------
    alone
        It was not expected by anybody: then every OSError is one of the machine.
    """
    if isinstance(error, MatgraftError):
        return None
    if isinstance(error, BrokenExecutor):
        return WORKER
    if isinstance(error, OSError) and error.errno in MACHINE:
        return SHARED if "/dev/shm" in str(error) else MACHINE[error.errno]
    if isinstance(error, MemoryError):
        return MEMORY
    # Errors of the other kinds speak of what was read, in whose words anything may stand.
    speaks = not isinstance(error, ValueError | LookupError | TypeError | AttributeError) or _is_of_pandas(error)
    if speaks and (told := next((told for pattern, told in WORDS if pattern.search(str(error))), None)) is not None:
        return told
    if alone and isinstance(error, OSError):
        return OTHER.get(error.errno or 0) or Told(error.strerror or str(error), "")
    return None


def _is_of_pandas(error: BaseException) -> bool:
    """Say whether an error is a ValueError by which pandas tells that a file could not be read any further."""
    return type(error).__module__ == "pandas.errors"


def _place(error: BaseException) -> str:
    name = getattr(error, "filename", None) if isinstance(error, OSError) else None
    if not isinstance(name, str | bytes):
        return ""
    path = Path(os.fsdecode(name))
    return str(path.with_name(name_of_part(path.name))) if path.name else str(path)

"""Ctrl-C, SIGTERM and a closed terminal: one line, nothing half-written, nobody left computing, within five seconds.

    with heard():                     # the command line's first statement, before anything large is imported
        ...
    with temporary(path): ...         # a file or folder that is removed however the process ends, but by SIGKILL
    with temporary_folder() as made: ...

Nothing is installed by an import: whoever calls the library from Python keeps Python's own `KeyboardInterrupt`.

1. The first signal ends the worker processes, and raises `Interrupted` where Python stands. So every block leaves as on
   an error: partial files are removed, jobs are cancelled, locks are let go. What can be gone on with was written by
   checkpoints before.
2. Python hears a signal between two of its own instructions, and compiled code may take minutes until then; some
   libraries swallow the exception. The system's handler writes a byte into a pipe at once, and a thread that waits
   there gives the process `GRACE_S`. Then it removes what is temporary, ends whatever this process began, and the
   process. A second signal does so without any grace.
3. A forked worker listens to its parent alone: it ignores Ctrl-C, which a terminal sends to all processes of a command,
   and ends with its parent.

The thread cannot run while compiled code holds the interpreter's lock: then SIGKILL remains.

Source: signal.set_wakeup_fd of Python's documentation; prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

GRACE_S = 3.0
"""For Python to come back and leave its blocks; what is promised is five seconds, on a busy machine."""
WORDS = {
    "SIGINT": "interrupted by Ctrl-C (SIGINT)",
    "SIGTERM": "ended by SIGTERM",
    "SIGHUP": "ended by SIGHUP: its terminal was closed",
}


class Interrupted(SystemExit):
    """A signal was heard; `code` is 128 and its number, as shells count.

    It is no `KeyboardInterrupt`, which frameworks of command lines catch to leave with codes of their own.
    """


@dataclass
class _State:
    """Of this process.

    Attributes
    ----------
    number
        Of the first signal that was heard; 0 before.
    goes_on
        Says how what was begun is gone on with.
    ending
        Held by the thread that ends the process, and never let go.
    said
        Whether the line was written.
    """

    installed: bool = False
    number: int = 0
    goes_on: Callable[[], str] | None = None
    temporary: set[Path] = field(default_factory=set)
    ending: threading.Lock = field(default_factory=threading.Lock)
    said: bool = False


_state = _State()


@contextmanager
def heard() -> Iterator[None]:
    """Listen to signals in the block; where one was heard, the process leaves with 128 and its number.

    Whatever error comes out of the block after a signal is a consequence of it, and is not shown.
    """
    _install()
    try:
        yield
    except BaseException:
        if not _state.number:
            raise
    if _state.number:
        _clear()
        _say()
        sys.exit(_code())


def was_heard() -> bool:
    """Say whether a signal ends this process."""
    return bool(_state.number)


@contextmanager
def temporary(path: Path) -> Iterator[None]:
    """Note that a file or a folder shall not outlive this process; whoever made it removes it as ever."""
    _state.temporary.add(path)
    try:
        yield
    finally:
        if not _state.number:  # else `heard` looks whether it is gone: the removal itself may have been interrupted
            _state.temporary.discard(path)


@contextmanager
def temporary_folder(within: Path | None = None, prefix: str = "matgraft-") -> Iterator[Path]:
    """Make a folder for the block, among the temporary files of this machine or within another one."""
    from tempfile import TemporaryDirectory  # a fifth of the time until signals are heard

    with TemporaryDirectory(prefix=prefix, dir=within) as folder, temporary(Path(folder)):
        yield Path(folder)


AGAIN = "type the command again to go on"
"""What `goes_on_by` says of commands that keep what they have done, and find it."""


def goes_on_by(say: Callable[[], str]) -> None:
    """Have a signal's line end with how to go on; of a run within another one, what the outer one said holds.

    Parameters
    ----------
    say
        Called when the process ends; answers nothing where there is nothing to go on with.
    """
    if _state.installed and _state.goes_on is None:
        _state.goes_on = say


# --- what a signal does ----------------------------------------------------------------------------------------------


def _install() -> None:
    if _state.installed:
        return
    _state.installed = True
    names = [name for name in WORDS if hasattr(signal, name)]
    for number in (signal.Signals[name] for name in names):
        # `nohup` lets a command ignore SIGHUP. A shell lets what it begins in the background ignore Ctrl-C, and who
        # sends it one by hand nevertheless means it.
        if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _hear)
    atexit.register(_leave_at_last)  # the first that is registered is the last that runs
    if sys.platform != "win32":
        heard_at, told_by = os.pipe()
        os.set_blocking(told_by, False)
        signal.set_wakeup_fd(told_by, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=lambda: _listen_to_parent(heard_at, told_by))
        threading.Thread(target=_watch, args=(heard_at,), name="signals", daemon=True).start()


def _hear(number: int, frame: FrameType | None) -> NoReturn:
    if _state.number:
        _end_now()
    _state.number = number
    _hush()
    _end_workers()
    raise Interrupted(_code())


def _watch(heard_at: int) -> None:
    """End the process where it does not end by itself."""
    number = 0
    while number not in {getattr(signal, name, None) for name in WORDS}:
        number = os.read(heard_at, 1)[0]
    select.select([heard_at], [], [], GRACE_S)  # a second signal
    _state.number = _state.number or number
    _end_now()


def _end_now() -> NoReturn:
    if not _state.ending.acquire(blocking=False):
        threading.Event().wait()  # the other thread ends the process
    with suppress(Exception):
        _hush()
        _clear()
        _say()
    os._exit(_code())


def _clear() -> None:
    """End what this process began, and remove what it would have removed."""
    _end_workers()
    if sys.platform != "win32":
        from matgraft.core.orphans import end_below  # psutil takes a part of the time that a command needs to begin

        end_below()
    for path in list(_state.temporary):
        with suppress(OSError):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _end_workers() -> None:
    """Kill processes of pools: whoever leaves a pool waits for the task that each is at."""
    if "multiprocessing.process" in sys.modules:
        import multiprocessing

        for worker in multiprocessing.active_children():
            worker.kill()


def _hush() -> None:
    """Show nothing more of what is a consequence of the signal."""
    import logging
    import warnings

    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    logging.disable()
    warnings.simplefilter("ignore")


def _say() -> None:
    """Write the one line."""
    if _state.said:
        return
    _state.said = True
    line, shown = WORDS[signal.Signals(_state.number).name], ""
    with suppress(Exception):
        how = _state.goes_on() if _state.goes_on else ""
        line += f"; {how}" if how else ""
    with suppress(OSError, ValueError):
        shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides the cursor
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        os.write(2, f"{shown}{line}\n".encode(errors="replace"))


def _leave_at_last() -> None:
    """Leave with the signal's code after whatever libraries do at the end."""
    if _state.number:
        _say()
        os._exit(_code())


def _code() -> int:
    return 128 + _state.number


def _listen_to_parent(*pipe: int) -> None:
    """Do away in a forked worker with what is installed here."""
    global _state
    _state = _State()
    signal.set_wakeup_fd(-1)
    for one in pipe:
        os.close(one)
    for name in WORDS:
        if signal.getsignal(number := signal.Signals[name]) is _hear:
            signal.signal(number, signal.SIG_IGN if name == "SIGINT" else signal.SIG_DFL)
    from matgraft.core.orphans import die_with_parent

    die_with_parent()

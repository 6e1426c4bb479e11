"""Processes that end with the one that began them: nobody is left computing for a run that was killed.

    python -P -m matgraft.core.orphans COMMAND...    # runs the command, and ends all that it began when it is orphaned

Without torch: a process that only passes messages on begins in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

import psutil

LOOK_S = 0.2
"""Between looks at the parent and the command."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed; elsewhere nothing happens.

    It holds for this process through an ``exec``, and not for its children.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Ask Linux to give this process what its children began and left behind, in whatever session it is."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def guard(command: list[str]) -> None:
    """Run a command in a session of its own, out of reach of Ctrl-C.

    It is ended with all that it began when it ends, when the parent of this process is gone, or on a SIGTERM.
    """
    parent = os.getppid()
    os.setsid()
    adopt_orphans()
    signal.signal(signal.SIGTERM, _end)
    child = subprocess.Popen(command, preexec_fn=die_with_parent)  # where this process is killed itself
    while child.poll() is None and os.getppid() == parent:
        time.sleep(LOOK_S)
    _end()


def end_guarded(guard: subprocess.Popen[bytes], grace_s: float = 2.0) -> None:
    """Ask all that a guard has under it to end; after a while end what is left, and the guard.

    Where the guard was killed, all of its session is ended at once.
    """
    members = _below(guard.pid)
    for one in members:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    until = time.monotonic() + grace_s
    while any(map(lives, members)) and time.monotonic() < until:
        time.sleep(0.01)
    guard.terminate()
    guard.wait()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(guard.pid, signal.SIGKILL)  # the group keeps the name of a leader that is gone


def lives(process: psutil.Process) -> bool:
    """Say whether a process still does something."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value)


def _below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def end_below() -> None:
    """End everything below this process, in whatever session it is."""
    below = _below(os.getpid())
    for one in below:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(below, timeout=LOOK_S)


def _end(number: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
    """End everything below this process, and this process."""
    end_below()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    guard(sys.argv[1:])

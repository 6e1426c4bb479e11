"""Processes that end with the one that began them: nobody is left computing for a run that was killed.

    python -P -m matgraft.core.orphans COMMAND...    # becomes the command, in a session of its own

Without torch: a process that only passes messages on begins in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed; elsewhere nothing happens.

    It holds for this process through an ``exec``, and not for its children.
    """
    if sys.platform.startswith("linux"):
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def become(command: list[str]) -> None:
    """Replace this process by a command that ends with its parent, and that a Ctrl-C in the terminal does not reach."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    die_with_parent()
    os.execv(command[0], command)


if __name__ == "__main__":
    become(sys.argv[1:])

"""Sessions of processes: what one process began, and what those began, can be ended together."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def end_session(leader: int) -> None:
    """End all processes of the session that a process leads, and the process last.

    A program under ``mpirun`` is in another group of the same session; where /proc does not tell sessions, the
    leader's group alone is ended.
    """
    for pid in _members(leader):
        if pid != leader:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _members(leader: int) -> Iterator[int]:
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            fields = (one / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == leader:  # state, parent, group, session: proc(5)
                yield int(one.name)

"""What one process began, and what those began, ended together."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def end_session(leader: int) -> None:
    """End all processes of the session that a process leads, all that descend from it, and the process last.

    A program under ``mpirun`` is in another group of the same session, and some launchers begin it in a session of its
    own; where /proc does not tell, the leader's group alone is ended.
    """
    for pid in _members(leader):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _members(leader: int) -> list[int]:
    parents, sessions = dict[int, int](), dict[int, int]()
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            fields = (one / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            pid = int(one.name)
            parents[pid], sessions[pid] = int(fields[1]), int(fields[3])  # state, parent, group, session: proc(5)
    found = {pid for pid, session in sessions.items() if session == leader}
    while more := {pid for pid, parent in parents.items() if parent in found | {leader}} - found:
        found |= more
    return sorted(found - {leader})

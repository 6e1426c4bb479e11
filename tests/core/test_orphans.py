"""Nothing that a guard began outlives it, the command that it runs, or the process that began it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from matgraft.core.orphans import end_guarded, lives

GUARD = [sys.executable, "-P", "-m", "matgraft.core.orphans"]
COMMAND = """
import subprocess, sys, time
child = [sys.executable, "-c", "import time; time.sleep(600)"]
apart = subprocess.Popen(child, start_new_session=True)
beside = subprocess.Popen(child)
with open(sys.argv[1] + ".part", "w") as file:
    print(apart.pid, beside.pid, file=file)
import os
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""
"""A program with a child in its session and one in another."""


def gone(pids: list[int]) -> bool:
    return not any(map(still_lives, pids))


def still_lives(pid: int) -> bool:
    try:
        return lives(psutil.Process(pid))
    except psutil.NoSuchProcess:  # it may end at any moment
        return False


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def begun(tmp_path: Path) -> tuple[subprocess.Popen[bytes], int, list[int]]:
    """Return a guard, the process of its command, and those of the command's children: apart, beside."""
    file = tmp_path / "pids"
    guard = subprocess.Popen([*GUARD, sys.executable, "-c", COMMAND, str(file)])
    until(file.exists)
    (command,) = psutil.Process(guard.pid).children()
    return guard, command.pid, [int(pid) for pid in file.read_text().split()]


@pytest.mark.parametrize("way", ["asked", "terminated", "command ended"])
def test_all_that_a_guard_has_under_it_ends_with_it(tmp_path: Path, way: str) -> None:
    guard, command, children = begun(tmp_path)
    with guard:
        if way == "asked":
            end_guarded(guard)
        elif way == "terminated":
            guard.terminate()
        else:
            os.kill(command, signal.SIGKILL)
        until(lambda: gone([command, *children]))


def test_a_guard_that_is_killed_takes_its_command_and_then_its_session_along(tmp_path: Path) -> None:
    guard, command, (apart, beside) = begun(tmp_path)
    with guard:
        guard.kill()
        until(lambda: gone([command]))
        end_guarded(guard)
        until(lambda: gone([beside]))
    os.kill(apart, signal.SIGKILL)  # a session of its own, whose parents are all gone


def test_a_guard_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    words = [*GUARD, sys.executable, "-c", COMMAND, str(file)]
    parent = subprocess.Popen([sys.executable, "-c", f"import subprocess; subprocess.run({words!r})"])
    with parent:
        until(file.exists)
        below = [one.pid for one in psutil.Process(parent.pid).children(recursive=True)]
        assert len(below) == 4
        parent.kill()
        until(lambda: gone(below))

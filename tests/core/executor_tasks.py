"""What workers do in the tests of the executor: a worker imports it by its name."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def square(number: int) -> int:
    return number * number


def worker_of(number: int) -> tuple[int, str, int]:
    """Return the task, the threads that a library may take, and the process."""
    return number, os.environ.get("OMP_NUM_THREADS", ""), os.getpid()


def refuse(number: int) -> int:
    if number == 3:
        raise ValueError("no threes")
    return number


def die_once(marks: Path, number: int) -> int:
    """Kill the process in the middle of an odd task, the first time."""
    mark = marks / str(number)
    if number % 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait_for(file: Path, number: int) -> int:
    """Say by a file that the task has begun, and go on when there is another one."""
    (file.parent / f"begun-{number}").touch()
    while not file.exists():
        time.sleep(0.01)
    return os.getpid()


def sleep_in_a_child(folder: Path, number: int) -> int:
    """Wait for a program in a session of its own, as a calculator with a time-out runs one."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (folder / f"child-{number}").write_text(str(child.pid))
    return child.wait()


def call(loaded: "Loaded", number: int) -> int:
    return loaded.offset + number


class Loaded:
    """Something that takes long to read, and says by a file each time that it was."""

    def __init__(self, folder: Path, offset: int) -> None:
        self.folder, self.offset = folder, offset

    def __reduce__(self) -> tuple[Callable[[Path, int], "Loaded"], tuple[Path, int]]:
        return load, (self.folder, self.offset)


def load(folder: Path, offset: int) -> Loaded:
    (folder / f"read-{os.getpid()}-{time.monotonic_ns()}").touch()
    return Loaded(folder, offset)

"""Work in a child process with limits of time and memory, and what came of it.

    outcome = tried(lambda: read(path), Bounds(cpu_s=20))
    outcome.kind                 # "done", "own error", "traceback", "memory", "hang" or "killed"

The child is a fork, so that what this process has imported need not be imported again; one that dies takes nothing with
it, and the next input has a child of its own. What it prints is kept.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from matgraft.core.errors import MatgraftError

Kind = Literal["done", "own error", "traceback", "memory", "hang", "killed"]
FAULTS: tuple[Kind, ...] = ("traceback", "memory", "hang", "killed")
"""Of these none may be: memory, an error that is no sentence; killed, by another signal than that of the time."""
_PRINTED = 4000
"""Characters of output that are kept."""


@dataclass(frozen=True)
class Bounds:
    """What a child may take beyond what this process has.

    Attributes
    ----------
    wall_s
        Of a machine that others use too: a child that computes is ended by `cpu_s`, one that waits by this.
    """

    cpu_s: int = 20
    memory_gib: float = 4.0
    wall_s: float = 300.0


@dataclass(frozen=True)
class Outcome:
    """What came of an input.

    Attributes
    ----------
    told
        The error's first line, or the traceback.
    printed
        Standard output and standard error of the child.
    memory_mib
        The largest resident memory less that at the beginning.
    """

    kind: Kind
    told: str = ""
    printed: str = ""
    exit_code: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mib: float = 0.0

    @property
    def is_fault(self) -> bool:
        """True where it is neither a result nor an error of matgraft's."""
        return self.kind in FAULTS


def tried(work: Callable[[], object], bounds: Bounds | None = None) -> Outcome:
    """Do work in a child; what it returns is lost."""
    bounds = bounds or Bounds()
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as printed:
        sys.stdout.flush()
        sys.stderr.flush()
        start = time.monotonic()
        if not (child := os.fork()):
            _in_child(work, bounds, writer, printed.fileno())
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            answer = _answer(pipe.fileno(), start + bounds.wall_s)
        if is_late := answer is None:
            os.kill(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
        printed.seek(0)
        text = printed.read().decode("utf-8", "replace")[-_PRINTED:]
    spent = {"printed": text, "wall_s": round(time.monotonic() - start, 2)}
    if answer:
        return Outcome(**(json.loads(answer) | spent))
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    kind: Kind = "hang" if is_late or ended_by in (signal.SIGXCPU, signal.SIGALRM) else "killed"
    told = signal.Signals(ended_by).name if ended_by else f"exit status {os.waitstatus_to_exitcode(status)}"
    cpu_s = round(usage.ru_utime + usage.ru_stime, 2)
    return Outcome(kind, told, cpu_s=cpu_s, memory_mib=round(usage.ru_maxrss / 2**10, 1), **spent)


def _answer(pipe: int, until: float) -> bytes | None:
    """Return what the child wrote before it ended, or None where it did not end in time."""
    parts = []
    while (left := until - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            if not (part := os.read(pipe, 2**16)):
                return b"".join(parts)
            parts.append(part)
    return None


def _in_child(work: Callable[[], object], bounds: Bounds, writer: int, printed: int) -> None:
    """Do the work, write the outcome into the pipe, and end without what Python does at its end."""
    status = 1
    try:
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the largest memory is counted from now on
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (bounds.cpu_s, bounds.cpu_s + 5))
        most = _memory("VmSize") + int(bounds.memory_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        kind, told, exit_code = _outcome(work)
        resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
        used = resource.getrusage(resource.RUSAGE_SELF)
        memory = max(0, _memory("VmHWM") - before) / 2**20
        facts = Outcome(kind, told, "", exit_code, round(used.ru_utime + used.ru_stime, 2), memory_mib=round(memory, 1))
        os.write(writer, json.dumps(asdict(facts)).encode())
        status = 0
    finally:
        os._exit(status)


def _outcome(work: Callable[[], object]) -> tuple[Kind, str, int]:
    try:
        work()
    except MatgraftError as error:
        return "own error", str(error).splitlines()[0][:300], error.exit_code
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        return ("own error" if code else "done"), "", code
    except MemoryError:
        return "memory", traceback.format_exc()[-_PRINTED:], 1
    except BaseException:
        return "traceback", traceback.format_exc()[-_PRINTED:], 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return "done", "", 0


def _memory(name: str) -> int:
    """Return bytes of this process that Linux counts under a name."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 2**10
    return 0

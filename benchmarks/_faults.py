"""Commands of matgraft in forked processes that are killed, or whose disk runs full, at a chosen moment.

    run_command(words, disk)                       # undisturbed: its moments and its CPU seconds
    run_command(words, disk, Fault("kill", 7))

The parent has imported what the commands need, so that a trial costs its work alone. A moment is a change of a file or
a folder that Python asks for (opened to be written, renamed, removed, made), numbered from 0 by an audit hook.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
"""Audit events, beside "open", that change a folder."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FILLER = "filler"
"""The file that leaves a disk no room."""
BROKEN = 99
"""Exit code where an exception came out of a command."""


@dataclass(frozen=True)
class Fault:
    """What happens to a command.

    Attributes
    ----------
    kind
        *kill*: it is killed at a moment. *cpu*: the system ends it after seconds of CPU time, and no code of its own
        runs. *full*: its disk runs full at a moment. *worker*: each of its workers is ended so after its seconds.
    at
        Number of the moment, or seconds.
    room
        Bytes that a full disk still has.
    """

    kind: Literal["none", "kill", "cpu", "full", "worker"] = "none"
    at: float = 0
    room: int = 0


@dataclass
class _Watch:
    """Of the process of a command: what is counted, and what is done then."""

    folder: str = ""
    own: int = 0
    fault: Fault = field(default_factory=Fault)
    count: int = 0
    seen: list[str] = field(default_factory=list)


_watch = _Watch()


class Ended(NamedTuple):
    """How a command ended; `signal` is 0 where it came to an end by itself."""

    code: int
    signal: int
    said: str
    moments: tuple[str, ...]
    seconds: float


class Begun(NamedTuple):
    """A command that runs: its process, and the folder where it leaves what it said."""

    pid: int
    scratch: tempfile.TemporaryDirectory[str]


def watch() -> None:
    """Count moments from now on, in this process and those that it forks; ended workers are ended here alone."""
    sys.addaudithook(_heard)
    os.register_at_fork(after_in_child=_limit_worker)


def run_command(words: Sequence[str], disk: Path, fault: Fault, within: Path) -> Ended:
    """Run a command of matgraft in a forked process.

    Parameters
    ----------
    disk
        The folder whose changes count as moments, and which runs full.
    within
        The working folder.
    """
    return end(begin(words, disk, fault, within))


def begin(words: Sequence[str], disk: Path, fault: Fault, within: Path) -> Begun:
    """Begin what `run_command` does."""

    def work() -> tuple[int, Any]:
        os.chdir(within)
        if fault.kind == "cpu":
            _end_after(fault.at)
        _watch.folder, _watch.own, _watch.fault, _watch.count, _watch.seen = f"{disk}/", os.getpid(), fault, 0, []
        sys.argv = ["matgraft", *words]
        code = _code_of_command()
        _watch.folder = ""
        return code, {"moments": _watch.seen, "modules": sorted(sys.modules)}

    return _fork(work)


def end(begun: Begun) -> Ended:
    """Wait for a command, and kill whatever of it is left."""
    _, status, used = os.wait4(begun.pid, 0)
    with suppress(ProcessLookupError):
        os.killpg(begun.pid, signal.SIGKILL)
    told, said = Path(begun.scratch.name, "told"), Path(begun.scratch.name, "said")
    facts = json.loads(told.read_text()) if told.exists() else {}
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    found = Ended(
        code=-killed if killed else os.waitstatus_to_exitcode(status),
        signal=killed,
        said=said.read_text(errors="replace") if said.exists() else "",
        moments=tuple(facts.get("moments", ())),
        seconds=used.ru_utime + used.ru_stime,
    )
    begun.scratch.cleanup()
    for name in facts.get("modules", ()):  # what the next commands need not import any more
        if name not in sys.modules and not name.startswith("_"):
            with suppress(Exception):
                importlib.import_module(name)
    return found


def work_apart(work: Callable[[], Any]) -> Any:
    """Return what work returns, as JSON has it, done in a forked process: this one opens no file."""
    begun = _fork(lambda: (0, {"answer": work()}))
    _, status, _ = os.wait4(begun.pid, 0)
    assert status == 0, Path(begun.scratch.name, "said").read_text()
    with begun.scratch:
        return json.loads(Path(begun.scratch.name, "told").read_text())["answer"]


def _fork(work: Callable[[], tuple[int, Any]]) -> Begun:
    scratch = tempfile.TemporaryDirectory()
    if child := os.fork():
        return Begun(child, scratch)
    code = BROKEN
    try:
        os.setsid()
        out = os.open(Path(scratch.name, "said"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code, facts = work()
        Path(scratch.name, "told").write_text(json.dumps(facts))
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _code_of_command() -> int:
    from matgraft.__main__ import main

    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        return BROKEN
    return 0


def _end_after(seconds: float) -> None:
    """Have the system end this process after seconds of CPU time: no handler of Python's runs then."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, max(seconds, 1e-3))


def _limit_worker() -> None:
    if _watch.fault.kind == "worker" and _watch.folder:
        _end_after(_watch.fault.at)


def fill(folder: Path, room: int) -> None:
    """Leave a disk with so much room."""
    size = os.statvfs(folder)
    if (free := size.f_bavail * size.f_frsize - room) > 0:
        file = os.open(folder / FILLER, os.O_WRONLY | os.O_CREAT)
        os.posix_fallocate(file, os.fstat(file).st_size, free)
        os.close(file)


def _heard(event: str, given: tuple[Any, ...]) -> None:
    if not _watch.folder or os.getpid() != _watch.own:
        return
    if event == "open":
        if not isinstance(given[2], int) or not given[2] & WRITES:
            return
    elif event not in CHANGES:
        return
    if not isinstance(given[0], str | bytes) or not os.path.abspath(os.fsdecode(given[0])).startswith(_watch.folder):  # noqa: PTH100
        return
    number, fault = _watch.count, _watch.fault
    _watch.count += 1
    if fault.kind == "none":
        _watch.seen.append(f"{event} {os.path.relpath(os.fsdecode(given[0]), _watch.folder)}")
    elif fault.kind == "kill" and number == fault.at:
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault.kind == "full" and number == fault.at:
        folder, _watch.folder = _watch.folder, ""
        fill(Path(folder), fault.room)

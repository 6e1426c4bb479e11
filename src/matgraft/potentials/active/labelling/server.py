"""A persistent process that computes labels, asked one frame after another; ended and begun anew where it fails.

    with Server(engine, folder) as server:
        answer, label = server.ask(atoms)

`label_one` is what an executor calls. The process is kept between calls, so that no interpreter and no network is
loaded for each label.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from ase import Atoms

from matgraft.core.errors import OptionError
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.active.labelling.labelled import Try
from matgraft.potentials.active.labelling.messages import (
    Answer,
    Ask,
    Begin,
    Ready,
    arrays_of,
    atoms_of,
    refused,
    tags_of,
)
from matgraft.potentials.active.labelling.session import end_session
from matgraft.potentials.active.labelling.wire import Arrays, SilenceError, WireError, receive, send_message

START_S = 600.0
"""In which a calculator must be there: a network is loaded, perhaps compiled."""
_CHILD = "matgraft.potentials.active.labelling.child"


class Server:
    """The process that computes.

    Parameters
    ----------
    engine
        Settled.
    folder
        Where its files go; made, and gone when the server is closed.
    here
        The folder whose modules it finds.

    Raises
    ------
    OptionError
        If the calculator cannot be made.
    """

    def __init__(self, engine: Engine, folder: Path, here: str) -> None:
        self.engine, self.folder, self.here = engine, folder, here
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.quantities = self._begin()
        except OptionError:
            self.close()
            raise

    def __enter__(self) -> Server:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def ask(self, atoms: Atoms) -> tuple[Answer, Arrays]:
        """Have a frame computed; a process that hangs, crashes or talks nonsense is a reason, and is begun anew."""
        if self._process is None:
            try:
                self._begin()
            except OptionError as error:  # it was there before: the machine is at fault, not what was asked
                return Answer(failed=error.found), {}
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            send_message(process.stdin.fileno(), Ask(tags=tags_of(atoms)), arrays_of(atoms))
            return receive(process.stdout.fileno(), Answer, time.monotonic() + self.engine.timeout_s)
        except SilenceError:
            reason = f"it ran past the timeout of {self.engine.timeout_s:g} s, and was ended"
        except (EOFError, BrokenPipeError):
            reason = self._death()
        except WireError as error:
            reason = f"the process that computes talks nonsense: {error}"
        self._end()
        return Answer(failed=reason), {}

    def close(self) -> None:
        """End the process with everything that it began, and remove its folder."""
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> tuple[str, ...]:
        work = self.folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        home = str(Path(__file__).parents[4])  # wherever this matgraft came from, the child takes the same
        paths = filter(None, (home, os.environ.get("PYTHONPATH", "")))
        with (self.folder / "said.txt").open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=work,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,
                bufsize=0,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            send_message(self._process.stdin.fileno(), Begin(engine=self.engine, here=self.here))
            ready, _ = receive(self._process.stdout.fileno(), Ready, time.monotonic() + START_S)
        except SilenceError:
            ready = Ready(refused=f"it was not there after {START_S:g} s")
        except (EOFError, BrokenPipeError, WireError):
            ready = Ready(refused=self._death())
        if ready.refused:
            self._end()
            raise refused(ready)
        return ready.quantities

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        end_session(process.pid)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _death(self) -> str:
        """Say how the process that computes has ended."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the process that computes closed its pipe"
        lines = (self.folder / "said.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = f"; it said: {lines[-1][:300]}" if lines else ""
        how = f"was ended by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return f"the process that computes {how}{said}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# --- what an executor calls ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A frame to label.

    Attributes
    ----------
    frame, tags
        `messages.arrays_of` and `messages.tags_of`.
    key
        Of the engine.
    folder
        Below which the processes that compute have their files.
    here
        The folder whose modules they find.
    """

    engine: Engine
    key: str
    frame: Arrays
    tags: dict[str, int | float | str]
    folder: str
    here: str


@dataclass(frozen=True)
class TaskOutcome:
    """What became of a task.

    Attributes
    ----------
    label
        Arrays in canonical units; None where every try failed.
    tries
        Those that failed.
    seconds
        Of the one that did not.
    output, output_name
        What the program printed, packed by xz; empty where it is not known or there is none.
    """

    label: Arrays | None
    tries: tuple[Try, ...]
    seconds: float
    theory: LevelOfTheory | None = None
    output: bytes = b""
    output_name: str = ""


@dataclass
class _Kept:
    """The server of this process, and the engine that it is of."""

    key: str = ""
    server: Server | None = field(default=None)


_kept = _Kept()


def label_one(task: Task) -> TaskOutcome:
    """Label a frame by this process's own server, as often as the engine allows.

    Raises
    ------
    OptionError
        If the calculator cannot be made.
    """
    server = _server(task)
    atoms, tries = atoms_of(task.frame, task.tags), list[Try]()
    while True:
        began = time.monotonic()
        answer, arrays = server.ask(atoms)
        seconds = time.monotonic() - began
        output = arrays.pop("output").tobytes() if "output" in arrays else b""
        if not answer.failed:
            return TaskOutcome(arrays, tuple(tries), seconds, answer.theory, output, answer.output)
        tries.append(Try(reason=answer.failed, seconds=seconds))
        if not answer.again or len(tries) > task.engine.retries:
            return TaskOutcome(None, tuple(tries), 0.0, None, output, answer.output)


def close_server() -> None:
    """End the server of this process."""
    server, _kept.server = _kept.server, None
    if server is not None:
        server.close()


def _server(task: Task) -> Server:
    if _kept.server is None or _kept.key != task.key:
        close_server()
        Path(task.folder).mkdir(parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix="work-", dir=task.folder))
        _kept.server, _kept.key = Server(task.engine, own, task.here), task.key
    return _kept.server


atexit.register(close_server)

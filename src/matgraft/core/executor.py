"""Where work is done: in this process, in processes of this machine, or in jobs of a cluster.

    with executor(read_executor(Path("executor.yaml")), folder) as pool:
        pool.run(label_one, frames, done)        # done(i, result) here, as each task ends

What comes out never depends on it: a task is one call of a function on one value, and knows nothing of the others. The
file is a dozen lines of YAML, for example

    provider: slurm
    workers: 32            # processes a node
    nodes: 1               # of each job
    jobs: 4                # at once
    walltime: "02:00:00"
    partition: standard
    account: my-project
    worker_init:
      - source /home/me/venv/bin/activate
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol, TypeVar

from matgraft.core.errors import OptionError
from matgraft.core.executor_settings import READ_BY, ExecutorSettings, Lost
from matgraft.core.settings import read_yaml, validated

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Whatever calls a function on many values."""

    workers: int
    """Tasks that can be under work at once."""

    def run(self, function: Callable[[T], R], tasks: Iterable[T], done: Callable[[int, R | Lost], None]) -> None:
        """Call a function on each task.

        Parameters
        ----------
        function
            One that a worker can import: of the top level of a module, or a `functools.partial` of such a one.
        tasks
            Taken as workers get free, so that they may be made on the way.
        done
            Called in this process as each task ends, in any order, with the number of the task and what came out.

        What the function or `done` raises ends the run and reaches the caller; what is still under work is given up.
        """


class Serial:
    """One task after another in this process."""

    workers = 1

    def run(self, function: Callable[[T], R], tasks: Iterable[T], done: Callable[[int, R | Lost], None]) -> None:
        """Call a function on each task."""
        for i, task in enumerate(tasks):
            done(i, function(task))


def read_executor(path: Path | None = None, workers: int | None = None) -> ExecutorSettings:
    """Read where tasks run.

    Parameters
    ----------
    path
        A YAML file. Default: this machine.
    workers
        Takes the place of what the file says.

    Raises
    ------
    OptionError
        If a key is unknown, a value does not fit, or the provider does not read a key.
    """
    content = read_yaml(path) if path else {}
    for key in ("scheduler_options", "worker_init"):
        if isinstance(text := content.get(key), str):  # one line, or a block of them
            content[key] = [line for line in text.splitlines() if line.strip()]
    if workers is not None:
        content["workers"] = workers
    settings = validated(ExecutorSettings, content, str(path or ""))
    _refuse_unread(settings, str(path or ""))
    return settings


@contextmanager
def executor(settings: ExecutorSettings, folder: Path) -> Iterator[Executor]:
    """Open what does the work; it begins with the first task, and nothing of it is left at the end.

    A SIGTERM ends the block as Ctrl-C does, so that no process and no job is left behind by it either.

    Parameters
    ----------
    folder
        Where the files are that a cluster's nodes must see while work is done.
    """
    _refuse_unread(settings)
    if settings.provider == "local" and settings.workers_per_node == 1:
        yield Serial()
        return
    from matgraft.core.pool import Pool  # Parsl takes half a second to import, and most commands need none

    pool = Pool(settings, folder)
    with _ended_by_sigterm():
        try:
            yield pool
        finally:
            pool.close()


def _refuse_unread(settings: ExecutorSettings, where: str = "") -> None:
    """Refuse a key that the provider has no use for: nothing that is said is passed over."""
    read = READ_BY[settings.provider]
    for key in settings.model_fields_set:
        if key not in read:
            others = " or ".join(name for name, keys in READ_BY.items() if key in keys)
            raise OptionError(
                f"{key!r} is not read by provider {settings.provider!r}",
                where=where,
                allowed=read,
                remedy=f"{key!r} belongs to provider {others}",
            )


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Leave the block on a SIGTERM, where nobody else has said what happens on one."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)

"""Tasks on workers that may be killed.

A worker that is killed: its task is begun again, `ExecutorSettings.tries` times in all. Whatever stands between this
process and the workers: all of it is begun anew, with the tasks that had not come back. What came back stays.
"""

from __future__ import annotations

import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from matgraft.core.errors import RunError
from matgraft.core.executor_settings import ExecutorSettings, Lost
from matgraft.core.parsl_workers import ATTEMPTS, BrokenError, Workers, was_killed

T = TypeVar("T")
R = TypeVar("R")

LOOK_S = 1.0
"""Between looks at the processes while no task ends."""


class Pool:
    """Workers that begin with the first task and end with `close`."""

    def __init__(self, settings: ExecutorSettings, folder: Path) -> None:
        self.settings, self._folder = settings, folder
        self.workers = settings.workers_per_node * settings.nodes * settings.jobs
        self._begun: Workers | None = None

    def run(self, function: Callable[[T], R], tasks: Iterable[T], done: Callable[[int, R | Lost], None]) -> None:
        """Call a function on each task (`matgraft.core.executor.Executor`)."""
        try:
            _Run(self, function, done).through(enumerate(tasks))
        except BaseException:
            self.close()  # what is under work is given up
            raise

    def begun(self) -> Workers:
        """Return the workers; begin them where there are none."""
        if self._begun is None:
            self._begun = Workers(self.settings, self._folder)
        return self._begun

    def close(self) -> None:
        """End all processes and jobs."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.close()


class _Run(Generic[T, R]):
    """One call of `Pool.run`: which tasks are out, and how often each was lost.

    Functions, tasks and results travel as pickles, between processes of our own only: see `parsl_workers`.
    """

    def __init__(self, pool: Pool, function: Callable[[T], R], done: Callable[[int, R | Lost], None]) -> None:
        self._pool, self._done = pool, done
        self._function = pickle.dumps(function)  # which refuses what a worker could not import
        self._out: dict[int, bytes] = {}
        self._to_submit: deque[int] = deque()
        self._killed: Counter[int] = Counter()
        self._fruitless = 0
        self._back: SimpleQueue[tuple[int, Future[bytes]]] = SimpleQueue()

    def through(self, tasks: Iterator[tuple[int, T]]) -> None:
        """Lead all tasks through the workers, and through the next ones where these break."""
        room = 2 * self._pool.workers + 1  # as many lie ready as are under work; the rest is not made yet
        while True:
            try:
                for number, task in islice(tasks, room - len(self._out)):
                    self._out[number] = pickle.dumps(task)
                    self._to_submit.append(number)
                self._submit()
                if not self._out:
                    return
                self._receive()
            except BrokenError as why:
                self._begin_anew(str(why))

    def _submit(self) -> None:
        while self._to_submit:
            number = self._to_submit[0]
            future = self._pool.begun().submit(number, self._function, self._out[number])
            future.add_done_callback(lambda ended, number=number: self._back.put((number, ended)))  # type: ignore[misc]
            self._to_submit.popleft()

    def _receive(self) -> None:
        self._pool.begun().look_after(len(self._out))
        try:
            number, future = self._back.get(timeout=LOOK_S)
        except Empty:
            return
        self._pool.begun().came_back(number)
        error = future.exception()
        if was_killed(error):
            self._lost(number)
        elif error is not None:
            raise error
        else:
            self._pool.begun().bore_fruit()
            self._tell(number, future)

    def _tell(self, number: int, future: Future[bytes]) -> None:
        del self._out[number]
        self._fruitless = 0
        self._done(number, pickle.loads(future.result()))

    def _lost(self, number: int) -> None:
        self._killed[number] += 1
        tries = self._pool.settings.tries
        if self._killed[number] < tries:
            self._to_submit.append(number)
            return
        del self._out[number]
        often = f"{tries} times" if tries > 1 else "once"
        self._done(number, Lost(f"the process that worked on it was killed {often}; most often it is the memory"))

    def _begin_anew(self, why: str) -> None:
        self._pool.close()
        while not self._back.empty():  # what was done before
            number, future = self._back.get()
            if future.exception() is None:
                self._tell(number, future)
        self._to_submit = deque(self._out)
        self._fruitless += 1
        if self._fruitless >= ATTEMPTS:
            raise RunError(
                f"the workers ended {ATTEMPTS} times before any task was done; the last time: {why}",
                remedy="most often it is the memory: fewer workers",
            )

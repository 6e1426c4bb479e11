"""Workers by Parsl, of this machine or of a cluster's jobs: the only file that imports Parsl.

Between this process and the workers stands Parsl's interchange, a process that hands out tasks; on each node one more
process begins the workers and begins those anew that die:

    this process -- interchange -- pool of a node -- workers

Each of them may be killed. A worker: its task is begun again, `ExecutorSettings.tries` times in all. The pool of a node
or the interchange: what was under work is begun again on a new one. This process: Linux ends all others of this machine
(`matgraft.core.orphans`), and the pools of a cluster end when they hear of it no more.

Functions, tasks and results travel as pickles. They are our own: keys that are drawn for each pool encrypt every
connection (CurveZMQ), and lie in a folder that nobody else may read, so that no stranger's pickle gets in.

Source: Babuji et al., Parsl: Pervasive Parallel Programming in Python, HPDC 2019, https://doi.org/10.1145/3307681.3325400
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import psutil
import zmq
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.jobs.states import TERMINAL_STATES, JobState, JobStatus
from parsl.launchers import MpiExecLauncher, SingleNodeLauncher, SrunLauncher
from parsl.providers import PBSProProvider, SlurmProvider
from parsl.providers.base import ExecutionProvider

from matgraft.core.errors import OptionError, RunError
from matgraft.core.executor import ExecutorSettings, Lost
from matgraft.core.orphans import die_with_parent

T = TypeVar("T")
R = TypeVar("R")

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
"""A worker has one core, or hands its cores to the program that it runs."""
ATTEMPTS = 3
"""Pools, or jobs, that may end one after another before any task does: then something is wrong with all of them."""
ANSWER_S = 60
"""Within which the interchange must take a task, or answer."""
STUCK_S, STUCK_ON_CLUSTER_S = 30, 300
"""After which a pool is stuck if nobody works though there is work; a cluster's shared folder tells with delay."""
LOOK_S = 1.0
"""Between looks at the processes while no task ends."""
POOL_SAYS = "pool.txt"
_NAME = "matgraft"
_MODULES = "parsl.executors.high_throughput"
_ARGUMENTS = DEFAULT_LAUNCH_CMD.removeprefix("process_worker_pool.py")
_PLAIN = re.compile(r"[\w./+@:,=-]+")


class LocalBlocks(ExecutionProvider):
    """Begins the pool of this machine as a child of this process.

    Parsl's own provider hands a line to a shell, in which a folder's name is not quoted, and needs ``ps`` to end it.
    """

    nodes_per_block = init_blocks = min_blocks = max_blocks = 1
    parallelism = 1.0
    script_dir: str | None = None

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def label(self) -> str:
        """Name of the provider."""
        return "local"

    @property
    def status_polling_interval(self) -> int:
        """Seconds between looks at the pool; a look costs nothing."""
        return 1

    def submit(self, command: str, tasks_per_node: int, job_name: str = _NAME) -> str:
        """Begin a pool."""
        assert self.script_dir is not None
        folder = Path(self.script_dir)
        environment = os.environ | ONE_THREAD | {"TMPDIR": str(folder)}  # scratch files end with the pool
        with (folder / POOL_SAYS).open("wb") as said:
            child = subprocess.Popen(
                shlex.split(command), env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        self._children[str(child.pid)] = child
        return str(child.pid)

    def status(self, job_ids: Sequence[Any]) -> list[JobStatus]:
        """Say whether pools still run."""
        codes = [self._children[one].poll() for one in job_ids]
        return [JobStatus(JobState.RUNNING if code is None else JobState.FAILED) for code in codes]

    def cancel(self, job_ids: Sequence[Any]) -> list[bool]:
        """End pools with their workers and whatever these run."""
        for one in job_ids:
            _end_with_all(self._children[one])
        return [True for _ in job_ids]


def _end_with_all(child: subprocess.Popen[bytes], grace_s: float = 2.0) -> None:
    """Ask a child and all that it began, directly or not, to end; end those that do not."""
    members = []
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(child.pid)
        members = [parent, *parent.children(recursive=True)]  # also those in sessions of their own
    for number, seconds in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 1.0)):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)  # also those whose parent is gone
        for one in members:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)
        until = time.monotonic() + seconds
        while any(map(_lives, members)) and time.monotonic() < until:
            time.sleep(0.01)
    child.wait()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def provider_of(settings: ExecutorSettings) -> ExecutionProvider:
    """Return how Parsl begins the pool of a node."""
    if settings.provider == "local":
        return LocalBlocks()
    cores = settings.workers_per_node * settings.cores_per_worker
    sign = "#SBATCH" if settings.provider == "slurm" else "#PBS"
    common: dict[str, Any] = {
        "account": settings.account,
        "nodes_per_block": settings.nodes,
        "init_blocks": 0,  # jobs are handed in as there are tasks for them
        "max_blocks": settings.jobs,
        "walltime": settings.walltime,
        "scheduler_options": "".join(
            f"{line if line.startswith('#') else f'{sign} {line}'}\n" for line in settings.scheduler_options
        ),
        "worker_init": "".join(f"{line}\n" for line in _worker_init(settings)),
        "cmd_timeout": 120,  # seconds; a busy scheduler takes its time
    }
    if settings.provider == "pbs":
        return PBSProProvider(
            queue=settings.queue,
            cpus_per_node=cores,
            select_options=settings.select_options or "",
            launcher=MpiExecLauncher() if settings.nodes > 1 else SingleNodeLauncher(),
            **common,
        )
    return SlurmProvider(
        partition=settings.partition,
        qos=settings.qos,
        constraint=settings.constraint,
        cores_per_node=cores,
        mem_per_node=settings.memory_gb,
        exclusive=settings.exclusive,
        launcher=SrunLauncher() if settings.nodes > 1 else SingleNodeLauncher(),
        **common,
    )


def _worker_init(settings: ExecutorSettings) -> list[str]:
    """Return what a job runs first: a scheduler begins it in a folder and with variables of its own."""
    return [
        f"cd {shlex.quote(str(Path.cwd()))}",
        *(f"export {name}={value}" for name, value in ONE_THREAD.items()),
        *settings.worker_init,
    ]


def parsl_executor(settings: ExecutorSettings, provider: ExecutionProvider) -> HighThroughputExecutor:
    """Return Parsl's executor, not begun."""
    local = settings.provider == "local"
    python = [sys.executable, "-P", "-m"]  # -P: no module of the folder that we stand in
    tied = [*python, "matgraft.core.orphans"]
    pool = [*python, f"{_MODULES}.process_worker_pool"]
    return HighThroughputExecutor(
        label=_NAME,
        provider=provider,
        interchange_launch_cmd=[*tied, *python, f"{_MODULES}.interchange"],
        launch_cmd=f"{shlex.join(tied + pool if local else pool)} {_ARGUMENTS}",
        address="127.0.0.1" if local else settings.address,
        max_workers_per_node=settings.workers_per_node,
        cores_per_worker=1e-3,  # as many workers as were asked for, whatever the node has
        heartbeat_period=1 if local else 15,  # seconds; also how often dead workers are looked for
        heartbeat_threshold=60 if local else 120,
        encrypted=True,
    )


class _BrokenError(Exception):
    """The interchange or the pool of this machine ended, or nobody works though there is work."""


class _Begun:
    """An interchange with its pools, and the folder of their files."""

    def __init__(self, settings: ExecutorSettings, folder: Path) -> None:
        self._settings = settings
        self._slots = settings.workers_per_node * settings.nodes  # of a job
        self.folder = _private_folder(settings, folder)
        self.under_work = self.folder / "under-work"
        self._busy_at = self._next_look = time.monotonic()
        self._failed_before = 0
        self._provider = provider_of(settings)
        self._provider.script_dir = str(self.folder)
        self._parsl = parsl_executor(settings, self._provider)
        self._parsl.run_dir = str(self.folder)
        try:
            self.under_work.mkdir()
            self._parsl.start()
        except BaseException:
            self.close()
            raise
        for socket in (self._parsl.outgoing_q.zmq_socket, self._parsl.command_client.zmq_socket):
            socket.setsockopt(zmq.LINGER, 0)  # or closing would wait for an interchange that is dead
            socket.setsockopt(zmq.SNDTIMEO, ANSWER_S * 1000)
            socket.setsockopt(zmq.RCVTIMEO, ANSWER_S * 1000)

    def submit(self, number: int, function: bytes, task: bytes) -> Future[bytes]:
        """Hand a task in."""
        try:
            return self._parsl.submit(_in_worker, {}, str(self.under_work / str(number)), function, task)
        except zmq.Again:
            raise _BrokenError(f"the interchange took no task for {ANSWER_S} s") from None

    def look_after(self, tasks: int) -> None:
        """Hand in jobs for the tasks that are there, and see that somebody works.

        Raises
        ------
        _BrokenError
            If this pool will do no more work.
        RunError
            If jobs fail one after another.
        """
        interchange, results = self._parsl.interchange_proc, self._parsl._result_queue_thread
        if not interchange or interchange.poll() is not None or not results or not results.is_alive():
            raise _BrokenError("the process that hands out tasks was killed")
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_S
        try:
            self._parsl.poll_facade()
            self._hand_in_jobs(tasks)
            self._see_that_somebody_works()
        except zmq.Again:
            raise _BrokenError(f"the interchange did not answer for {ANSWER_S} s") from None

    def _hand_in_jobs(self, tasks: int) -> None:
        status = self._parsl.status_facade
        ended = [one for one in status.values() if one.state in TERMINAL_STATES]
        if ended and self._settings.provider == "local":
            raise _BrokenError(f"the pool of workers was killed. {_tail(self.folder / POOL_SAYS)}".strip())
        failed = [one for one in ended if one.state in (JobState.FAILED, JobState.MISSING)]
        if len(failed) - self._failed_before >= ATTEMPTS:
            said = failed[-1].message or failed[-1].stderr_summary or "it left no message"
            raise RunError(
                f"{ATTEMPTS} jobs failed one after another before any task ended; the last: {said}",
                where=str(self.folder),
                remedy="see whether a job of these settings runs by hand",
            )
        wanted = min(self._settings.jobs, math.ceil(tasks / self._slots)) - (len(status) - len(ended))
        if wanted > 0:
            self._parsl.scale_out_facade(wanted)

    def _see_that_somebody_works(self) -> None:
        """Find a stuck pool: a worker that is killed while it waits may leave the others' queue locked."""
        now = time.monotonic()
        if any(self.under_work.iterdir()) or not self._parsl.connected_managers():
            self._busy_at = now
        patience_s = STUCK_S if self._settings.provider == "local" else STUCK_ON_CLUSTER_S
        if now - self._busy_at > patience_s:
            raise _BrokenError(f"no worker has begun a task for {patience_s} s")

    def ended(self, number: int) -> None:
        """Note that a task came back, done or not."""
        (self.under_work / str(number)).unlink(missing_ok=True)  # of a worker that died
        self._busy_at = time.monotonic()

    def bore_fruit(self) -> None:
        """Note that a task was done: jobs that failed before were chance."""
        states = [one.state for one in self._parsl.status_facade.values()]
        self._failed_before = sum(one in (JobState.FAILED, JobState.MISSING) for one in states)

    def close(self) -> None:
        """End all processes and jobs, and remove their files."""
        try:
            jobs = [job for job in self._parsl.blocks_to_job_id.values() if job]
            if jobs:
                self._provider.cancel(jobs)
        finally:
            self._parsl.shutdown()
            shutil.rmtree(self.folder, ignore_errors=True)


def _private_folder(settings: ExecutorSettings, folder: Path) -> Path:
    """Make the folder of a pool: keys, logs, scripts of jobs.

    For this machine it lies among its temporary files, where paths are short enough for sockets; a cluster's nodes see
    the run's folder.
    """
    within = Path(tempfile.gettempdir()) if settings.provider == "local" else folder.resolve()
    if not _PLAIN.fullmatch(str(within)):
        raise OptionError(
            f"the path {str(within)!r} cannot stand in the command that begins workers",
            allowed=["letters, digits and any of . / _ + @ : , = -"],
            remedy="choose a folder without spaces and other signs in its path",
        )
    within.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="matgraft-", dir=within))


def _tail(file: Path, characters: int = 500) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()[-characters:]
    except OSError:
        return ""


class Pool:
    """Workers that begin with the first task and end with `close`; what is lost on the way is done again."""

    def __init__(self, settings: ExecutorSettings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self.workers = settings.workers_per_node * settings.nodes * settings.jobs
        self._begun: _Begun | None = None
        _silence()

    def run(self, function: Callable[[T], R], tasks: Iterable[T], done: Callable[[int, R | Lost], None]) -> None:
        """Call a function on each task (`matgraft.core.executor.Executor`)."""
        try:
            _Run(self._settings, function, done).through(enumerate(tasks), self)
        except BaseException:
            self.close()  # what is under work is given up
            raise

    def begun(self) -> _Begun:
        """Return the interchange and its pools; begin them where there are none."""
        if self._begun is None:
            self._begun = _Begun(self._settings, self._folder)
        return self._begun

    def close(self) -> None:
        """End all processes and jobs."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.close()


class _Run(Generic[T, R]):
    """One call of `Pool.run`: which tasks are out, and how often each was lost."""

    def __init__(
        self, settings: ExecutorSettings, function: Callable[[T], R], done: Callable[[int, R | Lost], None]
    ) -> None:
        self._tries, self._done = settings.tries, done
        self._function = pickle.dumps(function)  # which refuses what a worker could not import
        self._out: dict[int, bytes] = {}
        self._deaths: Counter[int] = Counter()
        self._fruitless = 0
        self._back: SimpleQueue[tuple[int, Future[bytes]]] = SimpleQueue()

    def through(self, tasks: Iterator[tuple[int, T]], pool: Pool) -> None:
        """Lead all tasks through the pool, and through the next one where it breaks."""
        room = 2 * pool.workers + 1  # tasks beyond the workers lie ready, the rest is not made yet
        while True:
            try:
                for number, task in islice(tasks, room - len(self._out)):
                    self._out[number] = pickle.dumps(task)
                    self._submit(pool.begun(), number)
                if not self._out:
                    return
                self._receive(pool.begun())
            except _BrokenError as why:
                self._begin_anew(pool, str(why))

    def _submit(self, begun: _Begun, number: int) -> None:
        future = begun.submit(number, self._function, self._out[number])
        back = self._back
        future.add_done_callback(lambda ended: back.put((number, ended)))

    def _receive(self, begun: _Begun) -> None:
        begun.look_after(len(self._out))
        with suppress(Empty):
            number, future = self._back.get(timeout=LOOK_S)
            begun.ended(number)
            error = future.exception()
            if isinstance(error, (WorkerLost, ManagerLost)):
                self._lost(begun, number)
            elif error is not None:
                raise error
            else:
                del self._out[number]
                self._fruitless = 0
                begun.bore_fruit()
                self._done(number, pickle.loads(future.result()))

    def _lost(self, begun: _Begun, number: int) -> None:
        self._deaths[number] += 1
        if self._deaths[number] < self._tries:
            self._submit(begun, number)
            return
        del self._out[number]
        often = f"{self._tries} times, each time" if self._tries > 1 else "once"
        self._done(number, Lost(f"the process that worked on it was killed {often}: most often it is the memory"))

    def _begin_anew(self, pool: Pool, why: str) -> None:
        self._fruitless += 1
        if self._fruitless >= ATTEMPTS:
            raise RunError(
                f"the workers ended {ATTEMPTS} times before any task was done; the last time: {why}",
                remedy="most often it is the memory: fewer workers",
            )
        pool.close()
        self._back = SimpleQueue()  # what the old pool still says is not heard
        for number in self._out:
            self._submit(pool.begun(), number)


def _silence() -> None:
    """Keep Parsl's remarks off the screen: what matters of them becomes an error of ours."""
    logger = logging.getLogger("parsl")
    logger.setLevel(logging.CRITICAL)
    logger.propagate = False


# ------------------------------------------------------------------ in a worker


def _in_worker(under_work: str, function: bytes, task: bytes) -> bytes:
    """Do a task; a file says meanwhile that somebody works on it.

    The function and its task are unpickled here, and not by Parsl, so that the time for its imports counts as work.
    """
    _tie_once()
    marker = Path(under_work)
    marker.touch()
    try:
        return pickle.dumps(_function(function)(pickle.loads(task)))
    finally:
        marker.unlink(missing_ok=True)


@cache
def _tie_once() -> None:
    die_with_parent()


@lru_cache(maxsize=4)
def _function(pickled: bytes) -> Callable[[Any], Any]:
    """Return the function; what is bound to it, a model for example, is read once a worker."""
    return pickle.loads(pickled)

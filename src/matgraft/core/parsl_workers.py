"""Workers by Parsl, of this machine or of a cluster's jobs: the only file that imports Parsl.

Between this process and the workers stands Parsl's interchange, a process that hands out tasks; on each node one more
process, the manager, begins the workers and begins those anew that die:

    this process -- interchange -- manager of a node -- workers

On this machine both stand under a guard (`matgraft.core.orphans`), which ends them when this process is gone. Managers
of a cluster end when they hear of it no more.

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
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

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
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.failures import failure_of
from matgraft.core.files import whole
from matgraft.core.orphans import end_guarded
from matgraft.core.signals import temporary

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
"""A worker has one core, or hands its cores to the program that it runs."""
ATTEMPTS = 3
"""How many managers, or jobs, may end one after another before any task does: then something is wrong with all."""
TAKE_S, ANSWER_S = 10, 60
"""Within which the interchange must be there for a task, which waits for it then, and within which it must answer."""
STUCK_S, STUCK_ON_CLUSTER_S = 120, 300
"""After which workers are stuck if none works though there is work; a cluster's shared folder tells with delay."""
BEGIN_S = 600
"""The same before any task came back: workers are still beginning, and a busy machine is slow."""
LOOK_S = 1.0
"""Between looks at the processes while no task ends."""
MANAGER_SAYS = "manager.txt"
_LOOPBACK = "127.0.0.1"
_NAME = "matgraft"
_MODULES = "parsl.executors.high_throughput"
_ARGUMENTS = DEFAULT_LAUNCH_CMD.removeprefix("process_worker_pool.py")
_PLAIN = re.compile(r"[\w./+@:,=-]+")
_LONGEST = 50
"""Characters of a folder in which a socket can be named, two folders deeper; unix(7) takes 108."""


class ThisMachine(ExecutionProvider):
    """Begins the manager of this machine as a child of this process.

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
        """Seconds between looks at the manager; a look costs nothing."""
        return 1

    def submit(self, command: str, tasks_per_node: int, job_name: str = _NAME) -> str:
        """Begin a manager."""
        assert self.script_dir is not None
        folder = Path(self.script_dir)
        environment = os.environ | ONE_THREAD | {"TMPDIR": str(folder)}  # scratch files end with it
        with (folder / MANAGER_SAYS).open("wb") as said:
            child = subprocess.Popen(
                shlex.split(command), env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        self._children[str(child.pid)] = child
        return str(child.pid)

    def status(self, job_ids: Sequence[Any]) -> list[JobStatus]:
        """Say which managers still run."""
        codes = [self._children[one].poll() for one in job_ids]
        return [JobStatus(JobState.RUNNING if code is None else JobState.FAILED) for code in codes]

    def cancel(self, job_ids: Sequence[Any]) -> list[bool]:
        """End managers with their workers and whatever these run."""
        for one in job_ids:
            end_guarded(self._children[one])
        return [True for _ in job_ids]


class _Common(TypedDict):
    """What both schedulers of Parsl take under the same names."""

    account: str | None
    nodes_per_block: int
    init_blocks: int
    max_blocks: int
    walltime: str
    scheduler_options: str
    worker_init: str
    cmd_timeout: int


def provider_of(settings: ExecutorSettings) -> ExecutionProvider:
    """Return how Parsl begins the manager of a node."""
    if settings.provider == "local":
        return ThisMachine()
    cores = settings.workers_per_node * settings.cores_per_worker
    sign = "#SBATCH" if settings.provider == "slurm" else "#PBS"
    common: _Common = {
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
    guarded = [*python, "matgraft.core.orphans", *python]
    manager = [*(guarded if local else python), f"{_MODULES}.process_worker_pool"]
    made = HighThroughputExecutor(
        label=_NAME,
        provider=provider,
        interchange_launch_cmd=[*guarded, f"{_MODULES}.interchange"],
        launch_cmd=f"{shlex.join(manager)} {_ARGUMENTS}",
        address=settings.address or _LOOPBACK,
        max_workers_per_node=settings.workers_per_node,
        cores_per_worker=1e-3,  # as many workers as were asked for, whatever the node has
        heartbeat_period=1 if local else 15,  # seconds; also how often dead workers are looked for
        heartbeat_threshold=60 if local else 120,
        encrypted=True,
    )
    if not local and not settings.address:  # Parsl itself would ask a service in the internet for one more
        made.address, made.all_addresses = None, _addresses()
    return made


def _addresses() -> set[str]:
    """Return what this machine is reached by from others."""
    found = (one.address for some in psutil.net_if_addrs().values() for one in some if one.family == socket.AF_INET)
    return {one for one in found if not one.startswith("127.")} or {_LOOPBACK}


class BrokenError(Exception):
    """The interchange or the manager of this machine ended, or nobody works though there is work."""


def was_killed(error: BaseException | None) -> bool:
    """Say whether a task came back because its worker, or the manager of its node, is dead."""
    return isinstance(error, (WorkerLost, ManagerLost))


class Workers:
    """An interchange, managers with their workers, and the folder of their files."""

    def __init__(self, settings: ExecutorSettings, folder: Path) -> None:
        _silence()
        _see_that_a_scheduler_is_here(settings)
        self._settings = settings
        self._slots = settings.workers_per_node * settings.nodes  # of a job
        self.folder = _private_folder(settings, folder)
        self._noted = ExitStack()
        self._noted.enter_context(temporary(self.folder))
        self.under_work = self.folder / "under-work"
        self._busy_at = self._next_look = time.monotonic()
        self._failed_before, self._warm = 0, False
        self._function, self._functions = b"", 0
        self._provider = provider_of(settings)
        self._provider.script_dir = str(self.folder)
        self._parsl = parsl_executor(settings, self._provider)
        self._parsl.run_dir = str(self.folder)
        try:
            self.under_work.mkdir()
            self._parsl.start()
        except Exception as error:
            self.close()
            raise failure_of(error) or BrokenError(f"they could not be begun: {error}") from error
        except BaseException:
            self.close()
            raise
        for pipe in (self._parsl.outgoing_q.zmq_socket, self._parsl.command_client.zmq_socket):
            pipe.setsockopt(zmq.LINGER, 0)  # or closing would wait for an interchange that is dead
            pipe.setsockopt(zmq.SNDTIMEO, TAKE_S * 1000)
            pipe.setsockopt(zmq.RCVTIMEO, ANSWER_S * 1000)

    def submit(self, number: int, function: bytes, task: bytes) -> Future[bytes]:
        """Hand a task in; its function goes by a file, once, since a model may be bound to it."""
        if function is not self._function:
            self._function, self._functions = function, self._functions + 1
            with whole(self._file_of_function) as part:
                part.write_bytes(function)
        marker, file = self.under_work / str(number), self._file_of_function
        self._see_that_it_lives()
        try:
            return self._parsl.submit(_in_worker, {}, str(marker), str(file), task)
        except zmq.Again:
            raise BrokenError(f"the process that hands out tasks took none for {TAKE_S} s") from None

    @property
    def _file_of_function(self) -> Path:
        return self.folder / f"function-{self._functions}"

    def look_after(self, tasks: int) -> None:
        """Hand in jobs for the tasks that are there, and see that somebody works.

        Raises
        ------
        BrokenError
            If these workers will do no more work.
        RunError
            If jobs fail one after another.
        """
        self._see_that_it_lives()
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_S
        try:
            self._parsl.poll_facade()
            self._hand_in_jobs(tasks)
            self._see_that_somebody_works()
        except zmq.Again:
            raise BrokenError(f"the process that hands out tasks did not answer for {ANSWER_S} s") from None

    def _see_that_it_lives(self) -> None:
        interchange, results = self._parsl.interchange_proc, self._parsl._result_queue_thread
        if not interchange or interchange.poll() is not None or not results or not results.is_alive():
            raise BrokenError("the process that hands out tasks was killed")

    def _hand_in_jobs(self, tasks: int) -> None:
        status = self._parsl.status_facade
        ended = [one for one in status.values() if one.state in TERMINAL_STATES]
        if ended and self._settings.provider == "local":
            raise BrokenError(f"the process above them was killed. {_tail(self.folder / MANAGER_SAYS)}".strip())
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
        """Find stuck workers: one that is killed while it waits may leave the others' queue locked."""
        now = time.monotonic()
        if any(self.under_work.iterdir()) or not self._parsl.connected_managers():
            self._busy_at = now
        stuck_s = STUCK_S if self._settings.provider == "local" else STUCK_ON_CLUSTER_S
        patience_s = stuck_s if self._warm else BEGIN_S
        if now - self._busy_at > patience_s:
            raise BrokenError(f"no worker has begun a task for {patience_s} s")

    def came_back(self, number: int) -> None:
        """Note that a task came back, done or not."""
        (self.under_work / str(number)).unlink(missing_ok=True)  # of a worker that died
        self._busy_at, self._warm = time.monotonic(), True

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
            if self._parsl.interchange_proc is not None:
                end_guarded(self._parsl.interchange_proc, grace_s=0)
            self._parsl.shutdown()
            shutil.rmtree(self.folder, ignore_errors=True)
            self._noted.close()


def _private_folder(settings: ExecutorSettings, folder: Path) -> Path:
    """Make the folder of workers: keys, logs, scripts of jobs.

    For this machine it lies among its temporary files, where paths are short enough for sockets; a cluster's nodes see
    the run's folder.

    Raises
    ------
    OptionError
        If the path of the run's folder cannot stand in a job's script.
    """
    within = folder.resolve()
    if settings.provider == "local":
        within = Path(tempfile.gettempdir())
        if len(str(within)) > _LONGEST or not _PLAIN.fullmatch(str(within)):
            within = Path("/tmp")
    elif not _PLAIN.fullmatch(str(within)):
        raise OptionError(
            f"the path {str(within)!r} cannot stand in the script of a job",
            allowed=["letters, digits and any of . / _ + @ : , = -"],
            remedy="choose a folder without spaces and other signs in its path",
        )
    within.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="matgraft-", dir=within))


def _see_that_a_scheduler_is_here(settings: ExecutorSettings) -> None:
    command = {"slurm": "sbatch", "pbs": "qsub"}.get(settings.provider)
    if command and not shutil.which(command):
        raise OptionError(
            f"provider {settings.provider!r} hands in jobs by the command {command}, which is not on this machine",
            allowed=["provider: local", "a machine that hands in jobs, such as the login node of the cluster"],
        )


def _silence() -> None:
    """Keep Parsl's remarks off the screen: what matters of them becomes an error of ours."""
    logger = logging.getLogger("parsl")
    logger.setLevel(logging.CRITICAL)
    logger.propagate = False


def _tail(file: Path, characters: int = 500) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()[-characters:]
    except OSError:
        return ""


# ------------------------------------------------------------------ in a worker


def _in_worker(under_work: str, function: str, task: bytes) -> bytes:
    """Do a task; a file says meanwhile that somebody works on it.

    The function and its task are unpickled here, and not by Parsl, so that the time for its imports counts as work.
    """
    marker = Path(under_work)
    marker.touch()
    try:
        return pickle.dumps(_function(function)(pickle.loads(task)))
    finally:
        marker.unlink(missing_ok=True)


@lru_cache(maxsize=4)
def _function(file: str) -> Callable[[Any], Any]:
    """Return the function; what is bound to it, a model for example, is read once a worker."""
    return pickle.loads(Path(file).read_bytes())

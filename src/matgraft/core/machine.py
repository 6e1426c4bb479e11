"""What this process may take of the machine: the bytes and the cores that everyone who sets a bound leaves it.

    available_memory()     # Memory(bytes=5368709120, by="memory.max of the control group /slurm/job_7")
    usable_cores()

A job seldom owns its machine. The least of these bounds holds:

| who sets it              | memory                                             | cores                                |
| ------------------------ | -------------------------------------------------- | ------------------------------------ |
| the machine              | ``MemAvailable``                                   | CPUs                                 |
| control groups, each one | ``memory.max``, ``memory.high`` (version 2),       | ``cpu.max`` (version 2),             |
| up to the root           | ``memory.limit_in_bytes`` (version 1)              | ``cpu.cfs_quota_us`` (version 1)     |
| limits of the process    | ``RLIMIT_AS``, ``RLIMIT_DATA``                     | affinity                             |
| a scheduler's variables  | ``SLURM_MEM_PER_NODE``, ``_PER_CPU``, ``_PER_GPU`` | Slurm, PBS, Grid Engine, LSF         |

From a bound on memory comes off what is in use under it: of a control group without the file cache that Linux drops on
demand (``inactive_file``), of the process for its own limits and for a scheduler's. Control groups are those of
containers, systemd and schedulers. Where nothing is known, as on macOS and Windows, 4 GiB are assumed.

Source: the kernel's documentation of cgroup-v1 and cgroup-v2, proc(5), getrlimit(2) and the schedulers' manuals.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import NamedTuple, NoReturn

if sys.platform != "win32":
    import resource

ASSUMED = 4 * 2**30
"""Bytes, where nothing says how many there are."""
ROOT = Path("/")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_JOBS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("SLURM_JOB_ID", ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")),
    ("PBS_JOBID", ("PBS_NUM_PPN", "NCPUS")),
    ("JOB_ID", ("NSLOTS",)),
    ("LSB_JOBID", ("LSB_DJOB_NUMPROC",)),
)
"""Variable that says that a job runs -> variables with its cores on this machine; the first that is set holds. Others'
jobs over several machines (Grid Engine, LSF) count the cores of all: an upper bound."""


class Memory(NamedTuple):
    """Bytes that can be had, and what bounds them."""

    bytes: int
    by: str


def available_memory(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> Memory:
    """Return the memory that this process and its workers can still take together.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` lie.
    """
    status = _fields(root / "proc/self/status")
    bounds = [
        *_of_machine(root),
        *_of_groups(root),
        *_of_process(root, status),
        *_of_scheduler(environment, status.get("VmRSS", 0)),
    ]
    left, by = min(bounds, default=Memory(ASSUMED, "an assumption, this system does not say what is free"))
    return Memory(max(0, left), by)


def usable_cores(root: Path = ROOT, environment: Mapping[str, str] = os.environ, cpus: int | None = None) -> int:
    """Return the number of cores that this process and its workers may use together, at least one.

    Parameters
    ----------
    cpus
        Those that the process may be placed on. Default: its affinity, or the machine's where there is no such thing.
    """
    return max(1, min([cpus or _affinity(), *_quotas(root), *_of_job(environment)]))


@contextmanager
def memory_for_a_file(size: int) -> Iterator[None]:
    """Let a parser of someone else's take 2 GiB and 200 bytes a byte of the file, and raise `MemoryError` beyond.

    A count in a header can ask for any amount, which the system would grant and then end the process. Where nothing
    says how much memory the process has, as outside of Linux, nothing is bounded.
    """
    pages = _text(ROOT / "proc/self/statm").split()
    if not pages:
        yield
        return
    used = int(pages[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = used + 2**31 + 200 * size
    bounds = [bound, *(one for one in (soft, hard) if one != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class TookTooLongError(BaseException):
    """A block used up its time. No `Exception`: parsers catch these, and go on."""


@contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """Give a block so many seconds of the processor, and raise `TookTooLongError` in it beyond.

    Python hears it between two of its instructions and inside regular expressions, not inside compiled loops. Signals
    reach the main thread alone: in other threads, and on Windows, nothing is bounded.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise TookTooLongError

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 1.0)  # again, for whoever swallows it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


# ---------------------------------------------------------------------- memory


def _of_machine(root: Path) -> Iterator[Memory]:
    fields = _fields(root / "proc/meminfo")
    if "MemAvailable" in fields:
        yield Memory(fields["MemAvailable"], "the free memory of this machine")


def _of_groups(root: Path) -> Iterator[Memory]:
    for folder, name, version in _groups(root, "memory"):
        limits = ("memory.max", "memory.high") if version == 2 else ("memory.limit_in_bytes",)
        used, cache = (
            ("memory.current", "inactive_file") if version == 2 else ("memory.usage_in_bytes", "total_inactive_file")
        )
        held = (_number(folder / used) or 0) - _statistics(folder / "memory.stat").get(cache, 0)
        for limit in limits:
            if (bound := _number(folder / limit)) is not None:
                yield Memory(bound - max(0, held), f"{limit} of the control group {name}")


def _of_process(root: Path, status: Mapping[str, int]) -> Iterator[Memory]:
    kinds = {"Max address space": ("RLIMIT_AS", "VmSize"), "Max data size": ("RLIMIT_DATA", "VmData")}
    for line in _text(root / "proc/self/limits").splitlines():
        for title, (name, used) in kinds.items():
            soft = line.removeprefix(title).split()[0] if line.startswith(title) else ""
            if soft.isdigit():
                yield Memory(int(soft) - status.get(used, 0), f"the limit {name} of this process")


def _of_scheduler(environment: Mapping[str, str], resident: int) -> Iterator[Memory]:
    """Yield what Slurm granted on this machine; 0 grants all of it. The other schedulers name no memory."""
    if "SLURM_JOB_ID" not in environment:
        return
    cores = _count(environment, "SLURM_CPUS_ON_NODE") or _count(environment, "SLURM_CPUS_PER_TASK")
    counts = {"NODE": 1, "CPU": cores, "GPU": _count(environment, "SLURM_GPUS_ON_NODE")}
    for kind, count in counts.items():
        name = f"SLURM_MEM_PER_{kind}"
        if (granted := _megabytes(environment.get(name, ""))) and count:
            yield Memory(granted * count - resident, name)


def _megabytes(text: str) -> int:
    """Return the bytes of Slurm's notation: megabytes, or a number with K, M, G or T; 0 if there is none."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "M")
    return int(number) * _UNITS[unit] if number.isdigit() and unit in _UNITS else 0


# ----------------------------------------------------------------------- cores


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[int]:
    """Yield the whole cores of each group's time; what is beyond them would only be throttled."""
    for folder, _, version in _groups(root, "cpu"):
        if version == 2:
            quota, period = (_text(folder / "cpu.max").split() or ["max", ""])[:2]
        else:
            quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit():  # else: "max", -1, or absent
            yield int(quota) // int(period)


def _of_job(environment: Mapping[str, str]) -> Iterator[int]:
    for job, names in _JOBS:
        counts = [count for name in names if (count := _count(environment, name))]
        if job in environment and counts:
            yield counts[0]


def _count(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdigit() else 0


# ----------------------------------------------------------------------- files


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, str, int]]:
    """Yield folder, name and version of each control group that the process is in, the outermost first."""
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        tops = [mount / controllers, mount / controller] if controllers else [mount]
        top = next((one for one in tops if one.is_dir()), mount)
        # Seen from inside a container a path may lead outside of it: what is not there is passed over.
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for depth in range(len(parts) + 1):
            inside = PurePosixPath("/", *parts[:depth])
            yield top.joinpath(*parts[:depth]), str(inside), version


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # absent, or not for us to read
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    """Return the bytes of ``name: number kB`` lines."""
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0].removesuffix(":"): int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == "kB"}


def _statistics(path: Path) -> dict[str, int]:
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}

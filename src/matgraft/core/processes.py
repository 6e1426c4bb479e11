"""Work over several single-threaded processes.

The workers are forked, so the model and the encoded frames are shared with the parent and nothing is pickled on the way
in. Where a process cannot fork (Windows), or on a GPU, the work is done in the parent: the answers are the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, track
from threadpoolctl import threadpool_limits

from matgraft.core.devices import training_device
from matgraft.core.errors import RunError
from matgraft.core.failures import WORKER
from matgraft.core.machine import usable_cores
from matgraft.core.orphans import die_with_parent

A = TypeVar("A")
B = TypeVar("B")

_work: Callable[[Any], Any] | None = None


def cores() -> int:
    """Return the number of cores this process may use (`matgraft.core.machine`)."""
    return usable_cores()


def can_fork() -> bool:
    """Say whether workers can share the parent's memory: fork exists, and no GPU context that a fork would break."""
    return "fork" in multiprocessing.get_all_start_methods() and not torch.cuda.is_initialized()


def forks_on_cpu() -> bool:
    """Say whether a fit shares its work among processes: on a CPU, where they can be forked."""
    return training_device().type == "cpu" and can_fork()


def workers(asked: int | None = None) -> int:
    """Return how many processes share the work: those asked for, or one a core; one where none can be forked."""
    return (asked or cores()) if can_fork() else 1


def timed(work: Callable[[], B]) -> tuple[float, B]:
    """Return the seconds and the answer of the second call: the first warms caches up."""
    work()
    _finish_on_gpu()
    began = time.monotonic()
    answer = work()
    _finish_on_gpu()
    return time.monotonic() - began, answer


def _finish_on_gpu() -> None:
    """Wait for what a GPU was asked for: a call returns before its work is done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def keep_memory() -> None:
    """Tell glibc to keep freed memory instead of handing it back to the system after every step.

    Training frees and asks again for the same tensors; the page faults cost a third of a step (3.4 s against 2.2 s
    for the vendor's step of four 63-atom Si frames). Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # parameter numbers of mallopt(3)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 2**26)
        libc.mallopt(mmap_threshold, 2**25)  # the largest that glibc takes


def map_in_processes(work: Callable[[A], B], items: Sequence[A], processes: int = 1, progress: str = "") -> list[B]:
    """Return ``[work(item) for item in items]``, by forked workers.

    Parameters
    ----------
    work
        Any callable, closures included. What it returns is pickled: numpy arrays rather than tensors.
    processes
        Number of workers; one means the parent itself.
    progress
        Title of a progress bar on standard error; none if empty.

    Raises
    ------
    RunError
        If a worker was killed. What `work` raises reaches the caller.
    """
    global _work
    if processes <= 1 or len(items) <= 1 or not can_fork() or _work is not None:  # a worker does its part alone
        return list(_tracked(map(work, items), len(items), progress))
    _work = work
    try:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(min(processes, len(items)), context, initializer=_one_thread) as pool:
            return list(_tracked(pool.map(_call, items), len(items), progress))
    except BrokenProcessPool as error:
        raise RunError(WORKER.found, remedy=WORKER.remedy) from error
    finally:
        _work = None


def _call(item: Any) -> Any:
    assert _work is not None
    return _work(item)


def _one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)  # BLAS and OpenMP of trees too: threads that wait for each other cost ten times the work
    die_with_parent()
    keep_memory()


def _tracked(results: Any, total: int, title: str) -> Any:
    if not title:
        return results
    return track(results, description=escape(title), total=total, transient=True, console=Console(stderr=True))


@contextlib.contextmanager
def bar(title: str, total: int, finished: int = 0) -> Iterator[Callable[[], None]]:
    """Show a progress bar on standard error; call what comes out as each part ends. None is shown without a title.

    Parameters
    ----------
    finished
        Parts that had ended before.
    """
    with Progress(console=Console(stderr=True), disable=not title, transient=True) as shown:
        task = shown.add_task(escape(title), total=total, completed=finished)
        yield lambda: shown.advance(task)


def is_survived(work: Callable[[], object], seconds: int) -> bool:
    """Try a piece of work in a forked child; False if a signal ended it, or so many seconds of the processor did.

    For compiled readers of files that anyone may have made: what is not where a file says would end the program.
    """
    if not can_fork():
        return True
    child = os.fork()
    if not child:
        with contextlib.suppress(
            BaseException
        ):  # what is wrong otherwise, whoever does the work after this says better
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
            signal.signal(signal.SIGXCPU, signal.SIG_DFL)
            work()
        os._exit(0)
    return not os.WIFSIGNALED(os.waitpid(child, 0)[1])

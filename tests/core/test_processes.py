"""Worker processes: the same answers, the same exceptions, and no orphans."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from matgraft.core.errors import RunError
from matgraft.core.orphans import die_with_parent
from matgraft.core.processes import can_fork, cores, keep_memory, map_in_processes

needs_fork = pytest.mark.skipif(not can_fork(), reason="this system does not fork")
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's own")


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def alive(pid: int) -> bool:
    """Say whether a process runs: one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_answers_come_in_order(processes: int) -> None:
    shift = 7  # a closure: nothing is pickled on the way in

    def work(i: int) -> int:
        time.sleep(0.02 * (i == 0))  # the first is done last
        return i * i + shift

    assert map_in_processes(work, range(5), processes) == [7, 8, 11, 16, 23]


@needs_fork
def test_workers_are_other_processes_with_one_thread(tmp_path: Path) -> None:
    def where(i: int) -> tuple[int, int]:
        (tmp_path / f"{i}").touch()
        assert wait_for(lambda: len(list(tmp_path.iterdir())) == 2)  # both at once
        return os.getpid(), torch.get_num_threads()

    found = map_in_processes(where, range(2), 2)
    assert os.getpid() not in {pid for pid, _ in found}
    assert {threads for _, threads in found} == {1}
    assert len({pid for pid, _ in found}) == 2


@pytest.mark.parametrize("processes", [1, 2])
def test_one_item_is_done_at_home(processes: int) -> None:
    assert map_in_processes(lambda _: os.getpid(), [0], processes) == [os.getpid()]
    assert map_in_processes(lambda _: 1 / 0, [], processes) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_exceptions_reach_the_caller_and_the_next_call_works(processes: int) -> None:
    def work(i: int) -> int:
        if i == 2:
            raise RunError("number two", remedy="leave it out")
        return i

    with pytest.raises(RunError, match="number two\nremedy: leave it out") as error:
        map_in_processes(work, range(4), processes)
    assert error.value.found == "number two"
    assert map_in_processes(work, range(2), processes) == [0, 1]


@needs_fork
def test_a_killed_worker_is_an_error_and_no_hang() -> None:
    def work(i: int) -> int:
        if i == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with pytest.raises(RunError, match="a worker process was killed"):
        map_in_processes(work, range(4), 2)


def test_the_progress_bar_changes_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert map_in_processes(lambda i: i + 1, range(3), 1, "counting") == [1, 2, 3]
    assert capsys.readouterr().out == ""


@needs_fork
@linux_only
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    def work(i: int) -> None:
        (tmp_path / f"{i}").write_text(str(os.getpid()))
        time.sleep(60)

    def pids() -> list[int]:
        return [int(file.read_text() or 0) for file in tmp_path.iterdir()]

    parent = multiprocessing.get_context("fork").Process(target=map_in_processes, args=(work, range(2), 2))
    parent.start()
    assert wait_for(lambda: len(pids()) == 2 and all(pids()))
    workers = pids()
    assert all(alive(pid) for pid in workers)
    os.kill(parent.pid or 0, signal.SIGKILL)
    parent.join()
    assert wait_for(lambda: not any(alive(pid) for pid in workers))


@linux_only
def test_asking_to_die_harms_nobody_while_the_parent_lives() -> None:
    def child() -> None:
        die_with_parent()
        keep_memory()
        time.sleep(0.1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_cores() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_work_within_work_is_done_by_the_worker_itself() -> None:
    def outer(i: int) -> tuple[int, list[int]]:
        pids = map_in_processes(lambda _: os.getpid(), [0, 1], 2)
        return os.getpid(), pids

    for pid, inner in map_in_processes(outer, [0, 1, 2, 3], 2):
        assert set(inner) == {pid} != {os.getpid()}

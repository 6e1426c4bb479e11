"""Where work is done changes nothing in what comes out, and no death of a process loses a task."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from matgraft.core.executor import Executor, Serial, executor, read_executor
from matgraft.core.executor_settings import Lost

HERE = Path(__file__).parent
SOON_S = 300.0
"""Within which a process begins or ends on a busy machine."""


@pytest.fixture(scope="module")
def tasks() -> Iterator[Any]:
    """The functions of `executor_tasks`, importable by their name here and in workers."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(HERE))
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH")))))
    yield importlib.import_module("executor_tasks")
    patch.undo()


@pytest.fixture(scope="module")
def pool(tasks: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    with executor(read_executor(workers=2), tmp_path_factory.mktemp("pool")) as one:
        yield one


def results(run: Executor, function: Callable[[Any], Any], tasks: Any) -> dict[int, Any]:
    out: dict[int, Any] = {}
    here = threading.current_thread()

    def done(i: int, result: Any) -> None:
        assert threading.current_thread() is here and i not in out
        out[i] = result

    run.run(function, tasks, done)
    return out


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def helper(name: str) -> psutil.Process:
    """Return the process of this pool that runs a module of Parsl, not the guard above it."""
    found = [
        one for one in family(os.getpid()) if name in " ".join(one.cmdline()) and "orphans" not in one.cmdline()[3]
    ]
    assert len(found) == 1
    return found[0]


def test_workers_say_what_this_process_says(pool: Executor, tasks: Any) -> None:
    many = range(200)
    assert results(pool, tasks.square, iter(many)) == results(Serial(), tasks.square, many)


def test_no_task_is_no_work(pool: Executor, tasks: Any) -> None:
    assert results(pool, tasks.square, []) == {}


def test_each_worker_has_one_thread_and_is_none_of_this_process(pool: Executor, tasks: Any) -> None:
    out = results(pool, tasks.worker_of, range(20)).values()
    assert {threads for _, threads, _ in out} == {"1"}
    assert os.getpid() not in {pid for *_, pid in out}


def test_tasks_are_made_on_the_way(pool: Executor, tasks: Any) -> None:
    ended, ahead = 0, []

    def made() -> Iterator[int]:
        for number in range(100):
            ahead.append(number - ended)
            yield number

    def done(i: int, result: Any) -> None:
        nonlocal ended
        ended += 1

    pool.run(tasks.square, made(), done)
    assert ended == 100 and max(ahead) <= 2 * pool.workers + 1


def test_what_is_bound_to_a_function_is_read_once_a_worker(pool: Executor, tasks: Any, tmp_path: Path) -> None:
    function = partial(tasks.call, tasks.Loaded(tmp_path, 7))
    assert results(pool, function, range(40)) == {i: i + 7 for i in range(40)}
    readers = [file.name.split("-")[1] for file in tmp_path.iterdir()]
    assert len(readers) == len(set(readers)) <= pool.workers


def test_a_function_that_no_worker_can_import_is_refused(pool: Executor) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pool.run(lambda x: x, [1], lambda i, r: None)


# ------------------------------------------------------------------ deaths


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that death left stuck are given up after seconds: by chance a killed one holds the lock of the queue."""
    monkeypatch.setattr("matgraft.core.parsl_workers.STUCK_S", 5)


@pytest.mark.usefixtures("impatient")
def test_a_task_whose_worker_is_killed_is_done_again(pool: Executor, tasks: Any, tmp_path: Path) -> None:
    assert results(pool, partial(tasks.die_once, tmp_path), range(4)) == {i: i for i in range(4)}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1", "3"]


@pytest.mark.usefixtures("impatient")
def test_a_task_that_kills_its_worker_each_time_is_lost_and_the_others_are_not(pool: Executor, tasks: Any) -> None:
    out = results(pool, tasks.die, range(3))
    assert isinstance(out[1], Lost) and "killed 3 times" in out[1].reason
    assert (out[0], out[2]) == (0, 2)


@pytest.mark.parametrize("name", ["interchange", pytest.param("process_worker_pool", marks=pytest.mark.slow)])
def test_what_stands_above_the_workers_is_replaced(pool: Executor, tasks: Any, tmp_path: Path, name: str) -> None:
    go, out = tmp_path / "go", {}

    def kill() -> None:
        until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        helper(name).kill()
        go.touch()

    killer = threading.Thread(target=kill)
    killer.start()
    out = results(pool, partial(tasks.wait_for, go), range(5))
    killer.join()
    assert sorted(out) == [0, 1, 2, 3, 4]


def test_workers_that_died_in_waiting_do_not_hold_the_others_up(
    pool: Executor, tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that waits holds the lock of the queue; Parsl's new worker would wait for it forever."""
    results(pool, tasks.square, range(20))
    manager = helper("process_worker_pool")
    for one in manager.children():
        one.kill()
    monkeypatch.setattr("matgraft.core.parsl_workers.STUCK_S", 1)
    assert results(pool, tasks.square, range(3)) == {0: 0, 1: 1, 2: 4}
    assert not lives(manager.pid)


def test_what_a_task_raises_reaches_the_caller_and_ends_the_others(pool: Executor, tasks: Any) -> None:
    with pytest.raises(ValueError, match="no threes"):
        pool.run(tasks.refuse, range(10), lambda i, r: None)
    assert not [one for one in family(os.getpid()) if "parsl" in " ".join(one.cmdline())]


DRIVER = """
import signal
import sys
from functools import partial
from pathlib import Path
import executor_tasks
from matgraft.core.executor import executor, read_executor

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it begins in the background ignore Ctrl-C
here = Path(sys.argv[1])
with executor(read_executor(workers=2), here) as pool:
    pool.run(partial(executor_tasks.sleep_in_a_child, here), range(9), print)
"""


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM, signal.SIGKILL]
)
def test_a_run_that_is_ended_leaves_no_process_behind(tasks: Any, tmp_path: Path, number: signal.Signals) -> None:
    with tempfile.TemporaryDirectory() as scratch:  # a short path
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path)],
            env=os.environ | {"TMPDIR": scratch},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with driver:
            until(lambda: driver.poll() is not None or len(list(tmp_path.glob("child-*"))) == 2)
            others = [one.pid for one in family(driver.pid)]
            driver.send_signal(number)
            try:
                said = driver.communicate(timeout=SOON_S)[1]
            finally:
                driver.kill()  # else a driver that heard nothing is waited for without end
        assert driver.returncode == {signal.SIGTERM: 143, signal.SIGKILL: -9, signal.SIGINT: -2}[number], said
        assert len(others) >= 8  # two guards, interchange, manager and its two helpers, workers and their children
        until(lambda: not any(lives(pid) for pid in others))
        assert "parsl" not in said
        if number != signal.SIGKILL:
            assert not list(Path(scratch).iterdir())

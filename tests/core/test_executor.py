"""Where work is done changes nothing in what comes out, and no death of a process loses a task."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.core.executor import (
    READ_BY,
    Executor,
    ExecutorSettings,
    Lost,
    Serial,
    executor,
    read_executor,
)

HERE = Path(__file__).parent
SOON_S = 60.0
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


def workers_of(pid: int) -> set[int]:
    return {one.pid for one in psutil.Process(pid).children(recursive=True)}


# ------------------------------------------------------------------- settings


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "executor.yaml"
    file.write_text(text)
    return file


def test_without_a_file_work_is_done_on_all_cores_of_this_machine() -> None:
    settings = read_executor()
    assert settings.provider == "local" and settings.workers_per_node >= 1
    assert read_executor(workers=3).workers_per_node == 3


def test_workers_of_the_command_take_the_place_of_those_in_the_file(tmp_path: Path) -> None:
    file = written(
        tmp_path, "provider: slurm\nworkers: 32\nworker_init: |\n  module load qe\n\n  source env/activate\n"
    )
    assert read_executor(file).workers == 32
    assert read_executor(file, 4).workers == 4
    assert read_executor(file).worker_init == ("module load qe", "source env/activate")


@pytest.mark.parametrize(
    ("text", "found", "remedy"),
    [
        ("provider: slrum", "provider='slrum'", "'slurm'"),
        ("wrokers: 4", "unknown key 'wrokers'", "did you mean 'workers'?"),
        ("workers: 0", "workers=0", "greater than or equal to 1"),
        ("workers: many", "workers='many'", "integer"),
        ("provider: slurm\nwalltime: 2h", "walltime='2h'", "match"),
        ("provider: slurm\npartition: 'a b'", "partition='a b'", "match"),
        ('provider: slurm\naccount: "me\\n#SBATCH --uid=0"', "account=", "match"),
        ("provider: slurm\nqueue: long", "'queue' is not read by provider 'slurm'", "belongs to provider pbs"),
        ("walltime: '01:00:00'", "'walltime' is not read by provider 'local'", "slurm or pbs"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(tmp_path: Path, text: str, found: str, remedy: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(OptionError) as error:
        read_executor(file)
    assert found in str(error.value) and remedy in str(error.value) and str(file) in str(error.value)


@pytest.mark.parametrize("text", ["- 1\n- 2", "provider: [", "!!python/object/apply:os.system ['false']"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        read_executor(written(tmp_path, text))


def test_settings_made_by_hand_are_refused_as_well(tmp_path: Path) -> None:
    with (
        pytest.raises(OptionError, match="'partition' is not read by provider 'local'"),
        executor(ExecutorSettings(workers=2, partition="short"), tmp_path),
    ):
        pass


def test_every_key_is_read_by_some_provider() -> None:
    assert set().union(*READ_BY.values()) == set(ExecutorSettings.model_fields)


# ------------------------------------------------------------------ in this process


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    with executor(read_executor(workers=1), tmp_path) as one:
        assert isinstance(one, Serial)
        assert results(one, lambda x: (x, os.getpid()), [5, 6]) == {0: (5, os.getpid()), 1: (6, os.getpid())}


def test_a_single_worker_imports_no_parsl() -> None:
    code = (
        "import sys; from pathlib import Path; from matgraft.core.executor import executor, read_executor\n"
        "with executor(read_executor(workers=1), Path()) as one: one.run(abs, [-1], print)\n"
        "assert not {'parsl', 'zmq', 'torch'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "0 1\n"


# ------------------------------------------------------------------ by workers


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
    with pytest.raises((AttributeError, TypeError, __import__("pickle").PicklingError)):
        pool.run(lambda x: x, [1], lambda i, r: None)


def test_what_a_task_raises_reaches_the_caller_and_the_pool_goes_on(pool: Executor, tasks: Any) -> None:
    with pytest.raises(ValueError, match="no threes"):
        pool.run(tasks.refuse, range(10), lambda i, r: None)
    assert results(pool, tasks.square, [4]) == {0: 16}


# ------------------------------------------------------------------ deaths


def test_a_task_whose_worker_is_killed_is_done_again(pool: Executor, tasks: Any, tmp_path: Path) -> None:
    assert results(pool, partial(tasks.die_once, tmp_path), range(4)) == {i: i for i in range(4)}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1", "3"]


def test_a_task_that_kills_its_worker_each_time_is_lost_and_the_others_are_not(pool: Executor, tasks: Any) -> None:
    out = results(pool, tasks.die, range(3))
    assert isinstance(out[1], Lost) and "killed 3 times" in out[1].reason
    assert (out[0], out[2]) == (0, 2)

"""One process at a time in a folder: the second is told who the first is, a dead one's lock is taken over."""

from __future__ import annotations

import errno
import json
import multiprocessing
import multiprocessing.synchronize
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import filelock
import pytest

from matgraft.core import locks
from matgraft.core.errors import RunError
from matgraft.core.files import part_name
from matgraft.core.locks import is_lock, locked, locked_file, without_locks, works_in
from matgraft.core.manifest import begin

Lock = Callable[[Path], AbstractContextManager[None]]
BOTH = pytest.mark.parametrize("lock", [lambda path: locked(path, new=True), locked_file], ids=["folder", "file"])


def holder_of(path: Path) -> Path:
    return path / locks.HOLDER if path.is_dir() else path.parent / f".{path.name}{locks.HOLDER}"


@contextmanager
def held_elsewhere(path: Path, lock: Lock) -> Iterator[int]:
    """Another process holds the lock; yields its number."""

    def hold(ready: multiprocessing.synchronize.Event) -> None:
        with lock(path):
            ready.set()
            signal.pause()

    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(ready,))
    process.start()
    assert ready.wait(60)
    try:
        yield process.pid or 0
    finally:
        process.kill()
        process.join()


@BOTH
def test_a_second_process_is_told_who_since_when_and_what_to_do(tmp_path: Path, lock: Lock) -> None:
    path = tmp_path / "runs" / "si"
    with held_elsewhere(path, lock) as pid:
        with pytest.raises(RunError) as error, lock(path):
            pytest.fail("two at once")
        said = json.loads(holder_of(path).read_text())
        assert error.value.where == str(path) and error.value.exit_code == 5
        assert f"process {pid} of {socket.gethostname()}, since {said['since'][:10]}" in error.value.found
        assert f"`{said['command'][:20]}" in error.value.found
        assert f"`kill {pid}`" in error.value.remedy
    with lock(path):  # the other one was killed, and left its files
        assert json.loads(holder_of(path).read_text())["pid"] == os.getpid()


@BOTH
def test_nothing_is_left(tmp_path: Path, lock: Lock) -> None:
    with lock(tmp_path / "a" / "b"):
        pass
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="broken"), lock(tmp_path / "a" / "b"):
        raise ValueError("broken")
    assert not (tmp_path / "a").exists()
    (tmp_path / "a" / "b").mkdir(parents=True)
    with lock(tmp_path / "a" / "b"):
        names = [one.name for one in tmp_path.rglob(".*")]
        assert len(names) == 2 and all(is_lock(Path(name)) for name in names)
        assert without_locks(tmp_path / "a" / "b") == []
    assert [one.name for one in tmp_path.rglob("*")] == ["a", "b"]


def test_what_was_written_stays_with_its_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "run", new=True):
        (tmp_path / "run" / "metrics.json").touch()
    assert [one.name for one in (tmp_path / "run").iterdir()] == ["metrics.json"]


def test_a_lock_within_itself_and_threads_of_one_process(tmp_path: Path) -> None:
    found: list[str] = []

    def second() -> None:
        try:
            with locked(tmp_path):
                found.append("two at once")
        except RunError as error:
            found.append(error.found)

    with locked(tmp_path):
        with locked(tmp_path / ".." / tmp_path.name):
            assert (tmp_path / locks.LOCK).exists()
        assert (tmp_path / locks.LOCK).exists()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(found) == 1 and found[0].startswith("another thread of this process works in it")
    second()
    assert found[1:] == ["two at once"]


def test_what_is_missing_and_not_made_is_not_locked(tmp_path: Path) -> None:
    with locked(tmp_path / "nothing"):
        assert not (tmp_path / "nothing").exists()
    (tmp_path / "file").touch()
    with locked(tmp_path / "file", new=True), locked(tmp_path / "file" / "below", new=True):
        assert [one.name for one in tmp_path.iterdir()] == ["file"]
    with locked_file(Path("/dev/null")):
        assert not Path("/dev/.null.lock").exists()


def test_workers_neither_let_go_nor_keep_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with locked(tmp_path):
        ended = context.Process(target=int)
        ended.start()
        ended.join()
        script = (
            "import sys; from pathlib import Path; from matgraft.core.locks import locked\n"
            "with locked(Path(sys.argv[1])): pass"
        )
        words = [sys.executable, "-c", script, str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert "another process works in it" in done.stderr
        stays = context.Process(target=signal.pause)
        stays.start()
    try:
        with held_elsewhere(tmp_path, locked):
            pass
    finally:
        stays.kill()
        stays.join()


def test_another_host_is_named_with_what_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_elsewhere(tmp_path, locked):
        said = json.loads((tmp_path / locks.HOLDER).read_text()) | {"host": "node\x1b[7m7"}
        (tmp_path / locks.HOLDER).write_text(json.dumps(said))
        with pytest.raises(RunError, match=r"of node\?\[7m7") as error, locked(tmp_path):
            pass
        assert f"end it on node?[7m7; if nobody works there any more, remove {tmp_path / locks.LOCK}" in str(
            error.value
        )
        (tmp_path / locks.LOCK).unlink()
        with locked(tmp_path):
            pass


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": "x"}', "\0" * 100_000])
def test_a_torn_file_of_the_holder_is_no_traceback(tmp_path: Path, content: str) -> None:
    with held_elsewhere(tmp_path, locked):
        (tmp_path / locks.HOLDER).write_text(content)
        with pytest.raises(RunError, match="another process works in it"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(fd: int) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock._unix.lock_fd_nonblocking", refuse)
    with held_elsewhere(tmp_path, locked) as pid, pytest.raises(RunError, match=f"process {pid}"), locked(tmp_path):
        pass
    with locked(tmp_path):  # it was killed, and its file was still there
        assert (tmp_path / f"{locks.LOCK}{locks.SOFT}").exists()
        assert without_locks(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_where_nobody_can_write_nobody_is_held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with locked(tmp_path):
        pass


def test_a_function_that_works_in_a_folder(tmp_path: Path) -> None:
    @works_in("out", new=True)
    def tune(what: int, out: Path | str, *, resume: bool = False) -> tuple[int, bool]:
        """Tune."""
        return what, (tmp_path / "run" / locks.LOCK).exists()

    assert tune(3, tmp_path / "run") == (3, True)
    assert tune(what=4, out=f"{tmp_path}/run#PBE", resume=True) == (4, True)
    assert tune.__doc__ == "Tune."
    with held_elsewhere(tmp_path / "run", lambda path: locked(path, new=True)), pytest.raises(RunError):
        tune(3, tmp_path / "run")


@pytest.fixture
def killed() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def _parts(folder: Path, pid: int) -> dict[str, Path]:
    """Write what a process would leave that is killed in the midst of writing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f".{pid}.part.m8x").mkdir()
    found = {name: folder / name for name in (f".{pid}.part.last.pt", f".{pid}.part.m8x/config.json")}
    for one in found.values():
        one.write_text("{")
    return found


def test_what_a_killed_process_had_half_written_goes_when_the_folder_is_locked(tmp_path: Path, killed: int) -> None:
    """Each kill left a part of a checkpoint in the run folder for ever."""
    run, checkpoints = tmp_path / "run", tmp_path / "run" / "checkpoints"
    left = [*_parts(run, killed).values(), *_parts(checkpoints, killed).values()]
    (checkpoints / "last.pt").write_text("whole")
    mine = run / f".{os.getpid()}.part.last.pt"
    others = [mine, run / "spare.part.txt", run / ".x.part.last.pt"]
    for one in others:
        one.write_text("kept")
    with locked(run):
        assert [one.exists() for one in left] == [False, False, True, True], "no run: nothing below is looked at"
    begin(run)
    with locked(run), locked(run):
        assert not any(one.exists() for one in left)
    assert all(one.read_text() == "kept" for one in others)
    assert (checkpoints / "last.pt").read_text() == "whole"


def test_what_a_killed_process_had_half_written_of_a_file_goes_when_it_is_locked(tmp_path: Path, killed: int) -> None:
    left = [tmp_path / f".{killed}.part.{name}" for name in ("out.h5", ".out.h5.lock.json")]
    other = tmp_path / f".{killed}.part.another.h5"
    longest = "x" * 250
    left.append(tmp_path / part_name(longest, killed))
    for one in (*left, other):
        one.write_text("{")
    with locked_file(tmp_path / "out.h5"), locked_file(tmp_path / longest):
        assert not any(one.exists() for one in left) and other.exists()

"""A run that is killed, or whose disk runs full, at any of its writes: it goes on, and ends as if nothing had been.

The kill is an exception that nothing catches, after which nothing reaches the disk any more: `finally` cleans up
nothing, as after SIGKILL. Real kills, of real commands, are in benchmarks/faults.py.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import psutil
import pytest
import torch

from matgraft.core import locks
from matgraft.core.errors import RunError
from matgraft.core.files import is_part, remove, whole, write_text
from matgraft.core.locks import is_lock
from matgraft.core.manifest import FILE, folder_state
from matgraft.core.registry import CARD, save_folder
from matgraft.core.run_folder import BEGUN, Begun, RunFile, new_folder, open_run, refuse_full_folder
from matgraft.core.weights import load_tensors, save_tensors
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.potentials.run.verify import is_passing, verify

ASKED, SPLIT, METRICS = (RunFile(f"{name}.json", dict[str, float]) for name in ("settings", "split", "metrics"))
BEGIN = Begun(kind="formulas", decides={"option seed": 0})
CHANGES = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "ftruncate", "write")


class Killed(BaseException):
    """As a process ends that is killed: nothing catches it."""


class Faulty:
    """The changes of files in a folder, of which the one with a number, and those after it, fail."""

    def __init__(self, folder: Path, at: int, fault: type[Killed] | type[OSError]) -> None:
        self.folder, self.at, self.fault = str(folder), at, fault
        self.count = 0

    def fails(self) -> bool:
        self.count += 1
        return self.count > self.at

    def error(self) -> BaseException:
        return Killed() if self.fault is Killed else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def at_work(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        with patch.context() as inside:
            for name in CHANGES:
                inside.setattr(os, name, self._changing(getattr(os, name), needs_room=name in ("mkdir", "write")))
            for module in (io, builtins):
                inside.setattr(module, "open", self._opening)
            yield

    def _changing(self, function: Callable[..., Any], *, needs_room: bool) -> Callable[..., Any]:
        """Return a function of `os` that fails; a full disk fails what needs room on it alone."""

        def change(what: Any, *more: Any, **named: Any) -> Any:
            counts = self.fault is Killed or needs_room
            if counts and (isinstance(what, int) or str(what).startswith(self.folder)) and self.fails():
                if function.__name__ == "write":
                    function(what, more[0][: len(more[0]) // 2])
                raise self.error()
            return function(what, *more, **named)

        return change

    def _opening(self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
        if isinstance(file, int) or not set(mode) & set("wxa+") or not os.fspath(file).startswith(self.folder):
            return _OPEN(file, mode, buffering, *rest, **named)
        if self.fails() and self.fault is Killed:
            raise Killed
        raw = _Raw(file, mode.replace("b", "").replace("t", ""))
        raw.faulty = self
        if "b" in mode and buffering == 0:
            return raw
        binary = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, *rest, **named)


class _Raw(io.FileIO):
    """A file of which the first half of a write is there when it fails."""

    faulty: Faulty

    def write(self, content: Any) -> int:
        if self.faulty.fails():
            half = memoryview(content).cast("B")
            super().write(half[: len(half) // 2])
            raise self.faulty.error()
        return super().write(content)


_OPEN = io.open


@pytest.fixture(scope="module")
def encoder() -> CompositionBackbone:
    return CompositionBackbone.scratch(0, width=8, layers=1, heads=1, features=8, property_names=("a",))


_TAKEN: list[filelock.FileLock] = []


class _Lock(filelock.FileLock):  # type: ignore[valid-type, misc]
    """A lock that is known here."""

    def acquire(self, *given: Any, **named: Any) -> Any:
        _TAKEN.append(self)
        return super().acquire(*given, **named)


@pytest.fixture(autouse=True)
def _own_parts_are_of_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that is killed here is this one; nor does a power cut come."""
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid != os.getpid())
    monkeypatch.setattr(locks, "FileLock", _Lock)
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda file: None)


def conduct(out: Path, encoder: CompositionBackbone, *, resume: bool) -> None:
    """Conduct a run as the real ones are: stages, a fit with checkpoints, a model, a report; checkpoints go at last."""
    if not resume:
        refuse_full_folder(out)
    with open_run(out, BEGIN, resume=resume):
        ASKED.write(out, {"seed": 0.0})
        SPLIT.stage(out, lambda: {"validation": 0.2})
        last = out / "checkpoints" / "last.pt"
        if METRICS.find(out) is None:
            last.parent.mkdir(exist_ok=True)
            step = load_tensors(last)["step"] if last.exists() else 0
            for one in range(step, 3):
                save_tensors({"step": one + 1, "weights": torch.arange(200.0) * one}, last)
            save_folder(encoder, out / "model")
            METRICS.write(out, {"loss": float(load_tensors(last)["weights"].sum())})
        remove(out / "checkpoints")
        write_text(out / "report.html", "<p>done</p>")


def content(out: Path) -> dict[str, bytes]:
    files = [
        one for one in out.rglob("*") if one.is_file() and one.name != FILE and not is_part(one) and not is_lock(one)
    ]
    return {
        str(one.relative_to(out)): b"" if one.name == CARD.name else one.read_bytes() for one in files
    }  # it has a date


def broken_off(
    out: Path, encoder: CompositionBackbone, at: int, fault: type, patch: pytest.MonkeyPatch, *, resume: bool = False
) -> bool:
    """Conduct a run that fails at a change of its folder; return whether it did."""
    try:
        with Faulty(out.parent, at, fault).at_work(patch):
            conduct(out, encoder, resume=resume)
    except (Killed, OSError, RunError) as error:
        assert not isinstance(error, RunError) or "the disk is full" in str(error)
        for lock in _TAKEN:
            lock.release(force=True)  # as the system does for a process that was killed
        _TAKEN.clear()
        return True
    return False


def goes_on(out: Path, encoder: CompositionBackbone) -> None:
    """Look at what is left, and go on with it as one who knows nothing of the fault."""
    if (out / FILE).exists():
        state = folder_state(out, passes=is_passing)
        assert not state.changed and not state.missing and not state.unknown, state
    conduct(out, encoder, resume=(out / BEGUN.name).exists() and (out / ASKED.name).exists())


@pytest.mark.parametrize("fault", [Killed, OSError])
def test_a_run_that_is_broken_off_at_any_write_ends_the_same(
    tmp_path: Path, encoder: CompositionBackbone, monkeypatch: pytest.MonkeyPatch, fault: type
) -> None:
    conduct(tmp_path / "whole", encoder, resume=False)
    expected, at = content(tmp_path / "whole"), 0
    while broken_off(out := tmp_path / f"{at}" / "run", encoder, at, fault, monkeypatch):
        goes_on(out, encoder)
        assert content(out) == expected, at
        assert folder_state(out).is_whole and not folder_state(out).unsettled
        at += 1
    assert at > 60
    assert not [one for one in tmp_path.rglob("*") if is_part(one) or is_lock(one)]


@pytest.mark.slow
@pytest.mark.parametrize("first", [23, 41, 59])
def test_a_run_that_is_killed_again_while_it_goes_on_ends_the_same(
    tmp_path: Path, encoder: CompositionBackbone, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    conduct(tmp_path / "whole", encoder, resume=False)
    expected = content(tmp_path / "whole")
    for second in range(0, 60, 7):
        out = tmp_path / f"{second}" / "run"
        assert broken_off(out, encoder, first, Killed, monkeypatch)
        begun = (out / BEGUN.name).exists() and (out / ASKED.name).exists()
        broken_off(out, encoder, second, Killed, monkeypatch, resume=begun)
        goes_on(out, encoder)
        assert content(out) == expected and folder_state(out).is_whole, second


@pytest.mark.parametrize("fault", [Killed, OSError])
def test_a_file_that_is_broken_off_at_any_write_is_the_old_one_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type
) -> None:
    path, texts, at = tmp_path / "out.csv", set(), 0
    path.write_text("old")
    while True:
        try:
            with Faulty(tmp_path, at, fault).at_work(monkeypatch), whole(path) as part:
                part.write_text("new" * 5000)
        except (Killed, OSError):
            texts.add(path.read_text())
            at += 1
        else:
            break
    assert at >= 2 and texts <= {"old", "new" * 5000}


@pytest.mark.parametrize("fault", [Killed, OSError])
def test_an_export_that_is_broken_off_at_any_write_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type
) -> None:
    """It was half there, `verify` called it whole, and the same command refused the folder."""

    def make(out: Path) -> None:
        refuse_full_folder(out)
        with new_folder(out):
            write_text(out / "weights.txt", "1")
            (out / "inner").mkdir()
            write_text(out / "inner" / "card.json", "{}")
            write_text(out / "README.md", "read me")

    make(tmp_path / "whole")
    expected, at, halves = content(tmp_path / "whole"), 0, 0
    while True:
        out = tmp_path / f"{at}" / "out"
        try:
            with Faulty(out.parent, at, fault).at_work(monkeypatch):
                make(out)
        except (Killed, OSError):
            for lock in _TAKEN:
                lock.release(force=True)
            _TAKEN.clear()
        else:
            break
        if (out / FILE).exists():
            assert content(out) == expected or not verify(out).is_whole, at
            halves += 1
        if not (out.exists() and content(out) == expected):
            make(out)
        assert content(out) == expected and verify(out).is_whole, at
        at += 1
    assert at > 10 and (halves > 5 or fault is OSError)

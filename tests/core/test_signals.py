"""A signal ends a command within seconds: its code, one line, nothing half-written, nobody left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from matgraft.core import signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")

COMMAND = """
import hashlib, multiprocessing, sys, time
from pathlib import Path
from matgraft.core import signals

what, folder, signals.GRACE_S = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
with signals.heard():
    from matgraft.core.files import whole

    signals.goes_on_by(lambda: "go on with: a command")
    with whole(folder / "result.txt") as part:
        part.write_text("half")
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(100,)).start()
        print("ready", flush=True)
        if what == "deep in compiled code":
            hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)
        elif what == "an error of its own":
            try:
                time.sleep(100)
            finally:
                raise ValueError("a worker is gone")
        while what == "swallowed":
            try:
                time.sleep(100)
            except BaseException:
                pass
        time.sleep(100)
"""


@contextmanager
def begun(what: str, folder: Path, grace_s: float) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", COMMAND, what, str(folder), str(grace_s)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)  # into the work
        try:
            yield process
        finally:
            process.kill()


def left(folder: Path, session: int) -> list[str]:
    files = [str(one) for one in folder.iterdir()]
    for one in psutil.process_iter():
        try:
            if os.getsid(one.pid) == session and one.status() != psutil.STATUS_ZOMBIE:
                files.append(" ".join(one.cmdline()))
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return files


@pytest.fixture(autouse=True)
def _without_nohup() -> Iterator[None]:
    """Let a closed terminal end what is started here, though the tests themselves may run under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("what", "number", "line"),
    [
        ("asleep", signal.SIGINT, "interrupted by Ctrl-C (SIGINT)"),
        ("deep in compiled code", signal.SIGTERM, "ended by SIGTERM"),
        ("swallowed", signal.SIGHUP, "ended by SIGHUP: its terminal was closed"),
        ("an error of its own", signal.SIGTERM, "ended by SIGTERM"),
    ],
)
def test_a_signal_to_all_processes_of_a_command(tmp_path: Path, what: str, number: signal.Signals, line: str) -> None:
    with begun(what, tmp_path, grace_s=0.3) as process:
        began = time.monotonic()
        os.killpg(process.pid, number)  # as a terminal does
        out, said = process.communicate(timeout=30)
        assert time.monotonic() - began < 5
        assert (process.returncode, out, said) == (128 + number, "", f"{line}; go on with: a command\n")
        assert left(tmp_path, process.pid) == []


def test_a_second_signal_waits_for_nothing(tmp_path: Path) -> None:
    with begun("deep in compiled code", tmp_path, grace_s=1000) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert left(tmp_path, process.pid) == []


def test_nothing_is_installed_for_users_of_the_library() -> None:
    assert not signals.was_heard()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)
    signals.goes_on_by(lambda: "nobody asks")
    assert signals._state.goes_on is None


def test_an_interrupted_process_leaves_as_on_an_error(tmp_path: Path) -> None:
    file = tmp_path / "half"
    with pytest.raises(signals.Interrupted), signals.temporary(file):
        assert file in signals._state.temporary
        raise signals.Interrupted(143)
    assert file not in signals._state.temporary


def test_signals_are_heard_before_anything_large_is_imported() -> None:
    large = "sorted({name.partition('.')[0] for name in sys.modules} & {'numpy', 'pydantic', 'rich', 'torch', 'typer'})"
    script = f"import sys, matgraft.__main__; print({large})"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"

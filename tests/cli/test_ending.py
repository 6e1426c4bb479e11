"""How a command ends: characters that a terminal lacks, closed pipes, full and closed outputs, errors as JSON."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from matgraft.__main__ import main
from matgraft.cli import app
from matgraft.cli.ending import ReaderGoneError, ended, prepare_streams, print_json, reader_gone

Call = Callable[..., tuple[int, str, str]]


class Full(io.StringIO):
    """Standard output on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


def in_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding))
    prepare_streams()
    return raw


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "shift_jis"])
def test_what_a_terminal_lacks_is_replaced_and_json_is_whole(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = in_encoding(monkeypatch, encoding)
    facts = {"text": "Å ≥ 3 \udcff – 鉄", "worst": float("nan")}
    assert ended(lambda: print_json(facts, indent=None)) == 0
    assert json.loads(raw.getvalue().decode("ascii")) == {"text": "Å ≥ 3 \ufffd – 鉄", "worst": "nan"}
    assert ended(lambda: print("≥ 鉄 \udcff ├")) == 0
    assert raw.getvalue().decode(encoding).endswith("\n")


def test_utf_8_is_written_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = in_encoding(monkeypatch, "utf-8")
    ended(lambda: print_json({"unit": "Å"}))
    assert "Å".encode() in raw.getvalue()


def test_a_full_standard_output_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout", Full())
    assert ended(lambda: print("x")) == 5
    assert "standard output: the disk is full" in capsys.readouterr().err


def test_a_closed_standard_output_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert ended(lambda: print_json({"x": 1})) == 0


def test_a_pipe_without_a_reader_ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("os.kill", lambda *given: killed.append(given))

    def gone() -> None:
        raise ReaderGoneError

    ended(gone)
    assert killed == [(os.getpid(), signal.SIGPIPE)]


def test_a_pipe_to_a_worker_is_none_of_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    assert reader_gone(BrokenPipeError(errno.EPIPE, "", "out.fifo"))
    assert not reader_gone(BrokenPipeError(errno.EPIPE, ""))

    def worker() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert ended(worker) == 5
    assert "the program that reads the output has ended" in capsys.readouterr().err


def test_an_error_that_nobody_foresaw_is_json_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["matgraft", "--json"])

    def wrong() -> None:
        raise ZeroDivisionError("one by nothing")

    with pytest.raises(ZeroDivisionError):
        ended(wrong)
    told = json.loads(capsys.readouterr().out)["error"]
    assert told == {"kind": "ZeroDivisionError", "found": "one by nothing", "exit_code": 1}


@pytest.mark.parametrize("words", [["predict"], ["tune", "--no-such"], ["nosuch"], ["suggest", "run", "-n", "x"]])
def test_a_command_that_is_typed_wrongly_is_json_too(matgraft: Call, words: list[str]) -> None:
    code, out, _ = matgraft(*words, "--json")
    told = json.loads(out)["error"]
    assert (code, told["exit_code"], told["kind"]) == (2, 2, "OptionError") and told["found"]


def test_an_error_in_brackets_and_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    from matgraft.core.errors import DataError

    def wrong() -> None:
        raise DataError("[red]no[/] \x1b[2J \\[bold] [/nothing]", where="\udcff.csv")

    assert ended(wrong) == 3
    said = capsys.readouterr().err
    assert "[red]no[/]" in said and "\\[bold] [/nothing]" in said and "\x1b[2J" not in said


@pytest.mark.parametrize("columns", ["0", "1", "20", "nonsense"])
def test_narrow_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for words in (["backbones"], ["predict", "x", "-o", "no/x"], ["tune", "--help"], ["--help"]):
        monkeypatch.setattr("sys.argv", ["matgraft", *words])
        assert ended(lambda: app(standalone_mode=False)) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_whole_commands_on_closed_and_broken_outputs(tmp_path: Path) -> None:
    """In a process of its own: standard output closed, and a pipe that nobody reads, in a locale of ASCII."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "20"}
    command = [sys.executable, "-m", "matgraft", "backbones"]
    closed = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command],
        env=environment, capture_output=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (closed.returncode, closed.stderr) == (0, b"")
    read, write = os.pipe()
    os.close(read)
    broken = subprocess.run(command, env=environment, stdout=write, stderr=subprocess.PIPE, check=False, cwd=tmp_path)
    os.close(write)
    assert (broken.returncode, broken.stderr) == (-signal.SIGPIPE, b"")


def test_the_end_of_a_command_walks_through_no_imported_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def finished() -> None:
        raise SystemExit(3)

    frozen: list[bool] = []
    monkeypatch.setattr("matgraft.__main__.heard", nullcontext)  # the handlers of signals would stay
    monkeypatch.setattr("matgraft.__main__.keep_closed", lambda: None)
    monkeypatch.setattr("matgraft.cli.run_command_line", finished)
    monkeypatch.setattr("gc.freeze", lambda: frozen.append(True))
    with pytest.raises(SystemExit):
        main()
    assert frozen == [True]


@pytest.mark.parametrize("name", ["pymatgen", "pymatgen.optimization.neighbors"])
def test_a_package_that_is_not_installed_is_named_without_a_traceback(name: str, capsys) -> None:
    def lacking() -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    assert ended(lacking) == 2
    assert "the package 'pymatgen' is not installed\ncommand: pip install pymatgen" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["matgraft.core.absent", None])
def test_a_module_of_matgraft_itself_that_is_missing_is_a_fault(name: str | None) -> None:
    def lacking() -> None:
        raise ModuleNotFoundError("no such module", name=name)

    with pytest.raises(ModuleNotFoundError):
        ended(lacking)

"""What ``-v`` and ``--log-file`` keep of a command."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from matgraft import cli
from matgraft.cli.logs import LOGGER, Copied, logged
from matgraft.core.errors import DataError

Matgraft = Callable[..., tuple[int, str, str]]
COMMANDS = get_command(cli.app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_them(verb: str) -> None:
    named = {option for one in COMMANDS[verb].params for option in one.opts}
    assert {"-v", "--verbose", "--log-file"} <= named


def test_the_file_holds_the_command_the_screen_and_the_end(matgraft: Matgraft, tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    code, said, err = matgraft("backbones", "--log-file", file)
    kept = file.read_text()
    assert code == 0
    assert "DEBUG" not in err
    for line in said.splitlines():
        assert line.strip() in kept
    first, *_, last = kept.splitlines()
    assert f"matgraft backbones --log-file {file}" in first
    assert "backbones ends after" in last
    assert first[:2] == "20"
    matgraft("backbones", "--log-file", file)
    assert file.read_text().startswith(kept), "it is added to"


def test_an_error_is_in_the_file_with_where_it_was_raised(matgraft: Matgraft, tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    code, _, err = matgraft("verify", tmp_path / "nothing", "--log-file", file)
    kept = file.read_text()
    assert code
    assert "Traceback" not in err
    assert "Traceback" in kept
    assert f"verify ends with exit code {code}" in kept


def test_v_tells_on_standard_error(matgraft: Matgraft) -> None:
    _, said, err = matgraft("backbones", "-v", "--json")
    assert said.startswith("{")
    assert "backbones ends after" in err
    assert not [one for one in LOGGER.handlers if not isinstance(one, logging.NullHandler)]


def test_a_log_file_without_a_folder_is_refused(matgraft: Matgraft, tmp_path: Path) -> None:
    code, _, err = matgraft("backbones", "--log-file", tmp_path / "no" / "a.log")
    assert code == 2
    assert "there is no folder" in err


def test_colours_and_bars_are_left_out() -> None:
    kept: list[str] = []
    stream = io.StringIO()
    copied = Copied(stream, kept.append)
    link = "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n"
    for text in ("\x1b[1;31merror\x1b[0m", " one\ntw", "o\n\r\x1b[2K bar 10 %\n", link, "open"):
        copied.write(text)
    assert kept == ["error one", "two", "link"]
    assert stream.getvalue().endswith("open")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (typer.Exit(6), "ends with exit code 6"),
        (DataError("bad"), "ends with exit code 3"),
        (KeyboardInterrupt(), "breaks off: KeyboardInterrupt"),
        (ValueError("x"), "breaks off: ValueError"),
    ],
)
def test_how_it_ended_is_kept(tmp_path: Path, raised: BaseException, said: str) -> None:
    file = tmp_path / "a.log"
    with pytest.raises(type(raised)), logged("tune", ["tune"], False, file):
        logging.getLogger("matgraft.verbs").debug("of a part")
        raise raised
    kept = file.read_text()
    assert said in kept
    assert "matgraft.verbs: of a part" in kept

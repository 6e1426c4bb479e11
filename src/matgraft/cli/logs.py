"""``-v`` and ``--log-file``: what the library logs, and all that the screen tells, with times.

Progress bars are left out, and colours. The logger is ``matgraft``; what its parts tell has their names.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import typer

from matgraft.core.errors import MatgraftError
from matgraft.core.version import __version__

LOGGER = logging.getLogger("matgraft")
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_STYLE = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b\x07]*(\x1b\\|\x07)")
_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-HJKhl]|\r(?!\n)")
"""What a progress bar is drawn by: a line with it is drawn again and again."""


class Copied:
    """A stream whose whole lines are handed on as well."""

    def __init__(self, stream: TextIO, keep: Callable[[str], object]) -> None:
        self._stream, self._keep, self._line = stream, keep, ""

    def write(self, text: str) -> int:
        """Write to the stream, and hand on each line that ends."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if not _MOVES.search(line) and (plain := _STYLE.sub("", line).rstrip()):
                self._keep(plain)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def logged(verb: str, words: Sequence[str], verbose: bool, file: Path | None) -> Iterator[None]:
    """Log what a command does while it works.

    Parameters
    ----------
    words
        The command as it was typed.
    verbose
        Show what is logged on standard error.
    file
        Takes what is logged and what the screen tells; it is added to.
    """
    if not verbose and file is None:
        yield
        return
    with ExitStack() as stack:
        if verbose:
            _handle(stack, logging.StreamHandler(sys.stderr), logging.INFO)
        if file is not None:
            kept = logging.FileHandler(file, encoding="utf-8", errors="replace")
            _handle(stack, kept, logging.DEBUG)
            screen = logging.getLogger("matgraft.screen")

            def keep(line: str) -> None:
                kept.handle(screen.makeRecord(screen.name, logging.INFO, "", 0, line, (), None))

            stack.enter_context(redirect_stdout(Copied(sys.stdout, keep)))
            stack.enter_context(redirect_stderr(Copied(sys.stderr, keep)))
        stack.enter_context(_timed(verb, words))
        yield


def _handle(stack: ExitStack, handler: logging.Handler, level: int) -> None:
    handler.setFormatter(logging.Formatter(FORM))
    handler.setLevel(level)
    before = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(min(level, before or level))
    stack.callback(LOGGER.setLevel, before)
    stack.callback(handler.close)
    stack.callback(LOGGER.removeHandler, handler)


@contextmanager
def _timed(verb: str, words: Sequence[str]) -> Iterator[None]:
    LOGGER.info("matgraft %s begins: %s", __version__, " ".join(["matgraft", *words]))
    LOGGER.info("in %s", Path.cwd())
    began, how = time.monotonic(), "ends"
    try:
        yield
    except typer.Exit as left:
        how = f"ends with exit code {left.exit_code}"
        raise
    except MatgraftError as error:
        how = f"ends with exit code {error.exit_code}"
        LOGGER.error("%s", error)
        LOGGER.debug("where it was raised", exc_info=True)
        raise
    except BaseException as error:
        how = f"breaks off: {type(error).__name__}"
        LOGGER.debug("where it was raised", exc_info=True)
        raise
    finally:
        LOGGER.info("%s %s after %.1f s", verb, how, time.monotonic() - began)

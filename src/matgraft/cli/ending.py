"""How a command begins and ends, whatever is on the other side of its output.

- A character that the terminal lacks is replaced; JSON is then written in ASCII.
- An error is a sentence on standard error, with ``--json`` also facts on standard output, and an exit code.
- Where the reader of a pipe is gone (``matgraft ... | head -1``), it ends by SIGPIPE, in silence, as others do.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import TextIOWrapper
from typing import Any

from rich.console import Console
from rich.text import Text

from matgraft.core.errors import ExtraError, MatgraftError, OptionError
from matgraft.core.failures import failure_of
from matgraft.core.files import to_json
from matgraft.core.report.text import cleaned
from matgraft.core.signals import was_heard


class ReaderGoneError(Exception):
    """A pipe has no reader any more. It is no OSError, which typer would end with a code of its own."""


def prepare_streams() -> None:
    """Have what is printed never fail for a character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    Console.on_broken_pipe = _raise_again  # type: ignore[method-assign, assignment]  # rich closes standard output and exits with 1


def _raise_again(_console: Console) -> None:
    raise  # rich calls it where it has caught a BrokenPipeError


def ended(work: Callable[[], Any]) -> int:
    """Do the work of a command and return its exit code; what goes wrong is told.

    Parameters
    ----------
    work
        Returns an exit code, or anything else for 0.
    """
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()  # here a full disk is told; Python itself would tell it with a traceback
    except (BrokenPipeError, ReaderGoneError) as error:
        if was_heard():
            raise
        if not isinstance(error, ReaderGoneError) and not reader_gone(error):
            return _tell(error)
        return _end_by_sigpipe()
    except Exception as error:  # of any kind: what is not recognised is raised again
        if was_heard():  # the error is a consequence of the signal
            raise
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = _stream_that_fails()
        return _tell(error)
    return code if isinstance(code, int) else 0


def reader_gone(error: BrokenPipeError) -> bool:
    """Say whether standard output, standard error or a stream that was named lost its reader; else a worker did."""
    return error.filename is not None or any(_is_broken(number) for number in (1, 2))


def print_json(facts: object, indent: int | None = 2) -> None:
    """Print facts as strict JSON, in ASCII where standard output takes nothing else."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(to_json(facts, indent=indent, only_ascii=not encoding.lower().startswith(("utf-8", "utf8"))))


def _tell(error: Exception) -> int:
    """Tell an error and return its exit code; raises it again where nobody foresaw it."""
    usage = getattr(error, "format_message", None)  # of the classes of typer that say that a command is typed wrongly
    told = OptionError(usage()) if usage else failure_of(error) or _missing_package(error) or error
    if "--json" in sys.argv:
        facts = told.facts() if isinstance(told, MatgraftError) else {"kind": type(error).__name__, "found": str(error)}
        code = told.exit_code if isinstance(told, MatgraftError) else 1
        _quietly(lambda: print_json({"error": {**facts, "exit_code": code}}))
    if not isinstance(told, MatgraftError):
        raise error
    if usage:
        from typer.rich_utils import rich_format_error

        _quietly(lambda: rich_format_error(error))  # type: ignore[arg-type]
        return getattr(error, "exit_code", told.exit_code)
    line = Text.assemble(("error", "bold red"), " ", cleaned(str(told)))
    _quietly(lambda: Console(stderr=True).print(line, highlight=False, soft_wrap=True))
    return told.exit_code


def _missing_package(error: Exception) -> ExtraError | None:
    """Return what says that a package is not installed; None where something else went wrong."""
    if not isinstance(error, ModuleNotFoundError) or not error.name or error.name.startswith("matgraft"):
        return None
    return ExtraError(error.name.partition(".")[0], "")


def _quietly(say: Callable[[], object]) -> None:
    """Say something, if there is still somebody to say it to."""
    with suppress(OSError):
        say()
    for stream in _open_streams():
        try:
            stream.flush()
        except OSError:  # full or closed: what is left in the buffer would be a traceback at the end
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_streams() -> Iterable[Any]:
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def _stream_that_fails() -> str | None:
    """Name the stream that takes nothing more, on a full disk."""
    for stream in _open_streams():
        try:
            stream.flush()
        except OSError:
            return f"standard {'error' if stream is sys.stderr else 'output'}"
    return None


def _is_broken(number: int) -> bool:
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(number, 0)
    with suppress(OSError):
        return any(events & select.POLLERR for _, events in poll.poll(0))
    return False


def _end_by_sigpipe() -> int:
    """End this process as a program that does not catch SIGPIPE; Windows has none."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    return 1

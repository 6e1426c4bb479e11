"""From sources to what their formats give, with every file named that is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rich.progress import Progress

from matgraft.core.errors import DataError
from matgraft.core.stand_ins import stand_in
from matgraft.potentials.data.reading.asked import UnsaidError
from matgraft.potentials.data.reading.formats.base import FileHead
from matgraft.potentials.data.reading.ledger import Ledger
from matgraft.potentials.data.reading.raw import RawFile
from matgraft.potentials.data.reading.sources import Source

_SHOWN = 300
"""Characters of what a reader raised."""


def raw_files(sources: Sequence[Source], ledger: Ledger, progress: bool) -> list[tuple[Source, RawFile]]:
    """Read every file before judging any, so that one message names all that are broken.

    A broken run that a search came across is left out with a note, as long as another one is whole.
    """
    whole: list[tuple[Source, RawFile]] = []
    broken: list[tuple[Source, DataError]] = []
    with Progress(disable=not progress, transient=True) as bar:
        for source in bar.track(sources, description="reading"):
            try:
                file = raw_file(source)
                with naming_file(source):
                    whole.append((source, replace(file, frames=tuple(file.frames))))
            except DataError as error:
                broken.append((source, error))
    if broken and (not whole or not all(source.found for source, _ in broken)):
        raise all_broken([error for _, error in broken])
    for source, reason in broken:
        ledger.note(source.name, f"left out: {reason.found}")
    return whole


@contextmanager
def leaving_out(source: Source, ledger: Ledger, unsaid: list[DataError]) -> Iterator[None]:
    """Leave out, with a note, what a search came across and what only the user could complete."""
    try:
        yield
    except UnsaidError as error:
        if not source.found:
            raise
        unsaid.append(error)
        ledger.note(source.name, f"left out: {error.found}; {error.remedy}")


def raw_file(source: Source) -> RawFile:
    """Return what the format of a file gives; raises a DataError that names the file where it cannot be read."""
    try:
        empty = source.path.is_file() and source.path.stat().st_size == 0
    except OSError as error:
        raise DataError(f"it cannot be opened: {error.strerror}", where=source.name) from error
    if empty:
        raise DataError("the file is empty", where=source.name)
    if instead := stand_in(FileHead(source.path).start):
        what, remedy = instead
        raise DataError(f"it is {what}", where=source.name, remedy=remedy)
    with naming_file(source):
        return source.format.read(source.path, source.name)


@contextmanager
def naming_file(source: Source) -> Iterator[None]:
    """Turn what a reader raises on a file that nobody thought of into an error that names the file."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        found = f"it does not read like {source.format.title}: {error!r}"
        raise DataError(found[:_SHOWN], where=source.name, remedy="is it whole, and is it what it seems?") from error


def all_broken(errors: Sequence[DataError]) -> DataError:
    """Return one error for all files that cannot be read."""
    if len(errors) == 1 or all(isinstance(error, UnsaidError) for error in errors):
        return errors[0]
    listed = "".join(f"\n  {error.where}: {error.found}" for error in errors)
    return DataError(f"{len(errors)} files cannot be read:{listed}", remedy="repair them or take them out")

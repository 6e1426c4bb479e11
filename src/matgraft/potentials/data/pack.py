"""Pack frames from files of any format into one store on disk, for training on more of them than fit into memory.

>>> pack("frames.extxyz", Path("frames.h5"), keys={"energy": "my_energy"})
100000
>>> frames = read("frames.h5")

Labels are converted once, here; what trains from the store reads canonical units. `matgraft.potentials.data.store` has
the format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Unpack

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from matgraft.core.errors import OptionError
from matgraft.core.locks import locked_file
from matgraft.core.run_folder import made_folder, refuse_no_folder, unused
from matgraft.core.targets import is_stream
from matgraft.potentials.data.reading.keys import Reading
from matgraft.potentials.data.reading.read import Stream
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store_format import ENDINGS, is_store
from matgraft.potentials.data.store_writing import write_store

SHOW_EVERY = 100
"""Frames between two changes of the progress bar."""


def pack(
    source: str | Path | Sequence[str | Path], out: Path, *, progress: bool = False, **how: Unpack[Reading]
) -> int:
    """Write the frames of files and folders into a store, one after another.

    Parameters
    ----------
    source, how
        As of `matgraft.read`.
    out
        The store, new; its name ends in ``.h5`` or ``.hdf5``.
    progress
        Count the frames on standard error.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    OptionError
        If `out` is there already, or has another ending.
    DataError
        As of `matgraft.read`.
    """
    if not is_store(out) and not is_stream(out):
        raise OptionError(f"{out} has no ending of a store", allowed=ENDINGS, options=[{"-o": out.with_suffix(".h5")}])
    if out.exists() and not is_stream(out):
        raise OptionError(f"{out} is there already", remedy="take another name", options=[{"--out": unused(out)}])
    refuse_no_folder(out.parent)
    stream = Stream(source, **how)
    with locked_file(out), made_folder(out.parent):
        return write_store(_counted(stream, f"packing {out.name}", progress), out, stream.provenance)


def _counted(samples: Iterable[Sample], title: str, progress: bool) -> Iterator[Sample]:
    columns = TextColumn("{task.description}"), TextColumn("{task.completed} frames"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task(escape(title), total=None)
        for count, sample in enumerate(samples, start=1):
            if count % SHOW_EVERY == 0:
                bar.update(task, completed=count)
            yield sample

"""Where a fit runs and what it shows; none of it changes the weights but the seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from matgraft.core.signals import temporary_folder


@dataclass(frozen=True)
class Execution:
    """How a fit is executed.

    Attributes
    ----------
    folder
        Where checkpoints go. None: into a temporary folder.
    seed
        Of the order of samples, and of what is drawn at random.
    resume
        Go on from the checkpoints in the folder.
    quiet
        Show no progress.
    title
        Of the progress bar.
    """

    folder: Path | None = None
    seed: int = 0
    resume: bool = False
    quiet: bool = True
    title: str = "fit"

    @property
    def work(self) -> Path:
        """The folder, inside `in_folder`."""
        assert self.folder is not None
        return self.folder

    @contextmanager
    def in_folder(self) -> Iterator[Execution]:
        """Yield an execution that has a folder: this one, or the same in a temporary folder."""
        if self.folder is not None:
            yield self
            return
        with temporary_folder() as folder:
            yield replace(self, folder=folder)

"""Folders of runs: which command goes on with one, and what to say where a new one is not empty."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from matgraft.errors import OptionError

BEGUN = {"recipe.yaml": "tune", "settings.json": "tune", "run.json": "pretrain"}
"""Files that a run leaves when it begins, with the command that it was begun by."""


def resume_commands(run: Path) -> list[list[str]]:
    """Return the command that goes on with a run; none where the folder holds no run."""
    verbs = [verb for file, verb in BEGUN.items() if (run / file).is_file()]
    return [["matgraft", verbs[0], "--resume", str(run)]] if verbs else []


def resume_above(folder: Path | None) -> list[list[str]]:
    """Return the command that goes on with the run that a folder of checkpoints lies in; none outside a run."""
    for run in (folder, *folder.parents) if folder else ():
        if commands := resume_commands(run):
            return commands
    return []


def refuse_full_folder(out: Path) -> None:
    """Raise an OptionError if something new would be written into a folder that holds something."""
    if out.exists() and any(out.iterdir()):
        raise OptionError(
            f"the folder {out} is not empty",
            remedy="take another folder" + ", or go on with the run in it" * bool(resume_commands(out)),
            options=[{"--out": unused(out)}],
            commands=resume_commands(out),
        )


def unused(path: Path) -> Path:
    """Return a name beside a path that nothing has: ``runs/si-2``, ``frames-2.h5``."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(name for name in names if not name.exists())

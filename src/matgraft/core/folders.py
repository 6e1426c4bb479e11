"""Folders of runs: which command goes on with one, what it began with, what to say where a new one is not empty."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from matgraft.core.errors import OptionError, RunError

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


def refuse_changed(before: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    """Raise a RunError if a run would go on with something else than it began with.

    Parameters
    ----------
    before, now
        By role (``the encoder``, ``option fit.rate``) what decides the result: a hash, or the value itself.
    out
        The run's folder.
    """
    changed = [role for role in before if before[role] != now.get(role)]
    unknown = [role for role in now if role not in before]
    if changed:
        raise RunError(
            f"changed since the run began: {', '.join(changed)}",
            where=str(out),
            remedy="put back what was there, or start a new run in another folder",
        )
    if unknown:
        raise RunError(
            f"the run does not record what it began with: {', '.join(unknown)}",
            where=str(out),
            remedy="start a new run in another folder: this one is of an earlier version",
        )


def by_option(settings: BaseModel, prefix: str = "option ") -> dict[str, Any]:
    """Return nested settings by role, as `refuse_changed` takes them: ``{"option fit.rate": 0.001}``."""
    found: dict[str, Any] = {}
    for name, value in settings:
        nested = isinstance(value, BaseModel)
        found |= by_option(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found


def unused(path: Path) -> Path:
    """Return a name beside a path that nothing has: ``runs/si-2``, ``frames-2.h5``."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(name for name in names if not name.exists())

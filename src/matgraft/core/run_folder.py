"""Run folders: what a run began with, which files it leaves, which command goes on with it.

    METRICS = RunFile("metrics.json", Scores)      # a file has one type, which writes it and reads it back
    with open_run(out, Begun(kind="frames", decides=roles), resume=resume):
        scores = METRICS.stage(out, lambda: summarise(...))   # made once; a run that goes on reads it back

A file of an earlier version, or a torn one, is a `RunError` that names it. A run that is refused before anything is
fitted takes its folder back with it, so that the corrected command finds it as it was.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from matgraft.core import manifest
from matgraft.core.errors import ChangedError, MatgraftError, OptionError, RunError
from matgraft.core.failures import failures_told
from matgraft.core.files import is_part, write_json, write_text
from matgraft.core.frozen import Frozen
from matgraft.core.locks import is_lock, locked, without_locks
from matgraft.core.signals import Interrupted, goes_on_by

Kind = Literal["frames", "formulas", "pretraining", "active"]
T = TypeVar("T")

VERSION = 1
"""Of the files of a run folder; it rises when a file changes so that older code, or older files, are misread."""

VERBS: Mapping[Kind, str] = {"frames": "tune", "formulas": "tune", "pretraining": "pretrain", "active": "active"}
"""Kind of a run -> the command that begins it and goes on with it."""

ASKED: Mapping[Kind, str] = {
    "frames": "recipe.yaml",
    "formulas": "settings.json",
    "pretraining": "pretraining.json",
    "active": "active.yaml",
}
"""Kind of a run -> the file with what was asked for, which a run that goes on reads."""

BEGINNING: Mapping[Kind, tuple[str, ...]] = {
    "frames": ("provenance.json", "audit.json", "coverage.json", "split.json", "references.json"),
    "formulas": ("model", "reading.json", "skipped.csv", "audit.json"),
    "pretraining": (),
    "active": (),
}
"""Kind of a run -> what it has, beside run.json and the file with what was asked for, before anything is fitted."""

GIVEN = "given"
"""Folder of a run with the data that it was given in memory, from Python; they are there before the run begins."""

UNFINISHED = ".unfinished"
"""A file that lies in a folder that cannot be gone on with, such as an export, until all of it is written."""

OLDER: Mapping[str, Kind] = {"recipe.yaml": "frames", "settings.json": "formulas"}
"""File -> the kind of a run that was begun before run.json stated it."""


@dataclass(frozen=True)
class RunFile(Generic[T]):
    """A file of a run folder and the type that writes it and reads it back.

    Attributes
    ----------
    name
        Path inside the folder.
    kind
        A pydantic model, or any type that pydantic can validate.
    indent
        Of the JSON; None for a file that is long and that nobody reads.
    """

    name: str
    kind: type[T]
    indent: int | None = 2

    def write(self, folder: Path, content: T) -> None:
        """Write the file, whole or not at all."""
        write_json(folder / self.name, TypeAdapter(self.kind).dump_python(content, mode="json"), indent=self.indent)

    def read(self, folder: Path) -> T:
        """Return the content.

        Raises
        ------
        RunError
            If the file is missing, torn, not what was written, or of a version that this one cannot read.
        """
        path = inside(folder, self.name)
        try:
            return TypeAdapter(self.kind).validate_json(manifest.checked(path))
        except FileNotFoundError:
            raise RunError(f"{self.name} is missing", where=str(folder), commands=resume_commands(folder)) from None
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"]))
            raise RunError(
                f"{self.name} cannot be read: {f'{at}: ' if at else ''}{first['msg']}",
                where=str(path),
                remedy="the file is damaged or of another version of matgraft: make the run again",
            ) from error

    def find(self, folder: Path) -> T | None:
        """Return the content, or None where there is no such file: what is gone is made again by a run that goes on."""
        return self.read(folder) if inside(folder, self.name).is_file() else None

    def kept(self, folder: Path) -> T | None:
        """Return the content, or None where there never was such a file: for who tells what a run has done.

        Raises
        ------
        ChangedError
            If it was written, and is gone.
        """
        return self.read(folder) if manifest.is_there(inside(folder, self.name)) else None

    def stage(self, folder: Path, make: Callable[[], T]) -> T:
        """Return what a stage left; run the stage and leave it where there is nothing yet."""
        if (found := self.find(folder)) is not None:
            return found
        content = make()
        self.write(folder, content)
        return content


class Begun(Frozen):
    """What run.json holds: the kind of a run and everything that decides its result.

    Attributes
    ----------
    kind
        ``"frames"``, ``"formulas"``, ``"pretraining"`` or ``"active"``.
    version
        Of the folder's files.
    decides
        By role (``the encoder``, ``option fit.rate``): a hash, or the value itself.
    has_manifest
        Whether its files have hashes; those of earlier versions have none.
    """

    kind: Kind
    version: int = VERSION
    decides: dict[str, JsonValue]
    has_manifest: bool = False


BEGUN = RunFile("run.json", Begun)


@contextmanager
def open_run(out: Path, begun: Begun, *, resume: bool) -> Iterator[None]:
    """Make a run folder and leave in it what the run begins with, or hold this against what it began with.

    A new run that is refused or interrupted inside the block before anything is fitted leaves nothing behind, but where
    the error is one after which it can be gone on with.

    Raises
    ------
    OptionError
        If the folder of a new run holds something.
    RunError
        If a run would go on with something else than it began with, or does not say what it began with; or if the
        machine does not give what the run needs (memory, room on the disk).
    """
    goes_on_by(lambda: go_on_with(out))
    with failures_told(lambda: resume_commands(out)):
        if resume:
            with locked(out):
                _refuse_other_beginning(out, begun)
                manifest.note_older(out)
                manifest.settle(out)
                yield
            return
        takes_back = lambda error: _is_refusal(error) and _fitted_nothing(out, begun.kind)  # noqa: E731
        with new_folder(out, takes_back, goes_on=True):
            BEGUN.write(out, begun.model_copy(update={"has_manifest": True}))
            yield


@contextmanager
def new_folder(
    out: Path, takes_back: Callable[[BaseException], bool] = lambda error: True, *, goes_on: bool = False
) -> Iterator[None]:
    """Make a folder for something new, with a manifest; where the block fails or is interrupted, nothing is left.

    Parameters
    ----------
    takes_back
        Whether an error inside the block takes the content back.
    goes_on
        Whether what a kill leaves can be gone on with; else it goes when the folder is made again.

    Raises
    ------
    OptionError
        If the folder holds something.
    """
    refuse_full_folder(out)
    with made_folder(out), locked(out, new=True):
        try:
            if (out / UNFINISHED).exists():
                _empty(out)
            if not goes_on:
                write_text(out / UNFINISHED, "")
            manifest.begin(out)
            yield
            (out / UNFINISHED).unlink(missing_ok=True)
        except BaseException as error:
            if takes_back(error):
                _empty(out)
            raise


def _empty(out: Path) -> None:
    """Remove what lies in a folder; at last the file that says that it may be removed."""
    with manifest.leaving(out):
        for one in sorted(without_locks(out), key=lambda one: one.name == UNFINISHED):
            shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder with those above it; those that were made and are empty go again where the block fails."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something lies in it
            for one in made:
                one.rmdir()
        raise


def _is_refusal(error: BaseException) -> bool:
    """Say whether a run shall not go on as it began. Where a machine fails, or a worker dies, it may."""
    goes_on = isinstance(error, RunError) and error.commands
    return isinstance(error, MatgraftError | KeyboardInterrupt | Interrupted) and not goes_on


def _fitted_nothing(out: Path, kind: Kind) -> bool:
    """Say whether a folder has nothing but what a run begins with."""
    names = {manifest.FILE, BEGUN.name, GIVEN, ASKED[kind], *BEGINNING[kind]}
    files = (one for one in out.rglob("*") if not one.is_dir() and not is_lock(one))
    return all(one.relative_to(out).parts[0] in names for one in files)


def _refuse_other_beginning(out: Path, begun: Begun) -> None:
    before = beginning(out)
    if before is None:
        raise RunError(
            f"the run does not record what it began with: {BEGUN.name} is missing",
            where=str(out),
            remedy="start a new run in another folder: this one is of an earlier version",
        )
    if before.version != begun.version:
        raise RunError(
            f"the run is of version {before.version} of run folders, and this matgraft writes version {begun.version}",
            where=str(out),
            remedy="start a new run in another folder",
        )
    refuse_changed(before.decides, begun.model_dump(mode="json")["decides"], out)


def kind_of(folder: Path) -> Kind | None:
    """Return the kind of a run; None where the folder holds none.

    Raises
    ------
    RunError
        If run.json cannot be read, and no other file tells the kind.
    """
    told = next((kind for file, kind in OLDER.items() if (folder / file).is_file()), None)
    try:
        begun = beginning(folder)
    except ChangedError:
        raise
    except RunError:
        if told is None:
            raise
        return told
    return begun.kind if begun else told


def beginning(folder: Path) -> Begun | None:
    """Return what a run began with; None where a folder holds no run, or one of a version that did not say.

    Raises
    ------
    RunError
        If the file cannot be read, or the manifest that it speaks of is gone.
    """
    begun = BEGUN.find(folder)
    if begun is not None and begun.has_manifest and not (folder / manifest.FILE).is_file():
        raise ChangedError(
            f"{manifest.FILE} is missing, which has the hashes of all files",
            where=str(folder),
            remedy="put it back, or copy the folder again from a complete copy",
        )
    return begun


def inside(folder: Path, name: str) -> Path:
    """Return a path in a folder by a name that may come from a file.

    Raises
    ------
    RunError
        If it would leave the folder.
    """
    parts = Path(name).parts
    if not parts or ".." in parts or Path(name).is_absolute() or "\0" in name:
        raise RunError(
            f"{name!r} does not name a file in this folder",
            where=str(folder),
            remedy="the file with this name in it is not what matgraft wrote: copy the folder anew, or make it again",
        )
    return folder / name


def last_model(folder: Path) -> Path:
    """Return the run that holds the last model of a loop of active learning; any other folder as it is.

    Raises
    ------
    ChangedError
        If a round that was done is gone, or its model.
    """
    if not (folder / ASKED["active"]).is_file():
        return folder
    ended = [one.parent for one in manifest.below(folder / "rounds", "round.json") if manifest.is_there(one)]
    runs = sorted({*folder.glob("rounds/*/run"), *(one / "run" for one in ended)})
    done = [run for run in runs if manifest.is_there(run / "model" / "card.json")]
    return done[-1] if done else folder


def resume_commands(run: Path) -> list[list[str]]:
    """Return the command that goes on with a run; none where the folder holds no run, or one that had hardly begun."""
    try:
        kind = kind_of(run)
    except RunError:
        return []
    return [["matgraft", VERBS[kind], "--resume", str(run)]] if kind and (run / ASKED[kind]).is_file() else []


def go_on_with(run: Path) -> str:
    """Say how a run that was interrupted is gone on with."""
    commands = resume_commands(run)
    return f"go on with: {shlex.join(commands[0])}" if commands else "nothing was fitted yet: type the command again"


def resume_above(folder: Path | None) -> list[list[str]]:
    """Return the command that goes on with the run that a folder of checkpoints lies in; none outside a run."""
    for run in (folder, *folder.parents) if folder else ():
        if commands := resume_commands(run):
            return commands
    return []


def refuse_no_folder(path: Path) -> None:
    """Raise an OptionError if no folder can be made at a path, since a file is in its way."""
    there = next(one for one in (path, *path.parents) if one.exists())
    if not there.is_dir():
        raise OptionError(f"{there} is a file, and a folder is wanted", allowed=["a new folder", "an empty one"])


def refuse_full_folder(out: Path) -> None:
    """Raise an OptionError if something new would be written into a folder that holds something, or cannot be made."""
    refuse_no_folder(out)
    # A run that was killed before it wrote down what was asked for has left run.json, and a part of another file.
    begun = {BEGUN.name, manifest.FILE} | ({GIVEN} if (out / manifest.FILE).is_file() else set())
    if (out / UNFINISHED).exists():
        return
    if out.exists() and any(one.name not in begun and not is_part(one) for one in without_locks(out)):
        raise OptionError(
            f"the folder {out} is not empty",
            remedy="take another folder" + ", or go on with the run in it" * bool(resume_commands(out)),
            options=[{"--out": unused(out)}],
            commands=resume_commands(out),
        )


def refuse_changed(before: Mapping[str, JsonValue], now: Mapping[str, JsonValue], out: Path) -> None:
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


def by_option(settings: BaseModel, prefix: str = "option ") -> dict[str, JsonValue]:
    """Return nested settings by role, as JSON holds them: ``{"option fit.rate": 0.001}``."""
    found: dict[str, JsonValue] = {}
    dumped = settings.model_dump(mode="json")
    for name, value in settings:
        if isinstance(value, BaseModel):
            found |= by_option(value, f"{prefix}{name}.")
        elif name in dumped:  # else it is what earlier versions did
            found[f"{prefix}{name}"] = dumped[name]
    return found


def next_run() -> Path:
    """Return the first free folder of runs/001, runs/002, ..."""
    return next(folder for number in count(1) if not (folder := Path("runs") / f"{number:03d}").exists())


def unused(path: Path) -> Path:
    """Return a name beside a path that nothing has: ``runs/si-2``, ``frames-2.h5``."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(name for name in names if not name.exists())

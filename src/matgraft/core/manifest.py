"""What a folder of matgraft holds, with a hash a file: a changed byte is found before anyone believes it.

    begin(folder)                     # a folder that is written from now on
    with entering(path, part):        # `core.files.whole` does it for every file of matgraft
        part.replace(path)
    content = checked(path)           # a loader: the bytes, if they are those that were written
    judge(folder)                     # `matgraft verify`: what changed, is missing or is unknown

The manifest is a text file of lines that are only added to: ``CRC-32 JSON``. A file is entered as *coming* before it
moves to its place and as *standing* after it, so that a run that is killed between the two is neither lost nor
believed blindly: of a file that was coming the old content and the new one are whole, and `settle` enters which it is
when the run goes on. A folder inside with a manifest of its own, such as a model, is judged by that one, and may be
copied elsewhere by itself; the manifest above it says that it must be there. Folders of earlier versions have no
manifest: nothing in them can be checked, and `note_older` says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, ValidationError, computed_field

from matgraft.core.errors import ChangedError
from matgraft.core.frozen import Frozen

FILE = "manifest.txt"
TITLE = b"matgraft manifest 1\n"
_PIECE = 2**20
"""Bytes that are hashed at once."""


class OlderFolderWarning(UserWarning):
    """A folder of an earlier version has no hashes to hold its files against."""


class Entry(Frozen):
    """A line of a manifest.

    Attributes
    ----------
    state
        *coming* before a file moves to its place, *standing* after it; *open* while a process writes in it; *going*
        before a file or a folder is removed, *gone* after it.
    name
        Path inside the folder.
    sha256
        Of the content; empty for what goes.
    """

    state: Literal["coming", "standing", "open", "going", "gone"]
    name: str
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""

    def line(self) -> bytes:
        """Return the line that says so."""
        said = self.model_dump_json().encode()
        return b"%08x %s\n" % (zlib.crc32(said), said)


@dataclass(frozen=True)
class Listed:
    """What a manifest says of a file.

    Attributes
    ----------
    hashes
        Of contents that are whole: of a run that was killed in the middle of writing there may be several.
    may_lack
        True if the file need not be there.
    is_settled
        False if a write, or a removal, began and is not known to have ended.
    is_open
        True if a process writes in it, or did so until it was killed.
    """

    hashes: frozenset[str]
    may_lack: bool
    is_settled: bool = False
    is_open: bool = False


class FolderState(Frozen):
    """What `matgraft verify` says of a folder.

    Attributes
    ----------
    folder
        As it was named.
    has_manifest
        False for a folder of an earlier version, of which nothing can be said.
    n_whole
        Files that are as they were written.
    changed, missing
        What is wrong: file -> how; files that are not there.
    unknown
        Files that matgraft did not write here. No command reads them.
    unsettled
        Files that are written, or were when a process was killed. Of one that moves to its place whole, the old content
        is whole, and the new; of a database nothing can be said until it is opened again.
    """

    folder: str
    has_manifest: bool
    n_whole: int = 0
    changed: dict[str, str] = Field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_whole(self) -> bool:
        """True if every file is as it was written."""
        return self.has_manifest and not self.changed and not self.missing


# --- writing ---------------------------------------------------------------------------------------------------------


def begin(folder: Path) -> None:
    """Enter what is written into a folder from now on; one that has a manifest keeps it, but for a torn title."""
    path = folder / FILE
    if os.path.lexists(path) and (path.is_symlink() or not _is_torn(path)):
        return
    part = path.with_name(f".{os.getpid()}.part.{FILE}")  # as of `core.files`, which is built upon this
    try:
        part.write_bytes(TITLE)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if (above := folder_of(folder)) is not None:
        name = _name(path, above)
        _add(above, Entry(state="standing", name=name, sha256=file_sha256(path)))  # from now on it must be there
        _add(above, Entry(state="open", name=name))  # with whatever lines: each has its own sum


def _is_torn(path: Path) -> bool:
    """Say whether a manifest ends within its title: a power cut came, and nothing had been entered."""
    return path.is_file() and path.stat().st_size < len(TITLE) and TITLE.startswith(path.read_bytes())


@contextmanager
def entering(path: Path, part: Path, *, durable: bool = False) -> Iterator[None]:
    """Enter a file, if its folder has a manifest, that moves in the block from `part` to `path`.

    Files whose name begins with a dot, as those of locks, come and go, and are not entered.

    Parameters
    ----------
    durable
        Whether the line shall survive a power cut as the file does.
    """
    if path.name.startswith(".") or (folder := folder_of(path)) is None:
        yield
        return
    name, sha256 = _name(path, folder), file_sha256(part)
    _add(folder, Entry(state="coming", name=name, sha256=sha256), durable=durable)
    yield
    _add(folder, Entry(state="standing", name=name, sha256=sha256))


@contextmanager
def leaving(path: Path) -> Iterator[None]:
    """Enter that a file, or a folder with all that is in it, is removed in the block."""
    if (folder := folder_of(path)) is None:
        yield
        return
    name = _name(path, folder)
    _add(folder, Entry(state="going", name=name))
    yield
    _add(folder, Entry(state="gone", name=name))


def enter(path: Path, *, is_open: bool = False) -> None:
    """Enter a file as it stands, for one that is written in its place, such as a database.

    Parameters
    ----------
    is_open
        Whether it will be written: until it is entered again, nothing can be said of it.
    """
    if (folder := folder_of(path)) is not None:
        name = _name(path, folder)
        state = Entry(state="open", name=name) if is_open else None
        _add(folder, state or Entry(state="standing", name=name, sha256=file_sha256(path)))


def settle(folder: Path) -> None:
    """Enter how the writes and removals ended that a kill broke off; for whoever holds the lock of the folder.

    A file stands if its content is whole, the old or the new, and is gone if it is not there and need not be.
    """
    for root in [one.parent for one in folder.rglob(FILE)]:
        unsettled = {name: said for name, said in _listed(root).items() if not said.is_settled and not said.is_open}
        for name, said in unsettled.items():
            path = root / name
            if os.path.lexists(path):
                if not _wrong(path, root, said):
                    _add(root, Entry(state="standing", name=name, sha256=file_sha256(path)))
            elif said.may_lack:
                _add(root, Entry(state="gone", name=name))


def _add(folder: Path, entry: Entry, *, durable: bool = False) -> None:
    """Add a line; one that a full disk or a power cut tore off is taken away first."""
    file = os.open(folder / FILE, os.O_RDWR | os.O_APPEND)
    try:
        with suppress(OSError):  # a file system without locks: one line is still written at once
            fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            content = (folder / FILE).read_bytes()
            os.ftruncate(file, content.rfind(b"\n") + 1)
        line = entry.line()
        if os.write(file, line) < len(line):
            raise OSError(28, os.strerror(28), str(folder / FILE))
        if durable:
            os.fdatasync(file)
    finally:
        os.close(file)


# --- reading ---------------------------------------------------------------------------------------------------------


def folder_of(path: Path) -> Path | None:
    """Return the nearest folder above a path that has a manifest, as an absolute path; None where there is none."""
    return next((one for one in _absolute(path).parents if os.path.lexists(one / FILE)), None)


def checked(path: Path) -> bytes:
    """Return the content of a file.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ChangedError
        As of `check_file`.
    """
    _refuse_other(path)
    content = path.read_bytes()
    _hold(path, lambda: hashlib.sha256(content).hexdigest())
    return content


def check_file(path: Path) -> Path:
    """Return the path of a file that is as it was written; where there is no manifest, it is taken as it is.

    Raises
    ------
    ChangedError
        If another content stands there, a link does, or nothing that matgraft wrote.
    """
    _refuse_other(path)
    _hold(path, lambda: file_sha256(path))
    return path


def check_known(path: Path) -> Path:
    """Return the path of a file that may be anyone's; a file that matgraft wrote into its folder is checked.

    Raises
    ------
    ChangedError
        If it is not what was written.
    """
    folder = folder_of(path)
    return check_file(path) if folder is not None and _name(path, folder) in _listed(folder) else path


def is_there(path: Path) -> bool:
    """Say whether there is a file.

    Raises
    ------
    ChangedError
        If there is none, and the manifest says that there is one.
    """
    if path.is_file():
        return True
    if (folder := folder_of(path)) is not None:
        name, listed = PurePosixPath(_name(path, folder)), _listed(folder)
        for one in map(str, (name, *(parent / FILE for parent in name.parents))):  # of it, or of a folder that it is in
            if one in listed and not listed[one].may_lack and not os.path.lexists(folder / one):
                raise _changed(folder / one, "the file is missing", folder)
    return False


def below(folder: Path, name: str) -> list[Path]:
    """Return the files of one name in a folder and all folders inside, those as well that were written and are gone."""
    there = set(folder.rglob(name))
    if (root := folder_of(folder / FILE)) is not None:
        start = "" if root == _absolute(folder) else f"{_name(folder, root)}/"
        written = [one for one, said in _listed(root).items() if not said.may_lack and one.startswith(start)]
        there |= {folder / one.removeprefix(start) for one in written if PurePosixPath(one).name == name}
    return sorted(there)


def check_folder(folder: Path) -> Path:
    """Return a folder all of whose files are as they were written: for a loader that opens several, as a vendor's does.

    Raises
    ------
    ChangedError
        If one is not.
    """
    if (root := folder_of(folder / FILE)) is not None:
        prefix = "" if root == _absolute(folder) else f"{_name(folder, root)}/"
        for name in _listed(root):
            if name.startswith(prefix) and is_there(root / name) and PurePosixPath(name).name != FILE:
                check_file(root / name)
    return folder


def folder_state(folder: Path, passes: Callable[[Path], bool] = lambda file: False) -> FolderState:
    """Say what of a folder is as it was written, folders inside with manifests of their own as well.

    Parameters
    ----------
    passes
        Says of a file that it comes and goes, as a lock does.
    """
    named, folder = folder, _absolute(folder)
    if not os.path.lexists(folder / FILE):
        return FolderState(folder=str(named), has_manifest=False)
    roots = [one.parent for one in sorted(folder.rglob(FILE))]
    changed: dict[str, str] = {}
    missing: list[str] = []
    unsettled: list[str] = []
    known: set[Path] = {root / FILE for root in roots}
    n_whole = 0
    for root in roots:
        try:
            listed = _listed(root)
        except ChangedError as error:
            changed[_name(root / FILE, folder)] = error.found
            continue
        for name, said in listed.items():
            path = root / name
            if path.name == FILE and os.path.lexists(path):
                continue  # of a folder inside, which it judges itself
            known.add(path)
            unsettled += [] if said.is_settled else [_name(path, folder)]
            if not os.path.lexists(path):
                missing += [] if said.may_lack else [_name(path, folder)]
            elif wrong := _wrong(path, root, said):
                changed[_name(path, folder)] = wrong
            else:
                n_whole += 1
    links = (one for one in folder.rglob("*") if one.is_symlink() or not one.is_dir())
    unknown = [one for one in links if one not in known and not passes(one)]
    return FolderState(
        folder=str(named),
        has_manifest=True,
        n_whole=n_whole,
        changed=changed,
        missing=tuple(sorted(missing)),
        unknown=tuple(sorted(_name(one, folder) for one in unknown)),
        unsettled=tuple(sorted(unsettled)),
    )


def note_older(folder: Path) -> None:
    """Warn, once a folder, that nothing in it can be checked."""
    if folder_of(folder / FILE) is None:
        _note(folder.resolve(), str(folder))


@cache
def _note(folder: Path, named: str) -> None:
    warnings.warn(
        f"{named} has no {FILE}: it is of an earlier version, or copied without it. Its files are read as they are.",
        OlderFolderWarning,
        stacklevel=3,
    )


def file_sha256(path: Path) -> str:
    """Return the hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _hold(path: Path, sha256: Callable[[], str]) -> None:
    if (folder := folder_of(path)) is None:
        return
    said = _listed(folder).get(_name(path, folder))
    if wrong := "matgraft did not write it into this folder" if said is None else _wrong(path, folder, said, sha256):
        raise _changed(path, wrong, folder)


def _refuse_other(path: Path) -> None:
    """Raise where no file stands but a folder, or a pipe, whose reader would wait for ever."""
    if path.exists() and not path.is_file():
        raise _changed(path, "it is not a file", path.parent)


def _wrong(path: Path, folder: Path, said: Listed, sha256: Callable[[], str] | None = None) -> str:
    """Return what is wrong with a file that is there; nothing where it is as it was written."""
    path = _absolute(path)
    if any(one.is_symlink() for one in (path, *path.parents[: len(path.relative_to(folder).parts) - 1])):
        return "it is a symbolic link, or lies behind one"
    if not path.is_file():
        return "it is not a file"
    if said.is_open:
        return ""
    found = sha256() if sha256 else file_sha256(path)
    return "" if found in said.hashes else "it is not what matgraft wrote: its content has changed"


def _changed(path: Path, wrong: str, folder: Path) -> ChangedError:
    return ChangedError(
        wrong,
        where=str(path),
        remedy="put back the file as it was, or copy the folder again from a complete copy; the command below says "
        "what else has changed",
        commands=[("matgraft", "verify", str(folder))],
    )


def _name(path: Path, folder: Path) -> str:
    r"""Return the path inside a folder; bytes that are no text are written as ``\xff``."""
    return os.fsencode(_absolute(path).relative_to(folder)).decode("utf-8", errors="backslashreplace")


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # links are not followed: they are what is looked for


def _listed(folder: Path) -> Mapping[str, Listed]:
    """Return what a manifest says of each file.

    Raises
    ------
    ChangedError
        If a line is not what was written.
    """
    path = folder / FILE
    if path.is_symlink():
        raise _changed(path, "it is a symbolic link", folder)
    _refuse_other(path)
    return _parsed(path, path.read_bytes())


@lru_cache(maxsize=8)
def _parsed(path: Path, content: bytes) -> Mapping[str, Listed]:
    """Read the lines of a manifest; those of the last few are kept."""
    title, *lines = content.split(b"\n")[:-1] or [b""]  # a last line that was torn off never happened
    if title + b"\n" != TITLE:
        raise _changed(path, f"it does not begin with {TITLE.decode().strip()!r}", path.parent)
    found: dict[str, Listed] = {}
    for number, line in enumerate(lines, start=2):
        _apply(_entry(line, number, path), found)
    return found


def _entry(line: bytes, number: int, path: Path) -> Entry:
    try:
        entry = Entry.model_validate_json(line[9:])
    except ValidationError:
        entry = None
    parts = PurePosixPath(entry.name).parts if entry else ()
    if entry is None or entry.line() != line + b"\n" or not parts or ".." in parts or parts[0] == "/":
        raise _changed(path, f"line {number} is not what matgraft wrote", path.parent)
    return entry


def _apply(entry: Entry, found: dict[str, Listed]) -> None:
    """Let what is known of the files follow a line."""
    name, before = entry.name, found.get(entry.name, Listed(frozenset(), may_lack=True))
    if entry.state == "coming":
        found[name] = Listed(before.hashes | {entry.sha256}, before.may_lack)
    elif entry.state == "open":
        found[name] = Listed(frozenset(), may_lack=before.may_lack, is_open=True)
    elif entry.state == "standing":
        found[name] = Listed(frozenset({entry.sha256}), may_lack=False, is_settled=True)
    else:
        for one in [one for one in found if one == name or one.startswith(f"{name}/")]:
            if entry.state == "gone":
                del found[one]
            else:
                found[one] = Listed(found[one].hashes, may_lack=True)

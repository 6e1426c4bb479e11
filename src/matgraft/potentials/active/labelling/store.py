"""Labels by content: one SQLite file and the outputs of programs beside it, in one folder.

    with Store(Path("labels")) as store:
        store.put(key, label)
        store.label(key)

A key is a hash of the frame and of the engine (`fingerprint`), so that no frame is computed twice, in whichever file it
stands. Each label is committed as it comes, and a commit survives a power cut. Only the process that leads writes; a
second one that would is refused. SQLite's lock for one process needs no memory shared between processes, so that the
folder may lie on a network file system.

Source: https://www.sqlite.org/wal.html, "Use of WAL Without Shared-Memory".
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from matgraft.core import manifest
from matgraft.core.errors import OptionError, RunError
from matgraft.core.files import to_json, whole
from matgraft.core.frozen import Frozen
from matgraft.core.locks import without_locks
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.run_folder import refuse_no_folder
from matgraft.potentials.active.labelling.labelled import Try
from matgraft.potentials.active.labelling.wire import Arrays, WireError, arrays_of_npz, packed

FILE, OUTPUTS, WORK = "labels.sqlite", "outputs", "work"
LOG = f"{FILE}-wal"
"""What was committed and is not in the file yet."""
VERSION = 1
_MACHINE = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_NOMEM")
"""What SQLite says of the machine, and not of the file."""
_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS engines (key TEXT PRIMARY KEY, engine TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS labels (
    key TEXT PRIMARY KEY, engine TEXT NOT NULL, content BLOB NOT NULL, digest TEXT NOT NULL,
    facts TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (key TEXT PRIMARY KEY, engine TEXT NOT NULL, facts TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS probes (engine TEXT PRIMARY KEY, facts TEXT NOT NULL);
"""


class LabelFacts(Frozen):
    """What is said of a label.

    Attributes
    ----------
    tries
        Those that failed before it.
    output
        Name of the file with what the program printed.
    """

    theory: LevelOfTheory | None = None
    seconds: float
    tries: tuple[Try, ...] = ()
    output: str = ""


class FailureFacts(Frozen):
    """Why a frame has no label; one whose worker was lost is tried again at the next call by itself."""

    tries: tuple[Try, ...]
    lost: bool = False
    output: str = ""


@dataclass(frozen=True)
class StoredLabel:
    """A label with its frame, as arrays, and what is said of it."""

    arrays: Arrays
    facts: LabelFacts


class LabelStore:
    """The labels in a folder.

    Raises
    ------
    OptionError
        If another process writes to it, the folder holds something else, or a file is in its way.
    RunError
        If it is damaged, or of another version.
    """

    def __init__(self, folder: Path) -> None:
        refuse_no_folder(folder)
        self.folder, self._file = folder, folder / FILE
        own = (WORK, manifest.FILE)
        is_new = folder.is_dir() and not self._file.exists()
        if is_new and any(one.name not in own for one in without_locks(folder)):
            raise OptionError(f"{folder} is not empty, and holds no labels", remedy="name a new folder by --store")
        folder.mkdir(parents=True, exist_ok=True)
        if not self._file.exists():
            manifest.begin(folder)
        else:
            manifest.check_file(self._file)
        with self._sound():
            self._base = sqlite3.connect(self._file, isolation_level=None, timeout=0.5, check_same_thread=False)
        try:
            self._open()
        except BaseException:
            self._base.close()
            raise

    def __enter__(self) -> LabelStore:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the folder free for another process."""
        with suppress(sqlite3.Error, OSError):  # what was committed is in the log, full disk or not
            self._base.close()
            if not (self.folder / LOG).exists():
                manifest.enter(self._file)

    def begin(self, engine: str, said: str) -> None:
        """Enter an engine by its key, so that a label says what it was computed with."""
        self._write("INSERT OR IGNORE INTO engines VALUES (?, ?)", (engine, said))

    def has(self, key: str) -> bool:
        """Say whether there is a label."""
        return self._row("SELECT 1 FROM labels WHERE key = ?", key) is not None

    def label(self, key: str) -> StoredLabel | None:
        """Return a label; None where there is none.

        Raises
        ------
        RunError
            If it is damaged.
        """
        row = self._row("SELECT engine, content, digest, facts, at FROM labels WHERE key = ?", key)
        if row is None:
            return None
        engine, content, digest, facts, at = row
        if digest not in (
            _digest(key, engine, content, facts, at),
            hashlib.sha256(content).hexdigest(),
        ):  # of stores before digests of whole rows
            raise self._damaged(f"the label {key} is not what matgraft wrote")
        try:
            return StoredLabel(arrays_of_npz(content), LabelFacts.model_validate_json(facts))
        except (WireError, ValueError) as error:
            raise self._damaged(f"the label {key} cannot be read: {error}") from error

    def failure(self, key: str) -> FailureFacts | None:
        """Return why a frame has no label; None where it never failed."""
        row = self._row("SELECT facts FROM failures WHERE key = ?", key)
        try:
            return None if row is None else FailureFacts.model_validate_json(row[0])
        except ValidationError as error:
            raise self._damaged(f"the failure of {key} cannot be read: {error.errors()[0]['msg']}") from error

    def put(self, key: str, engine: str, label: StoredLabel) -> None:
        """Keep a label; it stands when this returns, and a failure of the frame is forgotten."""
        content, facts, at = packed(label.arrays), _json(label.facts), _now()
        row = (key, engine, content, _digest(key, engine, content, facts, at), facts, at)
        with self._transaction():
            self._base.execute("INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?, ?, ?)", row)
            self._base.execute("DELETE FROM failures WHERE key = ?", (key,))

    def put_failure(self, key: str, engine: str, facts: FailureFacts) -> None:
        """Keep why a frame has no label."""
        self._write("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", (key, engine, _json(facts), _now()))

    def put_output(self, key: str, name: str, content: bytes) -> str:
        """Keep what a program printed; return the file's name in the folder."""
        if not content:
            return ""
        path = Path(OUTPUTS, key[:2], f"{key}.{name}.xz")
        (self.folder / path.parent).mkdir(parents=True, exist_ok=True)
        with self._sound(), whole(self.folder / path) as part:
            part.write_bytes(content)
        return str(path)

    def probe(self, engine: str) -> str | None:
        """Return the probe of an engine, as it was kept."""
        row = self._row("SELECT facts FROM probes WHERE engine = ?", engine)
        return None if row is None else str(row[0])

    def put_probe(self, engine: str, facts: str) -> None:
        """Keep the probe of an engine."""
        self._write("INSERT OR REPLACE INTO probes VALUES (?, ?)", (engine, facts))

    def all_keys(self) -> list[str]:
        """Return the keys of all labels, sorted."""
        with self._sound():
            return [str(key) for (key,) in self._base.execute("SELECT key FROM labels ORDER BY key")]

    # ------------------------------------------------------------------------------------------------------- inside

    def _open(self) -> None:
        with self._sound():
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")  # before the log is first touched
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute("BEGIN IMMEDIATE")
            self._base.execute("COMMIT")
            (found,) = self._base.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise self._damaged(str(found))
            manifest.enter(self._file, is_open=True)
            self._base.executescript(_TABLES)
        row = self._row("SELECT value FROM about WHERE name = ?", "version")
        if row is None:
            self._write("INSERT INTO about VALUES (?, ?)", ("version", str(VERSION)))
        elif row[0] != str(VERSION):
            raise RunError(
                f"the store is of version {row[0]}, and this matgraft writes version {VERSION}",
                where=str(self.folder),
                remedy="name another folder by --store",
            )

    def _row(self, query: str, key: str) -> Any:
        with self._sound():
            return self._base.execute(query, (key,)).fetchone()

    def _write(self, query: str, row: tuple[object, ...]) -> None:
        with self._transaction():
            self._base.execute(query, row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write all of the block or nothing."""
        with self._sound():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk may have rolled back already
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """Turn what SQLite and the disk say into what a user can act on."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "")
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise OptionError(
                    f"another process labels into {self.folder}",
                    remedy="wait for it, or name another folder by --store",
                ) from error
            if not code.startswith(_MACHINE):
                raise self._damaged(str(error)) from error
            raise RunError(
                f"the store cannot be written: {error}",
                where=str(self.folder),
                remedy="make room or give the right to write, and type the same command: labels that were kept "
                "are complete",
            ) from error
        except OSError as error:
            raise RunError(
                f"the store cannot be written: {error.strerror}",
                where=str(error.filename or self.folder),
                remedy="make room or give the right to write, and type the same command: labels that were kept "
                "are complete",
            ) from error

    def _damaged(self, why: str) -> RunError:
        return RunError(
            f"the store is damaged: {why}",
            where=str(self._file),
            remedy=f"move it away or put a copy back, together with {LOG}; what is missing is computed again",
        )


def _digest(key: str, engine: str, content: bytes, facts: str, at: str) -> str:
    """Return the hash of a row of labels."""
    found = hashlib.sha256(content)
    for text in (key, engine, facts, at):
        found.update(b"\0" + text.encode())
    return found.hexdigest()


def _json(facts: Frozen) -> str:
    return to_json(facts, indent=None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Which files are CP2K's, what each holds, and which belong to one run.

A run of the project ``water`` writes a log under any name, ``water-pos-1.xyz``, ``water-frc-1.xyz``, ``water-1.cell``,
``water-1.stress`` and ``water-1.ener``. Names that are alike apart from these words are one run; a log is of the run
whose name begins with its project.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from matgraft.core.unpack import open_unpacked
from matgraft.potentials.data.reading.formats.base import FileHead, plain_path, without_packed
from matgraft.potentials.data.reading.formats.output import Output, numbers
from matgraft.potentials.data.reading.raw import UNREADABLE

_LOG = re.compile(r"^ CP2K\| version string:", re.MULTILINE)
_COMMENT = re.compile(r"\s*+\d++[^\S\n]*+\n\s*+i\s*+=\s*+\d+,.*\bE\s*+=\s*+[-+\d.*NaN]")
_TABLES = {
    "cell": re.compile(r"#\s+Step\s+Time \[fs\]\s+Ax \["),
    "stress": re.compile(r"#\s+Step\s+Time \[fs\]\s+xx \["),
    "energies": re.compile(r"#\s+Step Nr\.\s+Time\[fs\]"),
}
_WORDS = {
    "forces": {"frc", "force", "forces"},
    "velocities": {"vel", "velocity", "velocities"},
    "positions": {"pos", "position", "positions"},
}
_PROJECT = re.compile(r"^ GLOBAL\| Project name\s+(\S+)", re.MULTILINE)
_ENDINGS = re.compile(r"\.(xyz|cell|stress|ener|txt|dat)$")


@dataclass(frozen=True)
class RunPart:
    """A file of a run.

    Attributes
    ----------
    holds
        ``"log"``, ``"positions"``, ``"forces"``, ``"velocities"``, ``"cell"``, ``"stress"`` or ``"energies"``.
    name
        Of its run, as words; of a log, that of its project.
    """

    path: Path
    holds: str
    name: tuple[str, ...]


def is_cp2k(head: FileHead) -> bool:
    """Say whether a file is one of those that a run of CP2K writes."""
    return bool(_kind(head))


def _kind(head: FileHead) -> str:
    """Return what a file holds; positions, forces and velocities look the same and are told apart by name."""
    text = head.text
    if _COMMENT.match(text):
        words = set(_words(head.name))
        return next((kind for kind, known in _WORDS.items() if known & words), "positions")
    if _LOG.search(text):
        return "log"
    return next((kind for kind, pattern in _TABLES.items() if pattern.match(text)), "")


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[-_. ]+", _ENDINGS.sub("", name.lower())) if word]


def _member(path: Path) -> RunPart | None:
    head = FileHead(path)
    kind = _kind(head)
    if not kind:
        return None
    project = _PROJECT.search(head.text) if kind == "log" else None
    words = _words(project[1] if project else head.name)
    aside = set().union(*_WORDS.values()) if kind != "log" else set()
    return RunPart(path, kind, tuple(word for word in words if word not in aside))


def members(path: Path) -> tuple[RunPart, ...]:
    """Return the files of the run that a file belongs to, the one that stands for it first.

    That is the positions, else the log, else the file itself.
    """
    beside = _beside(path.parent, path.parent.stat().st_mtime_ns)
    own = next((one for one in beside if one.path == path), None) or _member(path)
    if own is None:
        return ()
    if own.holds == "log":
        lead = _positions_of(own, beside)
        own = lead or own
    run = [one for one in beside if one.name == own.name and one.holds != "log"] if own.holds != "log" else [own]
    run += _logs_of(own, beside) if own.holds != "log" else []
    rank = {"positions": 0, "log": 1}
    return tuple(sorted(run or [own], key=lambda one: (rank.get(one.holds, 2), one.path != path, str(one.path))))


def file_of_run(path: Path) -> Path:
    """Return the file that stands for the run of a file."""
    return next((one.path for one in members(path)), path)


def find_cp2k(own: Sequence[Path], _others: Sequence[Path]) -> list[Path]:
    """Return one file for each run."""
    return list(dict.fromkeys(file_of_run(path) for path in without_packed(own)))


@lru_cache(maxsize=32)
def _beside(folder: Path, _changed: int) -> tuple[RunPart, ...]:
    """Return CP2K's files of a folder; kept until the folder changes."""
    paths = without_packed(sorted(path for path in folder.iterdir() if path.is_file()))
    return tuple(member for path in paths if (member := _member(path)))


def _positions_of(log: RunPart, beside: Sequence[RunPart]) -> RunPart | None:
    positions = [one for one in beside if one.holds == "positions"]
    named = [one for one in positions if log in _logs_of(one, beside)]
    return min(named, key=lambda one: len(one.name), default=None)


def _logs_of(run: RunPart, beside: Sequence[RunPart]) -> list[RunPart]:
    """Return the logs of a run: those of its project, else the only one; of several those that share an energy."""
    logs = [one for one in beside if one.holds == "log"]
    others = sum(one.holds == "positions" for one in beside) > 1
    found = [log for log in logs if _is_of(log, run)] or ([] if others or len(logs) > 1 else logs)
    return found if len(found) < 2 else [log for log in found if _energies(log.path) & _energies(run.path)]


def _energies(path: Path) -> frozenset[float]:
    return _read_energies(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _read_energies(path: Path, _changed: int) -> frozenset[float]:
    """Return the energies in the comment lines of a file, or in a log, to a tenth of a microhartree."""
    found: set[float] = set()
    try:
        with open_unpacked(path) as file:
            for line in Output(file, path.name):
                if "ENERGY| Total FORCE_EVAL" in line or (" E =" in line and " i =" in line):
                    found.update(round(energy, 7) for energy in numbers(line)[-1:])
    except UNREADABLE:
        pass  # what came before is enough
    return frozenset(found)


def _is_of(log: RunPart, run: RunPart) -> bool:
    """Say whether a run's name is that of the log's project, but for the number at its end."""
    rest = run.name[len(log.name) :]
    return run.name[: len(log.name)] == log.name and all(word.isdecimal() for word in rest)


def stem(path: Path) -> str:
    """Return the name of a run's files, for messages: ``water`` for water-pos-1.xyz."""
    return re.split(r"[-_.](pos|frc|vel)\b", plain_path(path).name, maxsplit=1)[0]

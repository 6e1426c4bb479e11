"""What the readers of text outputs share: lines as far as a file goes, numbers as Fortran prints them, ionic steps.

A reader hands every line to its `take`, which may read on (`Output.table`). A file that ends in the middle of a table
is a run that broke off: the steps before are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from matgraft.core.errors import DataError
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.core.unpack import lines, open_unpacked
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile, RawFrame

NUMBER = r"(?:[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eEdD][-+]?\d++)?|\*{2,40}|[-+]?\b(?i:nan|inf(?:inity)?)\b)"
"""A number as codes print it, for patterns; stars stand for one that is too long for its field."""

_NUMBER = re.compile(NUMBER)
_SIGNS, _DIGITS = b".eEdD+-", b"0123456789"
_SYMBOL = re.compile(r"[A-Za-z]{1,2}")


def numbers(text: str) -> list[float]:
    """Return the numbers of a line, also where wide ones run into each other; ``*****`` is NaN."""
    found = (word.lower().replace("d", "e") for word in _NUMBER.findall(text))
    return [float("nan") if "*" in word else float(word) for word in found]


def _is_cut(line: bytes) -> bool:
    """Say whether the end of a file may have cut a number: -20.6 of -20.6421."""
    return bool(line[len(line.rstrip(_SIGNS + _DIGITS)) :].strip(_SIGNS))


def after(line: str, sign: str = "=") -> float:
    """Return the first number behind a sign; raises `IndexError` where there is none."""
    return numbers(line.split(sign, 1)[1])[0]


def element(label: str) -> str:
    """Return the element of a label such as ``Fe1``, ``FE_up`` or ``Hw``; deuterium and tritium are hydrogen.

    Raises
    ------
    ValueError
        If it begins with none.
    """
    letters = _SYMBOL.match(label.strip())
    for n in (2, 1):
        symbol = letters.group()[:n].capitalize() if letters else ""
        if symbol in atomic_numbers and symbol != "X":
            return symbol
        if symbol in ("D", "T"):
            return "H"
    raise ValueError(f"{label!r} begins with no element")


def array(rows: Iterable[Iterable[str]]) -> Array:
    """Return rows of words as numbers, (n_rows, n)."""
    return np.array([[numbers(word)[0] for word in row] for row in rows])


class Output(Iterator[str]):
    """The lines of a text output."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        self._lines = lines(file, where, "output_line_bytes")
        self._back: list[str] = []
        self.line = 0

    def __next__(self) -> str:
        """Return the next line without its end."""
        if self._back:
            self.line += 1
            return self._back.pop()
        line = next(self._lines)
        if not line.endswith(b"\n") and _is_cut(line):
            raise EOFError("it ends in the middle of a number")
        self.line += 1
        return line.decode("utf-8", "replace").rstrip("\r\n")

    def table(self, n_rows: int, columns: slice = slice(None), sign: str = "") -> Array:
        """Return the numbers of the next lines, (n_rows, n), of each behind a sign; raises `EOFError` at the end."""
        found = []
        for _ in range(n_rows):
            line = next(self, None)
            if line is None:
                raise EOFError("it ends in the middle of a table")
            found.append(numbers(line.split(sign, 1)[1] if sign else line)[columns])
        return np.array(found)

    def back(self, line: str) -> None:
        """Put a line back, to be the next one."""
        self._back.append(line)
        self.line -= 1

    def rows(self, pattern: re.Pattern[str], skip: int = 8) -> list[tuple[str, ...]]:
        """Return the groups of the lines that match, from the first of the next `skip` + 1 lines that does."""
        found: list[tuple[str, ...]] = []
        for line in self:
            if match := pattern.search(line):
                found.append(match.groups())
            elif found or skip == 0:
                self.back(line)
                break
            else:
                skip -= 1
        return found


def walk(path: Path, name: str, take: Callable[[str, Output], None]) -> str:
    """Hand every line of a file to `take`; return what broke it off, or nothing.

    Raises
    ------
    DataError
        If a line in the middle of the file cannot be read.
    """
    try:
        with open_unpacked(path, name) as file:
            output = Output(file, name)
            for line in output:
                try:
                    take(line, output)
                except (ValueError, LookupError) as error:
                    if next(output, None) is None:
                        return f"its last line is cut off: {line.strip()[:60]!r}"
                    found = f"line {output.line - 1} cannot be read ({error}): {line.strip()[:60]!r}"
                    raise DataError(found, where=name) from error
    except UNREADABLE as error:
        return str(error)
    return ""


@dataclass
class Steps:
    """The ionic steps of a run as frames, and what is to be said of them."""

    frames: list[RawFrame] = field(default_factory=list)
    unfinished: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, atoms: Atoms, values: Mapping[str, object], converged: bool | None, **tags: str) -> None:
        """Add a finished step; `converged` says whether its electrons are, None where the output does not."""
        told = {} if converged is None else {"converged": "true" if converged else "false"}
        present = {key: value for key, value in values.items() if value is not None}
        self.frames.append(RawFrame(atoms.copy(), present, told | tags))

    def file(
        self, name: str, conventions: Conventions, theory: LevelOfTheory, broken: str, others: tuple[Path, ...] = ()
    ) -> RawFile:
        """Return the steps as a file.

        Parameters
        ----------
        broken
            Why the run is not whole; empty where it is.

        Raises
        ------
        DataError
            If there is no finished step.
        """
        if not self.frames:
            reason = f"; it breaks off: {broken}" if broken else ""
            raise DataError(f"the run has no finished ionic step{reason}", where=name)
        notes = [f"the run broke off; its {len(self.frames)} finished ionic steps are kept"] if broken else []
        notes += [f"{self.unfinished} unfinished ionic steps left out"] if self.unfinished else []
        loose = sum(frame.tags.get("converged") == "false" for frame in self.frames)
        notes += [f"the electrons of {loose} of {len(self.frames)} steps did not converge"] if loose else []
        return RawFile(tuple(self.frames), conventions, (*dict.fromkeys(self.notes), *notes), theory, others)

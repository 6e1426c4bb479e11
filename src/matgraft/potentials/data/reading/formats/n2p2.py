"""RuNNer's and n2p2's `input.data`: frames between ``begin`` and ``end``.

    begin
    comment source_file_name=OUTCAR_4_1
    lattice 15.4 0.0 0.0                                        three times, or not at all for a molecule
    atom 9.66 1.05 10.74 S 0.0 0.0 0.107 0.024 -0.891           x y z element charge unused fx fy fz
    energy -178.2
    charge 0.0
    end

The file states no units. Bohr and Hartree, the units of RuNNer, are assumed and told; `units.length`, `units.energy`
and `units.forces` say others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.core.unpack import lines, open_unpacked
from matgraft.potentials.data.reading.formats.base import FileHead, Format, plain_path, without_packed
from matgraft.potentials.data.reading.formats.output import element
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile, RawFrame

_CONVENTIONS = Conventions("n2p2's input.data", units={"energy": "Hartree", "forces": "Hartree/Bohr"})
_ASSUMED = (
    "the file states no units: Bohr, Hartree and Hartree/Bohr are assumed where nothing else is said; "
    "units.length=Å units.energy=eV units.forces=eV/Å says others"
)
_element = cache(element)
_LINES = ("lattice", "atom", "energy", "charge", "comment")


def is_n2p2(head: FileHead) -> bool:
    """Say whether a file begins with ``begin`` and goes on with lines of an `input.data`."""
    lines = [line.split() for line in head.text[:4000].splitlines()]
    words = [row[0] for row in lines if row and not row[0].startswith("#")][:3]
    return words[:1] == ["begin"] and all(word in _LINES for word in words[1:])


def read_n2p2(path: Path, name: str) -> RawFile:
    """Read the frames, one after another while they are walked over.

    Raises
    ------
    DataError
        On the walk: if a line is none of a frame's, or the file is cut off.
    """
    return RawFile(_frames(path, name), _CONVENTIONS, (_ASSUMED,))


@dataclass
class _Frame:
    """What has been read of a frame."""

    lattice: list[list[float]] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    values: dict[str, float | Array] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def take(self, word: str, words: list[str]) -> None:
        """Take up a line, its first word and the others; raises `ValueError` for what is none of a frame's."""
        if word == "atom":
            self.symbols.append(_element(words[3]))
            self.rows.append([float(x) for x in (*words[:3], *words[4:9])])
        elif word == "lattice":
            self.lattice.append([float(x) for x in words[:3]])
        elif word == "energy":
            self.values["energy"] = float(words[0])
        elif word == "charge":
            self.tags["charge"] = f"{float(words[0]):g}"
        elif word == "comment":
            self.tags["comment"] = " ".join(words)
        else:
            raise ValueError(f"{word!r} is not a word of input.data")

    def finish(self) -> RawFrame:
        """Return the frame; raises `ValueError` if its table is not regular."""
        if len(self.lattice) not in (0, 3):
            raise ValueError(f"{len(self.lattice)} lattice vectors instead of 3")
        table = np.array(self.rows).reshape(len(self.rows), -1)
        cell = np.array(self.lattice) if self.lattice else None
        atoms = Atoms(self.symbols, positions=table[:, :3], cell=cell, pbc=bool(self.lattice))
        if table.shape[1] == 8:
            self.values["forces"] = table[:, 5:]
        return RawFrame(atoms, self.values, self.tags, units={"length": "Bohr"})


def _frames(path: Path, name: str) -> Iterator[RawFrame]:
    frame, index, number = None, 0, 0
    try:
        with open_unpacked(path, name) as file:
            for line in lines(file, name):
                number += 1
                words = line.decode("utf-8", "replace").split()
                if words and words[0].startswith("#"):
                    continue
                if words == ["begin"] and frame is None:
                    frame = _Frame()
                elif words == ["end"] and frame is not None:
                    yield frame.finish()
                    frame, index = None, index + 1
                elif words and frame is not None:
                    frame.take(words[0], words[1:])
                elif words:
                    raise ValueError(f"{words[0]!r} stands outside a frame")
    except UNREADABLE as error:
        raise DataError(f"the file is cut off: {error}", where=f"{name} frame {index}") from error
    except (ValueError, IndexError) as error:
        raise DataError(f"line {number} cannot be read: {error}", where=f"{name} frame {index}") from error
    if frame is not None:
        raise DataError("the file ends in the middle of it: no 'end'", where=f"{name} frame {index}")


def _find(own: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Leave out files beside an `input.data`: n2p2 writes its frames once more, as `train.data` and `test.data`."""
    found = without_packed(own, others)
    whole = {path.parent for path in found if plain_path(path).name == "input.data"}
    return [path for path in found if path.parent not in whole or plain_path(path).name == "input.data"]


N2P2 = Format(_CONVENTIONS.format, is_n2p2, read_n2p2, _find, collects=True)

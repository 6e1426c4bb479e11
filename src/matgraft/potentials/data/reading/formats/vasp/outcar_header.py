"""What an OUTCAR says before its first electronic step: parameters, species, k-mesh and the first structure.

Lists with one entry for each species take several lines where there are many. Of more than ten species, VASP 6 writes
the further numbers of atoms into the fields of a second block ``Dimension of arrays``, one after the other. With
NWRITE = 0 or 1 the titles of the pseudopotentials stand in the lines that begin with ``POTCAR:`` alone.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from matgraft.core.limits import require
from matgraft.core.quantities import Array
from matgraft.potentials.data.reading.formats.vasp.theory import Mesh, Species

# Tags that the level of theory, the temperature and the judgement of convergence need; ENMAX is left out, since there
# it is the pseudopotential's.
_TAGS = (
    *("ENCUT", "ENAUG", "ISMEAR", "SIGMA", "ISPIN", "LNONCOLLINEAR", "LSORBIT", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ"),
    *("GGA", "METAGGA", "LHFCALC", "AEXX", "HFSCREEN", "IVDW", "LVDW", "LUSE_VDW", "Zab_VDW", "BPARAM", "LASPH"),
    *("PARAM1", "PARAM2", "IBRION", "NSW", "TEBEG", "TEEND"),
)
_TAG = re.compile(rf"(?<![A-Z_])({'|'.join(_TAGS)})\s*=\s*([^;=]*)")
_NELM = re.compile(r"(?<![A-Z_])NELM\s*=\s*(\d+)\s*;\s*NELMIN")  # not that of the response functions
_NIONS = re.compile(r"NIONS\s*=\s*(\d+)")
_ICHAIN = re.compile(r"ICHAIN\s*+=?\s*+(\d+)")
_DECIMALS = re.compile(r"-?\d{0,9}\.\d{8,9}")
_FIELD = re.compile(r"=\s*(\d+)")
_LISTS = ("LDAUL", "LDAUU", "LDAUJ")
_A_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?")
_SYMBOL = re.compile(r"[A-Z][a-z]?")
_SHIFT = "Shift w.r.t. Gamma in fractional coordinates"
_WIDTH = 4  # of a count in "ions per type"; wider ones leave no blank between


@dataclass
class Header:
    """What the header says.

    Attributes
    ----------
    words
        Name of a tag in capitals -> its value as words.
    nelm
        Most electronic steps in an ionic one; None where it is not stated.
    species
        In the order of the atoms.
    moved_by_rules
        The transition state tools (VTST) state a method that changes the forces that atoms are moved by, as a dimer's.
    cell, positions
        (3, 3) and (n_atoms, 3) Å of the first structure; None where they are not printed.
    """

    version: str = ""
    words: dict[str, list[str]] = field(default_factory=dict)
    nelm: int | None = None
    species: tuple[Species, ...] = ()
    mesh: Mesh = field(default_factory=Mesh)
    moved_by_rules: bool = False
    cell: Array | None = None
    positions: Array | None = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return sum(kind.count for kind in self.species)

    def symbols(self) -> list[str]:
        """Return the element of each atom."""
        return [kind.element for kind in self.species for _ in range(kind.count)]


def read_header(lines: Sequence[str]) -> Header:
    """Read the lines before the first electronic step.

    Raises
    ------
    ValueError
        If the species and the pseudopotentials do not belong together.
    """
    lists = _Lists()
    header = Header()
    for i, line in enumerate(lines):
        for tag, rest in _TAG.findall(line):
            begun = header.words.get(tag, []) if tag in _LISTS and i and f"{tag} =" in lines[i - 1] else []
            header.words[tag.upper()] = [*begun, *rest.split(), *(_continued(lines, i) if tag in _LISTS else [])]
        for mark, take in _TAKEN.items():
            if mark in line:
                take(header, lists, lines, i)
                break
    header.mesh = Mesh(lists.divisions, lists.offset)
    header.species = _species(_counts(lists.counts, lists.n_ions), lists.titles, lists.listed)
    return header


@dataclass
class _Lists:
    """What stands for itself until the header is whole."""

    titles: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    n_ions: int | None = None
    divisions: tuple[int, int, int] | None = None
    offset: tuple[float, float, float] | None = None


def _take_version(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    header.version = header.version or lines[i].split()[0].removeprefix("vasp.")


def _take_title(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    lists.titles.append(" ".join(lines[i].split("=", 1)[1].split()))


def _take_listed(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    lists.listed.append(" ".join(lines[i].split(":", 1)[1].split()))


def _take_nelm(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    if found := _NELM.search(lines[i]):
        header.nelm = int(found.group(1))


def _take_ions(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    if lists.n_ions is None and (found := _NIONS.search(lines[i])):
        lists.n_ions = int(found.group(1))


def _take_counts(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    if not lists.counts:
        lists.counts = [lines[i].split("=", 1)[1], *_continued_lines(lines, i), *_in_second_block(lines, i)]


def _take_hubbard(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    header.words["LDAU"] = ["T"]


def _take_method(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    if found := _ICHAIN.search(lines[i]):
        header.moved_by_rules = int(found.group(1)) > 0


def _take_divisions(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    x, y, z = (int(word) for word in lines[i].split(":", 1)[1].split()[:3])
    lists.divisions = (x, y, z)


def _take_shift(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    shift = [float(word) % 1.0 for word in lines[i + 1].split()]
    lists.offset = (shift[0], shift[1], shift[2])


def _take_cell(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    header.cell = _rows(lines[i + 1 : i + 4])


def _take_positions(header: Header, lists: _Lists, lines: Sequence[str], i: int) -> None:
    header.positions = _rows(lines[i + 1 : i + 1 + (lists.n_ions or 0)])


_TAKEN = {
    " vasp.": _take_version,
    "TITEL": _take_title,
    " POTCAR:": _take_listed,
    "NELMIN": _take_nelm,
    "NIONS": _take_ions,
    "ions per type": _take_counts,
    "LDA+U is selected": _take_hubbard,
    "ICHAIN": _take_method,
    "generate k-points for:": _take_divisions,
    _SHIFT: _take_shift,
    "direct lattice vectors": _take_cell,
    "position of ions in cartesian coordinates": _take_positions,
}
"""What is looked for in the header -> what takes it up."""


def _continued_lines(lines: Sequence[str], i: int) -> list[str]:
    """Return the lines after the i-th that hold nothing but numbers."""
    end = i + 1
    while end < len(lines) and (words := lines[end].split()) and all(map(_A_NUMBER.fullmatch, words)):
        end += 1
    return list(lines[i + 1 : end])


def _continued(lines: Sequence[str], i: int) -> list[str]:
    return " ".join(_continued_lines(lines, i)).split()


def _in_second_block(lines: Sequence[str], i: int) -> list[str]:
    """Return the numbers of a block ``Dimension of arrays`` that begins right after the i-th line."""
    if "Dimension of arrays" not in " ".join(lines[i + 1 : i + 4]):
        return []
    block = itertools.takewhile(lambda line: "is equivalent" not in line, lines[i + 1 :])
    return _FIELD.findall("\n".join(block))


def _counts(rows: Sequence[str], n_ions: int | None) -> list[int]:
    """Return the numbers of atoms by type; those of four digits may touch each other."""
    counts = [int(word) for row in rows for word in row.split()]
    if n_ions is None or sum(counts) == n_ions:
        return counts
    parts = [row.rstrip() for row in rows]
    split = [int(part[max(end - _WIDTH, 0) : end]) for part in parts for end in _ends(part)]
    if sum(split) != n_ions:
        raise ValueError(f"{sum(counts)} ions by type stand against {n_ions} ions")
    return split


def _ends(row: str) -> list[int]:
    """Return where the fields of a row end, counted from its end, the first field first."""
    ends = range(len(row), 0, -_WIDTH)
    return [end for end in ends if row[max(end - _WIDTH, 0) : end].strip()][::-1]


def _species(counts: Sequence[int], titles: Sequence[str], listed: Sequence[str]) -> tuple[Species, ...]:
    """Put types together: by TITEL, else by the lines ``POTCAR:``, which list all before they repeat each one."""
    require("atoms", sum(counts), "ions")
    n = len(counts)
    named = titles if len(titles) == n else listed[:n]
    if len(named) != n or not n:
        raise ValueError(f"{len(titles) or len(listed)} pseudopotentials stand against {n} types of ions")
    return tuple(Species(_element(title), count, title) for title, count in zip(named, counts, strict=True))


def _element(title: str) -> str:
    """Return the element of ``"PAW_PBE Fe_pv 06Sep2000"``."""
    found = _SYMBOL.match(title.split()[1]) if len(title.split()) > 1 else None
    if found is None:
        raise ValueError(f"no element in the pseudopotential title {title!r}")
    return found.group()


def _rows(lines: Sequence[str]) -> Array | None:
    """Return the first three numbers of each line, which may touch each other; None where some are missing."""
    rows = [[float(word) for word in _DECIMALS.findall(line)[:3]] for line in lines]
    return np.array(rows) if rows and all(len(row) == 3 for row in rows) else None

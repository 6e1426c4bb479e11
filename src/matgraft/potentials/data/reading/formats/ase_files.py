"""Frames of any file that ASE reads: extended XYZ, ASE databases, trajectories, and the rest.

ASE moves what it knows (energy, forces, stress) into a calculator and leaves the rest in `info` and `arrays`; all
three are searched. Extended XYZ is counted through first, because ASE stops at a blank line without a word and its
message for a cut-off file does not say which frame.

>>> next(iter(read_ase(Path("frames.extxyz"), "frames.extxyz").frames)).values["energy"]
-10.8
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ase import Atoms
from ase.db import connect
from ase.io import iread
from ase.io.extxyz import key_val_str_to_dict
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat, open_with_compression

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.formats.base import Format, bare
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile, RawFrame, clean_atoms
from matgraft.potentials.data.reading.stated import stated_units

# ASE unpickles these: a file from a stranger could run code.
_PICKLED = ("bundletrajectory",)
_DATABASES = ("db", "json")
# Of these endings ASE need not be asked: it would take OUTCAR.extxyz for an OUTCAR.
_ENDINGS = {".extxyz": "extxyz", ".xyz": "extxyz", ".traj": "traj", ".db": "db", ".json": "json"}
# Outputs of codes: ASE knows their units. What else it reads holds whatever its writer had in mind.
_OUTPUTS = re.compile(
    r"(abinit|aims|castep|crystal|dftb|espresso|gaussian|gpaw|nwchem|octopus|onetep|orca|siesta|vasp)\b.*"
)
_STRUCTURE = frozenset(("numbers", "positions"))
# ASE takes nothing but nine numbers under these keys of a comment line, and keeps one triangle. Six are common too, so
# the keys are hidden from ASE under a prefix and come out as written.
_HIDDEN = "as-written:"
_STRESS_KEY = re.compile(r"""(?<![^\s"'])(stress|virial)(?=\s*=)""")
# ASE's databases add these to a row; they are neither labels nor groups.
_ROW_KEYS = frozenset(("unique_id", "data", "key_value_pairs"))


def read_ase(path: Path, name: str) -> RawFile:
    """Read the frames of a file through ASE, one after another while they are walked over.

    Parameters
    ----------
    name
        How the file is called in messages.

    Raises
    ------
    DataError
        If the format is not recognised or a frame is cut off; on the walk, if there is none or ASE cannot read it.
    """
    form = _format(path, name)
    if form == "extxyz":
        _count_through(path, name)
    return RawFile(_raw_frames(path, form, name), Conventions(f"ASE's {form}", fixed=bool(_OUTPUTS.match(form))))


def _raw_frames(path: Path, form: str, name: str) -> Iterator[RawFrame]:
    nothing = True
    for atoms in _images(path, form, name):
        nothing = False
        values = _values(atoms)
        yield RawFrame(clean_atoms(atoms), values, units=stated_units(values))
    if nothing:
        raise DataError("the file has no frames", where=name)


def _format(path: Path, name: str) -> str:
    plain = bare(path)
    if plain.suffix.lower() in _ENDINGS:
        return _ENDINGS[plain.suffix.lower()]
    try:
        form = str(filetype(str(path)))
        get_ioformat(form)  # a guess by the file's ending need not be a format
    except (UnknownFileTypeError, *UNREADABLE) as error:
        known = ["extended XYZ", "ASE .db and .traj", "vasprun.xml", "OUTCAR", "JSON records", "what else ASE reads"]
        raise DataError("the format is not recognised", where=name, allowed=known) from error
    if form in _PICKLED:
        raise DataError(f"ASE's {form} format is not read: opening it can run code", where=name)
    return form


def _images(path: Path, form: str, name: str) -> Iterator[Atoms]:
    images = _rows(path, form) if form in _DATABASES else _frames(path, form)
    for index in itertools.count():
        try:
            atoms = next(images, None)
        except Exception as error:  # ASE's hundred parsers raise whatever went wrong in them
            raise DataError(f"ASE cannot read it as {form}: {error}", where=f"{name} frame {index}") from error
        if atoms is None:
            return
        yield atoms


def _frames(path: Path, form: str) -> Iterator[Atoms]:
    every = partial(iread, str(path), ":", format=form, do_not_split_by_at_sign=True)
    return every(properties_parser=_comment) if form == "extxyz" else every()


def _rows(path: Path, form: str) -> Iterator[Atoms]:
    """Walk over a database with what its rows carry beside the atoms, which ASE's own reader leaves behind."""
    with connect(str(path), type=form, use_lock_file=False) as database:
        for row in database.select():
            yield row.toatoms(add_additional_information=True)


def _comment(line: str) -> dict[str, object]:
    return dict(key_val_str_to_dict(_STRESS_KEY.sub(rf"{_HIDDEN}\1", line)))


def _values(atoms: Atoms) -> dict[str, object]:
    """Gather info, arrays and calculator results; where info repeats a name, its copy is called ``"name (info)"``."""
    results = {} if atoms.calc is None else getattr(atoms.calc, "results", {})
    values = {key: value for key, value in results.items() if value is not None}
    values |= {key: value for key, value in atoms.arrays.items() if key not in _STRUCTURE and key not in values}
    for key, value in _flat(atoms.info).items():
        key = key.removeprefix(_HIDDEN)
        values[f"{key} (info)" if key in values else key] = value
    return values


def _flat(info: dict[str, object]) -> dict[str, object]:
    flat = {str(key): value for key, value in info.items() if key not in _ROW_KEYS}
    for part in ("key_value_pairs", "data"):
        inner = info.get(part)
        flat |= dict(inner) if isinstance(inner, dict) else {}
    return flat


def _count_through(path: Path, name: str) -> None:
    """Walk over an extended XYZ file's frames and stop at the first that is not whole.

    Raises
    ------
    DataError
        With the frame and the line, where a frame is cut off, its head is no number of atoms, or frames follow a gap.
    """
    with open_with_compression(str(path), "r") as file:
        try:
            lines = enumerate(file, start=1)
            for frame in itertools.count():
                if not _whole_frame(lines, f"{name} frame {frame}"):
                    return
        except UNREADABLE as error:
            raise DataError(f"the file is not readable text: {error}", where=name) from error


def _whole_frame(lines: Iterator[tuple[int, str]], where: str) -> bool:
    """Pass over one frame; False at the end of the file."""
    number, head = next(lines, (0, ""))
    while head.lstrip().startswith("VEC"):  # ADF's form: cell vectors follow the atoms
        number, head = next(lines, (0, ""))
    if not head.strip():
        later = next((n for n, line in lines if line.strip()), None) if head else None
        if later is not None:
            raise DataError(f"line {number} is blank but line {later} goes on", where=where, remedy="take the gap out")
        return False
    if not head.strip().isdecimal():
        raise DataError(f"line {number} should be a number of atoms, it is {head.strip()[:40]!r}", where=where)
    wanted = int(head) + 1
    there = sum(1 for _ in itertools.islice(lines, wanted))
    if there < wanted:
        raise DataError(f"the file ends in the middle of it: {max(there - 1, 0)} of {wanted - 1} atoms", where=where)
    return True


ASE_FILES = Format("what ASE reads", lambda head: head.path.is_file(), read_ase)

"""Frames of any file that ASE reads: extended XYZ, ASE databases, trajectories, and the rest.

ASE moves what it knows (energy, forces, stress) into a calculator and leaves the rest in `info` and `arrays`; all
three are searched.

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
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.formats.base import Format, plain_path
from matgraft.potentials.data.reading.formats.extxyz import HIDDEN, read_frames
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
        If the format is not recognised; on the walk, if there is no frame, one is cut off, or ASE cannot read it.
    """
    form = _format(path, name)
    return RawFile(_raw_frames(path, form, name), Conventions(f"ASE's {form}", fixed=bool(_OUTPUTS.match(form))))


def _raw_frames(path: Path, form: str, name: str) -> Iterator[RawFrame]:
    nothing = True
    for atoms, values, notes in read_frames(path, name) if form == "extxyz" else _images(path, form, name):
        nothing = False
        if values is None:
            values, atoms = _values(atoms), clean_atoms(atoms)
        yield RawFrame(atoms, values, units=stated_units(values), notes=notes)
    if nothing:
        raise DataError("the file has no frames", where=name)


def _format(path: Path, name: str) -> str:
    plain = plain_path(path)
    if plain.suffix.lower() in _ENDINGS:
        return _ENDINGS[plain.suffix.lower()]
    try:
        form = str(filetype(str(path)))
        get_ioformat(form)  # a guess by the file's ending need not be a format
    except (UnknownFileTypeError, *UNREADABLE) as error:
        known = [
            "outputs of codes and data sets of other programs, as the page of formats lists them",
            "what ASE reads",
        ]
        raise DataError("the format is not recognised", where=name, allowed=known) from error
    if form in _PICKLED:
        raise DataError(f"ASE's {form} format is not read: opening it can run code", where=name)
    return form


def _images(path: Path, form: str, name: str) -> Iterator[tuple[Atoms, None, tuple[str, ...]]]:
    every = partial(iread, str(path), ":", format=form, do_not_split_by_at_sign=True)
    images = _rows(path, form) if form in _DATABASES else every()
    for index in itertools.count():
        try:
            atoms = next(images, None)
        except Exception as error:  # ASE's hundred parsers raise whatever went wrong in them
            raise DataError(f"ASE cannot read it as {form}: {error}", where=f"{name} frame {index}") from error
        if atoms is None:
            return
        yield atoms, None, ()


def _rows(path: Path, form: str) -> Iterator[Atoms]:
    """Walk over a database with what its rows carry beside the atoms, which ASE's own reader leaves behind."""
    with connect(str(path), type=form, use_lock_file=False) as database:
        for row in database.select():
            yield row.toatoms(add_additional_information=True)


def _values(atoms: Atoms) -> dict[str, object]:
    """Gather info, arrays and calculator results; where info repeats a name, its copy is called ``"name (info)"``."""
    results = {} if atoms.calc is None else getattr(atoms.calc, "results", {})
    values = {key: value for key, value in results.items() if value is not None}
    values |= {key: value for key, value in atoms.arrays.items() if key not in _STRUCTURE and key not in values}
    for key, value in _flat(atoms.info).items():
        key = key.removeprefix(HIDDEN)
        values[f"{key} (info)" if key in values else key] = value
    return values


def _flat(info: dict[str, object]) -> dict[str, object]:
    flat = {str(key): value for key, value in info.items() if key not in _ROW_KEYS}
    for part in ("key_value_pairs", "data"):
        inner = info.get(part)
        flat |= dict(inner) if isinstance(inner, dict) else {}
    return flat


ASE_FILES = Format("what ASE reads", lambda head: head.path.is_file(), read_ase)

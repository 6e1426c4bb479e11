"""Frames of any file that ASE reads: extended XYZ, ASE databases, trajectories, and the rest.

ASE moves what it knows (energy, forces, stress) into a calculator and leaves the rest in `info` and `arrays`; all
three are searched.

>>> next(iter(read_ase(Path("frames.extxyz"), "frames.extxyz").frames)).values["energy"]
-10.8
"""

from __future__ import annotations

import collections
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import iread, jsonio
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.limits import exceeded, limits, require
from matgraft.core.machine import TookTooLongError, memory_for_a_file, processor_time
from matgraft.core.unpack import is_packed, lines, open_unpacked, refuse_bomb
from matgraft.potentials.data.reading.formats.base import FileHead, Format, plain_path
from matgraft.potentials.data.reading.formats.extxyz import HIDDEN, read_frames
from matgraft.potentials.data.reading.raw import UNREADABLE, Conventions, RawFile, RawFrame, clean_atoms
from matgraft.potentials.data.reading.stated import stated_units

_READ = frozenset((
    "abinit-in", "abinit-out", "aims", "aims-output", "castep-castep", "castep-geom", "castep-md", "cfg", "cif",
    "cjson", "cmdft", "cp2k-dcd", "cp2k-restart", "crystal", "cube", "dacapo-text", "db", "dftb", "dlp-history",
    "dlp4", "dmol-arc", "dmol-car", "dmol-incoor", "elk", "eon", "espresso-in", "espresso-out", "extxyz",
    "gamess-us-out", "gamess-us-punch", "gaussian-in", "gaussian-out", "gen", "gpaw-out", "gpumd", "gromacs",
    "gromos", "json", "jsv", "lammps-data", "lammps-dump-text", "magres", "mol", "mustem", "nomad-json",
    "nwchem-in", "nwchem-out", "onetep-in", "onetep-out", "orca-output", "prismatic", "proteindatabank", "qbox",
    "res", "rmc6f", "runnerdata", "sdf", "siesta-xv", "struct", "struct_out", "sys", "traj", "turbomole",
    "turbomole-gradient", "v-sim", "vasp", "vasp-out", "vasp-xdatcar", "vasp-xml", "wout", "xsd", "xsf", "xtd",
    "xyz",
))  # fmt: skip
"""Formats of ASE whose readers take data for data: a test looks through their code. Others unpickle
(``bundletrajectory``), start programs (``castep-cell``), ask servers (``mysql``), or come from other packages."""
_DATABASES = ("db", "json")
# Of these endings ASE need not be asked: it would take OUTCAR.extxyz for an OUTCAR.
_ENDINGS = {".extxyz": "extxyz", ".xyz": "extxyz", ".traj": "traj", ".db": "db", ".json": "json"}
# Outputs of codes: ASE knows their units. What else it reads holds whatever its writer had in mind.
_OUTPUTS = re.compile(
    r"(abinit|aims|castep|crystal|dftb|espresso|gaussian|gpaw|nwchem|octopus|onetep|orca|siesta|vasp)\b.*"
)
_LONG_LINES = frozenset(("cjson", "nomad-json", "vasp-xml", "xsd", "xtd", "xyz"))
"""Formats whose lines may have any length: JSON, XML, and a comment. The readers of the others look for patterns in a
line, some by work that grows as the square of its length: `.res` takes 17 s for 40 kB."""
_UNPACKED_BY_ASE = (".gz", ".bz2", ".xz")
_TOLD = 1000
_SECONDS_A_MIB = 20
_STRUCTURE = frozenset(("numbers", "positions"))
# ASE's databases add these to a row; they are neither labels nor groups.
_ROW_KEYS = frozenset(("unique_id", "data", "key_value_pairs"))


def _as_many_as_said(shape: Sequence[int], dtype: str, data: object) -> NDArray[Any]:
    """Return an array of ASE's JSON. ASE takes memory for any shape, and fills it with what there is."""
    if int(np.prod(shape, dtype=object)) > np.size(np.asarray(data)):
        raise ValueError(f"an array has not the {shape} numbers that it says")
    return np.asarray(_ARRAY(shape, dtype, data))


_ARRAY = jsonio.create_ndarray
jsonio.create_ndarray = _as_many_as_said


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
        head = FileHead(path)
        start = io.BytesIO(head.start)
        start.name = str(path.with_name(head.name))  # ASE looks at names, too
        form = str(filetype(start))
        get_ioformat(form)  # a guess by the file's ending need not be a format
    except (UnknownFileTypeError, *UNREADABLE) as error:
        known = [
            "outputs of codes and data sets of other programs, as the page of formats lists them",
            "what ASE reads",
        ]
        raise DataError("the format is not recognised", where=name, allowed=known) from error
    if form not in _READ:
        raise DataError(
            f"ASE's {form} format is not read: opening it can run code, or leads elsewhere",
            where=name,
            remedy="convert it into extended XYZ where it is trusted",
        )
    return form


def read_structures(path: Path) -> list[Atoms]:
    """Return the frames of a file with all that ASE keeps of them; errors are those of `read_ase`."""
    return [atoms for atoms, _, _ in _images(path, _format(path, str(path)), str(path))]


def _images(path: Path, form: str, name: str) -> Iterator[tuple[Atoms, None, tuple[str, ...]]]:
    """Walk over the frames that one of ASE's hundred parsers finds; what it makes of a bad file is bounded."""
    size = path.stat().st_size
    images = _rows(path, form) if form in _DATABASES else _parsed(path, form, name)
    for index in itertools.count():
        try:
            with memory_for_a_file(size), processor_time(limits().parser_seconds + _SECONDS_A_MIB * size / 2**20):
                atoms = next(images, None)
        except DataError:
            raise
        except TookTooLongError:
            found = f"ASE's reader of {form} does not come to an end"
            raise exceeded("parser_seconds", found, f"{name} frame {index}") from None
        except MemoryError as error:
            found = f"ASE's reader of {form} asks for more memory than the file can need"
            raise DataError(found, where=f"{name} frame {index}") from error
        except Exception as error:  # they raise whatever went wrong in them
            raise DataError(
                f"ASE cannot read it as {form}: {str(error) or type(error).__name__}", where=f"{name} frame {index}"
            ) from error
        if atoms is None:
            return
        yield atoms, None, ()


def _parsed(path: Path, form: str, name: str) -> Iterator[Atoms]:
    """Walk over a file that is opened here, so that its packed bytes are bounded, and reading on at its end is."""
    known = get_ioformat(form)
    every = partial(iread, index=":", format=form, do_not_split_by_at_sign=True)
    longest = "line_bytes" if form in _LONG_LINES else "output_line_bytes"
    if form == "cif" or not (known.acceptsfd or known.isbinary):  # ASE reads the lines itself
        with open_unpacked(path, name) as file:
            collections.deque(lines(file, name, longest), maxlen=0)
    if not known.acceptsfd:
        if is_packed(path) and path.suffix.lower() not in _UNPACKED_BY_ASE:
            raise DataError(f"ASE reads {form} from plain files", where=name, remedy="unpack it")
        refuse_bomb(path, name)
        yield from every(str(path))
    elif known.isbinary:
        with open_unpacked(path, name) as file:
            yield from every(file)
    else:
        with _Ending(open_unpacked(path, name), encoding="utf-8", errors="replace") as text:
            text.longest = longest
            yield from every(text)


class _Ending(io.TextIOWrapper):
    """A text whose end is told a thousand times and no more: some readers wait at it for what never comes.

    Its lines are bounded as those of `matgraft.core.unpack.lines`.
    """

    told = blank = 0
    longest = "line_bytes"

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        line = super().readline(size if size >= 0 else getattr(limits(), self.longest) + 1)
        if not line:
            self.told += 1
            if self.told > _TOLD:
                raise EOFError("the file ends too early")
        require(self.longest, len(line), "bytes in a line")
        self.blank = self.blank + 1 if line.isspace() else 0
        require("blank_lines", self.blank, "blank lines in a row")
        return line

    def read(self, size: int | None = -1, /) -> str:
        return "".join(self) if size is None or size < 0 else super().read(size)

    def __next__(self) -> str:  # type: ignore[override]
        if not (line := self.readline()):
            raise StopIteration
        return line


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

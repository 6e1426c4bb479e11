"""NumPy archives ``.npz`` of molecules, as MD17, its revisions and sGDML ship them.

| layout          | species           | positions | energies   | forces   | unit where the file states none |
| --------------- | ----------------- | --------- | ---------- | -------- | ------------------------------- |
| MD17, MD22      | z                 | R         | E          | F        | kcal/mol, kcal/mol/Å            |
| rMD17           | nuclear_charges   | coords    | energies   | forces   | kcal/mol, kcal/mol/Å            |
| any other names | see `_NAMES`      |           |            |          | asked for                       |

sGDML writes its units into ``e_unit`` and ``r_unit``. Positions are (frames, atoms, 3) Å; species (atoms,), or (frames,
atoms) with zeros at the end for no atom; atomic numbers, symbols, or numbers of types from 0, whose elements are asked
for. Nothing is unpickled, and the size of every array is checked before memory is taken.
Source: quantum-machine.org, the readme of rMD17, the documentation of sGDML.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.lib import format as npy
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.core.machine import available_memory
from matgraft.core.unpack import read_whole
from matgraft.potentials.data.reading.formats.base import FileHead, Format
from matgraft.potentials.data.reading.raw import COMPRESSED, Conventions, RawFile, RawFrame

_NAMES = {
    "species": ("z", "nuclear_charges", "atomic_numbers", "numbers", "species", "charges"),
    "positions": ("r", "coords", "coordinates", "positions", "pos"),
    "cell": ("cell", "cells", "lattice", "lattices", "box"),
    "energy": ("e", "energies"),
    "forces": ("f",),
}
"""What an array is -> its names in lower case. Labels under their usual names are found as in any file."""
_LAYOUTS = {"MD17": ("z", "R", "E", "F"), "rMD17": ("nuclear_charges", "coords", "energies", "forces")}
_FORMAT = "an .npz archive"
_MD17 = {"energy": "kcal/mol", "forces": "kcal/mol/Å"}
_SYSTEMS = (
    {"energy": "eV", "forces": "eV/Å"},
    _MD17,
    {"energy": "Hartree", "forces": "Hartree/Bohr"},
)
_ENERGY_UNITS = {"kcal/mol": "kcal/mol", "kcal mol-1": "kcal/mol", "ev": "eV", "hartree": "Hartree", "ha": "Hartree"}
_LENGTH_UNITS = {"ang": "Å", "angstrom": "Å", "å": "Å", "a": "Å", "bohr": "Bohr", "a.u.": "Bohr", "au": "Bohr"}


class _Units(NamedTuple):
    """Units that each frame states, and conventions and notes of the file."""

    stated: dict[str, str]
    conventions: Conventions
    notes: tuple[str, ...] = ()


def read_npz(path: Path, name: str) -> RawFile:
    """Read the frames of an archive.

    Raises
    ------
    DataError
        If it is damaged, larger than the memory, holds pickled objects, or has no species and positions.
    """
    arrays = _arrays(path, name)
    written = {key.lower(): key for key in reversed(arrays)}
    roles = {role: next((written[name] for name in names if name in written), "") for role, names in _NAMES.items()}
    missing = [role for role in ("species", "positions") if not roles[role]]
    if missing:
        allowed = [f"{role}: {', '.join(_NAMES[role])}" for role in missing]
        raise DataError(
            f"no array holds {' or '.join(missing)}; there are {', '.join(arrays)}", where=name, allowed=allowed
        )
    arrays[roles["species"]] = _as_numbers(arrays[roles["species"]], name)
    if arrays[roles["positions"]].ndim == 2:  # one frame, without the axis of frames
        arrays = {key: array if key == roles["species"] else array[None] for key, array in arrays.items()}
    positions, species = arrays[roles["positions"]], arrays[roles["species"]]
    n_frames = len(positions) if positions.ndim == 3 else 0
    if positions.shape[2:] != (3,) or species.shape not in (positions.shape[1:2], positions.shape[:2]):
        raise DataError(
            f"{roles['species']} has the shape {species.shape}, {roles['positions']} {positions.shape}",
            where=name,
            allowed=["(atoms,) or (frames, atoms), and (frames, atoms, 3)"],
        )
    units = _units(arrays, name)
    frames = tuple(_frames(arrays, roles, units.stated, n_frames))
    return RawFile(frames, units.conventions, units.notes)


def _arrays(path: Path, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of the archive, each checked before it is loaded."""
    try:
        with _seekable(path, name) as file, zipfile.ZipFile(file) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            needed, free = sum(info.file_size for info in members), available_memory().bytes
            if needed > free:
                raise DataError(
                    f"its arrays take {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free", where=name
                )
            return {info.filename.removesuffix(".npy"): _array(archive, info) for info in members}
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError) as error:
        raise DataError(f"it cannot be read: {error}", where=name, remedy="was the file cut off?") from error


def _seekable(path: Path, name: str) -> IO[bytes]:
    """Open an archive, which is read from its end; one that was packed once more is held in memory."""
    packed = path.suffix.lower() in COMPRESSED
    return io.BytesIO(read_whole(path, "whole_bytes", name)) if packed else path.open("rb")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as member:
        header = npy.read_array_header_1_0 if npy.read_magic(member) == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(member)
        if not dtype.hasobject and int(np.prod(shape, dtype=object)) * dtype.itemsize > info.file_size:
            raise ValueError(f"{info.filename} has not the {shape} numbers that it says")
    with archive.open(info) as member:
        return np.asarray(npy.read_array(member, allow_pickle=False))


def _units(arrays: Mapping[str, NDArray[Any]], name: str) -> _Units:
    said = {
        key: str(arrays[key].item()).strip() for key in ("e_unit", "r_unit") if key in arrays and arrays[key].size == 1
    }
    length = _LENGTH_UNITS.get(said.get("r_unit", "Ang").lower())
    energy = _ENERGY_UNITS.get(said["e_unit"].lower()) if "e_unit" in said else ""
    if length is None or energy is None:
        allowed = [f"e_unit: {', '.join(_ENERGY_UNITS)}", f"r_unit: {', '.join(_LENGTH_UNITS)}"]
        raise DataError(f"its units are {said}", where=name, allowed=allowed)
    stated = {"length": length} if "r_unit" in said else {}
    if energy:
        return _Units(stated | {"energy": energy, "forces": f"{energy}/{length}"}, Conventions(_FORMAT))
    for layout, keys in _LAYOUTS.items():
        if set(keys) <= arrays.keys() and "N" not in arrays:
            note = f"the arrays of {layout}: energies are read as kcal/mol, forces as kcal/mol/Å"
            note += "; units.energy and units.forces say others"
            return _Units(stated, Conventions(_FORMAT, units=_MD17), (note,))
    return _Units(stated, Conventions(_FORMAT, systems=_SYSTEMS))


def _as_numbers(species: NDArray[Any], name: str) -> NDArray[np.int_]:
    """Return species as whole numbers; symbols become atomic numbers, and "" no atom."""
    if species.dtype.kind in "US":
        symbols, places = np.unique(species.astype(str), return_inverse=True)
        if wrong := [symbol for symbol in symbols.tolist() if symbol and symbol not in atomic_numbers]:
            raise DataError(f"{wrong[0]!r} is not an element", where=name)
        return np.array([atomic_numbers.get(symbol, 0) for symbol in symbols.tolist()])[places].reshape(species.shape)
    if species.dtype.kind not in "iuf" or (species != np.round(species)).any() or (species > 118).any():
        raise DataError(f"species are not atomic numbers: {species.ravel()[:4].tolist()}", where=name)
    return species.astype(int)


def _are_types(species: NDArray[np.int_]) -> bool:
    """Say whether species are numbers of types from zero; in rows that are filled up, zeros stand at the end."""
    if species.ndim == 1:
        return bool((species <= 0).any())
    return bool(((species[:, :-1] <= 0) & (species[:, 1:] > 0)).any())


def _frames(
    arrays: Mapping[str, NDArray[Any]], roles: Mapping[str, str], stated: Mapping[str, str], n_frames: int
) -> Iterator[RawFrame]:
    species, positions, cells = arrays[roles["species"]], arrays[roles["positions"]], arrays.get(roles["cell"])
    typed = _are_types(species)
    known = {key: role for role, key in roles.items() if role in ("energy", "forces")}
    others = [key for key in arrays if key not in (roles["species"], roles["positions"], roles["cell"])]
    constant = {key: str(arrays[key].item()) for key in ("name", "theory") if key in arrays and arrays[key].size == 1}
    for index in range(n_frames):
        numbers = species if species.ndim == 1 else species[index]
        real = numbers >= 0 if typed else numbers > 0
        cell = None if cells is None else np.reshape(cells[index] if cells.size == 9 * n_frames else cells, (3, 3))
        kinds = numbers[real]
        atoms = Atoms(kinds * (not typed), positions[index][real], cell=cell, pbc=cell is not None)
        rows = {known.get(key, key): arrays[key][index] for key in others if arrays[key].shape[:1] == (n_frames,)}
        values = {key: row[real] if row.shape[:1] == real.shape else row for key, row in rows.items()}
        yield RawFrame(atoms, values, constant, stated, types=tuple(map(int, kinds)) if typed else ())


def _recognises(head: FileHead) -> bool:
    return head.start[:4] == b"PK\x03\x04" and b".npy" in head.start[:256]


NPZ = Format("npz archives", _recognises, read_npz)

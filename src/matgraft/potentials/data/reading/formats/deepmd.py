"""DeePMD-kit's systems: a folder with ``type.raw``, and folders ``set.*`` of ``.npy`` arrays or ``.raw`` text files.

| file                    | shape                    | unit                                                  |
| ----------------------- | ------------------------ | ----------------------------------------------------- |
| coord, box              | (frames, 3 n), (frames, 9) | Å; ``nopbc``: no box counts                         |
| energy                  | (frames,)                | eV, of the cell                                       |
| force                   | (frames, 3 n)            | eV/Å                                                  |
| virial                  | (frames, 9)              | eV, minus the volume times ASE's stress               |
| real_atom_types         | (frames, n)              | types of a mixed system; -1 is no atom                |

``type_map.raw`` names the types; without it the user does. Arrays are mapped, not loaded, and never unpickled.
Source: DeePMD-kit's documentation, "Data".
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.asked import element_of
from matgraft.potentials.data.reading.formats.base import FileHead, Format
from matgraft.potentials.data.reading.raw import Conventions, RawFile, RawFrame

_CONVENTIONS = Conventions("a DeePMD folder", units={"energy": "eV", "force": "eV/Å"})
_PER_ATOM = {"coord": 3, "force": 3, "spin": 3, "force_mag": 3, "real_atom_types": 1}
_PER_FRAME = {"box": 9, "energy": 1, "virial": 9}
_STRUCTURE = ("coord", "box", "real_atom_types")
_Arrays = Mapping[str, NDArray[Any]]  # stem of the file -> (frames, ...)


def read_deepmd(path: Path, name: str) -> RawFile:
    """Read a system, or one of its sets.

    Raises
    ------
    DataError
        If a file is missing or damaged, or shapes contradict each other.
    """
    system, sets = (path.parent, [path]) if _is_set(path) else (path, sorted(filter(_is_set, path.glob("set.*"))))
    types = _numbers(system / "type.raw", name, int).ravel().astype(int)
    labels = (
        (system / "type_map.raw").read_text(encoding="utf-8").split() if (system / "type_map.raw").is_file() else []
    )
    parts = [_set_arrays(one, f"{name}/{one.name}" if system == path else name) for one in sets]
    parts = parts or [_raw_arrays(system, name)]
    periodic = not (system / "nopbc").exists()
    for arrays, where in zip(parts, [f"{name}/{one.name}" for one in sets] or [name], strict=True):
        _check(arrays, len(types), periodic, where)
    elements = [element_of(label) for label in labels]
    frames = partial(_frames, types=types, elements=elements if all(elements) else [], periodic=periodic, name=name)
    files = [file for folder in (system, *sets) for file in sorted(folder.glob("*.raw")) + sorted(folder.glob("*.npy"))]
    return RawFile(tuple(frames(parts)), _CONVENTIONS, _notes(system, sets, labels, elements), others=tuple(files))


def _notes(system: Path, sets: Sequence[Path], labels: Sequence[str], elements: Sequence[str]) -> tuple[str, ...]:
    notes = ["coord.raw and its like are ignored: the sets of .npy hold the frames"] * bool(
        sets and (system / "coord.raw").is_file()
    )
    other = [
        f"{label} as {element}" for label, element in zip(labels, elements, strict=True) if element not in (label, "")
    ]
    notes += [f"types are taken by their names: {', '.join(other)}"] if other and all(elements) else []
    return tuple(notes)


def _set_arrays(folder: Path, where: str) -> _Arrays:
    arrays = {}
    for file in sorted(folder.glob("*.npy")):
        try:
            arrays[file.stem] = np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"it cannot be read: {error}", where=f"{where}/{file.name}") from error
    return arrays


def _raw_arrays(system: Path, name: str) -> _Arrays:
    stems = [stem for stem in (*_PER_ATOM, *_PER_FRAME) if (system / f"{stem}.raw").is_file()]
    return {stem: _numbers(system / f"{stem}.raw", name, float) for stem in stems}


def _numbers(file: Path, name: str, kind: type) -> NDArray[Any]:
    """Read a text file of numbers as rows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an empty file: its shape says it
            return np.loadtxt(file, dtype=kind, ndmin=2)
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"it cannot be read: {error}", where=f"{name}/{file.name}") from error


def _check(arrays: _Arrays, n_atoms: int, periodic: bool, where: str) -> None:
    """Raise unless every known array has a row a frame, of the length that its kind has."""
    missing = [stem for stem in ("coord", *(["box"] if periodic else [])) if stem not in arrays]
    if missing:
        remedy = "a system without cell has an empty file nopbc beside type.raw" if missing == ["box"] else ""
        raise DataError(f"there is no {' and no '.join(missing)}", where=where, remedy=remedy)
    n_frames = len(arrays["coord"])
    widths = {stem: width * n_atoms for stem, width in _PER_ATOM.items()} | _PER_FRAME
    for stem, width in widths.items():
        if stem in arrays and (len(arrays[stem]) != n_frames or arrays[stem].size != n_frames * width):
            raise DataError(
                f"{stem} has the shape {arrays[stem].shape}",
                where=where,
                allowed=[f"({n_frames}, {width}): {n_frames} frames in coord, {n_atoms} atoms in type.raw"],
            )
    if not n_frames:
        raise DataError("it has no frames", where=where)


def _frames(
    parts: Sequence[_Arrays], types: NDArray[np.int_], elements: Sequence[str], periodic: bool, name: str
) -> Iterator[RawFrame]:
    for arrays in parts:
        for index in range(len(arrays["coord"])):
            rows = {
                stem: np.array(array[index]) for stem, array in arrays.items() if len(array) == len(arrays["coord"])
            }
            own = rows["real_atom_types"].ravel().astype(int) if "real_atom_types" in rows else types
            yield _frame(rows, own, elements, periodic, f"{name} frame {index}")


def _frame(
    rows: Mapping[str, NDArray[Any]], types: NDArray[np.int_], elements: Sequence[str], periodic: bool, where: str
) -> RawFrame:
    real = types >= 0
    n_atoms, n_kept = len(types), int(real.sum())
    if elements and types.max(initial=-1) >= len(elements):
        allowed = [f"0 to {len(elements) - 1}, as type_map.raw names"]
        raise DataError(f"an atom has the type {types.max()}", where=where, allowed=allowed)
    values: dict[str, NDArray[Any]] = {}
    for stem, row in rows.items():
        by_atom = row.reshape(n_atoms, -1)[real] if stem in _PER_ATOM else row
        values[stem] = by_atom if stem in _PER_ATOM else row.reshape(3, 3) if stem == "virial" else row
    cell = rows["box"].reshape(3, 3) if periodic else None
    numbers = [atomic_numbers[elements[kind]] for kind in types[real]] if elements else np.zeros(n_kept, dtype=int)
    atoms = Atoms(numbers=numbers, positions=values["coord"], cell=cell, pbc=periodic)
    labels = {stem: value for stem, value in values.items() if stem not in _STRUCTURE}
    return RawFrame(atoms, labels, types=() if elements else tuple(map(int, types[real])))


def _is_set(path: Path) -> bool:
    return path.name.startswith("set.") and (path / "coord.npy").is_file()


def _is_system(path: Path) -> bool:
    return path.is_dir() and ((path / "coord.raw").is_file() or any(path.glob("set.*/coord.npy")))


def _find(own: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Return the systems; a set is a part of its system."""
    systems = set(own)
    return [path for path in own if path.parent not in systems]


def _recognises(head: FileHead) -> bool:
    return _is_set(head.path) or _is_system(head.path)


DEEPMD = Format("DeePMD folders", _recognises, read_deepmd, _find, collects=True)

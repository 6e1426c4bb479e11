"""JSON records of structures with their outputs, as published sets ship them: one JSON text, or one a line.

Four shapes are known, and told apart by where the structures stand:

    [{"structure": {...}, "outputs": {"energy": ..., "forces": ..., "virial_stress": [6]}, "tag": ...}, ...]   mlearn
    {"mp-1": {"graph-1": {"structure": {...}, "energy_per_atom": ..., "force": ..., "stress": [[3], [3], [3]]}}}   MPtrj
    {"structure": [{...}, ...], "energy_per_atom": [...], "force": [...], "stress": [...]}   CHGNet's VASP parser
    {"numbers": [...], "positions": [[3], ...], "cell": [[3], [3], [3]], "energy": ..., "stress": [6]}   ASE's words

Of the first three the stress is VASP's as printed: kBar, against ASE's sign; mlearn's six components stand as xx yy zz
xy yz zx, MatPES's as xx yy zz yz xz xy. Of the last it is ASE's, in eV/Å³. Magnetic moments stand under ``magmom``, or
with the sites of the structure. JSON is parsed as plain data: no class that it names is ever loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from matgraft.core.errors import DataError
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.core.texts import parse_json, parse_json_lines
from matgraft.core.unpack import read_whole
from matgraft.potentials.data.reading.formats.ase_files import read_ase
from matgraft.potentials.data.reading.formats.base import FileHead, Format
from matgraft.potentials.data.reading.formats.functionals import named
from matgraft.potentials.data.reading.raw import VASP_SHEAR, Conventions, RawFile, RawFrame
from matgraft.potentials.data.reading.stated import stated_units

_CONVENTIONS = Conventions(
    "JSON records", {"stress": "-kBar", "virial_stress": "-kBar"}, orders={"virial_stress": VASP_SHEAR}
)
_FORMS = [
    "a list of {structure, outputs}",
    "{id: {id: {structure, ...}}}",
    "{structure: [...], energy: [...], ...}",
    "records with positions and numbers",
    "any of them, one a line",
]
_SITES = {
    "positions": ("positions", "cartesian_site_positions", "pos"),
    "species": ("numbers", "atomic_numbers", "symbols", "species_at_sites", "species"),
    "cell": ("cell", "lattice_vectors", "lattice"),
}
"""What a record without a structure has in its place -> its names."""
_ISOTOPES = {"D": "H", "T": "H"}
_FULL = 1e-8
"""Differences of an occupation from 1 that rounding leaves."""
_Record = tuple[tuple[str, ...], dict[str, object]]  # the keys that lead to a record, and the record


def read_json(path: Path, name: str) -> RawFile:
    """Read the records of a JSON file; ASE's own JSON database goes to `read_ase`.

    Raises
    ------
    DataError
        If it is no JSON, holds no structures, or a structure is broken.
    """
    content = _load(path, name)
    if isinstance(content, dict) and {"ids", "nextid"} <= content.keys():
        return read_ase(path, name)
    frames = tuple(
        record_frame(keys, record, f"{name} frame {index}")
        for index, (keys, record) in enumerate(_records(content, name))
    )
    if not frames:
        raise DataError("no record with a structure is in it", where=name, allowed=_FORMS)
    theories = {frame.theory.key() if frame.theory else None for frame in frames}
    return RawFile(frames, _CONVENTIONS, theory=frames[0].theory if len(theories) == 1 else None)


def _load(path: Path, name: str) -> Any:
    content = read_whole(path, "whole_bytes", name)
    try:
        return parse_json(content, name)
    except ValueError as error:
        found = f"it is not valid JSON: {error}"
        if not isinstance(error, json.JSONDecodeError) or error.msg != "Extra data":
            raise DataError(found, where=name, remedy="was the file cut off?") from error
    try:
        return [value for _, value in parse_json_lines(content, name)]
    except ValueError as error:
        raise DataError(str(error), where=name, remedy="was the file cut off?") from error


def _records(content: Any, name: str, path: tuple[str, ...] = ()) -> Iterator[_Record]:
    """Walk down to every mapping that has a structure, in the file's order."""
    if isinstance(content, dict) and isinstance(content.get("structure"), list):
        yield from _columns(content, name, path)
    elif isinstance(content, dict) and ("structure" in content or _has_sites(content)):
        yield path, content
    elif isinstance(content, (dict, list)):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, inner in items:
            if not isinstance(inner, (dict, list)):
                raise DataError(f"{key!r} is not a record but {str(inner)[:40]!r}", where=name, allowed=_FORMS)
            yield from _records(inner, name, (*path, key) if isinstance(key, str) else path)


def _columns(content: dict[str, object], name: str, path: tuple[str, ...]) -> Iterator[_Record]:
    columns = {key: value for key, value in content.items() if isinstance(value, list) and value}
    n = len(columns.get("structure", ()))
    for key, value in columns.items():
        if len(value) != n:
            raise DataError(f"{key!r} has {len(value)} entries for {n} structures", where=name)
    for index in range(n):
        yield path, {key: value[index] for key, value in columns.items()}


def record_frame(path: tuple[str, ...], record: Mapping[str, Any], where: str) -> RawFrame:
    """Return the frame of a record, with all that stands in it beside its structure.

    Parameters
    ----------
    path
        Keys that lead to the record.

    Raises
    ------
    DataError
        If its structure is broken, or a value is none that a record has.
    """
    try:
        return _frame(path, record, where)
    except DataError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DataError(f"a record cannot be read: {error!r}", where=where) from error


def _frame(path: tuple[str, ...], record: Mapping[str, Any], where: str) -> RawFrame:
    if "structure" in record:
        atoms, taken, units = _atoms(record["structure"], where), {"structure"}, {}
    else:
        atoms, taken = _sites(record, where)
        units = {"stress": "eV/Å³"}
    outputs, source = record.get("outputs"), record.get("provenance")
    values = {str(key): value for key, value in record.items() if key not in taken | {"outputs", "provenance"}}
    values |= outputs if isinstance(outputs, dict) else {}
    values |= source if isinstance(source, dict) else {}
    if not {"magmom", "magmoms"} & values.keys() and (moments := _moments(record.get("structure"))):
        values["magmoms"] = moments
    tags = {"trajectory": path[0]} if len(path) > 1 else {}
    tags |= {"record": path[-1]} if path else {}
    if "matpes_id" in record and values.get("original_mp_id"):
        tags["trajectory"] = str(values["original_mp_id"])  # frames of one material come from one simulation
    theory = None
    if "matpes_id" in record and isinstance(functional := record.get("functional"), str):
        theory = LevelOfTheory(code="VASP", **named(functional))
    stated = stated_units(values)
    if "structure" in record:
        stated.pop("stress", None)  # a record that names kBar still has VASP's sign
    return RawFrame(atoms, {key: _plain(value) for key, value in values.items()}, tags, units | stated, theory=theory)


def _has_sites(content: Mapping[str, Any]) -> bool:
    return all(any(name in content for name in _SITES[part]) for part in ("positions", "species"))


def _sites(record: Mapping[str, Any], where: str) -> tuple[Atoms, set[str]]:
    """Return the structure that a record has in plain arrays, and the keys it is made from."""
    keys = {part: next((name for name in names if record.get(name) is not None), "") for part, names in _SITES.items()}
    positions, species, cell = (_plain(record[key]) if key else None for key in keys.values())
    periodic = _plain(record.get("pbc", bool(np.any(cell))))
    try:
        return Atoms(species, positions=positions, cell=cell, pbc=periodic), {*keys.values(), "pbc"}
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"its structure cannot be read: {error!r}", where=where) from error


def _plain(value: Any) -> Any:
    """Return an array that ASE wrote into JSON as nested lists or numbers; anything else as it is."""
    if isinstance(value, dict) and isinstance(array := value.get("__ndarray__"), list) and len(array) == 3:
        return np.reshape(array[2], array[0])
    if isinstance(value, dict) and value.get("__ase_objtype__") == "cell":
        return _plain(value.get("array"))
    return value


def _atoms(structure: Any, where: str) -> Atoms:
    """Return a structure that pymatgen wrote.

    It is read here and not by pymatgen, which imports whatever module the properties of a site name, and calls it.
    """
    try:
        cell = _cell(structure["lattice"])
        sites = structure["sites"]
        species = [[(str(one["element"]), float(one["occu"])) for one in site["species"]] for site in sites]
        fractional = np.array([site["abc"] for site in sites], dtype=float).reshape(len(sites), 3)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise DataError(f"its structure cannot be read: {error!r}", where=where) from error
    if partly := [site for site in species if len(site) != 1 or abs(site[0][1] - 1) > _FULL]:
        shown = ", ".join(f"{symbol} {part:g}" for symbol, part in partly[0])
        raise DataError(f"its structure has partly occupied sites: {shown}", where=where)
    symbols = [_ISOTOPES.get(site[0][0], site[0][0]) for site in species]
    if unknown := next((symbol for symbol in symbols if symbol not in atomic_numbers), None):
        raise DataError(f"its structure cannot be read: {unknown!r} is not an element", where=where)
    return Atoms(symbols, positions=fractional @ cell, cell=cell, pbc=True)


def _cell(lattice: Any) -> Array:
    """Return cell vectors as rows, (3, 3) Å, of pymatgen's lattice: a matrix, or lengths and angles."""
    if "matrix" in lattice:
        return np.array(lattice["matrix"], dtype=float).reshape(3, 3)
    from pymatgen.core import Lattice  # half a second to import, and most records have a matrix

    edges = [float(lattice[name]) for name in ("a", "b", "c", "alpha", "beta", "gamma")]
    return np.array(Lattice.from_parameters(*edges).matrix)


def _moments(structure: Any) -> list[float]:
    """Return the magnetic moments that pymatgen keeps with the sites; empty where not every site has one."""
    sites = structure.get("sites", ()) if isinstance(structure, dict) else ()
    kept = [site.get("properties") for site in sites if isinstance(site, dict)]
    moments = [own.get("magmom") if isinstance(own, dict) else None for own in kept]
    known = [float(moment) for moment in moments if isinstance(moment, (int, float))]
    return known if len(known) == len(sites) else []


def _recognises(head: FileHead) -> bool:
    """Say whether a file is JSON: by its ending, or by how it begins."""
    ending = head.name.lower().endswith((".json", ".jsonl", ".ndjson"))
    return ending or re.match(r"\s*+(\[\s*+)?\{\s*+\"", head.text) is not None


RECORDS = Format("JSON records", _recognises, read_json)

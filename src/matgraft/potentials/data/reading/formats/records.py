"""JSON records of pymatgen structures with their outputs, as published sets ship them.

Three shapes are known, and told apart by where the structures stand:

    [{"structure": {...}, "outputs": {"energy": ..., "forces": ..., "virial_stress": [6]}, "tag": ...}, ...]   mlearn
    {"mp-1": {"graph-1": {"structure": {...}, "energy_per_atom": ..., "force": ..., "stress": [[3], [3], [3]]}}}   MPtrj
    {"structure": [{...}, ...], "energy_per_atom": [...], "force": [...], "stress": [...]}   CHGNet's VASP parser

Their stress is VASP's as printed: kBar, against ASE's sign; mlearn's six components stand as xx yy zz xy yz zx. JSON is
parsed as plain data: no class named in it is ever loaded except a structure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io.formats import open_with_compression

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.formats.ase_files import read_ase
from matgraft.potentials.data.reading.formats.base import Format
from matgraft.potentials.data.reading.raw import UNREADABLE, VASP_SHEAR, Conventions, RawFile, RawFrame

_CONVENTIONS = Conventions(
    "JSON records", {"stress": "-kBar", "virial_stress": "-kBar"}, orders={"virial_stress": VASP_SHEAR}
)
_FORMS = ["a list of {structure, outputs}", "{id: {id: {structure, ...}}}", "{structure: [...], energy: [...], ...}"]
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
        _frame(keys, record, f"{name} frame {index}") for index, (keys, record) in enumerate(_records(content, name))
    )
    if not frames:
        raise DataError("no record with a structure is in it", where=name, allowed=_FORMS)
    return RawFile(frames, _CONVENTIONS)


def _load(path: Path, name: str) -> Any:
    try:
        with open_with_compression(str(path), "r") as file:
            return json.load(file)
    except json.JSONDecodeError as error:
        raise DataError(f"it is not valid JSON: {error}", where=name, remedy="was the file cut off?") from error
    except (RecursionError, *UNREADABLE) as error:
        raise DataError(f"it cannot be read: {error}", where=name) from error


def _records(content: Any, name: str, path: tuple[str, ...] = ()) -> Iterator[_Record]:
    """Walk down to every mapping that has a structure, in the file's order."""
    if isinstance(content, dict) and isinstance(content.get("structure"), list):
        yield from _columns(content, name, path)
    elif isinstance(content, dict) and "structure" in content:
        yield path, content
    elif isinstance(content, (dict, list)):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, inner in items:
            if not isinstance(inner, (dict, list)):
                raise DataError(f"{key!r} is no record but {str(inner)[:40]!r}", where=name, allowed=_FORMS)
            yield from _records(inner, name, (*path, key) if isinstance(key, str) else path)


def _columns(content: dict[str, object], name: str, path: tuple[str, ...]) -> Iterator[_Record]:
    columns = {key: value for key, value in content.items() if isinstance(value, list) and value}
    n = len(columns.get("structure", ()))
    for key, value in columns.items():
        if len(value) != n:
            raise DataError(f"{key!r} has {len(value)} entries for {n} structures", where=name)
    for index in range(n):
        yield path, {key: value[index] for key, value in columns.items()}


def _frame(path: tuple[str, ...], record: Mapping[str, object], where: str) -> RawFrame:
    outputs = record.get("outputs")
    values = {str(key): value for key, value in record.items() if key not in ("structure", "outputs")}
    values |= outputs if isinstance(outputs, dict) else {}
    tags = {"trajectory": path[0]} if len(path) > 1 else {}
    tags |= {"record": path[-1]} if path else {}
    return RawFrame(_atoms(record["structure"], where), values, tags)


def _atoms(structure: Any, where: str) -> Atoms:
    from pymatgen.core import Structure  # half a second to import, and most data are no JSON

    try:
        built = Structure.from_dict(structure)
    except Exception as error:  # pymatgen raises whatever a wrong dictionary leads to
        raise DataError(f"its structure cannot be read: {error!r}", where=where) from error
    if not built.is_ordered:
        raise DataError(f"its structure has partly occupied sites: {built.formula}", where=where)
    symbols = [site.specie.symbol for site in built]
    return Atoms(symbols, positions=built.cart_coords, cell=built.lattice.matrix, pbc=True)


RECORDS = Format("JSON records", lambda head: head.name.lower().endswith(".json"), read_json)

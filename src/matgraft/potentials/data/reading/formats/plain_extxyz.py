"""Frames of extended XYZ in their plain form, several times faster than through ASE, and the same to the bit.

Plain is what programs write: pairs ``key=value`` or ``key="several values"``, and columns of species and numbers.
Brackets, escapes, flags, masks and all else that has a meaning of its own, and every fault, are left to ASE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict, per_config_properties
from numpy.typing import NDArray

_PAIR = re.compile(r"""([A-Za-z_][\w.:-]*)=(?:"([^"\\]+)"|([^\s"'{}\[\]=\\]+))(?:\s+|$)""")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_NUMBER = re.compile(r"[-+]?(?:\d{1,18}|(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)")
_WIDTH = re.compile(r"\d{1,8}")
_KINDS = {"R": float, "I": int}
# Keys and columns that mean more to ASE than what they hold.
_SPECIAL_KEYS = frozenset(("uid", "unique_id", "data", "key_value_pairs", "comment"))
_SPECIAL_COLUMNS = frozenset(("numbers", "initial_charges", "move_mask", "symbols"))
_COLUMN_NAMES = {"pos": "positions", "Z": "numbers", "charge": "charges", "species": "symbols"}
_SCALARS = ("energy", "magmom", "free_energy")


@dataclass(frozen=True)
class _Column:
    """A property of the atoms: its name, where it begins, how wide it is, real numbers or integers."""

    name: str
    start: int
    width: int
    kind: str


def plain_frame(block: Sequence[str]) -> tuple[Atoms, dict[str, object]] | None:
    """Return the structure and the values of a frame; None where it is not plain, or at fault.

    Parameters
    ----------
    block
        Lines of the frame: number of atoms, comment, atoms.
    """
    try:
        info = _pairs(block[1])
    except (ValueError, RecursionError):  # a long or deep text after _JSON: ASE says what is at fault
        return None
    n = int(block[0])
    if info is None or not n or len(block) != n + 2:
        return None
    lattice, pbc = info.pop("Lattice", None), info.pop("pbc", None)
    columns = _columns(str(info.pop("Properties", "species:S:1:pos:R:3")))
    if columns is None or (lattice is not None and np.shape(np.asarray(lattice)) != (9,)) or not _is_of_truth(pbc):
        return None
    try:
        symbols, arrays = _table(block[2:], columns)
        numbers = [atomic_numbers[symbol.capitalize()] for symbol in symbols]
        values = _values(arrays, info)
        repeats = lattice is not None if pbc is None else pbc
        cell = None if lattice is None else np.asarray(lattice).reshape(3, 3)
        return Atoms(numbers, arrays["positions"], cell=cell, pbc=repeats), values
    except (KeyError, ValueError, TypeError):  # ASE says what is at fault
        return None


def _is_of_truth(pbc: object) -> bool:
    return pbc is None or np.asarray(pbc).dtype == bool


def _pairs(comment: str) -> dict[str, object] | None:
    """Return the pairs of a comment line, their values as ASE reads them; None where it is not plain."""
    text = comment.strip()
    pairs: dict[str, object] = {}
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None or found[1] in _SPECIAL_KEYS or found[1] in pairs:
            return None
        at = found.end()
        written = found[2] if found[3] is None else found[3]
        pairs[found[1]] = written if found[1] == "Properties" else _value(written)
    return pairs


def _value(text: str) -> Any:
    """Return what ASE makes of a value: integers if all are, else real numbers, truth values, or the text."""
    words = text.replace(",", " ").split()
    if words and all(map(_NUMBER.fullmatch, words)):
        integer = all(map(_INTEGER.fullmatch, words))
        numbers = np.array([int(word) if integer else float(word) for word in words])
        return numbers if len(numbers) > 1 else numbers[0]
    value = _other_value(text)
    return value.copy() if isinstance(value, (np.ndarray, list)) else value


@lru_cache(maxsize=4096)
def _other_value(text: str) -> Any:
    return key_val_str_to_dict(f'value="{text}"')["value"]


@lru_cache(maxsize=64)
def _columns(text: str) -> tuple[_Column, ...] | None:
    """Return the columns that a comment names, the species first; None where they are not plain."""
    fields = text.split(":")
    if len(fields) % 3 or fields[:3] != ["species", "S", "1"] or not all(map(_WIDTH.fullmatch, fields[2::3])):
        return None
    columns, start = [], 1
    for name, kind, width in zip(fields[3::3], fields[4::3], map(int, fields[5::3]), strict=True):
        columns.append(_Column(_COLUMN_NAMES.get(name, name), start, width, kind))
        start += width
    names = [column.name for column in columns]
    usual = all(column.kind in _KINDS and column.width for column in columns) and _SPECIAL_COLUMNS.isdisjoint(names)
    placed = [(column.width, column.kind) for column in columns if column.name == "positions"] == [(3, "R")]
    return tuple(columns) if usual and placed and len(set(names)) == len(names) else None


def _table(lines: Sequence[str], columns: tuple[_Column, ...]) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """Return the species of the atoms, and their arrays by name; raises ValueError where a line is not whole."""
    words = " ".join(lines).split()
    width = columns[-1].start + columns[-1].width
    if len(words) != width * len(lines):
        raise ValueError("columns")
    symbols = words[::width]
    if all(column.kind == "R" for column in columns):
        del words[::width]  # a line with another number of columns leaves a species among the numbers
        table = np.array(list(map(float, words))).reshape(len(lines), width - 1)
        parts = {column.name: table[:, column.start - 1 : column.start - 1 + column.width] for column in columns}
    else:
        parts = {column.name: _part(words, width, column) for column in columns}
    return symbols, {c.name: np.array(parts[c.name][:, 0] if c.width == 1 else parts[c.name]) for c in columns}


def _part(words: Sequence[str], width: int, column: _Column) -> Any:
    kind = _KINDS[column.kind]
    rows = [list(map(kind, words[at::width])) for at in range(column.start, column.start + column.width)]
    return np.array(rows, dtype="d" if kind is float else "i").T


def _values(arrays: Mapping[str, NDArray[Any]], info: dict[str, object]) -> dict[str, object]:
    """Put values together as they come from ASE: what it calculates first, then other columns, then the comment's."""
    per_atom = {name: array for name, array in arrays.items() if name != "positions"}
    values = {name: _result(name, array) for name, array in per_atom.items() if name in all_properties}
    for key in [key for key in info if key in per_config_properties and key != "stress"]:
        values[key] = _result(key, info.pop(key))
    values |= {name: array for name, array in per_atom.items() if name not in values}
    for key, value in info.items():
        values[f"{key} (info)" if key in values else key] = value
    return values


def _result(name: str, value: Any) -> Any:
    return value if name in _SCALARS else np.array(value, float)

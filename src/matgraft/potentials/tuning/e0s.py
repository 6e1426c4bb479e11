"""Energies of isolated atoms as they are typed: by symbol or atomic number, and in MACE's words.

>>> by_symbol({14: -0.8, "O:-2.04": None})
{'Si': -0.8, 'O': -2.04}
>>> meant_by_e0s("IsolatedAtom")
{'references.mode': 'isolated'}
"""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ase.data import atomic_numbers, chemical_symbols

from matgraft.core.errors import OptionError, nearest
from matgraft.core.texts import parse_value
from matgraft.core.unpack import read_whole

E0S = ("e0s", "e0")
"""MACE's key for them, in lower case."""

_LONGEST_NAME = 1000  # of a file; what is longer is no name, and the system says so by an error
_MODES = {
    "isolatedatom": "isolated",
    "isolated": "isolated",
    "average": "refit",
    "estimated": "refit",
    "foundation": "keep",
}
"""MACE's words in place of energies -> the mode of references that comes nearest."""


def by_symbol(energies: Mapping[object, object]) -> dict[str, object]:
    """Return energies by symbol; ``{14:-0.8}``, which YAML reads as a key without a value, is parted.

    Raises
    ------
    OptionError
        If a key is no element, or two keys are one.
    """
    found: dict[str, object] = {}
    for key, value in energies.items():
        name = str(key).strip()
        if value is None and ":" in name:
            name, _, text = (part.strip() for part in name.partition(":"))
            value = parse_value(text)
        symbol = _symbol(name)
        if symbol in found:
            raise OptionError(f"two energies are given for {symbol}")
        found[symbol] = value
    return found


def meant_by_e0s(value: object) -> dict[str, object]:
    """Return the option that means what MACE means by a value of ``E0s``: energies, a file of them, or a word."""
    if isinstance(value, str):
        is_file = len(value) < _LONGEST_NAME and Path(value).is_file()
        text = read_whole(Path(value), "yaml_bytes").decode("utf-8", "replace") if is_file else value
        with suppress(SyntaxError, ValueError, TypeError, MemoryError, RecursionError):  # what it raises on deep texts
            value = literal_eval(text.strip())
    if isinstance(value, Mapping):
        return {"references.isolated_eV": by_symbol(value)}
    return {"references.mode": _MODES.get(str(value).strip().lower(), "isolated")}


def _symbol(name: str) -> str:
    if name.isdigit() and 0 < int(name) < len(chemical_symbols):
        return chemical_symbols[int(name)]
    if name not in atomic_numbers or name == "X":
        raise OptionError(
            f"{name!r} is not an element",
            allowed=["symbols and atomic numbers, such as {Si: -0.8} and {14: -0.8}"],
            remedy=nearest(name.capitalize(), chemical_symbols[1:]),
        )
    return name

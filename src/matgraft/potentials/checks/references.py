"""What a model's properties are compared with: values of the user's DFT, by structure and property.

    # reference.yaml
    source: PBE, 520 eV
    structures:
      si.cif: {a_A: 5.469, C11_GPa: 156, C12_GPa: 65, C44_GPa: 76, B0_GPa: 95}

A name of a structure is the one that the report shows; a formula, such as ``Si``, stands for all structures of it. Its
elements may stand in any order: ``NaCl`` is ``ClNa``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ase import Atoms
from pydantic import FiniteFloat

from matgraft.core.frozen import Frozen
from matgraft.core.settings import read_yaml, validated


class Reference(Frozen):
    """One value, and where it comes from in a few words: ``"your reference.yaml (PBE)"``, ``"your frames"``."""

    value: float
    source: str


class ReferenceFile(Frozen):
    """What a file of references holds.

    Attributes
    ----------
    source
        Method of the values, in words.
    structures
        Structure or formula -> property, its unit in the name -> value.
    """

    source: str = ""
    structures: dict[str, dict[str, FiniteFloat]]


References = Mapping[str, Mapping[str, Reference]]
"""Structure or formula -> property -> value."""


def read_references(file: Path) -> References:
    """Read references.

    Raises
    ------
    DataError
        If the file is not there or not readable.
    OptionError
        If a key is unknown, or a value is no number.
    """
    found = validated(ReferenceFile, read_yaml(file), str(file))
    source = f"{file.name}{f' ({found.source})' if found.source else ''}"
    return {
        name: {key: Reference(value=value, source=source) for key, value in values.items()}
        for name, values in found.structures.items()
    }


def of_structure(references: References, name: str, formula: str) -> Mapping[str, Reference]:
    """Return the values of a structure: those under its name, then those under its formula as ASE writes it."""
    by_formula = [values for key, values in references.items() if key != name and ase_formula(key) == formula]
    return {**{key: value for values in by_formula for key, value in values.items()}, **references.get(name, {})}


@lru_cache(maxsize=256)
def ase_formula(key: str) -> str:
    """Return a formula as ASE writes it, ``NaCl`` as ``ClNa``; empty for a word that is none."""
    try:
        return str(Atoms(key).get_chemical_formula(empirical=True))
    except (ValueError, KeyError):
        return ""


def merged(first: References, second: References) -> References:
    """Return all references; where both have a value, the first one counts."""
    return {name: {**second.get(name, {}), **first.get(name, {})} for name in {**second, **first}}

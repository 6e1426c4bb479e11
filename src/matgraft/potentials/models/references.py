"""Reference energies that a vendor's file leaves out, in a file beside it that `Potential.save` writes.

float32 holds -515,000 eV to 0.03 eV, and the energy of eight such atoms to 0.25 eV: finite differences and the drift
of a run drown in it. A vendor's file therefore holds reference energies only as far as the precision of its weights
carries them (`Potential.carried_references`). The rest is added outside the network, in float64, by what is exported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ase import Atoms
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from matgraft.core.errors import DataError
from matgraft.core.files import write_json
from matgraft.core.manifest import checked, is_there

FILE = "reference_energies.json"
"""Symbol -> eV an atom, to be added to what the vendor's file gives."""
_TABLE = TypeAdapter(dict[str, FiniteFloat])


def write_references(references: Mapping[str, float], folder: Path) -> None:
    """Write what the vendor's file leaves out, symbol -> eV an atom, beside it."""
    write_json(folder / FILE, references)


def read_added_references(folder: Path) -> dict[str, float]:
    """Return what has to be added to a vendor's file in a folder, symbol -> eV an atom; nothing where no file says so.

    Raises
    ------
    DataError
        If the file is no table of numbers.
    """
    try:
        return _TABLE.validate_json(checked(folder / FILE)) if is_there(folder / FILE) else {}
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"no table of reference energies ({first['msg']})", where=str(folder / FILE)) from error


def energy_left_out(references: Mapping[str, float], atoms: Atoms) -> float:
    """Return the sum of such references over the atoms of a structure, eV."""
    return sum(references.get(symbol, 0.0) for symbol in atoms.symbols)

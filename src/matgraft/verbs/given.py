"""What a verb is given: structures or a table, in files or in memory.

    given = parsed(frames)                            # ase.Atoms, files, a data frame, ...
    with kept(given, out, "frames") as files: ...     # in memory: written once into the folder of the run

What is in memory becomes a file in the run folder, under ``given/``: a run reads files, hashes them, and goes on with
them after it was killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from matgraft.core.errors import DataError
from matgraft.core.files import remove, whole
from matgraft.core.locks import locked
from matgraft.core.manifest import FILE as MANIFEST
from matgraft.core.manifest import begin
from matgraft.core.run_folder import BEGUN, GIVEN, made_folder, refuse_full_folder

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms

    from matgraft.potentials.data.dataset import Dataset

Data = Any
"""Structures: an `ase.Atoms`, a list of them, a `Dataset`. A table: a `pandas.DataFrame`, a mapping of columns. Files:
a path, or several."""

ALLOWED = (
    "ase.Atoms, or a list of them",
    "a Dataset of matgraft.read",
    "a pandas.DataFrame, or a mapping of columns",
    "a path, or a list of paths",
)


@dataclass(frozen=True)
class Given:
    """What was given, sorted; one of the four holds something.

    Attributes
    ----------
    words
        Paths as they were written, or formulas.
    atoms
        Structures.
    dataset
        Frames that matgraft has read.
    table
        In memory.
    """

    words: tuple[str, ...] = ()
    atoms: tuple[Atoms, ...] = ()
    dataset: Dataset | None = None
    table: pd.DataFrame | None = None

    @property
    def in_memory(self) -> bool:
        """True if there is no file yet."""
        return not self.words

    @property
    def is_table(self) -> bool:
        """True for a table in memory, or a file whose name ends as one of a table does."""
        if self.table is not None:
            return True
        from matgraft.formulas.table.sources import TYPES

        return len(self.words) == 1 and self.words[0].lower().endswith(TYPES)


def parsed(data: Data) -> Given:
    """Sort what was given.

    Raises
    ------
    DataError
        If it is nothing that a verb takes, or empty.
    """
    if isinstance(data, (str, Path)):
        return Given(words=(str(data),))
    if isinstance(data, Mapping):
        import pandas as pd

        return Given(table=pd.DataFrame(dict(data)))
    if hasattr(data, "columns") and hasattr(data, "to_csv"):
        return Given(table=data)
    from ase import Atoms

    from matgraft.potentials.data.dataset import Dataset

    if isinstance(data, Dataset):
        return Given(dataset=data)
    if isinstance(data, Atoms) or hasattr(data, "to_ase_atoms"):
        data = [data]
    return _of_several(_listed(data))


def _listed(data: object) -> list[Any]:
    try:
        return list(data)  # type: ignore[call-overload]
    except TypeError:
        raise _unknown(data) from None


def _of_several(items: Sequence[Any]) -> Given:
    from ase import Atoms

    from matgraft.potentials.data.dataset import Dataset
    from matgraft.potentials.data.sample import Sample

    items = [one.to_ase_atoms() if hasattr(one, "to_ase_atoms") else one for one in items]  # pymatgen's structures
    if not items:
        raise DataError("there is nothing in what was given", allowed=ALLOWED)
    if all(isinstance(one, Atoms) for one in items):
        return Given(atoms=tuple(items))
    if all(isinstance(one, Sample) for one in items):
        return Given(dataset=Dataset(items))
    if all(isinstance(one, (str, Path)) or _is_composition(one) for one in items):
        return Given(words=tuple(map(str, items)))
    strange = next(one for one in items if type(one) is not type(items[0]) or not isinstance(one, (Atoms, str, Path)))
    raise _unknown(strange)


def _is_composition(one: object) -> bool:
    """Say whether this is a `pymatgen.core.Composition`, whose text is its formula."""
    return hasattr(one, "reduced_formula") and hasattr(one, "get_el_amt_dict")


def _unknown(one: object) -> DataError:
    kind = f"{type(one).__module__}.{type(one).__name__}".removeprefix("builtins.")
    return DataError(f"{kind} is neither a structure, a table nor a path", allowed=ALLOWED)


# --- in memory -------------------------------------------------------------------------------------------------------


@contextmanager
def kept(parts: Mapping[str, Given], out: Path | None) -> Iterator[dict[str, list[str]]]:
    """Yield the files of each part; what is in memory is written into the folder of a run that is to be.

    Where the run is refused before it has begun, nothing is left.

    Parameters
    ----------
    parts
        By the name of the file: ``frames``, ``table``, ``test``.
    out
        The folder, new or empty; None for files that go at the end of the block.
    """
    files = {name: list(given.words) for name, given in parts.items()}
    written = {name: given for name, given in parts.items() if given.in_memory}
    if not written:
        yield files
    elif out is None:
        with TemporaryDirectory(prefix="matgraft-") as folder:
            yield files | {name: [_write(given, Path(folder), name)] for name, given in written.items()}
    else:
        refuse_full_folder(out)
        with made_folder(out), locked(out, new=True), _taken_back(out):
            begin(out)
            yield files | {name: [_write(given, out / GIVEN, name)] for name, given in written.items()}


@contextmanager
def _taken_back(out: Path) -> Iterator[None]:
    """Remove what was written where no run has begun on it; a run that has begun takes its folder back itself."""
    try:
        yield
    except BaseException:
        if not (out / BEGUN.name).exists():
            remove(out / GIVEN)
            (out / MANIFEST).unlink(missing_ok=True)
        raise


def _write(given: Given, folder: Path, name: str) -> str:
    """Write what is in memory, and return the file's name."""
    folder.mkdir(parents=True, exist_ok=True)
    if given.table is not None:
        return _write_table(given.table, folder / f"{name}.csv")
    if given.dataset is not None:
        from matgraft.potentials.data.store_writing import write_store

        provenance = given.dataset.provenance
        write_store(given.dataset, folder / f"{name}.h5", lambda: provenance)
        return str(folder / f"{name}.h5")
    from ase.io import write

    path = folder / f"{name}.extxyz"
    with whole(path) as part:
        write(part, [writable_atoms(one) for one in given.atoms], format="extxyz")
    return str(path)


def _write_table(table: pd.DataFrame, path: Path) -> str:
    with whole(path) as part:
        table.to_csv(part, index=any(name is not None for name in table.index.names))  # an index without a name is none
    return str(path)


def writable_atoms(atoms: Atoms) -> Atoms:
    """Return a structure whose labels, tags and arrays a file can hold, in the places where a reader looks for them.

    What a calculator knows of another state of the atoms is left out, as ASE leaves it out. Of ``info`` numbers, texts
    and arrays of numbers are kept.
    """
    from ase import Atoms

    n = len(atoms)
    plain = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell[:], pbc=atoms.pbc)
    plain.arrays |= {
        name: value for name, value in atoms.arrays.items() if value.ndim < 3 and value.dtype.kind in "biufU"
    }
    results = _results(atoms)
    for name, value in results.items():
        array = np.asarray(value)
        if name in _OF_ATOMS and array.shape[:1] == (n,):
            plain.arrays[name] = array
        elif array.dtype.kind in "biuf":
            plain.info[name] = _full(array) if name == "stress" else value
    for name, value in atoms.info.items():
        name, value = str(name), _writable(value)
        if value is None:
            continue
        if name not in plain.info and name not in results:
            plain.info[name] = value
        elif not np.array_equal(np.asarray(results[name]).ravel(), np.asarray(value).ravel()):
            plain.info[f"info_{name}"] = value
    return plain


_OF_ATOMS = frozenset(("forces", "stresses", "charges", "magmoms", "energies"))
"""Results of ASE's calculators with a row an atom."""


def _results(atoms: Atoms) -> dict[str, object]:
    calculator = atoms.calc
    if calculator is None or (hasattr(calculator, "check_state") and calculator.check_state(atoms)):
        return {}
    return {name: value for name, value in getattr(calculator, "results", {}).items() if value is not None}


def _full(stress: np.ndarray) -> np.ndarray:
    from ase.stress import voigt_6_to_full_3x3_stress

    return np.asarray(voigt_6_to_full_3x3_stress(stress)) if stress.shape == (6,) else stress


def _writable(value: object) -> object:
    """Return a value as a line of extended XYZ holds it; None for one that it cannot hold."""
    if isinstance(value, str):
        return " ".join(value.split())
    array = np.asarray(value) if not isinstance(value, (dict, set)) else np.asarray(None)
    return value if array.dtype.kind in "biuf" and array.ndim < 3 and array.size else None

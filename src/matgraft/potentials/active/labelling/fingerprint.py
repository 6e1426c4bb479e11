"""What a label is kept under, and whether an engine computes at the level of theory of the training data.

A label's key is a hash of the frame (atoms, positions and cell to 1e-8 Å, initial moments and charges) and of the
engine (calculator, parameters, stated theory, and the content of pseudopotentials or of the user's own module). Where
the program is and how many workers there are plays no role.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ase import Atoms

from matgraft.core.errors import DataError
from matgraft.core.files import to_json
from matgraft.core.frozen import Frozen
from matgraft.core.provenance import LevelOfTheory, file_hash
from matgraft.potentials.active.labelling import espresso
from matgraft.potentials.active.labelling.engine import ESPRESSO, Engine
from matgraft.potentials.active.labelling.messages import CHARGE_TAGS
from matgraft.potentials.active.labelling.theories import EMPTY, settled
from matgraft.potentials.checks.physical import structure_hash
from matgraft.potentials.data.reading.theory_fields import Statement, mesh, offset, stated_fields, symbols_of
from matgraft.potentials.simulation.calculators import from_here

_LENGTH = 32
_NO_SETTING = ("pseudo_dir", "command", "directory", "txt")
"""Parameters that say where things are."""
_PRINTED = ("functional", "hybrid", "cutoff", "density cutoff", "smearing", "spin polarisation")

V = TypeVar("V")
Stated = tuple[LevelOfTheory, Atoms | None]
"""A level of theory, and a frame that was computed at it."""


class Difference(Frozen):
    """A field in which two levels of theory cannot be one."""

    field: str
    engine: str
    data: str


class Compared(Frozen):
    """An engine's level of theory beside that of the training data.

    Attributes
    ----------
    n_data
        Levels of theory, with their compositions, that the data state.
    differing
        Fields that cannot be one setting.
    only_data, only_engine
        Fields that one side states alone.
    """

    n_data: int = 0
    differing: tuple[Difference, ...] = ()
    only_data: tuple[str, ...] = ()
    only_engine: tuple[str, ...] = ()


def frame_key(atoms: Atoms, engine: str) -> str:
    """Return what the label of a frame by an engine is kept under."""
    digest = hashlib.sha256((engine + structure_hash(atoms)).encode())
    for name in ("initial_magmoms", "initial_charges"):
        if name in atoms.arrays and np.any(atoms.arrays[name]):
            digest.update(name.encode() + (np.round(np.asarray(atoms.arrays[name], dtype=float), 6) + 0.0).tobytes())
    for name in CHARGE_TAGS:
        if name in atoms.info:
            digest.update(f"{name}={_one_number(atoms.info[name])}".encode())
    return digest.hexdigest()[:_LENGTH]


def _one_number(value: Any) -> Any:
    """Return 1 and 1.0, as two files may have a charge, as one."""
    return float(value) if isinstance(value, int | float | np.number) else value


def engine_key(engine: Engine) -> str:
    """Return the hash of everything of an engine that a label depends on.

    Raises
    ------
    OptionError
        If the engine cannot be used.
    """
    engine = settled(engine)
    parameters = {name: value for name, value in engine.parameters.items() if name not in _NO_SETTING}
    theory = (
        {name: value for name, value in engine.theory.model_dump().items() if value not in EMPTY}
        if engine.theory
        else {}
    )
    content = {
        "calculator": engine.calculator,
        "parameters": parameters,
        "theory": theory,
        "files": espresso.hashes(engine) if engine.calculator == ESPRESSO else {},
        "code": _source_hash(engine),
    }
    return hashlib.sha256(to_json(_plain(content), indent=None).encode()).hexdigest()[:_LENGTH]


def _source_hash(engine: Engine) -> str:
    """Return the hash of the module that a function is imported from; empty where it cannot be found as a file."""
    if not engine.by_import:
        return ""
    with from_here():
        try:
            spec = find_spec(engine.calculator.partition(":")[0])
        except (ImportError, ValueError):
            return ""
    origin = Path(spec.origin) if spec and spec.origin else None
    return file_hash(origin) if origin and origin.is_file() else ""


def _plain(value: Any) -> Any:
    """Return a value whose text is one however it was typed: names in order, 30 and 30.0 one number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


# --- level of theory -------------------------------------------------------------------------------------------------


def compare_theories(own: Iterable[Stated], data: Iterable[Stated]) -> Compared:
    """Hold an engine's level of theory against that of data, field by field.

    Parameters
    ----------
    own
        Of each kind of frame that is to be labelled.
    data
        Of each kind of training frame; without a frame, all but the density of the k-mesh is compared.
    """
    engine, stated = [_fields(one) for one in own], [_fields(one) for one in data]
    differing: dict[tuple[str, str, str], None] = {}
    known: dict[str, list[bool]] = {}
    for mine in engine:
        for theirs in stated:
            for name in mine.keys() & theirs.keys():
                a, b = mine[name], theirs[name]
                sides = known.setdefault(name, [False, False])
                sides[0], sides[1] = sides[0] or a is not None, sides[1] or b is not None
                if a is not None and b is not None and not a.agrees(b):
                    differing[name, str(a), str(b)] = None
    return Compared(
        n_data=len(stated),
        differing=tuple(Difference(field=f, engine=a, data=b) for f, a, b in sorted(differing)),
        only_data=tuple(sorted(name for name, (mine, theirs) in known.items() if theirs and not mine)),
        only_engine=tuple(sorted(name for name, (mine, theirs) in known.items() if mine and not theirs)),
    )


def printed(compared: Compared) -> Compared:
    """Return what an output says otherwise than it was asked, in the fields that outputs of all codes print alike."""
    kept = [one for one in compared.differing if one.field in _PRINTED or one.field.startswith("potential of ")]
    return compared.model_copy(update={"differing": tuple(kept)})


def kinds(stated: Iterable[tuple[LevelOfTheory | None, Atoms]]) -> list[Stated]:
    """Return one of each level of theory and composition: frames that agree in both say the same."""
    found: dict[tuple[object, ...], Stated] = {}
    for theory, atoms in stated:
        if theory is not None:
            found.setdefault((theory.key(), atoms.get_chemical_formula(), tuple(atoms.pbc)), (theory, atoms))
    return list(found.values())


def refuse_differing(compared: Compared, where: str) -> None:
    """Raise an error that lists every difference, if there is one.

    Raises
    ------
    DataError
        If the levels of theory are two.
    """
    if not compared.differing:
        return
    causes = [
        DataError(f"{one.field}: {one.engine} of the engine, {one.data} of the data") for one in compared.differing
    ]
    raise DataError(
        "the engine computes at another level of theory than the training data: their energies must not be mixed",
        where=where,
        causes=causes,
        remedy="set the engine as the training data were computed, or leave out the comparison for a set of its own",
    )


def common(theories: Sequence[LevelOfTheory]) -> LevelOfTheory | None:
    """Return what all levels of theory state alike; None where there is none, or nothing is left.

    What is stated by element is put together: a frame without iron says nothing of its U, and no U in its place would
    say that there is none.
    """
    if not theories:
        return None
    first, *others = theories
    kept = {name: value for name, value in first if all(getattr(other, name) == value for other in others)}
    kept["hubbard_u"] = _together(one.hubbard_u for one in theories)
    kept["hubbard_orbital"] = _together(one.hubbard_orbital for one in theories)
    kept["potentials"] = tuple(dict.fromkeys(title for one in theories for title in one.potentials))
    return LevelOfTheory(**kept) if any(value not in EMPTY for value in kept.values()) else None


def _together(tables: Iterable[Mapping[str, V]]) -> dict[str, V]:
    """Return the entries of all tables, but those that contradict each other."""
    found: dict[str, set[V]] = {}
    for table in tables:
        for name, value in table.items():
            found.setdefault(name, set()).add(value)
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def _fields(stated: Stated) -> Statement:
    theory, atoms = stated
    if atoms is None:
        return stated_fields(theory, symbols_of(theory)) | {"offset of the k-mesh": offset(theory)}
    return stated_fields(theory, sorted(set(atoms.symbols))) | mesh(theory, atoms)

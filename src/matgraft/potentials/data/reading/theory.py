"""The level of theory that a user states, in a small YAML file beside the data.

``frames.extxyz`` is accompanied by ``frames.yaml`` (or ``.yml``); its keys are the fields of
`matgraft.core.provenance.LevelOfTheory`:

    code: Quantum ESPRESSO
    functional: PBE
    cutoff_eV: 816.3
    kpoints: [4, 4, 4]
    kpoint_offset: [0, 0, 0]
    energy: free
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from pydantic import ValidationError

from matgraft.core.errors import DataError, nearest
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.texts import parse_yaml
from matgraft.core.unpack import read_whole
from matgraft.potentials.data.reading.raw import COMPRESSED
from matgraft.potentials.data.reading.theory_fields import Close, agree

_SUFFIXES = (".yaml", ".yml")
_PLACING = ("kpoint_scheme", "kpoint_offset")
"""Fields that together place a k-mesh: scheme and offset may both differ, and yet give the same points."""
_HEAD = 2**16  # bytes of a file in which its keys stand
_EXACT = ("version", "density_cutoff_eV", "kpoints", "licence", "source")
"""Fields that must be equal, numbers up to rounding."""


def find_sidecar(path: Path) -> tuple[Path | None, Path | None]:
    """Return the YAML file beside a data file that states a level of theory, and one that does not; None for no file.

    Settings of another program often have the name of the data. They are told from a level of theory with a fault in it
    by their keys, half of which are none of a level of theory's.

    Raises
    ------
    DataError
        If both ``.yaml`` and ``.yml`` are there.
    """
    bare = path.with_suffix("") if path.suffix in COMPRESSED else path
    beside = [side for suffix in _SUFFIXES if (side := bare.with_suffix(suffix)).is_file()]
    found = [side for side in beside if _states_theory(side)]
    if len(found) > 1:
        raise DataError(f"both {found[0].name} and {found[1].name} state its level of theory", where=path.name)
    foreign = [side for side in beside if side not in found]
    return found[0] if found else None, foreign[0] if foreign else None


def _states_theory(path: Path) -> bool:
    """Say whether half of a file's keys, or words in their place, are those of a level of theory or nearly so."""
    try:
        with path.open("rb") as file:
            text = file.read(_HEAD).decode("utf-8", "replace")
    except OSError:
        return True  # reading it says why
    keys = [key.rstrip() for key in re.findall(r"^(\w[\w -]*):", text, re.MULTILINE)]
    fields = list(LevelOfTheory.model_fields)
    known = [key for key in keys if difflib.get_close_matches(key.lower(), fields, n=1, cutoff=0.8)]
    return bool(keys) and 2 * len(known) >= len(keys)


def read_theory(path: Path) -> LevelOfTheory:
    """Read a level of theory.

    Raises
    ------
    DataError
        If the file is missing, is no YAML mapping, or has an unknown key or a wrong value.
    """
    try:
        content = parse_yaml(read_whole(path, "yaml_bytes").decode("utf-8"), path.name)
    except ValueError as error:
        raise DataError(f"it is not valid YAML: {error}", where=path.name) from error
    fields = list(LevelOfTheory.model_fields)
    if not isinstance(content, dict) or not content:
        raise DataError("it states no level of theory", where=path.name, allowed=fields)
    unknown = [str(key) for key in content if key not in LevelOfTheory.model_fields]
    if unknown:
        remedy = nearest(unknown[0], fields)
        raise DataError(f"unknown key {unknown[0]!r}", where=path.name, allowed=fields, remedy=remedy)
    try:
        return LevelOfTheory.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}" for e in error.errors())
        raise DataError(wrong, where=path.name) from error


def combine(found: LevelOfTheory | None, stated: LevelOfTheory | None, where: str) -> LevelOfTheory | None:
    """Fill what a run does not say with what the user states; of two names of one setting the run's is kept.

    Raises
    ------
    DataError
        If the run says otherwise.
    """
    if found is None or stated is None:
        return found or stated
    said = {name: value for name, value in found if value not in (None, {}, ())}
    added = {name: value for name, value in stated if value not in (None, {}, ())}
    for name in said.keys() & added.keys():
        if not _same(name, found, stated):
            raise DataError(f"{name} is {said[name]!r} in the run, {added[name]!r} was stated", where=where)
    return LevelOfTheory(**(added | said))


def _same(name: str, run: LevelOfTheory, stated: LevelOfTheory) -> bool:
    """Say whether a run and its user state one setting in a field, as levels of theory are compared."""
    found, other = getattr(run, name), getattr(stated, name)
    if name in _EXACT:
        return Close(found).agrees(Close(other)) if isinstance(found, float) else bool(found == other)
    together = _PLACING if name in _PLACING else (name,)
    return agree(run, run.model_copy(update={field: getattr(stated, field) for field in together}))

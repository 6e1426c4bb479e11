"""What a run was made of: files and their hashes, levels of theory, versions, and the command that repeats it."""

from __future__ import annotations

import json
import platform
import shlex
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path

from matgraft.data.dataset import Dataset
from matgraft.data.provenance import file_hash
from matgraft.errors import RunError
from matgraft.files import write_json
from matgraft.recipe import Recipe

PACKAGES = (
    *("matgraft", "torch", "chgnet", "mace-torch", "e3nn", "matgl"),
    *("ase", "pymatgen", "numpy", "scipy", "scikit-learn", "lightning-fabric"),
)
"""Whose versions a run records, those that are installed."""


def write_provenance(recipe: Recipe, train: Dataset, test: Dataset, out: Path, resume: bool) -> None:
    """Write what a run was made of, and refuse to resume over other data.

    Raises
    ------
    RunError
        If a part of the data has changed since the run began.
    """
    hashes = {"train": train.hash(), "test": test.hash() if len(test) else None}
    for part, file in (("replay", recipe.replay.file), ("forgetting", recipe.forgetting.file)):
        hashes |= {part: file_hash(Path(file))} if file is not None else {}
    path = out / "provenance.json"
    before = json.loads(path.read_text())["data_sha256"] if resume and path.is_file() else hashes
    if changed := [part for part in hashes if hashes[part] != before.get(part, hashes[part])]:
        raise RunError(f"the {', '.join(changed)} data are not those that the run began with", where=str(out))
    stated = {id(s.theory): s.theory for s in chain(train, test) if s.theory is not None}  # frames share what is equal
    theories = {theory.model_dump_json(): theory for theory in stated.values()}
    facts = train.provenance.model_dump() | {
        "test_files": [file.model_dump() for file in test.provenance.files],
        "theory": [theory.model_dump() for theory in theories.values()],
        "data_sha256": hashes,
        "versions": {"python": platform.python_version()} | _versions(),
        "command": repeat_command(recipe),
    }
    write_json(path, facts)


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def repeat_command(recipe: Recipe) -> str:
    """Return the command that repeats a run from its saved recipe."""
    words = ["matgraft", "tune", recipe.train, "RUN/recipe.yaml", "--out", "NEW"]
    return shlex.join(word for word in words if isinstance(word, str))  # several files stand in the recipe alone

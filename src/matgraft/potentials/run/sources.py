"""What a run was made of: files and their hashes, levels of theory, versions, and the command that repeats it."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

from matgraft.core.files import write_json
from matgraft.core.model import ModelCard
from matgraft.core.provenance import file_hash
from matgraft.core.run_folder import by_option, refuse_changed
from matgraft.potentials.data.dataset import Dataset, bytes_of
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.recipe import Recipe

PACKAGES = (
    *("matgraft", "torch", "chgnet", "mace-torch", "e3nn", "matgl"),
    *("ase", "pymatgen", "numpy", "scipy", "scikit-learn", "lightning-fabric"),
)
"""Whose versions a run records, those that are installed."""

HASHED: Mapping[str, Callable[[Sample], bytes]] = {
    "": bytes_of,
    "tags": lambda sample: _line(sorted(sample.tags.items())),
    "weights": lambda sample: _line(sample.weight),
    "levels of theory": lambda sample: _line(sample.theory and sample.theory.model_dump()),
    "files": lambda sample: _line([sample.file, sample.index]),
}
"""What of frames decides a run: tags, files and levels of theory how they are parted, weights how they count."""


def write_provenance(
    recipe: Recipe, foundation: ModelCard, train: Dataset, test: Dataset, out: Path, resume: bool
) -> None:
    """Write what a run was made of, and refuse to resume over anything else.

    Raises
    ------
    RunError
        If data, foundation or an option have changed since the run began; each that has is named.
    """
    hashes = frame_hashes(train, "train") | (frame_hashes(test, "test") if len(test) else {})
    for part, file in (("replay", recipe.replay.file), ("forgetting", recipe.forgetting.file)):
        hashes |= {part: file_hash(Path(file))} if file is not None else {}
    path = out / "provenance.json"
    began = {
        "data_sha256": hashes,
        "foundation_sha256": foundation.weights_sha256,
        "recipe": recipe.model_dump(mode="json"),
    }
    if resume and path.is_file():
        refuse_changed(_roles(json.loads(path.read_text(encoding="utf-8"))), _roles(began), out)
    stated = {id(s.theory): s.theory for s in chain(train, test) if s.theory is not None}  # frames share what is equal
    theories = {theory.model_dump_json(): theory for theory in stated.values()}
    facts = train.provenance.model_dump() | {
        "test_files": [file.model_dump() for file in test.provenance.files],
        "theory": [theory.model_dump() for theory in theories.values()],
        **began,
        "versions": {"python": platform.python_version()} | _versions(),
        "command": repeat_command(recipe),
    }
    write_json(path, facts)


def frame_hashes(frames: Dataset, part: str) -> dict[str, str]:
    """Return SHA-256 of what decides a run, by role: ``train`` (structures and labels), ``train tags`` and so on."""
    digests = {name: hashlib.sha256() for name in HASHED}
    for sample in frames:
        for name, digest in digests.items():
            digest.update(HASHED[name](sample))
    return {f"{part} {name}".strip(): digest.hexdigest() for name, digest in digests.items()}


def _roles(began: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run began with as `refuse_changed` takes it."""
    if "recipe" not in began:  # of an earlier version, which recorded the data alone
        return dict(began["data_sha256"])
    options = by_option(Recipe.model_validate(began["recipe"]))
    return {**began["data_sha256"], "foundation": began["foundation_sha256"], **options}


def _line(facts: Any) -> bytes:
    return json.dumps(facts, sort_keys=True).encode() + b"\n"


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

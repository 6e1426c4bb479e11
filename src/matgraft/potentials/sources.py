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

from pydantic import JsonValue

from matgraft.core.model import ModelCard
from matgraft.core.provenance import UNCORRECTED, LevelOfTheory, Provenance, SourceFile, file_hash
from matgraft.core.run_folder import by_option
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
    "weights": lambda sample: _line(_weights(sample)),
    "levels of theory": lambda sample: _line(_stated(sample.theory)),
    "files": lambda sample: _line([sample.file, sample.index]),
}
"""What of frames decides a run: tags, files and levels of theory how they are parted, weights how they count."""


class Sources(Provenance):
    """What a run was made of: provenance.json.

    Attributes
    ----------
    files, notes
        Files of the training frames, and what reading decided.
    test_files
        Files of the test frames, where they were given.
    theory
        Each level of theory that frames state, once.
    data_sha256
        Hashes of what decides a run, by role.
    foundation_sha256
        Of the foundation's weights.
    recipe
        As it was resolved.
    versions
        Of Python and of the packages that decide.
    command
        What repeats the run.
    """

    test_files: tuple[SourceFile, ...] = ()
    theory: tuple[LevelOfTheory, ...] = ()
    data_sha256: dict[str, str]
    foundation_sha256: str
    recipe: Recipe
    versions: dict[str, str]
    command: str

    @property
    def decides(self) -> dict[str, JsonValue]:
        """All that decides the result, by role: a run goes on only where none of it has changed."""
        return {**self.data_sha256, "foundation": self.foundation_sha256, **by_option(self.recipe)}


def sources_of(recipe: Recipe, foundation: ModelCard, train: Dataset, test: Dataset) -> Sources:
    """Return what a run is made of."""
    hashes = frame_hashes(train, "train") | (frame_hashes(test, "test") if len(test) else {})
    for part, file in (("replay", recipe.replay.file), ("forgetting", recipe.forgetting.file)):
        hashes |= {part: file_hash(Path(file))} if file is not None else {}
    stated = {id(s.theory): s.theory for s in chain(train, test) if s.theory is not None}  # frames share what is equal
    return Sources(
        files=train.provenance.files,
        notes=train.provenance.notes,
        isolated_atoms=train.provenance.isolated_atoms,
        corrects=train.provenance.corrects,
        test_files=test.provenance.files,
        theory=tuple({theory.model_dump_json(): theory for theory in stated.values()}.values()),
        data_sha256=hashes,
        foundation_sha256=foundation.weights_sha256,
        recipe=recipe,
        versions={"python": platform.python_version()} | _versions(),
        command=repeat_command(recipe),
    )


def frame_hashes(frames: Dataset, part: str) -> dict[str, str]:
    """Return SHA-256 of what decides a run, by role: ``train`` (structures and labels), ``train tags`` and so on."""
    digests = {name: hashlib.sha256() for name in HASHED}
    for sample in frames:
        for name, digest in digests.items():
            digest.update(HASHED[name](sample))
    return {f"{part} {name}".strip(): digest.hexdigest() for name, digest in digests.items()}


def _stated(theory: LevelOfTheory | None) -> Any:
    """Return what a level of theory states, without what earlier versions did not know where it says nothing."""
    if theory is None:
        return None
    silent = {"basis": not theory.basis, "correction": theory.correction in (None, UNCORRECTED)}
    return theory.model_dump(exclude={name for name, idle in silent.items() if idle})


def _weights(sample: Sample) -> Any:
    """Return the frame's weight, with what its labels have beside it where they have something."""
    if not (sample.label_weights or sample.components):
        return sample.weight
    components = {name: known.tolist() for name, known in sample.components.items()}
    return [sample.weight, dict(sample.label_weights), components]


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

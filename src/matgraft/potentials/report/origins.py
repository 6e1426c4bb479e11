"""The section of where all comes from: files, level of theory, versions, foundation, commands, recipe."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from matgraft.core.findings import DROP
from matgraft.core.options import word
from matgraft.core.provenance import ENERGY_NAMES, LevelOfTheory, SourceFile
from matgraft.core.report.document import (
    Block,
    Bullets,
    Cell,
    Column,
    Heading,
    Pairs,
    Row,
    Section,
    Table,
    Text,
    Verbatim,
)
from matgraft.core.report.text import ABSENT, in_words, short_number
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.report.facts import MODEL_CARD, MODEL_HEADS, RunFacts
from matgraft.potentials.run_files import PROVENANCE, RECIPE
from matgraft.potentials.sources import Sources

ELSEWHERE = frozenset({"recipe", "metrics", "references_eV", "data_sha256", "parent"})
"""What a card says and other sections show."""


def origins_section(facts: RunFacts) -> Section:
    """Return what the run was made of, and how to repeat it."""
    card = facts.heads or facts.card
    file = MODEL_HEADS.name if MODEL_HEADS.name in facts.unreadable else MODEL_CARD.name
    foundation = card and (card.parent or card)
    return Section("provenance", "Provenance", [
        *facts.blocks(PROVENANCE.name, facts.provenance, _sources),
        Heading("Foundation"),
        *facts.blocks(file, foundation, lambda found: [Pairs(_stated(found))]),
        Heading("How to repeat"),
        Verbatim("\n".join(repeating(facts))),
        Heading("Recipe, with every default filled in"),
        *facts.blocks(RECIPE, facts.recipe, _recipe),
    ])  # fmt: skip


def _recipe(recipe: Recipe) -> list[Block]:
    return [Verbatim(recipe.to_yaml().rstrip())]


def _sources(found: Sources) -> list[Block]:
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    hashes = [(part, Cell(digest, code=True)) for part, digest in found.data_sha256.items()]
    return [
        Heading("Files"),
        _files([*found.files, *found.test_files]),
        *([Bullets(found.notes, "Decided while reading")] if found.notes else []),
        Heading("Level of theory"),
        *(_theory(theory) for theory in found.theory or [LevelOfTheory()]),
        Heading("Data as used", "SHA-256; train and test over structures and labels"),
        Pairs(hashes),
        Heading("Versions"),
        Text(versions),
    ]


def _files(files: Sequence[SourceFile]) -> Table:
    heads = [
        Column("File", number=False),
        Column("Frames"),
        Column("Read as", number=False),
        Column("SHA-256", number=False),
    ]
    return Table(heads, [Row(f.name, f"{f.n_samples:,}", _read_as(f), Cell(f.sha256, code=True)) for f in files])


def _read_as(file: SourceFile) -> str:
    named = {name: f" from {key!r}" for name, key in file.keys.items()}
    taken = {name: f" in {unit}" for name, unit in file.units.items()}
    if file.energies:
        kinds = " or the ".join(ENERGY_NAMES[kind] for kind in file.energies)
        taken["energy"] = f"{taken.get('energy', '')}, the {kinds}"
    read = (f"{name}{named.get(name, '')}{taken.get(name, '')}" for name in dict.fromkeys([*named, *taken]))
    return (f"{file.format}: " if file.format else "") + ("; ".join(read) or ABSENT)


def _theory(theory: LevelOfTheory) -> Block:
    return Pairs(stated) if (stated := _stated(theory)) else Text("Not stated.")


def _stated(model: BaseModel) -> list[tuple[str, str]]:
    """Return what a card or a level of theory states, in words."""
    kept = {name: value for name, value in model if name not in ELSEWHERE}
    return [(in_words(name), text) for name, value in kept.items() if (text := _in_words(value))]


def _in_words(value: object) -> str:
    """Write a value of a card: a number, a word, several of them by name, or a level of theory."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return short_number(value)
        case BaseModel():
            return ", ".join(f"{name}: {text}" for name, text in _stated(value))
        case Mapping():
            return ", ".join(f"{name}: {_in_words(item)}" for name, item in value.items())
        case tuple():
            return ", ".join(map(_in_words, value))
        case _:
            return str(value)


def repeating(facts: RunFacts) -> list[str]:
    """Return what to type to make, score and show this run again."""
    run, recipe = facts.folder, facts.recipe
    inside = Path(run).name in ("", "..")  # the folder that one stands in, or one above it
    again = (Path(run, "..") if inside else Path(run).parent) / f"{facts.run}-again"
    # Without a test file those it was made of: `evaluate` leaves out what the fit has seen, the rest is its test part.
    scored = ["FRAMES"] if recipe is None else [recipe.train] if isinstance(recipe.train, str) else list(recipe.train)
    if recipe and isinstance(recipe.test, str):  # `evaluate` takes a file for another one and leaves no frame out
        left_out = recipe.audit.drop_test
        scored = [recipe.test, *([word(DROP["test"], left_out)] if left_out else [])]
    models = [(f"{run}#{head}", "FRAMES") for head in facts.heads.heads] if facts.heads else [(run, *scored)]
    lines = [
        ("tune", f"{run}/{RECIPE}", "--out", str(again)),
        *(("evaluate", *model) for model in models),
        ("report", run),
    ]
    return [shlex.join(("matgraft", *line)) for line in lines]

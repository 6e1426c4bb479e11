"""Prompts as text: a formula between the class of its material and the property asked for.

    parse_prompt("[OXIDE] Fe2O3 [BANDGAP]", {"BANDGAP": "bandgap"})       # Prompt(Fe2O3, "bandgap")
    parse_prompt("[OXIDE] [LAB_A] Fe2O3", {}, ["LAB_A"])                  # with a class of the user's own

All tokens may be absent. A token is a word of capitals, digits and underscores in square brackets, set apart by spaces:
before the formula one of `MATERIAL_CLASSES` and one of the user's own classes, behind it one of the properties.
Anything else of that form is an error, also where it can be read as elements: ``Fe2O3 [HV]`` is a mistyped prompt, not
Fe2O3HV. Square brackets of a formula touch the rest of it: ``[Co(NH3)6]Cl3``, ``Fe2O3[HV]``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from matgraft.core.errors import OptionError, nearest
from matgraft.formulas.formula import Formula, FormulaError, parse_formula
from matgraft.formulas.prompts.material_class import MATERIAL_CLASSES

_APART = re.compile(r"(?:^|(?<=\s))\[([A-Z0-9_]+|[A-Z][a-z])\](?=\s|$)")
"""A token, or an element in brackets set apart, which is no way to write a formula."""
_TOUCHING = re.compile(r"\[([A-Z0-9_]+)\](?!\s*[\d.])")
"""What touches the formula, without an amount."""
NO_PROMPTS = (
    "prompts are read by runs of `matgraft tune --strategy prompt`; elsewhere write the formula alone, and the "
    "brackets of a formula without spaces around them"
)
CLASSES = "class of materials; classes are written before a formula"
PROPERTIES = "property of this run; properties are written behind a formula"
ONE_EACH = "a formula has one class before it and one property behind it"
TOUCH = "brackets of a formula have no spaces around them"


@dataclass(frozen=True)
class Prompt:
    """What is asked.

    Attributes
    ----------
    formula
        With the class that the prompt stated, if it stated one.
    property
        Name of the property, or None: whatever there is.
    """

    formula: Formula
    property: str | None = None


def parse_prompt(text: str, properties: Mapping[str, str], own: Collection[str] = ()) -> Prompt:
    """Read a formula with or without its tokens.

    Parameters
    ----------
    properties
        What may be asked, token -> name (`property_tokens`).
    own
        Tokens of the user's own classes, which may stand before a formula as well.

    Raises
    ------
    FormulaError
        If the formula cannot be read, or a token names no class or no property; with the character at fault.
    """
    tokens = list(_APART.finditer(text))
    before = _before(text, tokens, 1 + bool(own))
    behind = tokens.pop() if tokens and not text[tokens[-1].end() :].strip() else None
    if tokens:
        raise _misplaced(text, tokens[0], ONE_EACH)
    stated = _stated(text, before, own)
    if behind and behind[1] not in properties:
        raise _unknown(text, behind, properties, PROPERTIES)
    start, end = before[-1].end() if before else 0, behind.start() if behind else len(text)
    for match in _TOUCHING.finditer(text, start, end):
        if match[1] in {*properties, *MATERIAL_CLASSES, *own}:
            raise _misplaced(text, match, "a token is set apart by spaces, the class before and the property behind")
    try:
        formula = parse_formula(text[start:end])
    except FormulaError as error:
        raise FormulaError(text, start + error.position, error.found, error.remedy) from None
    if stated:
        of_material, of_own = stated.get("material", ""), stated.get("own", "")
        formula = replace(formula, stated_class=of_material, own_class=of_own)
    return Prompt(formula, properties[behind[1]] if behind else None)


def _before(text: str, tokens: list[re.Match[str]], most: int) -> list[re.Match[str]]:
    """Take the tokens, so many at most, that stand before everything else."""
    before: list[re.Match[str]] = []
    while tokens and len(before) < most and not text[before[-1].end() if before else 0 : tokens[0].start()].strip():
        before.append(tokens.pop(0))
    return before


def _stated(text: str, before: Sequence[re.Match[str]], own: Collection[str]) -> dict[str, str]:
    """Return the classes that tokens before a formula state: ``material``, ``own``."""
    classes: dict[str, str] = {}
    for match in before:
        if match[1] not in own and match[1] not in MATERIAL_CLASSES:
            raise _unknown(text, match, (*MATERIAL_CLASSES, *own), CLASSES)
        kind = "own" if match[1] in own else "material"
        if kind in classes:
            raise _misplaced(text, match, ONE_EACH)
        classes[kind] = match[1]
    return classes


def parse_stated(text: str) -> Formula:
    """Read a formula before which its class may stand: what a table to learn from holds."""
    return parse_prompt(text, {}).formula


def parse_plain(text: str) -> Formula:
    """Read a formula where prompts mean nothing.

    Raises
    ------
    FormulaError
        If it cannot be read, or holds a prompt.
    """
    if match := _APART.search(text):
        raise FormulaError(text, match.start(), f"[{match[1]}] is a prompt", NO_PROMPTS)
    return parse_formula(text)


def property_tokens(names: Iterable[str]) -> dict[str, str]:
    """Return token -> name: ``"band gap (eV)"`` is asked for by ``[BAND_GAP_EV]``.

    Raises
    ------
    OptionError
        If two names give one token, or a name none.
    """
    return _tokens(names, "column", "rename the column")


def class_tokens(words: Iterable[str], column: str) -> dict[str, str]:
    """Return token -> word of the user's own classes, as of `property_tokens`; errors too, and for a known class."""
    tokens = _tokens(words, f"class of column {column!r}", "write it in another way")
    if known := sorted(set(tokens) & set(MATERIAL_CLASSES)):
        found = f"column {column!r}: {tokens[known[0]]!r} gives the prompt [{known[0]}], which is a class of materials"
        raise OptionError(found, remedy="write it in another way")
    return tokens


def _tokens(names: Iterable[str], what: str, remedy: str) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for name in names:
        token = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
        if not token or token in tokens:
            said = f"as does {tokens[token]!r}" if token else "which is none"
            raise OptionError(f"{what} {name!r} gives the prompt [{token}], {said}", remedy=remedy)
        tokens[token] = name
    return tokens


def _unknown(text: str, match: re.Match[str], known: Iterable[str], what: str) -> FormulaError:
    allowed = ", ".join(f"[{name}]" for name in known) or "none"
    remedy = "; ".join(filter(None, (nearest(match[1], known), TOUCH)))
    return FormulaError(text, match.start(), f"[{match[1]}] is not a {what}: {allowed}", remedy)


def _misplaced(text: str, match: re.Match[str], rule: str) -> FormulaError:
    return FormulaError(text, match.start(), f"[{match[1]}] is in the wrong place: {rule}", TOUCH)

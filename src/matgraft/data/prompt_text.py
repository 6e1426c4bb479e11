"""Prompts as text: a formula between the class of its material and the property asked for.

    parse_prompt("[OXIDE] Fe2O3 [BANDGAP]", {"BANDGAP": "bandgap"})       # Prompt(Fe2O3, "bandgap")

Both tokens may be absent. A token is a word of capitals, digits and underscores in square brackets, set apart by
spaces: before the formula one of `MATERIAL_CLASSES`, behind it one of the properties. Square brackets are brackets of
formulas too: what names no class or property and can be read as a formula belongs to it, as in ``[Co(NH3)6]Cl3``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from matgraft.data.formula import Formula, FormulaError, parse_formula
from matgraft.data.material_class import MATERIAL_CLASSES
from matgraft.errors import OptionError, nearest

_BEFORE = re.compile(r"^\s*\[([A-Z0-9_]+)\](?=\s|$)")
_BEHIND = re.compile(r"(?<=\s)\[([A-Z0-9_]+)\]\s*$")
NO_PROMPTS = "prompts are read by runs of `matgraft tune --strategy prompt`; elsewhere write the formula alone"


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


def parse_prompt(text: str, properties: Mapping[str, str]) -> Prompt:
    """Read a formula with or without its tokens.

    Parameters
    ----------
    properties
        What may be asked, token -> name (`property_tokens`).

    Raises
    ------
    FormulaError
        If the formula cannot be read, or a token names no class or no property; with the character at fault.
    """
    before = _token(_BEFORE, text, MATERIAL_CLASSES, "class of materials, which stand before a formula")
    behind = _token(_BEHIND, text, properties, "property of this run, which stand behind a formula")
    start, end = before.end() if before else 0, behind.start() if behind else len(text)
    try:
        formula = parse_formula(text[start : max(start, end)])
    except FormulaError as error:
        raise FormulaError(text, start + error.position, error.found, error.remedy) from None
    stated = replace(formula, stated_class=before[1]) if before else formula
    return Prompt(stated, properties[behind[1]] if behind else None)


def parse_stated(text: str) -> Formula:
    """Read a formula before which its class may stand: what a table to learn from holds."""
    return parse_prompt(text, {}).formula


def parse_plain(text: str) -> Formula:
    """Read a formula where prompts mean nothing, and say so of one.

    Raises
    ------
    FormulaError
        If it cannot be read.
    """
    try:
        return parse_formula(text)
    except FormulaError:
        for match in (_BEFORE.search(text), _BEHIND.search(text)):
            if match and not _is_formula(match[0]):
                raise FormulaError(text, match.start(1) - 1, f"[{match[1]}] is a prompt", NO_PROMPTS) from None
        raise


def property_tokens(names: Iterable[str]) -> dict[str, str]:
    """Return token -> name: ``"band gap (eV)"`` is asked for by ``[BAND_GAP_EV]``.

    Raises
    ------
    OptionError
        If two names give one token, or a name none.
    """
    tokens: dict[str, str] = {}
    for name in names:
        token = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
        if not token or token in tokens:
            said = f"as does {tokens[token]!r}" if token else "which is none"
            raise OptionError(f"column {name!r} gives the prompt [{token}], {said}", remedy="rename the column")
        tokens[token] = name
    return tokens


def _token(pattern: re.Pattern[str], text: str, known: Iterable[str], what: str) -> re.Match[str] | None:
    """Return the match of a token that is known, None where there is none or it is part of the formula."""
    match = pattern.search(text)
    if match is None or match[1] in known or _is_formula(match[1]):
        return match if match and match[1] in known else None
    allowed = ", ".join(f"[{name}]" for name in known) or "none"
    remedy = nearest(match[1], known)
    said = f"[{match[1]}] is no {what}: {allowed}"
    raise FormulaError(text, match.start(1) - 1, said, remedy)


def _is_formula(text: str) -> bool:
    try:
        parse_formula(text)
    except FormulaError:
        return False
    return True

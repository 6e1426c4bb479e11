"""Options as words of the command line: written so that a shell keeps them, and read back to the same value.

>>> word("keys.energy", "my energy")
'keys.energy=my energy'
>>> shell({"audit.drop": [3, 5], "units.stress": None})
"'audit.drop=[3,5]' units.stress=null"
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from itertools import chain

import yaml

LONGEST = 100_000
"""Bytes of options that are offered to be typed; Linux takes 131,072 for a word of a command."""

_SIGNS = 50  # of YAML in a text: one with more stands in quotes, and need not be read
_IN_A_LIST = re.compile(r"[\w./-]+")  # text that needs no quotes between brackets either


def as_value(read: object, text: str) -> object:
    """Return what an option says of which YAML has read `text`: 1e-3, without a point, is a number too.

    What stands in quotes is text.
    """
    if not isinstance(read, str) or read != text.strip():
        return read
    try:  # YAML 1.1 takes 1e-3 for text
        return float(read)
    except ValueError:
        return read


def word(key: str, value: object) -> str:
    """Return ``key=value`` such that `matgraft.core.texts.parse_value` reads the value back.

    Numbers, text, lists and mappings are values.

    It is not yet quoted for a shell: see `shell`.
    """
    return f"{key}={value if isinstance(value, str) and _is_plain(value) else _flow(value)}"


def shell(settings: Mapping[str, object]) -> str:
    """Return options as they can be typed into a shell after a command; a name with dashes is one of the command's own.

    >>> shell({"--target": "band gap", "--skip-bad": True, "seed": 1})
    "--target 'band gap' --skip-bad seed=1"
    """
    words = (_flag(key, value) if key.startswith("-") else (word(key, value),) for key, value in settings.items())
    return shlex.join(chain.from_iterable(words))


def _flag(name: str, value: object) -> tuple[str, ...]:
    return (name,) if value is True else (name, str(value))


def typeable(settings: Mapping[str, object]) -> bool:
    """Say whether a command takes options of this length."""
    return len(shell(settings).encode()) <= LONGEST


def offer(settings: Mapping[str, object]) -> str:
    """Return the line that offers options: ``option: seed=1``, or what to do where they are too long for a command."""
    if typeable(settings):
        return f"option: {shell(settings)}"
    name = max(settings, key=lambda key: len(_flow(settings[key])))
    return (
        f"too long to type: {name} takes more than {LONGEST:,} bytes. Write its value, which --json prints, "
        f"into a file, and say {name}=@FILE"
    )


def _is_plain(text: str) -> bool:
    """Say whether a text is read back as itself without quotes of YAML."""
    if not text.isprintable() or sum(map(text.count, "[{-:?")) > _SIGNS:
        return False
    try:
        return as_value(yaml.safe_load(text), text) == text
    except (yaml.YAMLError, ValueError, OverflowError):  # 2001-99-99
        return False


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _IN_A_LIST.fullmatch(value) and _is_plain(value):
        return value
    if isinstance(value, str):  # YAML's own quotes, without a break of the line
        return str(yaml.safe_dump(value, default_style='"', allow_unicode=True, width=10**9)).strip()
    return json.dumps(value)

"""Settings from files and from ``key=value`` items: YAML, levels by dots, the later one wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.options import parse_value

Settings = TypeVar("Settings", bound=BaseModel)


def make_settings(kind: type[Settings], files: Sequence[Path], options: Sequence[str]) -> Settings:
    """Resolve the settings of a pretraining or of a predictor: defaults, at most one YAML file, ``key=value`` items.

    Raises
    ------
    OptionError
        If a key is unknown or a value does not fit.
    """
    if len(files) > 1:
        raise OptionError(f"several recipes: {', '.join(map(str, files))}", allowed=["one recipe.yaml, then key=value"])
    content = kind().model_dump()
    _merge(content, read_yaml(files[0]) if files else {})
    for option in options:
        key, value = parted(option, sorted(content))
        section, name = section_of(content, key)
        section[name] = value
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        inner = [
            f"{name}.{key}" for name, part in kind().model_dump().items() if isinstance(part, dict) for key in part
        ]
        remedy = nearest(key, [*kind.model_fields, *inner])
        raise OptionError(f"{key}={first['input']!r}: {first['msg']}", remedy=remedy) from None


def typed_keys(kind: type[BaseModel], options: Sequence[str]) -> list[str]:
    """Return the names that ``key=value`` items give a value: ``fit={rate: 1e-3}`` gives one to ``fit.rate``.

    null gives none: it takes back what was said.
    """
    keys: list[str] = []
    for option in options:
        key, _, text = option.partition("=")
        key, value = key.strip(), _value(text, option)
        if value is None:
            continue
        section = kind.model_fields[key].annotation if key in kind.model_fields else None
        inside = isinstance(section, type) and issubclass(section, BaseModel) and isinstance(value, Mapping)
        keys += [f"{key}.{name}" for name in value] if inside else [key]
    return keys


def parted(option: str, allowed: Sequence[str]) -> tuple[str, Any]:
    """Part ``key=value``, its value read as YAML.

    Raises
    ------
    OptionError
        If there is no ``=``, with what is `allowed` instead, or the value is not readable.
    """
    key, sign, text = option.partition("=")
    if not sign:
        raise OptionError(f"{option!r} is not key=value", allowed=allowed)
    return key.strip(), _value(text, option)


def section_of(content: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Return the section that a key with dots lies in, made where it is missing, and the key's own name there."""
    *levels, last = key.split(".")
    for level in levels:
        content = content.setdefault(level, {})
        if not isinstance(content, dict):
            raise OptionError(f"{key!r}: {level!r} holds a value, not a section")
    return content, last


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a mapping from a file, without the headings that have nothing under them."""
    if not file.is_file():
        raise DataError("there is no such recipe", where=str(file))
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"not readable as YAML: {error}", where=str(file)) from None
    if not isinstance(content, dict):
        raise DataError("a recipe is a mapping of keys to values", where=str(file))
    return {key: value for key, value in content.items() if value is not None}


def _value(text: str, option: str) -> Any:
    """Read the value of an option; of ``@FILE`` it stands in a file, since a command takes no word of any length."""
    if text.startswith("@"):
        if not (file := Path(text[1:]).expanduser()).is_file():
            raise OptionError(f"{option!r}: there is no such file", where=str(file))
        text = file.read_text(encoding="utf-8")
    try:
        return parse_value(text)
    except ValueError as error:
        raise OptionError(f"{option!r}: the value is not readable as YAML ({error})") from None


def _merge(content: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        else:
            content[key] = value

"""Settings from files and from ``key=value`` items: YAML, levels by dots, the later one wins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from matgraft.core.errors import DataError, OptionError, nearest
from matgraft.core.texts import parse_json, parse_value, parse_yaml
from matgraft.core.unpack import read_whole
from matgraft.core.vocabulary import ending_with, keys_called, meant

Settings = TypeVar("Settings", bound=BaseModel)
ALIKE = 0.6
"""Likeness of letters from which on a key may be a mistyped one: difflib's own."""
_MOST_NAMED = 3
_SHOWN = 200  # characters of an option in an error


def make_settings(kind: type[Settings], files: Sequence[Path], options: Sequence[str]) -> Settings:
    """Resolve the settings of a pretraining or of a predictor: defaults, at most one YAML file, ``key=value`` items.

    Raises
    ------
    OptionError
        If a key is unknown or a value does not fit.
    """
    if len(files) > 1:
        raise OptionError(f"several recipes: {', '.join(map(str, files))}", allowed=["one recipe.yaml, then key=value"])
    content: dict[str, object] = kind().model_dump()
    _merge(content, read_yaml(files[0]) if files else {})
    for option in options:
        key, value = parted(option, sorted(content))
        section, name = section_of(content, key)
        section[name] = value
    return validated(kind, content)


def validated(kind: type[Settings], content: Mapping[str, object], where: str = "") -> Settings:
    """Check settings.

    Parameters
    ----------
    where
        What they come from, for the error.

    Raises
    ------
    OptionError
        If a key is unknown, which comes with the nearest known one, is missing, or holds a value that does not fit.
    """
    try:
        settings = kind.model_validate(content)
        if key := next(_truths(content, settings), ""):
            raise OptionError(f"{key} is true or false, and a number is wanted", where=where)
        return settings
    except ValidationError as error:
        found = error.errors()
        # A key that is mistyped is missing too: it is named as it was typed.
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        path = [str(part) for part in first["loc"]]
        key = ".".join(path)
        if first["type"] == "extra_forbidden":
            known = _fields(kind, path[:-1])
            raise OptionError(
                f"unknown key {key!r}", where=where, allowed=known, remedy=_key_meant(kind, path)
            ) from None
        if first["type"] == "missing":
            raise OptionError(f"{key!r} is missing", where=where, remedy=f"{key}=...") from None
        raise OptionError(f"{key}={first['input']!r}: {first['msg']}", where=where) from None


def _key_meant(kind: type[BaseModel], path: Sequence[str]) -> str:
    """Say which key an unknown one means: a word from elsewhere, one without its section, or a mistyped one."""
    (*section, last), everything = path, keys_of(kind)
    known = _fields(kind, section)
    if own := next((name for key in keys_called(last) if (name := key.rpartition(".")[2]) in known and section), ""):
        return f"did you mean {'.'.join([*section, own])!r}?"
    if named := meant(last, everything) or meant(".".join(path), everything):
        return f"did you mean {named!r}?"
    close, same = nearest(last, known, ALIKE), ending_with(last, everything)
    if 0 < len(same) <= _MOST_NAMED and not (section and close):
        return f"did you mean {' or '.join(map(repr, same))}?"
    deeper = [f"{name}.{inner}" for name in known for inner in _fields(kind, [*section, name])]
    return close or nearest(last, deeper, ALIKE)


def keys_of(kind: type[BaseModel]) -> list[str]:
    """Return all keys of settings, those of sections with dots."""
    first = list(kind.model_fields)
    return [key for name in first for key in (name, *(f"{name}.{inner}" for inner in _fields(kind, [name])))]


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
        if isinstance(section, type) and issubclass(section, BaseModel) and isinstance(value, Mapping):
            keys += [f"{key}.{name}" for name in value]
        else:
            keys.append(key)
    return keys


def parted(option: str, allowed: Sequence[str]) -> tuple[str, object]:
    """Part ``key=value``, its value read as YAML.

    Raises
    ------
    OptionError
        If there is no ``=``, with what is `allowed` instead, or the value is not readable.
    """
    key, sign, text = option.partition("=")
    if not sign:
        raise OptionError(f"{option!r} is not key=value", allowed=allowed)
    value = _value(text, option) if text.strip() else ""  # an empty text, which few fields take; not null
    if not _is_finite(value):
        raise OptionError(
            f"{option[:_SHOWN]!r}: a number is not finite", remedy="give a finite number, or null for none"
        )
    return key.strip(), value


def section_of(content: dict[str, object], key: str) -> tuple[dict[str, object], str]:
    """Return the section that a key with dots lies in, made where it is missing, and the key's own name there."""
    *levels, last = key.split(".")
    for level in levels:
        section = content.setdefault(level, {})
        if not isinstance(section, dict):
            raise OptionError(f"{key!r}: {level!r} holds a value, not a section")
        content = section
    return content, last


def read_yaml(file: Path) -> dict[str, object]:
    """Read a mapping from a file, without the headings that have nothing under them."""
    if not file.is_file():
        raise DataError("there is no such recipe", where=str(file))
    try:
        content = parse_yaml(read_whole(file, "yaml_bytes").decode("utf-8"), str(file)) or {}
    except ValueError as error:
        raise DataError(f"not readable as YAML: {error}", where=str(file)) from None
    if not isinstance(content, dict):
        raise DataError("a recipe is a mapping of keys to values", where=str(file))
    if wrong := [str(key) for key, value in content.items() if not _is_finite(value)]:
        raise OptionError(f"a number of {wrong[0]!r} is not finite", where=str(file), remedy="give finite numbers")
    return {key: value for key, value in content.items() if value is not None}


def _is_finite(value: object) -> bool:
    """Say whether all numbers of a value are finite: no setting means anything by another."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _truths(given: object, taken: object, key: str = "") -> Iterator[str]:
    """Yield the keys of true and false that are taken as the numbers 1 and 0: ``fit.epochs=yes`` is no single epoch."""
    if isinstance(given, bool) and isinstance(taken, int | float) and not isinstance(taken, bool):
        yield key
    elif isinstance(given, Mapping):
        for name, value in given.items():
            other = taken.get(name) if isinstance(taken, Mapping) else getattr(taken, str(name), None)
            yield from _truths(value, other, f"{key}.{name}" if key else str(name))
    elif isinstance(given, list | tuple) and isinstance(taken, list | tuple):
        for value, other in zip(given, taken, strict=False):
            yield from _truths(value, other, key)


def _fields(kind: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Return the keys that a section knows; none where the path leads to no section."""
    for part in path:
        section = kind.model_fields[part].annotation
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return []
        kind = section
    return list(kind.model_fields)


def _value(text: str, option: str) -> object:
    """Read the value of an option; of ``@FILE`` it stands in a file, since a command takes no word of any length."""
    if text.startswith("@"):
        if not (file := Path(text[1:]).expanduser()).is_file():
            raise OptionError(f"{option!r}: there is no such file", where=str(file))
        return _value_of_file(file)
    try:
        return parse_value(text)
    except ValueError as error:
        shown = option if len(option) <= _SHOWN else f"{option[:_SHOWN]}..."
        raise OptionError(f"{shown!r}: the value is not readable as YAML ({error})") from None


def _value_of_file(file: Path) -> object:
    """Read a value that a command has printed as JSON, or YAML."""
    content = read_whole(file, "whole_bytes")
    try:
        return parse_json(content, str(file))
    except ValueError:
        pass
    try:
        return parse_value(content.decode("utf-8"), str(file))
    except ValueError as error:
        raise OptionError(f"the value is not readable as YAML ({error})", where=str(file)) from None


def _merge(content: dict[str, object], over: Mapping[str, object]) -> None:
    for key, value in over.items():
        inner = content.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            _merge(inner, value)
        else:
            content[key] = value

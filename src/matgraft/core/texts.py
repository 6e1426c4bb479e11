"""YAML, JSON and XML of strangers: at the speed of C, as plain data, and with bounded work.

    parse_yaml(text, "frames.yaml")      # numbers, text, lists, mappings
    parse_json(content, "records.json")

The parsers of both formats go down a nested text by calling themselves: 10,000 brackets end them, and YAML's in C ends
the whole program. So the depth is counted before. An alias of YAML stands for all that it names: what a text comes to
is counted as well. No class that a text names is ever looked up.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import yaml

from matgraft.core.errors import DataError
from matgraft.core.limits import exceeded, limits, require
from matgraft.core.machine import available_memory
from matgraft.core.options import as_value
from matgraft.core.unpack import BROKEN, open_unpacked

_OPENING = ("[", "{", "- ", "-\n", "-\r", "-\t", ":", "?")
"""Without one of these nothing in a YAML text lies in anything else."""
_LONGEST_KEY = 18
"""Characters of a number as a key: longer ones can be chosen such that a mapping takes quadratic time."""
_OUTSIDE = bytes(set(range(256)) - set(b'[]{}"'))
_PER_CONTAINER, _PER_BYTE = 90, 4
"""Bytes of memory that a list or a mapping takes in itself, and a byte of JSON with what is made of it."""


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]
    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        keys = [pair[0] for pair in node.value] if isinstance(node, yaml.MappingNode) else []
        if any(key.tag != "tag:yaml.org,2002:str" and len(key.value) > _LONGEST_KEY for key in keys):
            raise ValueError(f"a key that is not text has more than {_LONGEST_KEY} characters")
        written = [(key.tag, key.value) for key in keys if isinstance(key, yaml.ScalarNode)]
        if len(set(written)) < len(written) and not getattr(node, "merge", False):
            (_, twice), _ = Counter(written).most_common(1)[0]
            raise ValueError(f"the key {twice[:40]!r} is given twice")
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Write out what is merged by ``<<``; what stands beside it may say otherwise."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            vars(node)["merge"] = True
        super().flatten_mapping(node)


def parse_yaml(text: str, where: str = "") -> object:
    """Return what a YAML text says; dates and times are its own types, other tags than YAML's are faults.

    Raises
    ------
    ValueError
        If it is no YAML.
    DataError
        If it is beyond a limit.
    """
    require("yaml_bytes", len(text), "bytes of YAML", where)
    try:
        _require_shallow(text, where)
        if "&" in text and "*" in text:
            _require_few(yaml.compose(text, Loader=_Loader), where)
        value: object = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except (ValueError, OverflowError, TypeError, LookupError, AttributeError) as error:  # 2001-99-99
        raise ValueError(f"a value is not readable: {error}") from None
    return value


def parse_value(text: str, where: str = "") -> object:
    """Read the value of an option, which is YAML; a number with an exponent and no point, ``1e-3``, is a number too.

    Errors are those of `parse_yaml`.
    """
    return as_value(parse_yaml(text, where), text)


def _require_shallow(text: str, where: str) -> None:
    """Raise where a text is nested deeper than the limit; most have too few signs for it."""
    deepest = limits().nesting
    if sum(map(text.count, _OPENING)) <= deepest:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > deepest:
                raise exceeded("nesting", f"lists and mappings more than {deepest} deep", where)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _require_few(node: yaml.Node | None, where: str) -> None:
    """Raise where a text is beyond the limits once each alias is written out, or where one names what it lies in."""
    known: dict[int, tuple[int, int]] = {}
    bounds = limits()

    def size(node: yaml.Node, above: frozenset[int]) -> tuple[int, int]:
        """Return values and depth of a node. What an alias names came before it, and is known."""
        own = id(node)
        if own in above:
            raise ValueError("an alias names what it lies in")
        if own not in known:
            pairs = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))]
            inner = [size(part, above | {own}) for part in parts]
            known[own] = 1 + sum(values for values, _ in inner), 1 + max((depth for _, depth in inner), default=0)
            if known[own][0] > bounds.yaml_values:
                raise exceeded("yaml_values", f"its aliases stand for {known[own][0]:,} values", where)
            if known[own][1] > bounds.nesting:
                raise exceeded("nesting", f"lists and mappings more than {bounds.nesting} deep", where)
        return known[own]

    if node is not None:
        size(node, frozenset())


def refuse_doctype(path: Path, where: str, program: str) -> None:
    """Raise a `DataError` where an XML file declares a DOCTYPE, whose entities can stand for any amount of text.

    It is looked for by the parser itself, in any encoding, as far as the first element. What is no XML is left to
    whoever reads it.

    Parameters
    ----------
    program
        That never writes one.
    """
    parser, begun = expat.ParserCreate(), list[bool]()

    def refuse(*_: object) -> None:
        raise DataError(f"it declares a DOCTYPE, which {program} never writes", where=where)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda *_: begun.append(True)
    try:
        with open_unpacked(path, where) as file:
            while not begun and (part := file.read1(2**16)):
                parser.Parse(part)
    except (expat.ExpatError, *BROKEN):
        return


def parse_json(text: str | bytes, where: str = "", *, as_written: bool = False) -> Any:
    """Return what a JSON text says: numbers, text, lists, mappings, NaN included.

    Parameters
    ----------
    as_written
        Leave numbers as their text.

    Raises
    ------
    ValueError
        If it is no JSON; a `json.JSONDecodeError` says where.
    DataError
        If it is beyond a limit, or larger than the memory.
    """
    if isinstance(text, bytes) and (encoding := json.detect_encoding(text)) != "utf-8":
        text = text.decode(encoding)
    require("whole_bytes", len(text), "bytes of JSON", where)
    _require_room(text.encode("utf-8", "replace") if isinstance(text, str) else text, where)
    return _loaded(text, {"parse_float": str, "parse_int": str, "parse_constant": str} if as_written else {})


def parse_json_lines(content: bytes, where: str = "") -> Iterator[tuple[int, Any]]:
    """Walk over a text with one JSON value a line: number of the line and value; blank lines are passed over.

    Raises
    ------
    ValueError
        If a line is no JSON.
    DataError
        As of `parse_json`.
    """
    require("whole_bytes", len(content), "bytes of JSON", where)
    _require_room(content, where)
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            try:
                yield number, _loaded(line, {})
            except ValueError as error:
                raise ValueError(f"line {number} is not valid JSON: {error}") from None


def _loaded(text: str | bytes, how: Mapping[str, Any]) -> Any:
    try:
        return json.loads(text, **how)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; bytes that are no text
        raise ValueError(f"a value is not readable: {error}") from None


def _require_room(text: bytes, where: str) -> None:
    """Raise where a text is nested deeper than the limit, or what it holds takes more than the memory."""
    deepest = limits().nesting
    if len(text) < deepest:
        return
    if b"\\" in text:  # what stands behind a backslash ends no text
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    signs = np.frombuffer(text.translate(None, _OUTSIDE), np.uint8)
    quotes = signs == ord('"')
    is_outside = np.cumsum(quotes, dtype=np.uint8) % 2 == 0  # the count wraps around, and stays even or odd
    signs = signs[is_outside & ~quotes]
    steps = np.where((signs == ord("[")) | (signs == ord("{")), np.int8(1), np.int8(-1))
    if (depth := int(np.cumsum(steps, dtype=np.int32).max(initial=0))) > deepest:
        raise exceeded("nesting", f"lists and mappings {depth:,} deep", where)
    needed = _PER_CONTAINER * int((steps > 0).sum()) + _PER_BYTE * len(text)
    if needed > 2**28 and needed > (free := available_memory()).bytes:
        raise DataError(
            f"what it holds takes about {needed / 2**30:.1f} GiB, {free.bytes / 2**30:.1f} GiB are left by {free.by}",
            where=where,
            remedy="part the file",
        )

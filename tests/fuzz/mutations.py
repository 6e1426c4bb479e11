"""How a valid input is broken: bytes, lengths, numbers, nesting, splices. Each takes content and a generator.

    changed = mutated(b"...", Random(7), others=[b"..."])

The changes are those that hostile inputs were made of by hand, and those that disks and networks make.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[bytes, Random, Sequence[bytes]], bytes]

NUMBERS = tuple(
    text.encode()
    for text in (
        *("nan", "inf", "-inf", "-1", "0", "-0.0", "1e308", "1e-308", "1e400", "0x10", "1_000", "٣", "1,5", "--1"),
        *("2147483648", "9223372036854775808", "1000000000", "99999999999999999999", "9" * 400, "9" * 5000, "1e", "."),
        *("1d5", "1e5000", "true", "null", "''", "[]", "***", "1/0", "1j"),
    )
)
"""What takes the place of a number."""
BYTES = (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\x1b[2J", b"\xc3", b"\xed\xa0\x80", b"\n" * 500, b"\t" * 500)
"""What text does not have."""
SIGNS = (b"[", b"]", b"{", b"}", b'"', b"'", b"(", b")", b"=", b":", b",", b"&a ", b"*a", b"!!", b"<", b"%", b"@", b"$")
_NUMBER = re.compile(rb"[+-]?\d+(?:\.\d*)?(?:[eEdD][+-]?\d+)?")


def _flip(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(content)
    for _i in range(rng.choice((1, 1, 2, 8, 40))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    return content[: rng.randrange(len(content))]


def _cut_head(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    return content[rng.randrange(len(content)) :]


def _remove(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.choice((1, 4, 20, 200)) :]


def _lines(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """Leave lines out, repeat them, or change their order."""
    lines = content.splitlines(keepends=True)
    i, j = sorted(rng.randrange(len(lines)) for _i in range(2))
    kept = (
        lambda: lines[:i] + lines[j:],
        lambda: lines[:j] + lines[i:],
        lambda: lines[:i] + lines[i : i + 1] * 50 + lines[i + 1 :],
        lambda: lines[:i] + lines[j:] + lines[i:j],
    )
    return b"".join(rng.choice(kept)())


def _splice(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Let another input go on, or stand in the middle."""
    other = rng.choice(others) if others else content
    start, end = rng.randrange(len(content)), rng.randrange(len(other))
    part = other[end:] if rng.random() < 0.5 else other[end : end + 300]
    return content[:start] + part + (content[start:] if rng.random() < 0.5 else b"")


def _number(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """Put something else in the place of numbers."""
    found = list(_NUMBER.finditer(content[: 2**18]))
    if not found:
        return content + rng.choice(NUMBERS)
    # The numbers at the beginning are counts more often than others.
    one = rng.choice(found[:12] if rng.random() < 0.4 else found)
    return content[: one.start()] + rng.choice(NUMBERS) + content[one.end() :]


def _word(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """Put a word of the input in the place of another."""
    words = list(re.finditer(rb"[^\s,;:=\[\]{}\"]+", content[: 2**18]))
    if not words:
        return content
    one, other = rng.choice(words), rng.choice(words)
    return content[: one.start()] + other[0] + content[one.end() :]


def _insert(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(content))
    what = rng.choice(BYTES + SIGNS)
    return content[:start] + what * rng.choice((1, 1, 3, 50)) + content[start:]


def _nest(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(content))
    what = rng.choice((b"[", b"{", b'{"a":', b"- ", b"(", b"<a>", b"? ", b"[[1,", b"!!map {", b"a: &a [*a, "))
    return content[:start] + what * rng.choice((150, 12_000)) + content[start:]


def _long_line(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(content))
    what = rng.choice((b" ", b"0", b"1 ", b"a", b"-", b"\t", b"=", b"a=1 ", b"1.", b'"', b"\\"))
    return content[:start] + what * 40_000 + content[start:]


def _pack(content: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    packed = rng.choice((gzip.compress, bz2.compress, lzma.compress))(content)
    return _flip(packed, rng, ()) if rng.random() < 0.3 else packed


MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _cut, _cut_head, _remove, _lines, _lines, _splice, _number, _number, _number),
    *(_word, _insert, _nest, _long_line, _pack),
)


def mutated(content: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """Return content that one change or a few have broken."""
    for _i in range(rng.choice((1, 1, 1, 2, 4))):
        if content:
            content = rng.choice(MUTATIONS)(content, rng, others)
    return content

"""Bytes as text: UTF-8, UTF-16 and UTF-32 with or without a mark, else what a detector finds among usual encodings.

    text, decisions = as_text(content, path)

The detector is charset-normalizer. Western and Japanese texts of a table are short and mostly ASCII: among these it
chooses from a list, and Japanese only where whole kana or kanji come out.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from matgraft.core.errors import DataError
from matgraft.formulas.table.faults import Decision
from matgraft.formulas.table.layout import FURTHER_NAMES

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_EASTERN = ("cp932", "euc_jp", "gb18030", "big5", "euc_kr")
_OTHERS = ("cp1251", "cp1252")
_NAMES = {
    "cp932": "Shift-JIS",
    "cp1252": "Latin-1 (Windows-1252)",
    "latin-1": "Latin-1",
    "cp1251": "Windows-1251",
    "euc_jp": "EUC-JP",
}
_LETTERS = re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af\uff01-\uff5e]")
"""Kana, kanji, hangul and wide forms; half-width kana are single bytes that any Western text has."""
_SAMPLE = 1_000_000
WIDE_SAMPLE = 4000
"""Bytes by which an encoding of two or four bytes a letter is known."""
FEWEST_ASCII = 0.3
"""Part of the letters of a table: its numbers and separators."""
SHORT = 400
"""Bytes of lines that are no ASCII, too few for a detector; the first encoding that gives whole letters is taken."""
_OFTEN = set("°±µ²³·×äöüßÄÖÜéèêàçñåøæÅØ")
"""Signs that Western tables hold; dashes and quotes of Windows are first bytes of Japanese letters as well."""


def decoded(content: bytes, path: Path) -> tuple[str, tuple[Decision, ...]]:
    """Return a file as text with lines that end in a line feed, and what was decided.

    Raises
    ------
    DataError
        If it is no text.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None) or _wide(content)
    told: tuple[Decision, ...] = ()
    if encoding is None:
        encoding = "utf-8" if _is_read(content, "utf-8") else _detected(content)
        _refuse_utf7(content, path)
    if encoding not in ("utf-8", "utf-8-sig"):
        name = _NAMES.get(encoding, encoding.upper())
        told = (Decision(code="encoding", value=name, example=_example(content, encoding)),)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"not readable as text: {error}", where=str(path), remedy="save it as CSV (UTF-8)") from None
    if "\x00" in text:
        raise DataError("not readable as text: it holds null bytes", where=str(path), remedy="save it as CSV (UTF-8)")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"), told


def _example(content: bytes, encoding: str) -> str:
    """Return the first word that is no ASCII: by it a reader sees that an encoding is wrong."""
    text = content[:_SAMPLE].decode(encoding, "ignore").removeprefix("\ufeff")
    found = re.search(r"[^\s,;|\"]{0,20}[^\s,;|\"\x00-\x7f][^\s,;|\"]{0,20}", text)
    return found[0] if found else ""


def _refuse_utf7(content: bytes, path: Path) -> None:
    """Raise a `DataError` for UTF-7, in which ``ü`` is ``+APw-``: a charge and an amount would be made of it."""
    if not content.isascii() or b"-" not in content:
        return
    runs = set(re.findall(rb"\+A[A-Z][A-Za-z0-9+/]{1,40}-", content[:_SAMPLE]))
    for run in runs:
        try:
            letters = run.decode("utf-7")
        except UnicodeDecodeError:
            continue
        if letters and not letters.isascii() and letters.isprintable():
            found = f"not readable as text: it is UTF-7, in which {letters!r} is {run.decode()!r}"
            raise DataError(found, where=str(path), remedy="save it as CSV (UTF-8)")


def _wide(content: bytes) -> str | None:
    """Return UTF-16 or UTF-32 for a text with null bytes: the one in which most signs are ASCII, and none is null."""
    sample = content[:WIDE_SAMPLE]
    if 0 not in sample:
        return None
    shares = {name: _ascii_share(sample, name) for name in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] > FEWEST_ASCII else None


def _ascii_share(sample: bytes, encoding: str) -> float:
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 4:  # else a letter is cut
            return 0.0
        text = sample[: error.start].decode(encoding)
    is_text = bool(text) and all(sign.isprintable() or sign in "\n\r\t\ufeff" for sign in text)
    return sum(map(str.isascii, text)) / len(text) if is_text else 0.0


def _is_read(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _detected(content: bytes) -> str:
    """Return the likeliest encoding of a text that is no UTF-8."""
    from charset_normalizer import from_bytes

    able = [name for name in (*_EASTERN, *_OTHERS) if _is_read(content, name)]
    eastern = [name for name in able if name in _EASTERN and _has_letters(content.decode(name))]
    western = [name for name in able if name in _OTHERS]
    if named := [name for name in (*eastern, "cp1251") if name in able and _names_formulas(content.decode(name))]:
        return named[0]
    if "cp1252" in western and _is_western(content.decode("cp1252")):
        return "cp1252"
    if eastern and len(_around(content)) < SHORT:
        return eastern[0]
    if eastern or western:
        found = from_bytes(_around(content), cp_isolation=eastern or western).best()
        if found is not None:
            return str(found.encoding)
        return (eastern or western)[0]
    return "latin-1"


def _names_formulas(text: str) -> bool:
    """Say whether a text holds, in other letters than Latin ones, what a column of formulas is called."""
    head = text[:2000]
    return any(name in head for name in FURTHER_NAMES if not name.isascii() and len(name) > 1 and name[0] > "\u0400")


def _around(content: bytes) -> bytes:
    """Return the lines that are no ASCII, which alone tell encodings apart."""
    lines = [line for line in content[:_SAMPLE].splitlines() if not line.isascii()]
    return b"\n".join(lines[:1000]) or content[:_SAMPLE]


def _has_letters(text: str) -> bool:
    """Say whether what is no ASCII is mostly whole letters of the East."""
    odd = [sign for sign in text[:_SAMPLE] if not sign.isascii()]
    return sum(
        _LETTERS.match(sign) is not None
        or (
            unicodedata.category(sign) in ("Po", "So", "Sm", "Lo")
            and sign > "\u2e80"
            and not "\uff61" <= sign <= "\uff9f"
        )
        for sign in odd
    ) > 0.8 * len(odd)


def _is_western(text: str) -> bool:
    """Say whether every sign that is no ASCII is one that Western tables hold."""
    return all(sign in _OFTEN for sign in set(text) if not sign.isascii())

"""A report in a screenful of markdown, good to read unrendered: the columns of tables line up."""

from __future__ import annotations

import re
from collections.abc import Sequence

from matgraft.core.findings import Finding
from matgraft.core.options import offer
from matgraft.core.report import document as doc
from matgraft.core.report.text import cleaned


def to_markdown(document: doc.Document) -> str:
    """Render the sections of a document that markdown has."""
    sections = [part for section in document.of_form("markdown") for part in _section(section)]
    return "\n\n".join([f"# {_escaped(document.title)}", *sections]) + "\n"


def _section(section: doc.Section) -> list[str]:
    """Return a section's parts; one that judges stands below the document's own title."""
    parts = [part for block in section.blocks for part in _block(block)]
    title = [] if section.tone else [f"## {_escaped(section.title)}"]
    return [*title, *parts] if parts else []


def _block(block: doc.Block) -> list[str]:
    match block:
        case doc.Text(role="lead") | doc.Pairs(manner="strip"):
            return []
        case doc.Text():
            return [f"**{_escaped(block.mark)}** {_escaped(block.text)}" if block.mark else _escaped(block.text)]
        case doc.Heading():
            return [f"### {_escaped(block.text)}"]
        case doc.Bullets():
            return [*([f"## {_escaped(block.title)}"] if block.title else []), _list(block.lines)]
        case doc.Verbatim():
            return ["\n".join(f"    {cleaned(line)}" for line in block.text.splitlines())]
        case doc.Pairs():
            values = [(name, given.text if isinstance(given, doc.Cell) else given) for name, given in block.rows]
            return [_list([f"{name}: {value}" for name, value in values])]
        case doc.Table():
            return [_table(block)]
        case doc.SideBySide():
            return [part for column in block.columns for inner in column for part in _block(inner)]
        case doc.FindingList(full=True):
            return ["\n".join(f"- {_finding(found)}" for found in block.findings)]
        case _:
            return []


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_escaped(line)}" for line in lines)


def _finding(found: Finding) -> str:
    said = filter(None, [f"{found.severity} {found.code}:", found.evidence, found.remedy])
    return " ".join([*map(_escaped, said), *(_code(offer(action.options)) for action in found.actions)])


def _code(text: str) -> str:
    """Return a text to be copied, as it is; one with a backtick cannot be marked, and is escaped."""
    return _escaped(text) if "`" in text else f"`{cleaned(text)}`"


def _table(table: doc.Table) -> str:
    """Return a pipe table; units and small print stand behind their word in the same cell."""
    heads = [f"{column.title}, {column.unit}" if column.unit else column.title for column in table.columns]
    rows = [[f"{c.text} ({c.small})" if c.small else c.text for c in row.cells] for row in table.rows if row.short]
    cells = [[_escaped(cell).replace("|", "\\|") for cell in row] for row in [heads, *rows]]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    right = [column.number for column in table.columns]

    def line(row: Sequence[str]) -> str:
        told = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        return f"| {' | '.join(told)} |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])


def _escaped(text: str) -> str:
    """Keep a text from acting as markup: one line; brackets, angles and the backslashes before them escaped."""
    return re.sub(r"(?<!\\)(\\*+)([\[\]<`])", r"\1\1\\\2", " ".join(cleaned(text).split()))

"""A report on the screen of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table as Grid

from matgraft.core.audit import AuditFacts
from matgraft.core.findings import Finding, gravest_first, list_frames
from matgraft.core.options import offer
from matgraft.core.report import document as doc
from matgraft.core.report.grid import show_grid
from matgraft.core.report.text import cleaned
from matgraft.core.verdict import Tone

COLOURS: dict[Tone, str] = {"good": "green", "caution": "yellow", "bad": "red", "unknown": "white"}
"""Colour of a tone in a terminal."""
SEVERITIES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
"""Severity of a finding -> its style; the gravest first."""


def show_document(screen: Console, document: doc.Document) -> None:
    """Print the sections of a document that the screen has."""
    for section in document.of_form("screen"):
        show_section(screen, section)


def show_section(screen: Console, section: doc.Section) -> None:
    """Print a section: the headline of one that judges in a frame, all others below their title."""
    blocks = list(section.blocks)
    if section.tone:
        head = "\n".join(block.text for block in blocks if isinstance(block, doc.Text) and block.role == "headline")
        title = f"[bold]{_escaped(section.title)}[/]"
        screen.print(Panel(_escaped(head), title=title, border_style=COLOURS[section.tone]))
    else:
        _say(screen, f"\n[bold]{_escaped(section.title)}[/]")
    show_blocks(screen, blocks)


def show_blocks(screen: Console, blocks: Sequence[doc.Block]) -> None:
    """Print blocks; leads, headlines, plots and what is folded on the page are left out."""
    for block in blocks:
        _show(block, screen)


@singledispatch
def _show(_block: object, _screen: Console) -> None:
    """Print a block; by default it is one of the page alone."""


@_show.register
def _text(block: doc.Text, screen: Console) -> None:
    if block.role not in ("lead", "headline"):
        mark = f"[{COLOURS[block.tone]}]{_escaped(block.mark)}[/] " if block.mark else ""
        _say(screen, mark + _escaped(block.text))


@_show.register
def _heading(block: doc.Heading, screen: Console) -> None:
    _say(screen, f"[bold]{_escaped(block.text)}[/]")


@_show.register
def _bullets(block: doc.Bullets, screen: Console) -> None:
    mark = f"[{COLOURS[block.tone]}]{block.sign or '-'}[/]"
    if block.title:
        _say(screen, f"\n[bold]{_escaped(block.title)}[/]")
    for line in block.lines:
        _say(screen, f"{mark} {_escaped(line)}")


@_show.register
def _verbatim(block: doc.Verbatim, screen: Console) -> None:
    screen.print(cleaned(block.text), highlight=False, markup=False, soft_wrap=True)


@_show.register
def _pairs(block: doc.Pairs, screen: Console) -> None:
    for name, given in block.rows if block.manner != "strip" else ():
        text = given.text if isinstance(given, doc.Cell) else given
        screen.print(f"{_escaped(name)}: {_escaped(text)}", highlight=False, soft_wrap=True)


@_show.register
def _columns(block: doc.SideBySide, screen: Console) -> None:
    for column in block.columns:
        show_blocks(screen, column)


@_show.register
def _findings(block: doc.FindingList, screen: Console) -> None:
    for found in block.findings if block.full else ():
        _finding(screen, found)
    screen.print()


@_show.register
def _table(block: doc.Table, screen: Console) -> None:
    show_grid(screen, _grid(block))


def _grid(table: doc.Table) -> Grid:
    grid = Grid(box=SIMPLE_HEAD)
    for column in table.columns:
        unit = f"\n[dim]{_escaped(column.unit)}[/]" if column.unit else ""
        justify: JustifyMethod = "right" if column.number else "left"
        grid.add_column(_escaped(column.title) + unit, justify=justify)
    for row in table.rows:
        if row.short:
            small = [f"\n[dim]{_escaped(cell.small)}[/]" if cell.small else "" for cell in row.cells]
            cells = [_escaped(cell.text) + below for cell, below in zip(row.cells, small, strict=True)]
            grid.add_row(*cells, style="bold" if row.manner == "strong" else None)
    return grid


def _finding(screen: Console, found: Finding) -> None:
    _say(screen, f"\n[{SEVERITIES[found.severity]}]{found.severity}[/] [bold]{found.code}[/] {_escaped(found.title)}")
    _say(screen, f"  {_escaped(found.evidence)}")
    if found.frames:
        shown = f"{list_frames(found.frames, found.files)} ({len(found.frames)})"
        _say(screen, f"  [dim]frames:[/] {_escaped(shown)}")
    if found.lines:
        _say(screen, f"  [dim]lines:[/] {list_frames(found.lines, ())} ({len(found.lines)})")
    if found.remedy:
        _say(screen, f"  [dim]remedy:[/] {_escaped(found.remedy)}")
    for action in found.actions:  # unwrapped, to be copied behind the command
        screen.print(f"  [dim]{escape(offer(action.options))}[/]", highlight=False, soft_wrap=True)


def show_audit(screen: Console, facts: AuditFacts) -> None:
    """Print what was read, the findings that failed with their remedies, and the codes that passed."""
    by_outcome = {
        outcome: [one for one in facts.findings if one.outcome == outcome]
        for outcome in ("failed", "passed", "not applicable")
    }
    failed = by_outcome.pop("failed")
    codes = [(outcome, ", ".join(one.code for one in found)) for outcome, found in by_outcome.items() if found]
    allowed = f"; allowed by you: {', '.join(facts.allowed)}" if facts.allowed else ""
    blocks: list[doc.Block] = [
        doc.Text(facts.data),
        doc.Bullets(facts.notes),
        doc.FindingList(gravest_first(failed)),
        doc.Pairs(codes),
        doc.Text(f"{facts.summary}{allowed}."),
    ]
    show_blocks(screen, blocks)


def show_failed(screen: Console, lead: str, found: Sequence[Finding]) -> None:
    """Print what was found before work begins; nothing where nothing was."""
    failed = [one for one in found if one.outcome == "failed"]
    if failed:
        show_blocks(screen, [doc.Text(lead), doc.FindingList(gravest_first(failed))])


def _say(screen: Console, markup: str) -> None:
    screen.print(markup, highlight=False)


def _escaped(text: str) -> str:
    """Keep a text from acting as markup, or as a command to the terminal."""
    return escape(cleaned(text))

"""A report as data: a document of sections, each made of blocks. Three renderers make a page, markdown and a screen.

    rows = [Row("Si", "−0.0812"), Row("O", "+0.0437")]
    shifts = Table([Column("Element"), Column("Shift", "eV/atom")], rows)
    section = Section("references", "Reference energies", [Text("Added to every atom.", "lead"), shifts], EVERYWHERE)
    document = Document("silicon", [verdict_section(judged, [scores]), section])

    to_html(document)                # core/report/html.py: one file that stands alone
    to_markdown(document)            # core/report/markdown.py
    show_document(screen, document)  # core/report/screen.py, or show_section for one alone

A new section is one function from a typed fact to a `Section`, and one line in the list that its wing makes a
document from. Where the fact is not there, the function returns ``Section(..., [nothing("fit.json")])``. All values are
text when they come here, with units in the head of a column; `matgraft.core.report.text` has the ways to write numbers.
Texts may hold anything: each renderer escapes what is special to it.

A section is on the page alone unless its `forms` say more. In the short forms, markdown and screen, leads, plots,
folded blocks, bars and strips are left out, and so are rows that are not `short`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from matgraft.core.findings import Finding, gravest_first
from matgraft.core.verdict import Caution, Tone, Use, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go

Form = Literal["page", "markdown", "screen"]

PAGE: frozenset[Form] = frozenset({"page"})
SHORT: frozenset[Form] = frozenset({"markdown", "screen"})
EVERYWHERE = PAGE | SHORT

SIGNS: dict[Tone, str] = {"good": "✓", "caution": "!", "bad": "✕", "unknown": "?"}
"""What stands beside a colour, for those who do not see it."""


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes
    ----------
    role
        ``"headline"`` is large; ``"first"`` is what to read before all else; a ``"lead"`` explains how to read a
        section; a ``"note"`` is small; ``"nothing"`` says that something is missing.
    mark, tone
        Words before the text in the colour of the tone, such as ``"Read first:"``.
    """

    text: str
    role: Literal["plain", "headline", "first", "lead", "note", "nothing"] = "plain"
    mark: str = ""
    tone: Tone = "unknown"


@dataclass(frozen=True)
class Heading:
    """A title inside a section, with a remark in small print."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Bullets:
    """A list, with a title where it has one; the sign before the title is in the colour of the tone."""

    lines: Sequence[str]
    title: str = ""
    sign: str = ""
    tone: Tone = "unknown"


@dataclass(frozen=True)
class Verbatim:
    """Commands or a file, as they are."""

    text: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table or a value of a pair.

    Attributes
    ----------
    small
        Second line in small print.
    code
        Whether it is something to be typed or copied.
    percent
        Length of a bar that is drawn in the place of the text, 0 to 100.
    """

    text: str
    small: str = ""
    code: bool = False
    percent: float | None = None


@dataclass(frozen=True)
class Pairs:
    """Names with values: below each other, as a strip, or stacked in a narrow place."""

    rows: Sequence[tuple[str, str | Cell]]
    manner: Literal["", "strip", "stack"] = ""


@dataclass(frozen=True)
class Column:
    """The head of a column; the unit stands in small print. Numbers stand to the right."""

    title: str
    unit: str = ""
    number: bool = True


@dataclass(frozen=True, init=False)
class Row:
    """A row of a table.

    Attributes
    ----------
    cells
        One a column.
    manner
        ``"strong"`` is bold, ``"faint"`` grey, ``"ruled"`` has a line above.
    short
        Whether the short forms show it.
    """

    cells: tuple[Cell, ...]
    manner: Literal["", "strong", "faint", "ruled"]
    short: bool

    def __init__(
        self, *cells: str | Cell, manner: Literal["", "strong", "faint", "ruled"] = "", short: bool = True
    ) -> None:
        object.__setattr__(self, "cells", tuple(c if isinstance(c, Cell) else Cell(c) for c in cells))
        object.__setattr__(self, "manner", manner)
        object.__setattr__(self, "short", short)


@dataclass(frozen=True)
class Table:
    """A table: as wide as the sheet, as its content (``"fit"``), or with large figures (``"scores"``)."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    manner: Literal["", "fit", "scores"] = ""


@dataclass(frozen=True)
class Drawing:
    """One figure and its shape; `name` is its id on the page, `label` says to a screen reader what it shows."""

    name: str
    figure: go.Figure
    label: str
    shape: Literal["parity", "errors", "curve", "types"] = "parity"


@dataclass(frozen=True)
class Plot:
    """A caption, small print below it, and the drawings that it stands above."""

    title: str
    drawings: Sequence[Drawing]
    small: str = ""


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a dot of a colour, a ring (``"ring"``) or words alone (empty)."""

    text: str
    colour: str = ""


@dataclass(frozen=True)
class Plots:
    """Plots side by side, with what they share.

    Attributes
    ----------
    legend
        What colours and rings mean.
    beside
        Blocks that take the last place of the grid.
    curves
        Whether they are learning curves, which the reader may see by step or by minutes.
    """

    plots: Sequence[Plot]
    legend: Sequence[Key] = ()
    beside: Sequence[Block] = ()
    curves: bool = False


@dataclass(frozen=True)
class Shares:
    """A bar of parts, each with its percentage."""

    percents: Sequence[float]


@dataclass(frozen=True)
class SideBySide:
    """Blocks in columns, where the page is wide enough; `lists` are narrow ones."""

    columns: Sequence[Sequence[Block]]
    lists: bool = False


@dataclass(frozen=True)
class Folded:
    """Blocks that the reader unfolds."""

    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class FindingList:
    """What looks and checks found: in full, with figures, frames and remedies, or title and evidence alone."""

    findings: Sequence[Finding]
    full: bool = True


Block = Text | Heading | Bullets | Verbatim | Pairs | Table | Plots | Shares | SideBySide | Folded | FindingList


@dataclass(frozen=True)
class Section:
    """A sheet of a report.

    Attributes
    ----------
    name
        Stable identifier, the page's anchor.
    title
        Its heading.
    blocks
        What it shows, in order.
    forms
        Which forms of the report have it.
    tone
        The colour of a section that judges.
    nav
        Its name in the list of sections; the title where empty, and None keeps it out of the list.
    """

    name: str
    title: str
    blocks: Sequence[Block]
    forms: frozenset[Form] = PAGE
    tone: Tone | None = None
    nav: str | None = ""


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes
    ----------
    name
        Of what is reported: the heading of the page.
    sections
        In the order of a reader's questions.
    level
        The outcome in a few words, for titles.
    kind
        What stands above the heading.
    footer
        How it was made and where the rest is, for the page.
    """

    name: str
    sections: Sequence[Section]
    level: str = ""
    kind: str = "matgraft report"
    footer: str = "Written by matgraft. This page is complete and loads nothing from the network."

    @property
    def title(self) -> str:
        """Name and outcome."""
        return f"{self.name}: {self.level}" if self.level else self.name

    def of_form(self, form: Form) -> list[Section]:
        """Return the sections that a form has."""
        return [section for section in self.sections if form in section.forms]


def nothing(file: str, reason: str = "") -> Text:
    """Return the block of a section whose file is not there or, for a reason, cannot be read."""
    said = f"{file} could not be read: {reason}" if reason else f"Not recorded: this run has no {file}."
    return Text(said, "nothing")


def finding_blocks(findings: Sequence[Finding]) -> list[Block]:
    """Return what an audit found: failed findings in full, the others folded."""
    failed, passed, idle = (
        [one for one in findings if one.outcome == outcome] for outcome in ("failed", "passed", "not applicable")
    )
    counts = f"{len(failed)} failed, {len(passed)} passed, {len(idle)} not applicable."
    return [
        Text(counts),
        *([FindingList(gravest_first(failed))] if failed else []),
        *([Folded(f"{len(passed)} passed", [FindingList(passed, full=False)])] if passed else []),
        *([Folded(f"{len(idle)} not applicable, and why", [FindingList(idle, full=False)])] if idle else []),
    ]


def verdict_section(
    verdict: Verdict, between: Sequence[Block] = (), after: Sequence[Block] = (), *, name: str = "verdict", of: str = ""
) -> Section:
    """Return the verdict as a section of every form: outcome, what to read first, reasons, cautions, uses.

    Parameters
    ----------
    between, after
        Blocks between the outcome and its reasons, such as the table of errors, and blocks at the end.
    of
        Whose verdict it is, where a report has several.
    """
    lists = [
        Bullets([reason.text for reason in verdict.speaking("for")], "Speaks for it", "+", "good"),
        Bullets([reason.text for reason in verdict.speaking("against")], "Speaks against it", "−", "bad"),
        Bullets([reason.text for reason in verdict.speaking("neither")], "Not decided", "?", "unknown"),
        Bullets([_caution(one) for one in verdict.cautions], "Why it may mislead", "!", "caution"),
        Bullets(_uses(verdict.fit_for), "Fit for", "✓", "good"),
        Bullets(_uses(verdict.not_fit_for), "Not fit for", "×", "bad"),
    ]
    first, chosen = verdict.first, verdict.chosen
    blocks: list[Block] = [
        Text(verdict.headline, "headline"),
        *([Text(first.text, "first", "Read first:", "caution")] if first else []),
        *([Text(chosen)] if chosen else []),
        *between,
        SideBySide([[one] for one in lists if one.lines], lists=True),
        *after,
    ]
    return Section(name, f"{of or 'Verdict'}: {verdict.level}", blocks, EVERYWHERE, verdict.tone, of or "Verdict")


def drawings(blocks: Sequence[Block]) -> Iterator[Drawing]:
    """Yield every drawing in blocks and in the blocks inside them."""
    for block in blocks:
        if isinstance(block, Plots):
            yield from (drawing for plot in block.plots for drawing in plot.drawings)
        elif isinstance(block, Folded):
            yield from drawings(block.blocks)
        elif isinstance(block, SideBySide):
            yield from (drawing for column in block.columns for drawing in drawings(column))


def _uses(uses: Sequence[Use]) -> list[str]:
    return [f"{one.use} ({one.reason})" if one.reason else one.use for one in uses]


def _caution(one: Caution) -> str:
    return f"{_ended(one.text)} What to do: {_ended(one.remedy)}" if one.remedy else one.text


def _ended(text: str) -> str:
    """Return a sentence with one full stop; one that trails off has its own end."""
    return text if text.endswith("…") else f"{text.rstrip('.')}."

"""Tables on a terminal: no word is cut.

A name or an option that a reader has to type is one word. A column is never narrower than its longest word. Where the
columns do not fit, the lines between them are left out; where they still do not fit, each row becomes lines
"name: value".
"""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

UNBOUNDED = 100_000
"""Columns of a terminal on which every table fits."""


def show_grid(screen: Console, grid: Table) -> None:
    """Print a table in the width of the screen, or its rows one after the other."""
    words = [[_text(cell) for cell in (column.header, *column.cells)] for column in grid.columns]
    sizes = [[Measurement.get(screen, screen.options, text) for text in column] for column in words]
    least, most = ([max(getattr(size, end) for size in column) for column in sizes] for end in ("minimum", "maximum"))
    room = _room(screen, grid, sum(most))
    if sum(least) > room:
        grid.box, grid.padding, grid.pad_edge = None, (0, 2, 0, 0), False
        room = _room(screen, grid, sum(most))
    if sum(least) > room:
        _show_rows(screen, words)
        return
    bodies = [max((size.maximum for size in column[1:]), default=0) for column in sizes]
    heads_broken = [max(pair) for pair in zip(least, bodies, strict=True)]  # a head is broken once, a cell in each row
    widths = _widths(least, _widths(heads_broken, most, room), room)
    for column, width in zip(grid.columns, widths, strict=True):
        column.width = width
    screen.print(grid)


def _room(screen: Console, grid: Table, text: int) -> int:
    """Return how many characters of a line are left for the text, whose columns take `text` where nothing is narrow."""
    whole = Measurement.get(screen, screen.options.update(width=UNBOUNDED), grid).maximum
    return screen.width - (whole - text)


def _widths(least: list[int], most: list[int], room: int) -> list[int]:
    """Return widths of columns whose sum is at most `room` if it can be: the widest gives way, none below `least`."""
    widths = list(most)
    while sum(widths) > room and (wide := [i for i, width in enumerate(widths) if width > least[i]]):
        widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _show_rows(screen: Console, columns: list[list[Text]]) -> None:
    heads = [_on_one_line(column[0]) for column in columns]
    for row in zip(*(column[1:] for column in columns), strict=True):
        for head, cell in zip(heads, row, strict=True):
            if said := _on_one_line(cell):
                line = f"{head}: {said}" if head else said
                screen.print(line, highlight=False, markup=False, soft_wrap=True)
        screen.print()


def _on_one_line(cell: Text) -> str:
    """Return the lines of a cell, such as a value and its interval, with commas between."""
    return ", ".join(filter(None, (" ".join(line.split()) for line in cell.plain.splitlines())))


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))

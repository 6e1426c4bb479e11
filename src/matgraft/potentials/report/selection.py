"""What a selection tells: how many frames were chosen and why, which, and why the others were left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from matgraft.core.report.document import EVERYWHERE, Block, Bullets, Column, Pairs, Row, Section, Table
from matgraft.core.report.screen import show_section
from matgraft.core.report.text import percent, written
from matgraft.potentials.active.selection.selected import LEFT, WHY, Chosen, Selected, Why

SHOWN = 40
"""Chosen frames that are listed."""


def show_selected(screen: Console, selected: Selected) -> None:
    """Print a selection."""
    show_section(screen, selection_section(selected))


def selection_section(selected: Selected) -> Section:
    """Return counts, the chosen frames and why the others were left out."""
    title = f"{len(selected.chosen)} of {selected.n_pool} frames chosen, {selected.asked} asked for"
    more = len(selected.chosen) - SHOWN
    lists = [
        Bullets(left_lines(selected), "Left out"),
        Bullets([*selected.notes, *([f"{more} further chosen frames are not listed"] if more > 0 else [])], "Notes"),
    ]
    blocks: list[Block] = [Pairs(_facts(selected)), chosen_table(selected.chosen[:SHOWN])]
    return Section("selection", title, [*blocks, *(one for one in lists if one.lines)], EVERYWHERE)


def _facts(selected: Selected) -> list[tuple[str, str]]:
    settings = selected.settings
    rows = [("model", selected.model), *((WHY[why], str(n)) for why, n in reasons(selected.chosen).items())]
    if selected.outside is not None:
        rows += [
            ("window", f"extrapolation {settings.low:g} to {settings.high:g}; 1 is the gate"),
            ("frames outside of the gate", percent(selected.outside)),
        ]
    return [*rows, *([("written", selected.written)] if selected.written else [])]


def reasons(chosen: Sequence[Chosen]) -> Counter[Why]:
    """Return how many frames were chosen for each reason."""
    return Counter(one.why for one in chosen)


def left_lines(selected: Selected) -> list[str]:
    """Return a line a reason, the most frequent first."""
    counted = sorted(selected.left_out.items(), key=lambda one: -one[1])
    return [f"{count} {LEFT[reason]}" for reason, count in counted]


def chosen_table(chosen: Sequence[Chosen]) -> Table:
    """Return one row a chosen frame."""
    words = ("Frame", "Why", "Extrapolation", "Distance", "Origin", "Walker")
    columns = [Column(one, number=one in ("Frame", "Extrapolation", "Distance")) for one in words]
    rows = [
        Row(
            *(str(one.index), one.why, written(one.extrapolation, 2), written(one.distance, 2)),
            *(one.origin, one.walker),
        )
        for one in chosen
    ]
    return Table(columns, rows)

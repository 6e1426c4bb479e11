"""What a notebook shows of a fact: a card of a few lines, whose text is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

COLOURS = {"good": "#1a7f37", "caution": "#9a6700", "bad": "#cf222e", "unknown": "#6e7781"}
"""Tone of a verdict -> colour of the edge of its card; legible on light and on dark pages."""


def card(title: str, tone: str, *content: str) -> str:
    """Return a card.

    Parameters
    ----------
    title
        A line, as text.
    tone
        That of a verdict; empty for none.
    content
        HTML that is escaped already: `paragraph`, `bullets`.
    """
    edge = COLOURS.get(tone, COLOURS["unknown"])
    style = f"border-left:4px solid {edge};padding:0.2em 0 0.2em 0.8em;margin:0.4em 0"
    return f'<div style="{style}"><strong>{escape(title)}</strong>{"".join(content)}</div>'


def paragraph(text: str) -> str:
    """Return a paragraph; nothing for an empty text."""
    return f"<div>{escape(text)}</div>" if text else ""


def bullets(lines: Iterable[str]) -> str:
    """Return a list; nothing where there is no line."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""

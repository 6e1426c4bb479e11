"""The manner of every figure of a report: colours, dashes, symbols, legends, ticks.

Figures carry data, axes and colours that read on light and on dark paper. The page's script adds the colours of text
and grid, so that they follow the reader's theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go


COLOURS = {"untuned": "#8a94a3", "shift": "#c2872b", "tuned": "#2f78c4"}
"""Contrast of at least 3 : 1 with white and with the dark theme's paper."""
PALETTE = (COLOURS["tuned"], COLOURS["shift"], "#4b9e6b", "#b0527d", "#7d6bc2", "#8a94a3")
DASHES, SYMBOLS, PATTERNS = ("solid", "dash", "dot"), ("circle", "diamond", "x"), ("", "/", ".")
"""Tell classes apart beyond the palette's six."""


def style(i: int) -> dict[str, str]:
    """Return the ``colour``, ``dash``, ``symbol`` and ``pattern`` of class i."""
    turn = i // len(PALETTE) % len(DASHES)
    return {
        "colour": PALETTE[i % len(PALETTE)],
        "dash": DASHES[turn],
        "symbol": SYMBOLS[turn],
        "pattern": PATTERNS[turn],
    }


def verbatim(text: object) -> str:
    """Return a text that plotly shows as it is: it reads some HTML and, where the mouse is, ``%{x}``.

    Quotes stay: of the named entities it knows but a few, and would show ``&quot;``.
    """
    return escape(str(text), quote=False).replace("%{", "&#37;{")


def add_legend(plot: go.Figure) -> None:
    """Name the traces that have a name, above the figure."""
    plot.for_each_trace(lambda trace: trace.update(showlegend=bool(trace.name)))
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}
    plot.update_layout(showlegend=True, legend=legend)
    plot.update_layout(margin={"t": 34})


def empty_figure() -> go.Figure:
    """Return a figure without data, in the page's manner."""
    import plotly.graph_objects as go

    layout = {
        "template": "none",
        "showlegend": False,
        "margin": {"l": 62, "r": 12, "t": 8, "b": 46},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
    }
    plot = go.Figure(layout=layout)
    plot.update_xaxes(zeroline=False, title_standoff=8)
    plot.update_yaxes(zeroline=False, title_standoff=8)
    return plot


def log_ticks(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 of each decade that the values touch; of many decades only the powers of ten."""
    low, high = (math.floor(math.log10(value)) for value in (min(values), max(values)))
    steps = (1, 2, 5) if high - low < 3 else (1,)
    return [step * 10.0**decade for decade in range(low, high + 2) for step in steps]

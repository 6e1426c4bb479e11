"""The manner of every figure of a report: colours, dashes, symbols, legends, ticks.

Figures carry data, axes and colours that read on light and on dark paper. The page's script adds the colours of text
and grid, so that they follow the reader's theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import plotly.graph_objects as go


Array = NDArray[Any]

COLOURS = {"untuned": "#8a94a3", "shift": "#c2872b", "tuned": "#2f78c4"}
"""Contrast of at least 3 : 1 with white and with the dark theme's paper."""
PALETTE = (
    *(COLOURS["tuned"], COLOURS["shift"], "#4b9e6b", "#b0527d", "#7d6bc2", "#8a94a3"),
    *("#c8503c", "#2a93a0", "#7d8a2a", "#a97050", "#c75fb4", "#5d7fa8"),
)
"""Twelve colours, so that no chart of as many classes has one twice; contrasts as of `COLOURS`."""
DASHES, SYMBOLS, PATTERNS = ("solid", "dash", "dot"), ("circle", "diamond", "x"), ("", "/", ".")
"""Tell classes apart beyond the palette's."""
FAR = 4.0
"""Times the span of the middle four fifths of all values: what lies beyond is drawn at the edge of the chart.

Gaussian values have none there (11 standard deviations). A value a hundred times as far leaves the others one spot.
"""
FEW = 0.01
"""Part of the values that may be drawn at the edge: where more lie far off, the chart shows them all."""


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


def ends_of(values: Array) -> tuple[float, float]:
    """Return the ends of an axis that shows all values but those that are far off, with a margin."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.quantile(known, [0.1, 0.9])
    reach = FAR * (high - low)
    near = known[(known >= low - reach) & (known <= high + reach)] if reach > 0 else known
    if len(known) - len(near) > max(2.0, FEW * len(known)):  # not a few that are off, but how the values are spread
        near = known
    pad = 0.04 * float(np.ptp(near)) or 1.0
    return float(near.min() - pad), float(near.max() + pad)


@dataclass(frozen=True)
class AtEdge:
    """Points (n,) of a chart, those beyond its axes moved to its edge.

    Attributes
    ----------
    x, y
        Where they are drawn.
    symbols
        A circle; for what lies beyond an axis a triangle that points there.
    n
        How many lie beyond.
    """

    x: Array
    y: Array
    symbols: list[str]
    n: int

    @classmethod
    def of(cls, x: Array, y: Array, x_ends: tuple[float, float], y_ends: tuple[float, float]) -> AtEdge:
        """Move points to the edge."""
        symbols = np.full(len(x), "circle", dtype=object)
        for name, beyond in (
            *(("triangle-left", x < x_ends[0]), ("triangle-right", x > x_ends[1])),
            *(("triangle-down", y < y_ends[0]), ("triangle-up", y > y_ends[1])),
        ):
            symbols[beyond] = name
        n = int((symbols != "circle").sum())
        return cls(np.clip(x, *x_ends), np.clip(y, *y_ends), [str(one) for one in symbols], n)

    @property
    def beyond(self) -> NDArray[np.bool_]:
        """(n,) which points lie beyond."""
        return np.array([one != "circle" for one in self.symbols], dtype=bool)

    @property
    def marks(self) -> dict[str, list[str]]:
        """The symbols as part of a marker; empty where all points lie inside."""
        return {"symbol": self.symbols} if self.n else {}


def beyond_note(n: int) -> str:
    """Say how many points are drawn at the edge; empty where none is."""
    return f"{n:,} beyond the axes: triangles at the edge, their values where the mouse is" if n else ""


def log_ticks(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 of each decade that the values touch; of many decades only the powers of ten."""
    low, high = (math.floor(math.log10(value)) for value in (min(values), max(values)))
    steps = (1, 2, 5) if high - low < 3 else (1,)
    return [step * 10.0**decade for decade in range(low, high + 2) for step in steps]

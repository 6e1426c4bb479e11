"""What prompts show: the bank on the screen, and a map of how alike a run's prompts have become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from rich.console import Console
from rich.markup import escape as plain
from rich.table import Table

from matgraft.core.report.figures import empty_figure, verbatim
from matgraft.formulas.prompts.bank import BankCard

LONGEST = 28
"""Letters of a name beside the map."""


def show_bank(screen: Console, card: BankCard) -> None:
    """Print each property's error on held-out chemical systems, by its prompt and by the encoder's own head."""
    shown = Table("property", "by prompt", "by the encoder's head")
    for name in card.questions:
        cells = (scores.get(name) for scores in (card.scores, card.head_scores))
        shown.add_row(plain(name), *("–" if one is None else f"{one:.3f}" for one in cells))
    screen.print(shown)


def start_lines(facts: Mapping[str, Any]) -> list[str]:
    """Say which prompt each question started from; nothing where there is no bank."""
    return [
        f"{row['target']} {row['class'] or ''}".strip()
        + f": started from the prompt of {row['nearest']}, r = {row['similarity']:+.2f}"
        for row in facts.get("starts", ())
        if row["nearest"]
    ]


def prompt_figures(facts: Mapping[str, Any]) -> dict[str, go.Figure]:
    """Return the map of a run's prompts; nothing for runs without."""
    return {"prompts": alike_figure(facts["alike"])} if facts else {}


def alike_figure(alike: Mapping[str, Any]) -> go.Figure:
    """Draw the cosine similarities of prompts, the first ones at the top."""
    whole = [verbatim(name) for name in alike["names"]]
    names = [verbatim(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…") for name in alike["names"]]
    places = list(range(len(names)))
    plot = empty_figure()
    plot.add_heatmap(
        z=alike["matrix"], x=places, y=places, zmin=-1, zmax=1, colorscale="RdBu_r", xgap=1, ygap=1,
        customdata=[[f"{one} and {other}" for other in whole] for one in whole],
        hovertemplate="%{customdata}: %{z:.2f}<extra></extra>", colorbar={"thickness": 10, "outlinewidth": 0},
    )  # fmt: skip
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": names, "showgrid": False, "zeroline": False}
    plot.update_xaxes(**ticks, tickangle=-40)
    plot.update_yaxes(**ticks, autorange="reversed")
    plot.update_layout(margin={"l": 190, "b": 150})
    return plot

"""What a run's prompts have become: where each started, and how alike they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matgraft.core.report.document import (
    EVERYWHERE,
    Block,
    Column,
    Drawing,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
)
from matgraft.core.report.figures import empty_figure, verbatim
from matgraft.core.report.text import ABSENT
from matgraft.formulas.prompts.facts import Alike, PromptFacts, PromptStart

if TYPE_CHECKING:
    import plotly.graph_objects as go

LONGEST = 28
"""Letters of a name beside the map."""


def prompts_section(facts: PromptFacts) -> Section:
    """Return where the prompts of all targets started and what they have become."""
    token = next(iter(facts.tokens))
    lead = (
        f"One frozen encoder answers all targets: {facts.trained:,} numbers learned, {facts.stored_MB} MB for all "
        f"fits. A prompt asks, as in [OXIDE] Fe2O3 {token}; without a class it is found from the formula, without a "
        "property all are answered."
    )
    started: list[Block] = [Text("No bank belongs to this encoder: every prompt began at random.", "nothing")]
    if facts.bank:
        titles = "Target", "Started from", "Correlation with the labels", "Fits that chose it"
        columns = [Column(title, number=k > 1) for k, title in enumerate(titles)]
        note = (
            "Of the bank's prompts the one whose answers go best with the labels, rising or falling, on at most 100 "
            "rows of each fit."
        )
        started = [Table(columns, [_start(one) for one in facts.starts], "fit"), Text(note, "note")]
    small = "cosine similarity, mean over fits; tuned ones in brackets, then those of the bank"
    drawing = Drawing("prompts", alike_figure(facts.alike), "cosine similarities of the prompts")
    if facts.own_classes:
        counts = ", ".join(f"[{name}] {n} rows" for name, n in facts.own_classes.items())
        started = [Text(f"Classes of one's own, which may stand before a formula: {counts}."), *started]
    blocks = [Text(lead, "lead"), *started, Plots([Plot("How alike the prompts are", [drawing], small)])]
    return Section("prompts", "Prompts", blocks, EVERYWHERE)


def _start(one: PromptStart) -> Row:
    target = one.target if one.asked is None else f"{one.target}, {one.asked}"
    likeness = ABSENT if one.similarity is None else f"{one.similarity:+.2f}"
    return Row(target, one.nearest or ABSENT, likeness, ABSENT if one.fits is None else str(one.fits))


def alike_figure(alike: Alike) -> go.Figure:
    """Draw the cosine similarities of prompts, the first ones at the top."""
    whole = [verbatim(name) for name in alike.names]
    names = [verbatim(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…") for name in alike.names]
    places = list(range(len(names)))
    plot = empty_figure()
    plot.add_heatmap(
        z=alike.matrix, x=places, y=places, zmin=-1, zmax=1, colorscale="RdBu_r", xgap=1, ygap=1,
        customdata=[[f"{one} and {other}" for other in whole] for one in whole],
        hovertemplate="%{customdata}: %{z:.2f}<extra></extra>", colorbar={"thickness": 10, "outlinewidth": 0},
    )  # fmt: skip
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": names, "showgrid": False, "zeroline": False}
    plot.update_xaxes(**ticks, tickangle=-40)
    plot.update_yaxes(**ticks, autorange="reversed")
    plot.update_layout(margin={"l": 190, "b": 150})
    return plot

"""Figures of a run toward a target: both domains on one map before and after, the proxies, the importance weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from matgraft.core.report.figures import empty_figure, verbatim
from matgraft.formulas.report.plots import OTHER, OURS

Facts = Mapping[str, Any]
DOMAINS = {"source": OURS, "target": OTHER}
MARGIN = 0.04


def domain_figures(target: Facts) -> dict[str, go.Figure]:
    """Return the figures that a target's facts have data for; none where no domain was adapted to."""
    if not target.get("domain"):
        return {}
    figures: dict[str, go.Figure] = {}
    if target["domains"].get("domain"):
        figures |= {f"domains-{when}": domain_map_figure(target["domains"], when) for when in ("before", "after")}
        figures["weights"] = weights_figure(target["domains"])
    if target["domain"]["compared"]:
        figures["proxies"] = proxies_figure(target["domain"])
    return figures


def domain_map_figure(spots: Facts, when: str) -> go.Figure:
    """Draw both domains before or after the fit, on the same projection and the same axes."""
    plot = empty_figure()
    for domain, colour in DOMAINS.items():
        rows = [i for i, name in enumerate(spots["domain"]) if name == domain]
        plot.add_scatter(
            x=[spots[f"x_{when}"][i] for i in rows], y=[spots[f"y_{when}"][i] for i in rows], mode="markers",
            marker={"color": colour, "size": 4, "opacity": 0.45},
            text=[f"{domain}: {verbatim(spots['formula'][i])}" for i in rows],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    for axis, title in (("x", "first"), ("y", "second")):
        both = np.concatenate([spots[f"{axis}_before"], spots[f"{axis}_after"]])
        pad = MARGIN * float(np.ptp(both)) or 1.0
        update = plot.update_xaxes if axis == "x" else plot.update_yaxes
        update(title_text=f"{title} principal component", nticks=5, range=[both.min() - pad, both.max() + pad])
    return plot


def proxies_figure(facts: Facts) -> go.Figure:
    """Draw each method's difference to source-only by both proxies, with two standard errors."""
    rows = [row for row in facts["compared"] if row["outcome"]]
    plot = empty_figure()
    for proxy, name, colour in (("reverse", "reverse", OURS), ("weighted", "importance-weighted", OTHER)):
        plot.add_scatter(
            x=[row["method"] for row in rows], y=[row[proxy]["difference"] for row in rows], mode="markers",
            error_y={"type": "data", "array": [2 * (row[proxy]["error"] or 0.0) for row in rows], "width": 4},
            marker={"color": colour, "size": 8, "symbol": "circle" if proxy == "reverse" else "diamond"},
            hovertemplate=f"%{{x}}, {name} validation: %{{y:+.3g}}<extra></extra>",
        )  # fmt: skip
    ends = [rows[0]["method"], rows[-1]["method"]]
    plot.add_scatter(x=ends, y=[0, 0], mode="lines", line={"width": 1, "dash": "dot"}, meta="ink", hoverinfo="skip")
    plot.update_xaxes(title_text="method")
    plot.update_yaxes(title_text="error less that of source-only", nticks=6)
    return plot


def weights_figure(spots: Facts) -> go.Figure:
    """Draw how the importance weights of the source's rows on the map are spread, on a logarithmic axis."""
    weights = np.array([weight for weight in spots["weight"] if weight is not None], dtype=float)
    counts, edges = np.histogram(np.log10(weights), bins=30)
    plot = empty_figure()
    plot.add_bar(
        x=(edges[1:] + edges[:-1]) / 2, y=counts, width=np.diff(edges), marker={"color": OURS},
        hovertemplate="%{y} rows at 10^%{x:.2f}<extra></extra>",
    )  # fmt: skip
    plot.update_xaxes(title_text="importance weight, power of ten", nticks=6)
    plot.update_yaxes(title_text=f"of {len(weights):,} rows of the source", nticks=5)
    return plot

"""What was done for a domain without labels: whether it overlaps, what the proxies said, both domains on one map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from matgraft.core.report.document import (
    Block,
    Column,
    Drawing,
    Heading,
    Key,
    Plot,
    Plots,
    Row,
    Section,
    Table,
    Text,
    nothing,
)
from matgraft.core.report.figures import empty_figure, verbatim
from matgraft.formulas.domain.adaptation import ComparedMethod, Proxy
from matgraft.formulas.report.facts import TargetReport
from matgraft.formulas.report.plots import OTHER, OURS, said
from matgraft.formulas.report.rows import Spots
from matgraft.formulas.scoring.domain import DomainMetrics
from matgraft.formulas.scoring.metrics import SCORES

if TYPE_CHECKING:
    import plotly.graph_objects as go

DOMAINS = {"source": OURS, "target": OTHER}
MARGIN = 0.04


def domain_section(target: TargetReport, domain: DomainMetrics, i: int) -> Section:
    """Return what is known of the way to the target."""
    lead = "Only the source was used, as you asked: nothing was compared."
    if domain.rivals:
        lead = (
            f"Methods are compared without labels of the target, on {domain.n} rows of the source, by chemical "
            "system. Reverse validation: a fit labels the target, a second one learns these labels and must predict "
            "the source. Importance-weighted: the source's own error, each row counting as often as it would stand in "
            "the target. In brackets the differences to source-only, ± one standard error. The distance is the squared "
            f"maximum mean discrepancy of the features, {domain.distance:.3f} before the fit."
        )
    blocks: list[Block] = [Text(lead, "lead"), *([_methods(domain)] if domain.compared else [])]
    if scores := domain.target.scores:
        figures = ", ".join(f"{SCORES[name]} {said(value)}" for name, value in scores.items())
        text = (
            f"{domain.target.n_labelled} rows of the target have a value in the column {target.name}. It was used for "
            f"scoring alone, after everything was chosen: {figures}."
        )
        blocks.append(Text(text, "note"))
    for finding in domain.findings:
        remedy = f" {finding.remedy}." if finding.remedy else ""
        text = f"{finding.evidence[:1].upper()}{finding.evidence[1:]}.{remedy}"
        blocks += [Heading(f"{finding.title}: {finding.outcome}"), Text(text)]
    legend = [Key(name, colour) for name, colour in DOMAINS.items()] if target.domains else []
    blocks += [Plots(_plots(target, domain, i), legend), *([] if target.domains else [nothing("domains.csv")])]
    return Section(f"domain-{i}", f"{target.name}: carried over to the target", blocks, nav=None)


def _methods(domain: DomainMetrics) -> Table:
    errors = domain.target.errors
    titles = ["Method", "Reverse", "Weighted", "Distance", *(["Target's labels"] if errors else []), "Proxies say"]
    rows = []
    for row in domain.compared:
        taken = " (taken)" if row.method == domain.method else ""
        labels = [said(errors[row.method])] if errors else []
        proxies = (_proxy(row, one) for one in (row.reverse, row.weighted))
        rows.append(Row(row.method + taken, *proxies, f"{row.distance:.3f}", *labels, row.outcome or "–"))
    for name, reason in domain.skipped.items():
        rows.append(Row(name, *[""] * (len(titles) - 2), f"left out: {reason}"))
    return Table([Column(title, number=title != "Method") for title in titles], rows, "fit")


def _proxy(row: ComparedMethod, proxy: Proxy) -> str:
    sure = "" if proxy.error is None else f" ± {proxy.error:.2g}"
    return said(proxy.score) + (f" ({proxy.difference:+.3g}{sure})" if row.outcome else "")


def _plots(target: TargetReport, domain: DomainMetrics, i: int) -> list[Plot]:
    def plot(name: str, title: str, note: str, figure: go.Figure) -> Plot:
        return Plot(title, [Drawing(f"{name}-{i}", figure, f"{target.name}: {title}")], note)

    plots = []
    if spots := target.domains:
        before = f"distance {domain.distance:.3f}; one projection for both maps"
        after = f"{domain.method}; the network of the first inner fold"
        plots += [
            plot("domains-before", "Domains before", before, domain_map_figure(spots, "before")),
            plot("domains-after", "Domains after", after, domain_map_figure(spots, "after")),
        ]
    if domain.compared:
        note = "circles: reverse, diamonds: importance-weighted; bars: two standard errors"
        plots.append(plot("proxies", "Proxies against source-only", note, proxies_figure(domain.rivals)))
    if spots:
        left = f"{domain.overlap.effective:.0f} of {domain.overlap.n_source} rows left by them"
        plots.append(plot("weights", "Importance weights", left, weights_figure(spots)))
    return plots


def domain_map_figure(spots: Spots, when: Literal["before", "after"]) -> go.Figure:
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
        both = np.array([*spots[f"{axis}_before"], *spots[f"{axis}_after"]], dtype=float)
        pad = MARGIN * float(np.ptp(both)) or 1.0
        update = plot.update_xaxes if axis == "x" else plot.update_yaxes
        update(title_text=f"{title} principal component", nticks=5, range=[both.min() - pad, both.max() + pad])
    return plot


def proxies_figure(rows: Sequence[ComparedMethod]) -> go.Figure:
    """Draw each method's difference to source-only by both proxies, with two standard errors."""
    plot, methods = empty_figure(), [row.method for row in rows]
    for name, colour, symbol, proxies in (
        ("reverse", OURS, "circle", [row.reverse for row in rows]),
        ("importance-weighted", OTHER, "diamond", [row.weighted for row in rows]),
    ):
        plot.add_scatter(
            x=methods, y=[one.difference for one in proxies], mode="markers",
            error_y={"type": "data", "array": [2 * (one.error or 0.0) for one in proxies], "width": 4},
            marker={"color": colour, "size": 8, "symbol": symbol},
            hovertemplate=f"%{{x}}, {name} validation: %{{y:+.3g}}<extra></extra>",
        )  # fmt: skip
    ends = [methods[0], methods[-1]]
    plot.add_scatter(x=ends, y=[0, 0], mode="lines", line={"width": 1, "dash": "dot"}, meta="ink", hoverinfo="skip")
    plot.update_xaxes(title_text="method")
    plot.update_yaxes(title_text="error less that of source-only", nticks=6)
    return plot


def weights_figure(spots: Spots) -> go.Figure:
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

"""How the losses of a target's networks went, inner fold by inner fold."""

from __future__ import annotations

import pandas as pd

from matgraft.core.report.document import Drawing, Plot, Plots, Section, Text
from matgraft.core.report.figures import COLOURS
from matgraft.formulas.report.plots import loss_figure
from matgraft.formulas.report.rows import Spots

LABELS = {"train_loss": COLOURS["untuned"], "validation_loss": COLOURS["tuned"]}
DOMAIN = {"domain_loss": COLOURS["shift"]}
LEAD = (
    "Validation is the fold that the fit does not see; no epoch is chosen by it, and the weights of the last one are "
    "kept. Thin lines: the fits of the inner folds."
)
WITH_PENALTY = "The training loss holds the domain loss, the penalty between the domains; the validation loss does not."


def curves_section(name: str, history: Spots, i: int) -> Section:
    """Return the curves of a target's networks, a plot a member, and one of the domain loss where there is one."""
    table, plots, notes = pd.DataFrame(history), list[Plot](), [Text(LEAD, "lead")]
    for k, (member, rows) in enumerate(table.groupby("member", sort=False)):
        own = {str(column): rows[column].tolist() for column in rows.columns}
        drawn = {"losses": (LABELS, "loss")}
        if "domain_loss" in rows and rows["domain_loss"].notna().any():
            drawn["domain loss"] = (DOMAIN, "domain loss")
        for what, (columns, title) in drawn.items():
            figure = loss_figure(own, columns, title)
            drawing = Drawing(f"{what.replace(' ', '-')}-{i}-{k}", figure, f"{name}: {what} by epoch", "curve")
            plots.append(Plot(f"{member}: {what}", [drawing]))
        if len(drawn) > 1:
            notes.append(Text(WITH_PENALTY, "note"))
    return Section(f"training-{i}", f"{name}: training", [*notes, Plots(plots)], nav=None)

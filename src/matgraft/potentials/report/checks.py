"""The table of forgetting: how far the tuned model moved from its foundation, and where. Facts in, rows of text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matgraft.core.findings import Findings
from matgraft.core.quantities import ENERGY, POTENTIAL_QUANTITIES, Quantity
from matgraft.core.report.text import figure
from matgraft.potentials.checks.forgetting import Forgetting, ForgettingTable, MovedFrames

Facts = Mapping[str, Any]
PLACES = {
    "inside": "the target's elements alone",
    "outside": "with other elements",
    "your file": "your file",
}


def forgetting(facts: Facts) -> dict[str, Any] | None:
    """Return the table, or None where the run has none.

    Returns
    -------
    dict
        ``columns`` (name, unit), ``rows`` (place, kind, frames, main, cells with value and part of the foundation's
        own), ``outcome`` and ``evidence`` of the finding.
    """
    checks = Findings.model_validate(facts["checks"]) if facts.get("checks") else Findings()
    findings = [one for one in checks.findings if one.code == Forgetting.code]  # one a head
    if not findings:
        return None
    tables = [ForgettingTable.model_validate(one.details) for one in findings]
    rows = [(table.head, row) for table in tables for row in table.rows]
    shown = [q for q in POTENTIAL_QUANTITIES.values() if any(row.error(q) is not None for _, row in rows)]
    said = [(table.head, finding.evidence) for table, finding in zip(tables, findings, strict=True)]
    return {
        "columns": [{"name": quantity.name.capitalize(), "unit": quantity.report_unit} for quantity in shown],
        "rows": [_row(head, row, shown) for head, row in rows],
        "outcome": max((one.outcome for one in findings), key=lambda outcome: outcome == "failed"),
        "evidence": "; ".join(f"head {head}: {evidence}" if head else evidence for head, evidence in said),
    }


def _row(head: str, row: MovedFrames, quantities: Sequence[Quantity]) -> dict[str, Any]:
    place = PLACES.get(row.chemistry, row.chemistry)
    shares = [None if quantity == ENERGY else row.share(quantity) for quantity in quantities]
    return {
        "place": f"head {head}, {place}" if head else place,
        "kind": row.kind or "all",
        "frames": figure(row.n_frames, 0),
        "main": row.whole,
        "cells": [
            {
                "value": figure(row.error(quantity)),
                "part": "" if share is None else f"{100 * share:.0f} % of the foundation's own",
            }
            for quantity, share in zip(quantities, shares, strict=True)
        ],
    }


def line(facts: Facts) -> str:
    """Say the table in one line for a screen; empty where there is none."""
    table = forgetting(facts)
    if table is None:
        return ""
    units = [column["unit"] for column in table["columns"]]
    said = []
    for row in (row for row in table["rows"] if row["main"]):
        figures = [f"{cell['value']} {unit}" for cell, unit in zip(row["cells"], units, strict=True)]
        said.append(f"{row['place']} {', '.join(figures)}")
    return "; ".join(said)

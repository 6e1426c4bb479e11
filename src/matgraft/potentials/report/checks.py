"""The table of forgetting: how far the tuned model moved from its foundation, and where. Facts in, rows of text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matgraft.core.quantities import ENERGY, POTENTIAL_QUANTITIES
from matgraft.core.report.text import entries, figure, find, mapping, number, say
from matgraft.potentials.checks.forgetting import CRYSTALS, Forgetting, part
from matgraft.potentials.scoring.metrics import metric_key

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
    found = [mapping(one) for one in entries(find(facts.get("checks"), "findings"))]
    findings = [one for one in found if one.get("code") == Forgetting.code]  # one a head
    if not findings:
        return None
    rows = [
        {**mapping(row), "head": find(one, "details", "head")}
        for one in findings
        for row in entries(find(one, "details", "rows"))
    ]
    outcomes = [say(one.get("outcome")) for one in findings]
    shown = [q for q in POTENTIAL_QUANTITIES.values() if any(metric_key(q, "rmse") in row for row in rows)]
    keys = {quantity.name: metric_key(quantity, "rmse") for quantity in shown}
    return {
        "columns": [{"name": quantity.name.capitalize(), "unit": quantity.report_unit} for quantity in shown],
        "rows": [_row(row, keys) for row in rows],
        "outcome": "failed" if "failed" in outcomes else outcomes[0],
        "evidence": "; ".join(_said(one) for one in findings),
    }


def _said(finding: Facts) -> str:
    head = find(finding, "details", "head")
    return f"head {say(head)}: {say(finding.get('evidence'))}" if head else say(finding.get("evidence"))


def _row(row: Facts, keys: Mapping[str, str]) -> dict[str, Any]:
    place = PLACES.get(str(row.get("chemistry")), say(row.get("chemistry")))
    return {
        "place": f"head {say(row['head'])}, {place}" if row.get("head") else place,
        "kind": say(row.get("kind") or "all"),
        "frames": figure(row.get("n_frames"), 0),
        "main": row.get("kind") in (CRYSTALS, ""),
        "cells": [{"value": figure(row.get(key)), "part": _part(row, name)} for name, key in keys.items()],
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


def _part(row: Facts, name: str) -> str:
    """Write the change as a part of the foundation's own forces or stresses."""
    if name == ENERGY.name:
        return ""
    numbers = {key: value for key, item in row.items() if (value := number(item)) is not None}
    share = part(numbers, name)
    return "" if share is None else f"{100 * share:.0f} % of the foundation's own"

"""The section of forgetting: how far the tuned model moved from its foundation, and where."""

from __future__ import annotations

from matgraft.core.findings import Findings
from matgraft.core.quantities import POTENTIAL_QUANTITIES, Quantity
from matgraft.core.report.document import EVERYWHERE, Block, Cell, Column, Row, Section, Table, Text
from matgraft.core.report.text import percent, written
from matgraft.potentials.checks.forgetting import Forgetting, ForgettingTable, MovedFrames
from matgraft.potentials.report.facts import RunFacts, forgetting_tables
from matgraft.potentials.run_files import CHECKS

PLACES = {"inside": "the target's elements alone", "outside": "with other elements"}


def forgetting_section(facts: RunFacts) -> Section:
    """Return where the model moved, whole chemistries first."""
    return Section("forgetting", "Forgetting", facts.blocks(CHECKS.name, facts.checks, forgetting_blocks), EVERYWHERE)


def forgetting_blocks(checks: Findings) -> list[Block]:
    """Return what the check found, and the table of it."""
    findings = [one for one in checks.findings if one.code == Forgetting.code]
    if not findings:
        return [Text("Forgetting was not checked.", "nothing")]
    lead = (
        "How far the tuned model has moved from its foundation, up to the reference shift, on structures made and "
        "labelled by the foundation. With the target's elements it should change; with others it should not."
    )
    said = [
        Text(one.evidence, mark="moved far:" if one.outcome == "failed" else "", tone="caution")
        for one in findings
        if one.outcome != "passed"
    ]
    tables = forgetting_tables(checks)
    return [Text(lead, "lead"), *said, *([_table(tables)] if any(table.rows for table in tables) else [])]


def _table(tables: list[ForgettingTable]) -> Table:
    rows = [(table.head, row) for table in tables for row in table.rows]
    shown = [q for q in POTENTIAL_QUANTITIES.values() if any(row.error(q) is not None for _, row in rows)]
    heads = [Column("Structures", number=False), Column("Kind", number=False), Column("Frames")]
    columns = [*heads, *(Column(q.name.capitalize(), f"RMSE, {q.report_unit}") for q in shown)]
    return Table(columns, [_row(head, row, shown) for head, row in rows])


def _row(head: str, row: MovedFrames, shown: list[Quantity]) -> Row:
    place = f"{head and f'head {head}, '}{PLACES.get(row.chemistry, row.chemistry)}" if row.whole else ""
    cells = [Cell(written(row.error(q)), _share(row.share(q))) for q in shown]
    return Row(place, row.kind or "all", written(row.n_frames, 0), *cells, short=row.whole)


def _share(share: float | None) -> str:
    return "" if share is None else f"{percent(share, 0)} of the foundation's own"

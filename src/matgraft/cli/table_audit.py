"""What `audit` and the verbs that fit say of a table before anything is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from matgraft.cli.common import tell
from matgraft.cli.options import Columns, Shown
from matgraft.cli.table_settings import column_names, refuse_no_target_option
from matgraft.cli.tables import skipped_beside, teller

if TYPE_CHECKING:
    from matgraft.core.findings import Finding
    from matgraft.formulas.encoder import CompositionBackbone
    from matgraft.formulas.table.formula_table import FormulaTable


@dataclass(frozen=True)
class TableAuditOptions:
    """Options of `audit` on a table of formulas."""

    candidates: Annotated[str | None, typer.Option("--for", help="table of the formulas that you want to predict")] = (
        None
    )
    fold_column: Annotated[str | None, typer.Option(help="column that names each row's test fold")] = None


def audited(
    path: Path,
    tables: Mapping[str, FormulaTable],
    columns: Columns,
    encoder: CompositionBackbone,
    fold: str | None,
    silent: bool,
) -> tuple[Finding, ...]:
    """Look at the table of each target and tell what was found; raises an AuditError where something blocks."""
    from matgraft.formulas.table.audit import audit
    from matgraft.formulas.table.audit.base import TableEvidence

    audit.refuse_unknown_looks(columns.allowed)
    names = column_names(columns, fold)
    looked = {one: audit.audit_table(TableEvidence(table, one, names, encoder)) for one, table in tables.items()}
    findings = audit.TableAudit(targets=looked).findings
    audit.refuse_blocking_rows(findings, columns.allowed, str(path))
    if (tell_found := tell_findings(silent)) is not None:
        tell_found(findings)
    return findings


def tell_findings(silent: bool) -> Callable[[Sequence[Finding]], None] | None:
    """Return what prints what an audit of a table found, before anything is fitted: on standard error."""
    if silent:
        return None
    from matgraft.core.report.screen import show_failed

    return partial(show_failed, Console(stderr=True), "The audit of the table:")


def audit_rows(
    path: str,
    targets: list[str] | None,
    columns: Columns,
    asked: TableAuditOptions,
    foundation: str | None,
    shown: Shown,
) -> NoReturn:
    """Look at a table before any training; exit with 1 when a finding blocks."""
    from matgraft.core.audit import audit_facts
    from matgraft.core.report.screen import show_audit
    from matgraft.formulas.predictor.members import formula_reader
    from matgraft.formulas.registry import load_encoder
    from matgraft.formulas.table.audit import audit
    from matgraft.formulas.table.audit.base import TableEvidence
    from matgraft.formulas.table.facts import TableReading
    from matgraft.formulas.table.reading import read_table

    refuse_no_target_option(path, targets, columns)
    audit.refuse_unknown_looks(columns.allowed)
    names = column_names(columns, asked.fold_column)
    parse = formula_reader("prompt" if columns.prompt_class else "auto")
    tables = {target: read_table(Path(path), target, names, parse) for target in targets or ()}
    teller(shown.silent, skipped_beside(None, Path(path)))(TableReading.of(Path(path), tables.values()))
    candidates = audit.read_candidates(Path(asked.candidates), columns.formula) if asked.candidates else None
    encoder = load_encoder(foundation or "composition")
    looked = {
        target: audit.audit_table(TableEvidence(table, target, names, encoder, candidates))
        for target, table in tables.items()
    }
    sizes = {len(table.values) for table in tables.values()}
    n = f"{min(sizes)} to {max(sizes)}" if len(sizes) > 1 else str(max(sizes))
    data = f"{path}: {n} rows with a value of {', '.join(tables)}"
    facts = audit_facts(data, audit.TableAudit(targets=looked).findings, columns.allowed, notes_of(tables))
    tell(facts, show_audit, shown.as_json)
    raise typer.Exit(1 if facts.blocking else 0)


def notes_of(tables: Mapping[str, FormulaTable]) -> list[str]:
    """Say which rows were left out, and of what a target is."""
    notes = []
    for name, table in tables.items():
        kind = f"{len(table.classes)} classes: {', '.join(table.classes)}" if table.classes else "numbers"
        notes.append(f"{name} is read as {kind}")
        notes += [
            f"{name}: {left} rows {which} were left out"
            for left, which in ((table.without_value, "without a value"), (table.without_weight, "of weight 0"))
            if left
        ]
    return notes

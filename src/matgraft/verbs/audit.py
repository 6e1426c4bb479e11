"""Look for trouble in labels before any training.

audit(frames, foundation="chgnet").blocking        # codes that block training
audit("table.csv", target="band gap").findings
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matgraft.core.audit import AuditFacts, audit_facts
from matgraft.verbs.given import Data, kept, parsed
from matgraft.verbs.settings import means_table, name_of, recipe_for, refuse_no_target, table_run_for, told

if TYPE_CHECKING:
    from matgraft.formulas.table.formula_table import FormulaTable

_log = logging.getLogger(__name__)


def audit(
    data: Data,
    *,
    target: str | Sequence[str] | None = None,
    test: Data = None,
    foundation: Any = None,
    **options: Any,
) -> AuditFacts:
    """Look for trouble in labels before any training.

    Parameters
    ----------
    data
        Frames with labels: a list of `ase.Atoms` as `ase.io.read` gives them, a `Dataset`, files or folders. Or a table
        of formulas with values: a `pandas.DataFrame`, a mapping of columns, a file.
    target
        Column of the values, of a table; several for several.
    test
        Frames that are to be scored on.
    foundation
        What the labels are held against; by default ``"chgnet"``, for tables ``"composition"``.
    options
        Keys of a recipe, such as ``units={"energy": "eV/atom"}`` or ``**{"audit.allow": ["energy-unit"]}``; of a table
        those of `matgraft.tune`.

    Returns
    -------
    AuditFacts
        ``findings``, of them ``blocking``; a notebook shows what was found.

    Raises
    ------
    DataError
        If the data cannot be read.
    OptionError
        If an option is unknown or not read.
    """
    given = parsed(data)
    if means_table(given, target):
        with kept({"table": given}, None) as files:
            return _audit_table(files["table"], target, name_of(foundation), options)
    parts = {"frames": given} | ({} if test is None else {"test": parsed(test)})
    with kept(parts, None) as files:
        return _audit_frames(files, name_of(foundation), options)


def _audit_frames(files: Mapping[str, list[str]], foundation: str | None, options: Mapping[str, object]) -> AuditFacts:
    from matgraft.potentials.report.screen import frames_audited
    from matgraft.potentials.run import audit_file

    recipe, _ = recipe_for("audit", files, {"foundation": foundation, **options}).named()
    dataset, findings = audit_file(recipe, quiet=True)
    facts = frames_audited(dataset, findings, recipe.audit.allow)
    told(_log, facts.notes, findings)
    return facts


def _audit_table(
    files: Sequence[str], target: str | Sequence[str] | None, foundation: str | None, options: Mapping[str, object]
) -> AuditFacts:
    from matgraft.formulas.registry import load_encoder
    from matgraft.formulas.table.facts import TableReading
    from matgraft.formulas.table.faults import sentences

    targets = refuse_no_target(files, target)
    run, _ = table_run_for("audit", files, targets, {"foundation": foundation, **options})
    tables = {name: run.read(name) for name in run.targets}
    notes = sentences(TableReading.of(Path(run.table), tables.values()).decisions)
    looked = run.look(tables, load_encoder(run.foundation))
    data = f"{run.table}: {_n_rows(tables)} rows with a value of {', '.join(tables)}"
    facts = audit_facts(data, looked.findings, run.allow, notes)
    told(_log, notes, looked.findings)
    return facts


def _n_rows(tables: Mapping[str, FormulaTable]) -> str:
    sizes = {len(table.values) for table in tables.values()}
    return f"{min(sizes)} to {max(sizes)}" if len(sizes) > 1 else str(max(sizes))

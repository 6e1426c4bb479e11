"""Look at a table before any training: every trouble that is cheap to see now and dear to find later.

>>> findings = audit_table(TableEvidence(table, "gap", columns))
>>> blocking(findings)                                     # what must be settled before training
[Finding(code='mixed-units', outcome='failed', option='--drop 9,17')]

No network is trained, and none is asked but for the coverage of candidates. Each look says what it saw whether it fires
or not, and why where it cannot tell. ``docs/table-audit.md`` has a section for each code. To add a look: one function
here, one row in `LOOKS`, one section in the docs, one test that fires and one that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from matgraft.core.audit import refuse_findings
from matgraft.core.errors import choose
from matgraft.core.findings import Code, Finding
from matgraft.core.frozen import Frozen
from matgraft.core.run_folder import RunFile
from matgraft.formulas.formula import Formula
from matgraft.formulas.table.audit import chemistry, coverage, leaks, provenance, repeats, size, units, values
from matgraft.formulas.table.audit.base import TableEvidence
from matgraft.formulas.table.names import formula_column
from matgraft.formulas.table.opening import read_cells
from matgraft.formulas.table.parsing import formulas_of

Look = Callable[[TableEvidence], Iterable[Finding]]

LOOKS: tuple[Look, ...] = (
    values.outlier_value,
    values.impossible_value,
    units.mixed_units,
    units.temperature_offset,
    values.censored,
    values.heavy_zeros,
    chemistry.digit_for_letter,
    chemistry.charge_balance,
    chemistry.elements_not_pretrained,
    repeats.repeated_formula,
    repeats.duplicate_rows,
    repeats.near_duplicate_rows,
    leaks.covariate_is_target,
    leaks.covariate_identifies,
    leaks.groups_across_folds,
    size.few_rows,
    size.rare_classes,
    size.imbalance,
    provenance.mixed_provenance,
    coverage.candidates_covered,
)
MODULES = (values, units, chemistry, repeats, leaks, size, provenance, coverage)
CODES = {one.code: one for module in MODULES for one in vars(module).values() if isinstance(one, Code)}
ALLOW = "--allow"
"""The option that lets a finding pass."""


class TableAudit(Frozen):
    """What audit.json of a run holds: findings by target, passed ones too."""

    targets: dict[str, tuple[Finding, ...]]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them; of several targets a finding that not all share begins with the name of its own."""
        if len(self.targets) < 2:
            return tuple(one for own in self.targets.values() for one in own)
        found: list[Finding] = []
        for target, own in self.targets.items():
            for one in own:
                shared = all(one in others for others in self.targets.values())
                told = one if shared else one.model_copy(update={"evidence": f"{target}: {one.evidence}"})
                found += [told] * (told not in found)
        return tuple(found)


AUDIT = RunFile("audit.json", TableAudit)


def audit_table(evidence: TableEvidence, looks: Sequence[Look] = LOOKS) -> tuple[Finding, ...]:
    """Run looks over a table; return one finding for each code, passed ones too."""
    with np.errstate(all="ignore"):  # values of 1e300 have no variance: what is not finite is no evidence
        return tuple(finding for look in looks for finding in look(evidence))


def refuse_unknown_looks(codes: Iterable[str]) -> None:
    """Raise an `OptionError` for a code to allow that no look has."""
    for code in codes:
        choose(code, CODES, "finding")


def refuse_blocking_rows(findings: Sequence[Finding], allow: Sequence[str], table: str) -> None:
    """Raise an `AuditError` for findings on a table that block, unless they are allowed."""
    refuse_findings(findings, allow, table, ALLOW)


def read_candidates(path: Path, formula: str | None) -> tuple[Formula, ...]:
    """Read the formulas that a predictor shall serve from a table; its column of formulas may have another name.

    Raises
    ------
    DataError, OptionError
        If the file cannot be read, or holds no formula.
    """
    cells = read_cells(path)
    return formulas_of(cells[formula_column(cells, formula if formula in cells.columns else None, path)], path)

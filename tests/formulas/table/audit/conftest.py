"""What the tests of the audit ask: one look at cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from matgraft.core.findings import Finding
from matgraft.formulas.table.audit.audit import Look
from matgraft.formulas.table.audit.base import TableEvidence
from matgraft.formulas.table.formula_table import ColumnNames
from matgraft.formulas.table.reading import read_table

METALS = ["Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Ni", "Zn", "Al", "Ga", "In", "Ti", "Zr", "Cu", "Ag"]
ANIONS = {"O": 2.0, "S": 1.0, "F": 4.0, "Cl": 3.0}
_CELLS = pd.DataFrame(
    [
        (f"{metal}{n}{anion}", round(value * (1 + 0.02 * i) + 0.15 * n, 3))
        for i, metal in enumerate(METALS)
        for anion, value in ANIONS.items()
        for n in (1, 2)
    ],
    columns=["formula", "gap"],
)
"""128 formulas; each value is near those of its kin, and no two rows are alike."""


def evidence_of(folder: Path, cells: pd.DataFrame, target: str = "gap", **columns: object) -> TableEvidence:
    """Write cells to a file and read them as a user's table."""
    cells.to_csv(folder / "table.csv", index=False)
    names = ColumnNames(**columns)  # type: ignore[arg-type]
    return TableEvidence(read_table(folder / "table.csv", target, names), target, names)


Asked = Callable[..., Finding]


@pytest.fixture
def plain() -> pd.DataFrame:
    """Return sound cells."""
    return _CELLS.copy()


@pytest.fixture
def evidence(tmp_path: Path) -> Callable[..., TableEvidence]:
    """Return what makes evidence of cells."""
    return lambda cells, *args, **columns: evidence_of(tmp_path, cells, *args, **columns)


@pytest.fixture
def ask(tmp_path: Path) -> Asked:
    """Return what a look says of cells: its one finding."""

    def asked(look: Look, cells: pd.DataFrame, target: str = "gap", **columns: object) -> Finding:
        (finding,) = look(evidence_of(tmp_path, cells, target, **columns))
        return finding

    return asked

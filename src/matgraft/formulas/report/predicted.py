"""What `predict` and `embed` show of formulas on the screen; apart from the page, whose template is not needed here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matgraft.core.report.grid import show_grid
from matgraft.formulas.report.plots import said
from matgraft.formulas.report.rows import TableRow

MOST_SHOWN = 1000
"""Rows on the screen: a table of 20,000 takes 15 s and a gigabyte, and nobody reads it."""


def show_predictions(screen: Console, rows: Sequence[TableRow]) -> None:
    """Print a line a formula and target, of the first thousand."""
    likely = [row.get(f"p_{row['value']}") for row in rows[:MOST_SHOWN]]
    kinds = ["interval"] * (None in likely) + ["probability"] * any(one is not None for one in likely)
    shown = Table("formula", "target", "value", " or ".join(kinds), "training set")
    for row, p in zip(rows, likely, strict=False):
        sure = f"{said(row['lower'])} to {said(row['upper'])}" if p is None else f"{p:.1%}"
        place = "unlike it" if row["unlike"] else "has it" if row.get("in_training") else ""
        shown.add_row(*(escape(said(row[name])) for name in ("formula", "target", "value")), sure, place)
    show_grid(screen, shown)
    if (more := len(rows) - MOST_SHOWN) > 0:
        screen.print(f"… and {more} more; -o predictions.csv writes all")


def show_written(screen: Console, rows: Sequence[TableRow], path: Path) -> None:
    """Print how many predictions were written, and how many of them are unlike the training set."""
    screen.print(
        f"{escape(str(path))}: {len(rows)} predictions, {sum(bool(row['unlike']) for row in rows)} of them unlike the "
        "training set"
    )


def nearest_formulas(
    sought: NDArray[Any], formulas: Sequence[str], vectors: NDArray[Any], count: int
) -> list[tuple[str, float]]:
    """Return the formulas nearest to a vector (width,) among vectors (n, width), with their distances."""
    distances = np.linalg.norm(vectors - sought, axis=1)
    return [(formulas[i], float(distances[i])) for i in np.argsort(distances, kind="stable")[:count]]

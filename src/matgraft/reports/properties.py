"""What the formula commands show and write: folds on the screen, predictions and vectors as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from matgraft.backbones.composition import CompositionBackbone
from matgraft.data.formula import Formula, parse_formula
from matgraft.data.table import FormulaTable


def show_folds(screen: Console, scored: Mapping[str, Any], table: FormulaTable) -> None:
    """Print scores a fold, their mean and spread, and how much of the mixture needed the pretrained encoder."""
    names = list(scored["mean"])
    shown = Table("fold", "train", "test", *names, "pretrained")
    for fold in scored["folds"]:
        part = sum(member["weight"] for member in fold["members"] if member["pretrained"])
        cells = [f"{fold[name]:.4g}" if name in fold else "-" for name in names]
        shown.add_row(fold["fold"], str(fold["n_train"]), str(fold["n_test"]), *cells, f"{part:.0%}")
    spread = [f"{scored['mean'][name]:.4g} ± {scored['std'][name]:.2g}" for name in names]
    shown.add_row("mean", "", "", *spread, "", style="bold")
    screen.print(shown)
    if table.without_value:
        screen.print(f"{table.without_value} rows without a value were left out")
    unlike = [row for row in scored["predictions"] if row["unlike"]]
    screen.print(f"{len(unlike)} of {len(scored['predictions'])} formulas are unlike their training set")


def write_predictions(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as CSV, atomically."""
    part = path.with_name(path.name + ".part")
    pd.DataFrame(rows).to_csv(part, index=False)
    part.replace(path)


def write_vectors(formulas: Sequence[Formula], vectors: NDArray[np.float32], path: Path) -> None:
    """Write formulas and their features as parquet, atomically."""
    frame = pd.DataFrame(vectors, columns=[f"e{i}" for i in range(vectors.shape[1])])
    frame.insert(0, "formula", [str(formula) for formula in formulas])
    part = path.with_name(path.name + ".part")
    frame.to_parquet(part, index=False)
    part.replace(path)


def nearest_formulas(
    text: str, formulas: Sequence[Formula], vectors: NDArray[np.float32], encoder: CompositionBackbone, count: int
) -> list[tuple[str, float]]:
    """Return the formulas nearest to one in the encoder's features, with their distances."""
    distances = np.linalg.norm(vectors - encoder.embed([parse_formula(text)]), axis=1)
    return [(str(formulas[i]), float(distances[i])) for i in np.argsort(distances, kind="stable")[:count]]

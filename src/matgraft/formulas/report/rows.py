"""Tables that the formula commands write: predictions, maps of formulas, vectors.

predictions.csv         line, formula, target, fold, truth, value, lower, upper, std, distance, unlike, p_<class>
                        of `predict` and `crossval` also in_training: the training set has the formula
map.csv                 target, line, formula, x, y, truth
target_predictions.csv  as predictions.csv, with the truth where the target's table has one
test_predictions.csv    as predictions.csv, with what the fit knew of the row: seen (new, known group, known formula)
history.csv             target, member, fold, then a row a validation: step, epoch, train_loss, validation_loss, ...
domains.csv             target, domain, formula, weight, x_before, y_before, x_after, y_after
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from matgraft.core.files import whole
from matgraft.core.manifest import check_file
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.network import FittedNetwork
from matgraft.formulas.predictor.members import Tuned
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.predictor import Predictor

if TYPE_CHECKING:  # a prediction of formulas that are typed writes no table
    import pandas as pd

    from matgraft.formulas.domain.adaptation import ChosenMethod
    from matgraft.formulas.encoder import CompositionBackbone
    from matgraft.formulas.scoring.further import FurtherRows
    from matgraft.formulas.table.formula_table import FormulaTable
    from matgraft.formulas.table.target import TargetTable

CellValue = str | int | float | bool | None
TableRow = dict[str, CellValue]
"""A row of a table by its columns."""
Spots = dict[str, list[CellValue]]
"""A table by its columns, (n,) each."""

MOST_ON_MAP = 3000
MOST_OF_DOMAIN = 1000
"""Formulas of each domain on the map of both."""


def prediction_rows(
    formulas: Sequence[Formula],
    prediction: Prediction,
    classes: Sequence[str],
    extra: Mapping[str, CellValue],
    truths: NDArray[np.float64] | None = None,
    lines: Sequence[int] = (),
) -> list[TableRow]:
    """Return a row a formula: line, formula, truth, value, lower, upper, std, distance, unlike, in_training, p_<class>.

    Parameters
    ----------
    classes
        Names of the classes, which then stand in the place of truth and value; empty for numbers.
    extra
        Columns that all rows share.
    """
    columns = prediction_columns(formulas, prediction, classes, extra, truths, lines)
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def prediction_columns(
    formulas: Sequence[Formula],
    prediction: Prediction,
    classes: Sequence[str],
    extra: Mapping[str, CellValue],
    truths: NDArray[np.float64] | None = None,
    lines: Sequence[int] = (),
) -> Spots:
    """Return the columns of `prediction_rows`."""

    def named(values: NDArray[np.float64]) -> list[CellValue]:
        return [classes[i] for i in values.astype(int)] if classes else values.astype(float).tolist()

    columns: Spots = {"line": list(lines)} if lines else {}
    columns["formula"] = [str(formula) for formula in formulas]
    columns |= {name: [value] * len(formulas) for name, value in extra.items()}
    columns |= {"truth": named(truths)} if truths is not None else {}
    columns["value"] = named(prediction.value)
    if not classes:
        columns |= {"lower": prediction.lower.tolist(), "upper": prediction.upper.tolist()}
    columns |= {"std": prediction.std.tolist(), "distance": prediction.distance.tolist()}
    columns["unlike"] = prediction.unlike.tolist()
    if prediction.in_training is not None:
        columns["in_training"] = prediction.in_training.astype(bool).tolist()
    if prediction.probabilities is not None:
        columns |= {f"p_{name}": one.tolist() for name, one in zip(classes, prediction.probabilities.T, strict=True)}
    return columns


def target_rows(table: TargetTable, prediction: Prediction, classes: Sequence[str], target: str) -> list[TableRow]:
    """Return a row a formula of a domain without labels, its truth last, where there is any."""
    rows = prediction_rows(table.formulas, prediction, classes, {"target": target}, lines=table.lines)
    if len(table.labelled):
        for row, truth in zip(rows, table.truths, strict=True):
            row["truth"] = None if np.isnan(truth) else classes[int(truth)] if classes else float(truth)
    return rows


def further_rows(found: FurtherRows, target: str) -> list[TableRow]:
    """Return a row a formula of a further table with labels, with what the fit knew of it."""
    table = found.table
    rows = prediction_rows(
        table.formulas, found.prediction, table.classes, {"target": target}, table.values, table.lines
    )
    return [row | {"seen": seen} for row, seen in zip(rows, found.seen, strict=True)]


def history_rows(networks: Mapping[str, Sequence[Tuned]], target: str) -> list[TableRow]:
    """Return how the losses of networks went: a row a validation of each member's fit on the rest of each fold."""
    rows: list[TableRow] = []
    for name, fits in networks.items():
        for k, fit in enumerate(fits):
            for values in zip(*fit.curves.values(), strict=True):
                losses: TableRow = {key: float(value) for key, value in zip(fit.curves, values, strict=True)}
                rows.append({"target": target, "member": name, "fold": k, **losses})
    return rows


def map_rows(table: FormulaTable, target: str, backbone: CompositionBackbone) -> list[TableRow]:
    """Return rows of formulas at the first two principal components of their features."""
    from sklearn.decomposition import PCA  # takes a second, which a prediction does not wait for

    chosen = np.sort(np.random.default_rng(0).permutation(len(table.formulas))[:MOST_ON_MAP])
    vectors = backbone.embed([table.formulas[i] for i in chosen])
    places = PCA(2, random_state=0).fit_transform(vectors - vectors.mean(0))
    return [
        {"target": target, "line": table.lines[i], "formula": str(table.formulas[i]), "x": float(x), "y": float(y),
         "truth": float(table.values[i])}
        for i, (x, y) in zip(chosen, places, strict=True)
    ]  # fmt: skip


def domain_rows(predictor: Predictor, adapted: ChosenMethod, target: str) -> list[TableRow]:
    """Return rows of both domains at the first two principal components of all features, frozen and tuned.

    The tuned ones are those of the network of the first inner fold, the frozen ones those that it began with.
    """
    from sklearn.decomposition import PCA

    seed = predictor.settings.seed
    parts = {"source": predictor.inputs, "target": adapted.target.inputs}
    chosen = {
        name: np.sort(np.random.default_rng(seed).permutation(len(part))[:MOST_OF_DOMAIN])
        for name, part in parts.items()
    }
    network = predictor.networks[predictor.members[0].name][0]
    assert isinstance(network, FittedNetwork)
    some = {name: parts[name].take(rows) for name, rows in chosen.items()}
    before = [predictor.tools.backbone.alone(seed).embed(part.formulas) for part in some.values()]
    after = [network.features(part) for part in some.values()]
    both = [np.concatenate(blocks) for blocks in (before, after)]
    projection = PCA(2, random_state=0).fit(np.concatenate(both))
    places = [projection.transform(block) for block in both]
    names = [(name, i) for name, rows in chosen.items() for i in rows]
    return [
        {"target": target, "domain": name, "formula": str(parts[name].formulas[i]),
         "weight": float(adapted.overlap.weights[i]) if name == "source" else None,
         "x_before": float(x0), "y_before": float(y0), "x_after": float(x1), "y_after": float(y1)}
        for (name, i), (x0, y0), (x1, y1) in zip(names, *places, strict=True)
    ]  # fmt: skip


def write_rows(rows: Sequence[TableRow], path: Path) -> None:
    """Write rows as CSV, or as parquet where the file is called so, whole or not at all."""
    import pandas as pd

    with whole(path) as part:
        if path.suffix.lower() == ".parquet":
            frame = pd.DataFrame(rows)
            if (
                len({type(row["value"]) for row in rows if "value" in row}) > 1
            ):  # numbers of one target, words of another
                frame["value"] = frame["value"].astype(str)
            frame.to_parquet(part, index=False)
        else:
            pd.DataFrame(rows).to_csv(part, index=False)


def gather_rows(files: Sequence[Path], path: Path) -> None:
    """Write the rows of several such files into one."""
    import pandas as pd

    with whole(path) as part:
        pd.concat([read_rows(file) for file in files]).to_csv(part, index=False)


def read_rows(path: Path) -> pd.DataFrame:
    """Read what `write_rows` wrote: formulas, truths and values as text ("NaN" is sodium with nitrogen)."""
    import pandas as pd

    words = {"formula": str, "truth": str, "value": str, "target": str, "fold": str}
    return pd.read_csv(check_file(path), dtype=words, keep_default_na=False, na_values=[""])


def write_vectors(formulas: Sequence[str], vectors: NDArray[Any], path: Path) -> None:
    """Write formulas and their features as parquet, whole or not at all."""
    _write_parquet({"formula": list(formulas)}, vectors, path)


def write_element_vectors(formulas: Sequence[Formula], vectors: Sequence[NDArray[Any]], path: Path) -> None:
    """Write a row an element of each formula as parquet, whole or not at all: formula, element, fraction, vector."""
    columns: dict[str, list[CellValue]] = {
        "formula": [str(one) for one in formulas for _ in one.numbers],
        "element": [symbol for one in formulas for symbol in one.symbols],
        "fraction": [fraction for one in formulas for fraction in one.fractions],
    }
    _write_parquet(columns, np.concatenate(vectors), path)


def _write_parquet(columns: Mapping[str, Sequence[Any]], vectors: NDArray[Any], path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(vectors, columns=[f"e{i}" for i in range(vectors.shape[1])])
    for place, (name, values) in enumerate(columns.items()):
        frame.insert(place, name, values)
    with whole(path) as part:
        frame.to_parquet(part, index=False)

"""Every prediction beside its label, as one table: what predictions.parquet holds and every plot is drawn from.

    table = predictions_table({"test": (test, {"tuned": tuned, "untuned": untuned, "shift": shifted})})
    write_predictions(table, run / "predictions.parquet")
    table = read_predictions(run / "predictions.parquet")

One row a part, model and frame. Columns, in canonical units:

| column                            | content                                                                |
| --------------------------------- | ---------------------------------------------------------------------- |
| part, model, frame                | frame: position in its part, from 0                                    |
| file, index                       | where the frame was read from                                          |
| trajectory, config_type           | tags; null where not stated                                            |
| formula, n_atoms                  |                                                                        |
| energy_label, energy              | eV, total                                                              |
| forces_label, forces              | eV/Å, 3 N numbers: x, y, z of the first atom, of the second, ...        |
| magmom_label, magmom              | µB, N numbers: the size of the moment of each atom                     |
| stress_label, stress              | eV/Å³, six numbers in ASE's order: xx, yy, zz, yz, xz, xy              |

What is absent is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from matgraft.core.errors import DataError, RunError
from matgraft.core.files import whole
from matgraft.core.manifest import checked
from matgraft.core.quantities import MAGMOM, POTENTIAL_QUANTITIES, UNCERTAINTIES, Array, Quantity, full_to_voigt
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.scoring.frame_errors import Predictions

Parts = Mapping[str, tuple[Dataset, Mapping[str, Predictions]]]
"""Part -> its frames, and model -> predictions of them."""

_DESCRIPTION = {
    "part": pa.string(),
    "model": pa.string(),
    "frame": pa.int64(),
    "file": pa.string(),
    "index": pa.int64(),
    "trajectory": pa.string(),
    "config_type": pa.string(),
    "formula": pa.string(),
    "n_atoms": pa.int64(),
}


def predictions_table(parts: Parts, quantities: Mapping[str, Quantity] = POTENTIAL_QUANTITIES) -> pd.DataFrame:
    """Set every prediction beside its label.

    Parameters
    ----------
    parts
        ``{"test": (dataset, {"tuned": predictions, "untuned": ..., "shift": ...})}``.
    quantities
        Those that get columns.

    Returns
    -------
    DataFrame
        Columns as in the module's docstring; a list of numbers is a float array.

    Raises
    ------
    DataError
        If a model has not one prediction a frame.
    """
    rows = [
        {"part": part, "model": model, "frame": i, **_describe(sample), **_values(sample, prediction, quantities)}
        for part, (dataset, models) in parts.items()
        for model, predictions in models.items()
        for i, (sample, prediction) in enumerate(_pairs(part, model, dataset, predictions))
    ]
    return pd.DataFrame(rows, columns=_schema(quantities).names)


def write_predictions(
    table: pd.DataFrame, path: Path, quantities: Mapping[str, Quantity] = POTENTIAL_QUANTITIES
) -> None:
    """Write the table as parquet; the file is whole or is not there. `quantities` as `predictions_table` had them."""
    schema = _schema(quantities)
    arrays = [pa.array(table[field.name], field.type, from_pandas=True) for field in schema]
    with whole(path) as part:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), part, compression="zstd")


def read_predictions(path: Path) -> pd.DataFrame:
    """Read the table back.

    Raises
    ------
    RunError
        If there is no such file, or it is no parquet file.
    """
    try:
        table = pq.read_table(BytesIO(checked(path))).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            f"the predictions cannot be read: {error}", where=str(path), remedy="score the run again"
        ) from error
    later = [f"{MAGMOM.name}_label", MAGMOM.name]  # what tables of earlier versions lack
    return table.assign(**dict.fromkeys([name for name in later if name not in table]))


def _pairs(
    part: str, model: str, dataset: Dataset, predictions: Predictions
) -> Iterator[tuple[Sample, Mapping[str, Array]]]:
    if len(predictions) != len(dataset):
        raise DataError(f"{len(predictions)} predictions of {model!r} for the {len(dataset)} frames of {part!r}")
    return zip(dataset, predictions, strict=True)


def _describe(sample: Sample) -> dict[str, object]:
    content, tags = sample.content, sample.tags
    is_structure = hasattr(content, "get_chemical_formula")
    return {
        "file": sample.file,
        "index": sample.index,
        "trajectory": tags.get("trajectory"),
        "config_type": tags.get("config_type"),
        "formula": content.get_chemical_formula() if is_structure else str(content),
        "n_atoms": sample.n_atoms if is_structure else None,
    }


def _values(sample: Sample, prediction: Mapping[str, Array], quantities: Mapping[str, Quantity]) -> dict[str, object]:
    labels = _labels(sample)
    compared = {name: quantities[name].compared(label) for name, label in labels.items() if name in quantities}
    return {
        f"{name}{suffix}": _flat(values.get(name), quantity)
        for name, quantity in quantities.items()
        for suffix, values in (("_label", compared), ("", prediction))
        if suffix in _suffixes(name)
    }


def _labels(sample: Sample) -> Mapping[str, Array]:
    """Return the labels, NaN in the components that are none."""
    partial = {
        name: np.where(known, sample.labels[name], np.nan)
        for name, known in sample.components.items()
        if name in sample.labels
    }
    return {**sample.labels, **partial}


def _schema(quantities: Mapping[str, Quantity]) -> pa.Schema:
    """Types are stated, so that a column without a single value keeps its own."""
    values = {
        f"{name}{suffix}": pa.float64() if _is_scalar(quantity) else pa.list_(pa.float64())
        for name, quantity in quantities.items()
        for suffix in _suffixes(name)
    }
    return pa.schema(list((_DESCRIPTION | values).items()))


def _suffixes(name: str) -> tuple[str, ...]:
    """Return the ends of a quantity's columns: what a model says of its own predictions has no label."""
    return ("",) if name in UNCERTAINTIES else ("_label", "")


def _is_scalar(quantity: Quantity) -> bool:
    return quantity.shape == () and quantity.per == "sample"


def _flat(value: Array | None, quantity: Quantity) -> float | Array | None:
    if value is None:
        return None
    if _is_scalar(quantity):
        return float(value)
    return (full_to_voigt(value) if quantity.shape == (3, 3) else np.asarray(value)).ravel()

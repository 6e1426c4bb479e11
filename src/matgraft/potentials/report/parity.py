"""Labels against predictions: which points, in which unit, thinned how, with which errors; and the section of them.

`parity` turns the table of predictions of a run folder into points. Statistics and histograms use every point; only the
points that are drawn are thinned, and the answer says so.

Energies of frames with different compositions lie eV apart, which would hide errors of meV. So one energy per element,
fitted to the *labels* by least squares, is taken from labels and predictions alike: E - sum_Z n_Z e_Z, then divided by
the number of atoms. Errors are untouched by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from ase.formula import Formula
from numpy.typing import NDArray

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, POTENTIAL_QUANTITIES, Array, Quantity

PredictedBy = Literal["untuned", "shift", "tuned"]
"""The models of a table of predictions."""

MODELS: tuple[PredictedBy, ...] = ("untuned", "shift", "tuned")
PARTS = ("test", "validation", "train")

DRAWN_POINTS = 9_000
"""Points drawn of one model and quantity: two models stay below 20,000 marks, which a laptop scrolls smoothly."""
WORST_SHARE = 0.1
"""Part of the drawn points that is kept for the largest errors, so that thinning cannot hide an outlier."""
HISTOGRAM_REACH = 99.0
"""Percentile of |error|, over the drawn models, at which a histogram ends; its outermost bins hold what lies beyond."""

Pair = tuple[Array, Array]


class ModelPoints(Frozen):
    """Predictions of a model against the labels, in the unit of reports.

    Attributes
    ----------
    points
        Those that are drawn.
    rmse, mae, worst
        Over all points.
    slope
        Of prediction against label by least squares: below 1 the model is too soft; None where all labels are equal.
    """

    points: list[float]
    rmse: float
    mae: float
    worst: float
    slope: float | None


class Histogram(Frozen):
    """Per cent of all points in bins of signed error, for each model in the same bins."""

    centres: list[float]
    percent: dict[PredictedBy, list[float]]


class QuantityParity(Frozen):
    """Labels of a quantity against its predictions.

    Attributes
    ----------
    unit
        meV/atom, eV/Å or GPa.
    n_points, n_drawn
        Values, and those that are drawn.
    n_left_out
        Labelled frames without a finite prediction of every model.
    label
        Labels of the points that are drawn.
    drawn
        The models to draw, the one behind first.
    """

    unit: str
    n_points: int
    n_drawn: int
    n_left_out: int
    label: list[float]
    models: dict[PredictedBy, ModelPoints]
    drawn: list[PredictedBy]
    histogram: Histogram


class Parity(Frozen):
    """What the plots of labels against predictions show: the part of the frames, and each quantity by its name."""

    part: str
    n_frames: int
    quantities: dict[str, QuantityParity]


def parity(table: pd.DataFrame, part: str = "") -> Parity | None:
    """Return the points, errors and histograms of each quantity; None if there is no row.

    Parameters
    ----------
    table
        One row a (part, model, frame), as `matgraft.potentials.scoring.table` describes it.
    part
        The part to show; the first of test, validation and train that is there where empty or absent.
    """
    parts = set(table["part"])
    part = next((name for name in (part, *PARTS) if name in parts), "")
    rows = table[table["part"] == part]
    models = [model for model in MODELS if model in set(rows["model"])]
    if not models:
        return None
    by_model = {model: rows[rows["model"] == model].set_index("frame") for model in models}
    shown = {name: _quantity(quantity, by_model) for name, quantity in POTENTIAL_QUANTITIES.items()}
    n_frames = max(len(frames) for frames in by_model.values())
    return Parity(part=part, n_frames=n_frames, quantities={name: value for name, value in shown.items() if value})


def composition_energies(formulas: Sequence[str], energies: Array) -> Array:
    """Return the part of each total energy (eV) that least squares gives to its composition.

    Zero for all frames if a formula cannot be read: then the energies are shown as they are.
    """
    try:
        counts = [Formula(formula).count() for formula in formulas]
    except ValueError:
        return np.zeros(len(formulas))
    elements = sorted({symbol for count in counts for symbol in count})
    matrix = np.array([[count.get(symbol, 0) for symbol in elements] for count in counts], dtype=float)
    atoms = matrix.sum(axis=1, keepdims=True)
    solution = np.linalg.lstsq(matrix / atoms, energies / atoms[:, 0], rcond=1e-3)[0]
    return np.asarray(matrix @ solution)


def drawn_models(quantity: Quantity, models: Sequence[PredictedBy]) -> list[PredictedBy]:
    """Return the models that a plot shows: the one behind, then the tuned one.

    The foundation's energies differ by a constant an atom, which says nothing and squeezes the axes: the shifted one
    stands in for it. Its forces and stresses are the same.
    """
    behind = "shift" if quantity == ENERGY and "shift" in models else "untuned"
    return [model for model in models if model in (behind, "tuned")] or list(models)


def thin(error: Array, limit: int = DRAWN_POINTS) -> NDArray[np.int64]:
    """Choose which points to draw: the largest errors, and a random draw (seed 0) of the rest.

    Parameters
    ----------
    error
        (n,) signed or not.

    Returns
    -------
    array
        Positions, ascending; all of them up to `limit`.
    """
    if len(error) <= limit:
        return np.arange(len(error))
    order = np.argsort(np.abs(error))[::-1]
    n_worst = int(limit * WORST_SHARE)
    rest = np.random.default_rng(0).choice(order[n_worst:], limit - n_worst, replace=False)
    return np.sort(np.concatenate([order[:n_worst], rest]))


def _quantity(quantity: Quantity, by_model: Mapping[PredictedBy, pd.DataFrame]) -> QuantityParity | None:
    pairs = {model: found for model, rows in by_model.items() if (found := _pairs(quantity.name, rows))}
    frames = sorted(set.intersection(*map(set, pairs.values()))) if pairs else []
    if not frames:
        return None
    reference = next(iter(pairs))
    offset, scale = _offset_and_scale(quantity, by_model[reference].loc[frames], pairs[reference])

    def joined(model: PredictedBy, side: int) -> Array:
        found = pairs[model]
        rows = [(found[frame][side] - o) * s for frame, o, s in zip(frames, offset, scale, strict=True)]
        return np.concatenate(rows)

    labelled = set.union(*(_labelled(quantity.name, rows) for rows in by_model.values()))
    values = {model: joined(model, 1) for model in pairs}
    return _drawn(quantity, joined(reference, 0), values, n_left_out=len(labelled - set(frames)))


def _pairs(name: str, rows: pd.DataFrame) -> dict[int, Pair]:
    """Frame -> (label, prediction), flat, where both are there and finite."""
    if not {name, f"{name}_label"} <= set(rows.columns):
        return {}
    both = zip(rows.index, map(_flat, rows[f"{name}_label"]), map(_flat, rows[name]), strict=True)
    return {f: (a, b) for f, a, b in both if len(a) and len(a) == len(b) and np.isfinite([a, b]).all()}


def _labelled(name: str, rows: pd.DataFrame) -> set[int]:
    labels = rows.get(f"{name}_label", pd.Series(dtype=float))
    return {f for f, label in labels.items() if len(flat := _flat(label)) and np.isfinite(flat).all()}


def _flat(value: object) -> Array:
    return np.zeros(0) if value is None else np.asarray(value, dtype=float).ravel()


def _offset_and_scale(quantity: Quantity, rows: pd.DataFrame, pairs: Mapping[int, Pair]) -> tuple[Array, Array]:
    """Return what to take from each frame's values, and the factor into the unit of reports."""
    if not quantity.per_atom_in_reports:
        return np.zeros(len(rows)), np.full(len(rows), quantity.report_scale)
    labels = np.array([pairs[frame][0][0] for frame in rows.index])
    offset = composition_energies(list(rows["formula"]), labels)
    return offset, quantity.report_scale / rows["n_atoms"].to_numpy(dtype=float)


def _drawn(quantity: Quantity, label: Array, values: Mapping[PredictedBy, Array], n_left_out: int) -> QuantityParity:
    errors = {model: value - label for model, value in values.items()}
    drawn = thin(errors[list(errors)[-1]])  # the last one is the tuned model, where there is one
    shown = drawn_models(quantity, list(values))
    return QuantityParity(
        unit=quantity.report_unit,
        n_points=len(label),
        n_drawn=len(drawn),
        n_left_out=n_left_out,
        label=_rounded(label[drawn]),
        models={model: _points(label, value, drawn) for model, value in values.items()},
        drawn=shown,
        histogram=_histogram({model: errors[model] for model in shown}),
    )


def _points(label: Array, value: Array, drawn: NDArray[np.int64]) -> ModelPoints:
    error, spread = value - label, label - label.mean()
    variance = float(spread @ spread)
    return ModelPoints(
        points=_rounded(value[drawn]),
        rmse=float(np.sqrt(np.mean(error**2))),
        mae=float(np.mean(np.abs(error))),
        worst=float(np.max(np.abs(error))),
        slope=None if variance <= 1e-12 else 1.0 + float(spread @ (error - error.mean())) / variance,
    )


def _histogram(errors: Mapping[PredictedBy, Array]) -> Histogram:
    """Count in bins centred on zero."""
    everything = np.abs(np.concatenate(list(errors.values())))
    reach = float(np.percentile(everything, HISTOGRAM_REACH)) or 1.0
    n_bins = 2 * int(np.clip(np.sqrt(len(everything) / len(errors)), 7, 30)) + 1
    edges = np.linspace(-reach, reach, n_bins + 1)
    share = {
        model: _rounded(100 * np.histogram(np.clip(error, -reach, reach), edges)[0] / len(error))
        for model, error in errors.items()
    }
    return Histogram(centres=_rounded((edges[1:] + edges[:-1]) / 2), percent=share)


def _rounded(values: Array) -> list[float]:
    """Five significant digits: finer than a pixel, and half the size."""
    return [float(f"{value:.5g}") for value in values]

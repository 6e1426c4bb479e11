"""Labels against predictions, ready to draw: which points, in which unit, thinned how, with which errors.

`parity` turns the table of predictions of a run folder into plain lists. Statistics and histograms use every point;
only the points that are drawn are thinned, and the answer says so.

Energies of frames with different compositions lie eV apart, which would hide errors of meV. So one energy per element,
fitted to the *labels* by least squares, is taken from labels and predictions alike: E - sum_Z n_Z e_Z, then divided by
the number of atoms. Errors are untouched by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase.formula import Formula
from numpy.typing import NDArray

from matgraft.core.quantities import ENERGY, POTENTIAL_QUANTITIES, Array, Quantity
from matgraft.potentials.scoring.metrics import BASELINES

MODELS = (*BASELINES, "tuned")
PARTS = ("test", "validation", "train")

DRAWN_POINTS = 9_000
"""Points drawn of one model and quantity: two models stay below 20,000 marks, which a laptop scrolls smoothly."""
WORST_SHARE = 0.1
"""Part of the drawn points that is kept for the largest errors, so that thinning cannot hide an outlier."""
HISTOGRAM_REACH = 99.0
"""Percentile of |error|, over the drawn models, at which a histogram ends; its outermost bins hold what lies beyond."""

Pair = tuple[Array, Array]


def parity(table: pd.DataFrame, part: str = "") -> dict[str, Any]:
    """Return the points, errors and histograms of each quantity.

    Parameters
    ----------
    table
        One row a (part, model, frame), as `matgraft.potentials.scoring.table` describes it.
    part
        The part to show; the first of test, validation and train that is there where empty or absent.

    Returns
    -------
    dict
        ``part``, ``n_frames``, and ``quantities``: name -> ``unit``, ``n_points``, ``n_drawn``, ``n_left_out``
        (labelled frames without a finite prediction of every model), ``label`` (drawn points), ``models`` (name ->
        ``points``, ``rmse``, ``mae``, ``worst``, ``slope``), ``drawn`` (the models to draw) and ``histogram``. Units:
        meV/atom, eV/Å, GPa. Empty if there is no row.
    """
    parts = set(table["part"])
    part = next((name for name in (part, *PARTS) if name in parts), "")
    rows = table[table["part"] == part]
    models = [model for model in MODELS if model in set(rows["model"])]
    if not models:
        return {}
    by_model = {model: rows[rows["model"] == model].set_index("frame") for model in models}
    shown = {name: _quantity(quantity, by_model) for name, quantity in POTENTIAL_QUANTITIES.items()}
    n_frames = max(len(frames) for frames in by_model.values())
    return {"part": part, "n_frames": n_frames, "quantities": {name: value for name, value in shown.items() if value}}


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


def drawn_models(quantity: Quantity, models: Sequence[str]) -> list[str]:
    """Return the models that a plot shows: the one behind, then the tuned one.

    The untuned model's energies differ by a constant an atom, which says nothing and squeezes the axes: the shifted one
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


def _quantity(quantity: Quantity, by_model: Mapping[str, pd.DataFrame]) -> dict[str, Any] | None:
    pairs = {model: found for model, rows in by_model.items() if (found := _pairs(quantity.name, rows))}
    frames = sorted(set.intersection(*map(set, pairs.values()))) if pairs else []
    if not frames:
        return None
    reference = next(iter(pairs))
    offset, scale = _offset_and_scale(quantity, by_model[reference].loc[frames], pairs[reference])

    def joined(model: str, side: int) -> Array:
        found = pairs[model]
        rows = [(found[frame][side] - o) * s for frame, o, s in zip(frames, offset, scale, strict=True)]
        return np.concatenate(rows)

    labelled = set.union(*(_labelled(quantity.name, rows) for rows in by_model.values()))
    shown = _facts(quantity, joined(reference, 0), {model: joined(model, 1) for model in pairs})
    return {**shown, "n_left_out": len(labelled - set(frames))}


def _pairs(name: str, rows: pd.DataFrame) -> dict[Any, Pair]:
    """Frame -> (label, prediction), flat, where both are there and finite."""
    if not {name, f"{name}_label"} <= set(rows.columns):
        return {}
    both = zip(rows.index, map(_flat, rows[f"{name}_label"]), map(_flat, rows[name]), strict=True)
    return {f: (a, b) for f, a, b in both if len(a) and len(a) == len(b) and np.isfinite([a, b]).all()}


def _labelled(name: str, rows: pd.DataFrame) -> set[Any]:
    labels = rows.get(f"{name}_label", pd.Series(dtype=float))
    return {f for f, label in labels.items() if len(flat := _flat(label)) and np.isfinite(flat).all()}


def _flat(value: object) -> Array:
    return np.zeros(0) if value is None else np.asarray(value, dtype=float).ravel()


def _offset_and_scale(quantity: Quantity, rows: pd.DataFrame, pairs: Mapping[Any, Pair]) -> tuple[Array, Array]:
    """Return what to take from each frame's values, and the factor into the unit of reports."""
    if not quantity.per_atom_in_reports:
        return np.zeros(len(rows)), np.full(len(rows), quantity.report_scale)
    labels = np.array([pairs[frame][0][0] for frame in rows.index])
    offset = composition_energies(list(rows["formula"]), labels)
    return offset, quantity.report_scale / rows["n_atoms"].to_numpy(dtype=float)


def _facts(quantity: Quantity, label: Array, values: Mapping[str, Array]) -> dict[str, Any]:
    errors = {model: value - label for model, value in values.items()}
    drawn = thin(errors[list(errors)[-1]])  # the last one is the tuned model, where there is one
    return {
        "unit": quantity.report_unit,
        "n_points": len(label),
        "n_drawn": len(drawn),
        "label": _rounded(label[drawn]),
        "models": {
            model: {"points": _rounded(value[drawn]), **_statistics(label, errors[model])}
            for model, value in values.items()
        },
        "drawn": (shown := drawn_models(quantity, list(values))),
        "histogram": _histogram({model: errors[model] for model in shown}),
    }


def _statistics(label: Array, error: Array) -> dict[str, float | None]:
    """RMSE, MAE, worst |error|, and the slope of prediction against label: below 1 the model is too soft."""
    spread = label - label.mean()
    flat = float(spread @ spread) <= 1e-12
    slope = None if flat else 1.0 + float(spread @ (error - error.mean())) / float(spread @ spread)
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "worst": float(np.max(np.abs(error))),
        "slope": slope,
    }


def _histogram(errors: Mapping[str, Array]) -> dict[str, Any]:
    """Percent of all points in bins of signed error, for each model in the same bins, centred on zero."""
    everything = np.abs(np.concatenate(list(errors.values())))
    reach = float(np.percentile(everything, HISTOGRAM_REACH)) or 1.0
    n_bins = 2 * int(np.clip(np.sqrt(len(everything) / len(errors)), 7, 30)) + 1
    edges = np.linspace(-reach, reach, n_bins + 1)
    share = {
        model: _rounded(100 * np.histogram(np.clip(error, -reach, reach), edges)[0] / len(error))
        for model, error in errors.items()
    }
    return {"centres": _rounded((edges[1:] + edges[:-1]) / 2), "percent": share}


def _rounded(values: Array) -> list[float]:
    """Five significant digits: finer than a pixel, and half the size."""
    return [float(f"{value:.5g}") for value in values]

"""RMSE and MAE of predictions, whole, by tag and on the largest forces, with intervals over groups of frames.

All are made of sums of rows of `FrameErrors`.

    found = errors(test, predictions)
    metrics(found)                                    # {"energy_rmse_meV_per_atom": 7.6, ..., "n_frames": 25}
    by_tag(found, test.tag("config_type"))            # {"Surface": {...}, "Vacancy": {...}}
    intervals(found, find_groups(test).labels)        # {"energy_rmse_meV_per_atom": (6.1, 9.4), ...}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import OptionError
from matgraft.core.quantities import FORCES, Array, Quantity
from matgraft.core.statistics import estimate, unit_totals
from matgraft.potentials.data.conditions import by_value
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.scoring.frame_errors import (
    STATISTICS,
    FrameErrors,
    Predictions,
    Statistic,
    check_frames,
    differences_of,
    error_of,
    exponential,
    metric_key,
    sums_of,
    units_of,
)

UNSTATED = "not stated"
Figures = dict[str, int | float]
"""Metric -> figure: ``energy_rmse_meV_per_atom`` and so on, with the counts ``n_frames`` and ``n_atoms``."""


def metrics(found: FrameErrors) -> Figures:
    """Return RMSE and MAE of each quantity, and the counts ``n_frames`` and ``n_atoms``.

    Keys are ``<quantity>_<rmse|mae>_<unit>``: energy_rmse_meV_per_atom, forces_mae_eV_per_A, stress_rmse_GPa.
    """
    out: Figures = {}
    for name, rows in found.sums.items():
        if rows[:, 0].any():
            out |= {key: float(value) for key, value in statistics_of(found.quantities[name], rows.sum(axis=0)).items()}
    out["n_frames"] = found.n_frames
    return out if found.n_atoms is None else {**out, "n_atoms": int(found.n_atoms.sum())}


def statistics_of(quantity: Quantity, totals: Array) -> dict[str, Array]:
    """RMSE and MAE from sums (..., 3)."""
    return {metric_key(quantity, statistic): error_of(statistic, totals) for statistic in STATISTICS}


def by_tag(found: FrameErrors, values: Sequence[str]) -> dict[str, Figures]:
    """Return the metrics of the frames that share a tag's value.

    Parameters
    ----------
    values
        The tag of each frame, e.g. ``dataset.tag("config_type")``; empty ones are gathered as ``"not stated"``. If all
        are empty there is no table.
    """
    if not any(values):
        return {}
    tags = np.array([value or UNSTATED for value in values])
    return {str(tag): metrics(found.select(tags == tag)) for tag in np.unique(tags)}


def by_condition(found: FrameErrors, dataset: Dataset, name: str) -> dict[str, Figures]:
    """Return the metrics of the frames of each value of a tag or condition; a frame may be in several rows.

    Frames that do not say it are gathered as ``"not stated"``. A tag that none of them has makes no table.
    """
    try:
        rows = by_value(dataset, name)
    except OptionError:  # other frames of the run have the tag: `refuse_unsaid`
        return {}
    silent = sorted(set(range(len(dataset))) - {i for frames in rows.values() for i in frames})
    rows |= {UNSTATED: silent} if silent and rows else {}
    return {value: metrics(found.select(frames)) for value, frames in rows.items()}


def worst_decile(dataset: Dataset, predictions: Predictions, quantity: Quantity = FORCES) -> Figures:
    """Return the force errors on the tenth of all atoms with the largest reference force.

    Atoms, not frames: a vacancy's neighbours are few in a large calm frame. They are chosen by the labels alone, so
    that every model answers for the same atoms; atoms tied with the last one are all taken. Empty without labels.

    Returns
    -------
    dict
        RMSE and MAE; ``n_atoms`` chosen, and ``n_frames`` that they lie in.
    """
    check_frames(dataset, predictions)
    masks = _largest_tenth([sample.labels.get(quantity.name, np.empty((0, 3))) for sample in dataset])
    rows = [
        sums_of(differences[mask[: len(differences)]])  # no rows where the prediction is absent
        for mask, sample, prediction in zip(masks, dataset, predictions, strict=True)
        for differences in [differences_of(sample, prediction, quantity)]
    ]
    counts = np.array([mask.sum() for mask in masks])
    found = FrameErrors({quantity.name: quantity}, {quantity.name: np.array(rows)}, len(dataset), counts)
    return metrics(found.select(counts > 0)) if found.sums[quantity.name].any() else {}


def _largest_tenth(vectors: Sequence[Array]) -> list[NDArray[np.bool_]]:
    norms = [np.linalg.norm(each, axis=-1) for each in vectors]
    pooled = np.concatenate(norms)
    if not pooled.size:
        return [norm > 0 for norm in norms]
    count = math.ceil(pooled.size / 10)
    threshold = np.partition(pooled, -count)[-count]
    return [norm >= threshold for norm in norms]


def intervals(found: FrameErrors, groups: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return a 95 % interval for every metric that enough groups carry.

    Parameters
    ----------
    groups
        One name a frame: what must be counted as one observation, as `matgraft.potentials.data.groups.find_groups`
        names it. Groups without labels of a quantity do not count for it; with fewer than `MIN_UNITS` others it has no
        interval.
    """
    out: dict[str, tuple[float, float]] = {}
    for name, rows in found.sums.items():
        totals = unit_totals(rows, units_of(groups, found))
        for statistic in STATISTICS:
            span = estimate(partial(_log_error, statistic), totals, totals[:, [STATISTICS[statistic]]]).interval
            if span is not None:
                out[metric_key(found.quantities[name], statistic)] = exponential(span)
    return out


def _log_error(statistic: Statistic, sums: Array) -> Array:
    return np.asarray(np.log(error_of(statistic, sums)))[..., None]


def count_units(found: FrameErrors, groups: Sequence[str]) -> dict[str, int]:
    """Return how many groups carry each quantity."""
    return {name: len(unit_totals(rows, units_of(groups, found))) for name, rows in found.sums.items()}

"""Two models on the same frames: the ratio and the difference of their errors, with paired intervals.

>>> gain = compare(errors(test, tuned), errors(test, untuned), groups)
>>> gain["energy_rmse_meV_per_atom"].ratio  # below 1: the tuned model is better
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from matgraft.core.errors import DataError
from matgraft.core.quantities import Array
from matgraft.core.statistics import estimate, unit_totals
from matgraft.potentials.scoring.frame_errors import (
    STATISTICS,
    FrameErrors,
    Statistic,
    error_of,
    exponential,
    metric_key,
    units_of,
)

ROUNDING = 1e-3
"""Two errors closer than this fraction are equal: single precision and the order of a batch move them by less."""


@dataclass(frozen=True)
class Comparison:
    """One metric of a model against another's on the same frames.

    Attributes
    ----------
    ratio
        Error of the model by error of the baseline: below 1 it is better.
    interval
        Paired 95 % interval of the ratio; None where fewer than `MIN_UNITS` groups carry the quantity.
    difference, difference_interval
        Error of the model less that of the baseline, in the metric's unit: below 0 it is better.
    beyond_chance
        True if the whole interval of the ratio lies below 1 (by more than `ROUNDING`): a gain. An interval wholly
        above 1 is a loss beyond chance.
    """

    ratio: float
    interval: tuple[float, float] | None
    difference: float
    difference_interval: tuple[float, float] | None
    beyond_chance: bool


def compare(model: FrameErrors, baseline: FrameErrors, groups: Sequence[str]) -> dict[str, Comparison]:
    """Hold a model against a baseline on the same groups.

    Paired: both find the same frames hard, their errors rise and fall together, and the interval of the ratio is far
    narrower than two separate intervals suggest. It is that of the logarithm, so that it does not matter which of two
    models is called the baseline.

    Parameters
    ----------
    groups
        As of `intervals`.

    Returns
    -------
    dict
        Metric key -> `Comparison`, for the quantities that both have.

    Raises
    ------
    DataError
        If the two were compared with different labels.
    """
    out: dict[str, Comparison] = {}
    for name in [name for name in model.sums if name in baseline.sums]:
        pair = np.hstack([model.sums[name], baseline.sums[name]])
        if not np.array_equal(pair[:, 0], pair[:, 3]):
            raise DataError(
                f"the two models were not scored on the same {name} labels", remedy="predict the same frames with both"
            )
        totals = unit_totals(pair, units_of(groups, model))
        for statistic in STATISTICS:
            out[metric_key(model.quantities[name], statistic)] = _compare(statistic, totals)
    return out


def _compare(statistic: Statistic, totals: Array) -> Comparison:
    """Compare on sums of the units (n_units, 6): the model's three columns, then the baseline's."""
    column = STATISTICS[statistic]
    shares = totals[:, [column, 3 + column]]
    ratio = estimate(partial(_log_ratio, statistic), totals, shares)
    difference = estimate(partial(_difference, statistic), totals, shares)
    span = ratio.interval and exponential(ratio.interval)
    return Comparison(
        ratio=exponential((ratio.value, ratio.value))[0],
        interval=span,
        difference=difference.value,
        difference_interval=difference.interval,
        beyond_chance=span is not None and span[1] < 1 - ROUNDING,
    )


def _log_ratio(statistic: Statistic, sums: Array) -> Array:
    """Terms (..., 2) of the logarithm of the ratio of two errors from sums (..., 6); two perfect models are equal."""
    ours, theirs = (error_of(statistic, columns) for columns in (sums[..., :3], sums[..., 3:]))
    logs = np.log(np.stack([ours, theirs], -1))
    neither = (ours == theirs) & ~np.isfinite(logs[..., 0])
    return np.where(neither[..., None], 0.0, logs * [1, -1])


def _difference(statistic: Statistic, sums: Array) -> Array:
    """Terms (..., 2) of the difference of two errors from sums (..., 6)."""
    return np.stack([error_of(statistic, sums[..., :3]), -error_of(statistic, sums[..., 3:])], -1)

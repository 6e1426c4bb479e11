"""Errors of predictions, with intervals over groups of frames, and paired comparisons of two models.

Everything rests on sums kept for each frame (`FrameErrors`): how many components were compared, the sum of their
absolute and of their squared errors. RMSE, MAE, tables by tag and intervals are made of sums of these rows.

    found = errors(test, predictions)
    metrics(found)                                    # {"energy_rmse_meV_per_atom": 7.6, ..., "n_frames": 25}
    by_tag(found, test.tag("config_type"))            # {"Surface": {...}, "Vacancy": {...}}
    groups = find_groups(test).labels
    intervals(found, groups)                          # {"energy_rmse_meV_per_atom": (6.1, 9.4), ...}
    compare(found, errors(test, untuned), groups)     # {"energy_rmse_meV_per_atom": Comparison(ratio=0.08, ...)}
    summarise(test, {"tuned": predictions, "untuned": untuned, "shift": shifted}, groups)  # what metrics.json holds

What is averaged:

| quantity       | one error is                                                             | in      |
| -------------- | ------------------------------------------------------------------------ | ------- |
| energy         | a frame's energy divided by its atoms                                    | meV/atom |
| forces         | one Cartesian component on one atom; large frames count by their atoms     | eV/Å    |
| stress         | one of the six independent components, shear counted once as xx is         | GPa     |
| magmom         | the size of the moment of one atom                                       | µB      |
| any other      | one component of the value, as its `Quantity` says                       | its report unit |

An absent label or prediction is masked; a quantity without any is absent from the metrics. A prediction that is not
finite makes its metrics not finite: a model that diverges must be seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from matgraft.core.errors import DataError, OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.quantities import FORCES, POTENTIAL_QUANTITIES, Array, Quantity, full_to_voigt
from matgraft.core.statistics import estimate, numbered, unit_totals
from matgraft.potentials.data.conditions import by_value
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.scoring.relative import Elements, Relative, relative_energies

Statistic = Literal["rmse", "mae"]
ModelName = Literal["test", "untuned", "shift"]
"""The tuned model on the part that is scored, and its baselines."""
STATISTICS: Mapping[Statistic, int] = {"rmse": 2, "mae": 1}
"""Statistic -> column of `FrameErrors.sums` that it is made of."""

Predictions = Sequence[Mapping[str, Array]]
"""For each frame, quantity -> array in canonical units, as `predict` returns them."""

ROUNDING = 1e-3
"""Two errors closer than this fraction are equal: single precision and the order of a batch move them by less."""

UNSTATED = "not stated"
_KEY_OF: Mapping[str, ModelName] = {"tuned": "test", "untuned": "untuned", "shift": "shift"}
"""Name of a model -> what metrics.json calls its figures."""

BASELINES: tuple[ModelName, ...] = ("untuned", "shift")
"""What a tuned model is held against: the foundation, and the foundation with shifted reference energies."""

Figures = dict[str, int | float]
"""Metric -> figure: ``energy_rmse_meV_per_atom`` and so on, with the counts ``n_frames`` and ``n_atoms``."""


def metric_key(quantity: Quantity, statistic: Statistic) -> str:
    """Return the key of a metric: ``forces_rmse_eV_per_A``."""
    return f"{quantity.name}_{statistic}_{quantity.report_suffix}".rstrip("_")


@dataclass(frozen=True)
class FrameErrors:
    """What each frame adds to the errors of a model.

    Attributes
    ----------
    quantities
        The quantities by name, those of `sums`.
    sums
        Quantity -> (n_frames, 3): number of components compared, sum of their absolute errors, sum of their squared
        errors, in the unit of reports and its square. Zeros where label or prediction is absent.
    n_atoms
        (n_frames,) atoms of each frame; None where samples have none (formulas).
    """

    quantities: Mapping[str, Quantity]
    sums: Mapping[str, Array]
    n_frames: int
    n_atoms: NDArray[np.int64] | None = None

    def select(self, frames: ArrayLike) -> FrameErrors:
        """Return the errors of some frames: a boolean mask (n_frames,) or positions."""
        chosen = np.arange(self.n_frames)[np.asarray(frames)]
        sums = {name: rows[chosen] for name, rows in self.sums.items()}
        n_atoms = None if self.n_atoms is None else self.n_atoms[chosen]
        return FrameErrors(self.quantities, sums, len(chosen), n_atoms)


def errors(
    dataset: Dataset, predictions: Predictions, quantities: Mapping[str, Quantity] = POTENTIAL_QUANTITIES
) -> FrameErrors:
    """Sum up each frame's errors.

    Parameters
    ----------
    predictions
        One mapping a frame, in the order of `dataset`, in canonical units.
    quantities
        What may be compared; labels of other names are left alone.

    Raises
    ------
    DataError
        If there are no frames, if numbers of frames or shapes differ, or if a label is not finite.
    """
    _check_frames(dataset, predictions)
    sums = {
        name: np.array([_sums(_differences(*pair, quantity)) for pair in zip(dataset, predictions, strict=True)])
        for name, quantity in quantities.items()
    }
    compared = {name: rows for name, rows in sums.items() if rows[:, 0].any()}
    n_atoms = np.array([sample.n_atoms for sample in dataset]) if _count_atoms(quantities) else None
    return FrameErrors({name: quantities[name] for name in compared}, compared, len(dataset), n_atoms)


def metrics(found: FrameErrors) -> Figures:
    """Return RMSE and MAE of each quantity, and the counts ``n_frames`` and ``n_atoms``.

    Keys are ``<quantity>_<rmse|mae>_<unit>``: energy_rmse_meV_per_atom, forces_mae_eV_per_A, stress_rmse_GPa.
    """
    out: Figures = {}
    for name, rows in found.sums.items():
        if rows[:, 0].any():
            out |= {key: float(value) for key, value in _statistics(found.quantities[name], rows.sum(axis=0)).items()}
    out["n_frames"] = found.n_frames
    return out if found.n_atoms is None else {**out, "n_atoms": int(found.n_atoms.sum())}


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
    _check_frames(dataset, predictions)
    masks = _largest_tenth([sample.labels.get(quantity.name, np.empty((0, 3))) for sample in dataset])
    rows = [
        _sums(differences[mask[: len(differences)]])  # no rows where the prediction is absent
        for mask, sample, prediction in zip(masks, dataset, predictions, strict=True)
        for differences in [_differences(sample, prediction, quantity)]
    ]
    counts = np.array([mask.sum() for mask in masks])
    found = FrameErrors({quantity.name: quantity}, {quantity.name: np.array(rows)}, len(dataset), counts)
    return metrics(found.select(counts > 0)) if found.sums[quantity.name].any() else {}


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
        totals = unit_totals(rows, _units(groups, found))
        for statistic in STATISTICS:
            span = estimate(partial(_log_error, statistic), totals, totals[:, [STATISTICS[statistic]]]).interval
            if span is not None:
                out[metric_key(found.quantities[name], statistic)] = _exponential(span)
    return out


def count_units(found: FrameErrors, groups: Sequence[str]) -> dict[str, int]:
    """Return how many groups carry each quantity."""
    return {name: len(unit_totals(rows, _units(groups, found))) for name, rows in found.sums.items()}


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


class Change(Frozen):
    """An error on the validation frames, of the foundation with shifted references and of the tuned model.

    Attributes
    ----------
    quantity, unit
        Name of the quantity, and the unit of its error in reports.
    before, after
        RMSE of the shifted foundation, and of the tuned model.
    """

    quantity: str
    unit: str
    before: float
    after: float

    @property
    def worsened(self) -> bool:
        """True if the error rose by more than rounding, or is not finite any more."""
        before = max(self.before, POTENTIAL_QUANTITIES[self.quantity].rounding)
        return math.isfinite(self.before) and not self.after <= (1 + ROUNDING) * before


class Scores(Frozen):
    """The errors of a tuned model beside its baselines: what metrics.json holds.

    Attributes
    ----------
    test, untuned, shift
        Errors of the tuned model, of its foundation, and of the foundation with shifted references, as `metrics` gives
        them; empty where there is no such baseline.
    part
        Which frames were scored: "test", "validation", or what `matgraft evaluate` calls them.
    n_groups, n_groups_with
        Number of groups, and of those that carry each quantity.
    intervals
        Of each model, as `intervals` gives them.
    by_config_type
        Of each model, config type -> errors.
    by_tag
        The same for each tag or condition that ``scores.by`` names.
    held
        The condition that the scored frames meet, and no trained one does; empty where there is none.
    inside
        The same of frames that do not meet it, and were held out from the others.
    relative
        Errors of energies relative to each other; None of a model with several heads, of a correction, whose labels
        are differences of two methods and have no order of phases, and of runs of older versions.
    worst_force_decile
        Of each model, errors on the tenth of the atoms with the largest forces.
    gain
        Of the tuned model over each baseline.
    heads
        The same of each head's own frames, where the model has several.
    validation
        What became of each error on the validation frames.
    corrects
        Quantity -> key of the cheap label that the model is added to; then `untuned` is the cheap label alone. The
        errors are those of the sum.
    """

    test: Figures
    untuned: Figures = Field(default_factory=dict)
    shift: Figures = Field(default_factory=dict)
    part: str
    n_groups: int
    n_groups_with: dict[str, int]
    intervals: dict[ModelName, dict[str, tuple[float, float]]]
    by_config_type: dict[ModelName, dict[str, Figures]]
    by_tag: dict[str, dict[ModelName, dict[str, Figures]]] = Field(default_factory=dict)
    held: str = ""
    inside: Scores | None = None
    relative: Relative | None = None
    worst_force_decile: dict[ModelName, Figures]
    gain: dict[ModelName, dict[str, Comparison]]
    heads: dict[str, Scores] = Field(default_factory=dict)
    validation: tuple[Change, ...] = ()
    corrects: dict[str, str] = Field(default_factory=dict)

    def named(self, model: ModelName) -> str:
        """Return what a baseline is called in a sentence."""
        what = "the cheap method" if self.corrects else "the foundation"
        return f"{what} with shifted reference energies" if model == "shift" else what

    def of(self, model: ModelName) -> Figures:
        """Return the errors of a model."""
        return {"test": self.test, "untuned": self.untuned, "shift": self.shift}[model]

    @property
    def tables(self) -> dict[str, dict[ModelName, dict[str, Figures]]]:
        """Tag -> errors of each model by its values: config types first, where frames state any."""
        types = {"config_type": self.by_config_type} if any(self.by_config_type.values()) else {}
        return types | {name: table for name, table in self.by_tag.items() if name not in types}


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
        totals = unit_totals(pair, _units(groups, model))
        for statistic in STATISTICS:
            out[metric_key(model.quantities[name], statistic)] = _compare(statistic, totals)
    return out


def summarise(
    dataset: Dataset,
    predictions: Mapping[str, Predictions],
    groups: Sequence[str],
    *,
    part: str = "test",
    by: Sequence[str] = (),
    phases: str = "",
    elements: Elements | None = None,
    quantities: Mapping[str, Quantity] = POTENTIAL_QUANTITIES,
) -> Scores:
    """Score a tuned model and its baselines on the same frames.

    Parameters
    ----------
    predictions
        Model -> predictions: ``"tuned"``, and its baselines ``"untuned"`` and ``"shift"``. The tuned model's figures
        stand under ``"test"``.
    groups
        As of `intervals`.
    part
        Which frames `dataset` holds: "test", "validation", or what `matgraft evaluate` calls them.
    by
        Tags and conditions that get a table, as `matgraft.potentials.data.conditions` names them.
    phases, elements
        As of `relative_energies`; the models of `elements` have the names of `predictions`.

    Raises
    ------
    DataError
        If the part is empty, or numbers of frames differ.
    OptionError
        If there is no tuned model.
    """
    if not len(dataset):
        raise DataError("there is neither a test nor a validation part to score", remedy="give frames for a test")
    if "tuned" not in predictions:
        raise OptionError(f"no predictions of a tuned model among {sorted(predictions)}", allowed=["tuned", *BASELINES])
    found = {_KEY_OF[model]: errors(dataset, each, quantities) for model, each in predictions.items()}
    tags = dataset.tag("config_type")
    return Scores(
        test=metrics(found["test"]),
        untuned=metrics(found["untuned"]) if "untuned" in found else {},
        shift=metrics(found["shift"]) if "shift" in found else {},
        part=part,
        corrects=dataset.provenance.corrects,
        n_groups=len(set(groups)),
        n_groups_with=count_units(found["test"], groups),
        intervals={model: intervals(each, groups) for model, each in found.items()},
        by_config_type={model: by_tag(each, tags) for model, each in found.items()},
        by_tag={name: {model: by_condition(each, dataset, name) for model, each in found.items()} for name in by},
        relative=None if dataset.provenance.corrects else _relative(dataset, predictions, groups, phases, elements),
        worst_force_decile={_KEY_OF[model]: worst_decile(dataset, each) for model, each in predictions.items()},
        gain={model: compare(found["test"], each, groups) for model, each in found.items() if model != "test"},
    )


def _relative(
    dataset: Dataset,
    predictions: Mapping[str, Predictions],
    groups: Sequence[str],
    phases: str,
    elements: Elements | None,
) -> Relative:
    def keyed(named: Mapping[str, Predictions]) -> dict[str, Predictions]:
        return {_KEY_OF[model]: own for model, own in named.items()}

    pure = Elements(elements.dataset, keyed(elements.predictions)) if elements else None
    return relative_energies(dataset, keyed(predictions), groups, phases=phases, elements=pure)


def changes(dataset: Dataset, before: Predictions, after: Predictions) -> tuple[Change, ...]:
    """Return what became of the RMSE of each quantity from some predictions to others."""
    old, new = metrics(errors(dataset, before)), metrics(errors(dataset, after))
    keys = {quantity: metric_key(quantity, "rmse") for quantity in POTENTIAL_QUANTITIES.values()}
    return tuple(
        Change(quantity=quantity.name, unit=quantity.report_unit, before=old[key], after=new[key])
        for quantity, key in keys.items()
        if key in old and key in new
    )


def _check_frames(dataset: Dataset, predictions: Predictions) -> None:
    if not len(dataset):
        raise DataError("there are no frames to score")
    if len(predictions) != len(dataset):
        raise DataError(f"{len(predictions)} predictions for {len(dataset)} frames")


def _count_atoms(quantities: Mapping[str, Quantity]) -> bool:
    return any(quantity.per == "atom" or quantity.per_atom_in_reports for quantity in quantities.values())


def _differences(sample: Sample, prediction: Mapping[str, Array], quantity: Quantity) -> Array:
    """Prediction less label in the unit of reports: (n_atoms, 3), (6,) or (); nothing where one is absent.

    Of a stress that is a label in some components alone, the differences in these.
    """
    if quantity.name not in sample.labels or quantity.name not in prediction:
        return np.empty((0, *quantity.shape))
    label, value = sample.labels[quantity.name], np.asarray(prediction[quantity.name], dtype=float)
    if label.shape != value.shape:
        raise DataError(f"{quantity.name}: label {label.shape}, prediction {value.shape}", where=sample.where)
    if not np.isfinite(label).all():
        raise DataError(
            f"the {quantity.name} label is not finite", where=sample.where, remedy="leave the label or the frame out"
        )
    difference = (value - quantity.compared(label)) * quantity.report_scale
    if quantity.per_atom_in_reports:
        difference = difference / sample.n_atoms
    if quantity.shape != (3, 3):
        return difference
    voigt = full_to_voigt(difference)
    known = sample.components.get(quantity.name)
    return voigt if known is None else voigt[full_to_voigt(known.astype(float)) > 0]


def _sums(differences: Array) -> Array:
    return np.array([differences.size, np.abs(differences).sum(), np.square(differences).sum()])


def _statistics(quantity: Quantity, totals: Array) -> dict[str, Array]:
    """RMSE and MAE from sums (..., 3)."""
    return {metric_key(quantity, statistic): _error(statistic, totals) for statistic in STATISTICS}


def _error(statistic: Statistic, sums: Array) -> Array:
    """RMSE or MAE from sums (..., 3)."""
    count, absolute, squared = np.moveaxis(sums, -1, 0)
    return np.asarray(absolute / count if statistic == "mae" else np.sqrt(squared / count))


def _log_error(statistic: Statistic, sums: Array) -> Array:
    return np.asarray(np.log(_error(statistic, sums)))[..., None]


def _log_ratio(statistic: Statistic, sums: Array) -> Array:
    """Terms (..., 2) of the logarithm of the ratio of two errors from sums (..., 6); two perfect models are equal."""
    ours, theirs = (_error(statistic, columns) for columns in (sums[..., :3], sums[..., 3:]))
    logs = np.log(np.stack([ours, theirs], -1))
    neither = (ours == theirs) & ~np.isfinite(logs[..., 0])
    return np.where(neither[..., None], 0.0, logs * [1, -1])


def _difference(statistic: Statistic, sums: Array) -> Array:
    """Terms (..., 2) of the difference of two errors from sums (..., 6)."""
    return np.stack([_error(statistic, sums[..., :3]), -_error(statistic, sums[..., 3:])], -1)


def _units(groups: Sequence[str], found: FrameErrors) -> NDArray[np.intp]:
    if len(groups) != found.n_frames:
        raise DataError(f"{len(groups)} groups for {found.n_frames} frames")
    return numbered(groups)


def _largest_tenth(vectors: Sequence[Array]) -> list[NDArray[np.bool_]]:
    norms = [np.linalg.norm(each, axis=-1) for each in vectors]
    pooled = np.concatenate(norms)
    if not pooled.size:
        return [norm > 0 for norm in norms]
    count = math.ceil(pooled.size / 10)
    threshold = np.partition(pooled, -count)[-count]
    return [norm >= threshold for norm in norms]


def _compare(statistic: Statistic, totals: Array) -> Comparison:
    """Compare on sums of the units (n_units, 6): the model's three columns, then the baseline's."""
    column = STATISTICS[statistic]
    shares = totals[:, [column, 3 + column]]
    ratio = estimate(partial(_log_ratio, statistic), totals, shares)
    difference = estimate(partial(_difference, statistic), totals, shares)
    span = ratio.interval and _exponential(ratio.interval)
    return Comparison(
        ratio=_exponential((ratio.value, ratio.value))[0],
        interval=span,
        difference=difference.value,
        difference_interval=difference.interval,
        beyond_chance=span is not None and span[1] < 1 - ROUNDING,
    )


def _exponential(ends: tuple[float, float]) -> tuple[float, float]:
    with np.errstate(over="ignore"):
        low, high = np.exp(ends)
    return float(low), float(high)

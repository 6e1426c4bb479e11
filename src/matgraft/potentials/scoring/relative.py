"""Energies relative to each other: differences at equal composition, between phases, their order, formation energies.

    found = relative_energies(test, {"test": tuned, "untuned": foundation}, groups)
    found.between_phases["test"].rmse            # meV/atom over pairs of frames of two phases
    found.in_order["test"].share                 # share of these pairs that the model orders as the labels do

An error that all frames of a composition share cancels in a difference. So an energy may be far off and tell phases
apart, or be near and rank them wrongly. With d the error of a frame's energy, in meV/atom:

| figure            | over                                                                                        |
| ----------------- | ------------------------------------------------------------------------------------------- |
| same_composition  | d_i - d_j, all pairs of frames of one reduced formula                                       |
| between_phases    | the same, pairs of two phases (`matgraft.potentials.data.phases`)                           |
| in_order          | the same pairs, whose labels differ by more than `NOISE`: the share in the right order      |
| formation         | d_i - sum of x_k d_k: against the lowest frame of each element, predicted by the same model |

Intervals are over groups. Kendall's tau is twice the share in order, less one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import ENERGY, Array
from matgraft.core.statistics import LEVEL, MIN_UNITS, Estimate, estimate, numbered
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.phases import Phases, phases_of

NOISE = 1.0
"""meV/atom: labels that are nearer have no order. Well converged calculations repeat differences to about that."""
MOST_COMPARED = 2000
"""Frames of a composition whose pairs are put in order; of more, so many evenly spread."""

Predictions = Sequence[Mapping[str, Array]]


class RelativeError(Frozen):
    """An error of relative energies: RMSE in meV/atom, its 95 % interval, and how many pairs or frames it is over."""

    rmse: float
    interval: tuple[float, float] | None = None
    count: int


class InOrder(Frozen):
    """The share of pairs that a model orders as the labels do, its 95 % interval, and how many pairs."""

    share: float
    interval: tuple[float, float] | None = None
    count: int


class PhaseEnergy(Frozen):
    """A phase at its frame of lowest energy: energies above those of the lowest phase of its formula, in meV/atom.

    `models` has them by model, on the same two frames.
    """

    formula: str
    phase: str
    n_frames: int
    label: float
    models: dict[str, float]


class Relative(Frozen):
    """What is known of relative energies; keys are models as in metrics.json.

    Attributes
    ----------
    phases_by
        What tells phases apart.
    same_composition, between_phases, in_order, formation
        See the module's table; empty where they cannot be had.
    phases
        Phases of formulas that have two or more, the lowest first.
    lacking
        Why a figure cannot be had, a sentence each.
    """

    phases_by: str
    same_composition: dict[str, RelativeError]
    between_phases: dict[str, RelativeError]
    in_order: dict[str, InOrder]
    formation: dict[str, RelativeError]
    phases: tuple[PhaseEnergy, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class Elements:
    """Frames of pure elements, from which formation energies are counted.

    Attributes
    ----------
    dataset, predictions
        Frames, and each model's predictions of them; those of elements with an energy are used.
    """

    dataset: Dataset
    predictions: Mapping[str, Predictions]


@dataclass(frozen=True)
class _Energies:
    """Of the frames that have a label: energies in meV/atom, what they are of, and the error of each model (n,)."""

    label: Array
    errors: Mapping[str, Array]
    formula: NDArray[np.str_]
    phase: NDArray[np.str_]
    unit: NDArray[np.intp]

    @property
    def cells(self) -> NDArray[np.intp]:
        """(n,) number of the formula and phase of each frame."""
        return numbered(list(zip(self.formula.tolist(), self.phase.tolist(), strict=True)))


def relative_energies(
    dataset: Dataset,
    predictions: Mapping[str, Predictions],
    groups: Sequence[str],
    *,
    phases: str = "",
    elements: Elements | None = None,
) -> Relative:
    """Score relative energies.

    Parameters
    ----------
    predictions
        Model -> predictions of each frame.
    groups
        One name a frame: what counts as one observation.
    phases
        Tag that tells phases apart; empty: as `phases_of` finds them.
    elements
        Frames of pure elements; by default those among the frames.
    """
    with np.errstate(all="ignore"):  # a diverged model has figures that are not finite
        return _relative(dataset, predictions, groups, phases_of(dataset, phases), elements)


def _relative(
    dataset: Dataset,
    predictions: Mapping[str, Predictions],
    groups: Sequence[str],
    told: Phases,
    elements: Elements | None,
) -> Relative:
    energies = _energies(dataset, predictions, groups, told)
    formation, no_formation = _formation(dataset, predictions, groups, elements or Elements(dataset, predictions))
    same = {model: _pair_error(energies, own, across=False) for model, own in energies.errors.items()}
    between = {model: _pair_error(energies, own, across=True) for model, own in energies.errors.items()}
    order = _orders(energies)
    return Relative(
        phases_by=told.by,
        same_composition={model: one for model, one in same.items() if one},
        between_phases={model: one for model, one in between.items() if one},
        in_order=order,
        formation=formation,
        phases=tuple(_phase_energies(energies)),
        lacking=(*_lacking(energies, same, between, order, told), *([no_formation] if no_formation else [])),
    )


def _lacking(
    energies: _Energies,
    same: Mapping[str, RelativeError | None],
    between: Mapping[str, RelativeError | None],
    order: Mapping[str, InOrder],
    told: Phases,
) -> list[str]:
    if not len(energies.label):
        return ["no scored frame has an energy: relative energies cannot be computed"]
    if not any(same.values()):
        return [
            "no two scored frames share their composition: differences of energy at equal composition cannot "
            "be computed"
        ]
    if not any(between.values()):
        return [f"no composition has scored frames of two phases (by {told.by}): phases cannot be compared or ranked"]
    if not order:
        return [f"energies of no two phases differ by more than {NOISE:g} meV/atom: there is no order to compare"]
    return []


def energy_errors(dataset: Dataset, predictions: Predictions) -> Array:
    """Return (n,) errors of the energies in meV/atom; NaN where a label or a prediction is absent.

    A prediction that is not finite has an infinite error: a model that diverges must be seen.
    """
    return np.array(
        [
            _finite_or_far(float(prediction[ENERGY.name] - sample.labels[ENERGY.name]) / sample.n_atoms)
            if ENERGY.name in sample.labels and ENERGY.name in prediction
            else np.nan
            for sample, prediction in zip(dataset, predictions, strict=True)
        ]
    )


def _finite_or_far(error: float) -> float:
    return error * ENERGY.report_scale if np.isfinite(error) else np.inf


def _labels(dataset: Dataset) -> Array:
    return np.array(
        [
            float(s.labels[ENERGY.name]) * ENERGY.report_scale / s.n_atoms if ENERGY.name in s.labels else np.nan
            for s in dataset
        ]
    )


def _energies(
    dataset: Dataset, predictions: Mapping[str, Predictions], groups: Sequence[str], told: Phases
) -> _Energies:
    errors = {model: energy_errors(dataset, own) for model, own in predictions.items()}
    labels = _labels(dataset)
    known = np.isfinite(labels) & ~np.any([np.isnan(own) for own in errors.values()], axis=0)
    formulas = np.array([str(sample.content.get_chemical_formula(empirical=True)) for sample in dataset], dtype=str)
    phase = np.array([label or "" for label in told.labels], dtype=str)
    return _Energies(
        labels[known],
        {model: own[known] for model, own in errors.items()},
        formulas[known],
        phase[known],
        numbered([group for group, there in zip(groups, known, strict=True) if there]),
    )


def _pair_error(energies: _Energies, errors: Array, *, across: bool) -> RelativeError | None:
    """RMSE of d_i - d_j over pairs of one formula; `across`: of two phases alone. None where there is no pair.

    Over n frames the sum of squares of all pairs is n sum d² - (sum d)², so that sums over groups tell it. A frame
    without a pair says nothing: its group is not counted.
    """
    used = _paired(energies, across=across)
    if not used.any():
        return None
    centred, unit = _centred(errors, energies.formula)[used], energies.unit[used]
    formula, cell = numbered(energies.formula[used].tolist()), numbered(energies.cells[used].tolist())
    totals, sizes = _sums_by(centred, unit, (formula, cell) if across else (formula,))

    def squares(sums: Array) -> tuple[Array, Array]:
        parts = np.split(sums[..., 1:], np.cumsum(sizes)[:-1] * 3, axis=-1)
        pairs, square = map(np.array, zip(*(_over_pairs(part) for part in parts), strict=True))
        return (pairs[0] - pairs[1], square[0] - square[1]) if across else (pairs[0], square[0])

    count = round(float(squares(totals.sum(0))[0]))
    if not np.isfinite(errors[used]).all():
        return RelativeError(rmse=np.inf, count=count)
    found = estimate(lambda sums: _log_rmse(*squares(sums)), totals, _shares(centred, unit))
    return RelativeError(rmse=float(np.exp(found.value)), interval=_exponentials(found), count=count)


def _paired(energies: _Energies, *, across: bool) -> NDArray[np.bool_]:
    """Say which frames have another one of their formula; `across`: of another phase."""
    told = energies.phase != "" if across else np.ones(len(energies.label), dtype=bool)
    formula, cell = numbered(energies.formula.tolist()), energies.cells
    alike = np.bincount(formula[told], minlength=len(told))[formula]
    own = np.bincount(cell[told], minlength=len(told))[cell] if across else 1
    return np.asarray(told & (alike > own))


def _centred(errors: Array, formula: NDArray[np.str_]) -> Array:
    """Take the mean of each formula off: it cancels in every pair, and large offsets cost digits.

    What is not finite becomes 0: it has no place in a sum.
    """
    finite = np.isfinite(errors)
    centred = np.where(finite, errors, 0.0)
    for name in np.unique(formula[finite]):
        own = finite & (formula == name)
        centred[own] -= errors[own].mean()
    return centred


def _sums_by(errors: Array, unit: NDArray[np.intp], numbers: Sequence[NDArray[np.intp]]) -> tuple[Array, list[int]]:
    """Return (units, 1 + 3 k) count, then count, sum and sum of squares by number; and k of each numbering."""
    sizes = [int(own.max(initial=-1)) + 1 for own in numbers]
    totals = np.zeros((int(unit.max(initial=-1)) + 1, 1 + 3 * sum(sizes)))
    totals[:, 0] = np.bincount(unit, minlength=len(totals))
    start = 1
    for own, size in zip(numbers, sizes, strict=True):
        for k, values in enumerate((np.ones_like(errors), errors, errors**2)):
            np.add.at(totals, (unit, start + 3 * own + k), values)
        start += 3 * size
    return totals[totals[:, 0] > 0], sizes


def _over_pairs(sums: Array) -> tuple[Array, Array]:
    """Return the number of pairs, and the sum of their squared differences, from (..., 3 k) sums."""
    count, total, square = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    return (count * (count - 1) / 2).sum(-1), (count * square - total**2).sum(-1)


def _log_rmse(pairs: Array, square: Array) -> Array:
    return np.asarray(np.log(np.sqrt(np.maximum(square, 0.0) / pairs)))[..., None]


def _shares(errors: Array, unit: NDArray[np.intp]) -> Array:
    return np.asarray(np.bincount(unit, errors**2)[np.unique(unit), None], dtype=float)


def _exponentials(found: Estimate) -> tuple[float, float] | None:
    if (ends := found.interval) is None or not np.isfinite(ends).all():
        return None
    low, high = np.exp(ends)
    return float(low), float(high)


# --- order -----------------------------------------------------------------------------------------------------------


def _orders(energies: _Energies) -> dict[str, InOrder]:
    """Return the share of pairs of two phases that each model orders as the labels do."""
    n_units = int(energies.unit.max(initial=-1)) + 1
    right = {model: np.zeros((n_units, n_units)) for model in energies.errors}
    pairs = np.zeros((n_units, n_units))
    for formula in np.unique(energies.formula):
        frames = np.flatnonzero((energies.formula == formula) & (energies.phase != ""))
        frames = frames[np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_COMPARED)).round().astype(int))]
        i, j = _pairs_of_phases(energies.label[frames], energies.phase[frames])
        one, other = frames[i], frames[j]
        at = (energies.unit[one], energies.unit[other])
        np.add.at(pairs, at, 1.0)
        step = energies.label[one] - energies.label[other]
        for model, own in energies.errors.items():
            predicted = step + own[one] - own[other]  # infinite where a model diverged, which is no order
            np.add.at(right[model], at, (np.isfinite(predicted) & (step * predicted > 0)).astype(float))
    return {model: _share(own, pairs) for model, own in right.items() if pairs.any()}


def _pairs_of_phases(label: Array, phase: NDArray[np.str_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of frames of two phases whose labels differ by more than the noise."""
    number = numbered(phase.tolist())
    differ = (number[:, None] < number[None, :]) & (np.abs(label[:, None] - label[None, :]) > NOISE)
    i, j = np.nonzero(differ)
    return i, j


def _share(right: Array, pairs: Array) -> InOrder:
    """Return the share, with the interval of the jackknife over units: a unit takes all its pairs with it.

    Where all pairs are right, or all are wrong, the units do not differ. Then the end is what so many independent
    observations leave open (Clopper and Pearson, Biometrika 26, 404 (1934)).
    """

    def without(counts: Array) -> Array:
        return np.asarray(counts.sum() - counts.sum(0) - counts.sum(1) + counts.diagonal())

    carrying = (pairs.sum(0) + pairs.sum(1)) > 0
    n_units, value = int(carrying.sum()), float(right.sum() / pairs.sum())
    left_pairs = without(pairs)[carrying]
    if n_units < MIN_UNITS or not left_pairs.all():
        return InOrder(share=value, count=int(pairs.sum()))
    left = without(right)[carrying] / left_pairs
    error = float(np.sqrt((n_units - 1) / n_units * ((left - value) ** 2).sum()))
    low, high = Estimate(value, error, n_units, n_units).interval or (0.0, 1.0)
    if value in (0.0, 1.0):
        open_end = ((1 - LEVEL) / 2) ** (1 / n_units)
        low, high = (open_end, 1.0) if value else (0.0, 1 - open_end)
    return InOrder(share=value, interval=(max(low, 0.0), min(high, 1.0)), count=int(pairs.sum()))


def _phase_energies(energies: _Energies) -> list[PhaseEnergy]:
    """Return the phases of formulas that have two or more, each at its frame of lowest label."""
    lowest: dict[str, dict[str, int]] = defaultdict(dict)
    for i in np.argsort(energies.label, kind="stable"):
        if energies.phase[i]:
            lowest[str(energies.formula[i])].setdefault(str(energies.phase[i]), int(i))
    return [
        PhaseEnergy(
            formula=formula,
            phase=phase,
            n_frames=int(((energies.formula == formula) & (energies.phase == phase)).sum()),
            label=float(energies.label[i] - energies.label[first]),
            models={
                model: float(energies.label[i] + own[i] - energies.label[first] - own[first])
                for model, own in energies.errors.items()
            },
        )
        for formula, phases in sorted(lowest.items())
        if len(phases) > 1
        for first in [next(iter(phases.values()))]
        for phase, i in phases.items()
    ]


# --- formation energies ----------------------------------------------------------------------------------------------


def lowest_elements(dataset: Dataset) -> dict[str, int]:
    """Return the position of the frame with the lowest energy an atom of each pure element."""
    found: dict[str, int] = {}
    labels = _labels(dataset)
    for i in np.argsort(labels, kind="stable"):
        symbols = set(dataset[int(i)].content.symbols) if np.isfinite(labels[i]) else set()
        if len(symbols) == 1:
            found.setdefault(symbols.pop(), int(i))
    return found


def _formation(
    dataset: Dataset, predictions: Mapping[str, Predictions], groups: Sequence[str], elements: Elements
) -> tuple[dict[str, RelativeError], str]:
    """Return the error of formation energies by model, or why they cannot be had."""
    lowest = lowest_elements(elements.dataset)
    shares = [_fractions(sample.content.symbols) for sample in dataset]
    compounds = np.array([len(own) > 1 for own in shares])
    if not compounds.any():
        return {}, "every scored frame is of one element: there is nothing to form"
    lacking = sorted({symbol for own in shares if len(own) > 1 for symbol in own} - lowest.keys())
    having = [len(own) > 1 and not set(own) & set(lacking) for own in shares]
    missing = (
        f"no frame of pure {', '.join(lacking)} has an energy: formation energies "
        + ("of some frames " if any(having) else "")
        + "cannot be computed. Those against isolated atoms have the error of the energy itself"
        if lacking
        else ""
    )
    found = {}
    for model, own in predictions.items():
        of_elements = energy_errors(elements.dataset, elements.predictions[model])
        errors = energy_errors(dataset, own)
        absent = {symbol for symbol, i in lowest.items() if np.isnan(of_elements[i])}
        # Infinite where the model diverged, NaN where it says nothing, as a shift that no other frame determines.
        usable = np.array(having) & ~np.isnan(errors) & [absent.isdisjoint(own) for own in shares]
        taken = [
            sum(x * of_elements[lowest[symbol]] for symbol, x in shares[i].items()) for i in np.flatnonzero(usable)
        ]
        apart = errors[usable] - np.array(taken)
        apart[np.isnan(apart)] = np.inf  # compound and element diverged
        if one := _frame_error(apart, numbered([groups[i] for i in np.flatnonzero(usable).tolist()])):
            found[model] = one
    return found, missing


def _fractions(symbols: Sequence[str]) -> dict[str, float]:
    names, counts = np.unique(list(symbols), return_counts=True)
    return {str(name): float(count / len(symbols)) for name, count in zip(names, counts, strict=True)}


def _frame_error(errors: Array, unit: NDArray[np.intp]) -> RelativeError | None:
    if not len(errors):
        return None
    totals = np.zeros((int(unit.max()) + 1, 2))
    np.add.at(totals, unit, np.stack([np.ones_like(errors), errors**2], 1))
    found = estimate(lambda sums: _log_rmse(sums[..., 0], sums[..., 1]), totals, totals[:, [1]])
    return RelativeError(rmse=float(np.exp(found.value)), interval=_exponentials(found), count=len(errors))

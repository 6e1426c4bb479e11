"""Scales of standard deviations and the threshold of the gate, set on simulations that were not trained on.

Every simulation counts alike, whatever the number of its frames. The threshold is a conformal bound for the frames of
a new simulation (`conformal_quantile`).

Errors have longer tails than a normal distribution: the scale by which 68 % of them lie within one standard deviation
lets too many lie beyond two. So each level has a factor of its own (`error_bounds`). A quantile of the errors of few
simulations is too small for a new one, since the new one may lie far from all of them. How much too small is measured:
each simulation is held against the quantile of the others, and the factor is widened by what holds the level there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from matgraft.core.quantities import Array
from matgraft.core.statistics import MIN_UNITS, Units, conformal_quantile
from matgraft.potentials.models.uncertainty import Calibration, EnergyRule, ForceRule, Gate, posterior
from matgraft.potentials.uncertainty.rows import FrameRows

WITHIN = (0.6827, 0.9545)
"""Parts of a normal distribution within one and two standard deviations."""
MOST_PARTS = 10
"""Parts into which simulations are dealt out where each is held against the others; up to so many each is its own."""
LEVEL = 0.95
"""Part of the frames of a new simulation that shall lie inside the gate."""
FLOOR = 0.05
"""Part of the held-out atoms whose distance counts as the smallest that there is."""
STRONGEST = 2.0
"""Largest power of distance and force."""
PRIOR = 0.5
"""Powers that are taken where the errors do not tell: each simulation weighs as much as this belief."""
SMALLEST = 1e-6
"""Smallest distance, and error in eV or eV/Å, that is told from zero."""


class HeldOutFrames(NamedTuple):
    """Frames that were not trained on.

    Attributes
    ----------
    groups
        (n_frames,) number of the simulation of each.
    distances
        Of each frame's atoms (n,) from the known rows.
    are_new
        True if the simulations were not trained on either.
    """

    frames: Sequence[FrameRows]
    groups: Units
    distances: Sequence[Array]
    are_new: bool

    def at(self, positions: Sequence[int] | NDArray[np.int64]) -> HeldOutFrames:
        """Return some of the frames."""
        frames, distances = [self.frames[i] for i in positions], [self.distances[i] for i in positions]
        return HeldOutFrames(frames, self.groups[np.asarray(positions, dtype=int)], distances, self.are_new)

    def having(self, has: Callable[[FrameRows], bool]) -> HeldOutFrames:
        """Return the frames of which something holds, and whose elements are all known."""
        told = enumerate(zip(self.frames, self.distances, strict=True))
        return self.at([i for i, (frame, distances) in told if has(frame) and np.isfinite(distances).all()])

    def calibration(self, ratios: Array, groups: Units) -> Calibration:
        """Return what was calibrated on these frames by the ratios of some errors and their simulations."""
        return calibrated(self.groups, self.are_new, _coverage(ratios, groups))


def calibrated(groups: Units, are_new: bool, coverage: tuple[float, float] | None = None) -> Calibration:
    """Return what was calibrated on frames of these simulations (n_frames,)."""
    return Calibration.of(len(np.unique(groups)) if are_new else 0, len(groups), coverage)


def calibrate_gate(farthest: Array, groups: Units, *, are_new: bool) -> Gate:
    """Set the threshold on the largest distance (n_frames,) of the atoms of held-out frames.

    With K simulations no more than ``K / (K + 1)`` of the frames of a new one can be promised to lie inside; with none
    every atom counts as outside.
    """
    n_groups = len(np.unique(groups))
    level = min(LEVEL, n_groups / (n_groups + 1))
    threshold = max(conformal_quantile(farthest, groups, level), SMALLEST) if n_groups else SMALLEST
    return Gate(threshold=threshold, level=level, calibration=calibrated(groups, are_new))


def calibrate_energies(held: HeldOutFrames, centre: Array, factor: Array, n_frames: int) -> EnergyRule | None:
    """Set the scale (eV an atom) of the posterior on the energies of held-out frames; None where none has a label."""
    held = held.having(lambda frame: bool(np.isfinite(frame.energy_error)))
    if not held.frames:
        return None
    expected = np.array([posterior(frame.rows.mean(0), centre, factor, n_frames) for frame in held.frames])
    ratios = np.abs([frame.energy_error for frame in held.frames]) / expected
    one, two = error_bounds(ratios, held.groups)
    calibration = held.calibration(ratios, held.groups)
    return EnergyRule(scale=one, interval=two / one, n_frames=n_frames, calibration=calibration)


def calibrate_forces(held: HeldOutFrames) -> ForceRule | None:
    """Fit the standard deviation of forces to the errors of held-out frames; None where none has a label."""
    held = held.having(lambda frame: frame.force_errors is not None)
    if not held.frames:
        return None
    distances = np.concatenate(held.distances)
    sizes = np.concatenate([np.linalg.norm(frame.forces, axis=1) for frame in held.frames if frame.forces is not None])
    errors = np.concatenate([frame.force_errors for frame in held.frames if frame.force_errors is not None])
    groups = np.repeat(held.groups, [len(frame.numbers) for frame in held.frames])
    shape = _shape(distances, sizes, np.square(errors).mean(1), groups)
    ratios = (np.abs(errors) / shape.std(distances, sizes)[:, None]).ravel()
    of_numbers = np.repeat(groups, 3)
    one, two = error_bounds(ratios, of_numbers)
    calibration = held.calibration(ratios, of_numbers)
    return shape.model_copy(update={"scale": shape.scale * one, "interval": two / one, "calibration": calibration})


def _shape(distances: Array, sizes: Array, squares: Array, groups: Units) -> ForceRule:
    """Fit the powers by maximum likelihood of normal errors, simulations weighing alike."""
    counts = np.bincount(groups)
    weights = 1 / counts[groups]  # adds up to the number of simulations
    typical = max(float(np.sqrt(np.average(squares, weights=weights))), SMALLEST)
    start = ForceRule(
        scale=typical,
        distance_power=PRIOR,
        force_power=PRIOR,
        distance=max(float(np.median(distances)), SMALLEST),
        force=typical / 2,
        floor=max(float(np.quantile(distances, FLOOR)), SMALLEST),
        calibration=calibrated(groups[:0], are_new=False),
    )

    def with_powers(numbers: Array) -> ForceRule:
        scale, distance_power, force_power = np.exp(numbers[0]), *numbers[1:]
        return start.model_copy(update={"scale": scale, "distance_power": distance_power, "force_power": force_power})

    def loss(numbers: Array) -> float:
        variances = np.square(with_powers(numbers).std(distances, sizes))
        misfit = float((weights * (np.log(variances) + squares / variances)).sum())
        return misfit + float(np.square(numbers[1:] - PRIOR).sum())

    first = np.array([np.log(typical), PRIOR, PRIOR])
    bounds = [(None, None), (0.0, STRONGEST), (0.0, STRONGEST)]
    return with_powers(minimize(loss, first, method="L-BFGS-B", bounds=bounds).x)


def error_bounds(ratios: Array, groups: Units) -> tuple[float, float]:
    """Return the bounds within which 68.27 and 95.45 % of the errors of a new simulation lie.

    Parameters
    ----------
    ratios, groups
        (n,) ``|error| / std`` before scaling, and the simulation of each.
    """
    one, two = (_new_quantile(ratios, groups, part) for part in WITHIN)
    return one, max(one, two)


def _new_quantile(ratios: Array, groups: Units, level: float) -> float:
    """Return the quantile of all, widened so that it holds where each part is held against that of the others."""
    whole = max(_quantile(ratios, groups, level), SMALLEST)
    parts = _parts(groups)
    if parts.max() == 0:
        return whole
    against = np.empty_like(ratios)
    for part in range(parts.max() + 1):
        own = parts == part
        against[own] = ratios[own] / max(_quantile(ratios[~own], groups[~own], level), SMALLEST)
    return max(whole * _quantile(against, groups, level), SMALLEST)


def _quantile(values: Array, groups: Units, level: float) -> float:
    """Return a quantile of values (n,) whose groups weigh alike."""
    weights = 1 / np.bincount(groups)[groups]
    return float(np.quantile(values, level, weights=weights, method="inverted_cdf"))


def _parts(groups: Units) -> Units:
    """Return (n,) the part of each row; a group lies in one part."""
    return np.unique(groups, return_inverse=True)[1] % MOST_PARTS


def _coverage(ratios: Array, groups: Units) -> tuple[float, float] | None:
    """Return the part of the errors within both bounds, each part of the simulations with the others' bounds."""
    if len(np.unique(groups)) <= MIN_UNITS:
        return None
    inside, parts = np.empty((2, len(ratios))), _parts(groups)
    for part in range(parts.max() + 1):
        own = parts == part
        bounds = error_bounds(ratios[~own], groups[~own])
        inside[:, own] = [ratios[own] <= bound for bound in bounds]
    weights = 1 / np.bincount(groups)[groups]
    one, two = (float(np.average(each, weights=weights)) for each in inside)
    return one, two

"""Scales of standard deviations and the threshold of the gate, set on simulations that were not trained on.

Every simulation counts alike, whatever the number of its frames. The threshold is a conformal bound for the frames of
a new simulation (`conformal_quantile`). Errors have longer tails than a normal distribution: the scale by which 68 % of
them lie within one standard deviation lets too many lie beyond two. A scale is the geometric mean of this one and of
the one by which 95 % lie within two.
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
    scale = std_scale(ratios, held.groups)
    return EnergyRule(scale=scale, n_frames=n_frames, calibration=held.calibration(ratios, held.groups))


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
    scale = shape.scale * std_scale(ratios, of_numbers)
    return shape.model_copy(update={"scale": scale, "calibration": held.calibration(ratios, of_numbers)})


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


def std_scale(ratios: Array, groups: Units) -> float:
    """Return what standard deviations are multiplied by, from ``|error| / std`` and the simulation of each."""
    weights = 1 / np.bincount(groups)[groups]
    one, two = np.quantile(ratios, WITHIN, weights=weights, method="inverted_cdf")
    return max(float(np.sqrt(one * two / 2)), SMALLEST)


def _coverage(ratios: Array, groups: Units) -> tuple[float, float] | None:
    """Return the part of the errors within one and two standard deviations, each simulation with the others' scale."""
    names = np.unique(groups)
    if len(names) <= MIN_UNITS:
        return None
    scaled = [ratios[groups == name] / std_scale(ratios[groups != name], groups[groups != name]) for name in names]
    one, two = (float(np.mean([np.mean(own <= bound) for own in scaled])) for bound in (1, 2))
    return one, two

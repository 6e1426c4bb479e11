"""How predictions of frames go with their labels: slopes, intervals by trajectory, relative errors.

The slope of predicted against labelled forces tells *softening* (Deng et al., npj Comput. Mater. 11, 9 (2025)): a model
whose forces are 0.8 of the true ones has its phonons, barriers and stresses too low by as much. It is fitted through
the origin with Huber's weights, so that a few broken frames do not decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import Array
from matgraft.core.statistics import Estimate, estimate, numbered, unit_totals
from matgraft.potentials.audit.robust import rms

HUBER = 1.345
"""Residuals over their spread beyond which they count less: 95 % efficient for Gaussian ones (Huber 1964)."""
WEAKEST_eV_per_A = 0.05
"""Root mean square of forces below which they have no slope: relaxed structures."""
WEAKEST_GPa = 0.3
WEAKEST_meV = 5.0
"""Spread of energies per atom within a composition below which they have no slope."""
TAIL = 0.1
"""Part of the frames that are the most strained, or have the largest forces; at least `FEWEST`."""
FEWEST = 3


class FrameSeen(Frozen):
    """Labels and predictions of one frame.

    Attributes
    ----------
    frame
        Its position among the labelled frames.
    group
        Its trajectory.
    symbols
        Of its atoms.
    formula
        Composition in lowest terms.
    energy_eV_per_atom
        Label and prediction; None where either is absent.
    forces_label, forces
        Label and prediction, one triple an atom; empty where there is no label.
    stress_label_GPa, stress_GPa
        Components that are labels; empty where there are none.
    """

    frame: int
    group: str
    symbols: tuple[str, ...]
    formula: str
    energy_eV_per_atom: tuple[float, float] | None = None
    forces_label: tuple[tuple[float, float, float], ...] = ()
    forces: tuple[tuple[float, float, float], ...] = ()
    stress_label_GPa: tuple[float, ...] = ()
    stress_GPa: tuple[float, ...] = ()


Frames = Sequence[FrameSeen]


def forces_of(frames: Frames, element: str = "") -> tuple[Array, Array, list[str]]:
    """Return labelled and predicted force components (n,), and the trajectory of each; of one element if named."""
    label, found, groups = [], [], []
    for one in frames:
        kept = [i for i, symbol in enumerate(one.symbols) if element in ("", symbol)] if one.forces else []
        label += [value for i in kept for value in one.forces_label[i]]
        found += [value for i in kept for value in one.forces[i]]
        groups += [one.group] * (3 * len(kept))
    return np.array(label), np.array(found), groups


def stresses_of(frames: Frames) -> tuple[Array, Array, list[str]]:
    """Return labelled and predicted components of stress (n,) GPa, and the trajectory of each."""
    label = [value for one in frames for value in one.stress_label_GPa]
    found = [value for one in frames for value in one.stress_GPa]
    return np.array(label), np.array(found), [one.group for one in frames for _ in one.stress_GPa]


def energies_of(frames: Frames) -> tuple[Array, Array, list[str]]:
    """Return labelled and predicted energies (n,) eV/atom and compositions."""
    own = [one for one in frames if one.energy_eV_per_atom is not None]
    pairs = np.array([one.energy_eV_per_atom for one in own], dtype=float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1], [one.formula for one in own]


def less_own_mean(values: Array, names: Sequence[str]) -> Array:
    """Return values (n,) less the mean of those of the same name."""
    units = numbered(names)
    means = np.bincount(units, values) / np.bincount(units) if len(values) else np.zeros(0)
    return np.asarray(values - means[units])


def slope(label: Array, found: Array, groups: Sequence[str], weakest: float) -> Estimate | None:
    """Fit found = slope * label.

    Parameters
    ----------
    groups
        Trajectory of each value, for the interval.
    weakest
        Root mean square of the labels below which there is no slope.

    Returns
    -------
    Estimate or None
        None where the labels are too small.
    """
    if len(label) < FEWEST or rms(label) < weakest:
        return None
    weights = huber_weights(label, found)
    rows = np.stack([weights * label**2, weights * label * found], 1)
    totals = unit_totals(rows, numbered(groups))
    return estimate(lambda sums: sums[..., 1:] / sums[..., :1], totals, totals[:, :1])


def huber_weights(label: Array, found: Array) -> Array:
    """Return weights (n,) in 0 to 1, small where found is far from proportional to label."""
    weights = np.ones(len(label))
    for _ in range(20):
        residuals = found - label * (weights * label * found).sum() / (weights * label**2).sum()
        spread = 1.4826 * float(np.median(np.abs(residuals)))
        if spread < 1e-12:
            return weights
        weights = np.minimum(1.0, HUBER * spread / np.maximum(np.abs(residuals), 1e-300))
    return weights


def relative_error(label: Array, found: Array) -> float | None:
    """Return RMSE over the root mean square of the labels; None where these are below `WEAKEST_eV_per_A`."""
    return rms(found - label) / rms(label) if rms(label) >= WEAKEST_eV_per_A else None


def most_strained(frames: Frames) -> list[FrameSeen]:
    """Return the tenth of the frames with forces whose labelled stress is the largest."""
    return _tail(
        [one for one in frames if one.stress_label_GPa and one.forces], lambda one: rms(np.array(one.stress_label_GPa))
    )


def hottest(frames: Frames) -> list[FrameSeen]:
    """Return the tenth of the frames whose labelled forces are the largest: the hottest ones of a simulation."""
    return _tail([one for one in frames if one.forces], lambda one: rms(np.array(one.forces_label)))


def _tail(frames: list[FrameSeen], size: Callable[[FrameSeen], float]) -> list[FrameSeen]:
    count = max(FEWEST, round(TAIL * len(frames)))
    return sorted(frames, key=size, reverse=True)[:count] if len(frames) >= 2 * FEWEST else []


def energy_offset(frames: Frames) -> float | None:
    """Return by how much (eV/atom) predicted energies lie off the labels: root mean square over compositions."""
    label, found, names = energies_of(frames)
    if not len(label):
        return None
    units: NDArray[np.intp] = numbered(names)
    means = np.bincount(units, found - label) / np.bincount(units)
    return rms(means)

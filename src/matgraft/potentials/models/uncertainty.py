"""How sure a tuned model is of a prediction, from the rows that enter its last stage.

    model = load("runs/silicon")
    uncertainty = Uncertainty.of(model.card, model.folder)
    uncertainty.estimate(rows, numbers, forces)     # energy_std, forces_std, ..., extrapolation

`matgraft.potentials.uncertainty` fits it; here it is read and applied. All figures follow from the rows of a
force call, so that they cost no further pass through the network.

extrapolation (n,)
    The distance d_i from an atom's row to the nearest row of a training atom of its element, over the distance that
    atoms of held-out simulations keep within. Infinite for an element that no training frame has.
forces_std (n,) eV/Å
    Of each component: ``scale (d_i / d_0)^a (1 + |F_i|² / F_0²)^(b/2)``. 68.27 % of the errors of a new simulation are
    smaller, as of a normal distribution.
energy_std () eV
    Of the cell of n atoms: ``n scale sqrt(1 / N + (x - x_0)' A^-1 (x - x_0))``, x the mean row of the frame: the
    posterior of a linear last layer over N training frames (Bigi, Chong, Ceriotti and Grasselli, Machine Learning:
    Science and Technology 5, 045018 (2024)).
forces_interval (n,) eV/Å, energy_interval () eV
    95.45 % of the errors of a new simulation are smaller. That is not twice the standard deviation: errors have longer
    tails than a normal distribution, and each of the two has a factor of its own. Absent in folders of versions that
    had one factor.

Distances are taken after the rows are whitened: in units of the spread of the training atoms of that element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from safetensors.numpy import save_file

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import whole
from matgraft.core.frozen import Frozen
from matgraft.core.model import ModelCard
from matgraft.core.quantities import (
    ENERGY_INTERVAL,
    ENERGY_STD,
    EXTRAPOLATION,
    FORCES_INTERVAL,
    FORCES_STD,
    Array,
)
from matgraft.core.run_folder import RunFile
from matgraft.core.statistics import MIN_UNITS
from matgraft.core.weights import load_arrays, refuse_infinite, refuse_other_names

TENSORS = "uncertainty.safetensors"
"""File of a model folder, beside `UNCERTAINTY`."""
_CHUNK = 1000
"""Rows whose distances to all known rows are in memory at once."""


class Calibration(Frozen):
    """What a figure was set on.

    Attributes
    ----------
    n_groups, n_frames
        Simulations that were not trained on, or frames that belong to none, and their frames.
    reason
        Why the figure is not calibrated; empty where it is.
    coverage
        Part of the errors within the standard deviation and within the interval, each simulation predicted with the
        factors of the others; None where there are too few. Of the gate: nothing.
    """

    n_groups: int
    n_frames: int
    reason: str = ""
    coverage: tuple[float, float] | None = None

    @property
    def is_calibrated(self) -> bool:
        """True if there were simulations enough."""
        return not self.reason

    @classmethod
    def of(cls, n_groups: int, n_frames: int, coverage: tuple[float, float] | None = None) -> Calibration:
        """Return what was calibrated on so many simulations, or why these are too few."""
        few = n_groups < MIN_UNITS
        reason = f"{n_groups} held-out simulations; {MIN_UNITS} or more are needed" if few else ""
        return cls(n_groups=n_groups, n_frames=n_frames, reason=reason, coverage=None if few else coverage)


class Gate(Frozen):
    """Where extrapolation begins.

    Attributes
    ----------
    threshold
        Distance at which the extrapolation is 1.
    level
        Part of the frames of a new simulation, of the kind that was trained on, whose atoms all lie within.
    """

    threshold: float
    level: float
    calibration: Calibration


class EnergyRule(Frozen):
    """The scale (eV an atom) of the standard deviation of an energy.

    Attributes
    ----------
    interval
        Half the width of the interval, in standard deviations; None in folders of earlier versions.
    """

    scale: float
    interval: float | None = None
    n_frames: int
    calibration: Calibration


class ForceRule(Frozen):
    """The standard deviation of a force's component as a function of distance and force.

    Attributes
    ----------
    scale
        eV/Å: at the typical distance, of an atom without force.
    interval
        As of `EnergyRule`.
    distance_power, force_power
        The powers a and b above, not negative.
    distance, force
        d_0, and F_0 in eV/Å.
    floor
        Smallest distance that counts: an atom of a training frame is not known without error.
    """

    scale: float
    interval: float | None = None
    distance_power: float
    force_power: float
    distance: float
    force: float
    floor: float
    calibration: Calibration

    def std(self, distances: Array, sizes: Array) -> Array:
        """Return (n,) eV/Å from distances (n,) and the sizes of the forces (n,) eV/Å."""
        far = np.maximum(distances, self.floor) / self.distance
        strong = 1 + (sizes / self.force) ** 2
        std = self.scale * far**self.distance_power * strong ** (self.force_power / 2)
        return np.where(np.isfinite(distances), std, np.inf)  # where the power is 0 too


class UncertaintyCard(Frozen):
    """What a user must know of a model's uncertainty before trusting it.

    Attributes
    ----------
    weights_sha256
        Of the model that it belongs to.
    elements
        Symbols of the atoms of the training frames.
    n_frames, n_atoms
        Training frames and atoms that it was made from.
    energy, forces
        None where no held-out frame has such a label.
    """

    version: int = 2
    weights_sha256: str
    elements: tuple[str, ...]
    n_frames: int
    n_atoms: int
    gate: Gate
    energy: EnergyRule | None
    forces: ForceRule | None


UNCERTAINTY = RunFile("uncertainty.json", UncertaintyCard)


@dataclass(frozen=True)
class Known:
    """The rows of the training atoms.

    Attributes
    ----------
    centre
        (width,) taken from every row.
    numbers
        (n_elements,) atomic numbers that occur.
    whitening
        (n_maps, width, width): whitened row = (row - centre) @ map.
    map_of
        (n_elements,) the map of each element.
    rows, rows_of
        (m, width) whitened rows, and the atomic number (m,) of each.
    """

    centre: NDArray[Any]
    numbers: NDArray[Any]
    whitening: NDArray[Any]
    map_of: NDArray[Any]
    rows: NDArray[Any]
    rows_of: NDArray[Any]

    def distances(self, rows: Array, numbers: NDArray[Any]) -> Array:
        """Return (n,) the distance of each row (n, width) to the nearest known row of its element, else infinity."""
        found = np.full(len(rows), np.inf)
        for number, which in zip(self.numbers, self.map_of, strict=True):
            mine = np.flatnonzero(numbers == number)
            known = self.rows[self.rows_of == number].astype(float)
            for part in np.array_split(mine, max(1, -(-len(mine) // _CHUNK))):
                whitened = (rows[part] - self.centre) @ self.whitening[which]
                found[part] = nearest_rows(whitened, known)
        return found


def nearest_rows(rows: Array, known: Array) -> Array:
    """Return (n,) the root mean square difference of each row (n, width) from the nearest of some rows (m, width)."""
    squares = (known**2).sum(1) - 2 * rows @ known.T
    closest = squares.min(1, initial=np.inf) + (rows**2).sum(1)
    return np.asarray(np.sqrt(np.maximum(closest, 0.0) / rows.shape[1]))


@dataclass(frozen=True)
class Uncertainty:
    """How sure a model is of its predictions.

    Attributes
    ----------
    known
        Rows of the training atoms.
    energy_centre, energy_factor
        (width,) mean row of the training frames, and (width, width) L with ``|(x - x_0) L|² = (x - x_0)' A^-1
        (x - x_0)``.
    """

    card: UncertaintyCard
    known: Known
    energy_centre: NDArray[Any]
    energy_factor: NDArray[Any]

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the figures that it gives."""
        names = ((ENERGY_STD, ENERGY_INTERVAL), (FORCES_STD, FORCES_INTERVAL))
        rules = zip(names, (self.card.energy, self.card.forces), strict=True)
        there = [own[: 1 if rule.interval is None else 2] for own, rule in rules if rule]
        return tuple(quantity.name for quantity in (*(one for own in there for one in own), EXTRAPOLATION))

    def estimate(self, rows: Array, numbers: NDArray[Any], forces: Array | None = None) -> dict[str, Array]:
        """Return the figures of one structure.

        Parameters
        ----------
        rows
            (n, width) that entered the last stage of the model.
        numbers
            (n,) atomic numbers.
        forces
            (n, 3) eV/Å as predicted; without them there is neither forces_std nor forces_interval.

        Returns
        -------
        dict
            Of `quantities`; infinite where an element is one that no training frame has.
        """
        rows = np.asarray(rows, dtype=float)
        distances = self.known.distances(rows, numbers)
        found = {EXTRAPOLATION.name: distances / self.card.gate.threshold}
        if (energy := self.card.energy) is not None:
            strange = not np.isfinite(distances).all()
            found[ENERGY_STD.name] = np.asarray(np.inf if strange else len(rows) * self._energy_std(rows.mean(0)))
            if energy.interval is not None:
                found[ENERGY_INTERVAL.name] = energy.interval * found[ENERGY_STD.name]
        if (rule := self.card.forces) is not None and forces is not None:
            found[FORCES_STD.name] = rule.std(distances, np.linalg.norm(forces, axis=1))
            if rule.interval is not None:
                found[FORCES_INTERVAL.name] = rule.interval * found[FORCES_STD.name]
        return found

    def _energy_std(self, mean: Array) -> float:
        assert self.card.energy is not None
        rule = self.card.energy
        return rule.scale * posterior(mean, self.energy_centre, self.energy_factor, rule.n_frames)

    # --------------------------------------------------------------------- files

    def save(self, folder: Path) -> None:
        """Write the tensors and then the card into a model folder."""
        tensors = {field.name: getattr(self.known, field.name) for field in fields(self.known)}
        tensors |= {"energy_centre": self.energy_centre, "energy_factor": self.energy_factor}
        with whole(folder / TENSORS) as part:
            save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, part)
        UNCERTAINTY.write(folder, self.card)

    @classmethod
    def of(cls, model: ModelCard, folder: Path | None) -> Uncertainty:
        """Return the uncertainty of a model by its card and its folder.

        Raises
        ------
        OptionError
            If none was fitted.
        DataError
            As of `find`.
        """
        if (found := cls.find(folder, model)) is not None:
            return found
        tuned = folder is not None
        why = "its run was made with uncertainty=false or by an earlier version" if tuned else "no run tuned it"
        raise OptionError(
            f"{model.name} has no uncertainty: {why}",
            where=str(folder or ""),
            allowed=["a model folder that `matgraft tune` made with uncertainty=true"],
            remedy="tune a model again; or fit_uncertainty(model, train, validation) gives one for PotentialCalculator",
        )

    @classmethod
    def find(cls, folder: Path | None, model: ModelCard) -> Uncertainty | None:
        """Return what lies in a model folder; None where nothing does.

        Raises
        ------
        DataError
            If it belongs to other weights than the model has, or its tensors are damaged.
        """
        card = UNCERTAINTY.find(folder) if folder else None
        if folder is None or card is None:
            return None
        if card.weights_sha256 != model.weights_sha256:
            raise DataError(
                "the uncertainty was fitted to other weights than the model has",
                where=str(folder / UNCERTAINTY.name),
                remedy="remove the file, and tune again where an uncertainty is wanted",
            )
        return cls._of_tensors(card, _read(folder / TENSORS))

    @classmethod
    def _of_tensors(cls, card: UncertaintyCard, tensors: Mapping[str, NDArray[Any]]) -> Uncertainty:
        known = Known(**{field.name: tensors[field.name] for field in fields(Known)})
        return cls(card, known, tensors["energy_centre"], tensors["energy_factor"])


def _read(file: Path) -> dict[str, NDArray[Any]]:
    tensors = load_arrays(file)
    refuse_infinite(tensors, file)
    refuse_other_names(tensors, [*(field.name for field in fields(Known)), "energy_centre", "energy_factor"], file)
    return tensors


def posterior(mean: Array, centre: Array, factor: Array, n_frames: int) -> float:
    """Return ``sqrt(1 / N + (x - x_0)' A^-1 (x - x_0))`` of a mean row (width,)."""
    return float(np.sqrt(1 / n_frames + np.square((mean - centre) @ factor).sum()))


def symbols(numbers: NDArray[Any]) -> tuple[str, ...]:
    """Return the symbols of atomic numbers."""
    return tuple(chemical_symbols[number] for number in numbers)
